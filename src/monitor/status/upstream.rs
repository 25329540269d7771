//! Redis: what can't be reached, what does not answer, what carries more than its share.

use super::{Findings, Level, StatusInput, duration_s, duration_us, is_nearly_full, percent, rate, whole};
use crate::monitor::view::NodeView;
use crate::monitor::view::Readiness;
use crate::shared::labels::{NodeRefusal, RedirectKind};
use crate::shared::topology::SLOTS;

/// How long a node may leave requests unanswered. `/readyz` uses it as well.
pub const SILENT_MS: u64 = 1_000;
/// How much longer than alone requests may take at a node before it is said that they queue, in microseconds.
pub(super) const LATE_US: u64 = 2_000;
/// A node of whose replies one in a hundred takes at least this long is slow, in microseconds. It is a bound of the histogram, so what
/// is above it is surely longer than half of it.
const SLOW_US: u64 = 1 << 18;
/// A node that takes so many times what the others take, by their slots, is out of balance.
const SKEW_MIN: f64 = 3.0;
/// A key with this part of all requests explains the load of its node.
const ONE_KEY_SHARE: f64 = 0.3;
/// Below this many requests per second on the busiest node no imbalance matters.
const SKEW_REQUESTS_PER_S_MIN: f64 = 1_000.0;
/// The same for bytes, and for the keys that it holds.
const SKEW_BYTES_PER_S_MIN: f64 = 10_000_000.0;
const SKEW_KEYS_MIN: f64 = 10_000.0;

pub(super) fn judge(input: &StatusInput<'_>, found: &mut Findings) {
    match input.readiness {
        Readiness::Ready => {}
        Readiness::Draining => {
            found.add(Level::Notice, "Draining: what is in flight is finished, no new clients are taken.");
        }
        // A silent node is told of below, with what waits for it.
        Readiness::UpstreamUnreachable { .. } if input.nodes.iter().any(is_silent) => {}
        Readiness::UpstreamUnreachable { why } => {
            found.add(Level::Critical, format!("No Redis to serve from: {why}."));
        }
    }
    if let Some(why) = input.upstream_trouble {
        found.add(Level::Critical, format!("{why}."));
    }
    for missing in input.missing_rights {
        found.add(Level::Warning, format!("{missing}."));
    }
    let told = *input.readiness != Readiness::Ready;
    let lost = ["upstream_lost", "upstream_unavailable"];
    let fails = lost.iter().any(|kind| input.now.errors_by_kind_per_s.contains_key(kind));
    for node in input.nodes {
        // One that takes connections and does not answer them serves nobody either.
        let node = NodeView { up: node.up && !(fails && node.state == "connecting"), ..node.clone() };
        judge_node(&node, told, found);
    }
    judge_moves(input, found);
    judge_balance(input, found);
}

/// Slots that are on their way are no fault, and explain what takes longer.
fn judge_moves(input: &StatusInput<'_>, found: &mut Findings) {
    let per_s = |kind: RedirectKind| input.now.redirects_per_s.get(kind.label()).copied().unwrap_or(0.0);
    let (follow, wait) = (per_s(RedirectKind::Ask), per_s(RedirectKind::TryAgain));
    if follow + wait <= 0.0 {
        return;
    }
    let waiting = if wait > 0.0 {
        format!(", {}/s wait until their keys are together (TRYAGAIN)", rate(wait))
    } else {
        String::new()
    };
    found.add(
        Level::Notice,
        format!("Slots are on their way to another master: {}/s go after them (ASK){waiting}.", rate(follow)),
    );
}

fn is_silent(node: &NodeView) -> bool {
    node.silent_ms >= SILENT_MS
}

fn judge_node(node: &NodeView, unready: bool, found: &mut Findings) {
    let NodeView { node: name, slots, .. } = node;
    let is_master = node.role == "master";
    if is_silent(node) {
        let seconds = duration_s(node.silent_ms as f64 / 1000.0);
        let level = if is_master { Level::Critical } else { Level::Warning };
        found.add(level, format!("{name} has not answered for {seconds}; {}.", waiting(node.waiting)));
    } else if !node.up && is_master && *slots == u32::from(SLOTS) {
        if !unready {
            found.add(Level::Critical, format!("Redis at {name} can't be reached."));
        }
    } else if !node.up && is_master {
        let slots = whole(i64::from(*slots));
        found.add(Level::Critical, format!("Master {name} is down; its {slots} slots are not served."));
    } else if !node.up {
        found.add(Level::Warning, format!("Replica {name} is down."));
    }
    judge_refusals(node, found);
    if node.queue_us >= LATE_US && !is_silent(node) {
        let queue = duration_us(node.queue_us as f64);
        found.add(Level::Warning, format!("{name} can't keep up: requests queue there for {queue}."));
    }
    if node.p99_us >= SLOW_US && !is_silent(node) {
        let longer = duration_us(node.p99_us as f64 / 2.0);
        found.add(
            Level::Warning,
            format!("{name} is slow: one reply in a hundred takes longer than {longer}."),
        );
    }
    if is_nearly_full(node.inflight, node.inflight_max) {
        let share = percent(node.inflight as f64 / node.inflight_max as f64);
        found
            .add(Level::Warning, format!("Node {name} is near its limit: {share} of its inflight requests."));
    }
}

/// What a server says of its own state, in the words of an operator. One of them is enough to be told: it is refused work
/// that somebody waits for.
fn judge_refusals(node: &NodeView, found: &mut Findings) {
    for refusal in NodeRefusal::ALL {
        let Some(per_s) = node.refusals_per_s.get(refusal.label()) else { continue };
        let what = match refusal {
            NodeRefusal::OutOfMemory => {
                "is out of memory and refuses writes: raise maxmemory, or let it evict"
            }
            NodeRefusal::CannotSave => "can't save its data to disk and refuses writes: see its log",
            NodeRefusal::Replica => "is a replica and refuses writes",
            NodeRefusal::Loading => "is loading its data",
            NodeRefusal::Busy => "is busy with a script that does not end: SCRIPT KILL ends it",
            NodeRefusal::MasterDown => "is a replica that has lost its master and refuses reads",
            NodeRefusal::ClusterDown => "says that the cluster is down: see CLUSTER INFO on it",
            NodeRefusal::TooFewReplicas => "has too few replicas in sync and refuses writes",
            NodeRefusal::NoPermission => "refuses commands because the gateway's user lacks a right (NOPERM)",
            NodeRefusal::NotLoggedIn => "wants a password from the gateway (NOAUTH): set upstream.password",
        };
        found.add(Level::Critical, format!("{} {what} ({}/s).", node.node, rate(*per_s)));
    }
}

fn waiting(requests: u64) -> String {
    match requests {
        0 => "new requests are held back".to_owned(),
        1 => "one request waits".to_owned(),
        requests => format!("{} requests wait", whole(requests as i64)),
    }
}

/// One master that takes several times its share, which is that of its slots, is a hot shard. Where one key makes it so, that key is the
/// cause, and has a sentence of its own; it does not make the data lie askew.
fn judge_balance(input: &StatusInput<'_>, found: &mut Findings) {
    let masters: Vec<&NodeView> =
        input.nodes.iter().filter(|node| node.role == "master" && node.slots > 0).collect();
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
        found.add(
            Level::Warning,
            format!("Out of balance: {node} {does} {share} of all {what}, with {of_slots} of the slots."),
        );
    };
    if let Some((skew, what)) = skewed.into_iter().flatten().find(|s| !by_one_key(&s.0.0)) {
        tell("takes", skew, what);
    }
    if let Some(skew) = busiest(|node| node.keys.unwrap_or(0) as f64, SKEW_KEYS_MIN) {
        tell("holds", skew, "keys");
    }
}
