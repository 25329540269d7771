//! What the hot script returns: a result for each operation, and the state of the sale.
//!
//! Owns the spelling that `reserve.lua` documents. Deliberately copies nothing: results borrow the reply.

use super::refusal::Refusal;
use crate::resp::{Elements, bulk_payload, elements, parse_integer};

/// What became of a holding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldingState {
    /// Some of its places wait to be confirmed.
    Held,
    /// All its places are final.
    Confirmed,
    /// It was given back by this operation.
    Cancelled,
    /// It is in another sale now.
    Moved,
    /// What this id got was given back, or its time was over.
    Ended,
}

impl HoldingState {
    /// Its word in replies.
    pub fn word(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Confirmed => "confirmed",
            Self::Cancelled => "cancelled",
            Self::Moved => "moved",
            Self::Ended => "ended",
        }
    }

    pub(super) fn parse(word: &[u8]) -> Option<Self> {
        [Self::Held, Self::Confirmed, Self::Cancelled, Self::Moved, Self::Ended]
            .into_iter()
            .find(|state| state.word().as_bytes() == word)
    }
}

/// The result of one operation.
#[derive(Clone, Debug, PartialEq)]
pub enum OpResult<'a> {
    /// What the user has now.
    Holding {
        /// What became of it.
        state: HoldingState,
        /// Its place in line.
        seq: i64,
        /// How many places it has.
        count: i64,
        /// How many places are left in the sale.
        remaining: i64,
        /// When what is held ends, in unix time; 0 where nothing is held.
        expires_ms: i64,
    },
    /// The user has nothing.
    Nothing,
    /// It was refused, and nothing changed.
    Refused(Refusal<'a>),
    /// Nothing was done for it: its holding is being moved, or more holds are over than one call may take back. Send it again.
    TryAgain,
    /// Of [`super::OpKind::Info`].
    Figures(Figures<'a>),
    /// Of [`super::OpKind::Bucket`].
    Bucket {
        /// How many buckets there are.
        buckets: i64,
        /// The raw names of the users in it.
        users: Elements<'a>,
    },
}

/// The figures of a sale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures<'a> {
    /// What it does now.
    pub phase: SalePhase,
    /// How many places it has.
    pub limit: i64,
    /// How many of them are held or confirmed.
    pub taken: i64,
    /// How many wait to be confirmed.
    pub held: i64,
    /// How many are final.
    pub confirmed: i64,
    /// How many went to another sale.
    pub moved: i64,
    /// How many users have places.
    pub holders: i64,
    /// The last place in line.
    pub seq: i64,
    /// How many places a user may have.
    pub per_user: i64,
    /// From when on; 0 for none.
    pub start_ms: i64,
    /// Until when; 0 for none.
    pub end_ms: i64,
    /// How long a place is held; 0 for none.
    pub hold_ms: i64,
    /// Whether there is a ledger.
    pub ledger: bool,
    /// Places given per second, smoothed over ten seconds.
    pub rate: f64,
    /// The sale whose holders alone may take places; empty for none.
    pub holders_of: &'a [u8],
    /// Where it went; empty if nowhere.
    pub moving_to: &'a [u8],
}

/// What a sale does with an ADD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SalePhase {
    /// There is no such sale.
    None,
    /// It gives places.
    Open,
    /// It will.
    NotOpen,
    /// All are taken.
    SoldOut,
    /// It was closed.
    Closed,
    /// Its END is over.
    Ended,
    /// It moves, or moved, to another sale.
    Moved,
}

impl SalePhase {
    /// Its word in replies.
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Open => "open",
            Self::NotOpen => "notopen",
            Self::SoldOut => "soldout",
            Self::Closed => "closed",
            Self::Ended => "ended",
            Self::Moved => "moved",
        }
    }

    fn parse(word: &[u8]) -> Option<Self> {
        [Self::None, Self::Open, Self::NotOpen, Self::SoldOut, Self::Closed, Self::Ended, Self::Moved]
            .into_iter()
            .find(|phase| phase.word().as_bytes() == word)
    }
}

/// The state of the sale behind the flush: what may be refused without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaleState<'a> {
    /// What it does with an ADD.
    pub phase: SalePhase,
    /// How many places are taken.
    pub taken: i64,
    /// How many of them wait to be confirmed.
    pub held: i64,
    /// Of so many.
    pub limit: i64,
    /// The last place in line: while it stays, no new user holds anything.
    pub seq: i64,
    /// From when on; 0 for none.
    pub start_ms: i64,
    /// Until when; 0 for none.
    pub end_ms: i64,
    /// How many buckets the holders are in.
    pub buckets: i64,
    /// Redis's clock, in unix time.
    pub now_ms: i64,
    /// More holds are over than this call took back: call again at once.
    pub more: bool,
    /// Where it went; empty if nowhere.
    pub moving_to: &'a [u8],
}

/// The reply to a flush.
#[derive(Clone, Debug)]
pub struct FlushResults<'a> {
    ops: Elements<'a>,
    /// The sale behind the last operation.
    pub state: SaleState<'a>,
}

impl<'a> FlushResults<'a> {
    /// Reads the reply to a call of `ops` operations. `None` if it is none: an error, or nothing that the script returns.
    pub fn parse(reply: &'a [u8], ops: usize) -> Option<Self> {
        let all = elements(reply)?;
        if all.len() != ops + 1 {
            return None;
        }
        let state = SaleState::parse(bulk_payload(all.clone().last()?)?)?;
        Some(Self { ops: all, state })
    }
}

impl<'a> Iterator for FlushResults<'a> {
    type Item = OpResult<'a>;

    /// The result of the next operation; `None` behind the last, and for what the script never returns.
    fn next(&mut self) -> Option<OpResult<'a>> {
        if self.ops.len() <= 1 {
            return None;
        }
        OpResult::parse(self.ops.next()?)
    }
}

impl<'a> OpResult<'a> {
    fn parse(element: &'a [u8]) -> Option<Self> {
        if let Some(mut names) = elements(element) {
            let buckets = parse_integer(bulk_payload(names.next()?)?)?;
            return Some(Self::Bucket { buckets, users: names });
        }
        let (kind, rest) = bulk_payload(element)?.split_first()?;
        match kind {
            b'_' => Some(Self::Nothing),
            b'~' => Some(Self::TryAgain),
            b'-' => Refusal::parse(rest).map(Self::Refused),
            b'%' => Figures::parse(rest).map(Self::Figures),
            b'=' => {
                let mut words = rest.split(|byte| *byte == b' ');
                let state = HoldingState::parse(words.next()?)?;
                let mut number = || parse_integer(words.next()?);
                let (seq, count) = (number()?, number()?);
                let (remaining, expires_ms) = (number()?, number()?);
                Some(Self::Holding { state, seq, count, remaining, expires_ms })
            }
            _ => None,
        }
    }
}

impl<'a> Figures<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        // The names of other sales stand last, and may hold anything but are never both there with a line end.
        let mut words = text.splitn(16, |byte| *byte == b'\n');
        let phase = SalePhase::parse(words.next()?)?;
        let mut number = || parse_integer(words.next()?);
        Some(Self {
            phase,
            limit: number()?,
            taken: number()?,
            held: number()?,
            confirmed: number()?,
            moved: number()?,
            holders: number()?,
            seq: number()?,
            per_user: number()?,
            start_ms: number()?,
            end_ms: number()?,
            hold_ms: number()?,
            ledger: number()? == 1,
            rate: std::str::from_utf8(words.next()?).ok()?.parse().ok()?,
            holders_of: words.next()?,
            moving_to: words.next()?,
        })
    }

    /// In how many milliseconds the last place is gone at this rate; `None` if never, and where none is given.
    pub fn sell_out_ms(&self) -> Option<i64> {
        let left = (self.limit - self.taken).max(0) as f64;
        (self.phase == SalePhase::Open && self.rate > 0.001).then(|| (left / self.rate * 1000.0) as i64)
    }
}

impl<'a> SaleState<'a> {
    fn parse(text: &'a [u8]) -> Option<Self> {
        let mut words = text.splitn(11, |byte| *byte == b' ');
        let phase = SalePhase::parse(words.next()?)?;
        let mut number = || parse_integer(words.next()?);
        Some(Self {
            phase,
            taken: number()?,
            held: number()?,
            limit: number()?,
            seq: number()?,
            start_ms: number()?,
            end_ms: number()?,
            buckets: number()?,
            now_ms: number()?,
            more: number()? == 1,
            moving_to: words.next()?,
        })
    }
}

/// Whether the error reply to any script of a sale says that its keys are on two nodes, so that the call goes again after a while. Nothing was
/// changed.
pub fn is_try_again(error: &[u8]) -> bool {
    error.starts_with(b"TRYAGAIN")
}

#[cfg(test)]
#[path = "result_tests.rs"]
mod tests;
