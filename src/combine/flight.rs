//! The flush in flight: its form, its bytes, and the meaning of its replies.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::{
    clamp::{CLAMP_VALUE_MAX, Clamp, ClampReport, Consumes},
    member::Member,
    plain::{self, FlushReplies},
    refusals::Refusals,
    retryable::is_retryable,
    rights::RightsLearned,
    script::{SHORT_DIGITS, ScriptCall, TOKEN_TTL_MS, goes_short},
    segment::{Kind, Segment},
    settle::{
        NOT_UNDERSTOOD, Quota, Settled, UNKNOWN, ValueBefore, Verdict, settle_counter, settle_error,
        settle_sets, settle_spelled_read, settle_unknown,
    },
    terms::{Again, Settlement},
    wire::encode_segment,
};
use crate::resp::{bulk_payload, elements, first_error, parse_integer_reply};

/// How the first segments of a flush go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FlushForm {
    /// As the commands that they fold into.
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
    /// First what the script does, then what goes without it.
    pub segments: Vec<Segment<M>>,
    /// How many of the segments the script does: one command for all of them.
    pub group: usize,
    pub state: State,
    /// An earlier sending of the write may have taken effect.
    pub doubtful: bool,
    pub first_sent_ns: u64,
    /// Segments that are settled, to be used again.
    pub finished: Vec<Segment<M>>,
    /// The value of the counter behind the last write, if there was a write; nothing in it where that is not known.
    pub value: Option<Option<i64>>,
    /// Whether the field that was incremented last is near zero.
    pub hash_is_calm: Option<bool>,
    /// Its writes may have moved fields of a hash far.
    pub fields_are_moved: bool,
    /// The rights that its replies showed.
    pub rights_learned: RightsLearned,
    /// Its folds that were refused and left members untold.
    pub refusals: Refusals,
    /// Its write is told in short, and its companion keeps the time to live that it has.
    pub short: bool,
    /// The short form did not do, and changed nothing.
    pub unusual: bool,
    /// Its write was answered, and its token was remembered for the full time.
    pub renewed: bool,
    form: FlushForm,
    with_body: bool,
    clamp: Option<Arc<Clamp>>,
}

/// The meaning of the reply to the write of a flush.
enum Written {
    Settled(Option<ClampReport>),
    Again(Again),
}

impl<M: Member> Flight<M> {
    pub fn new(
        segments: Vec<Segment<M>>,
        group: usize,
        form: FlushForm,
        clamp: Option<Arc<Clamp>>,
        now_ns: u64,
    ) -> Self {
        Self {
            segments,
            group,
            state: State::New,
            doubtful: false,
            first_sent_ns: now_ns,
            finished: Vec::new(),
            value: None,
            hash_is_calm: None,
            fields_are_moved: false,
            rights_learned: RightsLearned::default(),
            refusals: Refusals::default(),
            short: false,
            unusual: false,
            renewed: false,
            form,
            with_body: false,
            clamp,
        }
    }

    pub fn commands(&self) -> usize {
        let plain = self.segments[self.group..].iter().map(Segment::commands).sum::<usize>();
        usize::from(self.group > 0) + plain
    }

    pub fn has_token(&self) -> bool {
        matches!(self.form, FlushForm::Script { sequence: Some(_) })
    }

    /// Whether its write may be told in short.
    pub fn may_go_short(&self) -> bool {
        self.has_token() && self.clamp.is_none() && goes_short(&self.segments[..self.group])
    }

    /// It is due, and nothing of it can have taken effect.
    pub fn is_unsent(&self) -> bool {
        self.state == State::Due && self.group > 0 && !self.doubtful
    }

    /// The most that its write may take from a quota.
    pub fn units(&self, consumes: Consumes) -> i64 {
        let takes = |delta: i64| if consumes == Consumes::Up { delta } else { delta.saturating_neg() }.max(0);
        let of = |&(delta, times): &(i64, u32)| takes(delta).saturating_mul(i64::from(times));
        let runs = self.segments[..self.group].iter().filter(|segment| segment.is_clampable());
        runs.flat_map(|segment| &segment.fold.runs).map(of).fold(0, i64::saturating_add).min(CLAMP_VALUE_MAX)
    }

    /// It goes with this clamp and without a token.
    pub fn go_with(&mut self, clamp: Arc<Clamp>) {
        (self.form, self.short) = (FlushForm::Script { sequence: None }, false);
        self.clamp = Some(clamp);
    }

    /// Operations that it holds.
    pub fn operations(&self) -> usize {
        self.segments.iter().map(|segment| segment.operations).sum()
    }

    pub fn encode(&self, key: &Bytes, companion: &Bytes, out: &mut BytesMut) {
        let (write, others) = self.segments.split_at(self.group);
        if let (FlushForm::Script { sequence }, [_, ..]) = (self.form, write) {
            ScriptCall {
                key,
                token: sequence.map(|sequence| (companion, sequence)),
                token_ttl_ms: TOKEN_TTL_MS,
                sequence_digits: SHORT_DIGITS,
                clamp: self.clamp.as_deref(),
                short: self.short,
                with_body: self.with_body,
            }
            .encode(write, out);
        }
        for segment in others {
            encode_segment(key, segment, out);
        }
    }

    /// Settles what the replies decide; what has to be sent again stays. Of what stands behind a call of the script that is to
    /// be made again, nothing is settled: those are reads, and their answers are older than the write will be.
    pub fn settle<R: AsRef<[u8]>>(
        &mut self,
        received: &FlushReplies<R>,
        sink: &mut impl FnMut(M, Settled),
    ) -> Settlement {
        let mut settlement = Settlement::default();
        let mut first = 0;
        if self.group > 0 {
            let reply = received.replies.first().map_or(b"".as_slice(), AsRef::as_ref);
            match self.settle_write(reply, sink) {
                Written::Settled(report) => settlement.clamp = report,
                Written::Again(again) => {
                    settlement.again = Some(again);
                    return settlement;
                }
            }
            self.end_write();
            first = 1;
        }
        let outcome = plain::settle(&mut self.segments, first, received, &mut self.finished, sink);
        (settlement.again, settlement.denied) = (outcome.again, outcome.denied);
        settlement.script = outcome.script;
        (self.rights_learned, self.refusals) = (outcome.rights_learned, outcome.refusals);
        self.hash_is_calm = outcome.hash_is_calm.or(self.hash_is_calm);
        self.fields_are_moved |= outcome.fields_are_moved;
        if outcome.written {
            self.value = Some(outcome.value);
        }
        settlement
    }

    /// The connection was lost. `may_retry` says that a token is still remembered.
    pub fn lose<R: AsRef<[u8]>>(
        &mut self,
        received: &FlushReplies<R>,
        may_retry: bool,
        sink: &mut impl FnMut(M, Settled),
    ) -> Settlement {
        if self.group == 0 || !received.replies.is_empty() {
            return self.settle(received, sink);
        }
        let unsent = received.lost.is_some_and(|unsent| unsent >= received.commands);
        let retries = self.has_token() && may_retry;
        if !(unsent || retries) {
            self.lose_write(sink);
        }
        self.doubtful |= !unsent && self.group > 0;
        Settlement::default()
    }

    /// The write is settled, and what is left are reads.
    fn end_write(&mut self) {
        self.finished.extend(self.segments.drain(..self.group));
        self.group = 0;
        self.doubtful = false;
    }

    /// The write is lost, and nobody knows what became of it. The reads among it go again by themselves.
    fn lose_write(&mut self, sink: &mut impl FnMut(M, Settled)) {
        for mut segment in std::mem::take(&mut self.segments) {
            if self.group > 0 {
                self.group -= 1;
                if segment.is_write() {
                    let writes = segment.take_writes();
                    settle_unknown(&writes, UNKNOWN, sink);
                }
            }
            let to = if segment.operations > 0 { &mut self.segments } else { &mut self.finished };
            to.push(segment);
        }
        self.doubtful = false;
    }

    fn settle_write(&mut self, reply: &[u8], sink: &mut impl FnMut(M, Settled)) -> Written {
        let error = first_error(reply);
        if is_retryable(reply) {
            return Written::Again(Again::Elsewhere { reply: 0 });
        }
        match error {
            Some(text) if text.starts_with(b"NOSCRIPT") && !self.with_body => {
                self.with_body = true;
                Written::Again(Again::NoScript)
            }
            Some(text) if self.short && text.starts_with(b"UNUSUAL ") => {
                (self.short, self.unusual) = (false, true);
                Written::Again(Again::OneByOne)
            }
            Some(text) => {
                match self.doubtful {
                    // An earlier sending may have been applied: this refusal says nothing about that.
                    true => self.give_up_write(sink),
                    false => self.refuse_all(text, sink),
                }
                Written::Settled(None)
            }
            None if self.doubtful && self.is_refused_by_replica(reply) => {
                Written::Again(Again::Elsewhere { reply: 0 })
            }
            None => {
                self.renewed = self.has_token() && !self.short;
                Written::Settled(match self.short {
                    true => self.settle_short(reply, sink),
                    false => self.settle_script(reply, sink),
                })
            }
        }
    }

    /// Some step of the script was refused because the node only follows another. It may not know yet what an earlier
    /// sending did there.
    pub fn is_refused_by_replica(&self, reply: &[u8]) -> bool {
        let mut strings = elements(reply).into_iter().flatten().filter_map(bulk_payload);
        matches!(self.form, FlushForm::Script { .. }) && strings.any(|text| text.starts_with(b"!READONLY"))
    }

    /// Redis refused the write as a whole, before it looked at any part: `READONLY`, `NOAUTH`, `NOPERM`, ... Each
    /// member would have been refused alike.
    fn refuse_all(&self, text: &[u8], sink: &mut impl FnMut(M, Settled)) {
        for segment in &self.segments[..self.group] {
            settle_error(segment, text, sink);
        }
    }

    /// Nobody knows what became of the write.
    fn give_up_write(&self, sink: &mut impl FnMut(M, Settled)) {
        for segment in &self.segments[..self.group] {
            settle_unknown(segment, UNKNOWN, sink);
        }
    }

    /// Settles the one step of a short call: its reply is the value behind it.
    fn settle_short(&self, reply: &[u8], sink: &mut impl FnMut(M, Settled)) -> Option<ClampReport> {
        for segment in &self.segments[..self.group] {
            match parse_integer_reply(reply).and_then(|after| after.checked_sub(segment.fold.sum)) {
                Some(before) => {
                    let digits = itoa::Buffer::new().format(before).to_owned();
                    let before = ValueBefore::Raw(digits.as_bytes());
                    settle_counter(segment, before, &Verdict::All, None, sink);
                }
                None => settle_unknown(segment, NOT_UNDERSTOOD, sink),
            }
        }
        None
    }

    fn settle_script(&self, reply: &[u8], sink: &mut impl FnMut(M, Settled)) -> Option<ClampReport> {
        let mut quota = self.clamp.as_deref().map(|clamp| Quota { clamp, report: ClampReport::default() });
        let mut strings = elements(reply).into_iter().flatten().map_while(bulk_payload);
        for segment in &self.segments[..self.group] {
            let understood = settle_step(segment, &mut strings, quota.as_mut(), sink);
            if understood.is_none() {
                settle_unknown(segment, NOT_UNDERSTOOD, sink);
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
    let before = ValueBefore::parse(strings.next()?)?;
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
