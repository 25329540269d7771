//! Asks Redis whether a flush took effect, by the companion key of the counter.
//!
//! The next process may send a flush of the last one again under its token, as long as Redis surely remembers that token. If a clock
//! was set, the flush looks older than that. Then Redis is asked before anything is sent. The companion key holds the
//! token of the last flush that took effect, and lives one day. If it holds this gateway's token, or an earlier one, that is an
//! answer. No key is no answer.

use bytes::{Bytes, BytesMut};

use crate::combine::settle::ValueBefore;
use crate::resp::{bulk_payload, encode, parse_integer};

/// What Redis remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remembered {
    /// It has had it; the value that the counter had before, where that can be read.
    This(Option<i64>),
    /// An earlier flush was the last, so this one has never taken effect.
    Earlier,
    /// A later flush has taken effect since.
    Later,
    /// No flush, or none any more.
    Nothing,
}

/// The request.
pub(super) fn ask(companion: &Bytes, out: &mut BytesMut) {
    encode::command(out, &[b"GET".as_slice(), companion]);
}

/// Reads the reply, which is no error. `None` when it can't be understood.
pub(super) fn read(reply: &[u8], token: u64) -> Option<Remembered> {
    if reply.starts_with(b"$-1") || reply.starts_with(b"_") {
        return Some(Remembered::Nothing);
    }
    let remembered = bulk_payload(reply)?;
    let space = remembered.iter().position(|byte| *byte == b' ')?;
    let last = u64::try_from(parse_integer(&remembered[..space])?).ok()?;
    Some(match last.cmp(&token) {
        std::cmp::Ordering::Less => Remembered::Earlier,
        std::cmp::Ordering::Greater => Remembered::Later,
        std::cmp::Ordering::Equal => Remembered::This(value_before(&remembered[space + 1..])),
    })
}

/// The script's reply to a flush of one sum, as `cmsgpack` packs it: two strings, `=` and the value before.
fn value_before(packed: &[u8]) -> Option<i64> {
    let (length, spelled) = packed.strip_prefix(b"\x92\xa1=")?.split_first()?;
    (usize::from(length & 0x1f) == spelled.len() && length >> 5 == 0b101).then_some(())?;
    match ValueBefore::parse(spelled)? {
        ValueBefore::Null => Some(0),
        ValueBefore::Raw(raw) => parse_integer(raw),
        ValueBefore::Error(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_companion_key_says() {
        let bulk = |content: &[u8]| [format!("${}\r\n", content.len()).as_bytes(), content, b"\r\n"].concat();
        let check =
            |reply: &[u8], expected| assert_eq!(read(reply, 55), expected, "{}", reply.escape_ascii());
        check(b"$-1\r\n", Some(Remembered::Nothing));
        check(b"_\r\n", Some(Remembered::Nothing));
        check(&bulk(b"54 x"), Some(Remembered::Earlier));
        check(&bulk(b"56 x"), Some(Remembered::Later));
        check(&bulk(b"55 \x92\xa1=\xa3$10"), Some(Remembered::This(Some(10))));
        check(&bulk(b"55 \x92\xa1=\xa1_"), Some(Remembered::This(Some(0))));
        check(&bulk(b"55 \x92\xa1=\xa4$-10"), Some(Remembered::This(Some(-10))));
        check(&bulk(b"55 \x92\xa1#\xa11"), Some(Remembered::This(None)));
        check(&bulk(b"55 \x92\xa1=\xa3$1"), Some(Remembered::This(None)));
        check(&bulk(b"nothing"), None);
        check(b":1\r\n", None);
    }
}
