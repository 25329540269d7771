//! The flush in flight: one sum, one token, and the meaning of its replies.

use bytes::{Bytes, BytesMut};

use super::gathered::Gathered;
use super::probe::{self, Remembered};
use crate::combine::{
    op::Op,
    retryable::is_retryable,
    script::{ScriptCall, TOKEN_TTL_MS},
    segment::Segment,
    settle::{NOT_UNDERSTOOD, OVERFLOW, UNKNOWN, ValueBefore, Verdict},
};
use crate::resp::{RespVersion, bulk_payload, elements, first_error, parse_integer};

/// How long Redis remembers a flush whose start is in the journal: a night's outage, of Redis or of the gateway, leaves no
/// doubt whether it has taken effect. It costs one small key per counter.
pub(super) const JOURNALED_TOKEN_TTL_MS: u64 = 24 * 3600 * 1000;

/// A flush in doubt is sent again for so long: at the latest, when the token of its first sending is half through its life.
fn retry_ns_max(token_ttl_ms: u64) -> u64 {
    token_ttl_ms * 1_000_000 / 2
}

/// How long Redis remembers a flush.
pub(super) fn token_ttl_ms(journal: bool) -> u64 {
    if journal { JOURNALED_TOKEN_TTL_MS } else { TOKEN_TTL_MS }
}

/// A flush to send. Ask for its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeltaFlush {
    /// Its token: later than all earlier ones of the key.
    pub token: u64,
    /// Its sum.
    pub sum: i64,
    /// How many deltas that is.
    pub count: usize,
    /// The sequence of the last of them.
    pub through: u64,
    /// It has been given out before. Then the journal has its record already.
    pub resend: bool,
}

/// A flush of a former process that may have taken effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushInDoubt {
    /// Its token.
    pub token: u64,
    /// Its sum.
    pub sum: i64,
    /// How many deltas that is.
    pub count: usize,
    /// How long ago it was first sent by the system's clock, in nanoseconds; `None` where that was in the future.
    pub age_ns: Option<u64>,
}

/// The pending deltas of a key that a former process left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The flush whose outcome nobody has learned.
    pub in_doubt: Option<FlushInDoubt>,
    /// The sum of the deltas behind it.
    pub sum: i64,
    /// How many they are.
    pub count: usize,
    /// The sequence of the last delta.
    pub sequence: u64,
}

/// Deltas that Redis does not have, or may not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loss {
    /// The token of their flush.
    pub token: u64,
    /// Their sum.
    pub sum: i64,
    /// How many they are.
    pub count: usize,
    /// Why: the text of an error, without the leading `-`.
    pub reason: String,
}

/// Why a flush has to be sent again under the same token, which [`super::Action::Flush`] will ask for. Pauses between
/// attempts are the owner's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Redis does not know the script: the resend carries its source.
    NoScript,
    /// Redis has been asked, and has surely not had it.
    Asked,
    /// A redirection, or the node cannot serve now.
    Elsewhere,
    /// Redis refused the call; this is its error.
    Refused(String),
}

/// The result of a flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlushOutcome {
    /// Redis has it.
    Applied {
        /// Its token.
        token: u64,
        /// Its sum.
        sum: i64,
        /// How many deltas that was.
        count: usize,
        /// The value after it.
        total: i64,
    },
    /// It surely has not taken effect, and its deltas gather again.
    Returned {
        /// Its token, which is not used again.
        token: u64,
        /// Why.
        reason: String,
    },
    /// Redis refused it for what the key holds.
    Lost(Loss),
    /// Its outcome cannot be found out any more.
    Unknown(Loss),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Sent,
    Due,
}

#[derive(Debug)]
pub(super) struct Flight {
    pub token: u64,
    pub sum: i64,
    pub count: usize,
    pub through: u64,
    pub oldest_ns: u64,
    /// An earlier sending may have taken effect.
    pub doubtful: bool,
    /// The total that it brings may be older than something that was told to somebody.
    pub overtaken: bool,
    deadline_ns: u64,
    token_ttl_ms: u64,
    state: State,
    sent_before: bool,
    with_body: bool,
    /// Redis is asked first whether it has had it.
    asks_first: bool,
}

/// The error of a flush that looks too old and that Redis does not remember.
const FORGOTTEN: &[u8] =
    b"ERR hotgate: outcome unknown: by this machine's clock the flush is older than half a day or of the future, and Redis remembers \
no flush of the counter; compare the counter with what it should be";

pub(super) enum Next {
    Send(DeltaFlush),
    Wait,
    Expired(FlushOutcome),
}

impl Flight {
    pub fn new(
        token: u64,
        Gathered { sum, count, oldest_ns }: Gathered,
        through: u64,
        token_ttl_ms: u64,
        now_ns: u64,
    ) -> Self {
        let deadline_ns = now_ns.saturating_add(retry_ns_max(token_ttl_ms));
        Self {
            token,
            sum,
            count,
            through,
            oldest_ns,
            doubtful: false,
            overtaken: false,
            deadline_ns,
            token_ttl_ms,
            state: State::Due,
            sent_before: false,
            with_body: false,
            asks_first: false,
        }
    }

    /// The deltas of this flush, as they were gathered.
    pub fn deltas(&self) -> Gathered {
        Gathered { sum: self.sum, count: self.count, oldest_ns: self.oldest_ns }
    }

    pub fn in_doubt(flush: FlushInDoubt, now_ns: u64, through: u64) -> Self {
        let FlushInDoubt { token, sum, count, age_ns } = flush;
        let deltas = Gathered { sum, count, oldest_ns: now_ns };
        let mut this = Self::new(token, deltas, through, JOURNALED_TOKEN_TTL_MS, now_ns);
        this.doubtful = true;
        this.sent_before = true;
        match age_ns.and_then(|age_ns| retry_ns_max(JOURNALED_TOKEN_TTL_MS).checked_sub(age_ns)) {
            Some(left_ns) => this.deadline_ns = now_ns.saturating_add(left_ns),
            // That is only what clocks say. Redis may know.
            None => this.asks_first = true,
        }
        this
    }

    pub fn send(&mut self) -> DeltaFlush {
        let resend = std::mem::replace(&mut self.sent_before, true);
        self.state = State::Sent;
        DeltaFlush { token: self.token, sum: self.sum, count: self.count, through: self.through, resend }
    }

    pub fn next(&mut self, now_ns: u64) -> Next {
        match self.state {
            State::Sent => Next::Wait,
            State::Due if now_ns <= self.deadline_ns => Next::Send(self.send()),
            State::Due if self.doubtful => Next::Expired(FlushOutcome::Unknown(self.loss(UNKNOWN))),
            State::Due => Next::Expired(self.returned(b"it could not be sent in time")),
        }
    }

    /// Whether it is to be sent.
    pub fn is_due(&self) -> bool {
        self.state == State::Due
    }

    /// Whether it may have taken effect: by an earlier sending, or by the one under way.
    pub fn may_have_landed(&self) -> bool {
        self.doubtful || !self.is_due()
    }

    pub fn resend(&mut self, doubtful: bool) {
        self.state = State::Due;
        self.doubtful |= doubtful;
    }

    pub fn encode(&self, key: &Bytes, companion: &Bytes, out: &mut BytesMut) {
        if self.asks_first {
            return probe::ask(companion, out);
        }
        let mut step = Segment::new();
        step.begin(&Op::Increment(self.sum), (), RespVersion::Resp2);
        ScriptCall {
            key,
            token: Some((companion, self.token)),
            token_ttl_ms: self.token_ttl_ms,
            sequence_digits: 0,
            clamp: None,
            short: false,
            with_body: self.with_body,
        }
        .encode(&[step], out);
    }

    /// The end of the flush, or why it has to be sent again.
    pub fn settle(&mut self, reply: &[u8]) -> Result<FlushOutcome, Retry> {
        if is_retryable(reply) {
            return self.again(Retry::Elsewhere);
        }
        match first_error(reply) {
            Some(text) if text.starts_with(b"NOSCRIPT") && !self.with_body => {
                self.with_body = true;
                self.again(Retry::NoScript)
            }
            // Only a later flush of this key can have made it stale, and that goes when this one is over.
            Some(text) if text.starts_with(b"STALE") => Ok(FlushOutcome::Unknown(self.loss(text))),
            Some(text) => self.again(Retry::Refused(printable(text))),
            None if self.asks_first => self.settle_question(reply),
            None => self.settle_script(reply),
        }
    }

    fn settle_question(&mut self, reply: &[u8]) -> Result<FlushOutcome, Retry> {
        Ok(match probe::read(reply, self.token) {
            Some(Remembered::This(before)) => match before.and_then(|before| before.checked_add(self.sum)) {
                Some(total) => {
                    FlushOutcome::Applied { token: self.token, sum: self.sum, count: self.count, total }
                }
                None => FlushOutcome::Unknown(self.loss(NOT_UNDERSTOOD)),
            },
            Some(Remembered::Earlier) => {
                self.asks_first = false;
                return self.again(Retry::Asked);
            }
            Some(Remembered::Later) => FlushOutcome::Unknown(self.loss(b"STALE a later flush was applied")),
            Some(Remembered::Nothing) => FlushOutcome::Unknown(self.loss(FORGOTTEN)),
            None => FlushOutcome::Unknown(self.loss(NOT_UNDERSTOOD)),
        })
    }

    fn settle_script(&mut self, reply: &[u8]) -> Result<FlushOutcome, Retry> {
        let mut strings = elements(reply).into_iter().flatten().map_while(bulk_payload);
        let verdict = strings.next().and_then(Verdict::parse);
        let before = strings.next().and_then(ValueBefore::parse);
        let all = match verdict {
            Some(Verdict::All) => true,
            Some(Verdict::Some(counts)) => match counts.as_slice() {
                [(1, None)] => true,
                [(0, None)] => return Ok(FlushOutcome::Lost(self.loss(OVERFLOW))),
                _ => false,
            },
            Some(Verdict::Failed(text)) => return self.refused(text),
            Some(Verdict::Fault(_)) | None => false,
        };
        let total = before.and_then(integer).and_then(|before| before.checked_add(self.sum));
        Ok(match total.filter(|_| all) {
            Some(total) => {
                FlushOutcome::Applied { token: self.token, sum: self.sum, count: self.count, total }
            }
            None => FlushOutcome::Unknown(self.loss(NOT_UNDERSTOOD)),
        })
    }

    /// The script ran under this token, and Redis refused the increment in it.
    fn refused(&mut self, text: &[u8]) -> Result<FlushOutcome, Retry> {
        let for_good = [b"WRONGTYPE".as_slice(), b"ERR value is not an integer", OVERFLOW];
        if for_good.iter().any(|prefix| text.starts_with(prefix)) {
            return Ok(FlushOutcome::Lost(self.loss(text)));
        }
        if self.doubtful {
            // A sending that is still under way must find this token and no later one: it may be applied yet, or have
            // been where the node that answered has not heard of it.
            return self.again(Retry::Refused(printable(text)));
        }
        Ok(self.returned(text))
    }

    fn again(&mut self, retry: Retry) -> Result<FlushOutcome, Retry> {
        self.state = State::Due;
        Err(retry)
    }

    fn returned(&self, reason: &[u8]) -> FlushOutcome {
        FlushOutcome::Returned { token: self.token, reason: printable(reason) }
    }

    fn loss(&self, reason: &[u8]) -> Loss {
        Loss { token: self.token, sum: self.sum, count: self.count, reason: printable(reason) }
    }
}

fn integer(before: ValueBefore) -> Option<i64> {
    match before {
        ValueBefore::Null => Some(0),
        ValueBefore::Raw(raw) => parse_integer(raw),
        ValueBefore::Error(_) => None,
    }
}

fn printable(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}
