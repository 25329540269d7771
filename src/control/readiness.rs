//! Whether the gateway can serve clients.
//!
//! The topology keeper and the workers use different connections. If the server turns the keeper away (`maxclients`, a changed
//! password) while the workers' connections are open and answer, clients are still served.

use tokio::time::Instant;

use crate::monitor::status::{SILENT_MS, duration_s};
use crate::monitor::view::Readiness;
use crate::shared::gateway::{Gateway, Stage};
use crate::shared::labels::NodeState;
use crate::shared::topology::{NodeIndex, Topology};

/// Whether clients can be served, for the HTTP side and everything that monitoring shows.
pub fn readiness(gateway: &Gateway) -> Readiness {
    match *gateway.stage.borrow() {
        Stage::Serving => {}
        Stage::Leaving | Stage::HandedOver => return Readiness::Leaving,
        Stage::Draining | Stage::Stopped => return Readiness::Draining,
    }
    let topology = gateway.topology.load();
    if let Some(trouble) = gateway.trouble_everywhere() {
        let reach_it = trouble.unheard && silent_masters(gateway, &topology).is_none();
        if reach_it && workers_reach_a_master(gateway, &topology) {
            return Readiness::Ready;
        }
        return Readiness::UpstreamUnreachable { why: trouble.why.clone() };
    }
    if let Some(why) = silent_masters(gateway, &topology) {
        return Readiness::UpstreamUnreachable { why };
    }
    if topology.is_ready() {
        return Readiness::Ready;
    }
    let servers: Vec<String> = match topology.nodes.is_empty() {
        true => gateway.config.load().all_servers().map(ToString::to_string).collect(),
        false => topology.nodes.iter().map(|node| node.address.to_string()).collect(),
    };
    let have = if servers.len() == 1 { "has" } else { "have" };
    Readiness::UpstreamUnreachable { why: format!("{} {have} not answered yet", servers.join(", ")) }
}

/// A sentence, if every master leaves the workers' requests, or the questions of the control thread, unanswered: no key can be served then.
fn silent_masters(gateway: &Gateway, topology: &Topology) -> Option<String> {
    let tallies: Vec<_> = gateway.workers.iter().map(|worker| worker.tallies.load()).collect();
    let now = Instant::now();
    let probed_ms = |master: &NodeIndex| {
        let node = topology.node(*master)?;
        Some(gateway.probes.of(node.cluster, &node.address)?.unanswered_ms(now))
    };
    let silent_ms = |master: &NodeIndex| {
        let rows = tallies.iter().filter_map(|tallies| tallies.nodes.get(master.position()));
        rows.map(|row| row.silent_ms).chain(probed_ms(master)).max().unwrap_or(0)
    };
    let masters = || topology.clusters().iter().flat_map(|map| &map.masters);
    let longest_ms = masters().map(silent_ms).min().filter(|ms| *ms >= SILENT_MS)?;
    let names: Vec<String> =
        masters().filter_map(|master| topology.node(*master)).map(|node| node.address.to_string()).collect();
    let have = if names.len() == 1 { "has" } else { "have" };
    Some(format!("{} {have} not answered for {}", names.join(", "), duration_s(longest_ms as f64 / 1000.0)))
}

/// Whether some master is connected to a worker, and no worker has tried in vain: its clients are served, whatever became of
/// a new connection of the control thread's.
fn workers_reach_a_master(gateway: &Gateway, topology: &Topology) -> bool {
    let tallies: Vec<_> = gateway.workers.iter().map(|worker| worker.tallies.load()).collect();
    topology.clusters().iter().flat_map(|map| &map.masters).any(|master| {
        let rows = tallies.iter().filter_map(|tallies| tallies.nodes.get(master.position()));
        let states: Vec<NodeState> = rows.map(|row| row.state).collect();
        states.contains(&NodeState::Up) && !states.contains(&NodeState::Down)
    })
}
