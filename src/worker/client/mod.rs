//! One client connection: (a) its bytes become requests, (d) its replies become bytes, in order.
//!
//! ```text
//!   socket --> connection --> intake  --(worker/serve: one request after the other)--> dispatch --> upstream
//!   socket <-- connection <-- output <-- replies (in order) <-- settle <---------------- deliver <-- upstream
//! ```
//!
//! A client is owned by the worker that accepted it and lives in the worker's arena. Its task ([`super::client_task`]) is woken
//! by its socket. Replies that come in a turn are written at the end of it, one write for each client, and the task is woken
//! only when there is something left for it to do.
//!
//! [`Clients`] are all of one worker. What a client has said of its connection is its [`Session`]: plain data.
//!
//! Invariant: while a client is not read ([`Client::paused`]), nothing that it sends makes the gateway's memory grow.
//! Deliberately does not: decide about a request, send one, or know of upstream connections and hot keys. It asks for what it
//! wants elsewhere by effects ([`super::effects`]).

pub mod behind;
mod combining;
mod connection;
pub mod copy_guard;
pub mod invalidations;
pub mod logins;
pub mod merge;
pub mod output;
pub mod replies;
pub mod session;
mod settle;
pub mod settled;
mod stall;
pub mod subscriptions;
pub mod tenancy;
pub mod tracking;
pub mod tracking_options;
pub mod transaction;
mod window;
pub mod written;

use std::collections::VecDeque;
use std::task::Waker;

use bytes::Bytes;

pub use connection::Read;
pub use invalidations::Backlog;

use super::arena::Arena;
use super::flow::Flow;
use super::intake::Intake;
use super::names::ClientKey;
use super::parked::Parked;
use crate::net::{SocketName, Stream};
use crate::resp::{RequestLimits, RequestScanner};
use crate::shared::labels::CloseReason;
use crate::shared::topology::NodeIndex;
use crate::worker::names::UpstreamKey;
use copy_guard::CopyGuard;
use logins::Logins;
use output::Output;
use replies::ReplyQueue;
use session::Session;
use stall::Stall;
use tenancy::Tenancy;
use window::Window;
use written::WrittenKeys;

/// The part of a client that reads: taken out of the client while its requests are dispatched, so that the request
/// may be borrowed while the rest of the worker changes.
#[derive(Debug)]
pub struct Inbox {
    /// Bytes that were read and not consumed.
    pub intake: Intake,
    /// Where in them the scanner is.
    pub scanner: RequestScanner,
    /// Requests that had to wait after they were cut out of the intake: a large one, or one of the session that went to the
    /// wrong node. They come before the intake's bytes.
    pub stalled: VecDeque<Bytes>,
    /// The peer sent its last byte.
    pub end_of_stream: bool,
}

/// How far the connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Serving requests.
    Open,
    /// Takes no more requests; what is unsettled is answered, then the connection lingers.
    Finishing(CloseReason),
    /// Everything was written and our side is shut. What still comes is read and dropped until the peer closes too or
    /// the time is over: closing with unread input would make the kernel send a reset, which may overtake our reply.
    Lingering(CloseReason, Linger),
    /// To be removed at the next look.
    Dead(CloseReason),
}

/// For how long a connection lingers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Linger {
    /// Until this worker time, in nanoseconds.
    Until(u64),
    /// The time is over and something has come meanwhile. It is dropped first, once: closing with it unread would reset the
    /// connection.
    OnceMore,
}

/// Why the client is not served further although it has sent something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// It is served.
    Open,
    /// Its next request waits until everything before it has been answered.
    Drain,
    /// Its next request waits for room on an upstream connection, or in the queue of a combined key.
    Room,
}

/// Where a client waits for room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwaitedRoom {
    /// On this connection.
    Connection(UpstreamKey),
    /// In the queue of the combined key with this hash.
    Key(u64),
    /// In that of the sale.
    Sale(u64),
}

/// A command that holds state of a connection could not be sent, or was redirected: it is looked at again.
#[derive(Clone, Copy, Debug)]
pub struct CommandRetry {
    /// How often it was tried.
    pub tries: u32,
    /// The worker's clock when it failed first.
    pub since_ns: u64,
}

/// The clients of one worker, and what concerns several of them.
pub struct Clients {
    /// The clients.
    pub all: Arena<Client>,
    /// Clients to be written at the end of this turn.
    pub dirty: Vec<ClientKey>,
    /// Invalidations that other workers' clients are to hear of, by worker.
    pub redirected: Vec<Backlog>,
    /// Tracking clients in broadcast mode that have lost a connection, and when to listen again.
    pub listen_again_at: Vec<(ClientKey, u64)>,
    /// Who has not logged in, and from where log-ins failed.
    pub logins: Logins,
    /// The worker's clock when the log last said that a client sends something else, such as HTTP.
    pub strangers_logged_ns: Option<u64>,
    /// The same of a client that speaks TLS on a plain port.
    pub tls_logged_ns: Option<u64>,
    /// The same of a client whose certificate names nobody.
    pub unknown_logged_ns: Option<u64>,
}

impl Clients {
    /// No clients, in one of so many workers.
    pub fn new(workers: usize) -> Self {
        Self {
            all: Arena::default(),
            dirty: Vec::new(),
            redirected: (0..workers).map(|_| Backlog::default()).collect(),
            listen_again_at: Vec::new(),
            logins: Logins::default(),
            strangers_logged_ns: None,
            tls_logged_ns: None,
            unknown_logged_ns: None,
        }
    }

    /// A connection that may or may not have logged in since it was looked at last is counted as what it is.
    pub fn note_login(&mut self, key: ClientKey) {
        let Some(client) = self.all.get_mut(key) else { return };
        match (client.knocks, client.session.authenticated) {
            (true, true) => self.logins.end(),
            (false, false) => self.logins.begin(key),
            _ => return,
        }
        client.knocks = !client.knocks;
    }

    /// Closes connections that have not logged in, those that came first, until there are at most so many.
    pub fn bound_unauthenticated(&mut self, max: usize) {
        while self.logins.count() > max {
            let Some(oldest) = self.logins.take_oldest() else { return };
            let Some(client) = self.all.get_mut(oldest).filter(|client| client.knocks) else { continue };
            client.knocks = false;
            self.logins.end();
            if !client.session.authenticated {
                self.close(oldest, CloseReason::Login);
            }
        }
        let all = &self.all;
        self.logins.forget_unless(|key| all.get(key).is_some_and(|client| client.knocks));
    }

    /// The client with this id, if it is one of these.
    pub fn by_id(&self, id: u64) -> Option<ClientKey> {
        self.all.iter().find(|client| client.id == id).map(|client| client.key)
    }
}

/// One connected client.
#[derive(Debug)]
pub struct Client {
    /// Its own key.
    pub key: ClientKey,
    /// `CLIENT ID`.
    pub id: u64,
    /// The socket.
    pub stream: Stream,
    /// Who dialled.
    pub peer: SocketName,
    /// What they dialled: the address that `CLUSTER` replies show.
    pub local: SocketName,
    /// The task of this connection.
    pub waker: Option<Waker>,
    /// The reading part; absent while its requests are dispatched.
    pub inbox: Option<Box<Inbox>>,
    /// The order of replies.
    pub replies: ReplyQueue,
    /// The bytes of replies.
    pub output: Output,
    /// Bytes of messages that it has not asked for, since its output was empty.
    pub pushed_bytes: usize,
    /// Whether its socket takes anything.
    pub stall: Stall,
    /// How many of its requests may be under way.
    pub window: Window,
    /// What the client said of itself.
    pub session: Session,
    /// It is counted among those that have not logged in.
    pub knocks: bool,
    /// How far it is in its life.
    pub phase: Phase,
    /// Why it waits.
    pub gate: Gate,
    /// Nothing more is dispatched until everything is answered.
    pub exclusive: bool,
    /// The command of the session at hand was tried before.
    pub command_retry: Option<CommandRetry>,
    /// The node that the command is to ask next, though it does not own the slot yet.
    pub ask_target: Option<NodeIndex>,
    /// Requests of it that wait to be sent again.
    pub parked: Parked,
    /// Fetches for copies that wait to be sent again, for it among others.
    pub retrying: u32,
    /// Where it waits for room.
    pub room_awaited: Option<AwaitedRoom>,
    /// Since when its request at hand has waited for the first topology, by the worker's clock in nanoseconds.
    pub unrouted_since_ns: Option<u64>,
    /// Operations of it that are in queues of combined keys.
    pub combined: u32,
    /// The newest epoch of combined keys that it has met.
    pub combine_epoch: u32,
    /// The newest change of a key from folding to passing that it has met.
    pub pass_epoch: u32,
    /// It may combine once every slot before this one has left its reply queue.
    pub combine_after: u32,
    /// Until when it may have written keys in write-behind mode beside their homes, in nanoseconds of the process's clock, as far as
    /// that has been found out under the rules in force. Nobody's time while an operation that a home has handed back may be under
    /// way.
    pub beside_until_ns: Option<u64>,
    /// The way of a command past keys in write-behind mode.
    pub barrier: Option<Box<behind::Barrier>>,
    /// Which copies of replies it may not be served.
    pub copies: CopyGuard,
    /// Counters under a quota that it has set or removed.
    pub written: WrittenKeys,
    /// What it has to do with tenants; nothing where the configuration names none.
    pub tenancy: Option<Box<Tenancy>>,
    /// Which of the parallel connections to a node it uses; changes only while nothing is unsettled.
    pub connection_number: u8,
    /// The topology under which its unsettled requests were routed; the latest where it has none.
    pub topology_version: u64,
    /// It is in [`Clients::dirty`].
    pub dirty: bool,
    /// Bytes remain that were not dispatched, so progress must wake the task.
    pub paused: bool,
    /// The socket took less than was offered: the task must wait for it.
    pub write_blocked: bool,
    /// Worker clock at the connect, in nanoseconds.
    pub connected_ns: u64,
    /// Worker clock at the last request, in nanoseconds.
    pub active_ns: u64,
    /// Requests so far.
    pub requests: u64,
    /// Requests that got an error.
    pub errors: u64,
    /// Replies that took as long as is logged.
    pub slow_replies: u64,
    /// Bytes read so far.
    pub bytes_in: u64,
    /// Bytes written so far.
    pub bytes_out: u64,
}

impl Client {
    /// Gives back what its largest burst has left behind.
    pub fn give_back(&mut self) {
        self.replies.give_back();
        self.output.give_back();
        self.tenancy.iter_mut().for_each(|tenancy| tenancy.give_back());
        if let Some(inbox) = self.inbox.as_mut().filter(|inbox| inbox.stalled.is_empty()) {
            inbox.stalled = VecDeque::new();
        }
    }

    /// A client that has just connected.
    pub fn new(
        key: ClientKey,
        id: u64,
        stream: Stream,
        (peer, local): (SocketName, SocketName),
        (session, limits): (Session, RequestLimits),
        (now_ns, topology_version): (u64, u64),
    ) -> Self {
        let inbox = Inbox {
            intake: Intake::default(),
            scanner: RequestScanner::new(limits),
            stalled: VecDeque::new(),
            end_of_stream: false,
        };
        Self {
            key,
            id,
            stream,
            peer,
            local,
            waker: None,
            inbox: Some(Box::new(inbox)),
            replies: ReplyQueue::default(),
            output: Output::default(),
            pushed_bytes: 0,
            stall: Stall::default(),
            window: Window::default(),
            session,
            knocks: false,
            phase: Phase::Open,
            gate: Gate::Open,
            exclusive: false,
            command_retry: None,
            ask_target: None,
            parked: Parked::default(),
            retrying: 0,
            room_awaited: None,
            unrouted_since_ns: None,
            combined: 0,
            combine_epoch: 0,
            pass_epoch: 0,
            combine_after: 0,
            beside_until_ns: Some(0),
            barrier: None,
            copies: CopyGuard::default(),
            written: WrittenKeys::default(),
            tenancy: None,
            connection_number: 0,
            topology_version,
            dirty: false,
            paused: false,
            write_blocked: false,
            connected_ns: now_ns,
            active_ns: now_ns,
            requests: 0,
            errors: 0,
            slow_replies: 0,
            bytes_in: 0,
            bytes_out: 0,
        }
    }

    /// Wakes the connection's task.
    pub fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// The request at hand has to come again later.
    pub fn wait(&mut self, gate: Gate) -> Flow {
        self.gate = gate;
        Flow::Wait
    }

    /// Where a message goes that is no reply: to the output, but never into the middle of a reply of `EXEC`.
    pub fn push_tail(&mut self) -> &mut Vec<u8> {
        match self.session.transaction.replying_mut() {
            Some(reply) => &mut reply.held,
            None => self.output.tail(),
        }
    }

    /// Whether replies are being suppressed, consuming a `CLIENT REPLY SKIP`.
    pub fn take_suppressed(&mut self) -> bool {
        if let Some(reply) = self.session.transaction.replying() {
            return reply.suppressed || self.session.replies == session::Replies::Off;
        }
        match self.session.replies {
            session::Replies::On => false,
            session::Replies::Off => true,
            session::Replies::SkipNext => {
                self.session.replies = session::Replies::On;
                self.session.refresh_plain();
                true
            }
        }
    }
}
