//! Hot keys on the data path: every access is counted, and operations on hot keys are combined at the key's home worker.
//!
//! ```text
//!   request --> observe --> (not combined) --> upstream, as it came
//!                  |
//!                  +--> a read of a key that a rule lets be copied: the read cache
//!                  +--> home here:  key queue --> one flush --> upstream --> replies to all its members
//!                  +--> home elsewhere: outbox --(once per tick)--> that worker's queue --> back --> client
//! ```
//!
//! A pipeline on a hot key is mostly one request many times over. Those right behind the first that are equal to it, byte for
//! byte, go where it goes without being looked at again: scanned, routed, counted and answered as one run.
//!
//! The home of a key is the same on all workers of the process, so at most one flush per key is in flight per process. What
//! folding means, and why its replies are exact, is in [`crate::combine`]; this directory feeds it and sends its flushes.
//! Keys that a rule puts in write-behind mode are in [`behind`].
//!
//! Nothing here walks all keys: what is to be done later stands in the worker's one [`Timers`] heap, what is to be done now in
//! a list, and one turn takes a bounded part of either ([`mod@pump`]).
//!
//! Order: an operation is combined only when everything that its client sent earlier and that might touch the key outside the
//! queue has been answered; and what can't be combined waits until the client has nothing in any queue.

mod apart;
pub mod behind;
mod board;
pub mod cache;
mod confirm;
mod cooling;
mod counter_scripts;
mod crowds;
mod enqueue;
mod entry;
mod exit;
mod govern;
mod handoff;
mod held_counters;
mod observe;
mod outcome;
mod owner_request;
mod pump;
mod quota;
mod quota_news;
mod room;
pub mod sales;
mod turns;
mod unclamped;
mod unfolded;
mod used_by;
mod verdict;
mod written;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::task::Waker;

use crate::combine::{Foldable, SpareSegments};
use crate::command::{CommandId, CommandTable};
use crate::detect::Detector;
use crate::limits::KEPT_BYTES_MAX;
use crate::route::ClusterId;
use crate::shared::handoff::{Answers, Handoff, Waiter};
use crate::shared::quota_board::PolledLimits;
use crate::shared::topology::NodeIndex;
use crate::worker::core::Core;
use crate::worker::timers::Timers;

use behind::Behind;
use board::Board;
use cache::Cache;
use confirm::Confirmation;
use counter_scripts::CounterScripts;
use entry::HotKey;
pub use entry::{Entry, Rules};
pub use exit::{FlushCommand, FlushExit, FlushRequest, Put, Target};
use govern::Govern;
pub use govern::{Standing, Turn};
use held_counters::HeldCounters;
pub use observe::detector;
use owner_request::OwnerRequest;
use pump::{RETRY_PAUSE_NS, RETRY_SPACING_NS};
use quota::Quotas;
use sales::Sales;
use unclamped::OrphanedSum;
pub use verdict::HotVerdict;

/// What is due at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Due {
    /// The queue of this key is looked at.
    Queue(u64),
    /// So is this sale of reservations.
    Sale(u64),
    /// So is this key in write-behind mode.
    Behind(u64),
    /// This key may have cooled down.
    Cool(u64),
    /// Nobody may need this key in write-behind mode any more.
    Forget(u64),
    /// Keys wait for their turns to flush at this node.
    Turns(NodeIndex),
    /// A mailbox was full.
    Mailboxes,
}

/// Hashes what is a hash already, by leaving it as it is.
#[derive(Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What a worker knows of hot keys.
pub struct HotKeys {
    /// Counts accesses; absent when detection is off.
    pub detector: Option<Box<Detector>>,
    /// Which commands fold, by command.
    foldable: Vec<Option<Foldable>>,
    /// The keys that are combined, by hash.
    entries: HashMap<u64, Entry, BuildHasherDefault<Hashed>>,
    /// Those of them that a quota holds.
    held: HeldCounters,
    /// What the configuration says of keys.
    rules: Rules,
    /// Which scripts are declared to count.
    pub counter_scripts: CounterScripts,
    /// Which keys quotas hold.
    quotas: Quotas,
    /// What was let through for quotas that a reload has taken away, by the hash under which it is paid.
    orphaned_sums: HashMap<u64, OrphanedSum, BuildHasherDefault<Hashed>>,
    /// Grants that wait for replicas.
    confirmations: Vec<Confirmation>,
    /// Copies of replies.
    pub cache: Cache,
    /// What of the quotas is to be published.
    board: Board,
    /// The limits that are polled, and how often they have been new.
    limits: Arc<PolledLimits>,
    limits_version: u64,
    /// Keys that may owe something to their counters. Some that do not any more are among them.
    owing_keys: HashSet<u64, BuildHasherDefault<Hashed>>,
    /// Keys in write-behind mode.
    pub behind: Behind,
    /// Sales of reservations.
    pub sales: Sales,
    /// Where replies are worded.
    scratch: Vec<u8>,
    /// What the queues of all keys have to spare.
    spares: SpareSegments<Waiter>,
    /// Goes up when a key begins to be folded.
    pub epoch: u32,
    /// Which of the hot keys are folded.
    govern: Govern,
    /// Keys of which the queue has changed since the last pump.
    dirty: VecDeque<u64>,
    /// What is due later.
    timers: Timers<Due>,
    /// The number of the last sending, of whatever key: a reply to one that is over finds no other by that number.
    last_sending: u32,
    /// The last time that was given to something that has failed and is to be tried again.
    last_retry_ns: u64,
    /// The keys that are in the hot set.
    hot_keys: Vec<u64>,
    /// Those that are combined for their crowds, and are not in the hot set.
    crowds: Vec<u64>,
    /// The pump.
    waker: Option<Waker>,
    woken: bool,
    /// Its turn is under way, at whose end it looks at the timers.
    pumping: bool,
    /// Operations for the homes of other workers, by worker.
    outboxes: Vec<Vec<Handoff>>,
    /// Answers to the clients of other workers, by worker.
    answers: Vec<Answers>,
    /// The version of the hot set that was taken over under this configuration.
    hot_set_version: Option<u64>,
    /// Requests on keys of any kind while some are combined, for [`Self::is_use_sampled`].
    uses: u32,
}

impl HotKeys {
    /// Nothing is hot yet.
    pub fn new(gateway_id: &str, workers: usize, commands: &CommandTable) -> Self {
        Self {
            behind: Behind::new(gateway_id, workers),
            sales: Sales::new(workers),
            entries: HashMap::default(),
            detector: None,
            foldable: foldable(commands),
            held: HeldCounters::default(),
            rules: Rules::default(),
            counter_scripts: CounterScripts::default(),
            quotas: Quotas::default(),
            orphaned_sums: HashMap::default(),
            confirmations: Vec::new(),
            cache: Cache::new(commands),
            board: Board::default(),
            limits: Arc::default(),
            limits_version: 0,
            owing_keys: HashSet::default(),
            scratch: Vec::new(),
            spares: SpareSegments::default(),
            epoch: 0,
            govern: Govern::default(),
            dirty: VecDeque::new(),
            timers: Timers::default(),
            last_sending: 0,
            last_retry_ns: 0,
            hot_keys: Vec::new(),
            crowds: Vec::new(),
            waker: None,
            woken: false,
            pumping: false,
            outboxes: (0..workers).map(|_| Vec::new()).collect(),
            answers: (0..workers).map(|_| Answers::default()).collect(),
            hot_set_version: None,
            uses: 0,
        }
    }

    /// Whether no key is combined and neither a rule nor a quota could make one.
    pub fn is_idle(&self) -> bool {
        self.entries.is_empty() && self.rules.is_empty() && self.quotas.is_empty()
    }

    /// Whether this very key is one of those that are combined, or may come to be.
    pub fn knows(&self, key: &[u8], hash: u64) -> bool {
        self.entries.get(&hash).is_some_and(|entry| entry.key == key)
    }

    /// What is known of the key with this hash.
    pub fn entry(&self, hash: u64) -> Option<&Entry> {
        self.entries.get(&hash)
    }

    /// Whether operations on a key may be in a queue. `passes` says that nothing of the client at hand is in one.
    pub fn folds(&self, hash: u64, passes: bool) -> bool {
        self.entries.get(&hash).is_some_and(|entry| !passes || !entry.passes())
    }

    /// Whether a quota holds this key.
    pub fn is_under_quota(&mut self, key: &[u8], hash: u64) -> bool {
        self.quotas.holds(key, hash)
    }

    /// Looks up anew which commands fold.
    pub fn set_commands(&mut self, commands: &CommandTable) {
        self.foldable = foldable(commands);
        self.cache.set_commands(commands);
        for entry in self.entries.values_mut() {
            (entry.unfolded, entry.used_by) = Default::default();
        }
    }

    /// How a command folds, if it does.
    pub fn foldable(&self, command: CommandId) -> Option<Foldable> {
        self.foldable.get(command.index()).copied().flatten()
    }

    /// Lends the state of a key at its home out of the table, and puts it back.
    fn with_home<T>(&mut self, hash: u64, act: impl FnOnce(&mut Self, &mut HotKey) -> T) -> Option<T> {
        let mut home = self.entries.get_mut(&hash)?.queue.take()?;
        let outcome = act(self, &mut home);
        if let Some(entry) = self.entries.get_mut(&hash) {
            entry.queue = Some(home);
        }
        Some(outcome)
    }

    /// The pump begins a turn, at whose end it looks at the timers.
    pub fn begin_pumping(&mut self) {
        (self.woken, self.pumping) = (false, true);
    }

    /// It ends its turn. Says in how many nanoseconds there is more to do: 0 if there is now.
    pub fn end_pumping(&mut self, now_ns: u64) -> Option<u64> {
        self.pumping = false;
        if self.woken || !self.dirty.is_empty() || self.behind.has_changed() || self.sales.has_changed() {
            return Some(0);
        }
        self.timers.next_due_ns().map(|due_ns| due_ns.saturating_sub(now_ns))
    }

    /// Takes what has been due longest, if anything is.
    pub fn take_due(&mut self, now_ns: u64) -> Option<Due> {
        self.timers.take_due(now_ns)
    }

    /// Takes a key whose queue has changed.
    pub fn take_changed(&mut self) -> Option<u64> {
        self.dirty.pop_front()
    }

    /// Whether there is something for the pump to do now. If not, this waker is woken when there is.
    pub fn poll_woken(&mut self, waker: &Waker) -> bool {
        if !self.woken && self.waker.as_ref().is_none_or(|known| !known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
        self.woken
    }

    /// Has a key's queue looked at by this time, if that is not going to happen anyway.
    fn look_at(&mut self, due_ns: u64, hash: u64) {
        self.arm(Due::Queue(hash), due_ns);
    }

    /// Has something done by this time.
    fn arm(&mut self, due: Due, due_ns: u64) {
        if self.timers.arm(due, due_ns) && !self.pumping {
            self.wake();
        }
    }

    /// When something that has failed is tried again. Each has a time of its own, so that however many keys fail, trying
    /// again takes the same small part of the worker.
    fn next_retry_ns(&mut self, now_ns: u64) -> u64 {
        self.last_retry_ns = (now_ns + RETRY_PAUSE_NS).max(self.last_retry_ns + RETRY_SPACING_NS);
        self.last_retry_ns
    }

    /// The command of a key has failed, and goes again after a pause. Says when the key is to be looked at.
    fn back_off(&mut self, core: &Core, cluster: ClusterId, owner: &mut OwnerRequest) -> u64 {
        owner.on_failure(core.now_ns);
        let retry_at_ns = self.next_retry_ns(core.now_ns);
        owner.back_off_until(retry_at_ns);
        // However many try again, nobody waits longer than is said.
        let patience_ns = core.unavailable_wait_ns(cluster);
        let overdue_ns = owner.failing_since_ns().map_or(u64::MAX, |ns| ns.saturating_add(patience_ns));
        retry_at_ns.min(overdue_ns)
    }

    /// Gives back what the largest burst has left behind.
    pub fn give_back(&mut self) {
        if self.scratch.capacity() > KEPT_BYTES_MAX {
            self.scratch = Vec::new();
        }
        let kept_max = KEPT_BYTES_MAX / size_of::<u64>();
        for list in [&mut self.dirty, self.behind.changed(), self.sales.changed()] {
            if list.is_empty() && list.capacity() > kept_max {
                *list = VecDeque::new();
            }
        }
        // To move the rest costs less than a hundredth of what it cost to fill the table.
        if self.entries.capacity() > kept_max && self.entries.len() < self.entries.capacity() / 16 {
            self.entries.shrink_to(2 * self.entries.len());
        }
    }

    /// A number for a sending, which none has had for a long time.
    fn next_sending(&mut self) -> u32 {
        self.last_sending = self.last_sending.wrapping_add(1);
        self.last_sending
    }

    /// Lets the pump run after all tasks that are ready now.
    fn wake(&mut self) {
        if !std::mem::replace(&mut self.woken, true)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }
}

fn foldable(commands: &CommandTable) -> Vec<Option<Foldable>> {
    let mut foldable = vec![None; commands.len()];
    for (id, command) in commands.iter() {
        foldable[id.index()] = Foldable::by_name(command.name.as_bytes());
    }
    foldable
}
