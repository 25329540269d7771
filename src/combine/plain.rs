//! A flush without the script: one command per segment, all in one write.
//!
//! A run of increments becomes one `INCRBY` if that provably has the same effect; a run of one goes as it came. If Redis
//! refuses a folded command, its writes get that error. Two of them may fare differently, and are sent again as they came: the segment
//! is *unfolded*. Of several increments that overflow together, some may fit; and the user may say `INCR` and not `INCRBY`. The
//! reads of a refused command need the value, so they go again as one read. Where a connection has something behind its read, in a flush
//! that goes on to write, the value is read right before the fold: then the reads are answered with that and nothing goes again.
//!
//! # Order
//!
//! What is sent again has not taken effect. If nothing behind it in the same flush has taken effect either, the rest of the
//! flush goes again as it is. Otherwise the resent members take effect later than those that stood behind them. That is one of the
//! orders that Redis could have chosen, because no member had its reply yet. It would be wrong only for a connection that
//! also has a member behind. Such a member gets the error that it was not executed. This happens only if a node begins to serve again
//! in the middle of a flush that it refused, or if others bring a counter to the end of its range between two flushes.

mod answers;

use self::answers::{answer, answer_one, answer_transactions, learn, learn_trial, reads_in_doubt};
use super::{
    member::{Member, Verb},
    refusals::{Refusals, Untold},
    rights::{self, CommandForm, RightsLearned},
    segment::{Kind, Segment},
    settle::{self, OVERFLOW, Settled, UNKNOWN},
};
use crate::{
    combine::{
        cut::near_zero,
        retryable::is_retryable,
        terms::{Again, ScriptNews},
    },
    resp::{RespVersion, first_error},
};

/// Told to a member that can't be sent again without overtaking its own connection.
const NOT_EXECUTED: &[u8] =
    b"ERR hotgate: the command was not executed: the node refused it and took later ones; try again";

/// The replies to the commands of a flush.
pub(super) struct FlushReplies<'a, R> {
    /// The replies, from the first on.
    pub replies: &'a [R],
    /// The connection is lost: of the others that many, the last ones, had not been written.
    pub lost: Option<usize>,
    /// How many commands there were.
    pub commands: usize,
}

/// The reply to one command, or why there is none.
enum News<'a> {
    Reply(&'a [u8]),
    /// It was written, and nobody knows what came of it.
    Unknown,
    /// It was not written.
    Unsent,
}

impl<R: AsRef<[u8]>> FlushReplies<'_, R> {
    fn of(&self, command: usize) -> News<'_> {
        match (self.replies.get(command), self.lost) {
            (Some(reply), _) => News::Reply(reply.as_ref()),
            (None, Some(unsent)) if command + unsent >= self.commands => News::Unsent,
            (None, Some(_)) => News::Unknown,
            (None, None) => News::Reply(b""),
        }
    }
}

/// What happens to a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Answered,
    /// A write that was refused. It had no effect, and its members get the error.
    Refused,
    /// A write of unknown outcome.
    /// Its reads go again, as they would by themselves.
    Lost,
    /// It goes again, but for this many operations at its front, which are answered.
    Again(usize, Option<Again>),
}

/// The result of the plain segments of a flush.
#[derive(Default)]
pub(super) struct PlainOutcome {
    pub again: Option<Again>,
    /// The server does not permit a form that no client had sent.
    pub denied: bool,
    /// The rights that the replies showed.
    pub rights_learned: RightsLearned,
    /// Folds that were refused and left members untold.
    pub refusals: Refusals,
    /// What was learned of a script that counts.
    pub script: Option<ScriptNews>,
    /// A write took effect, or may have; behind it the counter has this value, if that is known.
    pub written: bool,
    pub value: Option<i64>,
    /// The field that was incremented last is near zero.
    pub hash_is_calm: Option<bool>,
    /// Fields may not be near zero any more.
    pub fields_are_moved: bool,
}

/// Settles what the news decide, and leaves in `segments` what has to be sent again. `first` is the place of their first
/// command in the flush.
pub(super) fn settle<M: Member, R: AsRef<[u8]>>(
    segments: &mut Vec<Segment<M>>,
    first: usize,
    received: &FlushReplies<R>,
    finished: &mut Vec<Segment<M>>,
    sink: &mut impl FnMut(M, Settled),
) -> PlainOutcome {
    let mut outcome = PlainOutcome::default();
    part_unfolded(segments, first, received);
    let mut fates = Vec::with_capacity(segments.len());
    let mut command = first;
    for segment in segments.iter() {
        let own = command + segment.leading();
        fates.push((own, fate(segment, own, received, &mut outcome)));
        command += segment.commands();
    }
    part_refused(segments, &mut fates, received, &mut outcome);
    outcome.again = keep_order(segments, &mut fates, sink);
    for (mut segment, (command, fate)) in std::mem::take(segments).into_iter().zip(fates) {
        match fate {
            Fate::Answered | Fate::Refused => {
                segments.extend(reads_in_doubt(&segment, segment.operations, command, received));
                settle_whole(&mut segment, command, received, &mut outcome, sink);
                finished.push(segment);
            }
            Fate::Lost => {
                (outcome.written, outcome.value) = (true, None);
                outcome.fields_are_moved = true;
                settle::settle_unknown(&segment.take_writes(), UNKNOWN, sink);
                let to = if segment.operations > 0 { &mut *segments } else { &mut *finished };
                to.push(segment);
            }
            Fate::Again(answered, again) => {
                if segment.unfolded && answered > 0 {
                    learn(&segment, command, received, &mut outcome.rights_learned);
                }
                segments.extend(reads_in_doubt(&segment, answered, command, received));
                for place in 0..answered {
                    answer_one(&segment, place, command + place, received, sink);
                }
                segment.drop_operations(answered);
                if again == Some(Again::OneByOne) && segment.is_write() {
                    segment.unfold();
                }
                segment.calls.is_missing |= again == Some(Again::NoScript);
                let to = if segment.operations > 0 { &mut *segments } else { &mut *finished };
                to.push(segment);
            }
        }
    }
    outcome
}

/// Sees to the order of what goes again, and says how it goes: reads whose answers are older than a write before them that goes again do
/// so too, and who would be overtaken by itself is told.
fn keep_order<M: Member>(
    segments: &mut [Segment<M>],
    fates: &mut [(usize, Fate)],
    sink: &mut impl FnMut(M, Settled),
) -> Option<Again> {
    let kept = fates.iter().position(|(_, fate)| matches!(fate, Fate::Again(..)))?;
    let took_effect = |place: &usize| {
        !matches!(fates[*place].1, Fate::Again(0, _) | Fate::Refused) && segments[*place].is_write()
    };
    let last_effect = (0..segments.len()).rev().find(took_effect);
    let again = fates[kept..].iter().find_map(|(_, fate)| match fate {
        Fate::Again(_, again) => *again,
        _ => None,
    });
    for (_, fate) in fates.iter_mut().skip(last_effect.unwrap_or(0).max(kept) + 1) {
        *fate = match *fate {
            Fate::Again(_, again) => Fate::Again(0, again),
            Fate::Refused => Fate::Refused,
            Fate::Answered | Fate::Lost => Fate::Again(0, None),
        };
    }
    if last_effect.is_some_and(|last| last > kept) {
        refuse_overtaken(segments, fates, sink);
    }
    again
}

/// Answers all members of a segment, and notes what its replies show.
fn settle_whole<M: Member, R: AsRef<[u8]>>(
    segment: &mut Segment<M>,
    command: usize,
    received: &FlushReplies<R>,
    outcome: &mut PlainOutcome,
    sink: &mut impl FnMut(M, Settled),
) {
    learn(segment, command, received, &mut outcome.rights_learned);
    let value = match segment.kind {
        Kind::Transaction(_) => answer_transactions(segment, command, received, sink),
        _ => answer(segment, command, received, sink),
    };
    match segment.kind {
        Kind::HashCounter => {
            outcome.hash_is_calm = value.map(near_zero).or(outcome.hash_is_calm);
            outcome.fields_are_moved |= segment.is_write() && !value.is_some_and(near_zero);
        }
        Kind::Write(form) if form.sets_fields() => {
            (outcome.hash_is_calm, outcome.fields_are_moved) = (Some(false), true);
        }
        Kind::Script(shape) if segment.unfolded => {
            (outcome.written, outcome.value) = (true, None);
            (outcome.hash_is_calm, outcome.fields_are_moved) = (Some(false), true);
            learn_trial(segment, shape, command, received, outcome);
        }
        Kind::Write(form) if !form.sets_string() => {}
        _ if segment.is_write() => (outcome.written, outcome.value) = (true, value),
        _ => {}
    }
}

/// Parts what went as it came where the node began to refuse, or ceased to: what it took must not go again.
fn part_unfolded<M: Member, R: AsRef<[u8]>>(
    segments: &mut Vec<Segment<M>>,
    first: usize,
    received: &FlushReplies<R>,
) {
    let (mut place, mut command) = (0, first);
    while let Some(segment) = segments.get_mut(place) {
        place += 1;
        let leading = segment.leading();
        let mut run = segment.commands() - leading;
        if segment.unfolded && !segment.calls.is_trial {
            let is_decided =
                |operation: usize| is_decided(segment, received.of(command + leading + operation));
            run = (0..run).take_while(|operation| is_decided(*operation) == is_decided(0)).count();
            if run < segment.operations {
                let mut front = segment.split_front(run);
                front.arena.clone_from(&segment.arena);
                front.calls.body = segment.calls.body.take();
                front.calls.is_missing = segment.calls.is_missing;
                segments.insert(place - 1, front);
            }
        }
        command += leading + run;
    }
}

/// Whether this is the end of an operation of an unfolded segment.
fn is_decided<M: Member>(segment: &Segment<M>, news: News<'_>) -> bool {
    match news {
        News::Reply(reply) => !(is_retryable(reply) || is_missing(segment, reply)),
        News::Unknown => segment.is_write(),
        News::Unsent => false,
    }
}

/// Whether a node says for the first time that it does not know a client's script. The gateway may.
fn is_missing<M: Member>(segment: &Segment<M>, reply: &[u8]) -> bool {
    matches!(segment.kind, Kind::Script(_)) && !segment.calls.is_missing && reply.starts_with(b"-NOSCRIPT")
}

fn fate<M: Member, R: AsRef<[u8]>>(
    segment: &Segment<M>,
    command: usize,
    received: &FlushReplies<R>,
    outcome: &mut PlainOutcome,
) -> Fate {
    if segment.unfolded {
        let decided = |place: &usize| is_decided(segment, received.of(command + place));
        let answered = (0..segment.operations).take_while(decided).count();
        let again = match received.of(command + answered) {
            _ if answered == segment.operations => {
                let is_error = |place: usize| match received.of(command + place) {
                    News::Reply(reply) => first_error(reply).is_some(),
                    _ => false,
                };
                let is_lost = |place: usize| matches!(received.of(command + place), News::Unknown);
                return match segment.is_write() {
                    true if (0..answered).all(is_lost) => Fate::Lost,
                    true if (0..answered).all(is_error) => Fate::Refused,
                    _ => Fate::Answered,
                };
            }
            News::Reply(reply) if is_missing(segment, reply) => Some(Again::NoScript),
            News::Reply(_) => Some(Again::Elsewhere { reply: command + answered }),
            _ => None,
        };
        return Fate::Again(answered, again);
    }
    let reply = match received.of(command) {
        News::Unsent => return Fate::Again(0, None),
        News::Unknown if segment.is_write() => return Fate::Lost,
        News::Unknown => return Fate::Again(0, None),
        News::Reply(reply) => reply,
    };
    if is_retryable(reply) {
        return Fate::Again(0, Some(Again::Elsewhere { reply: command }));
    }
    let Some(text) = first_error(reply).filter(|_| segment.is_write()) else { return Fate::Answered };
    if rights::is_refused(reply) && segment.is_own_form() {
        outcome.denied = true;
        outcome.rights_learned.learn(CommandForm::Increment(Verb::Incrby), reply);
    }
    if let (true, Kind::Script(shape)) = (rights::is_script_refused(reply), segment.kind) {
        outcome.script = Some(ScriptNews::Refused(shape.script, String::from_utf8_lossy(text).into_owned()));
    }
    match untold(segment, reply, text) {
        Some(_) => Fate::Again(0, Some(Again::OneByOne)),
        None => Fate::Refused,
    }
}

/// Which members of a fold that was refused with this error may have to be told something else.
fn untold<M: Member>(segment: &Segment<M>, reply: &[u8], text: &[u8]) -> Option<Untold> {
    let is_own_form = rights::is_refused(reply) && segment.is_own_form();
    let is_script = matches!(segment.kind, Kind::Script(_));
    if is_own_form || is_script || (text == OVERFLOW && segment.fold.increments > 1) {
        return Some(Untold::Each);
    }
    // Who asks a key of the wrong type is told so, whatever is asked.
    (segment.gets > 0 && !text.starts_with(b"WRONGTYPE")).then_some(Untold::Reads)
}

/// Parts refused folds into their writes, which are refused, and their reads, which go again.
fn part_refused<M: Member, R: AsRef<[u8]>>(
    segments: &mut Vec<Segment<M>>,
    fates: &mut Vec<(usize, Fate)>,
    received: &FlushReplies<R>,
    outcome: &mut PlainOutcome,
) {
    let mut place = 0;
    while let (Some(segment), Some(&(command, fate))) = (segments.get_mut(place), fates.get(place)) {
        place += 1;
        let News::Reply(reply) = received.of(command) else { continue };
        let is_again = fate == Fate::Again(0, Some(Again::OneByOne));
        let Some(text) = first_error(reply).filter(|_| is_again) else { continue };
        let Some(untold) = untold(segment, reply, text) else { continue };
        if !rights::is_refused(reply) || matches!(segment.kind, Kind::Script(_)) {
            outcome.refusals.note(segment.kind, untold);
        }
        if untold == Untold::Reads {
            if let Some(read) = read_before(segment, command, received) {
                fates[place - 1] = (read, Fate::Answered);
            }
            let mut writes = segment.take_writes();
            writes.unfolded = false;
            segments.insert(place - 1, writes);
            fates.insert(place - 1, (command, Fate::Refused));
            place += 1;
        }
    }
}

/// Where the reads of a refused fold have their answer, if it was read right before it.
fn read_before<M: Member, R: AsRef<[u8]>>(
    segment: &Segment<M>,
    command: usize,
    received: &FlushReplies<R>,
) -> Option<usize> {
    let read = command.checked_sub(1).filter(|_| segment.is_read_before)?;
    let is_answer = matches!(received.of(read), News::Reply(reply) if !is_retryable(reply));
    is_answer.then_some(read)
}

/// Tells the members that go again, and whose callers stand behind with something that does not, that they were not executed.
fn refuse_overtaken<M: Member>(
    segments: &mut [Segment<M>],
    fates: &mut [(usize, Fate)],
    sink: &mut impl FnMut(M, Settled),
) {
    let mut behind: Vec<M::Caller> = Vec::new();
    for (segment, (_, fate)) in segments.iter_mut().zip(fates).rev() {
        // What was lost is unknown, and orders nothing.
        if matches!(fate, Fate::Refused | Fate::Lost) {
            continue;
        }
        let Fate::Again(answered, _) = *fate else {
            behind.extend(segment.entries.iter().map(|entry| entry.member.caller()));
            continue;
        };
        behind.sort_unstable();
        // What is answered of an unfolded segment stays at its front.
        let front = segment.split_front(answered);
        let is_overtaken = |member: &M| behind.binary_search(&member.caller()).is_ok();
        // Of a run of `SET`s, or of other writes, only what goes is left to send.
        let is_one = matches!(segment.kind, Kind::Sets | Kind::Write(_));
        let all = is_one && segment.entries.iter().any(|entry| is_overtaken(&entry.member));
        let overtaken = segment.take_members(|member| all || is_overtaken(member));
        settle::settle_unsent(&overtaken, NOT_EXECUTED, sink);
        behind.extend(front.entries.iter().map(|entry| entry.member.caller()));
        segment.put_front(front);
    }
}

/// The version that a connection speaks for these segments, if one of them cares.
pub(super) fn agreed_version(needed: &mut Option<RespVersion>, wanted: Option<RespVersion>) -> bool {
    let agrees = needed.is_none() || wanted.is_none() || *needed == wanted;
    *needed = needed.or(wanted);
    agrees
}
