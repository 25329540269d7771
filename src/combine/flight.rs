//! The flush in flight: its form, its bytes, and what its replies mean.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{
    clamp::{Clamp, ClampReport},
    member::Member,
    queue::{Again, Settlement, TOKEN_TTL_MS},
    script::Call,
    segment::{Kind, Segment},
    settle::{
        Before, NOT_UNDERSTOOD, OVERFLOW, Quota, Settled, UNKNOWN, Verdict, settle_counter, settle_error,
        settle_read, settle_sets, settle_spelled_read,
    },
    wire::{encode_read, encode_write},
};
use crate::resp::{bulk_payload, elements, first_error, parse_integer_reply};

/// How the write of a flush goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As the one command that it folds into.
    Plain,
    /// As a call of the script, under a token or not.
    Script { sequence: Option<u64> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Made, and not yet given out.
    New,
    /// Given out; replies are awaited.
    Sent,
    /// To be given out again.
    Due,
}

#[derive(Debug)]
pub(super) struct Flight<M> {
    /// First the write, then reads.
    pub segments: Vec<Segment<M>>,
    /// How many of the segments are the write: one command for all of them.
    pub group: usize,
    pub state: State,
    /// An earlier sending of the write may have taken effect.
    pub doubtful: bool,
    pub first_sent_ns: u64,
    /// How many of the segments the last replies settled.
    pub settled: usize,
    form: Form,
    with_body: bool,
    clamp: Option<Arc<Clamp>>,
}

/// What the reply to the write of a flush means.
enum Written {
    Settled(Option<ClampReport>),
    Again(Again),
}

/// Redis has not looked at the command: another node would, or this one later. `READONLY` is not among them, since a
/// client of a single replica has to see it.
const ELSEWHERE: &[&[u8]] = &[b"MOVED ", b"ASK ", b"TRYAGAIN ", b"CLUSTERDOWN ", b"LOADING ", b"MASTERDOWN "];

impl<M: Member> Flight<M> {
    pub fn new(
        segments: Vec<Segment<M>>,
        group: usize,
        form: Form,
        clamp: Option<Arc<Clamp>>,
        now_ns: u64,
    ) -> Self {
        Self {
            segments,
            group,
            state: State::New,
            doubtful: false,
            first_sent_ns: now_ns,
            settled: 0,
            form,
            with_body: false,
            clamp,
        }
    }

    pub fn commands(&self) -> usize {
        usize::from(self.group > 0) + self.segments.len() - self.group
    }

    pub fn has_token(&self) -> bool {
        matches!(self.form, Form::Script { sequence: Some(_) })
    }

    pub fn encode(&self, key: &Bytes, companion: &Bytes, out: &mut BytesMut) {
        let (write, reads) = self.segments.split_at(self.group);
        match (self.form, write) {
            (_, []) => {}
            (Form::Plain, [only, ..]) => encode_write(key, only, out),
            (Form::Script { sequence }, steps) => Call {
                key,
                token: sequence.map(|sequence| (companion, sequence)),
                token_ttl_ms: TOKEN_TTL_MS,
                clamp: self.clamp.as_deref(),
                with_body: self.with_body,
            }
            .encode(steps, out),
        }
        for read in reads {
            encode_read(key, read, out);
        }
    }

    /// Settles from the front, up to the first command that has to be sent again. What stands behind it is sent again
    /// too, though it may have been answered: those are reads, and their answers are older than the write will be.
    pub fn settle(&mut self, replies: &[impl AsRef<[u8]>], sink: &mut impl FnMut(M, Settled)) -> Settlement {
        let mut settlement = Settlement::default();
        let mut index = 0;
        self.settled = 0;
        if self.group > 0 {
            let reply = replies.first().map_or(b"".as_slice(), AsRef::as_ref);
            match self.settle_write(reply, sink) {
                Written::Settled(report) => settlement.clamp = report,
                Written::Again(again) => {
                    settlement.again = Some(again);
                    return settlement;
                }
            }
            self.settled = self.group;
            self.group = 0;
            self.doubtful = false;
            index = 1;
        }
        for read in &self.segments[self.settled..] {
            let reply = replies.get(index).map_or(b"-ERR the reply is missing\r\n".as_slice(), AsRef::as_ref);
            if is_elsewhere(reply) {
                settlement.again = Some(Again::Elsewhere { reply: index });
                return settlement;
            }
            settle_read(read, reply, sink);
            self.settled += 1;
            index += 1;
        }
        settlement
    }

    fn settle_write(&mut self, reply: &[u8], sink: &mut impl FnMut(M, Settled)) -> Written {
        let error = first_error(reply);
        if is_elsewhere(reply) {
            return Written::Again(Again::Elsewhere { reply: 0 });
        }
        match (self.form, error) {
            (Form::Script { .. }, Some(text)) if text.starts_with(b"NOSCRIPT") && !self.with_body => {
                self.with_body = true;
                Written::Again(Again::NoScript)
            }
            (Form::Plain, Some(text)) if self.members_may_differ(text) => {
                self.form = Form::Script { sequence: None };
                Written::Again(Again::OneByOne)
            }
            (_, Some(text)) => {
                // An earlier sending may have been applied: then this refusal says nothing about that.
                self.refuse_all(if self.doubtful { UNKNOWN } else { text }, sink);
                Written::Settled(None)
            }
            _ if self.doubtful && self.is_refused_by_replica(reply) => {
                Written::Again(Again::Elsewhere { reply: 0 })
            }
            (Form::Plain, None) => {
                self.settle_plain(reply, sink);
                Written::Settled(None)
            }
            (Form::Script { .. }, None) => Written::Settled(self.settle_script(reply, sink)),
        }
    }

    /// Some step of the script was refused because the node only follows another. It may not know yet what an earlier
    /// sending did there.
    pub fn is_refused_by_replica(&self, reply: &[u8]) -> bool {
        let mut strings = elements(reply).into_iter().flatten().filter_map(bulk_payload);
        matches!(self.form, Form::Script { .. }) && strings.any(|text| text.starts_with(b"!READONLY"))
    }

    /// Whether a refused plain command can mean different things to its members: a `GET` among them needs the value
    /// that still stands there, and of several increments that overflow together some may fit.
    fn members_may_differ(&self, text: &[u8]) -> bool {
        let segment = &self.segments[0];
        segment.gets > 0 || (text == OVERFLOW && segment.fold.increments > 1)
    }

    /// Redis refused the write as a whole, before it looked at any part: `READONLY`, `NOAUTH`, `NOPERM`, ... Each
    /// member would have been refused alike.
    fn refuse_all(&self, text: &[u8], sink: &mut impl FnMut(M, Settled)) {
        for segment in &self.segments[..self.group] {
            settle_error(segment, text, sink);
        }
    }

    fn settle_plain(&self, reply: &[u8], sink: &mut impl FnMut(M, Settled)) {
        let segment = &self.segments[0];
        match (segment.kind, parse_integer_reply(reply)) {
            (Kind::Sets, _) => settle_sets(segment, None, Before::Null, sink),
            (_, Some(after)) => {
                let before = itoa::Buffer::new().format(after.wrapping_sub(segment.fold.sum)).to_owned();
                settle_counter(segment, Before::Raw(before.as_bytes()), &Verdict::All, None, sink);
            }
            (_, None) => settle_error(segment, NOT_UNDERSTOOD, sink),
        }
    }

    fn settle_script(&self, reply: &[u8], sink: &mut impl FnMut(M, Settled)) -> Option<ClampReport> {
        let mut quota = self.clamp.as_deref().map(|clamp| Quota { clamp, report: ClampReport::default() });
        let mut strings = elements(reply).into_iter().flatten().map_while(bulk_payload);
        for segment in &self.segments[..self.group] {
            let understood = settle_step(segment, &mut strings, quota.as_mut(), sink);
            if understood.is_none() {
                settle_error(segment, NOT_UNDERSTOOD, sink);
            }
        }
        quota.map(|quota| quota.report)
    }
}

/// Settles one step of the script from its strings. `None`, and nobody answered, if they are not what they should be.
fn settle_step<'a, M: Member>(
    segment: &Segment<M>,
    strings: &mut impl Iterator<Item = &'a [u8]>,
    quota: Option<&mut Quota>,
    sink: &mut impl FnMut(M, Settled),
) -> Option<()> {
    let first = strings.next()?;
    if !segment.is_write() {
        settle_spelled_read(segment, first, sink);
        return Some(());
    }
    let verdict = Verdict::parse(first)?;
    let before = Before::parse(strings.next()?)?;
    if segment.kind == Kind::Sets {
        let failed = if let Verdict::Failed(text) = verdict { Some(text) } else { None };
        settle_sets(segment, failed, before, sink);
        return Some(());
    }
    let mut quota = quota.filter(|_| segment.is_clampable());
    if let Some(quota) = &mut quota {
        quota.report.absorb(strings.next()?)?;
    }
    settle_counter(segment, before, &verdict, quota, sink);
    Some(())
}

pub(super) fn is_elsewhere(reply: &[u8]) -> bool {
    first_error(reply).is_some_and(|text| ELSEWHERE.iter().any(|prefix| text.starts_with(prefix)))
}
