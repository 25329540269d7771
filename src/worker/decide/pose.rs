//! `CLUSTER`: the gateway poses as a cluster all of whose nodes are at its own address, so that cluster-mode clients work
//! unchanged and never go around it.
//!
//! Before one server it does so only where `gateway.pose` says so; else it answers there as that server does, which is no
//! cluster: clients that took it for one would refuse commands on several slots.
//!
//! It lists as many masters as the upstream has and at least two, because `redis-benchmark --cluster` refuses a cluster of
//! one. The slots are dealt out evenly; which pretended node a client picks does not matter, since all are this gateway. A client must
//! never see a real node's address: it would connect to it.

use crate::resp::{Request, RespVersion, encode, key_slot};
use crate::shared::topology::{ClusterMap, SLOTS, UpstreamKind};

/// Where clients reach the gateway, as its replies say.
pub struct AdvertisedAddress<'a> {
    /// Host or IP address.
    pub host: &'a str,
    /// The port.
    pub port: u16,
    /// The gateway's id, from which the ids of the pretended nodes are made.
    pub gateway_id: &'a str,
}

/// The error of everything about clusters where there is none, as Redis words it.
pub const NO_CLUSTER: &str = "ERR This instance has cluster support disabled";

const HELP: [&str; 21] = [
    "CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "COUNTKEYSINSLOT <slot>",
    "    Return the number of keys in <slot>.",
    "GETKEYSINSLOT <slot> <count>",
    "    Return key names stored by the current node in a slot.",
    "INFO",
    "    Return information about the cluster.",
    "KEYSLOT <key>",
    "    Return the hash slot for <key>.",
    "MYID",
    "    Return the node id.",
    "NODES",
    "    Return cluster configuration seen by node.",
    "REPLICAS <node-id>",
    "    Return <node-id> replicas.",
    "SLOTS",
    "    Return information about slots range mappings.",
    "SHARDS",
    "    Return information about slot range mappings and the nodes associated with them.",
    "HELP",
    "    Print this help.",
];

/// Fewer pretended masters than this and `redis-benchmark --cluster` gives up.
const MASTERS_MIN: usize = 2;

/// Writes the reply to `CLUSTER <subcommand>`. `false` when the subcommand is not one of those that are answered here.
pub fn answer(
    map: &ClusterMap,
    advertised: &AdvertisedAddress<'_>,
    version: RespVersion,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> bool {
    let nodes = nodes(map, advertised);
    let subcommand = request.arg(1).unwrap_or_default().to_ascii_lowercase();
    match &subcommand[..] {
        b"slots" => slots(&nodes, advertised, out),
        b"shards" => shards(&nodes, advertised, version, out),
        b"nodes" => encode::verbatim(out, version, "txt", nodes_text(&nodes, advertised).as_bytes()),
        b"info" => encode::verbatim(out, version, "txt", info_text(map, &nodes).as_bytes()),
        b"myid" => encode::bulk(out, nodes[0].id.as_bytes()),
        b"myshardid" => encode::bulk(out, shard_id(&nodes[0]).as_bytes()),
        b"keyslot" => encode::integer(out, i64::from(key_slot(request.arg(2).unwrap_or_default()))),
        b"help" => {
            encode::array(out, HELP.len());
            HELP.iter().for_each(|line| encode::simple(out, line));
        }
        b"replicas" | b"slaves" => encode::array(out, 0),
        b"links" | b"count-failure-reports" => encode::array(out, 0),
        _ => return false,
    }
    true
}

struct PretendedNode {
    id: String,
    first: u16,
    last: u16,
}

fn nodes(map: &ClusterMap, advertised: &AdvertisedAddress<'_>) -> Vec<PretendedNode> {
    let count = match map.kind {
        UpstreamKind::Single => MASTERS_MIN,
        UpstreamKind::Cluster => map.masters.len().max(MASTERS_MIN),
    };
    let edge = |place: usize| (place * usize::from(SLOTS) / count) as u16;
    (0..count)
        .map(|place| PretendedNode {
            // The first digits number the nodes, the others are the gateway's own.
            id: format!("{place:04x}{}", advertised.gateway_id.get(4..).unwrap_or_default()),
            first: edge(place),
            last: edge(place + 1) - 1,
        })
        .collect()
}

fn shard_id(node: &PretendedNode) -> String {
    node.id.chars().rev().collect()
}

fn slots(nodes: &[PretendedNode], advertised: &AdvertisedAddress<'_>, out: &mut Vec<u8>) {
    encode::array(out, nodes.len());
    for node in nodes {
        encode::array(out, 3);
        encode::integer(out, node.first.into());
        encode::integer(out, node.last.into());
        encode::array(out, 4);
        encode::bulk(out, advertised.host.as_bytes());
        encode::integer(out, advertised.port.into());
        encode::bulk(out, node.id.as_bytes());
        encode::array(out, 0);
    }
}

fn shards(
    nodes: &[PretendedNode],
    advertised: &AdvertisedAddress<'_>,
    version: RespVersion,
    out: &mut Vec<u8>,
) {
    encode::array(out, nodes.len());
    for node in nodes {
        encode::map(out, version, 2);
        encode::bulk(out, b"slots");
        encode::array(out, 2);
        encode::integer(out, node.first.into());
        encode::integer(out, node.last.into());
        encode::bulk(out, b"nodes");
        encode::array(out, 1);
        encode::map(out, version, 7);
        let mut text = |name: &str, value: &str| {
            encode::bulk(out, name.as_bytes());
            encode::bulk(out, value.as_bytes());
        };
        text("id", &node.id);
        text("ip", advertised.host);
        text("endpoint", advertised.host);
        text("role", "master");
        text("health", "online");
        encode::bulk(out, b"port");
        encode::integer(out, advertised.port.into());
        encode::bulk(out, b"replication-offset");
        encode::integer(out, 0);
    }
}

fn nodes_text(nodes: &[PretendedNode], advertised: &AdvertisedAddress<'_>) -> String {
    let line = |(place, node): (usize, &PretendedNode)| {
        let flags = if place == 0 { "myself,master" } else { "master" };
        let bus_port = u32::from(advertised.port) + 10_000;
        format!(
            "{} {}:{}@{bus_port} {flags} - 0 0 {} connected {}-{}\n",
            node.id,
            advertised.host,
            advertised.port,
            place + 1,
            node.first,
            node.last
        )
    };
    nodes.iter().enumerate().map(line).collect()
}

fn info_text(map: &ClusterMap, nodes: &[PretendedNode]) -> String {
    let assigned = map.assigned_slots();
    let state = if assigned == SLOTS { "ok" } else { "fail" };
    let masters = nodes.len();
    [
        format!("cluster_enabled:1\r\ncluster_state:{state}\r\n"),
        format!("cluster_slots_assigned:{assigned}\r\ncluster_slots_ok:{assigned}\r\n"),
        "cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\n".to_owned(),
        format!("cluster_known_nodes:{masters}\r\ncluster_size:{masters}\r\n"),
        format!("cluster_current_epoch:{masters}\r\ncluster_my_epoch:1\r\n"),
        "cluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n".to_owned(),
    ]
    .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::topology::{Address, Topology};

    #[test]
    fn every_slot_is_at_the_gateways_address() {
        let topology = Topology::single(1, Address::new("10.9.8.7", 7777));
        let id = "f".repeat(40);
        let advertised = AdvertisedAddress { host: "127.0.0.1", port: 6380, gateway_id: &id };
        let nodes = nodes(topology.cluster(crate::route::ClusterId::DEFAULT), &advertised);
        assert_eq!(nodes.len(), 2);
        assert_eq!((nodes[0].first, nodes[1].last), (0, SLOTS - 1));
        assert!(nodes.windows(2).all(|pair| pair[0].last + 1 == pair[1].first));
        assert!(nodes.iter().all(|node| node.id.len() == 40));
        let text = nodes_text(&nodes, &advertised);
        assert_eq!(text.matches("127.0.0.1:6380@16380").count(), 2);
        assert!(!text.contains("10.9.8.7"));
    }
}
