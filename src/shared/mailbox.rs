//! The messages between threads. Every mailbox is bounded; each says what happens when it is full.

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::audit::Author;
use super::behind::{BehindRequest, HomeReply};
use super::handoff::{Answers, Handoff};
use super::reservations::SaleRequest;
use super::worker_journal::WorkerJournal;
use crate::command::Local;
use crate::resp::RespVersion;
use crate::route::SlotAt;

/// Which clients `CLIENT KILL` means. An absent field matches every client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFilter {
    /// These ids.
    pub ids: Option<Vec<u64>>,
    /// The peer's address, `host:port`.
    pub address: Option<String>,
    /// The gateway's own address on that connection.
    pub local_address: Option<String>,
    /// The user that the client authenticated as.
    pub user: Option<String>,
    /// `normal` or `pubsub`.
    pub kind: Option<String>,
    /// Leave this client out.
    pub except_id: Option<u64>,
    /// Only clients connected for at least this long.
    pub age_seconds_min: Option<u64>,
}

/// A message from another thread to a worker.
pub enum WorkerMessage {
    /// Close the clients that match.
    KillClients {
        /// Which.
        filter: ClientFilter,
        /// Takes the number of clients closed.
        reply: oneshot::Sender<u64>,
    },
    /// The users have changed: look at them now, and say when it is done.
    UsersChanged(oneshot::Sender<()>),
    /// Publish what has been counted up to now, and say when it is done.
    PublishTallies(oneshot::Sender<()>),
    /// End the blocking command of a client, as `CLIENT UNBLOCK` does.
    Unblock {
        /// The client.
        id: u64,
        /// Whether it gets an error rather than what a time-out gives.
        error: bool,
        /// Takes Redis's own reply, or nothing when there is no such blocked client here.
        reply: oneshot::Sender<Option<Bytes>>,
    },
    /// Look for a client.
    FindClient {
        /// Its id.
        id: u64,
        /// Takes its key as a number, if it is this worker's.
        reply: oneshot::Sender<Option<u64>>,
    },
    /// What other workers' clients track and redirect to this worker's. Kept by the sender while the mailbox is full.
    Invalidate(Vec<Invalidation>),
    /// The client that one of this worker's redirects to is gone. Dropped while the mailbox is full: the next comes.
    RedirectBroken {
        /// The client that redirects: its key as a number.
        source: u64,
        /// The id of who is gone.
        target_id: u64,
    },
    /// Operations of other workers' clients on keys whose home is this worker. Kept by the sender while the mailbox is full.
    Combine(Vec<Handoff>),
    /// Operations of other workers' clients on sales whose home is this worker. Likewise.
    Reserve(Vec<SaleRequest>),
    /// An operator has changed a sale whose home is this worker. The control thread waits while the mailbox is full.
    SaleChanged {
        /// The sale.
        sku: Bytes,
        /// Its hash.
        hash: u64,
        /// Where it lives.
        place: SlotAt,
    },
    /// Answers to this worker's clients' operations on keys and sales whose home is another. Likewise.
    Combined(Answers),
    /// Questions to this worker as the home of keys in write-behind mode. Likewise.
    Behind(Vec<BehindRequest>),
    /// What the homes of such keys say to this worker's clients. Likewise.
    HomeReplies(Vec<HomeReply>),
    /// Take over the configuration in force, and say whether anything that write-behind answered is on its way to Redis or to the disk.
    HasUnflushed(oneshot::Sender<bool>),
    /// The journal is this process's again.
    OpenJournal(Box<WorkerJournal>),
    /// Deliver a message to the clients subscribed to this channel at the gateway.
    Publish {
        /// The channel.
        channel: Bytes,
        /// What is said.
        payload: Bytes,
    },
}

/// An invalidation of a tracking client that redirects to another client (`CLIENT TRACKING ON REDIRECT`).
#[derive(Clone, Debug)]
pub struct Invalidation {
    /// The client that receives it: its key at its worker as a number.
    pub target: u64,
    /// And by its id.
    pub target_id: u64,
    /// The worker of the tracking client.
    pub source_worker: usize,
    /// That client's key as a number.
    pub source: u64,
    /// The keys as an array, or the null that means all.
    pub keys: Bytes,
}

/// The sending end of a worker's mailbox.
pub type WorkerMailbox = mpsc::Sender<WorkerMessage>;

/// A command that the gateway answers itself from the figures of all its workers.
pub struct ControlRequest {
    /// Which command.
    pub command: Local,
    /// All its arguments, the name first.
    pub arguments: Vec<Bytes>,
    /// How the client wants the answer.
    pub version: RespVersion,
    /// Who asks.
    pub asker: Asker,
    /// Takes the whole reply.
    pub reply: oneshot::Sender<Bytes>,
}

/// The client that sent a command, for logs and for `CLIENT KILL SKIPME`.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Its id.
    pub client_id: u64,
    /// Its address.
    pub address: String,
    /// Its user, `default` unless it authenticated as another.
    pub user: String,
    /// That user may have servers administered.
    pub administers: bool,
    /// The database that it has selected.
    pub database: u32,
}

impl Asker {
    /// Who asks, for what is noted of changes.
    pub fn author(&self) -> Author {
        Author { user: self.user.clone(), address: self.address.clone() }
    }
}

/// The sending end of the control thread's mailbox.
pub type ControlMailbox = mpsc::Sender<ControlRequest>;
