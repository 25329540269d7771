//! Turns the reply to a folded command into the reply of each member.
//!
//! Owns the exact bytes. An increment gets the integer that it would have produced alone. A `GET` gets the value at its place in
//! the order. An error has Redis's own text. Before the first increment that took effect the value is the raw string (`"05"`, or
//! nothing); behind it, it is the canonical integer.

use bytes::Bytes;
use smallvec::SmallVec;

use super::{
    clamp::{Cause, Clamp, ClampReport, Refusal},
    member::Member,
    segment::{Entry, EntryKind, Segment},
};
use crate::resp::{RespVersion, encode, parse_integer};

/// The reply to one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled<'a> {
    /// The reply, byte for byte what Redis would have sent in the member's protocol version; the replies, one behind the
    /// other, where the member waits for several operations.
    Reply(&'a [u8]),
    /// The same of one operation, where it is large: one allocation for all who get it.
    Shared(&'a Bytes),
    /// The quota has no room for it, which is one operation; the counter has not moved.
    Refused(Refusal),
    /// The quota cannot be applied, for this reason, to the one operation; the counter has not moved.
    ClampError(&'a str),
    /// It was given up and has surely not been executed: the error for one operation.
    Unsent(&'a [u8]),
    /// Nobody knows whether it was executed: the error for one operation.
    OutcomeUnknown(&'a [u8]),
}

impl Settled<'_> {
    /// The bytes of the reply, unless its words are the quota's.
    pub fn reply(&self) -> Option<&[u8]> {
        match self {
            Self::Reply(reply) | Self::Unsent(reply) | Self::OutcomeUnknown(reply) => Some(reply),
            Self::Shared(reply) => Some(reply),
            Self::Refused(_) | Self::ClampError(_) => None,
        }
    }
}

/// Redis' own words, of `INCRBY` and `HINCRBY` alike.
pub(super) const OVERFLOW: &[u8] = b"ERR increment or decrement would overflow";
/// Neither success nor failure.
pub(super) const UNKNOWN: &[u8] =
    b"ERR hotgate: outcome unknown: the connection to Redis was lost after the write was sent; check before sending it again";
/// A reply whose shape is none that the command has: what Redis did is anyone's guess.
pub(super) const NOT_UNDERSTOOD: &[u8] =
    b"ERR hotgate: outcome unknown: the reply of Redis to a combined write was not understood; check before sending it again";

/// A reply of at least this many bytes is shared: a thousand reads of a large value in one pipeline do not take a thousand
/// times its memory.
const SHARED_BYTES_MIN: usize = 16 * 1024;

/// One reply, for any number of members.
struct ForAll<'a> {
    reply: &'a [u8],
    shared: Option<Bytes>,
}

impl<'a> ForAll<'a> {
    fn new(reply: &'a [u8]) -> Self {
        let is_large = reply.len() >= SHARED_BYTES_MIN;
        Self { reply, shared: is_large.then(|| Bytes::copy_from_slice(reply)) }
    }

    fn settled(&self) -> Settled<'_> {
        self.shared.as_ref().map_or(Settled::Reply(self.reply), Settled::Shared)
    }
}

/// The value before a step, as the script spells it.
#[derive(Clone, Copy, Debug)]
pub(super) enum ValueBefore<'a> {
    Null,
    Raw(&'a [u8]),
    Error(&'a [u8]),
}

impl<'a> ValueBefore<'a> {
    pub fn parse(spelled: &'a [u8]) -> Option<Self> {
        match spelled.split_first()? {
            (b'_', _) => Some(Self::Null),
            (b'$', raw) => Some(Self::Raw(raw)),
            (b'-', text) => Some(Self::Error(text)),
            _ => None,
        }
    }

    fn integer(self) -> Option<i64> {
        match self {
            Self::Null => Some(0),
            Self::Raw(raw) => parse_integer(raw),
            Self::Error(_) => None,
        }
    }

    fn reply(self, version: RespVersion, out: &mut Vec<u8>) {
        match self {
            Self::Null => encode::null(out, version),
            Self::Raw(raw) => encode::bulk(out, raw),
            Self::Error(text) => encode::error(out, text),
        }
    }
}

/// The result of the increments of a counter segment.
pub(super) enum Verdict<'a> {
    /// All took effect.
    All,
    /// None did; this is the error of each.
    Failed(&'a [u8]),
    /// The quota could not be applied; none took effect.
    Fault(&'a str),
    /// How many of each run of equal deltas took effect. The others overflowed, or the clamp refused them.
    Some(SmallVec<[(u32, Option<Cause>); 8]>),
}

impl<'a> Verdict<'a> {
    /// `=`, `!text`, `?text` or `#count[cause] ...`.
    pub fn parse(spelled: &'a [u8]) -> Option<Self> {
        match spelled.split_first()? {
            (b'=', _) => Some(Self::All),
            (b'!', text) => Some(Self::Failed(text)),
            (b'?', text) => {
                Some(Self::Fault(std::str::from_utf8(text).unwrap_or("the quota's keys are unusable")))
            }
            (b'#', counts) => {
                counts.split(|&byte| byte == b' ').map(count).collect::<Option<_>>().map(Self::Some)
            }
            _ => None,
        }
    }
}

fn count(text: &[u8]) -> Option<(u32, Option<Cause>)> {
    let end = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, cause) = text.split_at(end);
    let cause = if cause.is_empty() { None } else { Some(Cause::parse(cause)?) };
    Some((u32::try_from(parse_integer(digits)?).ok()?, cause))
}

/// Walks the runs of a fold together with its members, and says of each increment whether it took effect.
struct Grants<'a> {
    runs: std::slice::Iter<'a, (i64, u32)>,
    counts: std::slice::Iter<'a, (u32, Option<Cause>)>,
    run_left: u32,
    granted_left: u32,
    cause: Option<Cause>,
}

impl Grants<'_> {
    fn next(&mut self) -> Result<(), Option<Cause>> {
        while self.run_left == 0 {
            let (Some(&(_, times)), Some(&(granted, cause))) = (self.runs.next(), self.counts.next()) else {
                return Err(None);
            };
            (self.run_left, self.granted_left, self.cause) = (times, granted, cause);
        }
        self.run_left -= 1;
        match self.granted_left.checked_sub(1) {
            Some(left) => {
                self.granted_left = left;
                Ok(())
            }
            None => Err(self.cause),
        }
    }
}

/// The quota of a flush, and the account of it.
pub(super) struct Quota<'a> {
    pub clamp: &'a Clamp,
    pub report: ClampReport,
}

/// The members of an entry, one for each operation.
fn each<M: Member>(entry: &Entry<M>) -> impl Iterator<Item = M> {
    (0..entry.member.operations()).map(|place| entry.member.one(place))
}

/// Answers the members of a counter, of a hash field as well.
pub(super) fn settle_counter<M: Member>(
    segment: &Segment<M>,
    before: ValueBefore,
    verdict: &Verdict,
    mut quota: Option<&mut Quota>,
    sink: &mut impl FnMut(M, Settled),
) {
    let Some(start) = before.integer() else {
        return settle_unchanged(segment, before, verdict, sink);
    };
    let mut grants = match verdict {
        Verdict::All => None,
        Verdict::Some(counts) => Some(Grants {
            runs: segment.fold.runs.iter(),
            counts: counts.iter(),
            run_left: 0,
            granted_left: 0,
            cause: None,
        }),
        Verdict::Failed(_) | Verdict::Fault(_) => {
            if let (Some(quota), Verdict::Fault(_)) = (quota, verdict) {
                quota.report.value = Some(start);
            }
            return settle_unchanged(segment, before, verdict, sink);
        }
    };
    let (mut value, mut touched, mut granted) = (start, false, 0);
    let mut line = Line::new();
    let mut scratch = Vec::new();
    let all_granted = grants.is_none() && quota.is_none();
    for entry in &segment.entries {
        if entry.ask == EntryKind::Increment && all_granted {
            scratch.clear();
            for _ in 0..entry.member.operations() {
                value = value.wrapping_add(entry.delta());
                scratch.extend_from_slice(line.integer(value));
            }
            touched = true;
            sink(entry.member, Settled::Reply(&scratch));
            continue;
        }
        for member in each(entry) {
            if entry.ask == EntryKind::Increment {
                match grants.as_mut().map_or(Ok(()), Grants::next) {
                    Ok(()) => {
                        value = value.wrapping_add(entry.delta());
                        touched = true;
                        granted += 1;
                        sink(member, Settled::Reply(line.integer(value)));
                    }
                    Err(cause) => match (cause, &quota) {
                        (Some(cause), Some(quota)) => {
                            let limit = quota.report.limit_of(cause, quota.clamp);
                            sink(member, Settled::Refused(Refusal { cause, limit, value }));
                        }
                        _ => sink(member, Settled::Reply(error(&mut scratch, OVERFLOW))),
                    },
                }
            } else if touched {
                sink(member, Settled::Reply(line.bulk(value)));
            } else {
                scratch.clear();
                before.reply(entry.version, &mut scratch);
                sink(member, Settled::Reply(&scratch));
            }
        }
    }
    if let Some(quota) = &mut quota {
        quota.report.granted += granted;
        quota.report.value = Some(value);
    }
}

/// No increment took effect, and all for the same reason: each gets it, and a `GET` what stood there before.
fn settle_unchanged<M: Member>(
    segment: &Segment<M>,
    before: ValueBefore,
    verdict: &Verdict,
    sink: &mut impl FnMut(M, Settled),
) {
    let mut failure = Vec::new();
    let refused = match verdict {
        Verdict::Fault(text) => Settled::ClampError(text),
        Verdict::Failed(text) => Settled::Reply(error(&mut failure, text)),
        Verdict::All | Verdict::Some(_) => Settled::OutcomeUnknown(error(&mut failure, NOT_UNDERSTOOD)),
    };
    let mut scratch = Vec::new();
    for entry in &segment.entries {
        scratch.clear();
        before.reply(entry.version, &mut scratch);
        let found = ForAll::new(&scratch);
        let settled = if entry.ask == EntryKind::Increment { refused } else { found.settled() };
        each(entry).for_each(|member| sink(member, settled));
    }
}

/// Answers a run of `SET`s. If it failed, a `GET` finds what stood there before.
pub(super) fn settle_sets<M: Member>(
    segment: &Segment<M>,
    failed: Option<&[u8]>,
    before: ValueBefore,
    sink: &mut impl FnMut(M, Settled),
) {
    let mut failure = Vec::new();
    let set = failed.map_or(b"+OK\r\n".as_slice(), |text| error(&mut failure, text));
    let mut scratch = Vec::new();
    for entry in &segment.entries {
        scratch.clear();
        let reply = match (entry.ask, failed) {
            (EntryKind::Set, _) => set,
            (_, None) => {
                encode::bulk(&mut scratch, segment.value_at(entry));
                &scratch
            }
            (_, Some(_)) => {
                before.reply(entry.version, &mut scratch);
                &scratch
            }
        };
        let reply = ForAll::new(reply);
        each(entry).for_each(|member| sink(member, reply.settled()));
    }
}

/// Hands one reply to all who asked the same. Only the null is spelled differently for different members.
pub(super) fn settle_read<M: Member>(segment: &Segment<M>, reply: &[u8], sink: &mut impl FnMut(M, Settled)) {
    let null = matches!(reply, b"_\r\n" | b"$-1\r\n") && segment.needs_version().is_none();
    let reply = ForAll::new(reply);
    for entry in &segment.entries {
        let own = match entry.version {
            _ if !null => reply.settled(),
            RespVersion::Resp2 => Settled::Reply(b"$-1\r\n"),
            RespVersion::Resp3 => Settled::Reply(b"_\r\n"),
        };
        each(entry).for_each(|member| sink(member, own));
    }
}

/// A read that the script made: the spelled reply becomes a reply again.
pub(super) fn settle_spelled_read<M: Member>(
    segment: &Segment<M>,
    spelled: &[u8],
    sink: &mut impl FnMut(M, Settled),
) {
    let mut reply = Vec::with_capacity(spelled.len() + 16);
    match spelled.split_first() {
        Some((b'$', raw)) => encode::bulk(&mut reply, raw),
        Some((b'_', _)) => encode::null(&mut reply, RespVersion::Resp2),
        Some((b'-', text)) => encode::error(&mut reply, text),
        Some((b'+' | b':', _)) => {
            reply.extend_from_slice(spelled);
            reply.extend_from_slice(b"\r\n");
        }
        _ => return settle_unknown(segment, NOT_UNDERSTOOD, sink),
    }
    settle_read(segment, &reply, sink);
}

/// Tells every member the same error, which Redis has said.
pub(super) fn settle_error<M: Member>(segment: &Segment<M>, text: &[u8], sink: &mut impl FnMut(M, Settled)) {
    let mut reply = Vec::new();
    settle_alike(segment, Settled::Reply(error(&mut reply, text)), sink);
}

/// Tells every member the same error, since none of them was executed.
pub(super) fn settle_unsent<M: Member>(segment: &Segment<M>, text: &[u8], sink: &mut impl FnMut(M, Settled)) {
    let mut reply = Vec::new();
    settle_alike(segment, Settled::Unsent(error(&mut reply, text)), sink);
}

/// Tells every member the same error, since nobody knows what became of them.
pub(super) fn settle_unknown<M: Member>(
    segment: &Segment<M>,
    text: &[u8],
    sink: &mut impl FnMut(M, Settled),
) {
    let mut reply = Vec::new();
    settle_alike(segment, Settled::OutcomeUnknown(error(&mut reply, text)), sink);
}

fn settle_alike<M: Member>(segment: &Segment<M>, settled: Settled<'_>, sink: &mut impl FnMut(M, Settled)) {
    for entry in &segment.entries {
        each(entry).for_each(|member| sink(member, settled));
    }
}

pub(super) fn error<'a>(out: &'a mut Vec<u8>, text: &[u8]) -> &'a [u8] {
    out.clear();
    encode::error(out, text);
    out
}

/// The two replies that are made per member, in a buffer on the stack: this is the hot loop of combining.
struct Line {
    buffer: [u8; 32],
    digits: itoa::Buffer,
}

impl Line {
    fn new() -> Self {
        Self { buffer: [0; 32], digits: itoa::Buffer::new() }
    }

    #[inline]
    fn integer(&mut self, value: i64) -> &[u8] {
        let digits = self.digits.format(value).as_bytes();
        self.buffer[0] = b':';
        finish(&mut self.buffer, 1, digits)
    }

    #[inline]
    fn bulk(&mut self, value: i64) -> &[u8] {
        let digits = self.digits.format(value).as_bytes();
        let length = digits.len();
        self.buffer[0] = b'$';
        let start = if length < 10 {
            self.buffer[1] = b'0' + length as u8;
            2
        } else {
            self.buffer[1] = b'0' + (length / 10) as u8;
            self.buffer[2] = b'0' + (length % 10) as u8;
            3
        };
        self.buffer[start..start + 2].copy_from_slice(b"\r\n");
        finish(&mut self.buffer, start + 2, digits)
    }
}

#[inline]
fn finish<'a>(buffer: &'a mut [u8; 32], start: usize, digits: &[u8]) -> &'a [u8] {
    let end = start + digits.len();
    buffer[start..end].copy_from_slice(digits);
    buffer[end..end + 2].copy_from_slice(b"\r\n");
    &buffer[..end + 2]
}
