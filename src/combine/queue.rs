//! The queue of one hot key: what waits, what is in flight, and when the next flush may go.
//!
//! Ownership: the home worker of the key owns the queue and drives it. It pushes operations, asks for the next flush,
//! writes that flush's bytes to one connection, and hands back either the replies ([`KeyQueue::settle`]) or what it
//! knows instead of them ([`KeyQueue::not_executed`], [`KeyQueue::outcome_unknown`], [`KeyQueue::abandon`]).
//!
//! Invariant: at most one flush is in flight. Invariant: what is in flight stays as it is, segment by segment, until
//! each is settled; a resend carries the same operations in the same order, and the same token.
//! Invariant: within a flush nothing stands behind the write but reads, and nothing before it. So whatever happens
//! to the write, what has to be sent again is always a tail of the flush, and no member can see its connection's
//! operations out of order: not when a read is repeated, not when the script is unknown, not when a fold is refused.

use std::{collections::VecDeque, sync::Arc};

use bytes::{Bytes, BytesMut};

use super::{
    clamp::{Clamp, ClampReport},
    flight::{Flight, Form, State},
    member::Member,
    op::Op,
    pace::Pace,
    segment::Segment,
    settle::{self, Settled},
    slot_tags::companion_key,
    spares::SpareSegments,
};
use crate::resp::RespVersion;

/// Segments in one flush. A segment is a command, or a step of the script; 64 keep one key from holding up the others
/// on its connection for more than some tens of microseconds.
const FLUSH_SEGMENTS_MAX: usize = 64;

/// Runs of equal deltas in one flush: two full folds, about 40 KiB on the wire.
const FLUSH_RUNS_MAX: usize = 8192;

/// What a segment itself takes of the bound on bytes, so that operations that do not fold at all are bounded too.
const SEGMENT_BYTES: usize = 512;

/// Places for waiting segments that an empty queue keeps. In a steady state it has one or two.
const PLACES_KEPT: usize = 4;

/// How long Redis remembers a token. See the essay of the module for why it only has to outlive the retries.
pub const TOKEN_TTL_MS: u64 = 600_000;

/// How long after its first sending a flush is retried: well within the memory of its token.
pub(super) const RETRY_NS_MAX: u64 = TOKEN_TTL_MS / 2 * 1_000_000;

/// The bounds of one queue.
#[derive(Clone, Copy, Debug)]
pub struct QueueLimits {
    /// Operations that wait or are in flight. One member may wait for several, and goes beyond the bound with all of them
    /// if it is below it before.
    pub operations_max: usize,
    /// Bytes of values, fields, requests and run lists that they hold, beside some 60 bytes per member.
    pub bytes_max: usize,
}

/// The queue is at a bound; the operation has not been taken. The member may be answered with an error or sent on
/// its own, after what its connection has in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// How flushes of a key are to be made. May differ from flush to flush; a resend keeps that of its flush.
#[derive(Clone, Copy, Debug)]
pub struct FlushPolicy<'a> {
    /// From the sending of one flush to that of the next, in nanoseconds.
    pub interval_ns: u64,
    /// The least batch that goes before its interval is over.
    pub early_min: usize,
    /// Send writes under a token.
    pub exactly_once: bool,
    /// The quota of this key. Increments then go through the script in either form.
    pub clamp: Option<&'a Arc<Clamp>>,
    /// The quota is not known yet: nothing that it would hold may begin, nor what waits behind that.
    pub withhold: bool,
}

/// What is to be sent: ask [`KeyQueue::encode`] for the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flush {
    /// How many commands it is, and so how many replies [`KeyQueue::settle`] expects.
    pub commands: usize,
    /// The protocol version that the connection has to speak; any will do if `None`.
    pub version: Option<RespVersion>,
    /// How many operations it is for.
    pub operations: usize,
    /// How many of them, the first ones, belong to its write: whose outcome is in doubt if the connection is lost.
    pub write_operations: usize,
    /// It has been sent before.
    pub resend: bool,
}

/// What there is to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlushDecision {
    /// Send this; from now on it is in flight.
    Send(Flush),
    /// Ask again at this time (nanoseconds on the caller's clock).
    NotBefore(u64),
    /// A flush is in flight: ask again when it is settled.
    InFlight,
    /// What waits has to wait for the quota: ask again when it is known.
    Withheld,
    /// Nothing waits.
    Idle,
}

/// Why some of a flush has to be sent again. None of that has taken effect, and [`KeyQueue::next_flush`] gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// Redis does not know the script: the resend carries its source.
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

/// What came of the replies to a flush.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// Something is left to be sent again. If `None`, the flush is over.
    pub again: Option<Again>,
    /// The state of the quota, if the flush was clamped and its write is settled.
    pub clamp: Option<ClampReport>,
}

/// What combining has saved, counted since the queue was made.
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
    /// Operations refused because the queue was full.
    pub refused_full: u64,
}

/// One hot key's operations, from their arrival to their replies. `M` is who to answer.
#[derive(Debug)]
pub struct KeyQueue<M> {
    key: Bytes,
    companion: Bytes,
    limits: QueueLimits,
    waiting: VecDeque<Segment<M>>,
    flight: Option<Flight<M>>,
    spares: SpareSegments<M>,
    operations: usize,
    bytes: usize,
    pace: Pace,
    last_sequence: u64,
    counters: QueueCounters,
}

impl<M: Member> KeyQueue<M> {
    /// An empty queue. `gateway_id` has to differ from that of every other gateway process, earlier runs of the same
    /// gateway included. Queues of one process may follow one another for the same key, if all are driven by one
    /// clock and only one at a time has anything in it.
    pub fn new(key: Bytes, gateway_id: &[u8], limits: QueueLimits) -> Self {
        let companion = companion_key(&key, &[b"once:", gateway_id].concat()).into();
        Self {
            key,
            companion,
            limits,
            waiting: VecDeque::new(),
            flight: None,
            spares: SpareSegments::default(),
            operations: 0,
            bytes: 0,
            pace: Pace::default(),
            last_sequence: 0,
            counters: QueueCounters::default(),
        }
    }

    /// Shares spare segments with other queues of its owner.
    pub fn sharing(self, spares: &SpareSegments<M>) -> Self {
        Self { spares: spares.clone(), ..self }
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

    /// Takes over other limits; what is in the queue stays there.
    pub fn set_limits(&mut self, limits: QueueLimits) {
        self.limits = limits;
    }

    /// A flush is under way, or has to be sent again.
    pub fn has_flight(&self) -> bool {
        self.flight.is_some()
    }

    /// The write of the flush under way may have taken effect in an earlier sending.
    pub fn is_in_doubt(&self) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.doubtful)
    }

    /// What combining has saved so far.
    pub fn counters(&self) -> &QueueCounters {
        &self.counters
    }

    /// Takes an operation, or as many equal ones as `member` waits for, behind all that were taken before.
    #[inline]
    pub fn push(&mut self, op: Op, member: M, version: RespVersion) -> Result<(), Full> {
        if self.operations >= self.limits.operations_max || self.bytes + op.bytes() > self.limits.bytes_max {
            self.counters.refused_full += 1;
            return Err(Full);
        }
        if let Op::Increment(delta) | Op::HashIncrement { delta, .. } = op
            && delta.checked_mul(i64::from(member.operations())).is_none()
        {
            // Together they leave the range of a counter, so that there is no one increment for them.
            for place in 0..member.operations() {
                self.place(&op, member.one(place), version);
            }
            return Ok(());
        }
        self.place(&op, member, version);
        Ok(())
    }

    #[inline]
    fn place(&mut self, op: &Op, member: M, version: RespVersion) {
        if let Some(last) = self.waiting.back_mut() {
            let before = last.extra_bytes();
            if last.join(op, member, version) {
                self.bytes = self.bytes - before + last.extra_bytes();
                self.take_in(&member);
                return;
            }
        }
        self.begin_segment(op, member, version);
    }

    fn begin_segment(&mut self, op: &Op, member: M, version: RespVersion) {
        let mut segment = self.spares.take();
        segment.begin(op, member, version);
        self.bytes += SEGMENT_BYTES + segment.extra_bytes();
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
            self.take_off(now_ns, policy);
        }
        let Some(flight) = &mut self.flight else { return FlushDecision::Idle };
        let operations = |segments: &[Segment<M>]| segments.iter().map(|segment| segment.operations).sum();
        let flush = Flush {
            commands: flight.commands(),
            operations: operations(&flight.segments),
            write_operations: operations(&flight.segments[..flight.group]),
            version: flight.segments.iter().find_map(Segment::needs_version),
            resend: flight.state == State::Due,
        };
        flight.state = State::Sent;
        self.counters.commands += flush.commands as u64;
        FlushDecision::Send(flush)
    }

    /// Moves what fits from the waiting segments into a new flight.
    fn take_off(&mut self, now_ns: u64, policy: &FlushPolicy) {
        let (count, group) = self.measure(policy.withhold);
        let segments: Vec<_> = self.waiting.drain(..count).collect();
        let clamp = policy.clamp.filter(|_| segments.iter().take(group).any(Segment::is_clampable)).cloned();
        let form = if group == 0
            || (group == 1 && !policy.exactly_once && clamp.is_none() && segments[0].can_go_plain())
        {
            Form::Plain
        } else if policy.exactly_once {
            self.last_sequence = (now_ns / 1000).max(self.last_sequence + 1);
            Form::Script { sequence: Some(self.last_sequence) }
        } else {
            Form::Script { sequence: None }
        };
        let batch: usize = segments.iter().map(|segment| segment.operations).sum();
        let interval_ns = if self.waiting.is_empty() { policy.interval_ns } else { 0 };
        self.pace.gone(now_ns, batch, interval_ns);
        self.counters.flushes += 1;
        self.counters.batch_sum += batch as u64;
        self.counters.batch_max = self.counters.batch_max.max(batch as u64);
        self.flight = Some(Flight::new(segments, group, form, clamp, now_ns));
    }

    /// How many of the waiting segments the next flush takes, and how many of those are the write: either reads
    /// only, or one write and the reads behind it. The write reaches over several segments if they are writes with
    /// nothing but scalar reads between them, which the script can make on its way. Neither reaches what is withheld.
    fn measure(&self, withhold: bool) -> (usize, usize) {
        let (mut reach, mut group, mut runs) = (0, 0, 0);
        for segment in self.waiting.iter().take(FLUSH_SEGMENTS_MAX) {
            if withhold && segment.is_clampable() {
                break;
            }
            if segment.is_write() {
                runs += segment.fold.runs.len();
                if runs > FLUSH_RUNS_MAX && group > 0 {
                    break;
                }
                group = reach + 1;
            } else if group == 0 || !segment.is_scalar_read() {
                break;
            }
            reach += 1;
        }
        let mut version = None;
        let reads = self.waiting.range(group..).take(FLUSH_SEGMENTS_MAX - group).take_while(|segment| {
            let needed = segment.needs_version();
            let agrees = version.is_none() || needed.is_none() || version == needed;
            version = version.or(needed);
            agrees && !segment.is_write()
        });
        (group + reads.count(), group)
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
        let settlement = flight.settle(replies, &mut sink);
        let left =
            if settlement.again.is_some() { flight.segments.split_off(flight.settled) } else { Vec::new() };
        for segment in flight.segments.drain(..) {
            self.recycle(segment);
        }
        if !left.is_empty() {
            flight.segments = left;
            flight.settled = 0;
            flight.state = State::Due;
            self.flight = Some(flight);
        }
        settlement
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

    /// The connection was lost after the flush had been written, at least in part. With a token all of it is due
    /// again. Without one its write is given up, and its members are told that the outcome is unknown; reads are due
    /// again. The same happens with a token too old to be retried.
    pub fn outcome_unknown(&mut self, now_ns: u64, mut sink: impl FnMut(M, Settled)) {
        let Some(mut flight) = self.flight.take() else { return };
        let retry = flight.has_token() && now_ns.saturating_sub(flight.first_sent_ns) <= RETRY_NS_MAX;
        if flight.group > 0 && !retry {
            for segment in flight.segments.drain(..flight.group).collect::<Vec<_>>() {
                settle::settle_error(&segment, settle::UNKNOWN, &mut sink);
                self.recycle(segment);
            }
            flight.group = 0;
        }
        flight.doubtful = flight.group > 0;
        flight.state = State::Due;
        if !flight.segments.is_empty() {
            self.flight = Some(flight);
        }
    }

    /// Gives up the flush in flight, when its deadline has passed. Members of a write that may have taken effect are
    /// told that the outcome is unknown; all others get this error (text without the leading `-`). Replies that
    /// still come must not be handed in. A token that is given up can no longer take effect once a later flush did.
    pub fn abandon(&mut self, error: &str, mut sink: impl FnMut(M, Settled)) {
        let Some(flight) = self.flight.take() else { return };
        let doubtful = flight.doubtful || flight.state == State::Sent;
        for (index, segment) in flight.segments.into_iter().enumerate() {
            let unknown = doubtful && index < flight.group;
            let text = if unknown { settle::UNKNOWN } else { error.as_bytes() };
            settle::settle_error(&segment, text, &mut sink);
            self.recycle(segment);
        }
    }

    /// Gives up all that waits, with this error: nothing of it was sent.
    pub fn abandon_waiting(&mut self, error: &str, mut sink: impl FnMut(M, Settled)) {
        for segment in std::mem::take(&mut self.waiting) {
            settle::settle_error(&segment, error.as_bytes(), &mut sink);
            self.recycle(segment);
        }
    }

    fn recycle(&mut self, segment: Segment<M>) {
        self.operations -= segment.operations;
        self.bytes -= SEGMENT_BYTES + segment.extra_bytes();
        self.spares.give_back(segment);
        if self.operations == 0 && self.waiting.capacity() > PLACES_KEPT {
            self.waiting = VecDeque::new();
        }
    }
}
