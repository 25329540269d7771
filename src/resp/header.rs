//! The header that a count or a length is written in: `*3\r\n`, `$5\r\n`.
//!
//! Owns the quick way to read one, which both scanners try before their own thorough way. Deliberately gives up
//! on anything unusual, without a word on what is wrong with it.

/// A number of at least this has nine digits. One more might not fit 32 bits, and nine announce most of a gigabyte.
const NINE_DIGITS: u32 = 100_000_000;

/// Reads the header that `line` begins with, with any first byte, if it goes on with one to nine digits
/// without a leading zero and `\r\n`. Returns the number and how many bytes the header takes.
#[inline(always)]
pub(super) fn short_header(line: &[u8]) -> Option<(u32, usize)> {
    let [_, leading, rest @ ..] = line else { return None };
    let mut value = u32::from(leading.wrapping_sub(b'0'));
    if value > 9 {
        return None;
    }
    let mut rest = rest.iter();
    for width in 4.. {
        let byte = *rest.next()?;
        let digit = u32::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return (byte == b'\r' && rest.next() == Some(&b'\n')).then_some((value, width));
        }
        if value == 0 || value >= NINE_DIGITS {
            return None;
        }
        value = value * 10 + digit;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::short_header;

    #[test]
    fn reads_only_the_common_form() {
        let check = |line: &str, expect| assert_eq!(short_header(line.as_bytes()), expect, "{line:?}");
        check("$0\r\n", Some((0, 4)));
        check("*3\r\n$3\r\n", Some((3, 4)));
        check("$10\r\n", Some((10, 5)));
        check("$123456789\r\n", Some((123_456_789, 12)));
        for unusual in [
            "",
            "$",
            "$1",
            "$1\r",
            "$\r\n",
            "$-1\r\n",
            "$01\r\n",
            "$00\r\n",
            "$1x\r\n",
            "$1\rx",
            "$1234567890\r\n",
        ] {
            check(unusual, None);
        }
    }
}
