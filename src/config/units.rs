//! Durations and sizes as the file writes them: `"100ms"`, `"64mb"`.
//!
//! Only whole numbers with one unit; `render_*` give the shortest such form, so that what is rendered reads
//! back as the same value.

use std::time::Duration;

/// Unit and its length in microseconds, longest first, so that rendering finds the shortest form.
const DURATION_UNITS: [(&str, u64); 6] = [
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1000),
    ("us", 1),
];

/// Unit and its size in bytes. As in redis.conf, `k` is 1000 and `kb` is 1024, and case does not matter.
const BYTE_UNITS: [(&str, u64); 8] = [
    ("gb", 1 << 30),
    ("mb", 1 << 20),
    ("kb", 1 << 10),
    ("g", 1_000_000_000),
    ("m", 1_000_000),
    ("k", 1000),
    ("b", 1),
    ("", 1),
];

/// Reads `"100ms"`; units are us, ms, s, m, h, d. Zero needs no unit. `None` for all else and for what does
/// not fit 64 bits of microseconds.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    if number == 0 && unit.is_empty() {
        return Some(Duration::ZERO);
    }
    let (_, microseconds) = DURATION_UNITS.iter().find(|(name, _)| *name == unit)?;
    number.checked_mul(*microseconds).map(Duration::from_micros)
}

/// Reads the delay of `--drain-delay`, within the range of `gateway.drain_delay`.
///
/// # Errors
/// What was expected instead.
pub fn drain_delay(text: &str) -> Result<Duration, &'static str> {
    let within = |delay: &Duration| *delay <= Duration::from_secs(3600);
    parse_duration(text).filter(within).ok_or("expected a duration from 0s to 1h, such as 5s")
}

/// Reads `"64mb"` or `"1000"`. `None` for all else and for what does not fit 64 bits.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let (_, bytes) = BYTE_UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?;
    number.checked_mul(*bytes)
}

/// The shortest form that [`parse_duration`] reads back; zero is `0s`.
pub fn render_duration(duration: Duration) -> String {
    let microseconds = duration.as_micros();
    let unit = DURATION_UNITS
        .iter()
        .find(|(_, length)| microseconds != 0 && microseconds.is_multiple_of(u128::from(*length)));
    match unit {
        Some((name, length)) => format!("{}{name}", microseconds / u128::from(*length)),
        None => "0s".to_owned(),
    }
}

/// The shortest form that [`parse_bytes`] reads back.
pub fn render_bytes(bytes: u64) -> String {
    let binary = BYTE_UNITS[..3].iter().find(|(_, size)| bytes != 0 && bytes.is_multiple_of(*size));
    match binary {
        Some((name, size)) => format!("{}{name}", bytes / size),
        None => format!("{bytes}b"),
    }
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    Some((number.parse().ok()?, unit.trim_start_matches(' ')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_one_number_and_one_unit() {
        let check = |text: &str, expect: Option<u64>| {
            assert_eq!(parse_duration(text), expect.map(Duration::from_micros), "{text:?}");
        };
        check("100ms", Some(100_000));
        check("1s", Some(1_000_000));
        check("5m", Some(300_000_000));
        check("250us", Some(250));
        check("2 h", Some(7_200_000_000));
        check("1d", Some(86_400_000_000));
        check("0", Some(0));
        check("0s", Some(0));
        for wrong in ["", "s", "5", "-1s", "1.5s", "1s2ms", "1S", "1 week", "99999999999999d", "٣s"] {
            check(wrong, None);
        }
    }

    #[test]
    fn sizes_follow_redis_conf() {
        let check = |text: &str, expect: Option<u64>| assert_eq!(parse_bytes(text), expect, "{text:?}");
        check("64mb", Some(64 << 20));
        check("1k", Some(1000));
        check("1KB", Some(1024));
        check("2Gb", Some(2 << 30));
        check("77", Some(77));
        check("77b", Some(77));
        for wrong in ["", "mb", "-1", "1.5gb", "1tb", "18446744073709551615gb"] {
            check(wrong, None);
        }
    }

    #[test]
    fn what_is_rendered_reads_back() {
        for microseconds in [0, 1, 999, 1000, 1500, 60_000_000, 86_400_000_000, 90_000_000_000] {
            let duration = Duration::from_micros(microseconds);
            assert_eq!(parse_duration(&render_duration(duration)), Some(duration));
        }
        for bytes in [0, 1, 1000, 1024, 1536, 1 << 20, 1 << 30, (1 << 30) + 1] {
            assert_eq!(parse_bytes(&render_bytes(bytes)), Some(bytes));
        }
    }
}
