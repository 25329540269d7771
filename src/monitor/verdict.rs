//! The verdict on the figures of a view: how bad things are, and the sentences that say why.
//!
//! `status` makes it; all that operators see shows it.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing to say.
    Ok,
    /// Worth knowing; nothing to do.
    Notice,
    /// Worth a look before it gets worse.
    Warning,
    /// Clients suffer now.
    Critical,
}

impl Level {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One thing that a rule found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// The finding.
    pub sentence: String,
}

/// The verdict on a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The worst finding's level.
    pub level: Level,
    /// The worst finding, or that all is quiet.
    pub sentence: String,
    /// The other findings, worst first.
    pub others: Vec<Finding>,
}
