//! What goes without the script: which segments fold, which are cut until they can, and which go as they came.

use std::collections::HashSet;

use bytes::Bytes;

use super::super::{
    counter_script,
    cut::{self, ValueRange},
    member::Member,
    segment::{EntryKind, Kind, Segment},
    transaction::Trial,
};
use super::KeyQueue;

/// Has the value read before a fold whose reads could not go again if it was refused: their own connections have something behind, and
/// the flush goes on to write.
fn read_before<M: Member>(segments: &mut [Segment<M>]) {
    let Some(last_write) = segments.iter().rposition(Segment::is_write) else { return };
    let answers_reads = |segment: &Segment<M>| segment.gets > 0 && segment.is_write() && !segment.unfolded;
    let Some(first) = segments[..last_write].iter().position(answers_reads) else { return };
    let mut callers_behind: HashSet<M::Caller, ahash::RandomState> = HashSet::default();
    for (place, segment) in segments.iter_mut().enumerate().skip(first).rev() {
        segment.is_read_before = place < last_write
            && answers_reads(segment)
            && segment
                .entries
                .iter()
                .any(|entry| entry.ask == EntryKind::Get && callers_behind.contains(&entry.member.caller()));
        callers_behind.extend(segment.entries.iter().map(|entry| entry.member.caller()));
    }
}

impl<M: Member> KeyQueue<M> {
    /// Cuts segments into such as can go as one command each. Those that can't go in this flush wait on.
    pub(super) fn cut_plain(&mut self, segments: Vec<Segment<M>>) -> Vec<Segment<M>> {
        let mut cut = Vec::with_capacity(segments.len());
        let mut reach = ValueRange::new(self.value, self.hash_is_calm);
        let mut last_safe = None;
        for mut segment in self.hold_back_untried(segments) {
            if segment.unfolded || self.is_refused(&segment) || self.is_as_it_came(&segment, reach) {
                segment.unfolded = true;
                reach.widen(&segment);
                cut.push(segment);
                continue;
            }
            let place = cut.len();
            let is_tried = !segment.is_own_form() || self.rights.allows(segment.folded_form());
            let is_safe = cut::cut(segment, &mut reach, &mut cut) && is_tried;
            if !is_safe && last_safe.is_none() {
                last_safe = cut[place..].iter().position(cut::may_differ).map(|part| place + part);
            }
        }
        // Behind what may have to go again as it came nothing is to take effect before that.
        let end = last_safe.map_or(cut.len(), |last| {
            last + 1 + cut[last + 1..].iter().take_while(|segment| !segment.is_write()).count()
        });
        for mut segment in cut.drain(end..).rev() {
            segment.unfolded = false;
            self.waiting.push_front(segment);
        }
        read_before(&mut cut);
        cut
    }

    /// Has the first operation go as it came that the server may refuse though it would take the fold. All behind it waits on.
    fn hold_back_untried(&mut self, segments: Vec<Segment<M>>) -> Vec<Segment<M>> {
        let untried = segments.iter().enumerate().find_map(|(place, segment)| {
            let allowed = |form| self.rights.allows(form);
            let entry = match segment.kind {
                Kind::Script(shape) => {
                    let is_due = self.calls.trial_of(&segment.arena, shape) == Trial::Due;
                    (is_due && !segment.unfolded).then_some(0)
                }
                _ if self.is_denied(segment) || segment.operations == 1 => None,
                Kind::Transaction(shape) => {
                    (self.shapes.trial_of(&segment.arena, shape) == Trial::Due).then_some(0)
                }
                _ => segment.first_not(allowed),
            };
            entry.map(|entry| (place, entry))
        });
        let Some((place, entry)) = untried else { return segments };
        let mut segments = segments.into_iter();
        let mut going: Vec<_> = segments.by_ref().take(place).collect();
        let Some(mixed) = segments.next() else { return going };
        let later: Vec<_> = segments.collect();
        let [front, mut tried, rest] = cut::split_around(mixed, entry);
        for tried in &mut tried {
            tried.unfolded = true;
            tried.calls.is_trial = matches!(tried.kind, Kind::Script(_));
        }
        rest.into_iter().chain(later).rev().for_each(|segment| self.waiting.push_front(segment));
        going.extend(front.into_iter().chain(tried));
        going
    }

    /// Whether the server refuses what a segment folds into, or what one of its members says.
    fn is_denied(&self, segment: &Segment<M>) -> bool {
        (segment.is_own_form() && self.rights.denies(segment.folded_form()))
            || segment.first_not(|form| !self.rights.denies(form)).is_some()
    }

    /// Whether the server refuses a segment as one, and may take its members.
    fn is_refused(&self, segment: &Segment<M>) -> bool {
        self.is_denied(segment) || (segment.operations > 1 && self.refusals.unfold(segment.kind))
    }

    /// Whether transactions, or calls of a script, can't be one, as far as is known.
    fn is_as_it_came(&self, segment: &Segment<M>, reach: ValueRange) -> bool {
        let may_fold = match segment.kind {
            Kind::Transaction(shape) => {
                self.shapes.trial_of(&segment.arena, shape) == Trial::Calm && reach.holds(segment)
            }
            Kind::Script(shape) => self.calls.trial_of(&segment.arena, shape) == Trial::Calm,
            _ => return false,
        };
        segment.operations == 1 || !may_fold
    }

    /// Gives the calls that a node does not know the script of that script to load, where it is known.
    pub fn load_scripts(&mut self, body_of: impl Fn(&[u8]) -> Option<Bytes>) {
        for segment in self.flight.iter_mut().flat_map(|flight| &mut flight.segments) {
            if segment.calls.is_missing && segment.calls.body.is_none() {
                segment.calls.body = counter_script::sha1_of(&segment.arena).and_then(&body_of);
            }
        }
    }
}
