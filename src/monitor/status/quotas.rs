//! Quotas: who is refused, and why.

use super::{Findings, Level, duration_s, name, rate, whole};
use crate::monitor::view::QuotaView;

/// How much of a limit is used when a sale nears its end.
const QUOTA_USED_SHARE: f64 = 0.9;
/// Or how soon it ends at this rate, in seconds.
const QUOTA_ENDS_S: f64 = 60.0;

pub(super) fn judge(quotas: &[QuotaView], found: &mut Findings) {
    for quota in quotas {
        judge_one(quota, found);
    }
}

fn judge_one(quota: &QuotaView, found: &mut Findings) {
    let key = name(&quota.key);
    let refusing = if quota.refused_per_s >= 1.0 {
        format!(", refusing {}/s", rate(quota.refused_per_s))
    } else {
        String::new()
    };
    let lasting = quota.window_ms.is_none();
    if quota.refused_fault_per_s > 0.0 {
        let why = if quota.fault.is_empty() { "it can't be applied" } else { &quota.fault };
        found.add(Level::Critical, format!("{key} is refused by its quota: {why}{refusing}."));
    } else if quota.refused_unavailable_per_s > 0.0 {
        found.add(Level::Critical, format!("{key} is refused because Redis is away{refusing}."));
    } else if quota.refused_unconfirmed_per_s > 0.0 {
        found.add(
            Level::Warning,
            format!("{key} is refused because too few replicas confirm in time (wait_replicas){refusing}."),
        );
    } else if quota.paused {
        found.add(Level::Notice, format!("{key} is paused by an operator{refusing}."));
    } else if quota.exhausted && lasting {
        found.add(Level::Notice, format!("{key} is sold out{refusing}."));
    } else if !lasting && quota.refused_per_s >= 1.0 {
        let each = quota.window_ms.map_or(0.0, |ms| ms as f64 / 1000.0);
        let limit = quota.limit.map_or("its limit".to_owned(), whole);
        found.add(Level::Notice, format!("{key} is held to {limit} per {}{refusing}.", duration_s(each)));
    } else if lasting && quota.used_share.is_some_and(|share| share >= QUOTA_USED_SHARE) {
        let ends = quota.sold_out_in_s.map_or(String::new(), |s| format!(", {} at this rate", duration_s(s)));
        found.add(Level::Notice, format!("{key} is nearly sold out{}{ends}.", left(quota)));
    } else if let Some(seconds) = quota.sold_out_in_s.filter(|s| lasting && *s < QUOTA_ENDS_S) {
        let ends = duration_s(seconds);
        found.add(Level::Notice, format!("{key} sells out in {ends} at this rate{}.", left(quota)));
    }
}

fn left(quota: &QuotaView) -> String {
    quota.remaining.map_or(String::new(), |left| format!(": {} left", whole(left)))
}
