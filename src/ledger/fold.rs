//! Entries become rows: what one transaction writes of one sale.
//!
//! Owns the rule that nothing may be missing between the last entry that the database has and the next. Pure; asks nobody.

use std::collections::BTreeMap;

use super::entry::{Entry, Terms, What};
use super::names::text_of;
use super::store::{HoldingRow, Position, SaleStep, TermsRow};

/// Why a sale can't be followed any further: a clause.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gap {
    /// Redis has other entries than the database under the same numbers, or none at all.
    Lost {
        /// The database has the entries up to here.
        position: i64,
    },
    /// Entries are missing from here
    Missing {
        /// (the first),
        from: i64,
        /// to here.
        to: i64,
    },
    /// The stream has something that no sale writes.
    Unreadable,
}

impl std::fmt::Display for Gap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost { position } => write!(
                f,
                "the database has entries up to {position}, and Redis does not have the last of them as it was: a failover or a restore lost entries"
            ),
            Self::Missing { from, to } if from == to => write!(f, "entry {from} is missing in Redis"),
            Self::Missing { from, to } => write!(f, "entries {from} to {to} are missing in Redis"),
            Self::Unreadable => f.write_str("the stream has an entry that no sale writes"),
        }
    }
}

/// The step of a sale whose entries come, in order, right behind `position`. `None` where there is none.
///
/// # Errors
/// One is missing.
pub fn step_of(sku: &str, position: &Position, entries: &[Entry]) -> Result<Option<SaleStep>, Gap> {
    let mut expected = position.entry;
    for entry in entries {
        expected += 1;
        if entry.number != expected {
            return Err(Gap::Missing { from: expected, to: entry.number - 1 });
        }
    }
    let Some(last) = entries.last() else { return Ok(None) };
    let mut rows: BTreeMap<i64, HoldingRow> = BTreeMap::new();
    let mut terms: Option<TermsRow> = None;
    for entry in entries {
        match &entry.what {
            What::Terms(now) => terms = Some(terms_row(now, entry.number)),
            What::Holding { seq, user, state, confirmed, held, expires_ms, since_ms } => {
                let row = HoldingRow {
                    seq: *seq,
                    user: text_of(user),
                    count: confirmed + held,
                    held: *held,
                    state: *state,
                    since_ms: *since_ms,
                    expires_ms: *expires_ms,
                    changed_ms: entry.at_ms,
                    entry: entry.number,
                };
                rows.insert(*seq, row);
            }
        }
    }
    let to =
        Position { opened_ms: position.opened_ms, entry: last.number, checksum: last.checksum, halted: None };
    let written_ms = (entries.first().map_or(last.at_ms, |first| first.at_ms), last.at_ms);
    let (entries, rows) = (entries.len(), rows.into_values().collect());
    Ok(Some(SaleStep { sku: sku.to_owned(), to, rows, terms, entries, written_ms }))
}

fn terms_row(terms: &Terms, entry: i64) -> TermsRow {
    TermsRow {
        limit: terms.limit,
        per_user: terms.per_user,
        start_ms: terms.start_ms,
        end_ms: terms.end_ms,
        hold_ms: terms.hold_ms,
        holders_of: text_of(&terms.holders_of),
        is_closed: terms.is_closed,
        is_on: terms.is_on,
        entry,
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::RowState;
    use super::*;

    fn entry(number: i64, seq: i64, state: RowState, confirmed: i64) -> Entry {
        let what = What::Holding {
            seq,
            user: b"ann".to_vec(),
            state,
            confirmed,
            held: 0,
            expires_ms: 0,
            since_ms: 500,
        };
        Entry { number, what, at_ms: 1000 + number, checksum: 77 + number }
    }

    fn at(entry: i64) -> Position {
        Position { opened_ms: 5, entry, checksum: 1, halted: None }
    }

    #[test]
    fn the_last_entry_of_a_holding_is_its_row() {
        let entries = [
            entry(3, 1, RowState::Confirmed, 1),
            entry(4, 2, RowState::Confirmed, 2),
            entry(5, 1, RowState::Cancelled, 0),
        ];
        let step = step_of("mask", &at(2), &entries).unwrap().unwrap();
        assert_eq!((step.to.entry, step.to.checksum, step.entries), (5, 82, 3));
        let rows: Vec<_> =
            step.rows.iter().map(|row| (row.seq, row.count, row.state, row.since_ms)).collect();
        assert_eq!(rows, [(1, 0, RowState::Cancelled, 500), (2, 2, RowState::Confirmed, 500)]);
        assert_eq!(step_of("mask", &at(2), &[]), Ok(None));
    }

    #[test]
    fn a_number_that_is_missing_is_a_gap() {
        let entries = [entry(3, 1, RowState::Confirmed, 1), entry(6, 2, RowState::Confirmed, 1)];
        assert_eq!(step_of("mask", &at(2), &entries), Err(Gap::Missing { from: 4, to: 5 }));
        assert_eq!(step_of("mask", &at(1), &entries), Err(Gap::Missing { from: 2, to: 2 }));
    }
}
