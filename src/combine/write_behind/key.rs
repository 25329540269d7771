//! The state machine of one key in write-behind mode.
//!
//! Owns the order of its operations and the account of its deltas: each is gathered, in flight, or over. The flight
//! decides what a reply to a flush means.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{
    Action, Answer, Delta, FlushOutcome, PendingBudget, Recovered, Retry, Taken, WriteBehindFacts,
    WriteBehindIdentity, WriteBehindOp, WriteBehindPolicy, WriteBehindReply, WriteBehindWaiting,
    base::{Base, Total},
    flight::{self, Flight},
    gathered::Gathered,
    reply::{Learned, parse_base},
};
use crate::combine::slot_tags::companion_key;

/// Operations of one key that wait for its base or behind a barrier. A round trip at a million operations per second
/// and key gathers a thousand; beyond the bound they are refused.
const WAITING_MAX: usize = 16_384;

/// One counter in write-behind mode. `M` is who to answer, `B` names a barrier: both small, and opaque here.
///
/// Ownership: the home worker of the key. Invariant: operations are answered in order of arrival.
/// Invariant: what is in flight and what has gathered add up within 64 bits, so that they can be one sum again.
/// Invariant: while a barrier holds the key, nothing is pending and its value is not known here.
#[derive(Debug)]
pub struct WriteBehindKey<M, B> {
    key: Bytes,
    companion: Bytes,
    token_floor: u64,
    token_last: u64,
    base: Base,
    gathered: Gathered,
    flight: Option<Flight>,
    waiting: VecDeque<WriteBehindWaiting<M, B>>,
    /// Barriers that hold the key. While there are any the value in Redis is not asked for.
    holds: usize,
    /// Redis refused a flush, or holds no counter: nothing more is absorbed.
    pass_through: bool,
    not_before_ns: u64,
    /// What a former process left is flushed without waiting for the interval.
    at_once: bool,
    delta_sequence: u64,
    /// With a journal: deltas that are not on disk yet, by sequence.
    unwritten: VecDeque<Delta>,
    facts: WriteBehindFacts,
}

impl<M: Copy, B> WriteBehindKey<M, B> {
    /// A key whose value is not known yet.
    pub fn new(key: Bytes, identity: WriteBehindIdentity) -> Self {
        let companion = companion_key(&key, &[b"once:", identity.gateway_id].concat()).into();
        Self {
            key,
            companion,
            token_floor: identity.token_floor,
            token_last: 0,
            base: Base::default(),
            gathered: Gathered::default(),
            flight: None,
            waiting: VecDeque::new(),
            holds: 0,
            pass_through: false,
            not_before_ns: 0,
            at_once: false,
            delta_sequence: 0,
            unwritten: VecDeque::new(),
            facts: WriteBehindFacts::default(),
        }
    }

    /// A key as a former process left it in its journal. What it holds counts against the budget even beyond its bound:
    /// it was acknowledged.
    pub fn recovered(
        key: Bytes,
        identity: WriteBehindIdentity,
        recovered: &Recovered,
        now_ns: u64,
        budget: &mut PendingBudget,
    ) -> Self {
        let mut this = Self::new(key, identity);
        this.gathered = Gathered { sum: recovered.sum, count: recovered.count, oldest_ns: now_ns };
        this.delta_sequence = recovered.sequence;
        this.at_once = true;
        this.flight = recovered.in_doubt.map(|flush| Flight::in_doubt(flush, now_ns, recovered.sequence));
        this.facts.replays = u64::from(this.flight.is_some());
        budget.take_over(this.pending());
        this
    }

    /// The key.
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// Whether Redis refused a flush, or holds no counter: operations are not answered here any more. A new machine of the
    /// key would look again.
    pub fn passes_through(&self) -> bool {
        self.pass_through
    }

    /// Nothing is pending, on its way, or waiting: the owner may drop the machine and lose nothing.
    pub fn is_empty(&self) -> bool {
        self.pending() == 0 && self.waiting.is_empty() && self.holds == 0 && !self.base.is_asked()
    }

    /// Takes an increment or a `GET` behind all that were taken before it.
    pub fn take(
        &mut self,
        op: WriteBehindOp,
        member: M,
        now_ns: u64,
        policy: &WriteBehindPolicy,
        budget: &mut PendingBudget,
    ) -> Taken {
        if self.pass_through && self.is_empty() {
            return Taken::PassThrough;
        }
        if self.pending() == 0 {
            self.base.doubt_if_old(now_ns, policy.base_age_ns_max);
        }
        if self.waiting.is_empty()
            && let Some(taken) = self.absorb(op, now_ns, policy, budget)
        {
            return taken;
        }
        self.wait(WriteBehindWaiting::Op(op, member))
    }

    /// Takes a barrier: it holds the key once all that was taken before it is flushed or has been passed through
    /// ([`Action::Hold`]). False if too much waits for the key already.
    #[must_use]
    pub fn barrier(&mut self, barrier: B) -> bool {
        self.wait(WriteBehindWaiting::Barrier(barrier)) == Taken::Waits
    }

    /// A barrier holds the key, of which nothing has been taken yet.
    pub fn hold(&mut self) {
        self.holds += 1;
    }

    /// A barrier that holds the key ends.
    pub fn end_hold(&mut self) {
        self.holds = self.holds.saturating_sub(1);
    }

    /// Answers the operation that waits in front, if that is possible now. To be asked until there is none.
    pub fn resume(
        &mut self,
        now_ns: u64,
        policy: &WriteBehindPolicy,
        budget: &mut PendingBudget,
    ) -> Option<(M, Taken)> {
        let Some(&WriteBehindWaiting::Op(op, member)) = self.waiting.front() else { return None };
        let taken = self.absorb(op, now_ns, policy, budget)?;
        self.waiting.pop_front();
        Some((member, taken))
    }

    /// What to do now that nothing can be resumed. With `draining` what has gathered goes without waiting for its interval.
    pub fn next(
        &mut self,
        now_ns: u64,
        policy: &WriteBehindPolicy,
        draining: bool,
        budget: &mut PendingBudget,
    ) -> Action<M, B> {
        if let Some(flight) = &mut self.flight {
            return match flight.next(now_ns) {
                flight::Next::Wait => Action::InFlight,
                flight::Next::Send(flush) => {
                    self.facts.resends += u64::from(flush.resend);
                    Action::Flush(flush)
                }
                flight::Next::Expired(outcome) => {
                    self.land(&outcome, budget);
                    Action::Over(outcome)
                }
            };
        }
        if self.gathered.count > 0 {
            return self.next_flush(now_ns, policy, draining || !self.waiting.is_empty());
        }
        if let Some(WriteBehindWaiting::Op(..)) = self.waiting.front()
            && !self.pass_through
        {
            return if self.holds == 0 && self.base.ask() { Action::AskBase } else { Action::InFlight };
        }
        let Some(waiting) = self.waiting.pop_front() else { return Action::Idle };
        self.base.forget();
        match waiting {
            WriteBehindWaiting::Op(op, member) => Action::PassThrough(op, member),
            WriteBehindWaiting::Barrier(barrier) => {
                self.holds += 1;
                Action::Hold(barrier)
            }
        }
    }

    /// Appends the bytes of the flush in flight.
    pub fn encode(&self, out: &mut BytesMut) {
        if let Some(flight) = &self.flight {
            flight.encode(&self.key, &self.companion, out);
        }
    }

    /// Takes the reply to what was sent: to [`Action::AskBase`], or to the flush.
    pub fn settle(
        &mut self,
        reply: &[u8],
        now_ns: u64,
        policy: &WriteBehindPolicy,
        budget: &mut PendingBudget,
    ) -> WriteBehindReply {
        let Some(flight) = &mut self.flight else { return self.settle_base(reply, now_ns) };
        let outcome = match flight.settle(reply) {
            Ok(outcome) => outcome,
            Err(retry) => return WriteBehindReply::Again(retry),
        };
        match &outcome {
            FlushOutcome::Applied { total, .. } if !flight.overtaken => {
                self.base.learn(Total { value: *total, exists: true }, now_ns);
            }
            FlushOutcome::Returned { .. } => {
                self.not_before_ns = now_ns + policy.flush_interval_ns;
            }
            FlushOutcome::Lost(_) => self.stop_absorbing(),
            FlushOutcome::Applied { .. } | FlushOutcome::Unknown(_) => {}
        }
        self.land(&outcome, budget);
        WriteBehindReply::Over(outcome)
    }

    /// A key that holds no counter is passed through: Redis itself says what is wrong. A reply that tells nothing of the key
    /// (an error of the server) has it asked for again.
    fn settle_base(&mut self, reply: &[u8], now_ns: u64) -> WriteBehindReply {
        let Some(learned) = parse_base(reply) else {
            self.base.give_up_asking();
            return WriteBehindReply::Again(Retry::Elsewhere);
        };
        match learned {
            _ if !self.base.is_asked() => {}
            Learned::Counter(total) => self.base.learn(total, now_ns),
            Learned::NoCounter => self.stop_absorbing(),
        }
        WriteBehindReply::Base
    }

    /// There will be no reply to what was to be sent: it is due again, the flush under the same token. `written` says that it was
    /// written at least in part before its connection was lost, so that a flush may have taken effect.
    pub fn lost(&mut self, written: bool) {
        match &mut self.flight {
            Some(flight) => flight.resend(written),
            None => self.base.give_up_asking(),
        }
    }

    /// The base cannot be had now. A key that has been known answers on from its old total, as it does while a flush
    /// cannot be sent. False for one that has not.
    pub fn fall_back(&mut self, now_ns: u64) -> bool {
        self.base.fall_back(now_ns)
    }

    /// Hands back what waits in front, for the owner to answer with its error: the base could not be had, or what is pending
    /// not be flushed, for too long. The next operation asks for the base again if it is not known.
    pub fn abandon_one(&mut self) -> Option<WriteBehindWaiting<M, B>> {
        self.base.give_up_asking();
        self.waiting.pop_front()
    }

    /// Whether a flush is to be sent, now or when its time has come.
    pub fn has_due_flush(&self) -> bool {
        self.flight.as_ref().map_or(self.gathered.count > 0, Flight::is_due)
    }

    /// Whether the next flush is yet to be made.
    pub fn has_unsent(&self) -> bool {
        self.flight.is_none() && self.gathered.count > 0
    }

    /// Takes the flush back that is not on the wire and has surely not taken effect: its deltas gather again. Returns its token,
    /// which is not used again.
    pub fn take_back_flush(&mut self) -> Option<u64> {
        let flight = self.flight.take_if(|flight| !flight.doubtful)?;
        self.gathered.take_back(flight.deltas());
        Some(flight.token)
    }

    /// All deltas up to this sequence are on disk.
    pub fn durable(&mut self, through: u64) {
        let written = self.unwritten.partition_point(|delta| delta.sequence <= through);
        self.unwritten.drain(..written);
    }

    /// The journal could not take this delta: it counts no more, and its member has to be told. The owner retracts all
    /// that were refused together before it takes another operation, since each was answered with those before it.
    pub fn retract(&mut self, sequence: u64, budget: &mut PendingBudget) {
        let Some(place) = self.unwritten.iter().position(|delta| delta.sequence == sequence) else { return };
        let Some(delta) = self.unwritten.remove(place) else { return };
        // A flush that holds it stands behind it in the journal, so it has not been sent either.
        if let Some(flight) = self.flight.take_if(|flight| flight.through >= sequence) {
            self.gathered.take_back(flight.deltas());
        }
        self.gathered.retract(delta.delta);
        budget.give_back(1);
    }

    /// The figures of the key.
    pub fn facts(&self) -> WriteBehindFacts {
        let gathered = (self.gathered.count > 0).then_some(self.gathered.oldest_ns);
        let oldest = self.flight.as_ref().map(|flight| flight.oldest_ns).or(gathered);
        let flying = self.flight.as_ref().map_or(0, |flight| flight.sum);
        WriteBehindFacts {
            pending_deltas: self.pending(),
            pending_sum: flying.wrapping_add(self.gathered.sum),
            in_doubt: self.flight.as_ref().is_some_and(Flight::may_have_landed),
            oldest_unflushed_ns: oldest,
            ..self.facts
        }
    }

    /// Deltas that no flush has taken yet.
    pub fn gathered(&self) -> usize {
        self.gathered.count
    }

    fn pending(&self) -> usize {
        self.gathered.count + self.flight.as_ref().map_or(0, |flight| flight.count)
    }

    fn wait(&mut self, waiting: WriteBehindWaiting<M, B>) -> Taken {
        if self.waiting.len() >= WAITING_MAX {
            return Taken::Refused;
        }
        self.waiting.push_back(waiting);
        Taken::Waits
    }

    /// What is known of the value may be older than something that was told to somebody: the next operation waits until Redis
    /// has told it anew, or cannot be asked.
    pub fn doubt_total(&mut self) {
        self.base.doubt();
        if let Some(flight) = &mut self.flight {
            flight.overtaken = true;
        }
    }

    /// The key takes no more deltas: Redis itself answers for it from now on, behind what is pending.
    pub fn stop_absorbing(&mut self) {
        self.base.forget();
        self.pass_through = true;
    }

    /// Answers the operation from what is known. `None` if it has to wait.
    fn absorb(
        &mut self,
        op: WriteBehindOp,
        now_ns: u64,
        policy: &WriteBehindPolicy,
        budget: &mut PendingBudget,
    ) -> Option<Taken> {
        let total = self.base.total().filter(|_| !self.pass_through)?;
        let own = self.flight.as_ref().map_or(0, |flight| flight.sum).wrapping_add(self.gathered.sum);
        // What others wrote may leave no room for what was answered here; the flush will tell.
        let value = total.value.checked_add(own)?;
        let WriteBehindOp::Increment(delta) = op else {
            let answer = if total.exists || self.pending() > 0 { Answer::Bulk(value) } else { Answer::Null };
            return Some(Taken::Answer { answer, delta: None });
        };
        let Some(value) = value.checked_add(delta) else {
            return Some(Taken::Answer { answer: Answer::Overflow, delta: None });
        };
        own.checked_add(delta)?;
        let mut gathered = self.gathered;
        if !gathered.add(delta, now_ns) {
            return None;
        }
        if !budget.take() {
            return Some(Taken::Refused);
        }
        self.gathered = gathered;
        self.delta_sequence += 1;
        self.facts.absorbed += 1;
        let delta = Delta { sequence: self.delta_sequence, delta };
        if policy.journal {
            self.unwritten.push_back(delta);
        }
        let answer = Answer::Integer(value);
        Some(Taken::Answer { answer, delta: Some(delta) })
    }

    fn next_flush(&mut self, now_ns: u64, policy: &WriteBehindPolicy, at_once: bool) -> Action<M, B> {
        let at_once =
            at_once || self.at_once || self.pass_through || self.gathered.count >= policy.flush_deltas_max;
        let due = if at_once { 0 } else { self.gathered.oldest_ns + policy.flush_interval_ns };
        let due = due.max(self.not_before_ns);
        if now_ns < due {
            return Action::NotBefore(due);
        }
        self.token_last = (self.token_floor + now_ns / 1000 + 1).max(self.token_last + 1);
        self.at_once = false;
        let deltas = std::mem::take(&mut self.gathered);
        let ttl_ms = flight::token_ttl_ms(policy.journal);
        let mut flight = Flight::new(self.token_last, deltas, self.delta_sequence, ttl_ms, now_ns);
        let flush = flight.send();
        self.flight = Some(flight);
        self.facts.flushes += 1;
        Action::Flush(flush)
    }

    /// The flight is over: its deltas are accounted for.
    fn land(&mut self, outcome: &FlushOutcome, budget: &mut PendingBudget) {
        let Some(flight) = self.flight.take() else { return };
        match outcome {
            FlushOutcome::Applied { .. } => self.facts.acknowledged += flight.count as u64,
            FlushOutcome::Lost(loss) => self.facts.lost.add(loss),
            FlushOutcome::Unknown(loss) => {
                self.facts.unknown.add(loss);
                self.facts.unknown_outcomes += 1;
                // That it landed is the guess which keeps the answers from running backwards; the next flush tells.
                self.base.assume_added(flight.sum);
            }
            FlushOutcome::Returned { .. } => return self.gathered.take_back(flight.deltas()),
        }
        budget.give_back(flight.count);
    }
}
