//! The closed vocabularies that tallies count by: class and outcome of a request, kind of an error, and so
//! on.
//!
//! Each is a small fixed enum, so that a tally is an array index and never a map lookup, and so that a
//! metric's label values are known before the process starts. `label()` is what operators see in Prometheus
//! and JSON; renaming one breaks their queries, so labels are part of the product's contract.
//!
//! Deliberately absent: anything that grows with traffic (keys, addresses, users). Those are bounded where
//! they are tallied.

use crate::reserve::{OpKind, Refusal};
use crate::resp::{bulk_payload, elements};

/// Declares an enum whose variants index an array, with the label of each variant.
macro_rules! fixed_labels {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident => $label:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant,)+ }

        impl $name {
            /// Every variant, in declaration order, which is the order of the array that it indexes.
            pub const ALL: &'static [$name] = &[$($name::$variant,)+];
            /// The number of variants: the length of an array indexed by this enum.
            pub const COUNT: usize = Self::ALL.len();

            /// The value of the Prometheus label and of the JSON field.
            pub const fn label(self) -> &'static str {
                match self { $($name::$variant => $label,)+ }
            }

            /// The place of this variant in an array of [`Self::COUNT`] elements.
            pub const fn index(self) -> usize {
                self as usize
            }
        }
    };
}

fixed_labels! {
    /// Why a request stands out, in the words and the order of Valkey's `COMMANDLOG`.
    Standout {
        /// It took long.
        Slow => "slow",
        /// It was large.
        LargeRequest => "large-request",
        /// Its reply was large.
        LargeReply => "large-reply",
    }
}

impl Standout {
    /// The kind of this name, in any case.
    pub fn parse(word: &[u8]) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| word.eq_ignore_ascii_case(kind.label().as_bytes()))
    }
}

fixed_labels! {
    /// What an event of the gateway is about.
    EventKind {
        /// A key became hot.
        Hot => "hot",
        /// It is no longer.
        Cooled => "cooled",
        /// A node can't be used.
        NodeDown => "node_down",
        /// It can be used again.
        NodeUp => "node_up",
        /// Another node has become the master of slots that its master had.
        Failover => "failover",
        /// Slots have gone to another master.
        SlotsMoved => "slots_moved",
        /// The configuration was read again.
        Reloaded => "reloaded",
        /// It was, and is not taken.
        ReloadRefused => "reload_refused",
        /// An operator changed the quota of a counter.
        QuotaChanged => "quota_changed",
        /// Other certificates are in force.
        CertificateRenewed => "certificate_renewed",
        /// New ones can't be used.
        CertificateRefused => "certificate_refused",
        /// Connections of clients were turned away.
        ClientsRefused => "clients_refused",
        /// The process began to serve.
        Started => "started",
        /// It was told to end, or had to.
        Stopped => "stopped",
    }
}

fixed_labels! {
    /// The kind of a request, as operators and load see it.
    RequestClass {
        /// Reads one key.
        Read => "read",
        /// Writes one key, other than by counting.
        Write => "write",
        /// Adds to a counter: `INCR`, `DECRBY`, `HINCRBY`, ...
        Counter => "counter",
        /// Names several keys or all nodes, and is split or fanned out.
        Fan => "fan",
        /// `EVAL`, `FCALL` and their kin.
        Script => "script",
        /// `MULTI`, `EXEC`, `WATCH` and what is queued between them.
        Transaction => "transaction",
        /// May block at Redis: `BLPOP`, `XREAD BLOCK`, `WAIT`, ...
        Blocking => "blocking",
        /// Subscribes or publishes.
        Pubsub => "pubsub",
        /// `RESERVE.*`: concerns a sale of reservations.
        Reserve => "reserve",
        /// Concerns the connection or the server, not a key: `PING`, `HELLO`, `INFO`, ...
        Local => "local",
    }
}

fixed_labels! {
    /// What is done with a sale of reservations at its home.
    SaleVerb {
        /// `RESERVE.ADD`.
        Add => "add",
        /// `RESERVE.CONFIRM`.
        Confirm => "confirm",
        /// `RESERVE.CANCEL`.
        Cancel => "cancel",
        /// `RESERVE.CHECK`, and each user of `RESERVE.MCHECK`.
        Check => "check",
        /// `RESERVE.INFO`.
        Info => "info",
    }
}

impl SaleVerb {
    /// That of an operation, if clients ask for such.
    pub fn of(kind: OpKind) -> Option<Self> {
        Some(match kind {
            OpKind::Add => Self::Add,
            OpKind::Confirm => Self::Confirm,
            OpKind::Cancel => Self::Cancel,
            OpKind::Check => Self::Check,
            OpKind::Info => Self::Info,
            OpKind::Bucket => return None,
        })
    }
}

fixed_labels! {
    /// Why an operation on a sale was refused.
    SaleRefusal {
        /// No place is left.
        SoldOut => "sold_out",
        /// It is closed, or over.
        Closed => "closed",
        /// It opens later.
        NotOpen => "not_open",
        /// There is no such sale.
        NoSku => "no_sku",
        /// The user has as many places, or ids, as a user may.
        PerUser => "per_user",
        /// The user holds nothing in the sale whose holders alone may take places.
        NotHolder => "not_holder",
        /// The ledger is not read.
        LedgerFull => "ledger_full",
        /// There is nothing to confirm.
        NotHeld => "not_held",
        /// The sale went on as another.
        Gone => "gone",
    }
}

impl SaleRefusal {
    /// Which of them a refusal is.
    pub fn of(refusal: &Refusal<'_>) -> Self {
        match refusal {
            Refusal::SoldOut(_) => Self::SoldOut,
            Refusal::NotOpen(_) => Self::NotOpen,
            Refusal::NoSku | Refusal::NoOther(_) => Self::NoSku,
            Refusal::PerUser(_) | Refusal::TooManyIds => Self::PerUser,
            Refusal::NotHolder(_) => Self::NotHolder,
            Refusal::LedgerFull(_) => Self::LedgerFull,
            Refusal::NotHeld => Self::NotHeld,
            Refusal::Gone(_) => Self::Gone,
            // All others but the first are said of whole sales, not of an operation on one.
            Refusal::Closed
            | Refusal::BelowTaken(_)
            | Refusal::NoRoom(_)
            | Refusal::NotClosed
            | Refusal::Moving(_)
            | Refusal::Dropping
            | Refusal::Unread(_)
            | Refusal::Restoring
            | Refusal::Exists => Self::Closed,
        }
    }
}

fixed_labels! {
    /// How a request ended.
    Outcome {
        /// Redis's reply to this very request was passed on (an error reply from Redis included).
        Forwarded => "forwarded",
        /// Settled out of a batch: a folded write or a shared read.
        Combined => "combined",
        /// Answered before Redis knew, by write-behind.
        Absorbed => "absorbed",
        /// Answered from the read cache.
        Cached => "cached",
        /// Answered by the gateway itself: `PING`, `HELLO`, `INFO`, ...
        Answered => "answered",
        /// Refused by a quota or by a rule of the gateway.
        Refused => "refused",
        /// Ended in an error made by the gateway; [`ErrorKind`] says which.
        Failed => "failed",
    }
}

fixed_labels! {
    /// Why a client got an error, or an upstream connection had to be given up.
    ErrorKind {
        /// The client's bytes are not RESP, or exceed a protocol limit; the connection is closed.
        ClientProtocol => "client_protocol",
        /// Unknown command, wrong arity, keys in different slots: the request can't be carried.
        ClientRequest => "client_request",
        /// `NOAUTH`, `WRONGPASS` or a missing permission.
        ClientAuth => "client_auth",
        /// The gateway does not carry this command, or a rule forbids it.
        NotCarried => "not_carried",
        /// Redis itself replied with an error.
        UpstreamReply => "upstream_reply",
        /// The connection was lost while the request was on it.
        UpstreamLost => "upstream_lost",
        /// No connection to the node could be had.
        UpstreamUnavailable => "upstream_unavailable",
        /// The node's bytes are not RESP.
        UpstreamProtocol => "upstream_protocol",
        /// The node did not reply within the deadline.
        Timeout => "timeout",
        /// Redirected more often, or for longer, than allowed.
        RedirectExhausted => "redirect_exhausted",
        /// A write whose effect is not known: its connection was lost after it was written.
        UnknownOutcome => "unknown_outcome",
        /// A queue or buffer was at its bound.
        Overload => "overload",
    }
}

fixed_labels! {
    /// The replies of Redis that send a request elsewhere or ask for another try.
    RedirectKind {
        /// The slot has moved for good.
        Moved => "moved",
        /// The slot is being migrated; this request goes to the importing node.
        Ask => "ask",
        /// Keys of the request are on both sides of a migration.
        TryAgain => "tryagain",
        /// The cluster does not serve the slot at present.
        ClusterDown => "clusterdown",
        /// The node is loading its data set.
        Loading => "loading",
        /// The node became a replica.
        ReadOnly => "readonly",
        /// The node does not know a script of the gateway yet.
        NoScript => "noscript",
    }
}

fixed_labels! {
    /// Why a client connection ended.
    CloseReason {
        /// The client closed it, or sent `QUIT`.
        Client => "client",
        /// The client broke the protocol.
        Protocol => "protocol",
        /// Nothing came for longer than the idle timeout.
        Idle => "idle",
        /// It did not log in within the time for it.
        Login => "login",
        /// Its user's tenant has as many connections as it may.
        Tenant => "tenant",
        /// Messages that it had not asked for piled up beyond the output buffer's bound.
        OutputBuffer => "output_buffer",
        /// It took nothing of what waited for it for longer than the stall timeout.
        OutputStalled => "output_stalled",
        /// `CLIENT KILL`.
        Killed => "killed",
        /// The gateway is shutting down.
        Drain => "drain",
        /// Reading from or writing to the socket failed.
        Io => "io",
        /// A connection to a node was lost that carried what this client waited for.
        UpstreamLost => "upstream_lost",
    }
}

fixed_labels! {
    /// Why a connection was turned away at the door.
    RejectReason {
        /// As many clients as `maxclients` allows are connected.
        MaxClients => "max_clients",
        /// There was no TLS session with it.
        Handshake => "handshake",
        /// It spoke plain text on a port for TLS.
        PlainText => "plain_text",
        /// It came from a balancer's address without a PROXY header that can be used.
        ProxyHeader => "proxy_header",
        /// Its certificate names a user that does not exist, or is off.
        UnknownUser => "unknown_user",
        /// The gateway is shutting down.
        Draining => "draining",
    }
}

fixed_labels! {
    /// Why a quota refused an operation.
    QuotaRefusal {
        /// The limit is reached, or the operation does not fit under it.
        Exhausted => "exhausted",
        /// An operator paused the key.
        Paused => "paused",
        /// Redis could not be asked, and the quota refuses then.
        Unavailable => "unavailable",
        /// Granted, but too few replicas hold it (`wait_replicas`).
        Unconfirmed => "unconfirmed",
        /// The quota can't be applied: its limit key is gone or holds no number, or the counter does.
        Fault => "fault",
    }
}

fixed_labels! {
    /// Why a server refuses commands that it otherwise takes, by the first word of its error reply.
    NodeRefusal {
        /// Writes are refused: `maxmemory` is reached, and nothing may be evicted.
        OutOfMemory => "oom",
        /// Writes are refused: its data can't be saved to disk.
        CannotSave => "misconf",
        /// Writes are refused: it copies another.
        Replica => "readonly",
        /// All is refused: it reads its data from disk.
        Loading => "loading",
        /// All is refused: a script runs longer than it may.
        Busy => "busy",
        /// Reads are refused: it is a replica that has lost its master.
        MasterDown => "masterdown",
        /// All is refused: the cluster does not serve the slot.
        ClusterDown => "clusterdown",
        /// Writes are refused: too few replicas are in sync (`min-replicas-to-write`).
        TooFewReplicas => "noreplicas",
        /// The gateway's user lacks a right.
        NoPermission => "noperm",
        /// The gateway is not logged in any more.
        NotLoggedIn => "noauth",
    }
}

impl NodeRefusal {
    /// The state that an error reply tells of, if it tells of one.
    #[inline]
    pub fn of_reply(reply: &[u8]) -> Option<Self> {
        if reply.first() == Some(&b'-') { Self::of_error(reply) } else { None }
    }

    /// As [`Self::of_reply`] for the reply to a flush, which may be that of a script: an array of texts, of which one that begins with `!` or
    /// `-` is an error.
    pub fn of_flush(reply: &[u8]) -> Option<Self> {
        let holds = |mark: &[u8]| memchr::memmem::find(reply, mark).is_some();
        if reply.first() != Some(&b'*') || !(holds(b"\r\n!") || holds(b"\r\n-")) {
            return Self::of_reply(reply);
        }
        let errors = elements(reply)?.filter_map(bulk_payload);
        errors.filter_map(|text| text.strip_prefix(b"!").or(text.strip_prefix(b"-"))).find_map(Self::of_words)
    }

    fn of_error(reply: &[u8]) -> Option<Self> {
        Self::of_words(reply.get(1..)?)
    }

    fn of_words(error: &[u8]) -> Option<Self> {
        let words: &[(&[u8], Self)] = &[
            (b"OOM ", Self::OutOfMemory),
            (b"MISCONF ", Self::CannotSave),
            (b"READONLY ", Self::Replica),
            (b"LOADING ", Self::Loading),
            (b"BUSY ", Self::Busy),
            (b"MASTERDOWN ", Self::MasterDown),
            (b"CLUSTERDOWN ", Self::ClusterDown),
            (b"NOREPLICAS ", Self::TooFewReplicas),
            (b"NOPERM ", Self::NoPermission),
            (b"NOAUTH ", Self::NotLoggedIn),
        ];
        words.iter().find(|(word, _)| error.starts_with(word)).map(|(_, state)| *state)
    }
}

fixed_labels! {
    /// The state of a worker's connection to an upstream node; merged over workers, the greatest counts.
    #[derive(Default)]
    NodeState {
        /// Never needed so far.
        #[default]
        Idle => "idle",
        /// Connected, and replying.
        Up => "up",
        /// A first or a renewed attempt is under way.
        Connecting => "connecting",
        /// The last attempt failed; the next waits for its backoff.
        Down => "down",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Label values end up in queries and alerts: lower snake case, and no two alike.
    fn check(labels: Vec<&'static str>) {
        for label in &labels {
            assert!(label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "label {label:?}");
        }
        let mut distinct = labels.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), labels.len(), "two variants share a label: {labels:?}");
    }

    #[test]
    fn labels_are_distinct_and_well_formed() {
        check(RequestClass::ALL.iter().map(|v| v.label()).collect());
        check(Outcome::ALL.iter().map(|v| v.label()).collect());
        check(ErrorKind::ALL.iter().map(|v| v.label()).collect());
        check(RedirectKind::ALL.iter().map(|v| v.label()).collect());
        check(CloseReason::ALL.iter().map(|v| v.label()).collect());
        check(RejectReason::ALL.iter().map(|v| v.label()).collect());
        check(QuotaRefusal::ALL.iter().map(|v| v.label()).collect());
        check(NodeState::ALL.iter().map(|v| v.label()).collect());
        check(NodeRefusal::ALL.iter().map(|v| v.label()).collect());
    }

    #[test]
    fn the_label_of_a_refusal_is_the_word_it_is_known_by() {
        for refusal in NodeRefusal::ALL {
            let reply = format!("-{} says why", refusal.label().to_uppercase());
            assert_eq!(NodeRefusal::of_reply(reply.as_bytes()), Some(*refusal), "{reply}");
            assert_eq!(NodeRefusal::of_flush(reply.as_bytes()), Some(*refusal), "{reply}");
            for mark in ["!", "-"] {
                let text = format!("{mark}{}", &reply[1..]);
                let reply = format!("*3\r\n$2\r\n#1\r\n${}\r\n{text}\r\n$1\r\n_\r\n", text.len());
                assert_eq!(NodeRefusal::of_flush(reply.as_bytes()), Some(*refusal), "{reply}");
            }
        }
        // A value may hold anything.
        for other in ["*1\r\n$10\r\n$a\r\n!OOM b\r\n\r\n", "*2\r\n$2\r\n!x\r\n$5\r\n OOM \r\n", ":1\r\n"] {
            assert_eq!(NodeRefusal::of_flush(other.as_bytes()), None, "{other}");
        }
        for other in ["-ERR OOM", "-WRONGTYPE x", "-OOMPH ", "$4\r\n-OOM\r\n", ""] {
            assert_eq!(NodeRefusal::of_reply(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn index_is_the_place_in_all() {
        for (place, class) in RequestClass::ALL.iter().enumerate() {
            assert_eq!(class.index(), place);
        }
    }
}
