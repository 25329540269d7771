//! The types at the border of a queue: policy, decisions, counters.

use std::sync::Arc;

use super::clamp::{Clamp, ClampReport};
use crate::resp::RespVersion;

/// How flushes of a key are to be made. May differ from flush to flush; a resend keeps that of its flush.
#[derive(Clone, Copy, Debug)]
pub struct FlushPolicy<'a> {
    /// From the sending of one flush to that of the next, in nanoseconds, if that brings `early_min` operations.
    pub interval_ns: u64,
    /// The least batch that goes before its interval is over, and the least that the interval has to bring to be waited for.
    pub early_min: usize,
    /// Send writes under a token.
    pub exactly_once: bool,
    /// The quota of this key. Increments then go through the script in either form.
    pub clamp: Option<&'a Arc<Clamp>>,
    /// The quota is not known yet: nothing that it would hold may begin, nor what waits behind that.
    pub withhold: bool,
}

/// A flush to send. [`super::KeyQueue::encode`] gives its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flush {
    /// How many commands it is, and so how many replies [`super::KeyQueue::settle`] expects.
    pub commands: usize,
    /// The protocol version that the connection has to speak; any will do if `None`.
    pub version: Option<RespVersion>,
    /// How many operations it is for.
    pub operations: usize,
    /// How many of them, the first ones, the script does.
    pub script_operations: usize,
    /// It has been sent before.
    pub resend: bool,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushDecision {
    /// Send this; from now on it is in flight.
    Send(Flush),
    /// Ask again at this time (nanoseconds on the caller's clock).
    NotBefore(u64),
    /// A flush is in flight: ask again when it is settled.
    InFlight,
    /// The waiting operations need the quota. Ask again when it is known.
    Withheld,
    /// Nothing waits.
    Idle,
}

/// Why some of a flush has to be sent again. None of that has taken effect, and [`super::KeyQueue::next_flush`] gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Redis does not know the script: the resend carries its source, if that of a client's script is given
    /// ([`super::KeyQueue::load_scripts`]).
    NoScript,
    /// Redis refused a folded command whose members may fare differently: the resend applies them one by one.
    OneByOne,
    /// The reply at this index is a redirection or says that the node cannot serve now (`MOVED`, `ASK`, `TRYAGAIN`,
    /// `CLUSTERDOWN`, `LOADING`, `MASTERDOWN`).
    Elsewhere {
        /// Which of the replies.
        reply: usize,
    },
}

/// What the replies to a flush showed of a script that is declared to count, by its place in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptNews {
    /// It did what was declared.
    AsDeclared(u16),
    /// It did something else: what.
    Differs(u16, String),
    /// The server does not permit what the gateway needs to fold it: its words.
    Refused(u16, String),
}

/// The result of the replies to a flush.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Something is left to be sent again. If `None`, the flush is over.
    pub again: Option<Again>,
    /// The state of the quota, if the flush was clamped and its write is settled.
    pub clamp: Option<ClampReport>,
    /// The server does not permit the gateway a form of a command that no client had sent (`INCRBY` for `INCR`). From here on
    /// this queue sends such operations as they came.
    pub denied: bool,
    /// What was learned of a script that counts.
    pub script: Option<ScriptNews>,
}

/// Counters of a queue since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueCounters {
    /// Operations taken.
    pub offered: u64,
    /// Commands sent to Redis for them, resends included.
    pub commands: u64,
    /// Flushes, each counted once.
    pub flushes: u64,
    /// Operations of all flushes; divided by `flushes` this is the mean batch.
    pub batch_sum: u64,
    /// The largest batch.
    pub batch_max: u64,
    /// Flushes that were sent again, each time.
    pub resends: u64,
}
