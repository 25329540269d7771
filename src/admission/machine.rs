//! The state machine of one counter under a quota: which operations go to Redis, and what the others are answered.
//!
//! Ownership: the home worker of the key owns it, next to the key's queue. The worker asks [`Admission::decide`] before it queues an
//! increment, reports when a flush leaves, and passes in every report of the script. [`Admission::settle`] writes the
//! replies that the queue settles. Reads such as `GET` do not pass through here.

use std::sync::Arc;

use super::{
    counts::{Counts, OwedCounts, RuleCounts},
    freed::Freed,
    key_quota::KeyQuota,
    known::KnownCounter,
    polled::PolledLimit,
};
use crate::{
    combine::{Cause, Clamp, ClampReport, Consumes, Refusal},
    config::OnUnavailable,
};

/// What to do with an increment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It goes into the flush.
    Admit,
    /// It goes into the flush as the one question of this recheck interval.
    Ask,
    /// It is refused: [`Admission::write_denial`] says how.
    Refuse(Denial),
    /// Redis is away and the quota allows: answer with this integer now. What was let through is added to the counter
    /// later: [`Admission::owed_to_flush`].
    LetThrough(i64),
}

/// Why an operation is refused without asking Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The script would refuse it, as far as is known.
    Judged(Refusal),
    /// Redis is away, and the quota refuses then.
    Unavailable,
    /// The quota cannot be applied.
    Fault,
}

/// Where a counter stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Everything goes to Redis.
    Open,
    /// What does not fit is refused, except for one question per recheck. Increments and decrements are judged apart:
    /// what frees one does not free the other.
    Exhausted {
        /// Increments are refused unless they fit by what is known.
        increments: bool,
        /// Decrements are refused unless they fit.
        decrements: bool,
    },
    /// Every increment and decrement is refused, because an operator paused the counter.
    Paused,
    /// Everything is refused, since the script said that it cannot apply the quota.
    Faulty,
    /// Redis was away when last asked.
    Unavailable,
}

/// The state machine of one counter. See the module for who owns and drives it.
#[derive(Debug)]
pub struct Admission {
    pub(super) quota: Arc<KeyQuota>,
    /// `None` until every polled limit of a quota that is enforced has been read.
    pub(super) clamp: Option<Arc<Clamp>>,
    pub(super) phase: Phase,
    since_ns: u64,
    question_at_ns: u64,
    pub(super) known: KnownCounter,
    fault: Option<String>,
    /// The last value of each polled key, if it has been read.
    polled: Vec<Option<PolledLimit>>,
    poll_fault: Option<String>,
    override_seen: (Option<i64>, bool),
    freed_waiting: Freed,
    freed_in_flight: Freed,
    pub(super) owed: i64,
    /// The part of it that is on its way to the counter.
    pub(super) paying: Option<i64>,
    /// How many increments were let through for either.
    pub(super) owed_counts: OwedCounts,
    /// How that is to be counted in windows.
    pub(super) charge: Option<Arc<Clamp>>,
    pub(super) owed_at_ns: u64,
    pub(super) counts: RuleCounts,
    /// The error of the last refusal, worded once: under a rush every refusal is the same.
    pub(super) worded: Option<(Cause, i64, String)>,
}

impl Admission {
    /// Open, with nothing known: the first operation goes to Redis.
    pub fn new(quota: Arc<KeyQuota>) -> Self {
        let awaits = awaits_any(&quota);
        Self {
            clamp: (!awaits).then(|| Arc::new(quota.clamp(&[]))),
            phase: Phase::Open,
            since_ns: 0,
            question_at_ns: 0,
            known: KnownCounter::default(),
            fault: None,
            poll_fault: None,
            polled: vec![None; quota.polled().len()],
            override_seen: (None, false),
            freed_waiting: Freed::default(),
            freed_in_flight: Freed::default(),
            owed: 0,
            paying: None,
            owed_counts: OwedCounts::default(),
            charge: None,
            owed_at_ns: 0,
            counts: RuleCounts::from_elem(Counts::default(), quota.parts().len()),
            worded: None,
            quota,
        }
    }

    /// Takes over what now holds the key. The counter is still the same: what is owed to it, what is known of it, and that
    /// Redis is away or an operator has paused it stays. What only the old quota said is no longer known.
    pub fn reconfigure(&mut self, now_ns: u64, quota: Arc<KeyQuota>) {
        let former = std::mem::replace(&mut self.quota, quota);
        self.worded = None;
        if self.quota.is_alike(&former) {
            return;
        }
        self.counts = RuleCounts::from_elem(Counts::default(), self.quota.parts().len());
        let former_clamp = self.clamp.take();
        let polled = std::mem::replace(&mut self.polled, vec![None; self.quota.polled().len()]);
        (self.fault, self.poll_fault) = (None, None);
        self.clamp = (!awaits_any(&self.quota)).then(|| Arc::new(self.quota.clamp(&[])));
        if self.quota.polled() == former.polled() {
            // That limits are known already does not mean that Redis is back.
            let before = (self.phase, self.since_ns, self.question_at_ns);
            self.on_polled(now_ns, polled);
            if before.0 == Phase::Unavailable {
                (self.phase, self.since_ns, self.question_at_ns) = before;
            }
        }
        if former.consumes() == self.quota.consumes() {
            self.known.exchange_bounds(former_clamp.as_deref(), self.clamp.as_deref());
        } else {
            (self.known.ceiling, self.known.floor) = (None, None);
            self.known.windows.clear();
        }
        if matches!(self.phase, Phase::Exhausted { .. } | Phase::Faulty) {
            self.enter(now_ns, Phase::Open);
        }
    }

    /// The quota.
    pub fn quota(&self) -> &Arc<KeyQuota> {
        &self.quota
    }

    /// The clamp for the next flush. `None` while a polled limit of a quota that is enforced has not been read even once:
    /// operations may queue then, but no flush with an increment may leave.
    pub fn clamp(&self) -> Option<&Arc<Clamp>> {
        self.clamp.as_ref()
    }

    /// Where the counter stands, and since when.
    pub fn phase(&self) -> (Phase, u64) {
        (self.phase, self.since_ns)
    }

    /// The counts of each part of the quota.
    pub fn counts(&self) -> &[Counts] {
        &self.counts
    }

    /// Why the quota cannot be applied, if it cannot.
    pub fn fault(&self) -> Option<&str> {
        self.standing_fault().or(self.fault.as_deref())
    }

    /// What becomes of an operation that adds `delta`, at this moment. Counted here are refusals, questions and what is
    /// let through; what goes to Redis is counted when it settles.
    pub fn decide(&mut self, now_ns: u64, delta: i64) -> Decision {
        if self.quota.is_shadow() {
            return self.admit(delta);
        }
        if self.standing_fault().is_some() {
            return self.refuse(Denial::Fault);
        }
        if self.clamp.is_none()
            && self.phase == Phase::Unavailable
            && self.quota.on_unavailable() == OnUnavailable::Refuse
        {
            // No question can go to the script before the limits are read, and they open the counter by themselves.
            return self.refuse(Denial::Unavailable);
        }
        if self.known.roll(now_ns) && matches!(self.phase, Phase::Exhausted { .. }) {
            let phase = self.judged(false);
            self.enter(now_ns, phase);
        }
        match self.phase {
            Phase::Open => self.admit(delta),
            Phase::Exhausted { increments, decrements } => {
                let held = if delta > 0 { increments } else { decrements && delta < 0 };
                match self.obstacle(delta).filter(|_| held) {
                    None => self.admit(delta),
                    Some(refusal) => self.ask_or_refuse(now_ns, delta, Denial::Judged(refusal)),
                }
            }
            Phase::Paused => self.ask_or_refuse(now_ns, delta, Denial::Judged(self.pause())),
            Phase::Faulty => self.ask_or_refuse(now_ns, delta, Denial::Fault),
            Phase::Unavailable if self.quota.on_unavailable() == OnUnavailable::Allow => {
                // Where nothing fits nothing is owed either, and so nothing else would find out that Redis is back.
                self.let_through(now_ns, delta)
                    .unwrap_or_else(|denial| self.ask_or_refuse(now_ns, delta, denial))
            }
            // It waits for Redis as any other command does, and is refused when its time is over.
            Phase::Unavailable => self.admit(delta),
        }
    }

    /// Whether operations are answered without Redis now.
    pub fn lets_through(&self) -> bool {
        self.quota.on_unavailable() == OnUnavailable::Allow
    }

    /// What becomes of an operation that was admitted and then could not be sent, once [`Self::on_unavailable`] has been told.
    pub fn decide_unsent(&mut self, now_ns: u64, delta: i64) -> Decision {
        match self.phase {
            _ if self.standing_fault().is_some() => self.refuse(Denial::Fault),
            Phase::Paused => self.refuse(Denial::Judged(self.pause())),
            _ if self.quota.on_unavailable() == OnUnavailable::Allow => {
                self.let_through(now_ns, delta).unwrap_or_else(|denial| self.refuse(denial))
            }
            _ => self.refuse(Denial::Unavailable),
        }
    }

    /// The flush that takes what was admitted is on its way, for the first time. `left_waiting` says that it could not
    /// take all.
    pub fn on_flush(&mut self, left_waiting: bool) {
        self.freed_in_flight.increments |= self.freed_waiting.increments;
        self.freed_in_flight.decrements |= self.freed_waiting.decrements;
        if !left_waiting {
            self.freed_waiting = Freed::default();
        }
    }

    /// Takes the script's report of a flush made with [`Self::clamp`].
    pub fn on_report(&mut self, now_ns: u64, report: &ClampReport) {
        self.freed_in_flight = Freed::default();
        if self.quota.is_shadow() {
            self.counts[0].would_refuse += report.refused;
        }
        if let Some(part) = self.quota.first_shadow_part() {
            self.counts[part].would_refuse += report.would_refuse;
        }
        if let Some(clamp) = self.clamp.clone() {
            self.known.absorb(now_ns, report, &clamp);
            let unpaid = self.unpaid();
            self.known.value = self.known.value.map(|value| value.saturating_add(unpaid));
        }
        self.fault.clone_from(&report.fault);
        let phase = match report {
            ClampReport { fault: Some(_), .. } => Phase::Faulty,
            ClampReport { paused: true, .. } => Phase::Paused,
            _ => self.judged(report.refused > 0),
        };
        self.enter(now_ns, phase);
    }

    /// The counter has been changed beside its increments, or is about to be within its queue, and whoever did that counts on it:
    /// what was told before refuses nobody, in either direction, until a report from after the next flush.
    pub fn on_written(&mut self) {
        self.freed_waiting = Freed { increments: true, decrements: true };
        if matches!(self.phase, Phase::Exhausted { .. }) {
            self.phase = Phase::Open;
        }
    }

    /// A flush failed for want of Redis: the connection is lost, the deadline has passed, the node cannot serve. An
    /// operator's pause outlives that.
    pub fn on_unavailable(&mut self, now_ns: u64) {
        self.freed_in_flight = Freed::default();
        if self.phase != Phase::Paused {
            self.enter(now_ns, Phase::Unavailable);
        }
    }

    /// The operator's override, as read from Redis or just written there. Repeating it changes nothing.
    pub fn on_override(&mut self, now_ns: u64, limit: Option<i64>, paused: bool) {
        // A counter that was not in use when it was paused has learned that from the script.
        let is_as_told = paused == (self.phase == Phase::Paused);
        if std::mem::replace(&mut self.override_seen, (limit, paused)) == (limit, paused) && is_as_told {
            return;
        }
        match self.quota.consumes() {
            Consumes::Up => self.known.ceiling = limit,
            Consumes::Down => self.known.floor = limit,
        }
        match self.phase {
            _ if paused => self.enter(now_ns, Phase::Paused),
            Phase::Open | Phase::Paused | Phase::Exhausted { .. } => {
                let phase = self.judged(false);
                self.enter(now_ns, phase);
            }
            Phase::Faulty | Phase::Unavailable => {}
        }
    }

    /// What was found in the polled keys, in the order of [`KeyQuota::polled`]; a key that could not be read stays as it
    /// was. A limit that changed reopens the counter, and so costs one flush; so do the first limits of one that awaited them.
    pub fn on_polled(&mut self, now_ns: u64, found: impl IntoIterator<Item = Option<PolledLimit>>) {
        let polled: Vec<_> = self.polled.iter().zip(found).map(|(former, found)| found.or(*former)).collect();
        if self.polled == polled {
            return;
        }
        self.polled = polled;
        let limits = || self.polled.iter().enumerate();
        let fault_of = |held: bool| {
            limits()
                .filter(|(index, _)| self.quota.is_held_by(*index) == held)
                .find_map(|(index, limit)| (*limit)?.fault(&self.quota.polled()[index]))
        };
        let (poll_fault, shadow_fault) = (fault_of(true), fault_of(false));
        let lifted = self.poll_fault.is_some() && poll_fault.is_none();
        self.poll_fault = poll_fault;
        if limits().any(|(index, limit)| limit.is_none() && self.quota.awaits(index)) {
            return;
        }
        let value_of = |limit: &PolledLimit| if let PolledLimit::Value(value) = limit { *value } else { 0 };
        let values: Vec<_> = limits().map(|(_, limit)| limit.as_ref().map(value_of)).collect();
        // What was admitted before the fault was known learns of it from the script, in its turn.
        let mut clamp = Clamp { fault: self.poll_fault.clone(), ..self.quota.clamp(&values) };
        clamp.shadow_bounds.iter_mut().for_each(|shadow| shadow.fault.clone_from(&shadow_fault));
        let awaited = self.clamp.replace(Arc::new(clamp)).is_none();
        let reopens = match self.phase {
            Phase::Exhausted { .. } => true,
            Phase::Unavailable => awaited,
            Phase::Faulty => lifted,
            Phase::Open | Phase::Paused => false,
        };
        if reopens {
            self.fault = None;
            self.enter(now_ns, Phase::Open);
        }
    }

    /// Lets an operation through, or tells why it does not fit by what is known.
    fn let_through(&mut self, now_ns: u64, delta: i64) -> Result<Decision, Denial> {
        if self.fault.is_some() {
            return Err(Denial::Fault);
        }
        let owed = self.unpaid();
        let presumed = self.clamp.as_deref().and_then(|clamp| self.known.presume(clamp, owed));
        let value = presumed.filter(|_| !self.known.may_pass_floor(delta)).ok_or(Denial::Unavailable)?;
        let (None, Some(owed)) = (self.obstacle(delta), self.owed.checked_add(delta)) else {
            return Err(self.obstacle(delta).map_or(Denial::Unavailable, Denial::Judged));
        };
        self.owed = owed;
        self.known.spend(now_ns, delta, self.quota.consumes());
        self.owed_counts.owed += 1;
        self.counts.iter_mut().for_each(|counts| counts.unchecked += 1);
        Ok(Decision::LetThrough(value + delta))
    }

    fn admit(&mut self, delta: i64) -> Decision {
        self.freed_waiting.by(delta);
        if let Phase::Exhausted { increments, decrements } = &mut self.phase {
            *increments &= delta >= 0;
            *decrements &= delta <= 0;
            if !*increments && !*decrements {
                self.phase = Phase::Open;
            }
        }
        Decision::Admit
    }

    fn ask_or_refuse(&mut self, now_ns: u64, delta: i64, denial: Denial) -> Decision {
        if now_ns < self.question_at_ns {
            return self.refuse(denial);
        }
        self.question_at_ns = now_ns.saturating_add(self.quota.recheck_ns());
        let part = self.part_behind(denial);
        self.counts[part].rechecks += 1;
        self.freed_waiting.by(delta);
        Decision::Ask
    }

    fn refuse(&mut self, denial: Denial) -> Decision {
        self.count_refused(denial);
        Decision::Refuse(denial)
    }

    pub(super) fn enter(&mut self, now_ns: u64, phase: Phase) {
        if std::mem::discriminant(&self.phase) != std::mem::discriminant(&phase) {
            self.since_ns = now_ns;
            self.question_at_ns = now_ns.saturating_add(self.quota.recheck_ns());
        }
        self.phase = phase;
    }

    /// Open or exhausted, by what is known. A direction that may have got room from an operation in flight stays open.
    fn judged(&self, refused: bool) -> Phase {
        let held = |unit, freed: bool| !freed && (refused || self.obstacle(unit).is_some());
        let increments = held(1, self.freed_waiting.increments || self.freed_in_flight.increments);
        let decrements = held(-1, self.freed_waiting.decrements || self.freed_in_flight.decrements);
        if increments || decrements { Phase::Exhausted { increments, decrements } } else { Phase::Open }
    }

    fn obstacle(&self, delta: i64) -> Option<Refusal> {
        self.known.obstacle(delta, self.quota.consumes())
    }

    fn pause(&self) -> Refusal {
        let limit = self.known.ceiling.or(self.known.floor).unwrap_or(0);
        Refusal { cause: Cause::Paused, limit, value: self.known.value.unwrap_or(0) }
    }

    /// A fault that no question to the script can lift: in the configuration, or in a polled key.
    fn standing_fault(&self) -> Option<&str> {
        self.quota.fault().or(self.poll_fault.as_deref())
    }
}

/// Whether nothing may be granted before polled limits have been read.
fn awaits_any(quota: &KeyQuota) -> bool {
    (0..quota.polled().len()).any(|index| quota.awaits(index))
}

#[cfg(test)]
#[path = "machine_outage_tests.rs"]
mod outage_tests;
#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
