//! Write-behind on the data path: what the home of a key does between its clients, its machine, Redis and the journal.
//!
//! ```text
//!   client --> its worker --> home: machine of the key --> answered at once     (home; journal: when it is on disk)
//!                               |
//!                               +-- now and then --> flush --> upstream --> settled (flush)
//! ```
//!
//! What an answer means, and which flush may go when, is decided in [`crate::combine::WriteBehindKey`]; this drives it. A
//! key has one home in the process, as with combining, and at most one request of it is in flight. With a journal, a reply
//! waits until all that it tells of is on disk, and a flush until its start is; nothing else does.
//!
//! # Commands that write-behind does not answer
//!
//! They need the keys that they touch as Redis has them. So the client's worker gets a *barrier* first, from one home after the
//! other in the order of homes. A home puts it behind all that waits for any of its keys, in all of them at once. In each key,
//! when everything before is flushed or passed through, the barrier *holds* the key. When it holds all keys of the home, the
//! home grants it. The command is sent when all homes have, and when its reply has left the client's queue the homes are told.
//!
//! *Answers are right.* A client asks for a barrier when all it sent before is answered, and what other clients were told before is
//! in the machines too: so all of it is flushed before the command goes. While the key is held, no operation is answered and
//! the value is not asked for. What comes behind is answered from what Redis holds after the command. Without the hold it would
//! not do to flush and then send: with `a` = 10, an `INCR` may be answered 11 while `SET a 0` is under way; Redis runs the `SET`, the
//! flush makes it 1, and no order of the two gives both. Nor is an operation that comes meanwhile passed through: the home would
//! have to hear of the end of each before it asks for the value.
//!
//! *Nobody waits for ever.* An operation waits for its base, for the flushes before it, and for the barriers that hold its key or
//! stand before it. A flush and a base end, or time out (`unavailable_wait`), and wait for nobody. A barrier waits at one home, for
//! what was before it there. It came into all queues of the home at once, so at a home each waits only for what came earlier, and
//! what holds keys there already waits at a later home, or its command is under way. Of all barriers that wait take one at the
//! last home, the earliest there: it waits for commands alone. A command's end waits for no other, since all its client sent before
//! has been answered, and not for the client to read. So that barrier is granted, and by induction every one is.
//!
//! # Rules that change
//!
//! A worker takes operations to a home while its rules name the key. When a reload ends that, it still does until the key's old
//! rules are *drained* everywhere, so that nothing overtakes what is pending. A home takes an operation only if its own rules and
//! those of the worker that brings it both name the key; otherwise the key absorbs no more, is flushed, and the operation is
//! handed back behind that. A home is drained when it has the asking worker's very rules and holds nothing of other keys. What that
//! worker brought under former rules was before its question in the mailbox, so it is over; what it brings later is only
//! handed back. So when all homes are drained it may go past them. A client of which something is at a home at that time waits
//! until that has come back (`pass_epoch`).
//!
//! The other way round, a client's worker says until when the client may have written the key beside its home: before the rules came,
//! or as an operation was handed back. A home that knows the value from before that time asks Redis anew, once.

mod figures;
mod flush;
mod home;
mod journal;
mod rules;
mod silence;

use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasherDefault;

use bytes::Bytes;

pub use crate::shared::worker_journal::WorkerJournal;
pub use figures::Unflushed;

use crate::combine::{
    Barriers, PendingBudget, WriteBehindFacts, WriteBehindIdentity, WriteBehindKey, WriteBehindPolicy,
};
use crate::journal::Ticket;
use crate::route::{KeyId, SlotAt};
use crate::shared::behind::{BarrierId, BehindRequest, HomeReply};
use crate::shared::handoff::Waiter;
use crate::shared::keyed::RowId;
use crate::shared::keys::KeyNames;
use crate::worker::hot::owner_request::OwnerRequest;
use crate::worker::hot::{Hashed, HotKeys};
use crate::worker::timers::Timers;
use journal::JournalSide;
use rules::FormerRules;
use silence::LooksFirst;

/// A key at its home.
struct BehindKey {
    id: KeyId,
    machine: WriteBehindKey<Waiter, BarrierId>,
    place: SlotAt,
    /// How far what is to be sent is on its way to the owner of the slot.
    owner: OwnerRequest,
    /// The start of the flush waits for the disk.
    start: Option<Ticket>,
    /// What is told to those who wait too long for the next that does not.
    failing_why: &'static str,
    /// When the last request for it was sent.
    sent_ns: u64,
    /// Its master was silent, so the topology is looked at before anything new is sent.
    looks_first: Option<LooksFirst>,
    /// It is in the list of changed keys.
    dirty: bool,
    /// When it was last used.
    active_ns: u64,
    /// When it was first seen to be passed through, if it is.
    passed_through_ns: Option<u64>,
    /// Everything known of its value was asked for after this time.
    doubted_ns: u64,
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
    /// A rule names keys for it, or one has.
    on: bool,
    /// By hash. A key that is driven is taken out and put back; nothing that looks for it runs meanwhile.
    keys: HashMap<u64, Option<Box<BehindKey>>, BuildHasherDefault<Hashed>>,
    policy: WriteBehindPolicy,
    budget: PendingBudget,
    /// By what name Redis remembers the flushes.
    identity: Vec<u8>,
    token_floor: u64,
    /// Redis does not let the gateway's user flush.
    forbidden: bool,
    journal: Option<JournalSide>,
    /// Barriers past keys of this home: as many as clients have commands that wait for one or are under way.
    barriers: Barriers<BarrierId>,
    /// Keys to be looked at in this tick.
    dirty: VecDeque<u64>,
    /// Since when increments of keys have waited, by key.
    pending_since: Timers<u64>,
    /// Requests to homes, by worker; this one's own wait here for the pump too.
    outboxes: Vec<Vec<BehindRequest>>,
    /// What is said to workers, likewise.
    replies: Vec<Vec<HomeReply>>,
    /// Numbers the barriers of clients.
    barrier_last: u32,
    /// What the rules were.
    former: FormerRules,
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
            barriers: Barriers::default(),
            dirty: VecDeque::new(),
            pending_since: Timers::default(),
            outboxes: (0..workers).map(|_| Vec::new()).collect(),
            replies: (0..workers).map(|_| Vec::new()).collect(),
            barrier_last: 0,
            former: FormerRules::default(),
        }
    }

    /// Whether any key may be in write-behind mode, or may have been.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// A number for the next barrier of a client.
    pub fn next_barrier(&mut self) -> u32 {
        self.barrier_last = self.barrier_last.wrapping_add(1);
        self.barrier_last
    }

    /// The keys that are not driven at the moment.
    fn all(&self) -> impl Iterator<Item = &BehindKey> {
        self.keys.values().filter_map(Option::as_deref)
    }

    fn get_mut(&mut self, hash: u64) -> Option<&mut BehindKey> {
        self.keys.get_mut(&hash)?.as_deref_mut()
    }
}

/// Apart from that of combining, so that the two never meet in a companion key when a reload changes the mode of a key.
fn identity_of(gateway_id: &str) -> Vec<u8> {
    [gateway_id.as_bytes(), b":behind"].concat()
}

impl BehindKey {
    fn new(id: KeyId, machine: WriteBehindKey<Waiter, BarrierId>, row: RowId, now_ns: u64) -> Self {
        Self {
            id,
            place: SlotAt::of(id.cluster, machine.key()),
            machine,
            owner: OwnerRequest::default(),
            start: None,
            failing_why: flush::UNREACHABLE,
            sent_ns: 0,
            looks_first: None,
            dirty: false,
            active_ns: now_ns,
            passed_through_ns: None,
            doubted_ns: now_ns,
            row,
            tallied: WriteBehindFacts::default(),
            journaled_sequence: 0,
            durable_sequence: 0,
        }
    }

    /// Its name for the log.
    fn shown(&self, names: &KeyNames) -> String {
        names.label(self.machine.key())
    }

    fn named(&self) -> (KeyId, Bytes) {
        (self.id, self.machine.key().clone())
    }
}

impl HotKeys {
    fn behind_identity(&self) -> WriteBehindIdentity<'_> {
        WriteBehindIdentity { gateway_id: &self.behind.identity, token_floor: self.behind.token_floor }
    }

    /// Has a key looked at in this tick.
    fn look(&mut self, hash: u64) {
        if let Some(mut key) = self.behind.keys.get_mut(&hash).and_then(Option::take) {
            self.look_again_behind(&mut key);
            self.put_back(key);
        }
    }

    /// The same for one that is at hand.
    fn look_again_behind(&mut self, key: &mut BehindKey) {
        if !std::mem::replace(&mut key.dirty, true) {
            self.behind.dirty.push_back(key.id.hash);
            self.wake();
        }
    }

    fn put_back(&mut self, key: Box<BehindKey>) {
        if let Some(place) = self.behind.keys.get_mut(&key.id.hash) {
            *place = Some(key);
        }
    }

    /// Drives a key: lends it out of the table, and counts what comes of it.
    fn with_behind(&mut self, hash: u64, act: impl FnOnce(&mut Self, &mut BehindKey)) {
        if let Some(mut key) = self.behind.keys.get_mut(&hash).and_then(Option::take) {
            act(self, &mut key);
            self.put_back(key);
        }
    }
}
