//! Write-behind and its journal: what waits for Redis, and what is refused for want of room or disk.

use super::{Findings, Level, StatusInput, is_nearly_full, rate};

pub(super) fn judge(input: &StatusInput<'_>, found: &mut Findings) {
    let (now, totals) = (input.now, input.totals);
    if now.write_behind_refused_per_s > 0.0 {
        let per_s = rate(now.write_behind_refused_per_s);
        found.add(
            Level::Critical,
            format!(
                "Write-behind refuses {per_s} increments/s: Redis has not taken write_behind.pending_max that were \
                 answered before."
            ),
        );
    }
    if is_nearly_full(totals.write_behind_pending, totals.write_behind_pending_max) {
        let (pending, age_s) =
            (totals.write_behind_pending as f64, totals.write_behind_oldest_ms as f64 / 1000.0);
        found.add(
            Level::Warning,
            format!("{} write-behind deltas wait, the oldest for {age_s:.1} s.", rate(pending)),
        );
    }
    if totals.journal_refusing > 0 {
        let why = match (totals.journal_full, totals.journal_os_error) {
            (1.., _) => "what Redis has not taken fills write_behind.journal_bytes_max".to_owned(),
            (0, 0) => "it can't be written, see the log".to_owned(),
            (0, code) => format!("it can't be written: {}", std::io::Error::from_raw_os_error(code)),
        };
        found.add(Level::Critical, format!("The write-behind journal refuses increments: {why}."));
    }
}
