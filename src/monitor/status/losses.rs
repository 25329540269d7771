//! What was lost: while it is recent a line, and then a sentence beside the figures.

use super::{Findings, Level, duration_s, whole};
use crate::monitor::losses::{Loss, LossKind};

pub(super) fn judge(losses: &[Loss], found: &mut Findings) {
    for loss in losses.iter().filter(|loss| loss.recent > 0) {
        found.add(Level::Critical, format!("{}; the log names the counters.", words(loss.kind, loss.recent)));
    }
}

/// What was lost since the start, and when.
pub fn describe(loss: &Loss) -> String {
    let ago = |ms: u64| duration_s(ms as f64 / 1000.0);
    let (first, last) = (ago(loss.first_ms_ago), ago(loss.last_ms_ago));
    let when = match first == last {
        true => format!("{last} ago"),
        false => format!("the first {first} ago, the last {last} ago"),
    };
    format!("{} ({when}).", words(loss.kind, loss.count))
}

fn words(kind: LossKind, count: u64) -> String {
    let (one, many) = match kind {
        LossKind::Refused => (
            "write-behind increment is lost: Redis refused it",
            "write-behind increments are lost: Redis refused them",
        ),
        LossKind::Unknown => (
            "write-behind increment has an unknown outcome: Redis may have it or not",
            "write-behind increments have an unknown outcome: Redis may have them or not",
        ),
        LossKind::Owed => (
            "sum that a quota let through while Redis was away may be missing in its counter",
            "sums that quotas let through while Redis was away may be missing in their counters",
        ),
    };
    format!("{} {}", whole(i64::try_from(count).unwrap_or(i64::MAX)), if count == 1 { one } else { many })
}
