//! The gateway itself: processor time, threads and clock, the bound on counters, the configuration file.

use super::{Findings, Level, StatusInput, duration_s, percent, rate};
use crate::monitor::upsets::UpsetsView;
use crate::monitor::view::{Conditions, Now};

/// The part of a second for which a worker's thread may have something to do before its clients wait for it.
const WORKER_BUSY_SHARE: f64 = 0.97;
/// A busy worker that gets no processor for so much of the time lacks processors rather than workers.
const WORKER_STARVED_SHARE: f64 = 0.25;

pub(super) fn judge(input: &StatusInput<'_>, found: &mut Findings) {
    judge_workers(input.now, found);
    judge_upsets(&input.conditions.upsets, found);
    judge_admission(input.now, found);
    judge_reload(input.conditions, found);
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

/// A worker that is held up serves none of its clients; what stood still a moment ago explains what was late.
fn judge_upsets(upsets: &UpsetsView, found: &mut Findings) {
    for (worker, ms) in &upsets.late_workers {
        let seconds = duration_s(*ms as f64 / 1000.0);
        found.add(
            Level::Critical,
            format!("worker-{worker} has not come round for {seconds}: all of its clients wait."),
        );
    }
    if let Some(ms) = upsets.standstill_ms {
        let seconds = duration_s(ms as f64 / 1000.0);
        found.add(
            Level::Warning,
            format!("The gateway has stood still for {seconds}: it was stopped, or had no processor."),
        );
    }
    if let Some(ms) = upsets.jump_ms {
        let seconds = duration_s(ms.unsigned_abs() as f64 / 1000.0);
        let way = if ms > 0 { "ahead" } else { "back" };
        found.add(
            Level::Notice,
            format!("The system's clock jumped {seconds} {way}: times shown of before are off by that."),
        );
    }
}

/// The file and the process differ.
fn judge_reload(conditions: &Conditions, found: &mut Findings) {
    if let Some(first) = conditions.reload_refused.first() {
        let more = match conditions.reload_refused.len() {
            1 => String::new(),
            count => format!(", and {} more, which the log has", count - 1),
        };
        found.add(
            Level::Warning,
            format!("The configuration file was not taken over, the last one holds: {first}{more}."),
        );
    }
    if let Some(first) = conditions.secrets_refused.first() {
        found.add(Level::Warning, format!("A secret was not taken over, the former one holds: {first}."));
    }
    if !conditions.restart_needed.is_empty() {
        let (directives, have) = match conditions.restart_needed.len() {
            1 => (conditions.restart_needed[0].clone(), "has"),
            _ => (conditions.restart_needed.join(", "), "have"),
        };
        found.add(
            Level::Notice,
            format!("{directives} {have} changed in the file: only a restart takes that."),
        );
    }
}

/// Counters under quotas that can't be remembered are refused.
fn judge_admission(now: &Now, found: &mut Findings) {
    if now.admission_refused_per_s > 0.0 {
        let per_s = rate(now.admission_refused_per_s);
        found.add(
            Level::Critical,
            format!(
                "{per_s} increments/s under quotas are refused: as many counters are remembered as admission.keys_max and \
                 admission.bytes_max allow."
            ),
        );
    }
}
