//! How requests, bytes and keys lie on the masters: a hot shard.

use std::collections::BTreeSet;

use super::{Findings, Level, StatusInput, percent};
use crate::monitor::view::NodeView;

/// A node that takes so many times what the others take, by their slots, is out of balance.
const SKEW_MIN: f64 = 3.0;
/// A key with this part of all requests explains the load of its node.
const ONE_KEY_SHARE: f64 = 0.3;
/// Below this many requests per second on the busiest node no imbalance matters.
const SKEW_REQUESTS_PER_S_MIN: f64 = 1_000.0;
/// The same for bytes, and for the keys that it holds.
const SKEW_BYTES_PER_S_MIN: f64 = 10_000_000.0;
const SKEW_KEYS_MIN: f64 = 10_000.0;

/// One master that takes several times its share of what its cluster takes, which is that of its slots, is a hot shard. Where one key makes
/// it so, that key is the cause, and has a sentence of its own; it does not make the data lie askew. What clusters take of each
/// other is what routes say.
pub(super) fn judge(input: &StatusInput<'_>, found: &mut Findings) {
    let clusters: BTreeSet<&str> = input.nodes.iter().map(|node| node.cluster.as_str()).collect();
    for cluster in &clusters {
        let of_it = input.nodes.iter().filter(|node| node.cluster == *cluster);
        let masters: Vec<&NodeView> = of_it.filter(|node| node.role == "master" && node.slots > 0).collect();
        let of_all = match clusters.len() {
            1 => "all ".to_owned(),
            _ => format!("the cluster {cluster}'s "),
        };
        judge_cluster(&masters, &of_all, input, found);
    }
}

fn judge_cluster(masters: &[&NodeView], of_all: &str, input: &StatusInput<'_>, found: &mut Findings) {
    let slots: f64 = masters.iter().map(|node| f64::from(node.slots)).sum();
    let busiest = |of: fn(&NodeView) -> f64, least: f64| {
        let per_slot = |node: &NodeView| of(node) / f64::from(node.slots);
        let most = masters.iter().max_by(|a, b| per_slot(a).total_cmp(&per_slot(b)))?;
        let all: f64 = masters.iter().map(|node| of(node)).sum();
        let others = (all - of(most)) / (slots - f64::from(most.slots)).max(1.0);
        let is_skewed = masters.len() > 1 && of(most) >= least && per_slot(most) >= SKEW_MIN * others;
        is_skewed.then(|| (most.node.clone(), of(most) / all, f64::from(most.slots) / slots))
    };
    let skewed = [
        busiest(|node| node.requests_per_s, SKEW_REQUESTS_PER_S_MIN).map(|skew| (skew, "requests")),
        busiest(|node| node.bytes_per_s, SKEW_BYTES_PER_S_MIN).map(|skew| (skew, "bytes")),
    ];
    let by_one_key =
        |node: &str| input.hot_keys.iter().any(|key| key.node == node && key.share >= ONE_KEY_SHARE);
    let mut tell = |does: &str, (node, share, of_slots): (String, f64, f64), what: &str| {
        let (share, of_slots) = (percent(share), percent(of_slots));
        let text =
            format!("Out of balance: {node} {does} {share} of {of_all}{what}, with {of_slots} of the slots.");
        found.add(Level::Warning, text);
    };
    if let Some((skew, what)) = skewed.into_iter().flatten().find(|s| !by_one_key(&s.0.0)) {
        tell("takes", skew, what);
    }
    if let Some(skew) = busiest(|node| node.keys.unwrap_or(0) as f64, SKEW_KEYS_MIN) {
        tell("holds", skew, "keys");
    }
}
