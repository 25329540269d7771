//! What a worker counts, and the cell through which the control thread reads it.
//!
//! Ownership: a `WorkerTallies` belongs to one worker thread, which increments plain fields; nothing here is
//! atomic and nothing is locked. About every 100 ms the worker publishes a copy into its `TalliesCell`; the
//! control thread and everything in `monitor/` read only such copies, merged over the workers.
//!
//! Cost of publishing: the copy is three HdrHistograms (22 KiB each), about 1 KiB of fixed arrays, 2.6 KiB for each command in
//! use, 0.5 KiB per upstream node, and at most [`KEYS_TALLIED_MAX`] rows each for combined keys, cached keys and quotas. With every row
//! taken and 16 nodes that took 44 µs on a busy 2-core machine, ten times a second: 0.05 % of a core.
//!
//! Everything that counts only grows, so that a reader that misses a snapshot misses nothing. Fields that are
//! levels (connections open, bytes buffered, ...) say so.
//!
//! Deliberately absent: time. The worker passes durations in; only the merged view in `monitor/` knows of
//! seconds.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::big_keys::BigKeys;
use super::command_tallies::{ByCommand, CommandCount, CommandTallies};
use super::courses::KeyCourse;
use super::error_words::ErrorWords;
use super::histogram::{Latency, Octaves};
use super::keyed::Keyed;
use super::labels::{
    CloseReason, ErrorKind, NodeRefusal, NodeState, Outcome, QuotaRefusal, RedirectKind, RejectReason,
    RequestClass, Standout,
};
use super::near_tally::NearTally;
pub use super::sale_tallies::{SaleCounts, SaleTallies, SaleTally};
use super::tenant_tallies::TenantTallies;
use crate::limits::KEYS_TALLIED_MAX;

/// Everything that one worker counts. See the module for who may touch it.
#[derive(Clone, Debug)]
pub struct WorkerTallies {
    /// Requests by `RequestClass` and `Outcome`; see [`WorkerTallies::count`].
    pub requests: [[u64; Outcome::COUNT]; RequestClass::COUNT],
    /// Errors by `ErrorKind`.
    pub errors: [u64; ErrorKind::COUNT],
    /// Requests that stood out, by `Standout`.
    pub standouts: [u64; Standout::COUNT],
    /// From the last byte of a client's request to its reply being queued for the client: what the client waits for,
    /// less the network between the two. Absent for what failed, what may block, and what never needs a node, such as `PING`.
    pub request_time: Latency,
    /// The part of `request_time` that the gateway adds: deciding, queueing, folding, delivery.
    pub gateway_time: Latency,
    /// From writing a request to a node to having its whole reply, also of flushes. Absent for what may block.
    pub upstream_time: Latency,
    /// Commands, and the errors that they got.
    pub commands: CommandTallies,
    /// Keys that showed themselves big.
    pub big_keys: BigKeys,
    /// Client connections.
    pub clients: ClientTallies,
    /// Redirections and their kin, by `RedirectKind`.
    pub redirects: [u64; RedirectKind::COUNT],
    /// By `NodeIndex`; shorter than the topology for nodes that this worker never met.
    pub nodes: Vec<NodeTally>,
    /// Combining.
    pub combine: CombineTallies,
    /// Write-behind.
    pub write_behind: WriteBehindTallies,
    /// The opt-in read cache.
    pub read_cache: ReadCacheTallies,
    /// Quotas, one row per key that a quota holds.
    pub quotas: Keyed<QuotaTally>,
    /// Sales of reservations.
    pub sales: SaleTallies,
    /// The counters that quotas hold.
    pub admission: AdmissionTallies,
    /// The worker's hot-key detector.
    pub detector: DetectorTallies,
    /// The tenants of the configuration.
    pub tenants: TenantTallies,
    /// Reads by where they were sent, where they may be sent by zone.
    pub near: NearTally,
    /// Levels: what is done with the operations on each key of the published hot set.
    pub courses: Vec<KeyCourse>,
}

/// A worker's client connections.
#[derive(Clone, Debug, Default)]
pub struct ClientTallies {
    /// Connections accepted.
    pub opened: u64,
    /// Connections ended, by `CloseReason`.
    pub closed: [u64; CloseReason::COUNT],
    /// Connections turned away, by `RejectReason`.
    pub rejected: [u64; RejectReason::COUNT],
    /// Level: connections open now.
    pub current: u64,
    /// Level: connections with a blocking command under way.
    pub blocked: u64,
    /// Level: connections with at least one subscription.
    pub subscribed: u64,
    /// Bytes read from clients.
    pub bytes_in: u64,
    /// Bytes written to clients.
    pub bytes_out: u64,
    /// Level: bytes of requests that are read and not yet on their way.
    pub buffered_in_bytes: u64,
    /// Level: bytes of replies that wait for their client to read.
    pub buffered_out_bytes: u64,
    /// The bound of the two together for this worker, in bytes.
    pub buffered_bytes_max: u64,
    /// Times that reading from a client was paused because a buffer was at its bound.
    pub paused: u64,
}

/// A worker's dealings with one upstream node.
#[derive(Clone, Debug, Default)]
pub struct NodeTally {
    /// The state of the worker's connection.
    pub state: NodeState,
    /// Requests written.
    pub requests: u64,
    /// Error replies, and requests lost with a connection or a deadline.
    pub errors: u64,
    /// What the latest error reply said. Merged over workers, the one of the worker with most errors counts.
    pub last_error: ErrorWords,
    /// Error replies that tell of a state of the server, by `NodeRefusal`.
    pub refusals: [u64; NodeRefusal::COUNT],
    /// Bytes read from the node.
    pub bytes_in: u64,
    /// Bytes written to the node.
    pub bytes_out: u64,
    /// Connections established.
    pub connects: u64,
    /// Connections established after an earlier one was lost.
    pub reconnects: u64,
    /// Attempts to connect that failed.
    pub connect_failures: u64,
    /// Level: requests written and not yet replied to.
    pub inflight: u64,
    /// The bound of `inflight` for the connections that this worker has to it; 0 without any.
    pub inflight_max: u64,
    /// Level: requests that wait for its reply, those apart that may block.
    pub waiting: u64,
    /// Level: how long it has sent nothing while requests waited for it or it could not be reached, in milliseconds; 0 while
    /// it answers. Merged over workers, the greatest counts.
    pub silent_ms: u64,
    /// Level: how long it has held a request back by its own account, in milliseconds; 0 while it holds none. Merged over
    /// workers, the greatest counts.
    pub held_ms: u64,
    /// Level: how much longer than alone requests take for as long as a queue stands at it, in microseconds; it fades within a
    /// second. Merged over workers, the greatest counts.
    pub queue_us: u64,
    /// Level: how many flushes of folded keys may be in flight to it, if they leave by turns; otherwise 0.
    pub flushes_max: f64,
    /// Level: bytes that wait to be written.
    pub buffered_bytes: u64,
    /// Times of its replies in microseconds.
    pub reply_us: Octaves,
    /// Requests of clients that it answered, by command. Flushes have no command of a client.
    pub commands: ByCommand<CommandCount>,
}

/// Combining, as a whole and by key.
#[derive(Clone, Debug)]
pub struct CombineTallies {
    /// Operations of clients that entered combining.
    pub offered: u64,
    /// Commands sent to Redis for them.
    pub flushed: u64,
    /// Keys that could fold before they were in the hot set, because so many of their operations were outstanding.
    pub crowds: u64,
    /// Flushes that had to wait for their turn at their node, and how long they did, in microseconds.
    pub turn_waits: u64,
    /// As above.
    pub turn_wait_us: u64,
    /// Flushes whose outcome was an error and whose members were replayed one by one.
    pub replayed: u64,
    /// Operations per flush.
    pub batch_size: Octaves,
    /// The wait that combining added to an operation before its flush was written, in microseconds.
    pub added_wait_us: Octaves,
    /// By combined key.
    pub keys: Keyed<CombinedKeyTally>,
}

/// One combined key.
#[derive(Clone, Debug, Default)]
pub struct CombinedKeyTally {
    /// Operations of clients on this key that entered combining.
    pub offered: u64,
    /// Commands sent to Redis for them.
    pub flushed: u64,
    /// Sum over its operations of the wait added before the flush, in microseconds.
    pub added_wait_us_sum: u64,
    /// Level: the operations that wait at this moment.
    pub queued: u64,
    /// Level: unflushed write-behind deltas of this key.
    pub pending: u64,
}

/// Write-behind.
#[derive(Clone, Debug, Default)]
pub struct WriteBehindTallies {
    /// Operations answered before Redis knew of them.
    pub absorbed: u64,
    /// How many of them Redis has acknowledged.
    pub acknowledged: u64,
    /// Flushes, each counted once however often it was sent.
    pub flushes: u64,
    /// Times that a flush was sent again with the same token.
    pub resends: u64,
    /// Flushes in doubt that were taken over from the journal of a former process.
    pub replays: u64,
    /// Flushes whose outcome stayed unknown.
    pub unknown_outcomes: u64,
    /// The operations in them.
    pub unknown_deltas: u64,
    /// Operations that Redis refused for good after they had been answered.
    pub lost_deltas: u64,
    /// Operations refused because `pending_max` was reached.
    pub refused_full: u64,
    /// Level: deltas answered and not yet acknowledged by Redis.
    pub pending: u64,
    /// The bound of `pending`; 0 while no rule wants write-behind.
    pub pending_max: u64,
    /// Level: age of the oldest of them in milliseconds; 0 without any. Merged over workers, the greatest
    /// counts.
    pub oldest_pending_ms: u64,
    /// Bytes written to the journal.
    pub journal_bytes: u64,
    /// Journal syncs.
    pub journal_syncs: u64,
    /// Times that the disk refused a write to the journal.
    pub journal_faults: u64,
    /// Level: whether the journal refuses records now, 1 or 0.
    pub journal_refusing: u64,
    /// Level: whether it does because pending deltas fill it, 1 or 0.
    pub journal_full: u64,
    /// Why it refuses them otherwise, as the system numbers its errors; 0 where that is not known.
    pub journal_os_error: i32,
}

/// The counters whose state a worker remembers for quotas.
#[derive(Clone, Copy, Debug, Default)]
pub struct AdmissionTallies {
    /// Level: how many there are.
    pub keys: u64,
    /// The bound of `keys`, which is that of each worker. Merged over workers, the greatest counts.
    pub keys_max: u64,
    /// Level: the memory that they take, in bytes.
    pub bytes: u64,
    /// The bound of `bytes`.
    pub bytes_max: u64,
    /// Operations refused because either bound was reached.
    pub refused_full: u64,
    /// Times that a client had all keys removed while there were quotas.
    pub flushed: u64,
}

/// The opt-in read cache.
#[derive(Clone, Debug)]
pub struct ReadCacheTallies {
    /// Reads answered from it.
    pub hits: u64,
    /// Reads that had to ask Redis, or to wait for another's.
    pub misses: u64,
    /// Replies kept.
    pub stores: u64,
    /// Entries dropped because Redis said that they changed.
    pub invalidations: u64,
    /// Times that tracked entries were dropped together: their tracking connection broke, or slots moved.
    pub drops: u64,
    /// Level: entries.
    pub entries: u64,
    /// Level: bytes of the entries.
    pub bytes: u64,
    /// By key.
    pub keys: Keyed<CachedKeyTally>,
}

/// One key that the read cache serves.
#[derive(Clone, Debug, Default)]
pub struct CachedKeyTally {
    /// Reads of it answered from the cache.
    pub hits: u64,
}

/// One key that a quota holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuotaTally {
    /// Which `[[quota]]` of the configuration, counted from 0: several may hold one key, each with its own
    /// row.
    pub rule: u16,
    /// Operations granted.
    pub admitted: u64,
    /// Units granted: the sum of the granted increments.
    pub admitted_units: u64,
    /// Operations refused, by `QuotaRefusal`.
    pub refused: [u64; QuotaRefusal::COUNT],
    /// Operations that shadow mode let through and `enforce` would have refused.
    pub would_refuse: u64,
    /// Operations let through unchecked while Redis was away (`on_unavailable = "allow"`).
    pub unchecked: u64,
    /// Sums let through unchecked that were given up: they are not, or not surely, in the counter.
    pub owed_lost: u64,
    /// Questions to Redis about an exhausted key.
    pub rechecks: u64,
}

/// The hot-key detector of one worker.
#[derive(Clone, Debug, Default)]
pub struct DetectorTallies {
    /// Key accesses seen.
    pub accesses: u64,
    /// Key accesses counted; less than `accesses` only when sampling under pressure.
    pub sampled: u64,
    /// Key accesses that a never-track pattern excluded.
    pub excluded: u64,
    /// Entries displaced from the bounded table.
    pub displaced: u64,
    /// Level: keys in the table.
    pub tracked: u64,
    /// Level: bytes of the detector's tables.
    pub memory_bytes: u64,
}

impl Default for WorkerTallies {
    fn default() -> Self {
        Self {
            requests: Default::default(),
            errors: Default::default(),
            request_time: Latency::default(),
            gateway_time: Latency::default(),
            upstream_time: Latency::default(),
            commands: CommandTallies::default(),
            big_keys: BigKeys::default(),
            clients: ClientTallies::default(),
            redirects: Default::default(),
            standouts: Default::default(),
            nodes: Vec::new(),
            combine: CombineTallies::default(),
            write_behind: WriteBehindTallies::default(),
            admission: AdmissionTallies::default(),
            read_cache: ReadCacheTallies::default(),
            quotas: Keyed::with_capacity(KEYS_TALLIED_MAX),
            sales: SaleTallies::default(),
            detector: DetectorTallies::default(),
            tenants: TenantTallies::default(),
            near: NearTally::default(),
            courses: Vec::new(),
        }
    }
}

impl Default for CombineTallies {
    fn default() -> Self {
        Self {
            offered: 0,
            flushed: 0,
            crowds: 0,
            turn_waits: 0,
            turn_wait_us: 0,
            replayed: 0,
            batch_size: Octaves::default(),
            added_wait_us: Octaves::default(),
            keys: Keyed::with_capacity(KEYS_TALLIED_MAX),
        }
    }
}

impl Default for ReadCacheTallies {
    fn default() -> Self {
        Self {
            hits: 0,
            misses: 0,
            stores: 0,
            invalidations: 0,
            drops: 0,
            entries: 0,
            bytes: 0,
            keys: Keyed::with_capacity(KEYS_TALLIED_MAX),
        }
    }
}

impl WorkerTallies {
    /// Counts one settled request.
    pub fn count(&mut self, class: RequestClass, outcome: Outcome) {
        self.count_many(class, outcome, 1);
    }

    /// Counts so many settled requests of one class and outcome.
    pub fn count_many(&mut self, class: RequestClass, outcome: Outcome, requests: u64) {
        self.requests[class.index()][outcome.index()] += requests;
    }

    /// Counts one error.
    pub fn error(&mut self, kind: ErrorKind) {
        self.errors[kind.index()] += 1;
    }

    /// The row of a node, made when the worker first meets it. Nodes are bounded by the topology.
    pub fn node(&mut self, node: usize) -> &mut NodeTally {
        if node >= self.nodes.len() {
            self.nodes.resize_with(node + 1, NodeTally::default);
        }
        &mut self.nodes[node]
    }

    /// All requests settled so far.
    pub fn requests_total(&self) -> u64 {
        self.requests.iter().flatten().sum()
    }

    /// Requests of all classes that ended in `outcome`.
    pub fn requests_with(&self, outcome: Outcome) -> u64 {
        self.requests.iter().map(|row| row[outcome.index()]).sum()
    }

    /// All errors so far.
    pub fn errors_total(&self) -> u64 {
        self.errors.iter().sum()
    }
}

/// Where one worker publishes its tallies and the control thread reads them. Created by `process.rs`, one per
/// worker.
pub struct TalliesCell {
    latest: ArcSwap<WorkerTallies>,
}

impl Default for TalliesCell {
    fn default() -> Self {
        Self { latest: ArcSwap::from_pointee(WorkerTallies::default()) }
    }
}

impl TalliesCell {
    /// Publishes a copy. Called by the owning worker about every 100 ms, and once more before it ends.
    pub fn publish(&self, tallies: &WorkerTallies) {
        self.latest.store(Arc::new(tallies.clone()));
    }

    /// The latest copy; never blocks and never makes the worker wait.
    pub fn load(&self) -> Arc<WorkerTallies> {
        self.latest.load_full()
    }
}
