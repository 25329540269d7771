//! Decimal integers as Redis reads them.
//!
//! Owns the one rule that decides what is "an integer" in lengths and in arguments. Deliberately refuses all that
//! `str::parse` would let through beside the canonical spelling.

/// Parses a signed 64-bit integer as `string2ll` in Redis' `util.c` does: only the spelling that Redis itself
/// would print. No sign `+`, no leading zero, no `-0`, no blanks, nothing outside `i64`.
///
/// The strictness matters: `INCR` on the value `"01"` is an error in Redis, so a gateway that computes the result
/// of an increment must refuse it too.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits == b"0" && !negative {
        return Some(0);
    }
    if !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut magnitude: u64 = 0;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

#[cfg(test)]
mod tests {
    use super::parse_integer;
    use proptest::prelude::*;

    #[test]
    fn accepts_only_the_canonical_spelling() {
        let check =
            |text: &str, expect: Option<i64>| assert_eq!(parse_integer(text.as_bytes()), expect, "{text:?}");
        check("0", Some(0));
        check("7", Some(7));
        check("-1", Some(-1));
        check("9223372036854775807", Some(i64::MAX));
        check("-9223372036854775808", Some(i64::MIN));
        for refused in [
            "",
            "-",
            "+1",
            "-0",
            "00",
            "01",
            "-01",
            " 1",
            "1 ",
            "1.0",
            "1e3",
            "0x10",
            "--1",
            "9223372036854775808",
            "-9223372036854775809",
            "18446744073709551616",
            "99999999999999999999999999999999",
            "1\0",
        ] {
            check(refused, None);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_printed_form(value: i64, noise in "[-+ 0-9a]{0,21}") {
            prop_assert_eq!(parse_integer(value.to_string().as_bytes()), Some(value));
            let expect = noise.parse::<i64>().ok().filter(|parsed| parsed.to_string() == noise);
            prop_assert_eq!(parse_integer(noise.as_bytes()), expect);
        }
    }
}
