//! PostgreSQL. Rows of a transaction travel as arrays in one statement (`unnest`), so a batch costs one round trip, whatever its size.
//!
//! The lock of the one process that works is an advisory lock of the session that writes: it ends with the connection, and so does the transaction. Where
//! the server does not hear that the connection ended, a later session of the same process ends the former; it knows it by a second lock, whose number is
//! random. Of a process that is gone with its machine the server ends the session itself.
//! Commits are durable (`synchronous_commit = on`), whatever the server's default is.

use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Config, NoTls, Row, Statement, Transaction};

use super::super::fault;
use super::hints;
use super::rows::{self, Cells, holding_of, position_of, terms_of};
use super::schema;
use super::secure::{Security, Sessions};
use super::{Halt, HoldingRow, Position, SILENCE_MAX, Step, StoreError, TermsRow};

/// The number of the lock: `hotgate` in ASCII.
const LOCK: i64 = 0x0068_6f74_6761_7465;

/// See the module.
pub struct PostgresStore {
    client: Client,
    connection: JoinHandle<()>,
    statements: Statements,
    /// The number of the lock that only this session has.
    mark: i64,
}

struct Statements {
    begin_positions: Statement,
    move_positions: Statement,
    upsert: Statement,
    set_terms: Statement,
    page: Statement,
}

const BEGIN_POSITIONS: &str = "INSERT INTO ledger_position (sku, opened_ms, entry, checksum, halted)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[])
    ON CONFLICT (sku) DO NOTHING";

const MOVE_POSITIONS: &str = "UPDATE ledger_position p
    SET opened_ms = n.opened_ms, entry = n.entry, checksum = n.checksum, halted = n.halted
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[])
        AS n (sku, opened_ms, entry, checksum, halted, from_opened, from_entry, from_checksum)
    WHERE p.sku = n.sku AND p.opened_ms = n.from_opened AND p.entry = n.from_entry AND p.checksum = n.from_checksum";

const UPSERT: &str = "INSERT INTO reservation
    (sku, opened_ms, seq, user_id, count, held, state, since_ms, expires_ms, changed_ms, entry)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::bigint[],
        $9::bigint[], $10::bigint[], $11::bigint[])
    ON CONFLICT (sku, opened_ms, seq) DO UPDATE SET user_id = excluded.user_id, count = excluded.count, held = excluded.held,
    state = excluded.state, since_ms = excluded.since_ms, expires_ms = excluded.expires_ms, changed_ms = excluded.changed_ms,
    entry = excluded.entry";

const SET_TERMS: &str = "INSERT INTO ledger_sale
    (sku, opened_ms, places, per_user, start_ms, end_ms, hold_ms, holders_of, is_closed, is_on, entry)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (sku, opened_ms) DO UPDATE SET places = excluded.places, per_user = excluded.per_user, start_ms = excluded.start_ms,
    end_ms = excluded.end_ms, hold_ms = excluded.hold_ms, holders_of = excluded.holders_of, is_closed = excluded.is_closed,
    is_on = excluded.is_on, entry = excluded.entry";

/// Has the server end this session once its client is silent: $1 is how long, for each of the names. Old servers do not have all of them.
const BE_IMPATIENT: &str = "SELECT set_config(s.name, n.value, false)
    FROM unnest(ARRAY['tcp_keepalives_idle', 'tcp_keepalives_interval', 'tcp_keepalives_count', 'tcp_user_timeout',
        'idle_session_timeout', 'idle_in_transaction_session_timeout'], $1::text[]) AS n (name, value)
    JOIN pg_settings s ON s.name = n.name";

/// Ends the session that has both locks of this database. The number of a lock is shown in two halves.
const END_SESSION: &str =
    "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_locks m ON m.pid = l.pid
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND (l.classid::bigint << 32) | l.objid::bigint = $1
    AND m.locktype = 'advisory' AND m.granted AND m.objsubid = 1 AND m.database = l.database
    AND (m.classid::bigint << 32) | m.objid::bigint = $2 LIMIT 1";

/// Whether the driver can read an address.
///
/// # Errors
/// It can't: in words that do not have the address in them.
pub fn check_url(url: &str) -> Result<(), String> {
    let wrong = |error: tokio_postgres::Error| match std::error::Error::source(&error) {
        Some(cause) => format!("ledger.url is no address of PostgreSQL: {cause}"),
        None => format!("ledger.url is no address of PostgreSQL: {error}"),
    };
    url.parse::<Config>().map(drop).map_err(wrong)
}

/// The hosts and ports of an address, or the directory of a socket.
pub fn place_of(url: &str) -> String {
    let Ok(config) = url.parse::<Config>() else { return "an unknown address".to_owned() };
    let ports = config.get_ports();
    let port_of = |at: usize| ports.get(at).or(ports.first()).copied().unwrap_or(5432);
    let places = config.get_hosts().iter().enumerate().map(|(at, host)| match host {
        Host::Tcp(host) => format!("{host}:{}", port_of(at)),
        Host::Unix(directory) => directory.display().to_string(),
    });
    places.collect::<Vec<_>>().join(", ")
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl From<tokio_postgres::Error> for StoreError {
    fn from(error: tokio_postgres::Error) -> Self {
        // Its own text leaves out what the server said.
        match error.as_db_error() {
            Some(said) => {
                let (message, code) = (said.message(), said.code().code());
                Self::Failed(format!("PostgreSQL: {message}{} ({code})", hints::of_postgres(code, message)))
            }
            // Why a connection could not be had is what lies behind it.
            None => match std::error::Error::source(&error) {
                Some(cause) => Self::Failed(format!("PostgreSQL: {error}: {cause}")),
                None => Self::Failed(format!("PostgreSQL: {error}")),
            },
        }
    }
}

impl PostgresStore {
    /// Connects, and makes or changes the tables.
    pub async fn open(url: &str, security: &Security) -> Result<Self, StoreError> {
        let (mut client, connection) = connect(url, security).await?;
        client.batch_execute("SET synchronous_commit = on; SET client_min_messages = warning").await?;
        migrate(&mut client).await?;
        let statements = Statements {
            begin_positions: client.prepare(BEGIN_POSITIONS).await?,
            move_positions: client.prepare(MOVE_POSITIONS).await?,
            upsert: client.prepare(UPSERT).await?,
            set_terms: client.prepare(SET_TERMS).await?,
            page: client.prepare(rows::PAGE).await?,
        };
        Ok(Self { client, connection, statements, mark: rand::random() })
    }

    pub async fn take_lock(&mut self) -> Result<bool, StoreError> {
        let query = "SELECT pg_try_advisory_lock($1)";
        let is_taken: bool = self.client.query_one(query, &[&LOCK]).await?.try_get(0)?;
        if is_taken {
            self.client.query_one(query, &[&self.mark]).await?;
            let silence = fault::patience(SILENCE_MAX);
            let (seconds, ms) = (silence.as_secs().to_string(), silence.as_millis().to_string());
            let values = [seconds, "5".to_owned(), "2".to_owned(), ms.clone(), ms.clone(), ms];
            self.client.execute(BE_IMPATIENT, &[&&values[..]]).await?;
        }
        Ok(is_taken)
    }

    pub fn mark(&self) -> i64 {
        self.mark
    }

    pub async fn end_session(&mut self, mark: i64) -> Result<bool, StoreError> {
        Ok(self.client.query_opt(END_SESSION, &[&LOCK, &mark]).await?.is_some())
    }

    pub async fn look(&mut self) -> Result<(), StoreError> {
        Ok(self.client.batch_execute("SELECT 1").await?)
    }

    pub async fn positions(&mut self) -> Result<Vec<(String, Position)>, StoreError> {
        self.client.query(rows::POSITIONS, &[]).await?.iter().map(position_of).collect()
    }

    pub async fn position(&mut self, sku: &str) -> Result<Option<Position>, StoreError> {
        let row = self.client.query_opt(rows::POSITION, &[&sku]).await?;
        Ok(row.as_ref().map(position_of).transpose()?.map(|(_, position)| position))
    }

    pub async fn open_sales(&mut self) -> Result<Vec<String>, StoreError> {
        self.client.query(rows::OPEN_SALES, &[]).await?.iter().map(|row| row.text(0)).collect()
    }

    pub async fn apply(&mut self, steps: &[Step]) -> Result<(), StoreError> {
        let transaction = self.client.transaction().await?;
        write_steps(&transaction, &self.statements, steps).await?;
        fault::point("before_commit");
        transaction.commit().await?;
        fault::point("after_commit");
        Ok(())
    }

    pub async fn halt(&mut self, halt: &Halt) -> Result<(), StoreError> {
        let Halt { sku, opened_ms, from, why } = halt;
        let halted = match from {
            None => {
                let query = "INSERT INTO ledger_position (sku, opened_ms, entry, checksum, halted) VALUES ($1, $2, 0, 0, $3)
                    ON CONFLICT (sku) DO NOTHING";
                self.client.execute(query, &[sku, opened_ms, why]).await?
            }
            Some(from) => {
                let query = "UPDATE ledger_position SET halted = $2
                    WHERE sku = $1 AND opened_ms = $3 AND entry = $4 AND checksum = $5";
                self.client.execute(query, &[sku, why, &from.opened_ms, &from.entry, &from.checksum]).await?
            }
        };
        if halted == 1 { Ok(()) } else { Err(StoreError::Moved(sku.clone())) }
    }

    pub async fn page(
        &mut self,
        (sku, opened_ms): (&str, i64),
        after: i64,
        count: usize,
    ) -> Result<Vec<HoldingRow>, StoreError> {
        let values: [&(dyn ToSql + Sync); 4] = [&sku, &opened_ms, &after, &(count as i64)];
        self.client.query(&self.statements.page, &values).await?.iter().map(holding_of).collect()
    }

    pub async fn terms(&mut self, sku: &str, opened_ms: i64) -> Result<Option<TermsRow>, StoreError> {
        self.client.query_opt(rows::TERMS, &[&sku, &opened_ms]).await?.as_ref().map(terms_of).transpose()
    }

    pub async fn holders(&mut self, sku: &str, opened_ms: i64) -> Result<i64, StoreError> {
        self.client.query_one(rows::HOLDERS, &[&sku, &opened_ms]).await?.number(0)
    }

    pub async fn moved(&mut self, sku: &str, opened_ms: i64) -> Result<i64, StoreError> {
        self.client.query_one(rows::MOVED, &[&sku, &opened_ms]).await?.number(0)
    }
}

impl Cells for Row {
    fn number(&self, column: usize) -> Result<i64, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn flag(&self, column: usize) -> Result<bool, StoreError> {
        Ok(self.try_get(column)?)
    }

    fn text_if_any(&self, column: usize) -> Result<Option<String>, StoreError> {
        Ok(self.try_get(column)?)
    }
}

/// A session, and the task that has its connection.
async fn connect(url: &str, security: &Security) -> Result<(Client, JoinHandle<()>), StoreError> {
    let mut config: Config = url.parse()?;
    let authorities = match security {
        Security::Plain => {
            let (client, connection) = config.ssl_mode(SslMode::Disable).connect(NoTls).await?;
            // Why it ended is what the next statement says.
            return Ok((client, tokio::spawn(async move { drop(connection.await) })));
        }
        Security::Encrypted => None,
        Security::Verified(file) => Some(file.as_path()),
    };
    let sessions = Sessions::new(authorities).map_err(StoreError::Failed)?;
    let (client, connection) = config.ssl_mode(SslMode::Require).connect(sessions).await?;
    Ok((client, tokio::spawn(async move { drop(connection.await) })))
}

/// Brings the tables to the version of now, one process at a time.
async fn migrate(client: &mut Client) -> Result<(), StoreError> {
    let transaction = client.transaction().await?;
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&(LOCK + 1)]).await?;
    // Who may only write rows may not even ask for a table that is there to be made.
    let is_there = transaction.query_one("SELECT to_regclass('ledger_schema') IS NOT NULL", &[]).await?;
    if !is_there.try_get::<_, bool>(0)? {
        transaction.execute(schema::OF_VERSION, &[]).await?;
    }
    let found: Option<i64> =
        transaction.query_one("SELECT max(version) FROM ledger_schema", &[]).await?.try_get(0)?;
    let version = found.unwrap_or(0);
    if version > schema::VERSION {
        return Err(StoreError::Later { version });
    }
    for statement in schema::POSTGRES.iter().skip(version as usize).copied().flatten() {
        transaction.execute(*statement, &[]).await?;
    }
    if version < schema::VERSION {
        transaction.execute("DELETE FROM ledger_schema", &[]).await?;
        transaction.execute("INSERT INTO ledger_schema (version) VALUES ($1)", &[&schema::VERSION]).await?;
    }
    Ok(transaction.commit().await?)
}

async fn write_steps(
    transaction: &Transaction<'_>,
    statements: &Statements,
    steps: &[Step],
) -> Result<(), StoreError> {
    write_positions(transaction, statements, steps).await?;
    write_rows(transaction, statements, steps).await?;
    for (_, step) in steps {
        let Some(terms) = &step.terms else { continue };
        let TermsRow { limit, per_user, start_ms, end_ms, hold_ms, holders_of, is_closed, is_on, entry } =
            terms;
        let values: [&(dyn ToSql + Sync); 11] = [
            &step.sku,
            &step.to.opened_ms,
            limit,
            per_user,
            start_ms,
            end_ms,
            hold_ms,
            holders_of,
            is_closed,
            is_on,
            entry,
        ];
        transaction.execute(&statements.set_terms, &values).await?;
    }
    Ok(())
}

async fn write_positions(
    transaction: &Transaction<'_>,
    statements: &Statements,
    steps: &[Step],
) -> Result<(), StoreError> {
    for is_new in [true, false] {
        let of: Vec<&Step> = steps.iter().filter(|(from, _)| from.is_none() == is_new).collect();
        if of.is_empty() {
            continue;
        }
        let skus: Vec<&str> = of.iter().map(|(_, step)| step.sku.as_str()).collect();
        let number =
            |number: fn(&Position) -> i64| of.iter().map(|(_, step)| number(&step.to)).collect::<Vec<i64>>();
        let opened = number(|position| position.opened_ms);
        let entries = number(|position| position.entry);
        let checksums = number(|position| position.checksum);
        let halted: Vec<Option<&str>> = of.iter().map(|(_, step)| step.to.halted.as_deref()).collect();
        let from = |number: fn(&Position) -> i64| {
            of.iter().filter_map(|(from, _)| from.as_ref().map(number)).collect::<Vec<i64>>()
        };
        let from_opened = from(|position| position.opened_ms);
        let from_entry = from(|position| position.entry);
        let from_checksum = from(|position| position.checksum);
        let mut values: Vec<&(dyn ToSql + Sync)> = vec![&skus, &opened, &entries, &checksums, &halted];
        let statement = match is_new {
            true => &statements.begin_positions,
            false => {
                values.extend([&from_opened as &(dyn ToSql + Sync), &from_entry, &from_checksum]);
                &statements.move_positions
            }
        };
        if transaction.execute(statement, &values).await? != of.len() as u64 {
            return Err(StoreError::Moved(of[0].1.sku.clone()));
        }
    }
    Ok(())
}

async fn write_rows(
    transaction: &Transaction<'_>,
    statements: &Statements,
    steps: &[Step],
) -> Result<(), StoreError> {
    let all = || steps.iter().flat_map(|(_, step)| step.rows.iter().map(move |row| (step, row)));
    if all().next().is_none() {
        return Ok(());
    }
    let skus: Vec<&str> = all().map(|(step, _)| step.sku.as_str()).collect();
    let opened: Vec<i64> = all().map(|(step, _)| step.to.opened_ms).collect();
    let users: Vec<&str> = all().map(|(_, row)| row.user.as_str()).collect();
    let states: Vec<&str> = all().map(|(_, row)| row.state.word()).collect();
    let number = |number: fn(&HoldingRow) -> i64| all().map(|(_, row)| number(row)).collect::<Vec<i64>>();
    let (seqs, counts) = (number(|row| row.seq), number(|row| row.count));
    let (held, since) = (number(|row| row.held), number(|row| row.since_ms));
    let (expires, changed) = (number(|row| row.expires_ms), number(|row| row.changed_ms));
    let entries = number(|row| row.entry);
    let values: [&(dyn ToSql + Sync); 11] =
        [&skus, &opened, &seqs, &users, &counts, &held, &states, &since, &expires, &changed, &entries];
    transaction.execute(&statements.upsert, &values).await?;
    Ok(())
}
