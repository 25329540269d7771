//! The database as the follower has it: opened until it is open, looked at now and then, given up when it fails. The database's half of the follower.
//!
//! Whatever goes wrong with it, it is opened again and the positions are read anew: what became of a transaction is what they say. Each cause is logged once, until
//! all is well again. Nothing is kept for it meanwhile: entries wait in Redis.

use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::counts::Cause;
use super::fault;
use super::follower::{FAILURES_MAX, Follower, PAUSE, PAUSE_MAX};
use super::names::name_of;
use super::report::REPORT_EVERY;
use super::store::{Database, Position, Store, StoreError};

/// Between two looks at a database into which nothing is written: so it is known to be away before a sale needs it, and a server does not take this process for
/// one that is gone.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// How what is said of the database begins, among all complaints.
const DATABASE: &str = "database ";

/// What is said while another process works.
const ANOTHER: &str = "another process";

/// What a database says that was opened.
struct Found {
    store: Store,
    positions: Vec<(String, Position)>,
    open_sales: Vec<String>,
}

/// What an attempt to open a database comes to.
enum Attempt {
    Opened(Box<Found>),
    /// Another process works.
    Busy,
    /// A session of this process, whose connection was lost, still had the lock; the server ends it.
    Stale,
}

impl Follower {
    /// Opens the database until it is open and this process has its lock, and knows the positions. With `once` it is given up after a while: why.
    pub(super) async fn open_store(&mut self, once: bool) -> Result<Option<String>, StoreError> {
        let mut pause = PAUSE;
        while self.store.is_none() {
            if once && self.failures >= FAILURES_MAX {
                return Ok(Some(self.why_given_up()));
            }
            match self.try_store().await {
                Ok(Attempt::Opened(found)) => {
                    let is_first = !self.was_open;
                    self.take_over(*found);
                    if is_first {
                        let (word, sales) = (self.database.word(), self.positions.len());
                        tracing::info!("following sales into {word}, which knows {sales} of them");
                    }
                    if self.complaints.remove(ANOTHER) {
                        tracing::info!("the other ledger process has ended, or lost the database; this one works now");
                    }
                    // That it can be opened does not say that it takes what it did not take before.
                    if !self.counts.is_untaken {
                        self.on_database_taking_rows();
                    }
                    return Ok(None);
                }
                Ok(Attempt::Stale) => self.say_once(
                    &format!("{DATABASE}session"),
                    "the database still has a session of this process whose connection was lost; it is told to end it",
                ),
                Ok(Attempt::Busy) => {
                    self.say_once(
                        ANOTHER,
                        "another ledger process works on this database; this one waits for its end",
                    );
                    self.is_waiting = true;
                    self.failures += 1;
                }
                Err(error @ StoreError::Later { .. }) => return Err(error),
                Err(error) => {
                    self.is_waiting = false;
                    self.on_database_fault(&error);
                    self.look_without_database().await;
                    self.report().await;
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        Ok(None)
    }

    /// Why `--once` ends: what the database said last.
    fn why_given_up(&self) -> String {
        match self.is_waiting {
            true => "another ledger process works on this database".to_owned(),
            false => self.counts.database_fault.clone(),
        }
    }

    /// Whatever was wrong with the database is over.
    pub(super) fn on_database_taking_rows(&mut self) {
        self.counts.is_untaken = false;
        self.counts.database_fault.clear();
        let before = self.complaints.len();
        self.complaints.retain(|about| !about.starts_with(DATABASE));
        if self.complaints.len() < before {
            tracing::info!("the database takes rows again");
        }
    }

    /// The database did not do it: it has to be opened again.
    pub(super) fn on_database_fault(&mut self, error: &StoreError) {
        self.counts.database_fault = error.to_string();
        self.failures += 1;
        // Each cause once: a server that went away may come back and be full.
        let about = format!("{DATABASE}{}", error.kind());
        self.complain(&about, Cause::Database, &format!("the database does not take rows: {error}"));
        self.store = None;
    }

    async fn try_store(&mut self) -> Result<Attempt, StoreError> {
        let (database, former) = (self.database.clone(), self.counts.session);
        let opening = open(&database, former);
        match self.is_waiting {
            // What is to be said of the ledger, the process that works says.
            true => opening.await,
            false => self.while_reporting(opening).await,
        }
    }

    /// Does something with the database. The report goes on meanwhile: a database that does not answer is no ledger that does not run.
    pub(super) async fn while_reporting<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = sleep(REPORT_EVERY) => self.report().await,
            }
        }
    }

    /// Looks whether the database is there, if nothing was heard of it for a while. False where it has to be opened again.
    pub(super) async fn look_at_database(&mut self) -> bool {
        if self.looked.elapsed() < fault::patience(LOOK_EVERY) {
            return true;
        }
        let Ok(mut store) = self.take_store() else { return false };
        match self.while_reporting(store.look()).await {
            Ok(()) => {
                self.give_store(store);
                true
            }
            Err(error) => {
                self.on_database_fault(&error);
                false
            }
        }
    }

    /// The database, for one piece of work. Whoever it did not fail gives it back.
    pub(super) fn take_store(&mut self) -> Result<Store, StoreError> {
        self.store.take().ok_or_else(|| StoreError::Failed("the database is not open".to_owned()))
    }

    /// Takes it back: it did what it was asked.
    pub(super) fn give_store(&mut self, store: Store) {
        self.store = Some(store);
        self.looked = Instant::now();
    }

    /// Goes on from what a database that was opened has.
    fn take_over(&mut self, found: Found) {
        self.positions = found.positions.into_iter().collect();
        self.open_sales = found.open_sales.into_iter().collect();
        self.counts.session = found.store.mark();
        self.is_waiting = false;
        self.was_open = true;
        self.give_store(found.store);
        let streams: Vec<Bytes> = self.sales.keys().cloned().collect();
        for stream in streams {
            if let Some(sale) = self.sales.get_mut(&stream) {
                *sale = sale.anew(self.positions.get(&sale.text).cloned());
            }
        }
        self.queue.clear();
        self.queue_all(|_| true);
        // Should the registry not have it, it is looked for all the same.
        for text in self.open_sales.clone() {
            self.follow(name_of(&text).into());
        }
    }
}

/// Opens a database, and takes its lock; ends the former session of this process where that still has it.
async fn open(database: &Database, former: Option<i64>) -> Result<Attempt, StoreError> {
    let mut store = Store::open(database).await?;
    if store.take_lock().await? {
        let (positions, open_sales) = (store.positions().await?, store.open_sales().await?);
        return Ok(Attempt::Opened(Box::new(Found { store, positions, open_sales })));
    }
    let is_own = match former {
        Some(mark) => store.end_session(mark).await?,
        None => false,
    };
    Ok(if is_own { Attempt::Stale } else { Attempt::Busy })
}
