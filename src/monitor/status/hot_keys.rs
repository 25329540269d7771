//! Keys that take a large part of the traffic, and what becomes of it.

use super::nodes::LATE_US;
use super::{Findings, Level, StatusInput, name, percent, rate};
use crate::monitor::view::HotKeyView;

/// The share of all key accesses from which one key is worth a sentence.
const HOT_SHARE: f64 = 0.1;
/// Combining that lets through at most this part of what was offered does its work, whatever the node.
const COMBINED_SHARE_MAX: f64 = 0.2;
/// What lets through more than this has not combined.
const PASSED_SHARE_MIN: f64 = 0.9;

pub(super) fn judge(input: &StatusInput<'_>, found: &mut Findings) {
    for key in input.hot_keys.iter().filter(|key| key.share >= HOT_SHARE) {
        if is_refused(key, input) {
            continue;
        }
        let load = format!(
            "{} takes {} of all requests ({}/s)",
            name(&key.key),
            percent(key.share),
            rate(key.requests_per_s)
        );
        match (key.offered_per_s, key.flushed_per_s) {
            _ if key.cache_hits_per_s >= key.requests_per_s / 2.0 => {
                found.add(Level::Notice, format!("{load}, served from the read cache."));
            }
            _ if !is_served(key, input) => found.add(Level::Notice, format!("{load}.")),
            (Some(offered), Some(flushed)) if offered > 0.0 && flushed <= COMBINED_SHARE_MAX * offered => {
                found.add(Level::Notice, format!("{load}, combined to {}/s.", rate(flushed)));
            }
            (Some(offered), Some(flushed)) if offered > 0.0 && flushed <= PASSED_SHARE_MIN * offered => {
                let combined = format!("{load}, combined to {}/s", rate(flushed));
                match is_late(key, input) {
                    true => found
                        .add(Level::Warning, format!("{combined}, which {} can't keep up with.", key.node)),
                    false => found.add(Level::Notice, format!("{combined}.")),
                }
            }
            _ if is_late(key, input) => found.add(
                Level::Warning,
                format!("{load}, not combined: all of it reaches {}, which can't keep up.", key.node),
            ),
            _ => found.add(Level::Notice, format!("{load}, as it came: {} keeps up.", key.node)),
        }
    }
}

/// Refused operations do not reach Redis. The rule of the quota says the rest.
fn is_refused(key: &HotKeyView, input: &StatusInput<'_>) -> bool {
    let refused = input.quotas.iter().filter(|quota| quota.key == key.key).map(|quota| quota.refused_per_s);
    refused.sum::<f64>() >= key.requests_per_s / 2.0
}

/// Requests queue at its node. Where that could be helped by folding, they would be folded.
fn is_late(key: &HotKeyView, input: &StatusInput<'_>) -> bool {
    input.nodes.iter().any(|node| node.node == key.node && node.queue_us >= LATE_US)
}

/// Its node is there and answers, so what is sent reaches it.
fn is_served(key: &HotKeyView, input: &StatusInput<'_>) -> bool {
    let mut nodes = input.nodes.iter().filter(|node| node.node == key.node);
    !key.node.is_empty() && nodes.all(|node| node.up && node.silent_ms == 0)
}
