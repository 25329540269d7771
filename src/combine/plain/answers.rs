//! What the replies to a segment say to its members, and what they tell of rights and of scripts that count.

use super::super::{
    counter_script::{self, Judged},
    fold::Fold,
    member::Member,
    rights::{self, RightsLearned},
    script_shape::ScriptShape,
    segment::{Entry, EntryKind, Kind, Segment},
    settle::{self, NOT_UNDERSTOOD, Settled, UNKNOWN, ValueBefore, Verdict},
    terms::ScriptNews,
    transactions, writes,
};
use super::{FlushReplies, News, PlainOutcome};
use crate::resp::{first_error, parse_integer_reply};

/// Answers a segment from its replies. Returns the value that its counter has behind it.
pub(super) fn answer<M: Member, R: AsRef<[u8]>>(
    segment: &Segment<M>,
    command: usize,
    received: &FlushReplies<R>,
    sink: &mut impl FnMut(M, Settled),
) -> Option<i64> {
    if segment.unfolded {
        (0..segment.operations).for_each(|place| answer_one(segment, place, command + place, received, sink));
        return None;
    }
    let News::Reply(reply) = received.of(command) else { return None };
    if !segment.is_write() {
        settle::settle_read(segment, reply, sink);
        return None;
    }
    if let Some(text) = first_error(reply) {
        settle::settle_error(segment, text, sink);
        return None;
    }
    if let Kind::Write(form) = segment.kind {
        writes::settle(segment, form, reply, sink);
        return None;
    }
    if segment.kind == Kind::Sets {
        settle::settle_sets(segment, None, ValueBefore::Null, sink);
        return None;
    }
    let after = parse_integer_reply(reply);
    let Some(before) = after.and_then(|after| start_of(&segment.fold, after)) else {
        settle::settle_unknown(segment, NOT_UNDERSTOOD, sink);
        return None;
    };
    let digits = itoa::Buffer::new().format(before).to_owned();
    settle::settle_counter(segment, ValueBefore::Raw(digits.as_bytes()), &Verdict::All, None, sink);
    after
}

/// Answers transactions from the replies to their `EXEC`s. Returns the value that their string has behind them.
pub(super) fn answer_transactions<M: Member, R: AsRef<[u8]>>(
    segment: &mut Segment<M>,
    command: usize,
    received: &FlushReplies<R>,
    sink: &mut impl FnMut(M, Settled),
) -> Option<i64> {
    let last = received.of(if segment.unfolded { command + segment.operations - 1 } else { command });
    let News::Reply(last) = last else {
        segment.is_calm = Some(false);
        return answer(segment, command, received, sink);
    };
    let (value, is_calm) = match (segment.unfolded, first_error(last)) {
        (true, _) => {
            answer(segment, command, received, sink);
            transactions::learn(segment, last)
        }
        (false, None) => transactions::settle(segment, last, sink),
        (false, Some(text)) => {
            settle::settle_error(segment, text, sink);
            (None, false)
        }
    };
    segment.is_calm = Some(is_calm);
    value
}

/// What a call showed that went to be compared with its declaration.
pub(super) fn learn_trial<M: Member, R: AsRef<[u8]>>(
    segment: &mut Segment<M>,
    shape: ScriptShape,
    command: usize,
    received: &FlushReplies<R>,
    outcome: &mut PlainOutcome,
) {
    let reply_of = |place: usize| match received.of(place) {
        News::Reply(reply) => Some(reply),
        News::Unknown | News::Unsent => None,
    };
    let places = [command.wrapping_sub(2), command.wrapping_sub(1), command, command + 1, command + 2];
    let (true, [Some(a), Some(b), Some(c), Some(d), Some(e)]) =
        (segment.calls.is_trial, places.map(reply_of))
    else {
        return;
    };
    let refused = [a, b].into_iter().filter(|reply| rights::is_refused(reply)).find_map(first_error);
    if let Some(text) = refused {
        outcome.script = Some(ScriptNews::Refused(shape.script, String::from_utf8_lossy(text).into_owned()));
    }
    let delta = segment.entries.first().map_or(0, Entry::delta);
    let judged = counter_script::judge(shape, delta, [a, b, c, d, e]);
    segment.is_calm = (judged != Judged::Unclear).then_some(judged == Judged::AsDeclared);
    match judged {
        Judged::AsDeclared => outcome.script = Some(ScriptNews::AsDeclared(shape.script)),
        Judged::Differs(how) => outcome.script = Some(ScriptNews::Differs(shape.script, how)),
        Judged::Odd | Judged::Unclear => {}
    }
}

/// The value before a fold that led to `after`. `None` if the way there would have left the range: then one by one the
/// members would have fared otherwise.
fn start_of(fold: &Fold, after: i64) -> Option<i64> {
    let before = after.checked_sub(fold.sum)?;
    before.checked_add(fold.high)?;
    before.checked_add(fold.low)?;
    Some(before)
}

/// What the replies to a segment tell of rights: those to what its members said, as they said it.
pub(super) fn learn<M: Member, R: AsRef<[u8]>>(
    segment: &Segment<M>,
    command: usize,
    received: &FlushReplies<R>,
    rights_learned: &mut RightsLearned,
) {
    let is_transaction = matches!(segment.kind, Kind::Transaction(_));
    // What goes is what all have said: there is nothing to learn.
    if segment.is_plain_only() && !(is_transaction && !segment.unfolded && segment.is_own_form()) {
        return;
    }
    let is_folded = !segment.unfolded && segment.is_write() && segment.operations > 1;
    if is_folded || segment.kind == Kind::Sets {
        if let News::Reply(reply) = received.of(command) {
            rights_learned.learn(segment.folded_form(), reply);
        }
        return;
    }
    let mut place = command;
    let entries_max = if segment.unfolded { usize::MAX } else { 1 };
    for entry in segment.entries.iter().take(entries_max) {
        if let (Some(form), News::Reply(reply)) = (segment.entry_form(entry), received.of(place)) {
            rights_learned.learn(form, reply);
        }
        place += entry.member.operations() as usize;
    }
}

/// The reads among the first operations of an unfolded segment whose replies were lost: they go again.
pub(super) fn reads_in_doubt<M: Member, R: AsRef<[u8]>>(
    segment: &Segment<M>,
    answered: usize,
    command: usize,
    received: &FlushReplies<R>,
) -> Option<Segment<M>> {
    if !segment.unfolded || received.lost.is_none() {
        return None;
    }
    segment.reads_at((0..answered).filter(|place| matches!(received.of(command + place), News::Unknown)))
}

/// Answers one operation of an unfolded segment with its own reply.
pub(super) fn answer_one<M: Member, R: AsRef<[u8]>>(
    segment: &Segment<M>,
    place: usize,
    command: usize,
    received: &FlushReplies<R>,
    sink: &mut impl FnMut(M, Settled),
) {
    let Some((entry, member)) = segment.operation(place) else { return };
    let mut spelled = Vec::new();
    let settled = match received.of(command) {
        News::Reply(b"$-1\r\n" | b"_\r\n") => {
            crate::resp::encode::null(&mut spelled, entry.version);
            Settled::Reply(&spelled)
        }
        News::Reply(b"") => Settled::OutcomeUnknown(settle::error(&mut spelled, NOT_UNDERSTOOD)),
        News::Reply(reply) => Settled::Reply(reply),
        // See `reads_in_doubt`.
        News::Unknown if entry.ask == EntryKind::Get => return,
        News::Unknown | News::Unsent => Settled::OutcomeUnknown(settle::error(&mut spelled, UNKNOWN)),
    };
    sink(member, settled);
}
