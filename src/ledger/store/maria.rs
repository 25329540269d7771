//! MariaDB. Rows of a transaction travel in statements of many rows, so a batch costs few round trips.
//!
//! The lock of the one process that works is a named lock of the session that writes: it ends with the connection, and so does the transaction. Commits are as durable as
//! the server makes them: it says so when it is opened, and a warning says if it is not. Where the server does not hear that the connection ended, a later
//! session of the same process ends the former; it knows it by a second lock, whose name is random. Of a process that is gone with its machine the server ends
//! the session itself.
//!
//! Text is compared byte by byte, blanks at its end too. A change of tables commits by itself, so each of its statements may be run a second time.

use std::time::Duration;

use mysql_async::prelude::{FromValue, Queryable};
use mysql_async::{Conn, Opts, OptsBuilder, Params, Row, SslOpts, Transaction, TxOpts, Value};

use super::super::fault;
use super::hints;
use super::rows::{self, Cells, holding_of, position_of, terms_of};
use super::schema;
use super::{Halt, HoldingRow, Position, SILENCE_MAX, SaleStep, Security, Step, StoreError, TermsRow};

/// Rows of one statement: a batch is cut into the largest that fit. A statement of the largest size has 5,632 values, and 65,535 are allowed.
const ROWS: [usize; 4] = [512, 64, 8, 1];

/// The bytes of the texts of one statement, which with its numbers is below the smallest `max_allowed_packet` that was ever a default, 1 MiB.
const TEXT_BYTES_MAX: usize = 512 * 1024;

/// The codes of the server's errors for a key that is there already, and for a table and a session that are not.
const DUPLICATE_KEY: u16 = 1062;
const NO_SUCH_TABLE: u16 = 1146;
const NO_SUCH_SESSION: u16 = 1094;

/// See the module.
pub struct MariaStore {
    connection: Conn,
    /// In the name of the lock that only this session has.
    mark: i64,
}

/// What each session says first: text is what it was given or an error, and an operator's comparison may pause.
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

impl From<mysql_async::Error> for StoreError {
    fn from(error: mysql_async::Error) -> Self {
        Self::Failed(match error {
            mysql_async::Error::Server(said) => {
                format!("MariaDB: {}{} ({})", said.message, hints::of_maria(said.code), said.code)
            }
            // Its own text says twice that it is an error of input or output.
            mysql_async::Error::Io(mysql_async::IoError::Io(error)) => format!("MariaDB: {error}"),
            mysql_async::Error::Io(error) => format!("MariaDB: {error}"),
            other => format!("MariaDB: {other}"),
        })
    }
}

impl MariaStore {
    /// Connects, and makes or changes the tables.
    pub async fn open(url: &str, security: &Security) -> Result<Self, StoreError> {
        let opts = Opts::from_url(url).map_err(|error| StoreError::Failed(format!("ledger.url: {error}")))?;
        let opts = OptsBuilder::from_opts(opts)
            .prefer_socket(false)
            // An update that changes nothing found its row all the same.
            .client_found_rows(true)
            .tcp_keepalive(Some(Duration::from_secs(60)))
            .ssl_opts(sessions(security));
        let mut connection = Conn::new(opts).await?;
        let query = "SELECT VERSION(), @@innodb_flush_log_at_trx_commit";
        let said: Option<Row> = connection.query_first(query).await?;
        let said = said.ok_or_else(|| StoreError::Failed("MariaDB does not say its version".to_owned()))?;
        let (version, flush) = (said.text(0)?, said.number(1)?);
        if !version.contains("MariaDB") {
            let why = format!(
                "ledger.url names a MySQL {version}; of its kind, MariaDB 10.6 and later are known here"
            );
            return Err(StoreError::Failed(why));
        }
        if flush != 1 {
            tracing::warn!(
                "innodb_flush_log_at_trx_commit is {flush} there: a power failure can undo commits of which Redis forgets the entries; set 1"
            );
        }
        connection.query_drop(SESSION).await?;
        migrate(&mut connection).await?;
        Ok(Self { connection, mark: rand::random() })
    }

    pub async fn take_lock(&mut self) -> Result<bool, StoreError> {
        let is_taken = get_lock(&mut self.connection, "", 0).await?;
        if is_taken {
            get_lock(&mut self.connection, &name_of_mark(self.mark), 0).await?;
            let query = format!("SET SESSION wait_timeout = {}", fault::patience(SILENCE_MAX).as_secs());
            self.connection.query_drop(query).await?;
        }
        Ok(is_taken)
    }

    pub fn mark(&self) -> i64 {
        self.mark
    }

    pub async fn end_session(&mut self, mark: i64) -> Result<bool, StoreError> {
        let query = format!("SELECT IS_USED_LOCK({LOCK}), IS_USED_LOCK(CONCAT({LOCK}, ?))");
        let found: Option<Row> = self.connection.exec_first(query, (name_of_mark(mark),)).await?;
        let Some(row) = found else { return Ok(false) };
        let (has_lock, has_mark): (Option<u64>, Option<u64>) = (cell(&row, 0)?, cell(&row, 1)?);
        let Some(session) = has_lock.filter(|_| has_lock == has_mark) else { return Ok(false) };
        match self.connection.query_drop(format!("KILL CONNECTION {session}")).await {
            // It has ended meanwhile.
            Err(mysql_async::Error::Server(said)) if said.code == NO_SUCH_SESSION => Ok(true),
            ended => Ok(ended.map(|()| true)?),
        }
    }

    pub async fn look(&mut self) -> Result<(), StoreError> {
        Ok(self.connection.ping().await?)
    }

    pub async fn positions(&mut self) -> Result<Vec<(String, Position)>, StoreError> {
        self.ask(rows::POSITIONS, (), position_of).await
    }

    pub async fn position(&mut self, sku: &str) -> Result<Option<Position>, StoreError> {
        Ok(self.ask(rows::POSITION, (sku,), position_of).await?.pop().map(|(_, position)| position))
    }

    pub async fn open_sales(&mut self) -> Result<Vec<String>, StoreError> {
        self.ask(rows::OPEN_SALES, (), |row| row.text(0)).await
    }

    pub async fn apply(&mut self, steps: &[Step]) -> Result<(), StoreError> {
        let mut transaction = self.connection.start_transaction(TxOpts::default()).await?;
        for (from, step) in steps {
            write_position(&mut transaction, from.as_ref(), step).await?;
        }
        write_rows(&mut transaction, steps).await?;
        for (_, step) in steps {
            write_terms(&mut transaction, step).await?;
        }
        fault::point("before_commit");
        transaction.commit().await?;
        fault::point("after_commit");
        Ok(())
    }

    pub async fn halt(&mut self, halt: &Halt) -> Result<(), StoreError> {
        let Halt { sku, opened_ms, from, why } = halt;
        let done = match from {
            None => {
                let query = "INSERT INTO ledger_position (sku, opened_ms, entry, checksum, halted) VALUES (?, ?, 0, 0, ?)";
                self.connection.exec_drop(query, (sku, opened_ms, why)).await
            }
            Some(from) => {
                let query = "UPDATE ledger_position SET halted = ?
                    WHERE sku = ? AND opened_ms = ? AND entry = ? AND checksum = ?";
                let values = (why, sku, from.opened_ms, from.entry, from.checksum);
                self.connection.exec_drop(query, values).await
            }
        };
        match done {
            Err(mysql_async::Error::Server(said)) if said.code == DUPLICATE_KEY => {
                Err(StoreError::Moved(sku.clone()))
            }
            Ok(()) if self.connection.affected_rows() != 1 => Err(StoreError::Moved(sku.clone())),
            done => Ok(done?),
        }
    }

    pub async fn page(
        &mut self,
        (sku, opened_ms): (&str, i64),
        after: i64,
        count: usize,
    ) -> Result<Vec<HoldingRow>, StoreError> {
        self.ask(rows::PAGE, (sku, opened_ms, after, count as u64), holding_of).await
    }

    pub async fn terms(&mut self, sku: &str, opened_ms: i64) -> Result<Option<TermsRow>, StoreError> {
        Ok(self.ask(rows::TERMS, (sku, opened_ms), terms_of).await?.pop())
    }

    pub async fn holders(&mut self, sku: &str, opened_ms: i64) -> Result<i64, StoreError> {
        let counts = self.ask(rows::HOLDERS, (sku, opened_ms), |row| row.number(0)).await?;
        Ok(counts.into_iter().sum())
    }

    pub async fn moved(&mut self, sku: &str, opened_ms: i64) -> Result<i64, StoreError> {
        let counts = self.ask(rows::MOVED, (sku, opened_ms), |row| row.number(0)).await?;
        Ok(counts.into_iter().sum())
    }

    /// What a query answers, each row as `read` has it.
    async fn ask<T>(
        &mut self,
        query: &str,
        values: impl Into<Params> + Send,
        read: impl Fn(&Row) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let rows: Vec<Row> = self.connection.exec(with_marks(query), values).await?;
        rows.iter().map(read).collect()
    }
}

/// A query of [`rows`] with its parameters as MariaDB has them.
fn with_marks(query: &str) -> String {
    (1..=4).fold(query.to_owned(), |query, number| query.replace(&format!("${number}"), "?"))
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

/// Whether the driver can read an address.
///
/// # Errors
/// It can't: in words that do not have the address in them.
pub fn check_url(url: &str) -> Result<(), String> {
    let wrong = |error: mysql_async::UrlError| format!("ledger.url is no address of MariaDB: {error}");
    Opts::from_url(url).map(drop).map_err(wrong)
}

/// The host and port of an address, or the file of a socket.
pub fn place_of(url: &str) -> String {
    match Opts::from_url(url) {
        Ok(opts) => match opts.socket() {
            Some(socket) => socket.to_owned(),
            None => format!("{}:{}", opts.ip_or_hostname(), opts.tcp_port()),
        },
        Err(_) => "an unknown address".to_owned(),
    }
}

/// What the name of the lock ends with that only a session with this mark has.
fn name_of_mark(mark: i64) -> String {
    format!(".{mark:x}")
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
        while rest.len() >= size && (size == 1 || text_bytes(&rest[..size]) <= TEXT_BYTES_MAX) {
            let (now, behind) = rest.split_at(size);
            rest = behind;
            let values = now.iter().flat_map(|(step, row)| values_of(step, row)).collect();
            transaction.exec_drop(&statement, Params::Positional(values)).await?;
        }
    }
    Ok(())
}

fn text_bytes(rows: &[(&SaleStep, &HoldingRow)]) -> usize {
    rows.iter().map(|(step, row)| step.sku.len() + row.user.len()).sum()
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

impl Cells for Row {
    fn number(&self, column: usize) -> Result<i64, StoreError> {
        cell(self, column)
    }

    fn flag(&self, column: usize) -> Result<bool, StoreError> {
        cell(self, column)
    }

    fn text_if_any(&self, column: usize) -> Result<Option<String>, StoreError> {
        cell(self, column)
    }
}
