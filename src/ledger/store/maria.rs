//! MariaDB. Rows of a transaction travel in statements of many rows, so a batch costs few round trips.
//!
//! The lock of the one process that works is a named lock of the session that writes: it ends with the connection, and so does the transaction. Commits are as durable as
//! the server makes them: it says so when it is opened, and a warning says if it is not.
//!
//! Text is compared byte by byte, blanks at its end too. A change of tables commits by itself, so each of its statements may be run a second time.

use std::time::Duration;

use mysql_async::prelude::{FromValue, Queryable};
use mysql_async::{Conn, Opts, OptsBuilder, Params, Row, SslOpts, Transaction, TxOpts, Value};
use tokio::time::timeout;

use super::schema;
use super::{HoldingRow, Position, RowState, SaleStep, Security, Step, StoreError, TermsRow};

/// How long the server may take for a connection, and for a statement.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);

/// Rows of one statement: a batch is cut into the largest that fit. A statement of the largest size has 5,632 values, and 65,535 are allowed.
const ROWS: [usize; 4] = [512, 64, 8, 1];

/// The codes of the server's errors for a key that is there already, and for a table that is not.
const DUPLICATE_KEY: u16 = 1062;
const NO_SUCH_TABLE: u16 = 1146;

/// See the module.
pub struct MariaStore {
    connection: Conn,
}

/// What each session says first: text is what it was given or an error, and a lock that nobody uses for hours stays.
const SESSION: &str = "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', wait_timeout = 31536000, innodb_lock_wait_timeout = 10";

const LOCK: &str = "CONCAT('hotgate.ledger.', SHA1(DATABASE()))";

const BEGIN_POSITION: &str =
    "INSERT INTO ledger_position (sku, opened_ms, entry, checksum) VALUES (?, ?, ?, ?)";

const MOVE_POSITION: &str = "UPDATE ledger_position SET opened_ms = ?, entry = ?, checksum = ?, halted = ?
    WHERE sku = ? AND opened_ms = ? AND entry = ? AND checksum = ?";

const UPSERT: &str = "INSERT INTO reservation
    (sku, opened_ms, seq, user_id, count, held, state, since_ms, expires_ms, changed_ms, entry) VALUES ";

const UPSERT_ROW: &str = "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";

const UPSERT_END: &str = " ON DUPLICATE KEY UPDATE user_id = VALUES(user_id), count = VALUES(count), held = VALUES(held),
    state = VALUES(state), since_ms = VALUES(since_ms), expires_ms = VALUES(expires_ms), changed_ms = VALUES(changed_ms),
    entry = VALUES(entry)";

const SET_TERMS: &str = "INSERT INTO ledger_sale
    (sku, opened_ms, places, per_user, start_ms, end_ms, hold_ms, holders_of, is_closed, is_on, entry)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON DUPLICATE KEY UPDATE places = VALUES(places), per_user = VALUES(per_user), start_ms = VALUES(start_ms),
    end_ms = VALUES(end_ms), hold_ms = VALUES(hold_ms), holders_of = VALUES(holders_of), is_closed = VALUES(is_closed),
    is_on = VALUES(is_on), entry = VALUES(entry)";

const PAGE: &str =
    "SELECT seq, user_id, count, held, state, since_ms, expires_ms, changed_ms, entry FROM reservation
    WHERE sku = ? AND opened_ms = ? AND seq > ? ORDER BY seq LIMIT ?";

const TERMS: &str =
    "SELECT places, per_user, start_ms, end_ms, hold_ms, holders_of, is_closed, is_on, entry FROM ledger_sale
    WHERE sku = ? AND opened_ms = ?";

impl From<mysql_async::Error> for StoreError {
    fn from(error: mysql_async::Error) -> Self {
        Self::Failed(match error {
            mysql_async::Error::Server(said) => format!("MariaDB: {} ({})", said.message, said.code),
            other => format!("MariaDB: {other}"),
        })
    }
}

/// Does it in time, or not at all: a server that hangs is one that is away.
async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = || Err(StoreError::Failed("MariaDB does not answer in time".to_owned()));
    timeout(patience, work).await.unwrap_or_else(|_| late())
}

impl MariaStore {
    /// Connects, and makes or changes the tables.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn open(url: &str, security: &Security) -> Result<Self, StoreError> {
        let opts = Opts::from_url(url).map_err(|error| StoreError::Failed(format!("ledger.url: {error}")))?;
        let opts = OptsBuilder::from_opts(opts)
            .prefer_socket(false)
            // An update that changes nothing found its row all the same.
            .client_found_rows(true)
            .tcp_keepalive(Some(Duration::from_secs(60)))
            .ssl_opts(sessions(security));
        in_time(CONNECT_PATIENCE, async {
            let mut connection = Conn::new(opts).await?;
            let query = "SELECT VERSION(), @@innodb_flush_log_at_trx_commit";
            let said: Option<Row> = connection.query_first(query).await?;
            let said = said.ok_or_else(|| StoreError::Failed("MariaDB does not say its version".to_owned()))?;
            let (version, flush): (String, i64) = (cell(&said, 0)?, cell(&said, 1)?);
            if !version.contains("MariaDB") {
                let why = format!("ledger.url names a MySQL {version}; of its kind, MariaDB 10.6 and later are known here");
                return Err(StoreError::Failed(why));
            }
            if flush != 1 {
                tracing::warn!("innodb_flush_log_at_trx_commit is {flush} there: a power failure can undo commits of which Redis forgets the entries; set 1");
            }
            connection.query_drop(SESSION).await?;
            migrate(&mut connection).await?;
            Ok(Self { connection })
        })
        .await
    }

    /// See [`super::Store::take_lock`].
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn take_lock(&mut self) -> Result<bool, StoreError> {
        in_time(PATIENCE, get_lock(&mut self.connection, "", 0)).await
    }

    /// See [`super::Store::positions`].
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn positions(&mut self) -> Result<Vec<(String, Position)>, StoreError> {
        in_time(PATIENCE, async {
            let query = "SELECT sku, opened_ms, entry, checksum, halted FROM ledger_position";
            let mut positions = Vec::new();
            for row in self.connection.query::<Row, _>(query).await? {
                let position = Position {
                    opened_ms: cell(&row, 1)?,
                    entry: cell(&row, 2)?,
                    checksum: cell(&row, 3)?,
                    halted: cell(&row, 4)?,
                };
                positions.push((cell(&row, 0)?, position));
            }
            Ok(positions)
        })
        .await
    }

    /// See [`super::Store::apply`].
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn apply(&mut self, steps: &[Step]) -> Result<(), StoreError> {
        in_time(PATIENCE, async {
            let mut transaction = self.connection.start_transaction(TxOpts::default()).await?;
            for (from, step) in steps {
                write_position(&mut transaction, from.as_ref(), step).await?;
            }
            write_rows(&mut transaction, steps).await?;
            for (_, step) in steps {
                write_terms(&mut transaction, step).await?;
            }
            super::super::fault::point("before_commit");
            transaction.commit().await?;
            super::super::fault::point("after_commit");
            Ok(())
        })
        .await
    }

    /// See [`super::Store::set_halted`].
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn set_halted(
        &mut self,
        sku: &str,
        opened_ms: i64,
        why: Option<&str>,
    ) -> Result<(), StoreError> {
        let query =
            "INSERT INTO ledger_position (sku, opened_ms, entry, checksum, halted) VALUES (?, ?, 0, 0, ?)
            ON DUPLICATE KEY UPDATE halted = VALUES(halted)";
        in_time(PATIENCE, async { Ok(self.connection.exec_drop(query, (sku, opened_ms, why)).await?) }).await
    }

    /// See [`super::Store::page`].
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn page(
        &mut self,
        (sku, opened_ms): (&str, i64),
        after: i64,
        count: usize,
    ) -> Result<Vec<HoldingRow>, StoreError> {
        in_time(PATIENCE, async {
            let rows: Vec<Row> = self.connection.exec(PAGE, (sku, opened_ms, after, count as u64)).await?;
            rows.iter().map(holding_of).collect()
        })
        .await
    }

    /// See [`super::Store::terms`].
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn terms(&mut self, sku: &str, opened_ms: i64) -> Result<Option<TermsRow>, StoreError> {
        in_time(PATIENCE, async {
            let found: Option<Row> = self.connection.exec_first(TERMS, (sku, opened_ms)).await?;
            let Some(row) = found else { return Ok(None) };
            Ok(Some(TermsRow {
                limit: cell(&row, 0)?,
                per_user: cell(&row, 1)?,
                start_ms: cell(&row, 2)?,
                end_ms: cell(&row, 3)?,
                hold_ms: cell(&row, 4)?,
                holders_of: cell(&row, 5)?,
                is_closed: cell(&row, 6)?,
                is_on: cell(&row, 7)?,
                entry: cell(&row, 8)?,
            }))
        })
        .await
    }
}

/// What the driver needs for TLS.
fn sessions(security: &Security) -> Option<SslOpts> {
    match security {
        Security::Plain => None,
        Security::Encrypted => Some(SslOpts::default().with_danger_accept_invalid_certs(true)),
        Security::Verified(file) => Some(
            SslOpts::default().with_disable_built_in_roots(true).with_root_certs(vec![file.clone().into()]),
        ),
    }
}

/// Takes a lock of this database's ledger; waits so many seconds for it.
async fn get_lock(connection: &mut Conn, name: &str, seconds: u32) -> Result<bool, StoreError> {
    let query = format!("SELECT GET_LOCK(CONCAT({LOCK}, ?), ?)");
    let found: Option<Row> = connection.exec_first(query, (name, seconds)).await?;
    let taken: Option<i64> = found.map_or(Ok(None), |row| cell(&row, 0))?;
    Ok(taken == Some(1))
}

/// Brings the tables to the version of now, one process at a time.
async fn migrate(connection: &mut Conn) -> Result<(), StoreError> {
    if !get_lock(connection, ".tables", 4).await? {
        let why = "MariaDB: another process changes the tables, or ledger.url names no database";
        return Err(StoreError::Failed(why.to_owned()));
    }
    let query = "SELECT MAX(version) FROM ledger_schema";
    let found: Option<Row> = match connection.query_first(query).await {
        // Who may only write rows may not even ask for a table that is there to be made.
        Err(mysql_async::Error::Server(said)) if said.code == NO_SUCH_TABLE => {
            connection.query_drop(schema::OF_VERSION).await?;
            None
        }
        found => found?,
    };
    let version = found.map_or(Ok(None), |row| cell::<Option<i64>>(&row, 0))?.unwrap_or(0);
    if version > schema::VERSION {
        return Err(StoreError::Later { version });
    }
    for statement in schema::MARIA.iter().skip(version as usize).copied().flatten() {
        connection.query_drop(*statement).await?;
    }
    if version < schema::VERSION {
        let mut transaction = connection.start_transaction(TxOpts::default()).await?;
        transaction.query_drop("DELETE FROM ledger_schema").await?;
        transaction.exec_drop("INSERT INTO ledger_schema (version) VALUES (?)", (schema::VERSION,)).await?;
        transaction.commit().await?;
    }
    Ok(connection.query_drop(format!("DO RELEASE_LOCK(CONCAT({LOCK}, '.tables'))")).await?)
}

async fn write_position(
    transaction: &mut Transaction<'_>,
    from: Option<&Position>,
    step: &SaleStep,
) -> Result<(), StoreError> {
    let (sku, to) = (&step.sku, &step.to);
    match from {
        None => {
            let begun =
                transaction.exec_drop(BEGIN_POSITION, (sku, to.opened_ms, to.entry, to.checksum)).await;
            match begun {
                Err(mysql_async::Error::Server(said)) if said.code == DUPLICATE_KEY => {
                    return Err(StoreError::Moved(sku.clone()));
                }
                other => other?,
            }
        }
        Some(from) => {
            let (opened, entry, checksum) = (to.opened_ms, to.entry, to.checksum);
            let before = (from.opened_ms, from.entry, from.checksum);
            let halted = to.halted.as_deref();
            let values = (opened, entry, checksum, halted, sku, before.0, before.1, before.2);
            transaction.exec_drop(MOVE_POSITION, values).await?;
            if transaction.affected_rows() != 1 {
                return Err(StoreError::Moved(sku.clone()));
            }
        }
    }
    Ok(())
}

async fn write_rows(transaction: &mut Transaction<'_>, steps: &[Step]) -> Result<(), StoreError> {
    let all: Vec<(&SaleStep, &HoldingRow)> =
        steps.iter().flat_map(|(_, step)| step.rows.iter().map(move |row| (step, row))).collect();
    let mut rest = &all[..];
    for size in ROWS {
        if rest.len() < size {
            continue;
        }
        let statement = format!("{UPSERT}{}{UPSERT_END}", vec![UPSERT_ROW; size].join(", "));
        while rest.len() >= size {
            let (now, behind) = rest.split_at(size);
            rest = behind;
            let values = now.iter().flat_map(|(step, row)| values_of(step, row)).collect();
            transaction.exec_drop(&statement, Params::Positional(values)).await?;
        }
    }
    Ok(())
}

fn values_of(step: &SaleStep, row: &HoldingRow) -> [Value; 11] {
    let HoldingRow { seq, user, count, held, state, since_ms, expires_ms, changed_ms, entry } = row;
    [
        step.sku.as_str().into(),
        step.to.opened_ms.into(),
        seq.into(),
        user.as_str().into(),
        count.into(),
        held.into(),
        state.word().into(),
        since_ms.into(),
        expires_ms.into(),
        changed_ms.into(),
        entry.into(),
    ]
}

async fn write_terms(transaction: &mut Transaction<'_>, step: &SaleStep) -> Result<(), StoreError> {
    let Some(terms) = &step.terms else { return Ok(()) };
    let TermsRow { limit, per_user, start_ms, end_ms, hold_ms, holders_of, is_closed, is_on, entry } = terms;
    let values: Vec<Value> = vec![
        step.sku.as_str().into(),
        step.to.opened_ms.into(),
        limit.into(),
        per_user.into(),
        start_ms.into(),
        end_ms.into(),
        hold_ms.into(),
        holders_of.as_str().into(),
        is_closed.into(),
        is_on.into(),
        entry.into(),
    ];
    Ok(transaction.exec_drop(SET_TERMS, Params::Positional(values)).await?)
}

/// The value of a column.
fn cell<T: FromValue>(row: &Row, column: usize) -> Result<T, StoreError> {
    let failed =
        || StoreError::Failed(format!("MariaDB: column {column} of a row is not what the tables have"));
    row.get_opt(column).and_then(Result::ok).ok_or_else(failed)
}

fn holding_of(row: &Row) -> Result<HoldingRow, StoreError> {
    let word: String = cell(row, 4)?;
    let state = RowState::of_word(&word)
        .ok_or_else(|| StoreError::Failed(format!("'{word}' is no state of a reservation")))?;
    Ok(HoldingRow {
        seq: cell(row, 0)?,
        user: cell(row, 1)?,
        count: cell(row, 2)?,
        held: cell(row, 3)?,
        state,
        since_ms: cell(row, 5)?,
        expires_ms: cell(row, 6)?,
        changed_ms: cell(row, 7)?,
        entry: cell(row, 8)?,
    })
}
