//! Which segments can go as one command, and how the others are cut until their parts can.
//!
//! A sum has the same effect as its parts if no partial sum leaves the 64-bit range of a counter. That is sure if all deltas
//! have one sign and Redis accepts the sum. With both signs it is sure only if the counter is known to be far from the ends
//! of the range.

use super::{
    member::Member,
    op::Op,
    segment::{Entry, EntryKind, Kind, Segment},
};
use crate::resp::parse_integer;

/// A fold is worth its parts where neither the counter nor the way comes near the end of the range. The counter may be moved
/// by others between two flushes, but not by this much; if it was, the members of a fold whose way turns are told that the
/// outcome is unknown.
const CALM_MAX: i64 = 1 << 61;

/// Between which values the counters of a key are, as far as the gateway knows.
#[derive(Clone, Copy, Debug)]
pub(super) struct ValueRange {
    /// The string, least and most.
    string: Option<(i64, i64)>,
    /// The field of the hash that was incremented last was near zero.
    hash_is_calm: bool,
}

pub(super) fn near_zero(value: i64) -> bool {
    (-CALM_MAX..=CALM_MAX).contains(&value)
}

impl ValueRange {
    /// Where the string has this value.
    pub fn new(value: Option<i64>, hash_is_calm: bool) -> Self {
        Self { string: value.map(|value| (value, value)), hash_is_calm }
    }

    /// Whether the increments of a segment can't leave the range of a counter on their way.
    fn holds<M: Member>(self, segment: &Segment<M>) -> bool {
        let starts_near_zero = match segment.kind {
            Kind::HashCounter => self.hash_is_calm,
            _ => self.string.is_some_and(|(least, most)| near_zero(least) && near_zero(most)),
        };
        starts_near_zero && near_zero(segment.fold.high) && near_zero(segment.fold.low)
    }

    /// Takes in a segment that goes before: whether or not it is refused.
    pub fn widen<M: Member>(&mut self, segment: &Segment<M>) {
        let fold = &segment.fold;
        self.hash_is_calm &= !matches!(segment.kind, Kind::Write(form) if form.sets_fields());
        let Some((least, most)) = self.string else { return };
        self.string = match segment.kind {
            Kind::Counter => Some((least.saturating_add(fold.low), most.saturating_add(fold.high))),
            Kind::Sets => parse_integer(segment.last_value()).map(|set| (least.min(set), most.max(set))),
            Kind::Write(form) if form.sets_string() => None,
            // At the end of its time the key is gone, and a counter begins at 0.
            Kind::Write(_) => Some((least.min(0), most.max(0))),
            Kind::HashCounter | Kind::Read { .. } => Some((least, most)),
        };
    }
}

/// Whether a segment, if it is refused, may have to go again as it came.
pub(super) fn may_differ<M: Member>(segment: &Segment<M>) -> bool {
    segment.is_write() && (segment.fold.increments > 1 || segment.gets > 0)
}

/// Cuts a segment into parts of which each can go as one command. `reach` is what is known of the counters before it, and then
/// behind it. Returns whether no part will have to go again as it came, as far as is known.
pub(super) fn cut<M: Member>(
    segment: Segment<M>,
    reach: &mut ValueRange,
    into: &mut Vec<Segment<M>>,
) -> bool {
    let is_calm = reach.holds(&segment);
    let may_turn = segment.kind == Kind::Counter && is_calm;
    let is_safe = is_calm || !matches!(segment.kind, Kind::Counter | Kind::HashCounter);
    reach.widen(&segment);
    let begins_with_increment =
        segment.entries.first().is_some_and(|first| first.ask == EntryKind::Increment);
    if segment.can_go_plain() || !segment.is_write() || (may_turn && begins_with_increment) {
        into.push(segment);
        return is_safe;
    }
    let field = segment.arena.clone();
    let mut part: Option<Segment<M>> = None;
    for Entry { member, delta, ask, version, .. } in segment.entries {
        let op = op_of(segment.kind, &field, delta, ask);
        let turns = |sum: i64| !may_turn && (sum > 0 && delta < 0 || sum < 0 && delta > 0);
        let fits =
            |part: &Segment<M>| ask != EntryKind::Increment || (part.is_write() && !turns(part.fold.sum));
        if let Some(last) = part.as_mut().filter(|part| fits(part))
            && last.join(&op, member, version)
        {
            continue;
        }
        into.extend(part.take());
        let mut next = Segment::new();
        next.begin(&op, member, version);
        part = Some(next);
    }
    into.extend(part);
    is_safe
}

/// Splits a segment of a counter into what stands before an entry, that entry, and what stands behind it.
pub(super) fn split_around<M: Member>(segment: Segment<M>, entry: usize) -> [Vec<Segment<M>>; 3] {
    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    for (place, Entry { member, delta, ask, version }) in segment.entries.into_iter().enumerate() {
        let op = op_of(segment.kind, &segment.arena, delta, ask);
        let part: &mut Vec<Segment<M>> =
            &mut parts[1 + usize::from(place > entry) - usize::from(place < entry)];
        // Without what stood before it the way may leave the range.
        if part.last_mut().is_some_and(|last| last.join(&op, member, version)) {
            continue;
        }
        let mut next = Segment::new();
        next.begin(&op, member, version);
        part.push(next);
    }
    parts
}

/// Parts a waiting segment into what of it is over, and what waits on. Where one request stands for several members and is over for the
/// first of them, it is over for all; of a run of `SET`s the later ones wait on.
pub(super) fn part_over<M: Member>(
    mut segment: Segment<M>,
    is_over: impl Fn(&M) -> bool,
) -> (Segment<M>, Vec<Segment<M>>) {
    if !segment.entries.iter().any(|entry| is_over(&entry.member)) {
        return (Segment::new(), vec![segment]);
    }
    match segment.kind {
        Kind::Write(_) => (segment, Vec::new()),
        Kind::Sets => {
            let goes_on = |entry: &Entry<M>| entry.ask == EntryKind::Set && !is_over(&entry.member);
            let first = segment.entries.iter().position(goes_on).unwrap_or(segment.entries.len());
            let over = segment.split_entries(first);
            (over, if segment.entries.is_empty() { Vec::new() } else { vec![segment] })
        }
        Kind::Read { .. } => {
            let over = segment.take_members(is_over);
            (over, if segment.entries.is_empty() { Vec::new() } else { vec![segment] })
        }
        Kind::Counter | Kind::HashCounter => {
            let over = segment.take_members(is_over);
            (over, fold_anew(segment))
        }
    }
}

/// Folds the operations of a counter, of which some are gone.
fn fold_anew<M: Member>(segment: Segment<M>) -> Vec<Segment<M>> {
    let mut parts: Vec<Segment<M>> = Vec::new();
    for Entry { member, delta, ask, version } in segment.entries {
        let op = op_of(segment.kind, &segment.arena, delta, ask);
        if parts.last_mut().is_some_and(|last| last.join(&op, member, version)) {
            continue;
        }
        let mut next = Segment::new();
        next.begin(&op, member, version);
        parts.push(next);
    }
    parts
}

fn op_of(kind: Kind, field: &[u8], delta: i64, ask: EntryKind) -> Op<'_> {
    match (kind, ask) {
        (Kind::HashCounter, EntryKind::Increment) => Op::HashIncrement { field, delta },
        (Kind::HashCounter, _) => Op::HashGet { field },
        (_, EntryKind::Increment) => Op::Increment(delta),
        _ => Op::Get,
    }
}
