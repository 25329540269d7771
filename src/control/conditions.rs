//! What is wrong besides what is counted, for monitoring: slots without a master, servers that are named and no use, and a configuration
//! file that was not taken over.

use crate::monitor::ledger;
use crate::monitor::view::{Conditions, ServerFault};
use crate::shared::gateway::Gateway;
use crate::shared::probes::NodeProbe;
use crate::shared::topology::{SLOTS, Topology, UpstreamKind};

/// As far as the control thread knows it.
pub fn conditions(gateway: &Gateway) -> Conditions {
    let topology = gateway.topology.load();
    let file = gateway.config_file.load();
    let (mut unusable_servers, stray_servers) = unusable_servers(gateway, &topology);
    let (config, mut no_sentinel) = (gateway.config.load(), false);
    for cluster in config.clusters() {
        let trouble = gateway.facts_of(cluster).sentinels();
        let fault = |what: &String| ServerFault {
            cluster: config.cluster_name(cluster).to_owned(),
            what: what.clone(),
        };
        unusable_servers.extend(trouble.unusable.iter().map(fault));
        no_sentinel |= trouble.is_blind;
    }
    Conditions {
        unserved_slots: unserved_slots(&topology),
        clusters_away: clusters_away(gateway),
        unusable_servers,
        no_sentinel,
        stray_servers,
        reload_refused: file.refused.clone(),
        restart_needed: file.restart_needed.clone(),
        secrets_refused: file.secrets_refused.clone(),
        ledger: gateway
            .ledger
            .load()
            .map(|heard| ledger::view(&heard, gateway.config.load().ledger.required, &gateway.key_names)),
        ..Conditions::default()
    }
}

/// While all are away, that is told of Redis as a whole.
fn clusters_away(gateway: &Gateway) -> Vec<String> {
    if gateway.facts.len() == 1 || gateway.trouble_everywhere().is_some() {
        return Vec::new();
    }
    let config = gateway.config.load();
    let away = |cluster| {
        let trouble = gateway.facts_of(cluster).trouble().filter(|trouble| !trouble.serves)?;
        Some(format!("cluster {}: {}", config.cluster_name(cluster), trouble.why))
    };
    config.clusters().filter_map(away).collect()
}

/// Of clusters of which something is known.
fn unserved_slots(topology: &Topology) -> u32 {
    let known = topology.clusters().iter().filter(|map| map.is_known() && map.kind == UpstreamKind::Cluster);
    known.map(|map| u32::from(SLOTS - map.assigned_slots())).sum()
}

/// Servers of the configuration that are no nodes, for those are told of as nodes: the ones that can't be used, and those of another cluster.
fn unusable_servers(gateway: &Gateway, topology: &Topology) -> (Vec<ServerFault>, Vec<ServerFault>) {
    let config = gateway.config.load();
    let (mut unusable, mut stray) = (Vec::new(), Vec::new());
    for cluster in config.clusters() {
        for address in config.servers_of(cluster) {
            let found = topology.cluster(cluster).find(&address.host, address.port);
            if found.and_then(|index| topology.node(index)).is_some_and(|node| node.present) {
                continue;
            }
            let Some(probe) = gateway.probes.of(cluster, address) else { continue };
            let named = |what: String| ServerFault { cluster: config.cluster_name(cluster).to_owned(), what };
            unusable.extend(fault(&probe).map(|why| named(format!("{address}: {why}"))));
            stray.extend(probe.stranger_id.map(|_| named(address.to_string())));
        }
    }
    (unusable, stray)
}

/// Why nothing could be asked there.
fn fault(probe: &NodeProbe) -> Option<String> {
    let silent = probe.unanswered_since.map(|_| "it does not answer".to_owned());
    probe.unreachable.clone().or(probe.turns_away.clone()).or(probe.unresolved.clone()).or(silent)
}
