//! How a request ended, for those who count: its outcome, and which error of the gateway's own it got, if any.

use super::labels::{ErrorKind, Outcome};

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    /// What it counts as.
    pub outcome: Outcome,
    /// The error that the gateway made of it. None where whoever found the error has counted it.
    pub error: Option<ErrorKind>,
}

impl Ending {
    /// It failed for this reason.
    pub const fn failed(kind: ErrorKind) -> Self {
        Self { outcome: Outcome::Failed, error: Some(kind) }
    }

    /// Nobody knows whether it was executed.
    pub fn is_unknown(self) -> bool {
        self.error == Some(ErrorKind::UnknownOutcome)
    }
}

impl From<Outcome> for Ending {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, error: None }
    }
}
