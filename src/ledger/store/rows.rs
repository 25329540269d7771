//! What all kinds of databases have in common: which columns a row has, in which order, and the questions that all of them understand.
//!
//! Parameters are written `$1`, `$2`, ... in their order, each once. Owns no connection. Deliberately has nothing of what is written: each kind has
//! its own way to write many rows at once.

use super::{HoldingRow, Position, RowState, StoreError, TermsRow};

/// All positions, as [`position_of`] reads them.
pub const POSITIONS: &str = "SELECT sku, opened_ms, entry, checksum, halted FROM ledger_position";

/// That of one name.
pub const POSITION: &str =
    "SELECT sku, opened_ms, entry, checksum, halted FROM ledger_position WHERE sku = $1";

/// The names of the sales that nobody closed, among those that have their names now.
pub const OPEN_SALES: &str =
    "SELECT p.sku FROM ledger_position p JOIN ledger_sale s ON s.sku = p.sku AND s.opened_ms = p.opened_ms
    WHERE s.is_on AND NOT s.is_closed";

/// A page of a sale (name, when it was opened) behind a place in line, of so many rows, as [`holding_of`] reads them.
pub const PAGE: &str =
    "SELECT seq, user_id, count, held, state, since_ms, expires_ms, changed_ms, entry FROM reservation
    WHERE sku = $1 AND opened_ms = $2 AND seq > $3 ORDER BY seq LIMIT $4";

/// The terms of a sale, as [`terms_of`] reads them.
pub const TERMS: &str =
    "SELECT places, per_user, start_ms, end_ms, hold_ms, holders_of, is_closed, is_on, entry FROM ledger_sale
    WHERE sku = $1 AND opened_ms = $2";

/// How many holdings of a sale have places.
pub const HOLDERS: &str =
    "SELECT count(*) FROM reservation WHERE sku = $1 AND opened_ms = $2 AND state IN ('held', 'confirmed')";

/// How many holdings of a sale went to another one.
pub const MOVED: &str =
    "SELECT count(*) FROM reservation WHERE sku = $1 AND opened_ms = $2 AND state = 'moved'";

/// A row of some database.
pub trait Cells {
    /// The number in this column, counted from 0.
    fn number(&self, column: usize) -> Result<i64, StoreError>;
    /// Whether it is true.
    fn flag(&self, column: usize) -> Result<bool, StoreError>;
    /// The text in it, where there is one.
    fn text_if_any(&self, column: usize) -> Result<Option<String>, StoreError>;

    /// The text in it.
    fn text(&self, column: usize) -> Result<String, StoreError> {
        let none = || StoreError::Failed(format!("column {column} of a row is empty, and no table has that"));
        self.text_if_any(column)?.ok_or_else(none)
    }
}

/// A name and its position.
pub fn position_of(row: &impl Cells) -> Result<(String, Position), StoreError> {
    let position = Position {
        opened_ms: row.number(1)?,
        entry: row.number(2)?,
        checksum: row.number(3)?,
        halted: row.text_if_any(4)?,
    };
    Ok((row.text(0)?, position))
}

/// A holding.
pub fn holding_of(row: &impl Cells) -> Result<HoldingRow, StoreError> {
    let word = row.text(4)?;
    let state = RowState::of_word(&word)
        .ok_or_else(|| StoreError::Failed(format!("'{word}' is no state of a reservation")))?;
    Ok(HoldingRow {
        seq: row.number(0)?,
        user: row.text(1)?,
        count: row.number(2)?,
        held: row.number(3)?,
        state,
        since_ms: row.number(5)?,
        expires_ms: row.number(6)?,
        changed_ms: row.number(7)?,
        entry: row.number(8)?,
    })
}

/// Terms.
pub fn terms_of(row: &impl Cells) -> Result<TermsRow, StoreError> {
    Ok(TermsRow {
        limit: row.number(0)?,
        per_user: row.number(1)?,
        start_ms: row.number(2)?,
        end_ms: row.number(3)?,
        hold_ms: row.number(4)?,
        holders_of: row.text(5)?,
        is_closed: row.flag(6)?,
        is_on: row.flag(7)?,
        entry: row.number(8)?,
    })
}
