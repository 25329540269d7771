//! A RESP3 reply in the form that RESP2 has for it.
//!
//! Both versions write an aggregate as a line with its count and then its elements, so each line is rewritten by itself
//! and nothing is nested here. What differs between versions beyond the spelling is not undone: Redis answers some commands
//! (`ZRANGE ... WITHSCORES`, `GEOPOS`) with other shapes in RESP3, and null arrays of RESP2 are plain nulls in RESP3. The
//! caller knows for which commands the spelling is all that differs.

use super::{encode, parse_integer};

/// Rewrites one whole reply.
pub fn resp2_form(reply: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(reply.len());
    let mut rest = reply;
    while let Some(end) = rest.windows(2).position(|two| two == b"\r\n") {
        let (line, behind) = (&rest[..end], &rest[end + 2..]);
        let number = line.get(1..).and_then(parse_integer).and_then(|number| usize::try_from(number).ok());
        rest = behind;
        match (line.first(), number) {
            (Some(b'$' | b'=' | b'!'), Some(len)) if behind.len() >= len + 2 => {
                let payload = &behind[..len];
                rest = &behind[len + 2..];
                match line[0] {
                    b'=' => encode::bulk(&mut out, payload.get("txt:".len()..).unwrap_or_default()),
                    b'!' => encode::error(&mut out, payload),
                    _ => encode::bulk(&mut out, payload),
                }
            }
            (Some(b'%'), Some(pairs)) => encode::array(&mut out, pairs * 2),
            (Some(b'~' | b'>'), Some(count)) => encode::array(&mut out, count),
            (Some(b','), _) | (Some(b'('), _) => encode::bulk(&mut out, &line[1..]),
            (Some(b'_'), _) => out.extend_from_slice(b"$-1\r\n"),
            (Some(b'#'), _) => encode::integer(&mut out, i64::from(line == b"#t")),
            _ => {
                out.extend_from_slice(line);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_its_older_spelling() {
        let check = |reply: &str, expected: &str| {
            assert_eq!(String::from_utf8(resp2_form(reply.as_bytes())).unwrap(), expected, "{reply:?}");
        };
        check("$5\r\na\r\nbc\r\n", "$5\r\na\r\nbc\r\n");
        check(":7\r\n", ":7\r\n");
        check("+OK\r\n", "+OK\r\n");
        check("-ERR no\r\n", "-ERR no\r\n");
        check("_\r\n", "$-1\r\n");
        check(",3.5\r\n", "$3\r\n3.5\r\n");
        check("#t\r\n", ":1\r\n");
        check("#f\r\n", ":0\r\n");
        check("(123\r\n", "$3\r\n123\r\n");
        check("=5\r\ntxt:a\r\n", "$1\r\na\r\n");
        check("!6\r\nERR no\r\n", "-ERR no\r\n");
        check("%1\r\n$1\r\na\r\n~2\r\n_\r\n:1\r\n", "*2\r\n$1\r\na\r\n*2\r\n$-1\r\n:1\r\n");
        check("*2\r\n*0\r\n$0\r\n\r\n", "*2\r\n*0\r\n$0\r\n\r\n");
    }
}
