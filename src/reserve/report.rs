//! What the ledger says of itself: one small key in Redis, which it writes once a second and every gateway reads.
//!
//! Owns the key and its spelling. So all gateways tell operators the same, and the ledger needs no door of its own.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::names::registry_key;

/// Halted sales that are named.
pub const HALTED_NAMED_MAX: usize = 8;

/// See the module. A field that a later program says, or does not say any more, does no harm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LedgerReport {
    /// Differs from one report to the next: so a reader without the same clock knows a new one.
    pub beat: u64,
    /// `sqlite`, `postgres` or `mariadb`.
    pub database: String,
    /// Why the database does not take rows; empty while it does.
    pub database_fault: String,
    /// Sales that it follows.
    pub sales: u64,
    /// Entries that Redis has and the database has not, but for those of halted sales.
    pub lag_entries: u64,
    /// The age of the oldest of them, in milliseconds.
    pub lag_ms: u64,
    /// Sales of which more than `ledger.lag_max` entries are not in the database.
    pub late: u64,
    /// The one with the most, as text; empty where there is none.
    pub latest: String,
    /// Sales that a gap halts.
    pub halted: u64,
    /// The first of them: name, as text, and why.
    pub halted_named: Vec<(String, String)>,
    /// Entries applied since its start.
    pub entries: u64,
    /// Rows written for them.
    pub rows: u64,
    /// Rows of the last second.
    pub rows_per_s: f64,
    /// What went wrong since its start, by cause.
    pub errors: BTreeMap<String, u64>,
}

/// Where the report is: beside the first part of the registry.
pub fn report_key() -> Bytes {
    [&registry_key(0)[..], b"ledger"].concat().into()
}

impl LedgerReport {
    /// Its text.
    pub fn to_text(&self) -> String {
        // There is nothing in it that JSON does not have.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The report of a text; `None` if it is none.
    pub fn of_text(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_read_as_it_was_written_and_so_is_one_of_another_version() {
        let report = LedgerReport {
            beat: 7,
            lag_entries: 12_000,
            halted_named: vec![("mask".to_owned(), "entry 8 is missing".to_owned())],
            errors: [("redis".to_owned(), 2)].into(),
            ..LedgerReport::default()
        };
        assert_eq!(LedgerReport::of_text(report.to_text().as_bytes()), Some(report));
        let of_another = LedgerReport::of_text(br#"{"beat":3,"mood":"well"}"#);
        assert_eq!(of_another, Some(LedgerReport { beat: 3, ..LedgerReport::default() }));
        assert_eq!(LedgerReport::of_text(b"12"), None);
    }
}
