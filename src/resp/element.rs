//! Looking into a whole reply without building a tree of it.
//!
//! Owns what merging needs: the elements of an array as the raw bytes they are (so that the replies of several
//! nodes to parts of an `MGET` can be put back in order unread), the payload of a string, the text of an error, an
//! integer. Deliberately does not decode: an element of an element is reached by asking again.
//!
//! All of these expect one whole reply, as a [`ReplyScanner`] delimited it. On other bytes they find nothing, or
//! stop early; none panics.

use super::{ReplyScan, ReplyScanner, parse_integer};

/// The text of a reply that is an error, without the leading `-` and the end of the line. `None` if the reply is
/// not an error; one among its elements does not count.
pub fn first_error(reply: &[u8]) -> Option<&[u8]> {
    let reply = behind_attributes(reply);
    match reply.first()? {
        b'-' => reply[1..].strip_suffix(b"\r\n"),
        b'!' => payload(reply),
        _ => None,
    }
}

/// The value of an integer reply. `None` for any other.
pub fn parse_integer_reply(reply: &[u8]) -> Option<i64> {
    parse_integer(behind_attributes(reply).strip_prefix(b":")?.strip_suffix(b"\r\n")?)
}

/// The bytes of a bulk string, or of a verbatim string without its format. `None` for a null and for any other
/// type.
pub fn bulk_payload(element: &[u8]) -> Option<&[u8]> {
    const FORMAT_BYTES: usize = "txt:".len();
    let element = behind_attributes(element);
    match element.first()? {
        b'$' => payload(element),
        b'=' => payload(element)?.get(FORMAT_BYTES..),
        _ => None,
    }
}

/// Walks the elements of an array, set, push or map, a map's keys and values in turn. `None` for a null array and
/// for any other type.
pub fn elements(reply: &[u8]) -> Option<Elements<'_>> {
    let reply = behind_attributes(reply);
    let (count, rest) = header(reply)?;
    let due = match reply.first()? {
        b'*' | b'~' | b'>' => count,
        b'%' => count.checked_mul(2)?,
        _ => return None,
    };
    Some(Elements { rest, due })
}

/// The top-level elements of an aggregate, each as its raw bytes, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elements<'a> {
    rest: &'a [u8],
    due: usize,
}

impl Elements<'_> {
    /// How many elements the aggregate says that it still has.
    #[allow(clippy::len_without_is_empty, reason = "an iterator has `next` for that")]
    pub fn len(&self) -> usize {
        self.due
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        self.due = self.due.checked_sub(1)?;
        let ReplyScan::Complete { len } = ReplyScanner::new().scan(self.rest) else {
            self.due = 0;
            return None;
        };
        let (element, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(element)
    }
}

/// The reply without the RESP3 attributes that may precede any value.
fn behind_attributes(mut reply: &[u8]) -> &[u8] {
    while let Some(b'|') = reply.first() {
        let Some((pairs, rest)) = header(reply) else { return &[] };
        let mut attribute = Elements { rest, due: pairs.saturating_mul(2) };
        while attribute.next().is_some() {}
        reply = attribute.rest;
    }
    reply
}

/// The bytes between the header of a bulk type and the end of the reply.
fn payload(reply: &[u8]) -> Option<&[u8]> {
    let (length, rest) = header(reply)?;
    rest.get(..length)
}

/// The number behind the first byte, and what follows its line.
fn header(reply: &[u8]) -> Option<(usize, &[u8])> {
    let end = memchr::memchr(b'\r', reply)?;
    let number = parse_integer(reply.get(1..end)?)?;
    Some((usize::try_from(number).ok()?, reply.get(end + 2..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walks_raw_elements() {
        let check = |reply: &str, expect: Option<&[&str]>| {
            let walked = elements(reply.as_bytes()).map(|elements| {
                elements.map(|element| std::str::from_utf8(element).unwrap()).collect::<Vec<_>>()
            });
            assert_eq!(walked.as_deref(), expect, "{reply:?}");
        };
        check("*0\r\n", Some(&[]));
        check("*3\r\n$1\r\na\r\n$-1\r\n:5\r\n", Some(&["$1\r\na\r\n", "$-1\r\n", ":5\r\n"]));
        check("*2\r\n*2\r\n:1\r\n*0\r\n+x\r\n", Some(&["*2\r\n:1\r\n*0\r\n", "+x\r\n"]));
        check("~1\r\n#t\r\n", Some(&["#t\r\n"]));
        check(">2\r\n+message\r\n_\r\n", Some(&["+message\r\n", "_\r\n"]));
        check("%2\r\n+a\r\n:1\r\n+b\r\n:2\r\n", Some(&["+a\r\n", ":1\r\n", "+b\r\n", ":2\r\n"]));
        check("|1\r\n+ttl\r\n:9\r\n*1\r\n:1\r\n", Some(&[":1\r\n"]));
        check("*1\r\n|1\r\n+ttl\r\n:9\r\n:1\r\n", Some(&["|1\r\n+ttl\r\n:9\r\n:1\r\n"]));
        for other in ["", "*-1\r\n", "_\r\n", "$3\r\nabc\r\n", "+OK\r\n", "*x\r\n", "*1"] {
            check(other, None);
        }
        check("*2\r\n:1\r\n", Some(&[":1\r\n"]));
        check("*9223372036854775807\r\n", Some(&[]));
    }

    #[test]
    fn tells_what_is_left() {
        let mut walk = elements(b"*2\r\n:1\r\n:2\r\n").unwrap();
        assert_eq!(walk.len(), 2);
        walk.next();
        assert_eq!(walk.len(), 1);
    }

    #[test]
    fn reads_payloads() {
        let check = |element: &str, expect: Option<&str>| {
            assert_eq!(bulk_payload(element.as_bytes()), expect.map(str::as_bytes), "{element:?}");
        };
        check("$0\r\n\r\n", Some(""));
        check("$4\r\na\r\nb\r\n", Some("a\r\nb"));
        check("=6\r\ntxt:hi\r\n", Some("hi"));
        check("|1\r\n+ttl\r\n:9\r\n$1\r\nx\r\n", Some("x"));
        for other in ["$-1\r\n", "_\r\n", ":1\r\n", "*0\r\n", "$9\r\nshort\r\n", "=2\r\nab\r\n", "", "|x"] {
            check(other, None);
        }
    }

    #[test]
    fn reads_errors_and_integers() {
        let check = |reply: &str, error: Option<&str>, integer: Option<i64>| {
            assert_eq!(first_error(reply.as_bytes()), error.map(str::as_bytes), "{reply:?}");
            assert_eq!(parse_integer_reply(reply.as_bytes()), integer, "{reply:?}");
        };
        check("-ERR no\r\n", Some("ERR no"), None);
        check("!5\r\nERR x\r\n", Some("ERR x"), None);
        check(":-12\r\n", None, Some(-12));
        check("|1\r\n+ttl\r\n:9\r\n:7\r\n", None, Some(7));
        for other in ["+OK\r\n", "*1\r\n-ERR inner\r\n", ":1", ":x\r\n", "-ERR", ""] {
            check(other, None, None);
        }
    }
}
