//! Which keys are combined, and the state of each.

use std::sync::Arc;

use bytes::Bytes;

use super::apart::Apart;
use super::govern::Passed;
use super::owner_request::OwnerRequest;
use super::quota::KeyQuotaState;
use super::room::Unsettled;
use super::unfolded::UnfoldedCommands;
use super::used_by::UsedBy;
use crate::admission::{KeyQuota, ReplicaWait};
use crate::combine::{Clamp, KeyQueue, QueueCounters};
use crate::command::glob;
use crate::config::{ReadPolicy, Rule, RuleMode};
use crate::limits::KEY_VERDICTS;
use crate::pace::{Course, KeyPace};
use crate::route::SlotAt;
use crate::shared::handoff::Waiter;
use crate::shared::keyed::RowId;
use crate::shared::topology::NodeIndex;

/// One combined key on one worker.
pub struct Entry {
    /// The key.
    pub key: Bytes,
    /// Its hash slot.
    pub place: SlotAt,
    /// The worker that combines it.
    pub home: usize,
    /// A rule wants it combined, hot or not.
    pub ruled: bool,
    /// It is in the published hot set.
    pub hot: bool,
    /// It has a crowd, and is not in the hot set ([`super::crowds`]).
    pub crowded: bool,
    /// What holds it.
    pub quota: Option<Arc<KeyQuota>>,
    /// What it counts as among the counters that quotas hold, in bytes.
    pub held_bytes: usize,
    /// It is the queue of what is owed to its key ([`super::unclamped`]); no client's operation comes here.
    pub is_unclamped: bool,
    /// Whether its operations pass as they came or are folded, while nothing forces them to be folded.
    pub pace: KeyPace,
    /// Its operations that passed.
    pub passed: Passed,
    /// Commands on it that do not fold.
    pub unfolded: UnfoldedCommands,
    /// Who uses it, and with which commands.
    pub used_by: UsedBy,
    /// Operations of this worker's clients that are not settled.
    pub unsettled: Unsettled,
    /// When it was last used, in nanoseconds of the worker's clock.
    pub active_ns: u64,
    /// The queue, at home.
    pub queue: Option<Box<HotKey>>,
}

/// A key at its home.
pub struct HotKey {
    /// Where the key is.
    pub place: SlotAt,
    /// Its quota.
    pub held: Option<Box<KeyQuotaState>>,
    /// What waits and what is in flight.
    pub queue: KeyQueue<Waiter>,
    /// The sending that is in flight.
    pub sending: Sending,
    /// The keys of its flush are on two nodes.
    pub apart: Option<Apart>,
    /// Of an unclamped queue: what the next flush is made with.
    pub charge: Option<Arc<Clamp>>,
    /// Members of the last flush whose grants wait for replicas, with their replies. Nothing is sent meanwhile.
    pub unconfirmed: Vec<(Waiter, i64)>,
    /// When the last flush was answered.
    pub answered_ns: u64,
    /// It is in the list of changed queues.
    pub dirty: bool,
    /// It waits for its turn to flush.
    pub in_line: bool,
    /// Since when the flush that is next has waited for its turn, in nanoseconds.
    pub turn_since_ns: Option<u64>,
    /// The longest such wait since it was shown last.
    pub turn_wait_ns: u64,
    /// How far the flush at hand is on its way to the owner of the slot.
    pub owner: OwnerRequest,
    /// What Redis said last to the flush at hand, where that was that it does not serve the slot at present.
    pub said: Option<Bytes>,
    /// Its row in the tallies.
    pub row: RowId,
    /// When the oldest operation that waits came in, in nanoseconds, if any waits.
    pub waiting_since_ns: Option<u64>,
    /// Figures of the queue that are in the tallies already.
    pub tallied: QueueCounters,
}

/// What has come back of a sending.
#[derive(Default)]
pub struct Sending {
    /// Where it went.
    pub node: Option<NodeIndex>,
    /// Replies that it will have.
    pub expected: usize,
    /// Replies so far.
    pub replies: Vec<Bytes>,
    /// How long Redis took for the one that took longest.
    pub upstream_ns: u64,
    /// Commands that were lost with their connection.
    pub lost: usize,
    /// So many of those had not been written.
    pub unsent: usize,
}

impl HotKey {
    /// What its grants have to wait for.
    pub fn replica_wait(&self) -> Option<ReplicaWait> {
        self.held.as_ref()?.admission.quota().wait()
    }
}

impl Entry {
    /// An entry that nothing wants combined yet, with its queue if its home is here.
    pub fn new(key: Bytes, place: SlotAt, home: usize, now_ns: u64, queue: Option<Box<HotKey>>) -> Self {
        Self {
            key,
            place,
            home,
            ruled: false,
            hot: false,
            crowded: false,
            quota: None,
            held_bytes: 0,
            is_unclamped: false,
            pace: KeyPace::default(),
            passed: Passed::default(),
            unfolded: UnfoldedCommands::default(),
            used_by: UsedBy::default(),
            unsettled: Unsettled::default(),
            active_ns: now_ns,
            queue,
        }
    }

    /// Whether its operations are folded whether the node queues or not: a rule or a quota says so.
    pub fn is_forced(&self) -> bool {
        self.ruled || self.quota.is_some() || self.is_unclamped
    }

    /// Whether its operations go as they came.
    pub fn passes(&self) -> bool {
        !self.is_forced() && self.pace.course() == Course::Passing
    }

    /// Its operations went as they came for a while.
    pub fn forget_values(&mut self) {
        self.queue.iter_mut().for_each(|home| home.queue.forget_values());
    }

    /// Whether it is still to be combined when nothing of it is unsettled.
    pub fn is_wanted(&self) -> bool {
        self.hot || self.ruled || self.crowded || self.quota.is_some()
    }
}

/// What a rule says of its keys.
#[derive(Clone, Copy)]
struct Treatment {
    mode: RuleMode,
    read: ReadPolicy,
    exactly_once: bool,
}

/// Of a key that no rule matches.
const UNTREATED: Treatment =
    Treatment { mode: RuleMode::Auto, read: ReadPolicy::Collapse, exactly_once: false };

/// The `[[rule]]`s, compiled, and their verdicts on keys seen lately.
#[derive(Default)]
pub struct Rules {
    rules: Vec<(Vec<u8>, Treatment)>,
    /// Direct-mapped: a verdict stands where the hash says, until another key takes its place.
    verdicts: Vec<(u64, Treatment)>,
}

impl Rules {
    /// Takes over the rules of a configuration.
    pub fn new(rules: &[Rule]) -> Self {
        let treatment =
            |rule: &Rule| Treatment { mode: rule.mode, read: rule.read, exactly_once: rule.exactly_once };
        let compiled = |rule: &Rule| (rule.pattern.clone().into_bytes(), treatment(rule));
        let rules: Vec<_> = rules.iter().map(compiled).collect();
        let verdicts = if rules.is_empty() { Vec::new() } else { vec![(0, UNTREATED); KEY_VERDICTS] };
        Self { rules, verdicts }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether any of them says this.
    pub fn any(&self, mode: RuleMode) -> bool {
        self.rules.iter().any(|(_, wanted)| wanted.mode == mode)
    }

    /// The mode of the first rule that matches a key.
    pub fn mode_of(&mut self, key: &[u8], hash: u64) -> RuleMode {
        self.treatment_of(key, hash).mode
    }

    /// How the first rule that matches a key wants it read.
    pub fn read_of(&mut self, key: &[u8], hash: u64) -> ReadPolicy {
        self.treatment_of(key, hash).read
    }

    /// Whether the first rule that matches a key wants its flushes to carry tokens.
    pub fn wants_tokens(&mut self, key: &[u8], hash: u64) -> bool {
        self.treatment_of(key, hash).exactly_once
    }

    fn treatment_of(&mut self, key: &[u8], hash: u64) -> Treatment {
        if self.rules.is_empty() {
            return UNTREATED;
        }
        let place = hash as usize & (KEY_VERDICTS - 1);
        match self.verdicts.get(place) {
            Some((known, treatment)) if *known == hash => *treatment,
            _ => {
                let first = self.rules.iter().find(|(pattern, _)| glob::matches(pattern, key));
                let treatment = first.map_or(UNTREATED, |(_, treatment)| *treatment);
                self.verdicts[place] = (hash, treatment);
                treatment
            }
        }
    }
}
