//! The ledger: a process of its own that brings what happens in sales into an SQL database, in order, once, however often anything dies.
//!
//! # The round trip of an entry
//!
//! ```text
//!   script of a sale --XADD 17-0--> stream      the step that grants writes the entry; its number is counted in the sale
//!         (a) node      Redis says which streams changed (CLIENT TRACKING)
//!         (b) follower  XRANGE from the last entry that the database has, that one included
//!         (c) fold      entries become rows; a number that is missing is a gap
//!         (d) store     rows and position: one transaction, and only if the position is still the one that was read from
//!         (e) follower  tells the sale how far the database is; Redis trims what lies before that
//! ```
//!
//! # Exactly once
//!
//! The position of a sale (which sale of the name, which entry) changes in the transaction that has the rows. A transaction whose outcome is not
//! known is not repeated: the positions are read again, and reading goes on behind them. Rows are whole states of a holding and not
//! changes, with (sku, opened, seq) as their key, so even an entry that came twice would leave the same row.
//!
//! Only one process works: it has a lock that ends with it (a lock of the file, or of the database session that writes; a server ends a session that is silent).
//! Should two work all the same, the position decides: a transaction whose position was moved by another is rolled back, and so is the word that a sale has a gap.
//!
//! # Gaps
//!
//! Entries have the numbers 1, 2, 3, ... The first that is read must be the very one that the position names (its checksum is kept), and each
//! must follow the one before. So these are found: entries that were trimmed unread; entries that a failover lost while the database has them,
//! also where Redis has written others under their numbers since; entries deleted by hand. A sale with a gap is halted: nothing more of it is applied,
//! the cause stands in the database, in the log and in the figures, and other sales go on. `hotgate ledger resync` takes Redis's word for it.
//!
//! # Which sales changed
//!
//! Nobody is polled in turn. Each master is asked over a connection with CLIENT TRACKING: whoever reads a stream is told once when it changes, whichever
//! script changes it, and reads it again then. So an idle sale costs nothing, a busy one is read as often as rounds go, and the same
//! holds for the registry of sales. A second connection gets the messages; if either breaks, all that the node has is read again. As an insurance, each
//! sale is looked at once a minute.
//!
//! # Trimming
//!
//! Redis trims a stream below the position only, after the commit, by a script of the sale that compares when it was opened. A commit that a power
//! failure could undo would lose entries, so databases commit durably. How far the database is stands in the sale's own numbers; there a grant sees, without
//! another look, that more than `ledger.lag_max` entries are unread (`ledger.required`).
//!
//! # What it deliberately does not do
//!
//! It makes no grant and refuses none; the data path does not know it. It writes no row of its own into Redis but the position, and one key with a report of how it does.

mod asker;
mod counts;
mod database;
mod entry;
mod fault;
mod fold;
mod follower;
mod listed;
mod lost;
mod names;
mod node;
mod registry;
mod reload;
mod report;
mod restore;
mod resync;
mod round;
mod sale;
mod status;
pub mod store;
mod upstream;
mod verify;

use std::future::Future;
use std::pin::pin;

use crate::config::Config;
use crate::control::reload::ConfigSource;
use asker::Asker;
use counts::Counts;
use follower::Follower;
use reload::{Reloads, Running};
use store::{Database, Store, StoreError};
use upstream::Upstream;

/// How a run ended that nobody had to break off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All that there was is in the database, or the process was told to stop.
    Well,
    /// So many sales are halted.
    Halted(usize),
    /// The database does not have what there is, and was tried often enough: why.
    GaveUp(String),
}

/// Follows all sales until `stop`; with `once` until the database has what there is. At each SIGHUP it reads its configuration again.
///
/// # Errors
/// It can't start: no database is configured, or its tables are of a later version.
pub async fn run(
    config: Config,
    source: ConfigSource,
    once: bool,
    stop: impl Future<Output = ()>,
) -> Result<Ended, String> {
    let mut reloads = Reloads::listen(source)?;
    let mut running = Running::open(config.clone()).await?;
    let mut in_force = config;
    let (mut stop, mut counts) = (pin!(stop), Counts::default());
    loop {
        let mut follower = Follower::new(running.servers, running.database, counts);
        // What is broken off here is as if the process had ended: that may happen anywhere.
        let next = tokio::select! {
            ended = follower.run(once) => return ended.map_err(|error: StoreError| error.to_string()),
            next = reloads.next(&in_force) => next,
            () = &mut stop => {
                tracing::info!("stopped; the database has what was committed, and the next start goes on behind it");
                return Ok(Ended::Well);
            }
        };
        counts = follower.into_counts();
        (in_force, running) = next;
    }
}

/// What an operator does with the ledger of a sale.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Compares Redis and the database, for one sale or for all.
    Verify(Option<Vec<u8>>),
    /// Gives the holders of a sale back to a Redis that does not have it.
    Restore(Vec<u8>),
    /// Takes Redis's word for a sale that is halted, or lost.
    Resync(Vec<u8>),
}

/// Does it, with what it finds passed to `say`. Returns whether all is as it should be.
///
/// # Errors
/// A side does not answer, or refuses: in words.
pub async fn act(config: Config, verb: Verb, mut say: impl FnMut(String)) -> Result<bool, String> {
    let database = database_of(&config)?;
    let unread_max = if config.ledger.required { config.ledger.lag_max as i64 } else { 0 };
    let mut store = Store::open(&database).await.map_err(|error| error.to_string())?;
    let mut asker = Asker::new(Upstream::open(config).await?).await;
    match verb {
        Verb::Verify(sku) => {
            let differences = verify::verify(&mut asker, &mut store, sku.as_deref(), &mut say).await?;
            say(format!("{differences} differences"));
            Ok(differences == 0)
        }
        Verb::Restore(sku) => {
            let holders = restore::restore(&mut asker, &mut store, &sku, unread_max).await?;
            say(format!("{holders} holders were given back"));
            Ok(true)
        }
        Verb::Resync(sku) => {
            if !store.take_lock().await.map_err(|error| error.to_string())? {
                return Err("a ledger process works on this database; stop it first".to_owned());
            }
            let lost = resync::resync(&mut asker, &mut store, &sku, &mut say).await?;
            say(format!("the database has what Redis has; {lost} holdings were lost"));
            Ok(true)
        }
    }
}

fn database_of(config: &Config) -> Result<Database, String> {
    let url = config.ledger.url.as_ref().ok_or(
        "no database is configured; set ledger.url, for example to \"sqlite:reservations.db\", in the file that --config names",
    )?;
    Database::of_url(url.reveal())
}
