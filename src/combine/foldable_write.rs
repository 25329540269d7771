//! Which writes fold by their forms: the reading of their arguments.
//!
//! Owns what of `SET`, `EXPIRE` and the others is understood. What Redis would refuse, or might, is not: a request whose options,
//! numbers or arguments are not plainly right is `None`, goes the ordinary way, and gets Redis's own answer.

use super::write_form::{Claim, FieldWrite, Overwrite, PushVerb, WriteForm};
use crate::resp::{Request, parse_integer};

/// Milliseconds of a time to live, or of a point in time, up to which nothing overflows in Redis: three hundred years.
const TIME_MS_MAX: i64 = 10_000_000_000_000;

/// A command whose writes fold by their form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FoldableWrite {
    /// `EXPIRE key seconds [option]`
    Expire,
    /// `PEXPIRE key milliseconds [option]`
    Pexpire,
    /// `EXPIREAT key time [option]`
    Expireat,
    /// `PEXPIREAT key time [option]`
    Pexpireat,
    /// `SETEX key seconds value`
    Setex,
    /// `PSETEX key milliseconds value`
    Psetex,
    /// `SETNX key value`
    Setnx,
    /// `HSET`, `HMSET`, `HSETNX`, `ZADD`
    Fields(FieldWrite),
    /// `LPUSH`, `RPUSH`, `LPUSHX`, `RPUSHX`
    Push(PushVerb),
    /// Of equal ones the second changes nothing, with this many arguments or more: `SADD`, `SREM`, `PFADD`, `HDEL`, `ZREM`.
    Once(usize),
    /// `PERSIST key`
    Persist,
}

impl FoldableWrite {
    /// The command of this name, in upper case.
    pub(super) fn by_name(upper: &[u8]) -> Option<Self> {
        Some(match upper {
            b"EXPIRE" => Self::Expire,
            b"PEXPIRE" => Self::Pexpire,
            b"EXPIREAT" => Self::Expireat,
            b"PEXPIREAT" => Self::Pexpireat,
            b"PERSIST" => Self::Persist,
            b"SETEX" => Self::Setex,
            b"PSETEX" => Self::Psetex,
            b"SETNX" => Self::Setnx,
            b"HSET" => Self::Fields(FieldWrite::Hset),
            b"HMSET" => Self::Fields(FieldWrite::Hmset),
            b"HSETNX" => Self::Fields(FieldWrite::Hsetnx),
            b"ZADD" => Self::Fields(FieldWrite::Zadd),
            b"LPUSH" => Self::Push(PushVerb::Lpush),
            b"RPUSH" => Self::Push(PushVerb::Rpush),
            b"LPUSHX" => Self::Push(PushVerb::Lpushx),
            b"RPUSHX" => Self::Push(PushVerb::Rpushx),
            b"SADD" | b"SREM" | b"HDEL" | b"ZREM" => Self::Once(3),
            b"PFADD" => Self::Once(2),
            _ => return None,
        })
    }

    /// The form of a request of this command; `None` if it does not fold.
    pub(super) fn form(self, request: &Request<'_>) -> Option<WriteForm> {
        let arguments = request.len();
        Some(match self {
            Self::Expire => relative(request, 1000, Overwrite::Expire, Overwrite::ExpireExisting)?,
            Self::Pexpire => relative(request, 1, Overwrite::Pexpire, Overwrite::PexpireExisting)?,
            Self::Expireat => absolute(request, 1000)?,
            Self::Pexpireat => absolute(request, 1)?,
            Self::Persist => (arguments == 2).then_some(WriteForm::Once)?,
            Self::Setex | Self::Psetex => {
                let (unit_ms, overwrite) = match self {
                    Self::Setex => (1000, Overwrite::Setex),
                    _ => (1, Overwrite::Psetex),
                };
                (arguments == 4 && is_time(request.arg(2)?, unit_ms)).then_some(WriteForm::Last(overwrite))?
            }
            Self::Setnx => (arguments == 3).then_some(WriteForm::First(Claim::Setnx))?,
            Self::Fields(FieldWrite::Zadd) => sorted_set(request)?,
            Self::Fields(FieldWrite::Hsetnx) => {
                (arguments == 4).then_some(WriteForm::Fields(FieldWrite::Hsetnx))?
            }
            Self::Fields(write) => {
                (arguments >= 4 && arguments.is_multiple_of(2)).then_some(WriteForm::Fields(write))?
            }
            Self::Push(verb) => (arguments >= 3).then_some(WriteForm::Push(verb))?,
            Self::Once(least) => (arguments >= least).then_some(WriteForm::Once)?,
        })
    }
}

/// `SET` with options. `GET` among them makes each reply depend on the value before.
pub(super) fn set_with_options(request: &Request<'_>) -> Option<WriteForm> {
    let mut options = request.args().skip(3);
    let (mut keeps, mut at, mut condition) = (None, false, None);
    while let Some(option) = options.next() {
        let option = option.to_ascii_uppercase();
        match option.as_slice() {
            b"EX" | b"PX" | b"EXAT" | b"PXAT" if keeps.is_none() => {
                let unit_ms = if option[0] == b'E' { 1000 } else { 1 };
                is_time(options.next()?, unit_ms).then_some(())?;
                (keeps, at) = (Some(false), option.len() == 4);
            }
            b"KEEPTTL" if keeps.is_none() => keeps = Some(true),
            b"NX" | b"XX" if condition.is_none() => condition = Some(option[0] == b'X'),
            _ => return None,
        }
    }
    let keeps = keeps == Some(true);
    Some(match condition {
        // A point in time may be past: then the key is gone for the one behind it.
        Some(_) if at => return None,
        Some(false) => WriteForm::First(Claim::SetNew),
        Some(true) if keeps => WriteForm::Last(Overwrite::SetExistingKeepTtl),
        Some(true) => WriteForm::Last(Overwrite::SetExisting),
        None if keeps => WriteForm::Last(Overwrite::SetKeepTtl),
        None => WriteForm::Last(Overwrite::Set),
    })
}

/// A positive number of seconds or milliseconds that Redis takes.
fn is_time(text: &[u8], unit_ms: i64) -> bool {
    parse_integer(text).is_some_and(|time| (1..=TIME_MS_MAX / unit_ms).contains(&time))
}

/// `EXPIRE` and `PEXPIRE`.
fn relative(
    request: &Request<'_>,
    unit_ms: i64,
    always: Overwrite,
    if_existing: Overwrite,
) -> Option<WriteForm> {
    is_time(request.arg(2)?, unit_ms).then_some(())?;
    Some(match condition(request)? {
        Condition::None => WriteForm::Last(always),
        Condition::Existing => WriteForm::Last(if_existing),
        Condition::Once => WriteForm::Once,
    })
}

/// `EXPIREAT` and `PEXPIREAT`: where the reply does not tell whether the key is gone, each goes by itself.
fn absolute(request: &Request<'_>, unit_ms: i64) -> Option<WriteForm> {
    is_time(request.arg(2)?, unit_ms).then_some(())?;
    Some(match condition(request)? {
        Condition::None | Condition::Existing => WriteForm::Alone,
        Condition::Once => WriteForm::Once,
    })
}

enum Condition {
    None,
    /// `XX`: holds for the second if it holds for the first.
    Existing,
    /// `NX`, `GT`, `LT`: does not hold for the second.
    Once,
}

fn condition(request: &Request<'_>) -> Option<Condition> {
    let (mut existing, mut once) = (false, false);
    for option in request.args().skip(3) {
        match option.to_ascii_uppercase().as_slice() {
            b"XX" if !existing => existing = true,
            b"NX" if request.len() == 4 => once = true,
            b"GT" | b"LT" if !once => once = true,
            _ => return None,
        }
    }
    Some(match (existing, once) {
        (_, true) => Condition::Once,
        (true, false) => Condition::Existing,
        (false, false) => Condition::None,
    })
}

/// `ZADD`: plain scores are overwritten; with options equal requests fold, but for `INCR`.
fn sorted_set(request: &Request<'_>) -> Option<WriteForm> {
    let arguments = request.len();
    let is_plain = arguments >= 4 && arguments.is_multiple_of(2);
    if is_plain && request.args().skip(2).step_by(2).all(is_score) {
        return Some(WriteForm::Fields(FieldWrite::Zadd));
    }
    let increments = request.args().skip(2).any(|word| word.eq_ignore_ascii_case(b"INCR"));
    (arguments >= 4 && !increments).then_some(WriteForm::Once)
}

/// A number that every server reads as one: digits, perhaps a sign before and a point between them.
fn is_score(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let mut parts = digits.splitn(2, |byte| *byte == b'.');
    let is_number = |part: &[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    text.len() <= 32 && parts.next().is_some_and(is_number) && parts.next().is_none_or(is_number)
}
