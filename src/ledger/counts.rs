//! What the follower counts since the start of the process, and the clock of its reports: all that stays when the configuration is read again.
//!
//! Owns the causes that errors are counted by. Says nothing to anybody: `report` does.

use std::collections::BTreeMap;

use tokio::time::Instant;

/// Why something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// The database did not do what it was asked.
    Database,
    /// Redis did not.
    Redis,
    /// Entries of a sale are missing.
    Gap,
    /// A sale has a name that databases do not take.
    Name,
}

impl Cause {
    /// Its word in the report.
    pub fn label(self) -> String {
        let label = match self {
            Self::Database => "database",
            Self::Redis => "redis",
            Self::Gap => "gap",
            Self::Name => "name",
        };
        label.to_owned()
    }
}

/// What was counted since the start.
pub struct Counts {
    /// Entries applied.
    pub entries: u64,
    /// Rows written for them.
    pub rows: u64,
    /// What went wrong, by cause.
    pub errors: BTreeMap<Cause, u64>,
    /// Why the database does not take rows; empty while it does.
    pub database_fault: String,
    /// Rows were not taken, and none since.
    pub is_untaken: bool,
    /// The number of the last report.
    pub beat: u64,
    /// When the last report was due, and the rows then.
    pub said: Option<(Instant, u64)>,
    /// Some sale was beyond the bound.
    pub is_late: bool,
    /// The mark of the last session at the database that had the lock.
    pub session: Option<i64>,
}

impl Default for Counts {
    fn default() -> Self {
        // No report of an earlier process has the same.
        let beat = now_ms() as u64;
        Self {
            entries: 0,
            rows: 0,
            errors: BTreeMap::new(),
            database_fault: String::new(),
            is_untaken: false,
            beat,
            said: None,
            is_late: false,
            session: None,
        }
    }
}

impl Counts {
    /// Counts something that went wrong.
    pub fn error(&mut self, cause: Cause) {
        *self.errors.entry(cause).or_default() += 1;
    }
}

/// By the system's clock, in unix time.
pub fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as i64)
}
