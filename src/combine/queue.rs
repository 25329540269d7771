//! The queue of one hot key: what waits, what is in flight, and when the next flush may leave.
//!
//! Ownership: the home worker of the key owns the queue and drives it. It pushes operations, asks for the next flush,
//! writes the bytes of that flush to one connection, and passes back the replies ([`KeyQueue::settle`]) or what it
//! knows instead ([`KeyQueue::not_executed`], [`KeyQueue::lost`], [`KeyQueue::abandon`]).
//!
//! Bound: none of its own. Whoever pushes sees to it that no more comes than it may hold.
//!
//! Invariant: at most one flush is in flight.
//! Invariant: a flush in flight does not change. A resend carries the same operations in the same order under the same token.
//! Invariant: with the script, the call is the first command and only reads follow it. So whatever must be sent again is a
//! tail of the flush, and no member sees the operations of its connection out of order. The order of a plain flush is in [`super::plain`].

mod as_commands;
mod give_up;
mod start;

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{
    clamp::{Clamp, Consumes},
    counter_script::TriedCalls,
    flight::{Flight, State},
    member::Member,
    op::Op,
    pace::Pace,
    places::Places,
    plain::FlushReplies,
    refusals::Refusals,
    rights::{CommandForm, Rights},
    script::RETRY_NS_MAX,
    segment::{Kind, Segment},
    settle::Settled,
    slot_tags::companion_key,
    spares::SpareSegments,
    terms::{Flush, FlushDecision, FlushPolicy, QueueCounters, Settlement},
    transaction::Shapes,
};
use crate::resp::RespVersion;

/// Places for waiting segments that an empty queue keeps. In a steady state it has one or two.
const PLACES_KEPT: usize = 4;

/// One hot key's operations, from their arrival to their replies. `M` is who to answer.
#[derive(Debug)]
pub struct KeyQueue<M: Member> {
    key: Bytes,
    companion: Bytes,
    waiting: VecDeque<Segment<M>>,
    places: Places<M::Caller>,
    flight: Option<Flight<M>>,
    spares: SpareSegments<M>,
    operations: usize,
    pace: Pace,
    last_sequence: u64,
    /// When the flush was first sent that last gave the companion its full time to live.
    renewed_ns: Option<u64>,
    /// The short form of the script did not do for this key.
    is_unusual: bool,
    /// The value of the counter behind the last flush, if it told.
    value: Option<i64>,
    /// The field of the hash that was incremented last was near zero.
    hash_is_calm: bool,
    /// The command forms that the server allows.
    rights: Rights,
    /// What was refused lately.
    refusals: Refusals,
    /// The transactions that were tried.
    shapes: Shapes,
    /// The calls of scripts that were tried.
    calls: TriedCalls,
    counters: QueueCounters,
}

impl<M: Member> KeyQueue<M> {
    /// An empty queue. `gateway_id` has to differ from that of every other gateway process, earlier runs of the same
    /// gateway included. Queues of one process may follow one another for the same key, if all are driven by one
    /// clock and only one at a time has anything in it.
    pub fn new(key: Bytes, gateway_id: &[u8]) -> Self {
        let companion = companion_key(&key, &[b"once:", gateway_id].concat()).into();
        Self {
            key,
            companion,
            waiting: VecDeque::new(),
            places: Places::default(),
            flight: None,
            spares: SpareSegments::default(),
            operations: 0,
            pace: Pace::default(),
            last_sequence: 0,
            renewed_ns: None,
            is_unusual: false,
            value: None,
            hash_is_calm: false,
            rights: Rights::default(),
            refusals: Refusals::default(),
            shapes: Shapes::default(),
            calls: TriedCalls::default(),
            counters: QueueCounters::default(),
        }
    }

    /// Shares spare segments with other queues of its owner.
    pub fn sharing(self, spares: &SpareSegments<M>) -> Self {
        Self { spares: spares.clone(), ..self }
    }

    /// Folds only what the server has taken before as it came.
    pub fn cautious(self) -> Self {
        Self { rights: Rights::cautious(), ..self }
    }

    /// The key.
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// Nothing waits and nothing is in flight.
    pub fn is_empty(&self) -> bool {
        self.operations == 0
    }

    /// Operations that wait or are in flight.
    pub fn len(&self) -> usize {
        self.operations
    }

    /// A flush is under way, or has to be sent again.
    pub fn has_flight(&self) -> bool {
        self.flight.is_some()
    }

    /// The write of the flush under way may have taken effect in an earlier sending.
    pub fn is_in_doubt(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.doubtful)
    }

    /// Operations on the key went beside the queue: what is known of its values may be true no more.
    pub fn forget_values(&mut self) {
        (self.value, self.hash_is_calm) = (None, false);
        self.shapes.forget();
    }

    /// The counters so far.
    pub fn counters(&self) -> &QueueCounters {
        &self.counters
    }

    /// Takes an operation, or as many equal ones as `member` waits for, behind all that were taken before.
    #[inline]
    pub fn push(&mut self, op: Op, member: M, version: RespVersion) {
        let operations = member.operations();
        let comes_apart = match op {
            // Together they leave the range of a counter, so that there is no one increment for them.
            Op::Increment(delta) | Op::HashIncrement { delta, .. } => {
                delta.checked_mul(i64::from(operations)).is_none()
            }
            _ => operations > 1 && op.comes_apart(),
        };
        if comes_apart {
            for place in 0..operations {
                self.place(&op, member.one(place), version);
            }
            return;
        }
        self.place(&op, member, version);
    }

    #[inline]
    fn place(&mut self, op: &Op, member: M, version: RespVersion) {
        let open = self.places.open_to(member.caller(), self.waiting.len());
        let last = self.waiting.len().saturating_sub(1);
        let end = open.end;
        for place in open.chain((end..=last).last()) {
            if self.join(place, op, member, version) {
                self.places.on_placed(member.caller(), place);
                return;
            }
        }
        self.begin_segment(op, member, version);
        self.places.on_placed(member.caller(), self.waiting.len() - 1);
    }

    /// Takes an operation into a waiting segment, if it continues that.
    #[inline]
    fn join(&mut self, place: usize, op: &Op, member: M, version: RespVersion) -> bool {
        let Some(segment) = self.waiting.get_mut(place) else { return false };
        if segment.kind == Kind::Sets && matches!(op, Op::Get) {
            // A `GET` behind a `SET` is answered without the server, once that is known to permit both.
            if !(self.rights.allows(CommandForm::Get) && self.rights.allows(CommandForm::Set)) {
                return false;
            }
        }
        let is_read = matches!(op, Op::Get | Op::HashGet { .. });
        if self.refusals.keep_apart(segment.kind) && is_read == segment.is_write() {
            return false;
        }
        if !segment.join(op, member, version) {
            return false;
        }
        self.take_in(&member);
        true
    }

    fn begin_segment(&mut self, op: &Op, member: M, version: RespVersion) {
        let mut segment = self.spares.take();
        segment.begin(op, member, version);
        self.waiting.push_back(segment);
        self.take_in(&member);
    }

    fn take_in(&mut self, member: &M) {
        self.operations += member.operations() as usize;
        self.counters.offered += u64::from(member.operations());
    }

    /// What to do now. Flushes are spaced, as [`Pace`] says, except that one which could not take all that waited is
    /// followed by the next as soon as it is settled.
    pub fn next_flush(&mut self, now_ns: u64, policy: &FlushPolicy) -> FlushDecision {
        let keeps_order = policy.exactly_once || policy.clamp.is_some() || policy.withhold;
        self.places.keep_order(keeps_order, self.waiting.len());
        if let Some(flight) = &mut self.flight {
            if flight.state == State::Sent {
                return FlushDecision::InFlight;
            }
            self.counters.resends += 1;
        } else if self.waiting.is_empty() {
            return FlushDecision::Idle;
        } else if policy.withhold && self.waiting.front().is_some_and(Segment::is_clampable) {
            return FlushDecision::Withheld;
        } else if let Err(due_ns) = self.pace.check(now_ns, self.operations, policy.early_min) {
            return FlushDecision::NotBefore(due_ns);
        } else {
            self.start_flush(now_ns, policy);
        }
        let Some(flight) = &mut self.flight else { return FlushDecision::Idle };
        let flush = Flush {
            commands: flight.commands(),
            operations: flight.operations(),
            script_operations: flight.segments[..flight.group].iter().map(|segment| segment.operations).sum(),
            version: flight.segments.iter().find_map(Segment::needs_version),
            resend: flight.state == State::Due,
        };
        flight.state = State::Sent;
        self.counters.commands += flush.commands as u64;
        FlushDecision::Send(flush)
    }

    /// Appends the bytes of the flush that [`Self::next_flush`] gave.
    pub fn encode(&self, out: &mut BytesMut) {
        if let Some(flight) = &self.flight {
            flight.encode(&self.key, &self.companion, out);
        }
    }

    /// Takes the replies to the flush, one for each of its commands in their order, and answers every member that
    /// they decide. A reply that is missing counts as one that was not understood.
    pub fn settle(&mut self, replies: &[impl AsRef<[u8]>], mut sink: impl FnMut(M, Settled)) -> Settlement {
        let Some(mut flight) = self.flight.take() else { return Settlement::default() };
        let before = flight.operations();
        let received = FlushReplies { replies, lost: None, commands: flight.commands() };
        let settlement = flight.settle(&received, &mut sink);
        self.resume(flight, before);
        settlement
    }

    /// Gives up what is settled of a flush; what is left of it is due again.
    fn resume(&mut self, mut flight: Flight<M>, before: usize) {
        self.operations = self.operations + flight.operations() - before;
        self.rights.absorb(std::mem::take(&mut flight.rights_learned));
        self.refusals.absorb(std::mem::take(&mut flight.refusals), flight.first_sent_ns);
        self.value = flight.value.take().unwrap_or(self.value);
        self.is_unusual |= std::mem::take(&mut flight.unusual);
        if std::mem::take(&mut flight.renewed) {
            self.renewed_ns = Some(flight.first_sent_ns);
        }
        self.hash_is_calm = flight.hash_is_calm.take().unwrap_or(self.hash_is_calm);
        for segment in flight.finished.drain(..) {
            if let (Kind::Transaction(shape), Some(is_calm)) = (segment.kind, segment.is_calm) {
                self.shapes.learn(&segment.arena, shape, is_calm);
            }
            if let (Kind::Script(shape), Some(is_as_declared)) = (segment.kind, segment.is_calm) {
                self.calls.learn(&segment.arena, shape, is_as_declared);
            }
            self.keep_spare(segment);
        }
        // What a transaction before them has shown holds no more.
        if std::mem::take(&mut flight.fields_are_moved) {
            self.shapes.on_fields_moved();
        }
        if !flight.segments.is_empty() {
            flight.state = State::Due;
            self.flight = Some(flight);
        }
    }

    /// Whether the node refused the write of the flush because it only follows another. Nothing of it has taken effect
    /// there. Not asked of a plain command, which Redis refuses by itself.
    pub fn is_refused_by_replica(&self, replies: &[impl AsRef<[u8]>]) -> bool {
        let flight = self.flight.as_ref().filter(|flight| flight.group > 0);
        flight
            .zip(replies.first())
            .is_some_and(|(flight, reply)| flight.is_refused_by_replica(reply.as_ref()))
    }

    /// The flush has surely not taken effect: it was never written, or every reply was a redirection. It is due
    /// again, at once: pauses between attempts are the caller's.
    pub fn not_executed(&mut self) {
        if let Some(flight) = &mut self.flight {
            flight.state = State::Due;
        }
    }

    /// Has the script's part of the flush wait again, in front of all else: it is going to be made anew, in another form. `false`,
    /// and nothing changed, where none is due or where an earlier sending of it may have taken effect.
    pub fn take_back(&mut self) -> bool {
        let Some(flight) = self.flight.take_if(|flight| flight.is_unsent()) else { return false };
        flight.segments.into_iter().rev().for_each(|segment| self.waiting.push_front(segment));
        self.places.on_flush(self.waiting.len());
        self.pace = Pace::default();
        true
    }

    /// The most that the flush which is due may take from a quota, if that flush may go with another clamp.
    pub fn units_due(&self, consumes: Consumes) -> Option<i64> {
        self.flight.as_ref().filter(|flight| flight.is_unsent()).map(|flight| flight.units(consumes))
    }

    /// Has the flush which is due go with another clamp, and without a token. `false`, and nothing changed, where none may.
    pub fn go_with(&mut self, clamp: Arc<Clamp>) -> bool {
        let flight = self.flight.as_mut().filter(|flight| flight.is_unsent());
        flight.map(|flight| flight.go_with(clamp)).is_some()
    }

    /// The connection was lost, with these replies to the first commands. Of the others that many, the last ones, had not been
    /// written (`unsent`). What is decided is settled. With a token all else is due again. Without one the members of writes
    /// that may have been executed are told that the outcome is unknown; the rest is due again. The same happens with a token
    /// too old to be retried.
    pub fn lost(
        &mut self,
        now_ns: u64,
        replies: &[impl AsRef<[u8]>],
        unsent: usize,
        mut sink: impl FnMut(M, Settled),
    ) {
        let Some(mut flight) = self.flight.take() else { return };
        let before = flight.operations();
        let received = FlushReplies { replies, lost: Some(unsent), commands: flight.commands() };
        let may_retry = now_ns.saturating_sub(flight.first_sent_ns) <= RETRY_NS_MAX;
        flight.lose(&received, may_retry, &mut sink);
        self.resume(flight, before);
    }

    /// The members that wait, in no particular order.
    pub fn waiting_members(&self) -> impl Iterator<Item = &M> {
        self.waiting.iter().flat_map(|segment| &segment.entries).map(|entry| &entry.member)
    }

    fn keep_spare(&mut self, segment: Segment<M>) {
        self.spares.give_back(segment);
        if self.operations > 0 {
            return;
        }
        self.places.give_back();
        if self.waiting.capacity() > PLACES_KEPT {
            self.waiting = VecDeque::new();
        }
    }
}
