//! Reads the text of `INFO` and `CLUSTER INFO`. Pure.

use super::view::{ClusterView, NodeView, ShardView};
use crate::shared::topology::{Address, SLOTS};

/// The value of `field` in a text of `field:value` lines.
pub fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim_end)
}

/// What a node says of the cluster's state, apart from its map.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterState {
    /// `cluster_state:ok`: the node has contact with the majority of the masters, and serves.
    pub ok: bool,
    /// The highest configuration epoch the node has heard of.
    pub current_epoch: u64,
    /// Slots that have an owner, as the node counts them.
    pub assigned_slots: u64,
}

impl ClusterState {
    /// Reads the reply to `CLUSTER INFO`; what is missing counts for nothing.
    pub fn parse(info: &str) -> Self {
        let number = |name| field(info, name).and_then(|value| value.parse().ok()).unwrap_or(0);
        Self {
            ok: field(info, "cluster_state") == Some("ok"),
            current_epoch: number("cluster_current_epoch"),
            assigned_slots: number("cluster_slots_assigned"),
        }
    }
}

/// A single server in the terms of a cluster: one master that owns every slot, and the replicas that its `INFO
/// replication` lists (`slave0:ip=10.0.0.2,port=6379,state=online,...`). A replica that is still being sent the data set
/// is not healthy.
pub fn single_server_view(address: &Address, replication: &str) -> ClusterView {
    let mut replicas: Vec<NodeView> = replication.lines().filter_map(replica).collect();
    replicas.retain(|replica| replica.address != *address);
    let master = NodeView { id: String::new(), address: address.clone(), healthy: true };
    let shard = ShardView { master, ranges: vec![(0, SLOTS - 1)], replicas };
    // One shard with one whole range contradicts nothing; a server with thousands of replicas is shown without them.
    ClusterView::new(vec![shard]).unwrap_or_else(|_| single_server_view(address, ""))
}

fn replica(line: &str) -> Option<NodeView> {
    let (name, properties) = line.trim_end().split_once(':')?;
    name.strip_prefix("slave")?.parse::<u32>().ok()?;
    let property =
        |wanted| properties.split(',').find_map(|pair| pair.strip_prefix(wanted)?.strip_prefix('='));
    let host = property("ip").filter(|ip| !ip.is_empty())?;
    let address = Address::new(host, property("port")?.parse().ok()?);
    Some(NodeView { id: String::new(), address, healthy: property("state") == Some("online") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_cluster_is_read() {
        let info = "cluster_state:ok\r\ncluster_slots_assigned:16384\r\ncluster_current_epoch:12\r\ncluster_my_epoch:2\r\n";
        assert_eq!(
            ClusterState::parse(info),
            ClusterState { ok: true, current_epoch: 12, assigned_slots: 16384 }
        );
        assert_eq!(
            ClusterState::parse("cluster_state:fail\r\ncluster_current_epoch:-1\r\n"),
            ClusterState::default()
        );
        assert_eq!(field("a:1\r\nab:2\r\n", "ab"), Some("2"));
        assert_eq!(field("ab:2\r\n", "a"), None);
    }

    #[test]
    fn replicas_are_read() {
        let replication = "role:master\r\nconnected_slaves:3\r\n\
             slave0:ip=10.0.0.2,port=6380,state=online,offset=1,lag=0\r\n\
             slave1:ip=::1,port=6381,state=wait_bgsave,offset=0,lag=0\r\n\
             slave2:ip=10.0.0.1,port=1,state=online\r\nslave3:ip=x,port=-1,state=online\r\n\
             slave4:ip=,port=1,state=online\r\n\
             slave_read_only:1\r\n";
        let view = single_server_view(&Address::new("10.0.0.1", 1), replication);
        assert_eq!(view.assigned_slots(), SLOTS);
        let replicas: Vec<(String, bool)> =
            view.shards[0].replicas.iter().map(|r| (r.address.to_string(), r.healthy)).collect();
        assert_eq!(replicas, [("10.0.0.2:6380".to_owned(), true), ("[::1]:6381".to_owned(), false)]);
    }
}
