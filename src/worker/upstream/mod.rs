//! Connections to Redis: (b) requests onto the wire, (c) each reply to the request it belongs to.
//!
//! ```text
//!   send    --> room --> wire --(one write per tick)--> socket
//!   deliver <--------------------- wire <-- scanner <-- socket
//! ```
//!
//! It owns the connections, their pools, what is known of their nodes, and the requests that wait to be sent again. What a
//! reply means to anybody else is not its business: [`super`] has the tasks of connections, `deliver`, `redirect` and `lost`.
//!
//! Clients of a worker share one connection per node, protocol version and database. State that Redis keeps per
//! connection (watched keys, a blocking wait, subscriptions, tracking) gets a connection of its own for as long as it lasts.
//!
//! Each connection has a task (`upstream_task`) that connects, writes when something was queued and reads when something came. Whoever
//! queues a request wakes it once; since the runtime runs tasks in the order they were woken, it writes after all clients that
//! became ready in the same tick have queued theirs.

mod census;
mod former_addresses;
pub mod greeting;
mod log_in;
mod node;
pub mod parallel;
mod pool;
mod retries;
mod room;
pub mod suspects;
pub mod user_logins;
mod vitals;
mod wire;

use std::collections::HashSet;
use std::task::Waker;

use bytes::Bytes;

use super::arena::Arena;
use super::intake::Intake;
use super::names::UpstreamKey;
use super::pending::Pending;
use crate::admission::ReplicaWait;
use crate::net::Stream;
use crate::pace::Gauge;
use crate::resp::{ReplyScanner, RespVersion};
use crate::route::ClusterId;
use crate::shared::near_tally::NearTally;
use crate::shared::topology::NodeIndex;
use crate::worker::selection::{LoginNumber, Selection};

use crate::worker::names::ClientKey;
pub use former_addresses::{FormerAddresses, Left};
pub use greeting::GreetingError;
pub use parallel::{Cargo, ConnectionNumber};
pub use pool::Pools;
pub use retries::{Again, Retries, Retry};
pub use room::{Room, RoomWaiters};
pub use suspects::Suspects;
pub use user_logins::UserLogins;
pub use vitals::{Question, Vitals};
pub use wire::{OutOfTurn, Turn, Unanswered, Wire};

/// The upstream connections of one worker, and what is known of their nodes.
#[derive(Default)]
pub struct Upstreams {
    /// The connections.
    pub connections: Arena<Upstream>,
    /// Which connection carries what.
    pub pools: Pools,
    /// Which nodes live.
    pub vitals: Vitals,
    /// Requests that wait for another try.
    pub retries: Retries,
    /// Reads that break their connections.
    pub suspects: Suspects,
    /// Users that are themselves at Redis.
    pub logins: UserLogins,
    /// Scripts known to be loaded, by node.
    pub loaded_scripts: HashSet<(NodeIndex, Bytes), ahash::RandomState>,
    /// Counts, so that replicas take turns.
    pub turn: usize,
    /// Reads by where they were sent, where they may be sent by zone.
    pub reads: NearTally,
    /// What is known of the addresses of names.
    former: FormerAddresses,
}

/// Whom a connection serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// All clients of the worker with the same protocol version and database.
    Shared(ConnectionNumber),
    /// Grants of quotas that wait for replicas on these terms: whatever is behind a `WAIT` waits with it.
    Confirming(ReplicaWait),
    /// Reads of all clients of which copies are kept, because their invalidations come the same way.
    Copies,
    /// Clients that are the same user, for what runs at Redis as that user.
    User,
    /// Nobody at present: clean, and kept for the next session that needs one.
    Spare,
    /// One client that watches keys or waits in a blocking command.
    Session(ClientKey),
    /// One client's commands while it tracks, because their invalidations come the same way.
    Tracking(ClientKey),
    /// Questions about the node, and what must not wait behind anything there.
    OutOfBand,
    /// The invalidations of one client that redirects them.
    Invalidations(ClientKey),
    /// One client's subscriptions.
    Subscriber(ClientKey),
    /// One client's keyspace events of one more master.
    Events(ClientKey),
    /// One client that monitors.
    Monitor(ClientKey),
}

impl Role {
    /// The client that owns such a connection, when it is nobody else's.
    pub fn owner(self) -> Option<ClientKey> {
        match self {
            Self::Session(owner)
            | Self::Tracking(owner)
            | Self::Invalidations(owner)
            | Self::Subscriber(owner)
            | Self::Events(owner)
            | Self::Monitor(owner) => Some(owner),
            Self::Shared(_)
            | Self::Confirming(_)
            | Self::Copies
            | Self::User
            | Self::Spare
            | Self::OutOfBand => None,
        }
    }
}

/// How far a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Connecting or logging in. Requests may be queued.
    Connecting,
    /// Open.
    Ready,
    /// The last attempt failed or the connection broke; the next attempt is made at this worker time in nanoseconds.
    /// Requests are not queued here but wait to be routed anew.
    Waiting(u64),
}

/// One upstream connection. Owned by the worker, made by the pool, driven by its own task, which removes it at the end.
pub struct Upstream {
    /// Its own key.
    pub key: UpstreamKey,
    /// The node it goes to.
    pub node: NodeIndex,
    /// The cluster of that.
    pub cluster: ClusterId,
    /// Whom it serves. Written by [`census`] alone.
    role: Role,
    /// The protocol version.
    pub version: RespVersion,
    /// The database.
    pub database: u32,
    /// Who it has logged in as.
    pub login: LoginNumber,
    /// The node is a replica, which has to be told that reads are wanted.
    pub readonly: bool,
    /// A command of the session that the connection starts with.
    pub greeting: Option<Bytes>,
    /// The connection that hears its invalidations. It has to be open first.
    pub companion: Option<UpstreamKey>,
    /// How far it is. Written by [`census`] alone.
    phase: Phase,
    /// The socket, while open.
    pub stream: Option<Stream>,
    /// Requests.
    pub wire: Wire,
    /// How long its round trips take.
    pub gauge: Gauge,
    /// Unfinished replies.
    pub intake: Intake,
    /// Where in them the scanner is.
    pub scanner: ReplyScanner,
    /// The task.
    pub waker: Option<Waker>,
    /// It was open before: opening it once more is a reconnect.
    pub was_open: bool,
    /// The task has been woken and has not run yet.
    pub woken: bool,
    /// The task has left its turn to write to the clients behind it, once.
    pub yielded: bool,
    /// The socket takes no more. What the server said last is still read.
    pub write_failed: bool,
    /// The task must end the connection.
    pub closing: bool,
    /// It goes to an address that its node's name has no more.
    pub leaving: bool,
    /// Why the task must treat the connection as broken, though its socket says nothing.
    pub given_up: Option<&'static str>,
    /// The node said that it holds back the oldest command; nothing has come since.
    pub held: bool,
    /// The first error to a command inside the oldest transaction, without the leading `-`: it goes into the reply to `EXEC`.
    pub refused_inside: Option<Box<[u8]>>,
    /// Who waits for room.
    pub waiters: RoomWaiters,
    /// `CLIENT ID` of this connection at the server, if it says.
    pub server_id: Option<u64>,
    /// A `CLIENT UNBLOCK` for it is under way, or has been: it serves nobody after its present user.
    pub to_be_unblocked: bool,
    /// Worker time when it was last used, in nanoseconds.
    pub active_ns: u64,
    /// Worker time when its node last showed that it lives, in nanoseconds: bytes came, room for more was made where there
    /// had been none, or it said that it holds the command back. While connecting: when this attempt began.
    pub alive_ns: u64,
}

/// What is at the front of the bytes that a connection has read.
pub enum NextReply {
    /// A reply of this many bytes to this request, and nothing else has to be known of it.
    Answer(usize, Pending),
    /// A reply of this many bytes.
    Whole(usize),
    /// No whole reply: this many more bytes are needed.
    Unfinished(usize),
}

impl Upstream {
    /// Takes the oldest request off if a reply that begins with `first` is its answer and that is the end of it: most are.
    #[inline]
    pub fn take_answered(&mut self, first: u8) -> Option<Pending> {
        match self.role {
            Role::Shared(number) if number != parallel::ALONE && self.waiters.is_empty() => {
                self.wire.take_answered(first)
            }
            _ => None,
        }
    }

    /// Wakes the task once per tick.
    pub fn wake(&mut self) {
        if !self.woken {
            self.woken = true;
            if let Some(waker) = &self.waker {
                waker.wake_by_ref();
            }
        }
    }

    /// Ends the connection as soon as its task runs.
    pub fn close(&mut self) {
        self.closing = true;
        self.woken = false;
        self.wake();
    }

    /// What it has selected.
    pub fn selection(&self) -> Selection {
        Selection { version: self.version, database: self.database, login: self.login }
    }

    /// Whom it serves.
    pub fn role(&self) -> Role {
        self.role
    }

    /// How far it is in its life.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// The client that owns it, when it is nobody else's.
    pub fn owner(&self) -> Option<ClientKey> {
        self.role.owner()
    }
}
