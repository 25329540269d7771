//! Requests that fail. That is an effect: whatever is found to cause it comes before it.

use super::{Findings, Level, percent, rate};
use crate::monitor::view::Now;

/// Errors as a part of requests from which they are worth a warning, and a part that is an emergency.
const ERROR_SHARE_WARNING: f64 = 0.01;
const ERROR_SHARE_CRITICAL: f64 = 0.05;
/// A single error a second is no trend, whatever its share of little traffic.
const ERRORS_PER_S_MIN: f64 = 1.0;

pub(super) fn judge(now: &Now, found: &mut Findings) {
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
