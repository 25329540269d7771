//! Write-behind on the data path: what the home of a key does between its clients, its machine, Redis and the journal.
//!
//! ```text
//!   client/behind --> home: machine of the key --> answered at once          (home, journal)
//!                             |
//!                             +-- now and then --> flush --> upstream --> settled (flush)
//! ```
//!
//! What an answer means, and which flush may go when, is decided in [`crate::combine::WriteBehindKey`]; this drives it. A
//! key has one home in the process, as with combining, and at most one request of it is in flight.
//!
//! With a journal, a reply waits until all that it tells of is on disk, and a flush until its start is; nothing else
//! does.
//!
//! A rule that a reload takes away leaves what is pending to be flushed at once; commands that come in that moment wait
//! for it.

mod figures;
mod flush;
mod home;
mod journal;
mod leaving;
mod silence;

use std::collections::{HashMap, VecDeque};

use ahash::RandomState;
use bytes::Bytes;

pub use figures::Unflushed;
pub use journal::WorkerJournal;

use crate::combine::{
    PendingBudget, WriteBehindFacts, WriteBehindIdentity, WriteBehindKey, WriteBehindOp, WriteBehindPolicy,
};
use crate::config::RuleMode;
use crate::journal::Ticket;
use crate::route::SlotAt;
use crate::shared::behind::{BehindRequest, HomeMessage};
use crate::shared::handoff::Waiter;
use crate::shared::keyed::RowId;
use crate::worker::core::Core;
use crate::worker::hot::HotKeys;
use crate::worker::hot::Rules;
use crate::worker::hot::owner_request::OwnerRequest;
use crate::worker::timers::Timers;
use journal::JournalSide;
use leaving::Leaving;
use silence::LooksFirst;

/// Who waits on a key, and with what; without an operation it is a barrier.
#[derive(Clone, Copy, Debug)]
struct Member {
    waiter: Waiter,
    op: Option<WriteBehindOp>,
}

/// What is under way for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing.
    Rest,
    /// The base is to be asked for.
    BaseDue,
    /// It has been.
    BaseSent,
    /// The start of the flush waits for the disk.
    FlushJournaled(Ticket),
    /// The flush is to be sent again.
    FlushDue,
    /// The flush is on the wire.
    FlushSent,
}

/// A key at its home.
struct BehindKey {
    machine: WriteBehindKey<Member>,
    place: SlotAt,
    stage: Stage,
    /// How far what is to be sent is on its way to the owner of the slot.
    owner: OwnerRequest,
    /// What is told to those who wait too long for the next that does not.
    failing_why: &'static str,
    /// When the last request for it was sent.
    sent_ns: u64,
    /// Its master was silent, so the topology is looked at before anything new is sent.
    looks_first: Option<LooksFirst>,
    /// It is in the list of changed keys.
    dirty: bool,
    /// When it is looked at in any case; 0 for never.
    timer_ns: u64,
    /// Deltas taken since it was looked at.
    deltas_since_look: usize,
    /// What is pending is wanted in Redis without waiting for the interval.
    hurried: bool,
    /// When it was last used.
    active_ns: u64,
    /// When it was first seen to be passed through; 0 while it is not.
    passed_through_ns: u64,
    /// Its row in the tallies.
    row: RowId,
    /// Figures of the machine that are in the tallies already.
    tallied: WriteBehindFacts,
    /// The last delta that the journal was given, and the last that it has on disk.
    journaled_sequence: u64,
    durable_sequence: u64,
}

/// What a worker keeps of write-behind.
pub struct Behind {
    /// A rule names keys for it, or some are here.
    on: bool,
    keys: HashMap<u64, Box<BehindKey>, RandomState>,
    policy: WriteBehindPolicy,
    budget: PendingBudget,
    /// By what name Redis remembers the flushes.
    identity: Vec<u8>,
    token_floor: u64,
    /// Redis does not let the gateway's user flush.
    forbidden: bool,
    journal: Option<JournalSide>,
    /// Keys to be looked at in this tick.
    dirty: VecDeque<u64>,
    /// Since when increments of keys have waited, by key.
    pending_since: Timers<u64>,
    /// Questions to homes, by worker; this one's own wait here for the pump too.
    outboxes: Vec<Vec<BehindRequest>>,
    /// What is said to workers, likewise.
    results: Vec<Vec<HomeMessage>>,
    /// Numbers the barriers of clients.
    barriers: u32,
    /// What the rules were.
    leaving: Leaving,
}

impl Behind {
    /// Nothing is pending.
    pub fn new(gateway_id: &str, workers: usize) -> Self {
        Self {
            on: false,
            keys: HashMap::default(),
            policy: WriteBehindPolicy {
                flush_interval_ns: 0,
                flush_deltas_max: 1,
                base_age_ns_max: 0,
                journal: false,
            },
            budget: PendingBudget::new(0),
            identity: identity_of(gateway_id),
            token_floor: 0,
            forbidden: false,
            journal: None,
            dirty: VecDeque::new(),
            pending_since: Timers::default(),
            outboxes: (0..workers).map(|_| Vec::new()).collect(),
            results: (0..workers).map(|_| Vec::new()).collect(),
            barriers: 0,
            leaving: Leaving::default(),
        }
    }

    /// Whether any key may be in write-behind mode.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// On as long as rules name keys, or have named them and something is left.
    fn switch(&mut self, rules: &Rules) {
        self.on = rules.any(RuleMode::WriteBehind) || !self.keys.is_empty() || !self.leaving.is_over();
    }

    /// A number for the next barrier of a client.
    pub fn next_barrier(&mut self) -> u32 {
        self.barriers = self.barriers.wrapping_add(1);
        self.barriers
    }

    fn identity(&self) -> WriteBehindIdentity<'_> {
        WriteBehindIdentity { gateway_id: &self.identity, token_floor: self.token_floor }
    }
}

/// Apart from that of combining, so that the two never meet in a companion key when a reload changes the mode of a key.
fn identity_of(gateway_id: &str) -> Vec<u8> {
    [gateway_id.as_bytes(), b":behind"].concat()
}

impl BehindKey {
    fn new(machine: WriteBehindKey<Member>, place: SlotAt, row: RowId, now_ns: u64) -> Self {
        Self {
            machine,
            place,
            stage: Stage::Rest,
            owner: OwnerRequest::default(),
            failing_why: flush::UNREACHABLE,
            sent_ns: 0,
            looks_first: None,
            dirty: false,
            timer_ns: 0,
            deltas_since_look: 0,
            hurried: false,
            active_ns: now_ns,
            passed_through_ns: 0,
            row,
            tallied: WriteBehindFacts::default(),
            journaled_sequence: 0,
            durable_sequence: 0,
        }
    }

    fn name(&self) -> String {
        self.machine.key().escape_ascii().to_string()
    }
}

impl HotKeys {
    /// Whether commands on a key of database 0 go by its home in write-behind mode.
    pub fn is_behind(&mut self, key: &[u8], hash: u64) -> bool {
        self.wants_behind(key, hash) || self.is_leaving(key, hash)
    }

    /// Takes over a new configuration.
    pub(super) fn configure_behind(&mut self, core: &mut Core) {
        let config = &core.config.write_behind;
        let interval_ns = config.flush_interval.as_nanos() as u64;
        let behind = &mut self.behind;
        behind.policy = WriteBehindPolicy {
            flush_interval_ns: interval_ns,
            flush_deltas_max: config.flush_max,
            // What others write shows as late as what is written here.
            base_age_ns_max: interval_ns,
            journal: behind.journal.is_some(),
        };
        // Each worker has a share of the bound, so that none has to ask another.
        let workers = core.gateway.workers.len();
        let share = config.pending_max / workers + usize::from(core.index < config.pending_max % workers);
        behind.budget.set_max(share.max(1));
        behind.switch(&self.rules);
        if behind.on {
            self.doubt_totals(core);
        }
        let behind = &self.behind;
        let keys: Vec<(u64, Bytes)> =
            behind.keys.iter().map(|(hash, key)| (*hash, key.machine.key().clone())).collect();
        for (hash, key) in keys {
            if !self.wants_behind(&key, hash) {
                self.hurry(hash);
            }
        }
    }

    /// Flushes what is pending of a key without waiting for the interval.
    fn hurry(&mut self, hash: u64) {
        if let Some(key) = self.behind.keys.get_mut(&hash) {
            key.hurried = true;
            self.look(hash);
        }
    }

    /// Has a key looked at in this tick.
    fn look(&mut self, hash: u64) {
        if let Some(key) = self.behind.keys.get_mut(&hash)
            && !std::mem::replace(&mut key.dirty, true)
        {
            self.behind.dirty.push_back(hash);
            self.wake();
        }
    }
}
