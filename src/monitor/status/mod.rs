//! What is wrong, in one line: the sentence at the top of the dashboard and of `hotgate top`.
//!
//! Every rule reads the figures of the view and states what it found, with a level. The worst finding is the sentence, and the
//! others follow below it. Among equal levels the order of the rules decides: a cause comes before its effects, so Redis comes
//! first, then the gateway itself, then clients, keys and quotas.
//!
//! Each threshold is declared next to its rule. It equals the one in `conf/prometheus/alerts.yml` if both judge the same thing.

mod admin;
mod balance;
mod certificates;
mod clients;
mod errors;
mod gateway;
mod hot_keys;
mod ledger;
mod losses;
mod nodes;
mod quotas;
mod sales;
mod upstream;
mod words;
mod write_behind;

use super::losses::Loss;
use super::sales::SaleView;
use super::verdict::{Finding, Level, Status};
use super::view::{Conditions, HotKeyView, NodeView, Now, QuotaView, Readiness, Totals};
pub use losses::describe;
pub use nodes::SILENT_MS;
pub use words::{duration_s, duration_us, name, percent, rate, whole};

/// How full a buffer or queue may be before it is worth a warning.
const FULL_SHARE_WARNING: f64 = 0.8;
/// Findings shown at once; the rest is in the tables.
const FINDINGS_MAX: usize = 8;

/// The figures that the rules look at.
#[derive(Clone, Copy)]
pub struct StatusInput<'a> {
    /// Whether traffic should come here.
    pub readiness: &'a Readiness,
    /// What is wrong with the upstream as a whole, although it serves.
    pub upstream_trouble: Option<&'a str>,
    /// Rights that the upstream user lacks, as sentences without a full stop.
    pub missing_rights: &'a [String],
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
    /// Sales of reservations.
    pub sales: &'a [SaleView],
    /// What was lost since the start.
    pub losses: &'a [Loss],
    /// What is wrong besides what is counted.
    pub conditions: &'a Conditions,
}

impl StatusInput<'_> {
    /// Slots without a master are what is wrong. While nothing can be served, that is.
    fn has_unserved_slots(&self) -> bool {
        self.conditions.unserved_slots > 0 && *self.readiness == Readiness::Ready
    }
}

/// Where rules put what they found.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, level: Level, sentence: impl Into<String>) {
        let mut sentence = sentence.into();
        // What a server said of itself may end with a full stop of its own.
        if sentence.ends_with("..") && !sentence.ends_with("...") {
            sentence.pop();
        }
        self.0.push(Finding { level, sentence });
    }
}

/// Judges the figures.
pub fn judge(input: &StatusInput<'_>) -> Status {
    let mut found = Findings::default();
    upstream::judge(input, &mut found);
    nodes::judge(input, &mut found);
    upstream::judge_slots(input, &mut found);
    balance::judge(input, &mut found);
    gateway::judge(input, &mut found);
    certificates::judge(&input.totals.certificates, &mut found);
    write_behind::judge(input, &mut found);
    losses::judge(input.losses, &mut found);
    clients::judge(input, &mut found);
    hot_keys::judge(input, &mut found);
    quotas::judge(input.quotas, &mut found);
    sales::judge(input.sales, &mut found);
    ledger::judge(input.conditions.ledger.as_ref(), &mut found);
    admin::judge(input.now, &mut found);
    errors::judge(input, &mut found);
    let Findings(mut findings) = found;
    // The sort is stable: among equals the order of the rules holds.
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings.truncate(FINDINGS_MAX);
    if findings.is_empty() {
        return Status { level: Level::Ok, sentence: all_quiet(input), others: Vec::new() };
    }
    let worst = findings.remove(0);
    Status { level: worst.level, sentence: worst.sentence, others: findings }
}

fn all_quiet(input: &StatusInput<'_>) -> String {
    let now = input.now;
    let hot = match input.hot_keys.len() {
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

fn is_nearly_full(level: u64, bound: u64) -> bool {
    bound > 0 && level as f64 >= FULL_SHARE_WARNING * bound as f64
}

#[cfg(test)]
mod condition_tests;
#[cfg(test)]
mod tests;
