//! Single nodes: what can't be reached, what does not answer, what refuses, and who has lost its replicas.

use super::{Findings, Level, StatusInput, duration_s, duration_us, is_nearly_full, percent, rate, whole};
use crate::config::naming;
use crate::monitor::view::{NodeView, Readiness};
use crate::shared::labels::NodeRefusal;
use crate::shared::topology::SLOTS;

/// How long a node may leave requests unanswered. `/readyz` uses it as well.
pub const SILENT_MS: u64 = 1_000;
/// How long it may do so without a notice.
const LATE_MS: u64 = 500;
/// How much longer than alone requests may take at a node before it is said that they queue, in microseconds.
pub(super) const LATE_US: u64 = 2_000;
/// A node of whose replies one in a hundred takes at least this long is slow, in microseconds. It is a bound of the histogram, so what
/// is above it is surely longer than half of it.
const SLOW_US: u64 = 1 << 18;
/// The part of the clients that a node may have from which the gateway's next connection is in danger.
const CLIENTS_SHARE: f64 = 0.95;
/// Masters that are named when several have lost their replicas.
const MASTERS_NAMED_MAX: usize = 3;

pub(super) fn judge(input: &StatusInput<'_>, found: &mut Findings) {
    let is_told = *input.readiness != Readiness::Ready;
    let lost = ["upstream_lost", "upstream_unavailable"];
    let fails = lost.iter().any(|kind| input.now.errors_by_kind_per_s.contains_key(kind));
    for node in input.nodes {
        // One that takes connections and does not answer them serves nobody either.
        let node = NodeView { up: node.up && !(fails && node.state == "connecting"), ..node.clone() };
        judge_reach(&node, is_told, found);
        judge_refusals(&node, found);
        judge_connections(&node, is_told, found);
        judge_pace(&node, found);
    }
    // Slots that nobody has make nodes say so, and are told of as the cause.
    if !input.has_unserved_slots() {
        judge_down_clusters(input.nodes, found);
    }
    judge_replicas(input.nodes, found);
}

/// It takes connections, and says nothing. One that takes none is down.
pub(super) fn is_silent(node: &NodeView) -> bool {
    node.silent_ms >= SILENT_MS && node.probe.unreachable.is_empty()
}

/// It may be about to be silent: nobody should read meanwhile that all is quiet.
fn is_late(node: &NodeView) -> bool {
    node.silent_ms >= LATE_MS && node.waiting > 0 && node.up && node.probe.unreachable.is_empty()
}

/// It says so itself, and not that it is busy, which is told of by its replies.
fn is_holding(node: &NodeView) -> bool {
    node.held_ms >= SILENT_MS && node.up && !node.refusals_per_s.contains_key(NodeRefusal::Busy.label())
}

/// Silent or down. A replica that is down leaves its master to serve, and is told of with it.
fn judge_reach(node: &NodeView, is_told: bool, found: &mut Findings) {
    let NodeView { node: name, slots, .. } = node;
    let is_master = node.role == "master";
    if is_silent(node) {
        let seconds = duration_s(node.silent_ms as f64 / 1000.0);
        let level = if is_master { Level::Critical } else { Level::Warning };
        let waiting = waiting(node);
        found.add(
            level,
            match node.probe.paused {
                true => format!("{name} has held all commands back for {seconds} (CLIENT PAUSE); {waiting}."),
                false => format!("{name} has not answered for {seconds}; {waiting}."),
            },
        );
    } else if is_holding(node) {
        let seconds = duration_s(node.held_ms as f64 / 1000.0);
        let waiting = waiting(node);
        found.add(
            Level::Warning,
            format!("{name} has held commands back for {seconds} (CLIENT PAUSE, a failover, or a script); {waiting}."),
        );
    } else if is_late(node) {
        let (seconds, waiting) = (node.silent_ms as f64 / 1000.0, waiting(node));
        found.add(Level::Notice, format!("{name} has not answered for {seconds:.1} s; {waiting}."));
    } else if !node.up && is_master && *slots == u32::from(SLOTS) {
        if !is_told {
            found.add(Level::Critical, format!("Redis at {name} can't be reached."));
        }
    } else if !node.up && is_master && *slots > 0 {
        let slots = whole(i64::from(*slots));
        found.add(Level::Critical, format!("Master {name} is down; its {slots} slots are not served."));
    } else if !node.up && is_master {
        found.add(Level::Notice, format!("Master {name}, which has no slots, is down."));
    }
}

fn waiting(node: &NodeView) -> String {
    match node.waiting {
        0 if node.probe.only_probed => "no client has asked it meanwhile".to_owned(),
        0 => "new requests are held back".to_owned(),
        1 => "one request waits".to_owned(),
        requests => format!("{} requests wait", whole(requests as i64)),
    }
}

/// What a server says of its own state, in the words of an operator. One of them is enough to be told: it is refused work
/// that somebody waits for, or that somebody would wait for.
fn judge_refusals(node: &NodeView, found: &mut Findings) {
    // That the cluster is down is told of once, for all of its nodes.
    for refusal in NodeRefusal::ALL.iter().filter(|refusal| **refusal != NodeRefusal::ClusterDown) {
        let per_s = node.refusals_per_s.get(refusal.label());
        if per_s.is_none() && node.probe.refuses != refusal.label() {
            continue;
        }
        let what = match refusal {
            NodeRefusal::OutOfMemory => {
                "is out of memory and refuses writes: raise maxmemory, or let it evict"
            }
            NodeRefusal::CannotSave => "can't save its data to disk and refuses writes: see its log",
            NodeRefusal::Replica => "is a replica and refuses writes",
            NodeRefusal::Loading => "is loading its data",
            NodeRefusal::Busy => "is busy with a script that does not end: SCRIPT KILL ends it",
            NodeRefusal::MasterDown => "is a replica that has lost its master and refuses reads",
            NodeRefusal::ClusterDown => continue,
            NodeRefusal::TooFewReplicas => "has too few replicas in sync and refuses writes",
            NodeRefusal::NoPermission => "refuses commands because the gateway's user lacks a right (NOPERM)",
            NodeRefusal::NotLoggedIn => "wants a password from the gateway (NOAUTH): set upstream.password",
        };
        let level = match (per_s, node.role) {
            (None, "replica") => Level::Notice,
            _ => Level::Critical,
        };
        let what = naming(&node.cluster, what);
        let per_s = per_s.map_or(String::new(), |per_s| format!(" ({}/s)", rate(*per_s)));
        found.add(level, format!("{} {what}{per_s}.", node.node));
    }
}

/// Nodes that say that the cluster is down, whether or not anybody asks them for anything.
fn judge_down_clusters(nodes: &[NodeView], found: &mut Findings) {
    let label = NodeRefusal::ClusterDown.label();
    let refused = |node: &NodeView| node.refusals_per_s.get(label).copied();
    let mut saying = nodes
        .iter()
        .filter(|node| refused(node).is_some() || (node.probe.refuses == label && node.role == "master"));
    let Some(first) = saying.next() else { return };
    let more = match saying.count() {
        0 => "says".to_owned(),
        1 => "and another say".to_owned(),
        count => format!("and {count} more say"),
    };
    let per_s: f64 = nodes.iter().filter_map(refused).sum();
    let per_s = if per_s > 0.0 { format!(" ({}/s)", rate(per_s)) } else { String::new() };
    found.add(
        Level::Critical,
        format!("{} {more} that the cluster is down: see CLUSTER INFO on it{per_s}.", first.node),
    );
}

/// What lies in wait for the next connection to a node, while those that are open serve.
fn judge_connections(node: &NodeView, is_told: bool, found: &mut Findings) {
    let NodeView { node: name, probe, .. } = node;
    if !probe.turns_away.is_empty() && !is_told {
        let why = &probe.turns_away;
        found.add(Level::Warning, format!("{name} turns the gateway's new connections away: {why}."));
    } else if probe.clients_max > 0 && probe.clients as f64 >= CLIENTS_SHARE * probe.clients_max as f64 {
        let (clients, max) = (whole(probe.clients as i64), whole(probe.clients_max as i64));
        found.add(
            Level::Warning,
            format!("{name} has {clients} of the {max} clients that it may have (maxclients): the gateway's next connection may be turned away."),
        );
    }
    if !probe.unresolved.is_empty() && !is_told {
        let why = &probe.unresolved;
        found.add(
            Level::Warning,
            format!("The name of {name} has no address any more ({why}): open connections serve, new ones will fail."),
        );
    }
    if probe.stranger {
        found.add(
            Level::Warning,
            format!("At {name} is another server now, which is not the node that was there: see CLUSTER NODES on it."),
        );
    }
}

/// Late, slow, or full of requests.
fn judge_pace(node: &NodeView, found: &mut Findings) {
    let name = &node.node;
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

/// Masters that nobody could take over from, and replicas that are missing beside others. Nobody suffers yet.
fn judge_replicas(nodes: &[NodeView], found: &mut Findings) {
    let bereft: Vec<&NodeView> = nodes.iter().filter(|node| node.lost_replicas && node.up).collect();
    match bereft.as_slice() {
        [] => {}
        [master] => {
            let what = match master.slots == u32::from(SLOTS) {
                true => "nobody takes over if it fails".to_owned(),
                false => {
                    format!("nobody takes its {} slots over if it fails", whole(i64::from(master.slots)))
                }
            };
            found.add(Level::Notice, format!("{} has lost its replica: {what}.", master.node));
        }
        masters => {
            let named: Vec<&str> =
                masters.iter().take(MASTERS_NAMED_MAX).map(|master| master.node.as_str()).collect();
            let more = match masters.len() - named.len() {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let (count, named) = (masters.len(), named.join(", "));
            found.add(
                Level::Notice,
                format!("{count} masters have lost their replicas, and nobody takes over if one fails: {named}{more}."),
            );
        }
    }
    for replica in nodes.iter().filter(|node| node.role == "replica" && !node.up && !is_silent(node)) {
        let NodeView { node: name, master, probe, .. } = replica;
        let has_others = !bereft.iter().any(|bereft| bereft.node == *master);
        // Its master's sentence says it already, unless the replica answers and has no link.
        if probe.unlinked && probe.unreachable.is_empty() {
            found.add(
                Level::Notice,
                format!("Replica {name} has no link to its master {master}: what is read there grows old."),
            );
        } else if has_others {
            found.add(Level::Notice, format!("Replica {name} of {master} is down; others are in place."));
        }
    }
}
