//! The ledger as people see it: how far the SQL database is behind, and what keeps it from going on.

use serde::Serialize;

use crate::reserve::LedgerReport;
use crate::shared::keys::KeyNames;
use crate::shared::ledger_heard::LedgerHeard;

/// A ledger that said nothing for so long is not there, in seconds: it says something once a second, and may be held up by a database that does not answer.
const SILENT_S: f64 = 15.0;

/// What it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LedgerState {
    /// This gateway does not know yet.
    #[default]
    Unknown,
    /// It brings entries into the database.
    Following,
    /// It runs, and its database does not take rows.
    Waiting,
    /// Nothing is heard of it.
    Silent,
}

/// A sale that a gap halts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HaltedView {
    /// Its name.
    pub key: String,
    /// Why, as a clause.
    pub why: String,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LedgerView {
    /// What it does.
    pub state: LedgerState,
    /// How long ago it was heard of, in seconds.
    pub heard_s: f64,
    /// `sqlite`, `postgres` or `mariadb`; empty before it said so.
    pub database: String,
    /// Why the database does not take rows, or why its word can't be read; empty where all is well.
    pub fault: String,
    /// Whether sales beyond `ledger.lag_max` give no places.
    pub required: bool,
    /// Sales that it follows.
    pub sales: u64,
    /// Entries that Redis has and the database has not.
    pub lag_entries: u64,
    /// The age of the oldest of them, in seconds.
    pub lag_s: f64,
    /// Sales that are more than `ledger.lag_max` entries behind.
    pub late: u64,
    /// The one that is furthest behind; empty where none is.
    pub latest: String,
    /// Sales that a gap halts.
    pub halted: u64,
    /// The first of them.
    pub halted_named: Vec<HaltedView>,
    /// Entries applied since its start.
    pub entries: u64,
    /// Rows written for them.
    pub rows: u64,
    /// Rows per second.
    pub rows_per_s: f64,
    /// What went wrong since its start, by cause.
    pub errors: Vec<(String, u64)>,
}

/// The view of what was heard.
pub fn view(heard: &LedgerHeard, required: bool, names: &KeyNames) -> LedgerView {
    let heard_s = heard.changed.elapsed().as_secs_f64();
    let label = |sku: &str| if sku.is_empty() { String::new() } else { names.label(sku.as_bytes()) };
    let report = heard.report.clone().unwrap_or_default();
    let LedgerReport { database, database_fault, sales, lag_entries, lag_ms, late, latest, .. } = report;
    let state = match (heard_s >= SILENT_S, heard.is_alive) {
        // Redis does not say whether it is there.
        (true, _) if heard.fault.is_some() => LedgerState::Unknown,
        (true, _) => LedgerState::Silent,
        (false, false) => LedgerState::Unknown,
        (false, true) if database_fault.is_empty() => LedgerState::Following,
        (false, true) => LedgerState::Waiting,
    };
    LedgerView {
        state,
        heard_s,
        database,
        fault: heard.fault.clone().unwrap_or(database_fault),
        required,
        sales,
        lag_entries,
        lag_s: lag_ms as f64 / 1e3,
        late,
        latest: label(&latest),
        halted: report.halted,
        halted_named: report
            .halted_named
            .into_iter()
            .map(|(sku, why)| HaltedView { key: label(&sku), why })
            .collect(),
        entries: report.entries,
        rows: report.rows,
        rows_per_s: report.rows_per_s,
        errors: report.errors.into_iter().collect(),
    }
}
