//! Figures as people read them: shares, rates, times.

/// The longest name in a sentence, in characters, as on the page.
const NAME_MAX: usize = 56;

/// A name of a key, cut in the middle if it is long: names often differ at their ends.
pub fn name(key: &str) -> std::borrow::Cow<'_, str> {
    let length = key.chars().count();
    if length <= NAME_MAX {
        return key.into();
    }
    let head: String = key.chars().take(NAME_MAX / 2).collect();
    let tail: String = key.chars().skip(length - (NAME_MAX / 2 - 1)).collect();
    format!("{head}…{tail}").into()
}

/// A share as `61 %`.
pub fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.0995 {
        format!("{:.1} %", share * 100.0)
    } else {
        format!("{:.0} %", share * 100.0)
    }
}

/// A rate or a count with three significant digits and commas: `84,200`.
pub fn rate(value: f64) -> String {
    if value < 10.0 && value.fract() > 0.005 {
        return format!("{value:.1}");
    }
    let magnitude = 10f64.powi((value.max(1.0).log10().floor() as i32 - 2).max(0));
    whole(((value / magnitude).round() * magnitude) as i64)
}

/// A whole number with commas.
pub fn whole(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = if value < 0 { String::from("-") } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time in microseconds as people say it: `8.7 µs`, `0.82 ms`, `1.3 s`.
pub fn duration_us(us: f64) -> String {
    match us {
        us if us < 100.0 => format!("{us:.1} µs"),
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us if us < 100_000.0 => format!("{:.2} ms", us / 1_000.0),
        us if us < 1_000_000.0 => format!("{:.0} ms", us / 1_000.0),
        us => format!("{:.2} s", us / 1_000_000.0),
    }
}

/// A span in seconds as people say it: `40 s`, `12 min`, `3.5 h`.
pub fn duration_s(seconds: f64) -> String {
    match seconds {
        s if s < 0.5 => "< 1 s".to_owned(),
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_keep_both_ends() {
        assert_eq!(name("sku:{1}:reserved"), "sku:{1}:reserved");
        let long = format!("tenant:{{4711}}:{}:items", "購".repeat(60));
        assert_eq!(name(&long), format!("tenant:{{4711}}:{}…{}:items", "購".repeat(14), "購".repeat(21)));
        assert_eq!(name(&"x".repeat(56)), "x".repeat(56));
    }

    #[test]
    fn numbers_as_people_read_them() {
        for (value, expect) in [
            (0.0, "0"),
            (0.25, "0.2"),
            (9.96, "10.0"),
            (84_213.0, "84,200"),
            (999.6, "1,000"),
            (1_234_567.0, "1,230,000"),
        ] {
            assert_eq!(rate(value), expect);
        }
        for (value, expect) in [(0, "0"), (-1_000, "-1,000"), (i64::MIN, "-9,223,372,036,854,775,808")] {
            assert_eq!(whole(value), expect);
        }
        for (us, expect) in
            [(8.74, "8.7 µs"), (820.0, "820 µs"), (1_300.0, "1.30 ms"), (2_500_000.0, "2.50 s")]
        {
            assert_eq!(duration_us(us), expect);
        }
    }
}
