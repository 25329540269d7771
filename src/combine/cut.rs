//! Which segments can go as one command, and how the others are cut until their parts can.
//!
//! A sum has the same effect as its parts if no partial sum leaves the 64-bit range of a counter. That is sure if all deltas
//! have one sign and Redis accepts the sum. With both signs it is sure only if the counter is known to be far from the ends
//! of the range.

use super::{
    member::Member,
    op::Op,
    segment::{Entry, EntryKind, Kind, Segment},
    write_form::{Whose, WriteForm},
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
    /// Before, in the same flush, fields may be moved far.
    fields_are_moved: bool,
}

pub(super) fn near_zero(value: i64) -> bool {
    (-CALM_MAX..=CALM_MAX).contains(&value)
}

impl ValueRange {
    /// Where the string has this value.
    pub fn new(value: Option<i64>, hash_is_calm: bool) -> Self {
        Self { string: value.map(|value| (value, value)), hash_is_calm, fields_are_moved: false }
    }

    /// Whether the increments of a segment can't leave the range of a counter on their way.
    pub fn holds<M: Member>(self, segment: &Segment<M>) -> bool {
        let starts_near_zero = match segment.kind {
            Kind::HashCounter => self.hash_is_calm,
            // That its fields are near zero, its own kind has shown.
            Kind::Transaction(shape) if shape.verb.is_none() => !self.fields_are_moved,
            _ => self.string.is_some_and(|(least, most)| near_zero(least) && near_zero(most)),
        };
        starts_near_zero && near_zero(segment.fold.high) && near_zero(segment.fold.low)
    }

    /// Takes in a segment that goes before: whether or not it is refused.
    pub fn widen<M: Member>(&mut self, segment: &Segment<M>) {
        let fold = &segment.fold;
        let sets_fields = matches!(segment.kind, Kind::Write(form) if form.sets_fields());
        self.hash_is_calm &= !sets_fields;
        let moves_far = !(near_zero(fold.high) && near_zero(fold.low));
        self.fields_are_moved |= sets_fields || (segment.kind == Kind::HashCounter && moves_far);
        let Some((least, most)) = self.string else { return };
        self.string = match segment.kind {
            Kind::Counter => Some((least.saturating_add(fold.low), most.saturating_add(fold.high))),
            Kind::Sets => parse_integer(segment.last_value()).map(|set| (least.min(set), most.max(set))),
            Kind::Write(form) if form.sets_string() => None,
            // At the end of its time the key is gone, and a counter begins at 0.
            Kind::Write(_) => Some((least.min(0), most.max(0))),
            // As it came, it may leave anything.
            Kind::Script(_) if segment.unfolded => None,
            Kind::Transaction(_) | Kind::Script(_) => {
                Some((least.saturating_add(fold.low).min(0), most.saturating_add(fold.high).max(0)))
            }
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
    let is_script = matches!(segment.kind, Kind::Script(_));
    let is_safe = !is_script && (is_calm || !matches!(segment.kind, Kind::Counter | Kind::HashCounter));
    reach.widen(&segment);
    let begins_with_increment =
        segment.entries.first().is_some_and(|first| first.ask == EntryKind::Increment);
    if segment.can_go_plain() || !segment.is_write() || (may_turn && begins_with_increment) {
        into.push(segment);
        return is_safe;
    }
    let field = segment.arena.clone();
    let mut part: Option<Segment<M>> = None;
    for entry in segment.entries {
        let Entry { member, ask, version, .. } = entry;
        let (op, delta) = (op_of(segment.kind, &field, &entry), entry.delta());
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

/// Splits a segment of a counter, or of transactions, into what stands before an entry, that entry, and what stands behind it.
pub(super) fn split_around<M: Member>(segment: Segment<M>, entry: usize) -> [Vec<Segment<M>>; 3] {
    let mut parts = [Vec::new(), Vec::new(), Vec::new()];
    for (place, one) in segment.entries.iter().enumerate() {
        let part = &mut parts[1 + usize::from(place > entry) - usize::from(place < entry)];
        // Without what stood before it the way may leave the range.
        append(part, segment.kind, &segment.arena, one);
    }
    parts
}

/// Parts a waiting segment into what of it is over, and what waits on. Where the request of one member stands for all, and it is over
/// for that member, it is over for all: nobody else's is kept. Of a run of `SET`s the later ones wait on.
pub(super) fn part_over<M: Member>(
    mut segment: Segment<M>,
    is_over: impl Fn(&M) -> bool,
) -> (Segment<M>, Vec<Segment<M>>) {
    if !segment.entries.iter().any(|entry| is_over(&entry.member)) {
        return (Segment::new(), vec![segment]);
    }
    match segment.kind {
        Kind::Write(form) if !can_lose(&segment, form, &is_over) => (segment, Vec::new()),
        Kind::Write(form) => {
            let elements = pushed_by(&segment, &is_over);
            form.drop_first(&mut segment.arena, elements);
            let over = segment.take_members(is_over);
            (over, vec![segment])
        }
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
        Kind::Counter | Kind::HashCounter | Kind::Transaction(_) | Kind::Script(_) => {
            let over = segment.take_members(is_over);
            (over, fold_anew(segment))
        }
    }
}

/// Whether the request of a run of writes stands without those members for whom it is over.
fn can_lose<M: Member>(segment: &Segment<M>, form: WriteForm, is_over: impl Fn(&M) -> bool) -> bool {
    let is_over = |entry: Option<&Entry<M>>| entry.is_none_or(|entry| is_over(&entry.member));
    match form.whose() {
        Whose::Equal => !segment.entries.iter().all(|entry| is_over(Some(entry))),
        Whose::First => !is_over(segment.entries.first()),
        Whose::Last => !is_over(segment.entries.last()),
        // Those of the first ones can be cut off.
        Whose::All => {
            let front = segment.entries.iter().take_while(|entry| is_over(Some(entry))).count();
            front < segment.entries.len()
                && !segment.entries[front..].iter().any(|entry| is_over(Some(entry)))
        }
    }
}

/// How many elements those members push for whom it is over.
fn pushed_by<M: Member>(segment: &Segment<M>, is_over: impl Fn(&M) -> bool) -> usize {
    let over = segment.entries.iter().filter(|entry| is_over(&entry.member));
    over.map(|entry| entry.elements().max(0) as usize).sum()
}

/// Folds the operations of a counter, or transactions, of which some are gone.
fn fold_anew<M: Member>(segment: Segment<M>) -> Vec<Segment<M>> {
    let mut parts: Vec<Segment<M>> = Vec::new();
    segment.entries.iter().for_each(|entry| append(&mut parts, segment.kind, &segment.arena, entry));
    parts
}

/// Lets an entry of a segment of this kind join the last part, or begin a new one.
fn append<M: Member>(parts: &mut Vec<Segment<M>>, kind: Kind, arena: &[u8], entry: &Entry<M>) {
    let op = op_of(kind, arena, entry);
    if parts.last_mut().is_some_and(|last| last.join(&op, entry.member, entry.version)) {
        return;
    }
    let mut next = Segment::new();
    next.begin(&op, entry.member, entry.version);
    parts.push(next);
}

fn op_of<'a, M>(kind: Kind, arena: &'a [u8], entry: &Entry<M>) -> Op<'a> {
    let delta = entry.delta();
    match (kind, entry.ask) {
        (Kind::Script(shape), _) => Op::Script { request: arena, shape, delta },
        (Kind::Transaction(shape), _) => Op::Transaction { commands: arena, shape, delta },
        (Kind::HashCounter, EntryKind::Increment) => Op::HashIncrement { field: arena, delta },
        (Kind::HashCounter, _) => Op::HashGet { field: arena },
        (_, EntryKind::Increment) => Op::Increment(delta),
        _ => Op::Get,
    }
}
