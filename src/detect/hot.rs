//! What the merger publishes: the hot set, its keys, and the transitions in and out of it.
//!
//! Plain data. When a key becomes hot or cools, the merger decides ([`super::merger`]).

use std::sync::Arc;

use super::key::KeyName;

/// The kind of load on a hot key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Most accesses only read.
    ReadHot,
    /// Most accesses write.
    WriteHot,
    /// Most accesses are of the INCR family.
    CounterHot,
    /// Hot by bytes and not by accesses.
    ByteHot,
}

impl Class {
    /// The lower-case word for it: `read`, `write`, `counter` or `bytes`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadHot => "read",
            Self::WriteHot => "write",
            Self::CounterHot => "counter",
            Self::ByteHot => "bytes",
        }
    }
}

/// Current figures of a key, over the window or, for a key younger than that, over its life.
///
/// Counts never overstate; `error` bounds by how much they may understate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Accesses per second.
    pub ops: f64,
    /// Reads per second.
    pub reads: f64,
    /// Writes per second, counters included.
    pub writes: f64,
    /// Accesses of the INCR family per second.
    pub counters: f64,
    /// Request bytes per second.
    pub bytes_in: f64,
    /// Reply bytes per second.
    pub bytes_out: f64,
    /// Accesses per second that may be missing in `ops`, from before the key was tracked.
    pub error: f64,
    /// Part of the accesses to all keys, 0.0 to 1.0.
    pub share: f64,
    /// Rate in the newer half of the window by that in the older half: 1.0 is steady, at most 100.
    pub trend: f64,
    /// About how many connections used the key.
    pub connections: u32,
}

/// A key of the hot set.
#[derive(Clone, Debug)]
pub struct HotKey {
    /// Which key.
    pub key: KeyName,
    /// When it became hot, in milliseconds of the caller's clock.
    pub since_ms: u64,
    /// The kind of load now.
    pub class: Class,
    /// Its figures now.
    pub rates: Rates,
    /// The highest `rates.ops` since it became hot.
    pub peak: f64,
    /// Accesses in each of the last whole seconds, oldest first, at most
    /// [`HISTORY_POINTS`](super::HISTORY_POINTS).
    pub history: Arc<[u32]>,
}

/// Any tracked key, hot or not, as one line of a ranking.
#[derive(Clone, Debug)]
pub struct TopKey {
    /// Which key.
    pub key: KeyName,
    /// The kind of load; never [`Class::ByteHot`].
    pub class: Class,
    /// Its figures now.
    pub rates: Rates,
}

/// The order of a ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Accesses.
    Ops,
    /// Reads.
    Reads,
    /// Writes.
    Writes,
    /// Bytes of requests and replies.
    Bytes,
}

/// The hot keys of all workers at one time.
#[derive(Clone, Debug, Default)]
pub struct HotSet {
    /// Goes up by one whenever a key becomes hot or cools; figures change without it.
    pub version: u64,
    /// When this was judged, in milliseconds of the caller's clock.
    pub at_ms: u64,
    /// The hot keys, highest rate first.
    pub entries: Vec<HotKey>,
    /// Accesses to all keys per second, over the window.
    pub total_ops: f64,
    /// Request bytes of all keys per second, over the window.
    pub total_bytes_in: f64,
    /// Reply bytes of all keys per second, over the window.
    pub total_bytes_out: f64,
}

/// Which way a key went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransitionKind {
    /// It is in the hot set since now.
    BecameHot,
    /// It was hot until now.
    Cooled,
}

/// A key that entered or left the hot set.
#[derive(Clone, Debug)]
pub struct Transition {
    /// Which way.
    pub kind: TransitionKind,
    /// When, in milliseconds of the caller's clock.
    pub at_ms: u64,
    /// The key, with its figures at that time.
    pub hot_key: HotKey,
}
