//! The journal of write-behind: increments that were answered and are not in Redis yet, on disk.
//!
//! # What it does
//!
//! One journal per process, in a directory of its own that the process keeps locked. Workers pass records in
//! ([`JournalClient`]) and learn how far the disk is. The journal's thread writes the gathered records as one frame, syncs,
//! and gathers the next: group commit. In a worker only the replies that must be durable wait for the disk.
//!
//! # Exactly once across a crash
//!
//! The order is: a delta is on disk, then its reply leaves. The start of a flush (its token, its sum) is on disk, then
//! its bytes leave. Redis acknowledges, then the end of the flush is written, without hurry.
//! So whenever the process is killed, each acknowledged delta is in exactly one of three states: its flush has ended (Redis
//! has it); its flush was started (it is *in doubt*: Redis may have it); or no flush has it (Redis does not have it). The
//! next process sends a flush in doubt again under the same token, and the script applies it unless Redis
//! remembers it ([`crate::combine`] explains tokens).
//!
//! For that the companion keys must keep their names. So with a journal, write-behind uses the gateway id in the journal's header:
//! the id of the process that created the journal. Later processes take it over. Tokens must keep rising, so the header
//! has the highest token ever used ([`Recovery::token_floor`]), and the next process counts from there.
//!
//! The journal cannot say what became of a flush in doubt after Redis has forgotten the token. It says how old the
//! flush is ([`OpenFlush::first_sent_unix_ms`]). If the age is more than half the life of a token, or negative, the clock
//! decides nothing: Redis is asked for the token. Only if Redis remembers none is the flush reported as unknown and not sent.
//!
//! # What it refuses
//!
//! - Records for other servers ([`OpenError::OtherUpstream`]): they would be added to counters that they do not belong to.
//! - Records in a file that has lost its name: nothing is acknowledged.
//! - A damaged file, also in its last record, with its name and the offset ([`OpenError::Damaged`]). A tail that a crash tore is cut
//!   off and reported ([`Tear`] says what that may have cost).
//! - Records while the disk fails, until a new segment could be written.
//! - Deltas while what is pending fills the journal. Flushes go on.
//!
//! # What it deliberately does not do
//!
//! No Redis, no policy, no clock except to space its attempts. It is no leaf: it owns files and a thread. It imports nothing
//! of the crate but the numbers of clusters. These are of one process, so a file lists the clusters' names, and what is read
//! gets the numbers of this process.

mod client;
mod disk;
mod error;
mod frame;
mod frame_head;
mod ledger;
mod record;
mod segments;
mod tail;
mod writer;

use std::{
    io,
    path::{Path, PathBuf},
    sync::mpsc::{SyncSender, sync_channel},
    thread::JoinHandle,
    time::Instant,
};

use tokio::sync::watch;

pub use client::{JournalClient, JournalNews, Progressed, Ticket};
pub use disk::{Disk, DiskFile, SystemDisk};
pub use error::{OpenError, RefusedRecord};
pub use frame::JournalCluster;
pub use ledger::{Gathered, OpenFlush, OpenKey};
pub use record::{FlushEnd, JournalKey, Record};
pub use segments::TornTail;
pub use tail::Tear;
pub use writer::JournalFacts;

use crate::route::ClusterId;
use client::Message;
use segments::{Found, Segments};
use writer::{Port, Writer};

/// Records that wait for the disk. At a million deltas per second that is what comes in during a sync of 16 ms; beyond
/// it they are refused as busy.
const QUEUED_RECORDS_MAX: usize = 16_384;

/// The parameters of [`Journal::open`].
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// Its directory, which is made if it does not exist.
    pub directory: PathBuf,
    /// The id that it gets if it is made now.
    pub gateway_id: String,
    /// The clusters that flushes go to, by [`ClusterId`]. What is pending from before servers of which none is among those of its
    /// cluster is refused: it is not theirs.
    pub clusters: Vec<JournalCluster>,
    /// Flush what is pending to these servers, even if the journal names others.
    pub adopt: bool,
    /// The size of all its files together, in bytes. While a new segment is made it can be exceeded by some
    /// megabytes.
    pub bytes_max: u64,
    /// How many workers write to it.
    pub clients: usize,
}

/// The pending increments and flushes that a former process left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// The id by which Redis knows the flushes of this journal.
    pub gateway_id: String,
    /// The highest token that was used; all new ones have to be higher.
    pub token_floor: u64,
    /// The pending deltas, by key. They stay in the journal until their flushes are settled.
    pub keys: Vec<(JournalKey, OpenKey)>,
    /// The torn tails that were cut off.
    pub torn: Option<TornTail>,
}

/// A journal, just opened.
pub struct Opened {
    /// The journal itself.
    pub journal: Journal,
    /// One for each worker.
    pub clients: Vec<JournalClient>,
    /// The state to take over.
    pub recovery: Recovery,
}

/// Owns the thread, which keeps the directory locked.
pub struct Journal {
    sender: SyncSender<Message>,
    thread: Option<JoinHandle<()>>,
    facts: watch::Receiver<JournalFacts>,
}

impl Journal {
    /// Opens the journal of the directory, or makes one. Reads all that a former process left, so it may take a while.
    pub fn open(options: JournalOptions) -> Result<Opened, OpenError> {
        Self::open_on(options, Box::new(SystemDisk))
    }

    /// The same, with another way to write. Reading and locking are the operating system's in any case.
    pub fn open_on(options: JournalOptions, disk: Box<dyn Disk>) -> Result<Opened, OpenError> {
        let JournalOptions { directory, gateway_id, clusters, adopt, bytes_max, clients } = options;
        let lock = segments::lock(&directory)?;
        let mut found = segments::find(&directory)?;
        let number_of = numbers_of(&found, &clusters, adopt, &directory)?;
        found.ledger = found.ledger.renumbered(&number_of);
        let io_error = |error: io::Error| OpenError::Io { path: directory.clone(), error };
        let mut segments = Segments {
            disk,
            directory: directory.clone(),
            gateway_id: found.gateway_id.unwrap_or(gateway_id),
            clusters,
            next_number: found.next_number,
            obsolete: found.obsolete,
            lock,
        };
        let recovery = Recovery {
            gateway_id: segments.gateway_id.clone(),
            token_floor: found.ledger.token_last(),
            keys: found.ledger.keys().map(|(key, open)| (key.clone(), *open)).collect(),
            torn: found.torn,
        };
        let segment = segments.advance(&found.ledger).map_err(io_error)?;
        let (sender, queue) = sync_channel(QUEUED_RECORDS_MAX);
        let (told, facts) = watch::channel(JournalFacts::default());
        let (ports, clients) = (0..clients)
            .map(|index| {
                let (port, progress) = watch::channel(client::Progress::default());
                (Port::new(port), JournalClient::new(index, sender.clone(), progress))
            })
            .unzip();
        let writer = Writer {
            segments,
            segment: Some(segment),
            ledger: found.ledger,
            ports,
            bytes_max,
            facts: JournalFacts { segments: 1, ..JournalFacts::default() },
            told,
            fault: None,
            retry_at: Instant::now(),
        };
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || writer.run(&queue))
            .map_err(io_error)?;
        let journal = Self { sender, thread: Some(thread), facts };
        Ok(Opened { journal, clients, recovery })
    }

    /// Its figures so far.
    pub fn facts(&self) -> JournalFacts {
        *self.facts.borrow()
    }

    /// The same for another thread, for as long as it likes.
    pub fn follow_facts(&self) -> watch::Receiver<JournalFacts> {
        self.facts.clone()
    }
}

/// The number that each cluster of a file has now. Nothing is pending for one that has none.
fn numbers_of(
    found: &Found,
    now: &[JournalCluster],
    adopt: bool,
    directory: &Path,
) -> Result<Vec<Option<ClusterId>>, OpenError> {
    let mut numbers = Vec::new();
    for (place, before) in found.clusters.iter().enumerate() {
        let position = now.iter().position(|cluster| cluster.name == before.name);
        numbers.push(position.map(|position| ClusterId(position as u16)));
        if !found.ledger.keys().any(|(key, _)| key.cluster.position() == place) {
            continue;
        }
        let directory = || directory.to_owned();
        let Some(position) = position else {
            return Err(OpenError::NoCluster { directory: directory(), name: before.name.clone() });
        };
        let (before, now) = (&before.servers, &now[position].servers);
        if !adopt && !before.is_empty() && !shares_server(before, now) {
            let (before, now) = (before.clone(), now.clone());
            return Err(OpenError::OtherUpstream { directory: directory(), before, now });
        }
    }
    Ok(numbers)
}

/// Whether a server is in both lists.
fn shares_server(one: &str, other: &str) -> bool {
    one.split(',').any(|server| other.split(',').any(|other| other == server))
}

impl Drop for Journal {
    /// Writes what was handed over, and gives the directory free.
    fn drop(&mut self) {
        // It waits for room in the queue, which the thread makes; if the thread is gone there is nothing to wait for.
        let _ = self.sender.send(Message::Close);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
