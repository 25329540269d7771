//! What is wrong, in one line: the sentence at the top of the dashboard and of `hotgate top`.
//!
//! Every rule looks at the figures of the view and states what it found, with a level; the worst finding is
//! the sentence, the others follow below it. Thresholds are here, beside the rules that use them, and are the
//! same as those of `conf/prometheus/alerts.yml` where both judge the same thing.

use serde::Serialize;

use super::sources::Readiness;
use super::view::{HotKeyView, NodeView, Now, QuotaView, Totals};

/// Errors as a part of requests from which they are worth a warning, and a part that is an emergency.
const ERROR_SHARE_WARNING: f64 = 0.01;
const ERROR_SHARE_CRITICAL: f64 = 0.05;
/// A single error a second is no trend, whatever its share of little traffic.
const ERRORS_PER_S_MIN: f64 = 1.0;
/// How full a buffer or queue may be before it is worth a warning.
const FULL_SHARE_WARNING: f64 = 0.8;
/// The share of all key accesses from which one key is worth a sentence.
const HOT_SHARE: f64 = 0.1;
/// Combining that lets through at most this part of what was offered does its work.
const COMBINED_SHARE_MAX: f64 = 0.2;
/// How much of a limit is used when a sale nears its end.
const QUOTA_USED_SHARE: f64 = 0.9;
/// Or how soon it ends at this rate, in seconds.
const QUOTA_ENDS_S: f64 = 60.0;
/// Findings shown at once; the rest is in the tables.
const FINDINGS_MAX: usize = 8;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing to say.
    Ok,
    /// Worth knowing; nothing to do.
    Notice,
    /// Worth a look before it gets worse.
    Warning,
    /// Clients suffer now.
    Critical,
}

impl Level {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Notice => "notice",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// One thing that a rule found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is.
    pub sentence: String,
}

/// The verdict on a view.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Status {
    /// The worst finding's level.
    pub level: Level,
    /// The worst finding, or that all is quiet.
    pub sentence: String,
    /// The other findings, worst first.
    pub others: Vec<Finding>,
}

/// The figures that the rules look at.
pub struct Evidence<'a> {
    /// Whether traffic should come here.
    pub readiness: &'a Readiness,
    /// The last second.
    pub now: &'a Now,
    /// Levels.
    pub totals: &'a Totals,
    /// Hottest first.
    pub hot_keys: &'a [HotKeyView],
    /// Upstream nodes.
    pub nodes: &'a [NodeView],
    /// Keys under quotas.
    pub quotas: &'a [QuotaView],
}

/// Judges the figures.
pub fn judge(evidence: &Evidence<'_>) -> Status {
    let mut findings = Vec::new();
    let mut find = |level, sentence| findings.push(Finding { level, sentence });
    upstream(evidence, &mut find);
    errors(evidence.now, &mut find);
    buffers(evidence.totals, &mut find);
    hot_keys(evidence.hot_keys, &mut find);
    quotas(evidence.quotas, &mut find);
    // The sort is stable: among equals the order of the rules holds.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings.truncate(FINDINGS_MAX);
    if findings.is_empty() {
        return Status { level: Level::Ok, sentence: all_quiet(evidence), others: Vec::new() };
    }
    let worst = findings.remove(0);
    Status { level: worst.level, sentence: worst.sentence, others: findings }
}

fn all_quiet(evidence: &Evidence<'_>) -> String {
    let now = evidence.now;
    let hot = match evidence.hot_keys.len() {
        0 => "no hot keys".to_owned(),
        1 => "one hot key below 10 % of all requests".to_owned(),
        count => format!("{count} hot keys, each below 10 % of all requests"),
    };
    if now.requests_per_s < 1.0 {
        return format!("All quiet: no traffic, {hot}.");
    }
    let p99 = duration_us(now.request_time.p99_us);
    format!("All quiet: {}/s, p99 {p99}, {hot}.", rate(now.requests_per_s))
}

fn upstream(evidence: &Evidence<'_>, find: &mut impl FnMut(Level, String)) {
    match evidence.readiness {
        Readiness::Ready => {}
        Readiness::Draining => {
            find(Level::Notice, "Draining: what is in flight is finished, no new clients are taken.".into());
        }
        Readiness::UpstreamUnreachable { why } => {
            find(Level::Critical, format!("Redis can't be reached: {why}."))
        }
    }
    for node in evidence.nodes.iter().filter(|node| !node.up) {
        if node.role == "master" {
            find(
                Level::Critical,
                format!("Master {} is down; its {} slots are not served.", node.node, node.slots),
            );
        } else {
            find(Level::Warning, format!("Replica {} is down.", node.node));
        }
    }
    for node in evidence.nodes.iter().filter(|node| is_nearly_full(node.inflight, node.inflight_max)) {
        let percent = percent(node.inflight as f64 / node.inflight_max as f64);
        find(
            Level::Warning,
            format!("Node {} is near its limit: {percent} of its inflight requests.", node.node),
        );
    }
}

fn errors(now: &Now, find: &mut impl FnMut(Level, String)) {
    let share = now.errors_per_s / now.requests_per_s.max(1.0);
    if now.errors_per_s < ERRORS_PER_S_MIN || share < ERROR_SHARE_WARNING {
        return;
    }
    let level = if share >= ERROR_SHARE_CRITICAL { Level::Critical } else { Level::Warning };
    let most = now.errors_by_kind_per_s.iter().max_by(|a, b| a.1.total_cmp(b.1));
    let kind = most.map_or(String::new(), |(kind, _)| format!(", most of them {}", kind.replace('_', " ")));
    find(level, format!("{} of all requests fail ({}/s){kind}.", percent(share), rate(now.errors_per_s)));
}

fn buffers(totals: &Totals, find: &mut impl FnMut(Level, String)) {
    if is_nearly_full(totals.buffered_bytes, totals.buffered_bytes_max) {
        let share = percent(totals.buffered_bytes as f64 / totals.buffered_bytes_max as f64);
        find(
            Level::Warning,
            format!("Client buffers are {share} full: clients read slower than Redis replies."),
        );
    }
    if is_nearly_full(totals.write_behind_pending, totals.write_behind_pending_max) {
        let (pending, age_s) =
            (totals.write_behind_pending as f64, totals.write_behind_oldest_ms as f64 / 1000.0);
        find(
            Level::Warning,
            format!("{} write-behind deltas wait, the oldest for {age_s:.1} s.", rate(pending)),
        );
    }
    if totals.write_behind_unknown > 0 {
        let count = rate(totals.write_behind_unknown as f64);
        find(Level::Warning, format!("The outcome of {count} write-behind flushes is not known."));
    }
    if totals.write_behind_lost > 0 {
        let count = rate(totals.write_behind_lost as f64);
        find(Level::Warning, format!("{count} write-behind increments are lost: Redis refused them."));
    }
    if totals.journal_refusing > 0 {
        find(
            Level::Warning,
            "The write-behind journal refuses increments: its disk is full or fails.".to_owned(),
        );
    }
}

fn hot_keys(keys: &[HotKeyView], find: &mut impl FnMut(Level, String)) {
    for key in keys.iter().filter(|key| key.share >= HOT_SHARE) {
        let load = format!(
            "{} takes {} of all requests ({}/s)",
            key.key,
            percent(key.share),
            rate(key.requests_per_s)
        );
        match (key.offered_per_s, key.flushed_per_s) {
            (Some(offered), Some(flushed)) if offered > 0.0 && flushed <= COMBINED_SHARE_MAX * offered => {
                find(Level::Notice, format!("{load}, combined to {}/s.", rate(flushed)));
            }
            _ if key.cache_hits_per_s >= key.requests_per_s / 2.0 => {
                find(Level::Notice, format!("{load}, served from the read cache."));
            }
            _ if key.node.is_empty() => find(Level::Warning, format!("{load}, not combined.")),
            _ => find(Level::Warning, format!("{load}, not combined: all of it reaches {}.", key.node)),
        }
    }
}

fn quotas(quotas: &[QuotaView], find: &mut impl FnMut(Level, String)) {
    for quota in quotas {
        let refusing = if quota.refused_per_s >= 1.0 {
            format!(", refusing {}/s", rate(quota.refused_per_s))
        } else {
            String::new()
        };
        let lasting = quota.window_ms.is_none();
        if quota.refused_unavailable_per_s > 0.0 {
            find(Level::Critical, format!("{} is refused because Redis is away{refusing}.", quota.key));
        } else if quota.paused {
            find(Level::Notice, format!("{} is paused by an operator{refusing}.", quota.key));
        } else if quota.exhausted && lasting {
            find(Level::Notice, format!("{} is sold out{refusing}.", quota.key));
        } else if lasting && quota.used_share.is_some_and(|share| share >= QUOTA_USED_SHARE) {
            let ends =
                quota.sold_out_in_s.map_or(String::new(), |s| format!(", {} at this rate", duration_s(s)));
            find(Level::Notice, format!("{} is nearly sold out{}{ends}.", quota.key, left(quota)));
        } else if let Some(seconds) = quota.sold_out_in_s.filter(|s| lasting && *s < QUOTA_ENDS_S) {
            let ends = duration_s(seconds);
            find(Level::Notice, format!("{} sells out in {ends} at this rate{}.", quota.key, left(quota)));
        }
    }
}

fn left(quota: &QuotaView) -> String {
    quota.remaining.map_or(String::new(), |left| format!(": {} left", whole(left)))
}

fn is_nearly_full(level: u64, bound: u64) -> bool {
    bound > 0 && level as f64 >= FULL_SHARE_WARNING * bound as f64
}

/// A share as `61 %`.
pub fn percent(share: f64) -> String {
    if share > 0.0 && share < 0.0995 {
        format!("{:.1} %", share * 100.0)
    } else {
        format!("{:.0} %", share * 100.0)
    }
}

/// A rate or a count with three significant digits and commas: `84,200`.
pub fn rate(value: f64) -> String {
    if value < 10.0 && value.fract() > 0.005 {
        return format!("{value:.1}");
    }
    let magnitude = 10f64.powi((value.max(1.0).log10().floor() as i32 - 2).max(0));
    whole(((value / magnitude).round() * magnitude) as i64)
}

/// A whole number with commas.
pub fn whole(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = if value < 0 { String::from("-") } else { String::new() };
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A time in microseconds as people say it: `8.7 µs`, `0.82 ms`, `1.3 s`.
pub fn duration_us(us: f64) -> String {
    match us {
        us if us < 100.0 => format!("{us:.1} µs"),
        us if us < 1_000.0 => format!("{us:.0} µs"),
        us if us < 100_000.0 => format!("{:.2} ms", us / 1_000.0),
        us if us < 1_000_000.0 => format!("{:.0} ms", us / 1_000.0),
        us => format!("{:.2} s", us / 1_000_000.0),
    }
}

/// A span in seconds as people say it: `40 s`, `12 min`, `3.5 h`.
pub fn duration_s(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
