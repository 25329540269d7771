//! What is remembered of a request between its way out (b) and the arrival of its reply (c).
//!
//! Kept small and copyable: one of these exists for every request in flight. It never holds the bytes of the request;
//! those are in the [`Wire`](super::upstream::Wire).

use std::num::NonZeroU64;

use super::upstream::Question;
use crate::detect::EntryHandle;
use crate::resp::RespVersion;
use crate::route::{ClusterId, SlotAt};
use crate::shared::labels::RequestClass;
use crate::shared::topology::NodeIndex;
use crate::worker::names::{CacheFetchId, ClientKey, FlushKey, ReplySlot};

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
    /// A call for a sale of reservations.
    Sale(FlushKey),
    /// Grants that wait for replicas, by their place among such: see [`crate::worker::hot`].
    Confirmation(u32),
    /// A read of which a copy may be kept, for all clients that wait for it, in their protocol version.
    CacheFetch(CacheFetchId, RespVersion),
    /// The worker itself, which wonders whether the node lives.
    Probe(Question),
    /// Nobody: the reply is read and dropped.
    Swallow,
}

impl Origin {
    /// The client that waits for the slot `sequence` of its reply queue.
    #[inline]
    pub fn client(key: ClientKey, sequence: u32) -> Self {
        Self::Client { key, sequence, part: 0 }
    }

    /// The slot of a reply queue that the reply settles, if a client waits for it.
    #[inline]
    pub fn slot(&self) -> Option<ReplySlot> {
        match *self {
            Self::Client { key, sequence, part } => Some(ReplySlot { client: key, sequence, part }),
            _ => None,
        }
    }
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
    /// To the master of this cluster where its channels of all clients of all gateways are, so that `PUBLISH` counts its receivers, also
    /// in a transaction without keys.
    Messages(ClusterId),
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
    /// The reply of `SWAPDB`: no copy holds any more.
    SwapDatabases,
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
    /// `AUTH` on a connection that is logged in. Where it is refused, the second password is tried.
    LogIn,
    /// That with the second password: a refusal is logged.
    LogInNext,
}

/// How a request goes out. It is moved, not copied: once.
#[derive(Debug, PartialEq)]
pub struct Outgoing {
    /// Where to.
    pub route: Route,
    /// It changes nothing, so it may be sent twice.
    pub readonly: bool,
    /// What it counts as.
    pub class: RequestClass,
    /// What else happens when the reply comes.
    pub hook: Hook,
}

/// One request in flight on one upstream connection. There is one constructor for each kind of request, and no literal elsewhere:
/// some fields are private.
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
    leading_total: u32,
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
    /// Worker clock until when it may be tried again, in nanoseconds. None before the first failure.
    retry_until_ns: Option<NonZeroU64>,
    /// Worker clock when the request came in, in nanoseconds.
    pub received_ns: u64,
    /// Worker clock when it was put on this wire, in nanoseconds; once it is answered, when it began to be written. Set by the wire.
    pub sent_ns: u64,
}

impl Pending {
    /// A request of `origin` that expects one reply, came in at `now_ns` of the worker's clock, and goes out then.
    #[inline]
    fn new(origin: Origin, outgoing: Outgoing, now_ns: u64) -> Self {
        let Outgoing { route, readonly, class, hook } = outgoing;
        Self {
            origin,
            route,
            hook,
            class,
            access: None,
            len: 0,
            large: false,
            readonly,
            leading: 0,
            leading_total: 0,
            delivered: 1,
            trailing: 0,
            prefix_len: 0,
            caching: None,
            redirects: 0,
            losses: 0,
            redirected: false,
            retry_until_ns: None,
            received_ns: now_ns,
            sent_ns: now_ns,
        }
    }

    /// A client's request that goes as it is.
    #[inline]
    pub fn forwarded(origin: Origin, outgoing: Outgoing, access: Option<EntryHandle>, now_ns: u64) -> Self {
        Self { access, ..Self::new(origin, outgoing, now_ns) }
    }

    /// One part of a client's request to several nodes.
    pub fn part(origin: Origin, route: Route, readonly: bool, now_ns: u64) -> Self {
        let outgoing = Outgoing { route, readonly, class: RequestClass::Fan, hook: Hook::None };
        Self::new(origin, outgoing, now_ns)
    }

    /// A client's transaction of so many commands, sent whole: Redis answers its `MULTI` and each command, then its `EXEC`.
    pub fn transaction(origin: Origin, outgoing: Outgoing, commands: u32, now_ns: u64) -> Self {
        let leading = commands + 1;
        Self { leading, leading_total: leading, ..Self::new(origin, outgoing, now_ns) }
    }

    /// A client's `SELECT`, behind which another one sets the connection back.
    pub fn select(origin: Origin, now_ns: u64) -> Self {
        let (route, class, hook) = (Route::AnyNode, RequestClass::Local, Hook::SelectDatabase);
        let outgoing = Outgoing { route, readonly: true, class, hook };
        Self { trailing: 1, ..Self::new(origin, outgoing, now_ns) }
    }

    /// A request for one connection and no other, since that carries state of its own.
    pub fn on_connection(origin: Origin, class: RequestClass, now_ns: u64) -> Self {
        Self::hooked(origin, Hook::None, class, now_ns)
    }

    /// As [`Pending::on_connection`], with something that happens beside the reply.
    fn hooked(origin: Origin, hook: Hook, class: RequestClass, now_ns: u64) -> Self {
        Self::new(origin, Outgoing { route: Route::Connection, readonly: false, class, hook }, now_ns)
    }

    /// A client's blocking command, behind a prefix of so many bytes that is one command.
    pub fn blocking(origin: Origin, prefix_len: usize, now_ns: u64) -> Self {
        let blocking = Self::hooked(origin, Hook::ReleaseConnection, RequestClass::Blocking, now_ns);
        Self { leading: u32::from(prefix_len > 0), prefix_len: prefix_len as u32, ..blocking }
    }

    /// One master's part of a client's `WAIT` or `WAITAOF`, which a `PING` precedes.
    pub fn part_of_wait(origin: Origin, now_ns: u64) -> Self {
        let wait = Self::hooked(origin, Hook::ReleaseConnection, RequestClass::Blocking, now_ns);
        Self { leading: 1, leading_total: 1, ..wait }
    }

    /// A subscription or its end, confirmed name by name.
    pub fn subscription(origin: Origin, names: u32, now_ns: u64) -> Self {
        let subscription = Self::hooked(origin, Hook::Subscription, RequestClass::Pubsub, now_ns);
        Self { delivered: names, ..subscription }
    }

    /// What must not wait behind anything at its node.
    pub fn out_of_band(origin: Origin, now_ns: u64) -> Self {
        Self::hooked(origin, Hook::OutOfBand, RequestClass::Local, now_ns)
    }

    /// A question of the worker's own about a node.
    pub fn probe(question: Question, now_ns: u64) -> Self {
        Self::on_connection(Origin::Probe(question), RequestClass::Local, now_ns)
    }

    /// A command of which nobody awaits the reply.
    pub fn swallowed(now_ns: u64) -> Self {
        Self::on_connection(Origin::Swallow, RequestClass::Local, now_ns)
    }

    /// The gateway's own `AUTH` on a connection that has been in use.
    pub fn log_in(hook: Hook, now_ns: u64) -> Self {
        Self { hook, ..Self::swallowed(now_ns) }
    }

    /// Work of a hot key for the owner of its slot, behind `ASKING` if the slot is on its way there. A transaction has so many
    /// replies `inside`, before that to its `EXEC`.
    pub fn flush(origin: Origin, node: NodeIndex, (asking, inside): (bool, u32), now_ns: u64) -> Self {
        let hook = if inside > 0 { Hook::Transaction } else { Hook::None };
        let (route, class) = (Route::Node(node), RequestClass::Local);
        let outgoing = Outgoing { route, readonly: false, class, hook };
        Self { leading: u32::from(asking) + inside, ..Self::new(origin, outgoing, now_ns) }
    }

    /// A `WAIT` for the replicas of what was granted in the group of this number; a `PING` precedes it.
    pub fn confirmation(group: u32, now_ns: u64) -> Self {
        let wait = Self::on_connection(Origin::Confirmation(group), RequestClass::Local, now_ns);
        Self { leading: 1, ..wait }
    }

    /// A read of which a copy may be kept.
    pub fn cache_fetch(origin: Origin, place: SlotAt, class: RequestClass, now_ns: u64) -> Self {
        let outgoing = Outgoing { route: Route::Slot(place), readonly: true, class, hook: Hook::None };
        Self::new(origin, outgoing, now_ns)
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

    /// The worker's clock until when it may be tried again: for `patience_ns` from its first failure, which is now if there
    /// was none.
    pub fn retry_until_ns(&mut self, now_ns: u64, patience_ns: u64) -> u64 {
        let until_ns = NonZeroU64::new(now_ns + patience_ns).unwrap_or(NonZeroU64::MIN);
        self.retry_until_ns.get_or_insert(until_ns).get()
    }

    /// It may be tried again for this much longer.
    pub fn retry_longer(&mut self, longer_ns: u64) {
        self.retry_until_ns = self.retry_until_ns.map(|until_ns| until_ns.saturating_add(longer_ns));
    }
}
