//! The options of `HOTKEYS START`, with the rules and error texts of Redis 8.6.

use crate::resp::parse_integer;
use crate::shared::topology::{ClusterMap, SLOTS, UpstreamKind};

/// The options of a session.
#[derive(Debug, PartialEq, Eq)]
pub struct StartOptions {
    /// Keys by CPU time.
    pub cpu: bool,
    /// Keys by bytes.
    pub net: bool,
    /// Keys in each list, 1 to 64.
    pub count: usize,
    /// When the session ends by itself.
    pub duration_ms: Option<u64>,
    /// As given; reported back.
    pub sample_ratio: u32,
    /// The slots that were selected, ascending; `None` for all.
    pub slots: Option<Vec<u16>>,
}

/// Redis's bound on DURATION, in seconds.
const DURATION_S_MAX: i64 = 1_000_000;

/// Parses what follows `START`. The error is Redis's text without `ERR`.
pub fn parse(rest: &[&[u8]], map: &ClusterMap) -> Result<StartOptions, String> {
    let [word, count, rest @ ..] = rest else { return Err("METRICS parameter is required".into()) };
    if !word.eq_ignore_ascii_case(b"METRICS") {
        return Err("METRICS parameter is required".into());
    }
    let count = in_range(count, 1, 2, "METRICS count must be positive")? as usize;
    if rest.len() < count {
        return Err("METRICS count does not match number of metric types provided".into());
    }
    let (metrics, rest) = rest.split_at(count);
    let (cpu, net) = metrics_of(metrics)?;
    let mut options = StartOptions { cpu, net, count: 10, duration_ms: None, sample_ratio: 1, slots: None };
    let mut rest = rest;
    while let Some((word, tail)) = rest.split_first() {
        let (value, tail) = tail.split_first().ok_or("syntax error")?;
        rest = tail;
        match word.to_ascii_uppercase().as_slice() {
            b"COUNT" => options.count = in_range(value, 1, 64, "COUNT must be between 1 and 64")? as usize,
            b"DURATION" => {
                let seconds = in_range(value, 1, DURATION_S_MAX, "DURATION must be between 1 and 1000000")?;
                options.duration_ms = Some(seconds as u64 * 1_000);
            }
            b"SAMPLE" => {
                options.sample_ratio =
                    in_range(value, 1, i64::from(i32::MAX), "SAMPLE ratio must be positive")? as u32;
            }
            b"SLOTS" if map.kind == UpstreamKind::Single => {
                return Err("SLOTS parameter cannot be used in non-cluster mode".into());
            }
            b"SLOTS" if options.slots.is_some() => return Err("SLOTS parameter already specified".into()),
            b"SLOTS" => {
                let count =
                    in_range(value, 1, i64::from(SLOTS), "SLOTS count must be between 1 and 16384")? as usize;
                let (slots, tail) = rest.split_at_checked(count).ok_or("not enough slot numbers provided")?;
                rest = tail;
                options.slots = Some(slots_of(slots)?);
            }
            _ => return Err("syntax error".into()),
        }
    }
    Ok(options)
}

/// Unknown metrics are passed over, as long as there is one that is known: that leaves room for those to
/// come.
fn metrics_of(metrics: &[&[u8]]) -> Result<(bool, bool), String> {
    let (mut cpu, mut net) = (false, false);
    for metric in metrics {
        let seen = match metric.to_ascii_uppercase().as_slice() {
            b"CPU" => &mut cpu,
            b"NET" => &mut net,
            b"COUNT" | b"DURATION" | b"SAMPLE" | b"SLOTS" => {
                return Err("METRICS count does not match number of metric types provided".into());
            }
            _ => continue,
        };
        if *seen {
            let name = String::from_utf8_lossy(metric).to_ascii_uppercase();
            return Err(format!("METRICS {name} defined more than once"));
        }
        *seen = true;
    }
    if cpu || net { Ok((cpu, net)) } else { Err("METRICS no valid metrics passed".into()) }
}

fn slots_of(numbers: &[&[u8]]) -> Result<Vec<u16>, String> {
    let invalid = "Invalid or out of range slot";
    let mut slots = Vec::with_capacity(numbers.len());
    for number in numbers {
        slots.push(in_range(number, 0, i64::from(SLOTS) - 1, invalid)? as u16);
    }
    slots.sort_unstable();
    if slots.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err("duplicate slot number".into());
    }
    Ok(slots)
}

fn in_range(text: &[u8], min: i64, max: i64, message: &str) -> Result<i64, String> {
    parse_integer(text).filter(|value| (min..=max).contains(value)).ok_or_else(|| message.to_owned())
}
