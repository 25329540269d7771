//! The report: what was seen, and each target beside its figure.

use std::fmt::Write;

use crate::{FACTOR, Pair, Run, Sale, Seen, answered};

const GRANTS_GAIN_MIN: f64 = 1.5;
const REFUSALS_GAIN_MIN: f64 = 20.0;
const P99_MS_MAX: f64 = 5.0;
const P99_STRAIGHT_MS_MIN: f64 = 1000.0;
/// 99 % of the load's looks come at most this late, in µs, when its core has time for it.
const LATENESS_US_MAX: u64 = 2_000;

pub fn text(seen: &Seen) -> String {
    let Seen { capacity, straight, through, refusals, checks } = seen;
    let mut text = format!(
        "A sale of {} places; {FACTOR} times the {capacity:.0} places per second that Redis grants when clients call the script \
         themselves\nLatencies in ms from the moment a request was due; what was not answered at the end counts with its age.\n\
         Redis and the gateway share one core.\n\n",
        straight.limit,
    );
    let _ = writeln!(
        text,
        "  {:<34}{:>11}{:>11}{:>11}{:>11}{:>11}{:>11}{:>8}{:>9}",
        "", "offered/s", "answered/s", "refused", "p50", "p99", "unanswered", "Redis", "gateway"
    );
    for (name, run) in [
        ("the sale, straight", &straight.run),
        ("the sale, through hotgate", &through.run),
        ("strangers after it, straight", &refusals.straight),
        ("strangers after it, through", &refusals.through),
        ("who asks what he holds, straight", &checks.straight),
        ("who asks what he holds, through", &checks.through),
    ] {
        describe(&mut text, name, run);
    }
    for (name, sale) in [("straight", straight), ("through hotgate", through)] {
        let books = &sale.books;
        let _ = writeln!(
            text,
            "  {name}: {} granted in {:.2} s, {:.0} per second; {:.3} calls of scripts at Redis for each",
            books.taken,
            books.seconds,
            books.rate(),
            sale.run.calls as f64 / books.taken as f64,
        );
    }
    text.push_str("\nTargets\n");
    targets(&mut text, straight, through, refusals);
    let _ = writeln!(
        text,
        "  CHECK: {:.0} per second straight, {:.0} through hotgate",
        rate(&checks.straight),
        rate(&checks.through)
    );
    text.push_str(&disturbance(seen));
    text
}

fn rate(run: &Run) -> f64 {
    answered(run) as f64 / run.outcome.seconds
}

fn describe(text: &mut String, name: &str, run: &Run) {
    let class = &run.outcome.classes[0];
    let seconds = run.outcome.seconds;
    let _ = writeln!(
        text,
        "  {name:<34}{:>11.0}{:>11.0}{:>11}{:>11.2}{:>11.2}{:>11}{:>8.3}{:>9.3}",
        class.offered as f64 / seconds,
        rate(run),
        class.errors,
        class.percentile_ms(50.0),
        class.percentile_ms(99.0),
        class.unanswered,
        run.redis_cpu / seconds,
        run.gateway_cpu / seconds,
    );
}

fn targets(text: &mut String, straight: &Sale, through: &Sale, refusals: &Pair) {
    for (name, sale) in [("straight", straight), ("through hotgate", through)] {
        let (books, class) = (&sale.books, &sale.run.outcome.classes[0]);
        // What was not answered may have been granted. What the script refuses is no error of Redis's, so straight all answers are told.
        let told = answered(&sale.run) - class.errors;
        let granted = if name == "straight" { told.min(sale.limit) } else { told };
        let is_exact = books.taken <= sale.limit
            && (granted..=told + class.unanswered).contains(&books.taken)
            && [books.holders, books.entries] == [books.taken; 2];
        let figure = format!(
            "{told} told, {} not answered, {} taken, {} holders, {} entries, {} places",
            class.unanswered, books.taken, books.holders, books.entries, sale.limit
        );
        line(text, &format!("grants, {name}"), &figure, "exact", is_exact);
    }
    let gain = through.books.rate() / straight.books.rate();
    line(
        text,
        "grants per second, of those straight",
        &format!("{gain:.2} times"),
        &format!("at least {GRANTS_GAIN_MIN} times"),
        gain >= GRANTS_GAIN_MIN,
    );
    let gain = rate(&refusals.through) / rate(&refusals.straight);
    line(
        text,
        "refusals per second, of those straight",
        &format!("{gain:.1} times"),
        &format!("at least {REFUSALS_GAIN_MIN} times"),
        gain >= REFUSALS_GAIN_MIN,
    );
    let p99 = |run: &Run| run.outcome.classes[0].percentile_ms(99.0);
    for (what, straight, through) in [
        ("p99 of the sale", &straight.run, &through.run),
        ("p99 of the strangers", &refusals.straight, &refusals.through),
    ] {
        let (straight, through) = (p99(straight), p99(through));
        line(
            text,
            what,
            &format!("{straight:.0} ms straight, {through:.2} ms through hotgate"),
            &format!("at most {P99_MS_MAX} where straight has more than {P99_STRAIGHT_MS_MIN}"),
            through <= P99_MS_MAX && straight > P99_STRAIGHT_MS_MIN,
        );
    }
}

fn line(text: &mut String, what: &str, figure: &str, target: &str, met: bool) {
    let verdict = if met { "met" } else { "NOT MET" };
    let _ = writeln!(text, "  {what}: {figure} ({target}) {verdict}");
}

/// Says so when the machine was busy with something else, for then no figure counts, good or bad.
fn disturbance(seen: &Seen) -> String {
    let runs = [&seen.straight.run, &seen.through.run, &seen.refusals.through, &seen.checks.through];
    let latest_us =
        runs.iter().map(|run| run.outcome.lateness_us.value_at_percentile(99.0)).max().unwrap_or(0);
    match latest_us <= LATENESS_US_MAX {
        true => String::new(),
        false => format!(
            "\nTHE MACHINE WAS BUSY WITH SOMETHING ELSE: the load was {:.1} ms late (p99 of the worst run; {:.0} ms at most).\n",
            latest_us as f64 / 1000.0,
            LATENESS_US_MAX as f64 / 1000.0,
        ),
    }
}
