//! What is remembered of a request between its way out (b) and the arrival of its reply (c).
//!
//! Kept small and copyable: one of these exists for every request in flight. It never holds the bytes of the request;
//! those are in the [`Wire`](super::upstream::Wire).

use super::upstream::Question;
use crate::detect::EntryHandle;
use crate::resp::RespVersion;
use crate::route::SlotAt;
use crate::shared::labels::RequestClass;
use crate::shared::topology::NodeIndex;
use crate::worker::names::{ClientKey, FillId, FlushKey};

/// Who waits for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client: the reply settles the slot `sequence` of its reply queue, or part `part` of a merged reply there.
    Client {
        /// The client; it may be gone by the time the reply comes.
        key: ClientKey,
        /// The slot in the client's reply queue.
        sequence: u32,
        /// Which part of a merged reply; 0 otherwise.
        part: u32,
    },
    /// A flush of combined work of a hot key.
    Flush(FlushKey),
    /// What the home of a key in write-behind mode has sent.
    Behind(FlushKey),
    /// Grants that wait for replicas, by their place among such: see [`crate::worker::hot`].
    Confirmation(u32),
    /// A read of which a copy may be kept, for all clients that wait for it, in their protocol version.
    Fill(FillId, RespVersion),
    /// The worker itself, which wonders whether the node lives.
    Probe(Question),
    /// Nobody: the reply is read and dropped.
    Swallow,
}

/// Where a request goes, so that it can be sent again when it was redirected or its node was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// To the master of a slot.
    Slot(SlotAt),
    /// To any node that may read the slot, as `upstream.read_from` says.
    ReadSlot(SlotAt),
    /// To any master.
    AnyNode,
    /// To the master where the channels of all clients of all gateways are, so that `PUBLISH` counts its receivers, also in a
    /// transaction without keys.
    Messages,
    /// To this node and no other: a part of a fan-out.
    Node(NodeIndex),
    /// To the connection it was sent on and no other: it carries state of the session.
    Connection,
}

/// What happens beside delivering the reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// Nothing.
    None,
    /// The reply of `SELECT`: success moves the client to the database it asked for.
    SelectDatabase,
    /// The session's own connection is clean again and goes back to the pool.
    ReleaseConnection,
    /// The reply of `EVALSHA`: `NOSCRIPT` is answered by sending the script's body when it is known.
    Script,
    /// A transaction sent whole: `EXECABORT` after a redirection inside it means that nothing ran.
    Transaction,
    /// Confirmations of a subscription: the last of them may leave nothing subscribed.
    Subscription,
    /// A transaction on a connection of the client's own without a watch, because it selects a database or a version.
    OwnTransaction,
    /// Must not wait behind anything at its node, and is not sent again.
    OutOfBand,
    /// A transaction on a watched connection; afterwards the connection goes back to the pool.
    WatchedTransaction,
}

/// One request in flight on one upstream connection.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// Who waits.
    pub origin: Origin,
    /// Where to send it if it has to go again.
    pub route: Route,
    /// What else happens when the reply comes.
    pub hook: Hook,
    /// Bytes on the wire, prefix included. Set by the wire.
    pub len: u32,
    /// Whether the wire holds the bytes apart. Set by the wire.
    pub large: bool,
    /// What it counts as.
    pub class: RequestClass,
    /// Where the size of the reply is counted.
    pub access: Option<EntryHandle>,
    /// A command that changes nothing, so that it may be sent twice.
    pub readonly: bool,
    /// Replies that come before the one delivered and are swallowed (`ASKING`, `MULTI`, `QUEUED`...).
    pub leading: u32,
    /// What `leading` is at the start, without the prefix, for when the request is sent again.
    pub leading_total: u32,
    /// Replies still to be delivered: 1, or more for subscriptions.
    pub delivered: u32,
    /// Replies that come after and are swallowed.
    pub trailing: u32,
    /// Bytes at the front of the request that belong to one attempt only, such as `ASKING`.
    pub prefix_len: u32,
    /// The `CLIENT CACHING` that precedes it on a tracking client's connection.
    pub caching: Option<bool>,
    /// How often it was redirected so far.
    pub redirects: u8,
    /// How often its connection was lost after it had been written.
    pub losses: u8,
    /// Whether a swallowed reply was a redirection: the transaction has to go elsewhere.
    pub redirected: bool,
    /// Worker clock until when it may be tried again, in nanoseconds; 0 before the first failure.
    pub retry_until_ns: u64,
    /// Worker clock when the request came in, in nanoseconds.
    pub received_ns: u64,
    /// Worker clock when it was put on this wire, in nanoseconds; once it is answered, when it began to be written. Set by the wire.
    pub sent_ns: u64,
}

impl Pending {
    /// A request of `origin` that expects one reply.
    pub fn new(origin: Origin) -> Self {
        Self {
            origin,
            route: Route::AnyNode,
            hook: Hook::None,
            class: RequestClass::Local,
            access: None,
            len: 0,
            large: false,
            readonly: false,
            leading: 0,
            leading_total: 0,
            delivered: 1,
            trailing: 0,
            prefix_len: 0,
            caching: None,
            redirects: 0,
            losses: 0,
            redirected: false,
            retry_until_ns: 0,
            received_ns: 0,
            sent_ns: 0,
        }
    }

    /// It is a transaction sent whole.
    pub fn is_transaction(&self) -> bool {
        matches!(self.hook, Hook::Transaction | Hook::OwnTransaction | Hook::WatchedTransaction)
    }

    /// One master's part of a `WAIT`, which a `PING` precedes.
    pub fn is_part_of_wait(&self) -> bool {
        self.class == RequestClass::Blocking && self.leading_total > 0
    }

    /// Makes it as it was before it was first sent.
    pub(super) fn start_over(&mut self) {
        self.leading = self.leading_total;
        self.prefix_len = 0;
        self.redirected = false;
    }

    /// Nobody waits for its reply any more, wherever that leads.
    pub(super) fn disown(&mut self) {
        (self.origin, self.route) = (Origin::Swallow, Route::Connection);
        (self.hook, self.access) = (Hook::None, None);
    }

    /// A request for one connection and no other, since that carries state of its own. It came in and goes out at `now_ns`
    /// of the worker's clock.
    pub fn on_connection(origin: Origin, class: RequestClass, now_ns: u64) -> Self {
        Self { route: Route::Connection, class, received_ns: now_ns, sent_ns: now_ns, ..Self::new(origin) }
    }
}
