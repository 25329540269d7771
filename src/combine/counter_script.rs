//! Scripts that the configuration names as counters: what a call of one adds, and until when the counter lives.
//!
//! The gateway can't read a script, so it believes the declaration only as far as it has seen it hold. A call that folds goes first by
//! itself, with the value and the time to live read before and behind it ([`judge`]); this is repeated every ten seconds. What
//! folds then is one call of a script of the gateway's own, which does what was declared: [`FOLD_SCRIPT`]. Its result is the value
//! behind the last member, and each member is told its own.
//!
//! That script writes by a single command, so that any error of it means that nothing has changed; and it refuses every value on which scripts
//! of the declared kind may differ (no plain positive number, or one that never expires where the script sets the time to live of
//! new counters). Then the members go as they came, and for some seconds all others do.

use bytes::BytesMut;
use smallvec::SmallVec;

use super::{
    member::Member,
    op::Op,
    script_shape::{ScriptShape, VALUE_MAX},
    segment::{Entry, Segment},
    transaction::Trial,
};
use crate::limits::COUNTER_SCRIPT_BY_MAX;
use crate::resp::{Request, Span, bulk_payload, encode, parse_integer, parse_integer_reply};

/// One call of it counts for all members.
const FOLD_SCRIPT: &[u8] = b"local value = redis.call('GET', KEYS[1])
if value and (#value > 15 or not string.find(value, '^[1-9]%d*$')) then
  return redis.error_reply('UNUSUAL value')
end
if ARGV[2] ~= '0' and (not value or ARGV[3] == 'always') then
  local after = string.format('%.0f', (value or 0) + ARGV[1])
  redis.call('SET', KEYS[1], after, 'PX', ARGV[2])
  return tonumber(after)
end
if value and ARGV[2] ~= '0' and redis.call('PTTL', KEYS[1]) < 0 then
  return redis.error_reply('UNUSUAL time to live')
end
return redis.call('INCRBY', KEYS[1], ARGV[1])";

/// The longest time to live, a thousand years.
const EXPIRE_MS_MAX: i64 = 1000 * 366 * 24 * 3600 * 1000;
/// How much of a time to live may pass between two commands of a trial.
const TRIAL_MS_MAX: i64 = 2000;
/// A counter that ends sooner may end within its trial.
const ENDS_SOON_MS: i64 = 20;
/// Kinds of calls that are known at a time; others go as they came.
const CALLS_MAX: usize = 4;

/// What a declaration says of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// It is always this.
    Constant(i64),
    /// `ARGV[n]`, times this.
    Argument(usize, i64),
}

/// A script, as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CounterScript {
    /// Its name, in small letters.
    pub sha1: [u8; 40],
    /// What a call adds.
    pub by: Amount,
    /// The time to live that it sets, in milliseconds.
    pub expire_ms: Option<Amount>,
    /// It sets that with each call, and not only for a new counter.
    pub expires_always: bool,
}

impl CounterScript {
    /// The operation that a call `EVALSHA sha 1 key ...` of this script is, which is the one at this place of the configuration.
    pub fn op<'a>(&self, script: u16, request: &Request<'a>) -> Option<Op<'a>> {
        if request.arg(2) != Some(b"1") {
            return None;
        }
        let within = |amount: Amount, max: i64| {
            let number = match amount {
                Amount::Constant(number) => number,
                Amount::Argument(place, unit) => parse_integer(request.arg(3 + place)?)?.checked_mul(unit)?,
            };
            (1..=max).contains(&number).then_some(number)
        };
        let delta = within(self.by, COUNTER_SCRIPT_BY_MAX)?;
        let expire_ms = match self.expire_ms {
            Some(expire) => within(expire, EXPIRE_MS_MAX)?,
            None => 0,
        };
        let number = match self.by {
            Amount::Argument(place, _) => {
                let end = |span: &Span| span.start + span.len + 2;
                let spans = request.spans();
                (end(spans.get(2 + place)?), end(spans.get(3 + place)?))
            }
            Amount::Constant(_) => (0, 0),
        };
        let shape = ScriptShape { script, number, expire_ms, expires_always: self.expires_always };
        Some(Op::Script { request: request.bytes(), shape, delta })
    }
}

/// The script that these calls name.
pub(super) fn sha1_of(request: &[u8]) -> Option<&[u8]> {
    super::write_form::words(request).nth(1)
}

/// The one call that a segment folds into, or its calls as they came.
pub(super) fn encode<M: Member>(key: &[u8], segment: &Segment<M>, shape: ScriptShape, out: &mut BytesMut) {
    let mut digits = itoa::Buffer::new();
    if !(segment.unfolded || segment.operations == 1) {
        let sum = digits.format(segment.fold.sum);
        let expire_ms = shape.expire_ms.to_string();
        let when: &[u8] = if shape.expires_always { b"always" } else { b"new" };
        let words = [b"EVAL", FOLD_SCRIPT, b"1", key, sum.as_bytes(), expire_ms.as_bytes(), when];
        return encode::command(out, &words);
    }
    if let Some(body) = &segment.calls.body {
        encode::command(out, &[b"SCRIPT", b"LOAD", body]);
    }
    let look = |out: &mut BytesMut| {
        encode::command(out, &[b"GET", key]);
        encode::command(out, &[b"PTTL", key]);
    };
    if segment.calls.is_trial {
        look(out);
    }
    segment.entries.iter().for_each(|entry| encode_one(segment, shape, entry, out));
    if segment.calls.is_trial {
        look(out);
    }
}

/// One call as its client said it.
fn encode_one<M: Member>(segment: &Segment<M>, shape: ScriptShape, entry: &Entry<M>, out: &mut BytesMut) {
    let (before, behind) = shape.around(&segment.arena);
    out.extend_from_slice(before);
    if shape.number.1 > 0 {
        encode::bulk(out, itoa::Buffer::new().format(entry.delta()).as_bytes());
    }
    out.extend_from_slice(behind);
}

/// What a trial showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// The script did what was declared.
    AsDeclared,
    /// It has to be tried on another value: calls go as they came meanwhile.
    Odd,
    /// It has to be tried again.
    Unclear,
    /// It did something else: what.
    Differs(String),
}

/// Compares what one call did with the declaration. The replies are those to `GET`, `PTTL`, the call, `GET` and `PTTL`. Others may have
/// come between them.
pub(super) fn judge(shape: ScriptShape, delta: i64, replies: [&[u8]; 5]) -> Judged {
    let [value, ttl, told, value_behind, ttl_behind] = replies;
    let (Some(ttl), Some(ttl_behind)) = (parse_integer_reply(ttl), parse_integer_reply(ttl_behind)) else {
        return Judged::Odd;
    };
    let is_new = matches!(value, b"$-1\r\n" | b"_\r\n");
    let before = match bulk_payload(value).and_then(parse_integer) {
        _ if is_new => 0,
        Some(number) if (1..VALUE_MAX).contains(&number) => number,
        _ => return Judged::Odd,
    };
    let sets = shape.expire_ms > 0 && (shape.expires_always || is_new);
    if told.starts_with(b"-") || (shape.expire_ms > 0 && !sets && ttl < 0) {
        return Judged::Odd;
    }
    if (0..ENDS_SOON_MS).contains(&ttl) {
        return Judged::Unclear;
    }
    let after = before + delta;
    if parse_integer_reply(told) != Some(after) {
        return Judged::Differs(format!("it says {}, and not {after}", shown(told)));
    }
    if bulk_payload(value_behind).and_then(parse_integer) != Some(after) {
        return Judged::Differs(format!("it leaves {}, and not {after}", shown(value_behind)));
    }
    let expected = if sets {
        shape.expire_ms
    } else if is_new {
        -1
    } else {
        ttl
    };
    let is_as_expected = match expected {
        ..0 => ttl_behind == expected,
        _ => ((expected - TRIAL_MS_MAX).max(0)..=expected).contains(&ttl_behind),
    };
    match is_as_expected {
        true => Judged::AsDeclared,
        false => Judged::Differs(format!(
            "it leaves a time to live of {ttl_behind} ms, and not {expected} ms (-1 is none)"
        )),
    }
}

/// The first words of a reply, on one line.
fn shown(reply: &[u8]) -> String {
    String::from_utf8_lossy(&reply[..reply.len().min(40)]).trim_end().replace("\r\n", " ")
}

/// The calls that were tried on a key, and what that showed.
#[derive(Debug, Default)]
pub(super) struct TriedCalls {
    tried: SmallVec<[TriedCall; 1]>,
}

#[derive(Debug)]
struct TriedCall {
    request: Box<[u8]>,
    shape: ScriptShape,
    is_as_declared: bool,
}

impl TriedCalls {
    pub fn forget(&mut self) {
        self.tried.clear();
    }

    pub fn trial_of(&self, request: &[u8], shape: ScriptShape) -> Trial {
        match self.tried.iter().find(|tried| tried.shape.is_shared(&tried.request, shape, request)) {
            Some(tried) if tried.is_as_declared => Trial::Calm,
            None if self.tried.len() < CALLS_MAX => Trial::Due,
            _ => Trial::AsItCame,
        }
    }

    /// One was tried.
    pub fn learn(&mut self, request: &[u8], shape: ScriptShape, is_as_declared: bool) {
        if self.trial_of(request, shape) == Trial::Due {
            self.tried.push(TriedCall { request: request.into(), shape, is_as_declared });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITER: ScriptShape =
        ScriptShape { script: 0, number: (0, 0), expire_ms: 60_000, expires_always: false };

    #[test]
    fn a_trial_compares_what_a_call_did_with_what_was_declared() {
        let differs = |judged: &Judged| matches!(judged, Judged::Differs(_));
        let check = |shape: ScriptShape, replies: [&str; 5], expect: Option<Judged>| {
            let bytes = replies.map(|reply| {
                let reply = match reply.strip_prefix('$') {
                    Some(text) => format!("${}\r\n{text}", text.len()),
                    None => reply.to_owned(),
                };
                format!("{}\r\n", if reply == "nil" { "$-1" } else { &reply }).into_bytes()
            });
            let judged = judge(shape, 2, bytes.each_ref().map(|reply| &reply[..]));
            match expect {
                Some(expect) => assert_eq!(judged, expect, "{replies:?}"),
                None => assert!(differs(&judged), "{replies:?}: {judged:?}"),
            }
        };
        let as_declared = || Some(Judged::AsDeclared);
        check(LIMITER, ["nil", ":-2", ":2", "$2", ":60000"], as_declared());
        check(LIMITER, ["$7", ":5000", ":9", "$9", ":4999"], as_declared());
        check(LIMITER, ["nil", ":-2", ":2", "$2", ":-1"], None);
        check(LIMITER, ["nil", ":-2", ":2", "$2", ":600000"], None);
        check(LIMITER, ["$7", ":5000", ":9", "$9", ":60000"], None);
        check(LIMITER, ["$7", ":5000", ":8", "$8", ":5000"], None);
        check(LIMITER, ["$7", ":5000", "*0", "$9", ":5000"], None);
        check(LIMITER, ["$7", ":5000", ":9", "$11", ":5000"], None);
        check(LIMITER, ["$7", ":-1", ":9", "$9", ":60000"], Some(Judged::Odd));
        check(LIMITER, ["$07", ":5000", ":9", "$9", ":5000"], Some(Judged::Odd));
        check(LIMITER, ["-WRONGTYPE x", ":5000", "-WRONGTYPE x", "-WRONGTYPE x", ":5000"], Some(Judged::Odd));
        check(LIMITER, ["$7", ":5000", "-NOPERM x", "$7", ":5000"], Some(Judged::Odd));
        check(LIMITER, ["$7", ":3", ":2", "$2", ":60000"], Some(Judged::Unclear));
        let always = ScriptShape { expires_always: true, ..LIMITER };
        check(always, ["$7", ":-1", ":9", "$9", ":60000"], as_declared());
        check(always, ["$7", ":5000", ":9", "$9", ":5000"], None);
        let bare = ScriptShape { expire_ms: 0, ..LIMITER };
        check(bare, ["nil", ":-2", ":2", "$2", ":-1"], as_declared());
        check(bare, ["$7", ":-1", ":9", "$9", ":-1"], as_declared());
        check(bare, ["$7", ":-1", ":9", "$9", ":60000"], None);
    }

    #[test]
    fn calls_are_tried_by_kind_and_the_kinds_are_few() {
        let mut tried = TriedCalls::default();
        let requests: Vec<String> = (0..=CALLS_MAX).map(|kind| format!("call {kind}")).collect();
        let trial = |tried: &TriedCalls, kind: usize| tried.trial_of(requests[kind].as_bytes(), LIMITER);
        assert_eq!(trial(&tried, 0), Trial::Due);
        (0..CALLS_MAX).for_each(|kind| tried.learn(requests[kind].as_bytes(), LIMITER, kind > 0));
        let seen: Vec<Trial> = (0..=CALLS_MAX).map(|kind| trial(&tried, kind)).collect();
        assert_eq!(seen, [Trial::AsItCame, Trial::Calm, Trial::Calm, Trial::Calm, Trial::AsItCame]);
        tried.forget();
        assert_eq!(trial(&tried, 0), Trial::Due);
    }
}
