//! The report: what was seen at each rate, and each target beside its figure.

use std::fmt::Write;

use hotgate::demo::load::{Class, HOT, OTHER_NODES, Outcome, SAME_NODE};

use crate::ramp::Ramp;
use crate::sold_out::SoldOut;
use crate::{BACKGROUND_RATE, CONNECTIONS, Run};

/// Or, where few are outstanding, this many for each that is.
const HOT_COMMANDS_SHARE_MAX: f64 = 0.0015;
const HOT_COMMANDS_EACH: f64 = 1.25;
const REDIS_CPU_SHARE_MAX: f64 = 0.03;
/// Where straight to Redis it exceeds a second.
const HOT_LATENCY_MS_MAX: f64 = 5.0;
const STRAIGHT_MS_MIN: f64 = 1000.0;
const SOLD_OUT_COMMANDS_MAX: f64 = 40.0;
const REFUSAL_TO_FLOOR_MAX: f64 = 1.5;
/// An overloaded Redis that gets less of its core than this shares it with something else.
const REDIS_CORE_SHARE_MIN: f64 = 0.9;
/// 99 % of the load's looks come at most this late, in µs, when its core has time for it.
const LATENESS_US_MAX: u64 = 2_000;

pub fn text(capacity: f64, without: &[Run], with: &[Run], sold_out: &SoldOut, awake: &str) -> String {
    let mut text = format!(
        "The mask sale\n\n\
         Redis alone takes {capacity:.0} increments of one key per second (append-only file, {CONNECTIONS} connections, one core).\n\
         Latencies in ms from the moment a request was due; what was not answered at the end counts with its age.\n\
         Background: {BACKGROUND_RATE:.0} GET and SET per second over three nodes, on the same connections.\n\
         Redis and the gateway share one core, the load has the other with the two nodes that do not own the SKU.\n",
    );
    let _ = writeln!(text, "{awake}");
    for (name, runs) in [("straight to Redis", without), ("through hotgate", with)] {
        runs.iter().for_each(|run| describe(&mut text, name, run, &runs[0]));
    }
    text.push_str("\nTargets\n");
    targets(&mut text, without, with);
    describe_sold_out(&mut text, sold_out);
    text.push_str(&disturbance(without, with));
    text
}

/// Says so when the machine was busy with something else, for then no figure counts, good or bad.
fn disturbance(without: &[Run], with: &[Run]) -> String {
    let lateness_us = |run: &Run| run.outcome.lateness_us.value_at_percentile(99.0);
    let latest_us = without.iter().chain(with).map(lateness_us).max().unwrap_or(0);
    let overloaded = without.last().map_or(0.0, |run| run.redis_cpu / run.outcome.seconds);
    if latest_us <= LATENESS_US_MAX && overloaded >= REDIS_CORE_SHARE_MIN {
        return String::new();
    }
    format!(
        "\nTHE MACHINE WAS BUSY WITH SOMETHING ELSE: none of this counts. The overloaded Redis got {:.0} % of its core (a \
         quiet machine gives it {:.0} % or more), and the load was up to {:.1} ms late (p99 of the worst run; {:.0} ms at \
         most).\n",
        overloaded * 100.0,
        REDIS_CORE_SHARE_MIN * 100.0,
        latest_us as f64 / 1000.0,
        LATENESS_US_MAX as f64 / 1000.0,
    )
}

fn describe(text: &mut String, name: &str, run: &Run, background: &Run) {
    let seconds = run.outcome.seconds;
    let _ = writeln!(text, "\n{name}, {} times that", run.factor);
    let _ = writeln!(
        text,
        "  {:<24}{:>11}{:>11}{:>11}{:>11}{:>11}{:>11}{:>10}",
        "", "offered/s", "good/s", "p50", "p99", "p99.9", "unanswered", "errors"
    );
    for (class, label) in [(HOT, "the SKU"), (SAME_NODE, "others on its node"), (OTHER_NODES, "other nodes")]
    {
        let class = &run.outcome.classes[class];
        if class.offered > 0 {
            let rate = |count: u64| count as f64 / seconds;
            let [p50, p99, p999] = [50.0, 99.0, 99.9].map(|percentile| class.percentile_ms(percentile));
            let (offered, good) = (rate(class.offered), rate(class.good));
            let _ = writeln!(
                text,
                "  {label:<24}{offered:>11.0}{good:>11.0}{p50:>11.2}{p99:>11.2}{p999:>11.2}{:>11}{:>10}",
                class.unanswered, class.errors
            );
        }
    }
    let _ = writeln!(
        text,
        "  commands for the SKU at Redis: {:.0}/s; cores: Redis {:.3} (for the SKU {:.3}), gateway {:.3}, load {:.3}; \
         the load was late by {:.2} ms at p99",
        run.hot_commands as f64 / seconds,
        run.redis_cpu / seconds,
        hot_cpu(run, background) / seconds,
        run.gateway_cpu / seconds,
        run.load_cpu / seconds,
        run.outcome.lateness_us.value_at_percentile(99.0) as f64 / 1000.0,
    );
}

/// Processor time of Redis for the hot key: what the run took beyond the one that had the background alone.
fn hot_cpu(run: &Run, background: &Run) -> f64 {
    run.redis_cpu - background.redis_cpu
}

fn targets(text: &mut String, without: &[Run], with: &[Run]) {
    let (Some(direct), Some(gateway)) = (without.last(), with.last()) else { return };
    let hot = |run: &'_ Run| -> (f64, f64) {
        let class: &Class = &run.outcome.classes[HOT];
        (class.offered as f64, class.percentile_ms(99.0))
    };
    let (offered, gateway_p99) = hot(gateway);
    let (_, direct_p99) = hot(direct);
    let commands = gateway.hot_commands as f64 / offered;
    let cpu = hot_cpu(gateway, &with[0]) / hot_cpu(direct, &without[0]);
    let factor = gateway.factor;
    let share_max = commands_share_max(&gateway.outcome);
    for (what, figure, target, met) in [
        (
            format!("commands for the SKU that reached Redis, of those offered at {factor} times"),
            format!("{:.3} %", commands * 100.0),
            format!("at most {:.2} % (case study: 2 %)", share_max * 100.0),
            commands <= share_max,
        ),
        (
            format!("Redis's processor time for the SKU, of what it was at {factor} times"),
            format!("{:.2} %", cpu * 100.0),
            format!("at most {:.0} % (case study: 13 %)", REDIS_CPU_SHARE_MAX * 100.0),
            cpu <= REDIS_CPU_SHARE_MAX,
        ),
        (
            format!("p99 of the SKU at {factor} times, where it is {direct_p99:.0} ms straight to Redis"),
            format!("{gateway_p99:.2} ms, {:.0} times better", direct_p99 / gateway_p99),
            format!("at most {HOT_LATENCY_MS_MAX:.0} ms (case study: 500 times better)"),
            gateway_p99 <= HOT_LATENCY_MS_MAX || direct_p99 <= STRAIGHT_MS_MIN,
        ),
    ] {
        line(text, &what, &figure, &target, met);
    }
}

/// The largest share of commands that may reach Redis: 1.25 for as many as are outstanding at a time (by Little's law), and never less than 0.15 %.
fn commands_share_max(outcome: &Outcome) -> f64 {
    let class = &outcome.classes[HOT];
    let outstanding = class.answered as f64 / outcome.seconds * class.latency_us.mean() / 1_000_000.0;
    HOT_COMMANDS_SHARE_MAX.max(HOT_COMMANDS_EACH / outstanding.max(1.0))
}

/// What became of the ramp.
pub fn ramp(seen: &Ramp) -> String {
    let mut text = String::from("\nA ramp from quiet to 70 times within a second, without any rule\n");
    let class: &Class = &seen.outcome.classes[HOT];
    let (share, share_max) =
        (seen.hot_commands as f64 / class.offered.max(1) as f64, commands_share_max(&seen.outcome));
    line(
        &mut text,
        "commands for the SKU that reached Redis, of those offered from the first moment on",
        &format!("{:.3} %", share * 100.0),
        &format!("at most {:.2} %", share_max * 100.0),
        share <= share_max,
    );
    let p99 = class.percentile_ms(99.0);
    line(
        &mut text,
        &format!(
            "p99 of the SKU from the first moment on, {} unanswered, {} errors",
            class.unanswered, class.errors
        ),
        &format!("{p99:.2} ms"),
        &format!("at most {HOT_LATENCY_MS_MAX:.0} ms"),
        p99 <= HOT_LATENCY_MS_MAX,
    );
    text
}

fn describe_sold_out(text: &mut String, seen: &SoldOut) {
    let class = &seen.outcome.classes[0];
    let rate = class.offered as f64 / seen.outcome.seconds;
    let _ = writeln!(
        text,
        "\nSold out: {rate:.0} increments/s offered, {:.0}/s refused, p50 {:.2} ms, p99 {:.2} ms, {} unanswered",
        class.errors as f64 / seen.outcome.seconds,
        class.percentile_ms(50.0),
        class.percentile_ms(99.0),
        class.unanswered,
    );
    line(
        text,
        "commands per second at Redis meanwhile",
        &format!("{:.1}", seen.commands_per_second),
        &format!("at most {SOLD_OUT_COMMANDS_MAX:.0}"),
        seen.commands_per_second <= SOLD_OUT_COMMANDS_MAX && class.errors > 0,
    );
    let to_floor = seen.refusal_us / seen.floor_us;
    line(
        text,
        &format!(
            "a refusal at P=16 costs the gateway {:.2} µs, a reply of a bare task {:.2} µs (and PING {:.2} µs) in this run",
            seen.refusal_us, seen.floor_us, seen.ping_us
        ),
        &format!("{to_floor:.2} times"),
        &format!("at most {REFUSAL_TO_FLOOR_MAX} times"),
        to_floor <= REFUSAL_TO_FLOOR_MAX && class.errors > 0,
    );
}

fn line(text: &mut String, what: &str, figure: &str, target: &str, met: bool) {
    let verdict = if met { "met" } else { "NOT MET" };
    let _ = writeln!(text, "  {what}: {figure} ({target}) {verdict}");
}
