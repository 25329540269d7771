//! How a request ended, for those who count: its outcome, and which error of the gateway's own it got, if any.

use crate::config::LostReply;

use super::labels::{ErrorKind, Outcome};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What it counts as.
    pub outcome: Outcome,
    /// The error that the gateway made of it. None where whoever found the error has counted it.
    pub error: Option<ErrorKind>,
    /// Its client sees the end of its connection in place of a reply.
    pub hangs_up: bool,
}

impl Ending {
    /// It failed for this reason.
    pub const fn failed(kind: ErrorKind) -> Self {
        Self { outcome: Outcome::Failed, error: Some(kind), hangs_up: false }
    }

    /// It was sent, and nobody knows whether it was executed: its client is told in the way that `upstream.lost_reply` wants.
    pub fn unknown(told: LostReply) -> Self {
        Self { hangs_up: told == LostReply::Close, ..Self::failed(ErrorKind::UnknownOutcome) }
    }

    /// Nobody knows whether it was executed.
    pub fn is_unknown(self) -> bool {
        self.error == Some(ErrorKind::UnknownOutcome)
    }
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, error: None, hangs_up: false }
    }
}
