//! The SQL database: what is kept in it, and what a store does with it.
//!
//! | table | what |
//! |---|---|
//! | `reservation` | a holding: (sku, opened_ms, seq) is its key, `reservation_user` its index by user |
//! | `reservation_now` | the same of the sale that has the name now (a view) |
//! | `ledger_sale` | the terms of each sale |
//! | `ledger_position` | of each name: which sale of it, up to which entry, and why it is halted if it is |
//! | `ledger_schema` | the version of the tables |
//!
//! Each kind of database is one file, which owns its connection, its lock and its words. All of them keep the same promises: [`Store::apply`]
//! writes all or nothing, durably, and only where nobody else has moved a position; after any error the outcome is unknown, and the store is opened
//! again. Deliberately no layer over all of SQL: each speaks its own, where batches are fast.

mod hints;
mod maria;
mod postgres;
mod rows;
mod schema;
mod secure;
mod sqlite;

use std::time::Duration;

use tokio::time::timeout;

use super::fault;
use crate::config::Secret;
use maria::MariaStore;
use postgres::PostgresStore;
pub use secure::Security;
use sqlite::SqliteStore;

/// A server ends a session that works and has said nothing for so long, and its lock with it: a machine that is gone, or a process that stands still, holds
/// up no other. Several times what the follower lets pass between two signs of life.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// How long a server may take for a connection, and for all that one call asks of it: one that hangs is one that is away.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(30);

/// How errors of servers begin.
const SERVERS: [&str; 2] = ["PostgreSQL", "MariaDB"];

/// Which database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Database {
    /// A file.
    Sqlite(std::path::PathBuf),
    /// A PostgreSQL server: its address, which may hold a password, and whether it is spoken to in TLS.
    Postgres(Secret, Security),
    /// The same of a MariaDB server.
    Maria(Secret, Security),
}

/// What became of a holding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowState {
    /// Some of its places wait to be confirmed.
    Held,
    /// All are final.
    Confirmed,
    /// Given back.
    Cancelled,
    /// Its time was over.
    Expired,
    /// It went to another sale.
    Moved,
    /// It was granted, and Redis lost it.
    Lost,
}

/// A row of `reservation`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldingRow {
    /// The place in line.
    pub seq: i64,
    /// Whose it is.
    pub user: String,
    /// How many places; of a holding that moved, how many it had.
    pub count: i64,
    /// Those of them that wait to be confirmed,
    pub held: i64,
    /// What became of it.
    pub state: RowState,
    /// Since when.
    pub since_ms: i64,
    /// Until when they wait; 0 if none does.
    pub expires_ms: i64,
    /// When it changed last.
    pub changed_ms: i64,
    /// The entry that says so.
    pub entry: i64,
}

/// A row of `ledger_sale`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TermsRow {
    /// How many places there are.
    pub limit: i64,
    /// How many of them a user may have.
    pub per_user: i64,
    /// From when on; 0 for none.
    pub start_ms: i64,
    /// Until when; 0 for none.
    pub end_ms: i64,
    /// How long a place is held.
    pub hold_ms: i64,
    /// The sale whose holders alone may take places; empty for none.
    pub holders_of: String,
    /// An operator closed it.
    pub is_closed: bool,
    /// Entries are written.
    pub is_on: bool,
    /// The entry that says so.
    pub entry: i64,
}

/// A row of `ledger_position`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Which sale of the name: when it was opened.
    pub opened_ms: i64,
    /// The last entry that the database has; 0 for none.
    pub entry: i64,
    /// Its checksum.
    pub checksum: i64,
    /// Why nothing more of the sale is applied.
    pub halted: Option<String>,
}

/// What one transaction writes of one sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaleStep {
    /// Its name.
    pub sku: String,
    /// The position behind it.
    pub to: Position,
    /// Its holdings that changed.
    pub rows: Vec<HoldingRow>,
    /// Its terms, if they changed.
    pub terms: Option<TermsRow>,
    /// How many entries that were.
    pub entries: usize,
    /// When the first and the last of them were written, in unix time.
    pub written_ms: (i64, i64),
}

/// A step, and the position that the database must still have; `None` where it has none of the name.
pub type Step = (Option<Position>, SaleStep);

/// A sale of which nothing more is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// Its name.
    pub sku: String,
    /// Which sale of the name it is.
    pub opened_ms: i64,
    /// The position that the database must still have; `None` where it has none of the name.
    pub from: Option<Position>,
    /// Why, as a clause.
    pub why: String,
}

/// Why the database did not do it. What became of a transaction is not known.
#[derive(Debug)]
pub enum StoreError {
    /// It can't be reached, is busy, is full, or refuses: its words.
    Failed(String),
    /// Somebody else moved a position: there are two processes.
    Moved(String),
    /// Its tables are of a later version than this program knows.
    Later {
        /// Theirs.
        version: i64,
    },
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Failed(why) => f.write_str(why),
            Self::Moved(sku) => {
                write!(
                    f,
                    "another process writes into the same tables: it has moved the position of '{sku}', or of a sale that was to be written with it; \
                    nothing is there a second time"
                )
            }
            Self::Later { version } => write!(
                f,
                "the tables are of version {version}, and this program knows {}; run the program that made them, or a later one",
                schema::VERSION
            ),
        }
    }
}

impl std::error::Error for StoreError {}

impl StoreError {
    /// The same, with the name of the database in place of its kind: where an operator has to look.
    fn at(self, name: &str) -> Self {
        let Self::Failed(why) = self else { return self };
        let kind = name.split(" at ").next().unwrap_or_default();
        Self::Failed(match why.strip_prefix(kind) {
            _ if why.contains(name) => why,
            Some(rest) => format!("{name}{rest}"),
            // A file says nothing of itself.
            None if !SERVERS.contains(&kind) => format!("{name}: {why}"),
            None => why,
        })
    }

    /// What tells one fault from another: the code that the server gave with it, otherwise its words, without numbers that differ each time.
    pub fn kind(&self) -> String {
        // Its words name a sale.
        if let Self::Moved(_) = self {
            return "moved".to_owned();
        }
        let text = self.to_string();
        let code = text.rsplit_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).map(str::to_owned);
        code.unwrap_or_else(|| text.chars().filter(|letter| !letter.is_ascii_digit()).collect())
    }
}

impl RowState {
    const ALL: [Self; 6] =
        [Self::Held, Self::Confirmed, Self::Cancelled, Self::Expired, Self::Moved, Self::Lost];

    /// Its word in the table.
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
            Self::Expired => "expired",
            Self::Moved => "moved",
            Self::Lost => "lost",
        }
    }

    /// The state of this word.
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// The state of a holding behind an entry with this word that leaves it so many places: where some are left it is not gone.
    pub fn of_entry(word: &[u8], confirmed: i64, held: i64) -> Option<Self> {
        let said = Self::ALL.into_iter().find(|state| state.word().as_bytes() == word)?;
        Some(match said {
            Self::Moved => Self::Moved,
            _ if held > 0 => Self::Held,
            _ if confirmed > 0 => Self::Confirmed,
            gone => gone,
        })
    }

    /// Whether places are taken by it.
    pub fn has_places(self) -> bool {
        matches!(self, Self::Held | Self::Confirmed)
    }
}

impl Database {
    /// Its name for people.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Sqlite(_) => "sqlite",
            Self::Postgres(..) => "postgres",
            Self::Maria(..) => "mariadb",
        }
    }

    /// Its name in errors: the file, or kind, host and port of a server. Never the address, which may hold a password.
    fn name(&self) -> String {
        match self {
            Self::Sqlite(path) => path.display().to_string(),
            Self::Postgres(url, _) => format!("{} at {}", SERVERS[0], postgres::place_of(url.reveal())),
            Self::Maria(url, _) => format!("{} at {}", SERVERS[1], maria::place_of(url.reveal())),
        }
    }

    /// The database of an address.
    ///
    /// # Errors
    /// It is none that is known here, or can't be read: a sentence that names what is.
    pub fn of_url(url: &str) -> Result<Self, String> {
        match url.split_once(':') {
            Some(("sqlite", path)) if path == ":memory:" || path.starts_with("file:") => Err(
                "ledger.url names no file: what is in memory ends with the process, and Redis forgets what the database has; set sqlite:FILE".to_owned(),
            ),
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::Sqlite(path.into())),
            Some(("postgres" | "postgresql", _)) => {
                let (url, security) = secure::security_of(url)?;
                postgres::check_url(&url)?;
                Ok(Self::Postgres(Secret::new(url), security))
            }
            Some(("mysql", _)) => {
                let (url, security) = secure::security_of(url)?;
                maria::check_url(&url)?;
                Ok(Self::Maria(Secret::new(url), security))
            }
            // It may hold a password.
            _ => Err("ledger.url names no database that is known here: sqlite:FILE, postgres://USER:PASSWORD@HOST/DATABASE or \
                mysql://USER:PASSWORD@HOST/DATABASE".to_owned()),
        }
    }
}

/// An open database.
pub struct Store {
    opened: Opened,
    /// Its name in errors.
    name: String,
}

enum Opened {
    Sqlite(SqliteStore),
    Postgres(Box<PostgresStore>),
    Maria(Box<MariaStore>),
}

/// Asks the database that is open, whichever it is.
macro_rules! ask {
    ($store:expr, $method:ident ( $($argument:expr),* )) => {
        match &mut $store.opened {
            Opened::Sqlite(store) => store.$method($($argument),*).map_err(|error| error.at(&$store.name)),
            Opened::Postgres(store) => in_time(PATIENCE, &$store.name, store.$method($($argument),*)).await,
            Opened::Maria(store) => in_time(PATIENCE, &$store.name, store.$method($($argument),*)).await,
        }
    };
}

impl Store {
    /// Opens it, and makes or changes its tables.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn open(database: &Database) -> Result<Self, StoreError> {
        let name = database.name();
        let opened = match database {
            Database::Sqlite(path) => {
                Opened::Sqlite(SqliteStore::open(path).map_err(|error| error.at(&name))?)
            }
            Database::Postgres(url, security) => {
                let opening = PostgresStore::open(url.reveal(), security);
                let store = in_time(CONNECT_PATIENCE, &name, opening).await?;
                Opened::Postgres(Box::new(store))
            }
            Database::Maria(url, security) => {
                let opening = MariaStore::open(url.reveal(), security);
                let store = in_time(CONNECT_PATIENCE, &name, opening).await?;
                Opened::Maria(Box::new(store))
            }
        };
        Ok(Self { opened, name })
    }

    /// Takes the lock of the one process that works. False while another has it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn take_lock(&mut self) -> Result<bool, StoreError> {
        // A test has two processes work at once, as if the lock did not hold.
        if fault::is_set("HOTGATE_LEDGER_WITHOUT_LOCK") {
            return Ok(true);
        }
        ask!(self, take_lock())
    }

    /// What tells its session from all others once it has the lock; `None` where the lock ends with the process in any case.
    pub fn mark(&self) -> Option<i64> {
        match &self.opened {
            Opened::Sqlite(_) => None,
            Opened::Postgres(store) => Some(store.mark()),
            Opened::Maria(store) => Some(store.mark()),
        }
    }

    /// Has the server end the session of this mark if that has the lock: its connection is lost, and the server does not know. Whether it had.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn end_session(&mut self, mark: i64) -> Result<bool, StoreError> {
        match &mut self.opened {
            Opened::Sqlite(_) => Ok(false),
            Opened::Postgres(store) => in_time(PATIENCE, &self.name, store.end_session(mark)).await,
            Opened::Maria(store) => in_time(PATIENCE, &self.name, store.end_session(mark)).await,
        }
    }

    /// Whether it is there, and this process can go on with it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn look(&mut self) -> Result<(), StoreError> {
        ask!(self, look())
    }

    /// All positions, by name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn positions(&mut self) -> Result<Vec<(String, Position)>, StoreError> {
        ask!(self, positions())
    }

    /// The position of one name.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn position(&mut self, sku: &str) -> Result<Option<Position>, StoreError> {
        ask!(self, position(sku))
    }

    /// The names of sales that nobody closed: Redis has them, or lost them.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn open_sales(&mut self) -> Result<Vec<String>, StoreError> {
        ask!(self, open_sales())
    }

    /// Writes all steps in one transaction.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn apply(&mut self, steps: &[Step]) -> Result<(), StoreError> {
        ask!(self, apply(steps))
    }

    /// Halts a sale, if the database still has the position at which the gap was found.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn halt(&mut self, halt: &Halt) -> Result<(), StoreError> {
        ask!(self, halt(halt))
    }

    /// At most so many holdings of a sale behind this place in line, in line.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn page(
        &mut self,
        sale: (&str, i64),
        after: i64,
        count: usize,
    ) -> Result<Vec<HoldingRow>, StoreError> {
        ask!(self, page(sale, after, count))
    }

    /// The terms of a sale.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn terms(&mut self, sku: &str, opened_ms: i64) -> Result<Option<TermsRow>, StoreError> {
        ask!(self, terms(sku, opened_ms))
    }

    /// How many holdings of a sale have places.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn holders(&mut self, sku: &str, opened_ms: i64) -> Result<i64, StoreError> {
        ask!(self, holders(sku, opened_ms))
    }

    /// How many holdings of a sale went to another one.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn moved(&mut self, sku: &str, opened_ms: i64) -> Result<i64, StoreError> {
        ask!(self, moved(sku, opened_ms))
    }
}

/// Does it in time, or not at all.
async fn in_time<T>(
    patience: Duration,
    name: &str,
    work: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let late = || Err(StoreError::Failed(format!("{name} does not answer in time")));
    let done = timeout(fault::patience(patience), work).await.unwrap_or_else(|_| late());
    done.map_err(|error| error.at(name))
}
