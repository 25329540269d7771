//! What of a queue goes with the next flush.

use super::KeyQueue;
use crate::combine::{
    flight::{Flight, FlushForm},
    member::Member,
    plain,
    script::RENEWAL_NS,
    segment::Segment,
    terms::FlushPolicy,
};

/// Segments in one call of the script, each a step of it; 64 keep one key from holding up the others on its connection for
/// more than some tens of microseconds.
const SCRIPT_SEGMENTS_MAX: usize = 64;

/// Segments in a flush without the script, each a command of its own, between which Redis does what others ask for.
const PLAIN_SEGMENTS_MAX: usize = 512;

/// Runs of equal deltas in one flush: two full folds, about 40 KiB on the wire.
const FLUSH_RUNS_MAX: usize = 8192;

impl<M: Member> KeyQueue<M> {
    /// Moves what fits from the waiting segments into a new flight.
    pub(super) fn start_flush(&mut self, now_ns: u64, policy: &FlushPolicy) {
        let is_clamped = policy.clamp.is_some() && self.waiting.iter().any(Segment::is_clampable);
        let is_scripted = policy.exactly_once || is_clamped;
        let (count, group) = match self.waiting.front() {
            Some(first) if is_scripted && first.is_plain_only() => (1, 0),
            _ if is_scripted => self.measure(policy.withhold),
            _ => (self.measure_plain(policy.withhold), 0),
        };
        let mut segments: Vec<_> = self.waiting.drain(..count).collect();
        let clamp = policy.clamp.filter(|_| segments.iter().take(group).any(Segment::is_clampable)).cloned();
        let (form, group) = if group > 0 && policy.exactly_once {
            self.last_sequence = (now_ns / 1000).max(self.last_sequence + 1);
            (FlushForm::Script { sequence: Some(self.last_sequence) }, group)
        } else if clamp.is_some() {
            (FlushForm::Script { sequence: None }, group)
        } else {
            if self.rights.forget(now_ns) {
                self.shapes.forget();
                self.calls.forget();
            }
            self.refusals.forget(now_ns);
            segments = self.cut_plain(segments);
            (FlushForm::Plain, 0)
        };
        let batch: usize = segments.iter().map(|segment| segment.operations).sum();
        let interval_ns = if self.waiting.is_empty() { policy.interval_ns } else { 0 };
        self.pace.gone(now_ns, batch, interval_ns, policy.early_min);
        self.counters.flushes += 1;
        self.counters.batch_sum += batch as u64;
        self.counters.batch_max = self.counters.batch_max.max(batch as u64);
        self.places.on_flush(self.waiting.len());
        let mut flight = Flight::new(segments, group, form, clamp, now_ns);
        let is_fresh = |renewed_ns: u64| now_ns.saturating_sub(renewed_ns) < RENEWAL_NS;
        flight.short = flight.may_go_short() && !self.is_unusual && self.renewed_ns.is_some_and(is_fresh);
        self.flight = Some(flight);
    }

    /// How many of the waiting segments the next flush takes when each is a command of its own.
    fn measure_plain(&self, withhold: bool) -> usize {
        let mut version = None;
        let goes = |segment: &&Segment<M>| {
            !(withhold && segment.is_clampable())
                && plain::agreed_version(&mut version, segment.needs_version())
        };
        self.waiting.iter().take(PLAIN_SEGMENTS_MAX).take_while(goes).count()
    }

    /// How many of the waiting segments the next flush takes, and how many of those are the write: either reads
    /// only, or one write and the reads behind it. The write reaches over several segments if they are writes with
    /// nothing but scalar reads between them, which the script can make on its way. Neither reaches what is withheld.
    fn measure(&self, withhold: bool) -> (usize, usize) {
        let (mut reach, mut group, mut runs) = (0, 0, 0);
        for segment in self.waiting.iter().take(SCRIPT_SEGMENTS_MAX) {
            if (withhold && segment.is_clampable()) || segment.is_plain_only() {
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
        let reads = self.waiting.range(group..).take(SCRIPT_SEGMENTS_MAX - group).take_while(|segment| {
            plain::agreed_version(&mut version, segment.needs_version()) && !segment.is_write()
        });
        (group + reads.count(), group)
    }
}
