//! The gateway itself: errors, buffers, processor time, write-behind and its journal.

use super::{Findings, Level, StatusInput, is_nearly_full, percent, rate, whole};
use crate::monitor::view::{Now, Totals};

/// Errors as a part of requests from which they are worth a warning, and a part that is an emergency.
const ERROR_SHARE_WARNING: f64 = 0.01;
const ERROR_SHARE_CRITICAL: f64 = 0.05;
/// A single error a second is no trend, whatever its share of little traffic.
const ERRORS_PER_S_MIN: f64 = 1.0;
/// The part of a second for which a worker's thread may have something to do before its clients wait for it.
const WORKER_BUSY_SHARE: f64 = 0.97;
/// A busy worker that gets no processor for so much of the time lacks processors rather than workers.
const WORKER_STARVED_SHARE: f64 = 0.25;

pub(super) fn judge(input: &StatusInput<'_>, found: &mut Findings) {
    judge_errors(input.now, found);
    judge_workers(input.now, found);
    judge_write_behind(input.totals, found);
}

fn judge_errors(now: &Now, found: &mut Findings) {
    // One request may count several errors, and a lost connection counts one beside those of its requests.
    let share = (now.errors_per_s / now.requests_per_s.max(1.0)).min(1.0);
    if now.errors_per_s < ERRORS_PER_S_MIN || share < ERROR_SHARE_WARNING {
        return;
    }
    let level = if share >= ERROR_SHARE_CRITICAL { Level::Critical } else { Level::Warning };
    let most = now.errors_by_kind_per_s.iter().max_by(|a, b| a.1.total_cmp(b.1));
    let kind = most.map_or(String::new(), |(kind, _)| format!(", most of them {}", kind.replace('_', " ")));
    found
        .add(level, format!("{} of all requests fail ({}/s){kind}.", percent(share), rate(now.errors_per_s)));
}

fn judge_workers(now: &Now, found: &mut Findings) {
    let waits =
        |name: &str| now.worker_waits.iter().find(|(known, _)| known == name).map_or(0.0, |(_, w)| *w);
    let is_busy = |(name, cores): &&(String, f64)| cores + waits(name) >= WORKER_BUSY_SHARE;
    let names: Vec<&str> = now.worker_cores.iter().filter(is_busy).map(|(name, _)| name.as_str()).collect();
    let who = match names.as_slice() {
        [] => return,
        [one] => format!("{one} is busy all the time"),
        all if all.len() == now.worker_cores.len() => "All workers are busy all the time".to_owned(),
        some => format!("{} of {} workers are busy all the time", some.len(), now.worker_cores.len()),
    };
    let starved = names.iter().map(|name| waits(name)).sum::<f64>() / names.len() as f64;
    let what = if starved >= WORKER_STARVED_SHARE {
        let share = percent(starved.min(1.0));
        format!(
            "clients wait, and {share} of the time no processor is free for it; add processors or gateways"
        )
    } else {
        "clients wait for it; add workers or gateways".to_owned()
    };
    found.add(Level::Warning, format!("{who}: {what}."));
}

fn judge_write_behind(totals: &Totals, found: &mut Findings) {
    if is_nearly_full(totals.write_behind_pending, totals.write_behind_pending_max) {
        let (pending, age_s) =
            (totals.write_behind_pending as f64, totals.write_behind_oldest_ms as f64 / 1000.0);
        found.add(
            Level::Warning,
            format!("{} write-behind deltas wait, the oldest for {age_s:.1} s.", rate(pending)),
        );
    }
    if totals.write_behind_unknown > 0 {
        let count = whole(totals.write_behind_unknown as i64);
        found.add(Level::Warning, format!("The outcome of {count} write-behind flushes is not known."));
    }
    if totals.write_behind_lost > 0 {
        let count = whole(totals.write_behind_lost as i64);
        found.add(Level::Warning, format!("{count} write-behind increments are lost: Redis refused them."));
    }
    if totals.journal_refusing > 0 {
        found.add(Level::Critical, "The write-behind journal refuses increments: its disk is full or fails.");
    }
}
