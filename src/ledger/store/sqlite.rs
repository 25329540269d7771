//! SQLite: a file, for one machine. The default.
//!
//! The write-ahead log is synced with every commit (`synchronous = FULL`): Redis forgets what was committed. The lock of the one process that works is that of a
//! file beside the database, which the system takes back when the process ends, however it ends.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, Params, Row, Transaction, TransactionBehavior, params};

use super::hints;
use super::rows::{self, Cells, holding_of, position_of, terms_of};
use super::schema;
use super::{Halt, HoldingRow, Position, SaleStep, Step, StoreError, TermsRow};

/// How long a statement waits for others that use the file.
const BUSY_PATIENCE: Duration = Duration::from_secs(2);

/// Statements kept ready.
const STATEMENTS_MAX: usize = 16;

/// See the module.
pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
    /// Device and number of the file that was opened.
    file: (u64, u64),
    /// Locked while it is there.
    lock: Option<File>,
}

const UPSERT: &str = "INSERT INTO reservation
    (sku, opened_ms, seq, user_id, count, held, state, since_ms, expires_ms, changed_ms, entry)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT (sku, opened_ms, seq) DO UPDATE SET user_id = excluded.user_id, count = excluded.count, held = excluded.held,
    state = excluded.state, since_ms = excluded.since_ms, expires_ms = excluded.expires_ms, changed_ms = excluded.changed_ms,
    entry = excluded.entry";

const BEGIN_POSITION: &str =
    "INSERT INTO ledger_position (sku, opened_ms, entry, checksum) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (sku) DO NOTHING";

const MOVE_POSITION: &str =
    "UPDATE ledger_position SET opened_ms = ?2, entry = ?3, checksum = ?4, halted = ?8
    WHERE sku = ?1 AND opened_ms = ?5 AND entry = ?6 AND checksum = ?7";

const SET_TERMS: &str = "INSERT OR REPLACE INTO ledger_sale
    (sku, opened_ms, places, per_user, start_ms, end_ms, hold_ms, holders_of, is_closed, is_on, entry)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(match error {
            // Its own text has the whole statement in it.
            rusqlite::Error::SqlInputError { msg, .. } => format!("{msg}{}", hints::of_sqlite(&msg)),
            other => other.to_string(),
        })
    }
}

impl SqliteStore {
    /// Opens the file, which is made if it is missing.
    ///
    /// # Errors
    /// It can't be opened, or its tables are of a later version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let named = |error: rusqlite::Error| StoreError::Failed(format!("{}: {error}", path.display()));
        let mut connection = Connection::open(path).map_err(named)?;
        connection.busy_timeout(BUSY_PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        connection.pragma_update(None, "journal_mode", "WAL").map_err(named)?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        migrate(&mut connection)?;
        let file = file_at(path)?;
        Ok(Self { connection, path: path.to_owned(), file, lock: None })
    }

    /// Whether the file that was opened is still the one of that name: what is written into another is lost with it, and Redis forgets what was committed.
    pub fn look(&mut self) -> Result<(), StoreError> {
        if file_at(&self.path)? == self.file {
            return Ok(());
        }
        let why = "it is another file than the one that was opened: somebody has put it there meanwhile";
        Err(StoreError::Failed(format!("{}: {why}", self.path.display())))
    }

    pub fn take_lock(&mut self) -> Result<bool, StoreError> {
        if self.lock.is_some() {
            return Ok(true);
        }
        let mut name = self.path.clone().into_os_string();
        name.push(".lock");
        let failed = |error: std::io::Error| {
            StoreError::Failed(format!("the lock {}: {error}", Path::new(&name).display()))
        };
        let file = File::options().create(true).append(true).open(&name).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                self.lock = Some(file);
                Ok(true)
            }
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    pub fn positions(&mut self) -> Result<Vec<(String, Position)>, StoreError> {
        self.ask(rows::POSITIONS, [], |row| position_of(row))
    }

    pub fn position(&mut self, sku: &str) -> Result<Option<Position>, StoreError> {
        Ok(self.ask(rows::POSITION, [sku], |row| position_of(row))?.pop().map(|(_, position)| position))
    }

    pub fn open_sales(&mut self) -> Result<Vec<String>, StoreError> {
        self.ask(rows::OPEN_SALES, [], |row| row.text(0))
    }

    pub fn apply(&mut self, steps: &[Step]) -> Result<(), StoreError> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for (from, step) in steps {
            write_step(&transaction, from.as_ref(), step)?;
        }
        super::super::fault::point("before_commit");
        transaction.commit()?;
        super::super::fault::point("after_commit");
        self.look()
    }

    pub fn halt(&mut self, halt: &Halt) -> Result<(), StoreError> {
        let Halt { sku, opened_ms, from, why } = halt;
        let halted = match from {
            None => self.connection.execute(
                "INSERT INTO ledger_position (sku, opened_ms, entry, checksum, halted) VALUES (?1, ?2, 0, 0, ?3)
                    ON CONFLICT (sku) DO NOTHING",
                params![sku, opened_ms, why],
            )?,
            Some(from) => self.connection.execute(
                "UPDATE ledger_position SET halted = ?2 WHERE sku = ?1 AND opened_ms = ?3 AND entry = ?4 AND checksum = ?5",
                params![sku, why, from.opened_ms, from.entry, from.checksum],
            )?,
        };
        if halted == 1 { Ok(()) } else { Err(StoreError::Moved(sku.clone())) }
    }

    pub fn page(
        &mut self,
        (sku, opened_ms): (&str, i64),
        after: i64,
        count: usize,
    ) -> Result<Vec<HoldingRow>, StoreError> {
        self.ask(rows::PAGE, params![sku, opened_ms, after, count as i64], |row| holding_of(row))
    }

    pub fn terms(&mut self, sku: &str, opened_ms: i64) -> Result<Option<TermsRow>, StoreError> {
        Ok(self.ask(rows::TERMS, params![sku, opened_ms], |row| terms_of(row))?.pop())
    }

    pub fn holders(&mut self, sku: &str, opened_ms: i64) -> Result<i64, StoreError> {
        Ok(self.ask(rows::HOLDERS, params![sku, opened_ms], |row| row.number(0))?.pop().unwrap_or(0))
    }

    pub fn moved(&mut self, sku: &str, opened_ms: i64) -> Result<i64, StoreError> {
        Ok(self.ask(rows::MOVED, params![sku, opened_ms], |row| row.number(0))?.pop().unwrap_or(0))
    }

    /// What a query answers, each row as `read` has it.
    fn ask<T>(
        &mut self,
        query: &str,
        values: impl Params,
        read: impl Fn(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.connection.prepare_cached(query)?;
        let (mut rows, mut found) = (statement.query(values)?, Vec::new());
        while let Some(row) = rows.next()? {
            found.push(read(row)?);
        }
        Ok(found)
    }
}

impl Cells for Row<'_> {
    fn number(&self, column: usize) -> Result<i64, StoreError> {
        Ok(self.get(column)?)
    }

    fn flag(&self, column: usize) -> Result<bool, StoreError> {
        Ok(self.get(column)?)
    }

    fn text_if_any(&self, column: usize) -> Result<Option<String>, StoreError> {
        Ok(self.get(column)?)
    }
}

/// Device and number of the file that has this name now.
fn file_at(path: &Path) -> Result<(u64, u64), StoreError> {
    let named = |error| {
        StoreError::Failed(format!("{}: {error}; somebody has moved it or removed it", path.display()))
    };
    std::fs::metadata(path).map(|file| (file.dev(), file.ino())).map_err(named)
}

/// Brings the tables to the version of now.
fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute(schema::OF_VERSION, [])?;
    let found: Option<i64> =
        transaction.query_row("SELECT max(version) FROM ledger_schema", [], |row| row.get(0))?;
    let version = found.unwrap_or(0);
    if version > schema::VERSION {
        return Err(StoreError::Later { version });
    }
    for statement in schema::SQLITE.iter().skip(version as usize).copied().flatten() {
        transaction.execute(statement, [])?;
    }
    if version < schema::VERSION {
        transaction.execute("DELETE FROM ledger_schema", [])?;
        transaction.execute("INSERT INTO ledger_schema (version) VALUES (?1)", [schema::VERSION])?;
    }
    transaction.commit()?;
    Ok(())
}

fn write_step(
    transaction: &Transaction<'_>,
    from: Option<&Position>,
    step: &SaleStep,
) -> Result<(), StoreError> {
    let SaleStep { sku, to, rows, terms, .. } = step;
    let moved = match from {
        None => transaction.prepare_cached(BEGIN_POSITION)?.execute(params![
            sku,
            to.opened_ms,
            to.entry,
            to.checksum
        ])?,
        Some(from) => transaction.prepare_cached(MOVE_POSITION)?.execute(params![
            sku,
            to.opened_ms,
            to.entry,
            to.checksum,
            from.opened_ms,
            from.entry,
            from.checksum,
            to.halted
        ])?,
    };
    if moved != 1 {
        return Err(StoreError::Moved(sku.clone()));
    }
    let mut upsert = transaction.prepare_cached(UPSERT)?;
    for row in rows {
        let HoldingRow { seq, user, count, held, state, since_ms, expires_ms, changed_ms, entry } = row;
        upsert.execute(params![
            sku,
            to.opened_ms,
            seq,
            user,
            count,
            held,
            state.word(),
            since_ms,
            expires_ms,
            changed_ms,
            entry
        ])?;
    }
    if let Some(terms) = terms {
        let TermsRow { limit, per_user, start_ms, end_ms, hold_ms, holders_of, is_closed, is_on, entry } =
            terms;
        transaction.prepare_cached(SET_TERMS)?.execute(params![
            sku,
            to.opened_ms,
            limit,
            per_user,
            start_ms,
            end_ms,
            hold_ms,
            holders_of,
            is_closed,
            is_on,
            entry
        ])?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "sqlite_tests.rs"]
mod tests;
