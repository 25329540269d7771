//! `INFO commandstats`, `latencystats` and `errorstats`, and `LATENCY HISTOGRAM`, of what passed through the gateway, in the forms that Redis
//! gives them (`genRedisInfoString` and `latencyCommand` of its `server.c` and `latency.c`).
//!
//! Times are those that clients waited: from a request's last byte to its queued reply. Of Redis's own times, which are its processor's, a
//! server tells: `HOTGATE NODE host:port INFO commandstats`.

use std::borrow::Cow;

use super::commands::name_of;
use crate::command::{CommandId, CommandTable};
use crate::resp::{RespVersion, encode};
use crate::shared::command_tallies::{CommandRow, CommandTallies, CommandTally};
use crate::shared::quarters::Quarters;

/// The quantiles that Redis tells of unless configured otherwise.
const QUANTILES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];

/// Lines of `INFO`: fields with their values.
pub type Lines = Vec<(String, String)>;

/// What is told of commands: since the start, or since `CONFIG RESETSTAT`.
#[derive(Clone, Debug, Default)]
pub struct CommandInfo {
    /// The section `Commandstats`.
    pub calls: Lines,
    /// The section `Latencystats`.
    pub latencies: Lines,
    /// The section `Errorstats`.
    pub errors: Lines,
}

impl CommandInfo {
    /// The lines of all three.
    pub fn of(tallies: &CommandTallies, table: &CommandTable) -> Self {
        let named = named(tallies, table);
        let timed = named.iter().filter(|(_, tally)| tally.whole.count() > 0);
        let mut errors: Lines = tallies
            .errors
            .sorted()
            .into_iter()
            .map(|(code, count)| (format!("errorstat_{code}"), format!("count={count}")))
            .collect();
        if tallies.errors.others() > 0 {
            errors.push(("errorstat_other".to_owned(), format!("count={}", tallies.errors.others())));
        }
        Self {
            calls: named.iter().map(|(name, tally)| (format!("cmdstat_{name}"), calls(tally))).collect(),
            latencies: timed
                .map(|(name, tally)| (format!("latency_percentiles_usec_{name}"), percentiles(&tally.whole)))
                .collect(),
            errors,
        }
    }
}

/// Each command that was called or refused, by name. Redis has no line for what is no command.
fn named<'a>(tallies: &'a CommandTallies, table: &'a CommandTable) -> Vec<(Cow<'a, str>, &'a CommandTally)> {
    // What would break the lines: a module may call its commands what it likes.
    let safe = |name: &'a str| match name.contains(['#', ':', '\r', '\n']) {
        true => Cow::Owned(name.replace(['#', ':', '\r', '\n'], "_")),
        false => Cow::Borrowed(name),
    };
    let rows = tallies.commands.iter().filter(|(row, tally)| row.place().is_some() && !tally.is_empty());
    let mut named: Vec<_> = rows.map(|(row, tally)| (safe(name_of(table, row)), tally)).collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    named
}

fn calls(tally: &CommandTally) -> String {
    let CommandTally { calls, failed, rejected, whole, .. } = tally;
    let (usec, timed) = (whole.sum_ns() / 1000, whole.count());
    let per_call = if timed > 0 { whole.sum_ns() as f64 / 1000.0 / timed as f64 } else { 0.0 };
    format!(
        "calls={calls},usec={usec},usec_per_call={per_call:.2},rejected_calls={rejected},failed_calls={failed}"
    )
}

fn percentiles(times: &Quarters) -> String {
    let shown = QUANTILES
        .map(|(name, quantile)| format!("{name}={:.3}", times.quantile_ns(quantile) as f64 / 1000.0));
    shown.join(",")
}

/// Writes the reply to `LATENCY HISTOGRAM [command ...]`: of all commands that have been timed, or of these and their subcommands.
pub fn histograms(
    tallies: &CommandTallies,
    table: &CommandTable,
    names: &[&[u8]],
    version: RespVersion,
    out: &mut Vec<u8>,
) {
    let is_timed = |tally: &CommandTally| tally.whole.count() > 0;
    let rows: Vec<(Cow<'_, str>, &CommandTally)> = match names {
        [] => named(tallies, table).into_iter().filter(|(_, tally)| is_timed(tally)).collect(),
        names => names
            .iter()
            .filter_map(|name| table.lookup(name))
            .flat_map(|id| with_subcommands(table, id))
            .filter_map(|id| {
                let tally = tallies.commands.get(CommandRow::of(id)).filter(|tally| is_timed(tally))?;
                Some((Cow::Borrowed(&*table.get(id).name), tally))
            })
            .collect(),
    };
    encode::map(out, version, rows.len());
    for (name, tally) in rows {
        encode::bulk(out, name.as_bytes());
        histogram(&tally.whole, version, out);
    }
}

fn with_subcommands(table: &CommandTable, id: CommandId) -> impl Iterator<Item = CommandId> + '_ {
    std::iter::once(id).chain(table.get(id).subcommand_ids().iter().copied())
}

/// As Redis, only bounds up to which more calls fit than up to the one before.
fn histogram(times: &Quarters, version: RespVersion, out: &mut Vec<u8>) {
    let mut before = 0;
    let steps: Vec<(u64, u64)> = times
        .octaves()
        .filter(|(_, running)| std::mem::replace(&mut before, *running) < *running)
        .map(|(bound_ns, running)| (shown_us(bound_ns), running))
        .collect();
    encode::map(out, version, 2);
    encode::bulk(out, b"calls");
    encode::integer(out, times.count() as i64);
    encode::bulk(out, b"histogram_usec");
    encode::map(out, version, steps.len());
    for (bound_us, running) in steps {
        encode::integer(out, bound_us as i64);
        encode::integer(out, running as i64);
    }
}

/// Redis tells the longest time that its histogram can't tell from a power of two, in whole microseconds: 33 for 2^15 ns.
fn shown_us(bound_ns: u64) -> u64 {
    (bound_ns + bound_ns / 128 - 1) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tallies(table: &CommandTable) -> CommandTallies {
        let mut tallies = CommandTallies::default();
        let of = |name: &[u8]| CommandRow::of(table.lookup_full_name(name).expect("a command of Redis"));
        let get = tallies.commands.row(of(b"get"));
        (get.calls, get.failed) = (4, 1);
        get.whole.record_n(20_000, 3);
        get.whole.record_n(40_000, 1);
        tallies.commands.row(of(b"config|get")).rejected = 2;
        tallies.commands.row(of(b"blpop")).calls = 1;
        tallies
    }

    #[test]
    fn lines_are_those_of_redis() {
        let table = CommandTable::builtin();
        let info = CommandInfo::of(&tallies(&table), &table);
        let lines =
            |lines: Lines| lines.iter().map(|(field, value)| format!("{field}:{value}")).collect::<Vec<_>>();
        assert_eq!(
            lines(info.calls),
            [
                "cmdstat_blpop:calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=0",
                "cmdstat_config|get:calls=0,usec=0,usec_per_call=0.00,rejected_calls=2,failed_calls=0",
                "cmdstat_get:calls=4,usec=100,usec_per_call=25.00,rejected_calls=0,failed_calls=1",
            ]
        );
        assert_eq!(
            lines(info.latencies),
            ["latency_percentiles_usec_get:p50=20.480,p99=40.960,p99.9=40.960"]
        );
    }

    #[test]
    fn a_histogram_has_the_bounds_that_redis_tells() {
        let check = |bits: u32, expected_us: u64| assert_eq!(shown_us(1 << bits), expected_us, "2^{bits}");
        // As a Redis of version 7 tells them.
        for (bits, expected_us) in
            [(10, 1), (11, 2), (12, 4), (13, 8), (14, 16), (15, 33), (16, 66), (17, 132), (18, 264)]
        {
            check(bits, expected_us);
        }
        let table = CommandTable::builtin();
        let mut out = Vec::new();
        histograms(&tallies(&table), &table, &[b"GET", b"nosuch", b"config"], RespVersion::Resp2, &mut out);
        let expected = "*2\r\n$3\r\nget\r\n*4\r\n$5\r\ncalls\r\n:4\r\n$14\r\nhistogram_usec\r\n*4\r\n:33\r\n:3\r\n:66\r\n:4\r\n";
        assert_eq!(String::from_utf8_lossy(&out), expected);
    }
}
