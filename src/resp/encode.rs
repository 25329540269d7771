//! Writing replies and requests.
//!
//! Owns the spelling of every type in both protocol versions. A function that takes the [`RespVersion`] writes
//! what Redis itself writes for that type to a RESP2 client. Deliberately does not check that as many elements
//! follow an [`array()`] or [`map`] header as it announces.

use bytes::BufMut;

use super::RespVersion;

/// `+text`. Line ends in the text become spaces.
pub fn simple(out: &mut impl BufMut, text: impl AsRef<[u8]>) {
    line(out, b'+', text.as_ref());
}

/// `-text`, where the text begins with the error's code (`ERR `, `CROSSSLOT `). Line ends become spaces.
pub fn error(out: &mut impl BufMut, text: impl AsRef<[u8]>) {
    line(out, b'-', text.as_ref());
}

/// `:value`.
pub fn integer(out: &mut impl BufMut, value: i64) {
    header(out, b':', value);
}

/// `$length` and the bytes.
pub fn bulk(out: &mut impl BufMut, bytes: &[u8]) {
    header(out, b'$', bytes.len());
    out.put_slice(bytes);
    out.put_slice(b"\r\n");
}

/// The null where a string was asked for.
pub fn null(out: &mut impl BufMut, version: RespVersion) {
    out.put_slice(match version {
        RespVersion::Resp2 => b"$-1\r\n",
        RespVersion::Resp3 => b"_\r\n",
    });
}

/// The null where an array was asked for (an aborted `EXEC`, a `BLPOP` that timed out).
pub fn null_array(out: &mut impl BufMut, version: RespVersion) {
    out.put_slice(match version {
        RespVersion::Resp2 => b"*-1\r\n",
        RespVersion::Resp3 => b"_\r\n",
    });
}

/// The header of an array of `count` elements.
pub fn array(out: &mut impl BufMut, count: usize) {
    header(out, b'*', count);
}

/// The header of a map: a flat array of `2 * pairs` elements in RESP2.
pub fn map(out: &mut impl BufMut, version: RespVersion, pairs: usize) {
    match version {
        RespVersion::Resp2 => header(out, b'*', pairs * 2),
        RespVersion::Resp3 => header(out, b'%', pairs),
    }
}

/// The header of a set: an array in RESP2.
pub fn set(out: &mut impl BufMut, version: RespVersion, count: usize) {
    header(out, if version == RespVersion::Resp2 { b'*' } else { b'~' }, count);
}

/// The header of an out-of-band message: an array in RESP2.
pub fn push(out: &mut impl BufMut, version: RespVersion, count: usize) {
    header(out, if version == RespVersion::Resp2 { b'*' } else { b'>' }, count);
}

/// A floating point number, in the shortest spelling that reads back as the same value (as Redis 7.2 and later);
/// a bulk string in RESP2.
pub fn double(out: &mut impl BufMut, version: RespVersion, value: f64) {
    let text = double_text(value);
    match version {
        RespVersion::Resp2 => bulk(out, text.as_bytes()),
        RespVersion::Resp3 => line(out, b',', text.as_bytes()),
    }
}

/// `#t` or `#f`; the integers 1 and 0 in RESP2.
pub fn boolean(out: &mut impl BufMut, version: RespVersion, value: bool) {
    match version {
        RespVersion::Resp2 => integer(out, i64::from(value)),
        RespVersion::Resp3 => out.put_slice(if value { b"#t\r\n" } else { b"#f\r\n" }),
    }
}

/// A text with its format (`txt`, `mkd`; exactly three letters): what `INFO` answers. A bulk string in RESP2.
pub fn verbatim(out: &mut impl BufMut, version: RespVersion, format: &str, text: &[u8]) {
    debug_assert_eq!(format.len(), 3, "the format of a verbatim string has three letters");
    match version {
        RespVersion::Resp2 => bulk(out, text),
        RespVersion::Resp3 => {
            header(out, b'=', text.len() + format.len() + 1);
            out.put_slice(format.as_bytes());
            out.put_slice(b":");
            out.put_slice(text);
            out.put_slice(b"\r\n");
        }
    }
}

/// A request: an array of bulk strings.
pub fn command(out: &mut impl BufMut, args: &[&[u8]]) {
    array(out, args.len());
    for arg in args {
        bulk(out, arg);
    }
}

fn header(out: &mut impl BufMut, kind: u8, number: impl itoa::Integer) {
    out.put_u8(kind);
    out.put_slice(itoa::Buffer::new().format(number).as_bytes());
    out.put_slice(b"\r\n");
}

fn line(out: &mut impl BufMut, kind: u8, text: &[u8]) {
    out.put_u8(kind);
    for (index, part) in text.split(|byte| matches!(byte, b'\r' | b'\n')).enumerate() {
        if index > 0 {
            out.put_u8(b' ');
        }
        out.put_slice(part);
    }
    out.put_slice(b"\r\n");
}

fn double_text(value: f64) -> String {
    let magnitude = value.abs();
    if value.is_nan() {
        "nan".to_owned()
    } else if magnitude == 0.0 || value.is_infinite() || (1e-5..1e17).contains(&magnitude) {
        value.to_string()
    } else {
        format!("{value:e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use RespVersion::{Resp2, Resp3};

    #[test]
    fn writes_what_redis_writes() {
        let check = |write: &dyn Fn(&mut Vec<u8>), expect: &str| {
            let mut out = Vec::new();
            write(&mut out);
            assert_eq!(String::from_utf8_lossy(&out), expect);
        };
        check(&|out| simple(out, "OK"), "+OK\r\n");
        check(&|out| error(out, "ERR a\r\nb\n"), "-ERR a  b \r\n");
        check(&|out| integer(out, i64::MIN), ":-9223372036854775808\r\n");
        check(&|out| bulk(out, b""), "$0\r\n\r\n");
        check(&|out| bulk(out, b"a\r\nb"), "$4\r\na\r\nb\r\n");
        check(&|out| null(out, Resp2), "$-1\r\n");
        check(&|out| null(out, Resp3), "_\r\n");
        check(&|out| null_array(out, Resp2), "*-1\r\n");
        check(&|out| null_array(out, Resp3), "_\r\n");
        check(&|out| array(out, 0), "*0\r\n");
        check(&|out| map(out, Resp2, 3), "*6\r\n");
        check(&|out| map(out, Resp3, 3), "%3\r\n");
        check(&|out| set(out, Resp2, 2), "*2\r\n");
        check(&|out| set(out, Resp3, 2), "~2\r\n");
        check(&|out| push(out, Resp2, 3), "*3\r\n");
        check(&|out| push(out, Resp3, 3), ">3\r\n");
        check(&|out| boolean(out, Resp2, true), ":1\r\n");
        check(&|out| boolean(out, Resp3, false), "#f\r\n");
        check(&|out| verbatim(out, Resp2, "txt", b"hi"), "$2\r\nhi\r\n");
        check(&|out| verbatim(out, Resp3, "txt", b"hi"), "=6\r\ntxt:hi\r\n");
        check(&|out| command(out, &[b"GET", b"k"]), "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    }

    #[test]
    fn a_double_reads_back_as_the_same_value() {
        let check = |value: f64, expect: &str| {
            let mut out = Vec::new();
            double(&mut out, Resp3, value);
            assert_eq!(String::from_utf8_lossy(&out), format!(",{expect}\r\n"));
            out.clear();
            double(&mut out, Resp2, value);
            assert_eq!(String::from_utf8_lossy(&out), format!("${}\r\n{expect}\r\n", expect.len()));
            let read: f64 = expect.parse().unwrap();
            assert!(read == value || read.is_nan() && value.is_nan());
        };
        check(0.0, "0");
        check(3.0, "3");
        check(0.1, "0.1");
        check(-1234.5, "-1234.5");
        check(f64::INFINITY, "inf");
        check(f64::NEG_INFINITY, "-inf");
        check(f64::NAN, "nan");
        check(1e300, "1e300");
        check(5e-324, "5e-324");
    }
}
