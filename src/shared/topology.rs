//! The map of what stands upstream: of each cluster, which server owns which hash slot and where its replicas are.
//!
//! Owns the immutable snapshot [`Topology`], and the cell ([`TopologyCell`]) through which the control thread publishes it to the workers.
//! `control::topology` finds it out; nothing here asks a server anything.
//!
//! A single server is a cluster like any other: one master that owns every slot. So the data path has one case.
//!
//! Invariant: a [`NodeIndex`] names one address of one cluster for the life of the process and is never reused. So a worker may
//! keep its connections in a vector indexed by it, across any change of any cluster.

mod published;

use std::collections::HashMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use smallvec::SmallVec;

pub use self::published::{TopologyCell, TopologyReader};
pub use crate::config::Address;
use crate::config::{Config, Pose, UpstreamKindChoice};
use crate::route::{ClusterId, SlotAt};

/// Hash slots of a Redis Cluster (Redis Cluster specification, "Key distribution model").
pub const SLOTS: u16 = 16384;

/// Names one address ever seen in one cluster, for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub u16);

impl NodeIndex {
    /// The position in [`Topology::nodes`], and in every vector that a worker keeps per node.
    pub fn position(self) -> usize {
        usize::from(self.0)
    }
}

/// The owner of a slot, as the table of all slots keeps it: one more than the index, so that a slot without an owner takes no room of its own
/// and the table of a cluster is 32 KiB.
#[derive(Clone, Copy)]
struct Owner(NonZeroU16);

impl Owner {
    /// `None` for the last index of all, which the bound of the registry of nodes leaves unused.
    fn of(index: NodeIndex) -> Option<Self> {
        NonZeroU16::MIN.checked_add(index.0).map(Self)
    }

    fn index(self) -> NodeIndex {
        NodeIndex(self.0.get() - 1)
    }
}

/// The role of a node in its shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Owns slots (or could), takes writes.
    Master,
    /// Copies a master, may serve reads.
    Replica,
}

/// One address and what was last known of the server there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The cluster that it belongs to, or was said to.
    pub cluster: ClusterId,
    /// Where it listens.
    pub address: Address,
    /// The cluster's 40-digit node id; empty for a single server and its replicas.
    pub id: String,
    /// Its role when it was last present.
    pub role: Role,
    /// It is part of this topology. An absent node keeps its index, and a redirect may still name it.
    pub present: bool,
    /// Present, and the cluster does not hold it for failed.
    pub healthy: bool,
}

/// Whether a cluster is one server or a Redis Cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamKind {
    /// One server, perhaps with replicas.
    Single,
    /// A Redis Cluster.
    Cluster,
}

/// A master with the slots it owns and the replicas that copy it: what a topology is built from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The owner of the slots.
    pub master: NodeIndex,
    /// Inclusive, ascending ranges of slots below [`SLOTS`]; none for a master that owns nothing yet.
    pub ranges: Vec<(u16, u16)>,
    /// Its present replicas, the failed ones included.
    pub replicas: Vec<NodeIndex>,
}

/// What is known of one cluster, of which a map is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterShards {
    /// Grows by one with every published change of this cluster; 0 before anything is known.
    pub version: u64,
    /// Whether it is one server or a Redis Cluster.
    pub kind: UpstreamKind,
    /// Its masters, with their slots and replicas.
    pub shards: Vec<Shard>,
}

impl ClusterShards {
    /// Nothing is known yet.
    pub fn unknown() -> Self {
        Self { version: 0, kind: UpstreamKind::Single, shards: Vec::new() }
    }
}

/// The slots and nodes of one cluster.
pub struct ClusterMap {
    /// Which cluster it is.
    id: ClusterId,
    /// Grows by one with every published change of this cluster; 0 before anything is known ([`ClusterMap::is_known`]).
    pub version: u64,
    /// Whether it is one server or a Redis Cluster.
    pub kind: UpstreamKind,
    /// The present masters sorted by node id, so that every gateway before this cluster has them in the same order.
    pub masters: Vec<NodeIndex>,
    slot_master: Box<[Option<Owner>]>,
    ranges: Vec<(u16, u16, NodeIndex)>,
    by_host: HashMap<String, SmallVec<[(u16, NodeIndex); 1]>>,
    is_ready: bool,
}

impl ClusterMap {
    fn new(id: ClusterId, of: &ClusterShards, nodes: &[Arc<Node>]) -> Self {
        let mut slot_master = vec![None; usize::from(SLOTS)].into_boxed_slice();
        for shard in &of.shards {
            for &(start, end) in &shard.ranges {
                if let Some(range) = slot_master.get_mut(usize::from(start)..=usize::from(end)) {
                    range.fill(Owner::of(shard.master));
                }
            }
        }
        let mut masters: Vec<NodeIndex> = of.shards.iter().map(|shard| shard.master).collect();
        masters.sort_by(|a, b| {
            let key = |index: &NodeIndex| {
                let node = &nodes[index.position()];
                (node.id.as_str(), &node.address)
            };
            key(a).cmp(&key(b))
        });
        let mut by_host: HashMap<String, SmallVec<[(u16, NodeIndex); 1]>> = HashMap::new();
        for (position, node) in nodes.iter().enumerate().filter(|(_, node)| node.cluster == id) {
            let ports = by_host.entry(node.address.host.clone()).or_default();
            ports.push((node.address.port, NodeIndex(position as u16)));
        }
        let ranges = ranges_of(&slot_master);
        let is_ready = ranges.iter().any(|(_, _, master)| nodes[master.position()].healthy);
        Self { id, version: of.version, kind: of.kind, masters, slot_master, ranges, by_host, is_ready }
    }

    /// Whether a server has said anything about this cluster.
    pub fn is_known(&self) -> bool {
        self.version > 0
    }

    /// The master that owns `slot`; `None` when no one does, or `slot` is out of range.
    #[inline]
    pub fn master_of(&self, slot: u16) -> Option<NodeIndex> {
        self.slot_master.get(usize::from(slot)).copied().flatten().map(Owner::index)
    }

    /// The assigned slots as maximal inclusive ranges, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = (u16, u16, NodeIndex)> {
        self.ranges.iter().copied()
    }

    /// The node at an address, as a redirect names it. It may be absent from the present topology.
    pub fn find(&self, host: &str, port: u16) -> Option<NodeIndex> {
        let ports = self.by_host.get(host)?;
        ports.iter().find(|(known, _)| *known == port).map(|(_, index)| *index)
    }

    /// Whether clients see a cluster: the upstream is one, or the configuration says so.
    pub fn is_shown_as_cluster(&self, config: &Config) -> bool {
        self.kind == UpstreamKind::Cluster
            || config.upstream_of(self.id).kind == UpstreamKindChoice::Cluster
            || config.gateway.pose == Pose::Cluster
    }

    /// Some slot has a master that is not known to have failed: there is a point in accepting clients.
    pub fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// How many slots have a master, from 0 to [`SLOTS`].
    pub fn assigned_slots(&self) -> u16 {
        self.ranges.iter().map(|(start, end, _)| end - start + 1).sum()
    }
}

/// An immutable snapshot of all clusters.
pub struct Topology {
    /// Grows by one with every published change of any cluster; 0 before anything is known.
    pub version: u64,
    /// Every address ever seen, by [`NodeIndex`]; only ever appended to.
    pub nodes: Vec<Arc<Node>>,
    clusters: Vec<ClusterMap>,
    knows_all: bool,
    replicas: Vec<Vec<NodeIndex>>,
}

impl Topology {
    /// Nothing is known yet of the one cluster: no nodes, every slot unassigned, version 0.
    pub fn unknown() -> Self {
        Self::of_clusters(0, Vec::new(), &[ClusterShards::unknown()])
    }

    /// One cluster that is one server, which owns every slot.
    pub fn single(version: u64, address: Address) -> Self {
        let node = Node {
            cluster: ClusterId::DEFAULT,
            address,
            id: String::new(),
            role: Role::Master,
            present: true,
            healthy: true,
        };
        let shard = Shard { master: NodeIndex(0), ranges: vec![(0, SLOTS - 1)], replicas: Vec::new() };
        Self::new(version, UpstreamKind::Single, vec![Arc::new(node)], &[shard])
    }

    /// One cluster. See [`Topology::of_clusters`].
    pub fn new(version: u64, kind: UpstreamKind, nodes: Vec<Arc<Node>>, shards: &[Shard]) -> Self {
        Self::of_clusters(version, nodes, &[ClusterShards { version, kind, shards: shards.to_vec() }])
    }

    /// Builds the snapshot of `clusters`, by [`ClusterId`]. Every index in their shards must be a position in `nodes`; where
    /// ranges of one cluster overlap, the later shard wins (`control::topology` refuses such an answer before it comes here).
    pub fn of_clusters(version: u64, nodes: Vec<Arc<Node>>, clusters: &[ClusterShards]) -> Self {
        let mut replicas = vec![Vec::new(); nodes.len()];
        for shard in clusters.iter().flat_map(|cluster| &cluster.shards) {
            replicas[shard.master.position()] = shard.replicas.clone();
        }
        let map = |(position, cluster)| ClusterMap::new(ClusterId(position as u16), cluster, &nodes);
        let clusters: Vec<ClusterMap> = clusters.iter().enumerate().map(map).collect();
        let knows_all = clusters.iter().all(ClusterMap::is_known);
        Self { version, nodes, clusters, knows_all, replicas }
    }

    /// The map of one cluster, which the configuration has named.
    #[inline]
    pub fn cluster(&self, id: ClusterId) -> &ClusterMap {
        &self.clusters[id.position()]
    }

    /// Whether something is known of every cluster: from soon after the start.
    #[inline]
    pub fn knows_all(&self) -> bool {
        self.knows_all
    }

    /// All clusters, by [`ClusterId`].
    pub fn clusters(&self) -> &[ClusterMap] {
        &self.clusters
    }

    /// The master that owns a slot; `None` when no one does, or the slot is out of range.
    #[inline]
    pub fn master_of(&self, place: SlotAt) -> Option<NodeIndex> {
        self.cluster(place.cluster).master_of(place.slot)
    }

    /// The replicas of `master`, the failed ones included; empty for anything that is not a present master.
    pub fn replicas_of(&self, master: NodeIndex) -> &[NodeIndex] {
        self.replicas.get(master.position()).map_or(&[], Vec::as_slice)
    }

    /// The node at `index`, if there is one.
    pub fn node(&self, index: NodeIndex) -> Option<&Arc<Node>> {
        self.nodes.get(index.position())
    }

    /// Whether a node is a present master of its cluster.
    pub fn is_master(&self, index: NodeIndex) -> bool {
        self.node(index).is_some_and(|node| self.cluster(node.cluster).masters.contains(&index))
    }

    /// Some slot of some cluster has a master that is not known to have failed: there is a point in accepting clients.
    pub fn is_ready(&self) -> bool {
        self.clusters.iter().any(ClusterMap::is_ready)
    }
}

fn ranges_of(slot_master: &[Option<Owner>]) -> Vec<(u16, u16, NodeIndex)> {
    let mut ranges: Vec<(u16, u16, NodeIndex)> = Vec::new();
    for (slot, master) in (0..).zip(slot_master).filter_map(|(slot, owner)| Some((slot, (*owner)?.index()))) {
        match ranges.last_mut() {
            Some((_, end, owner)) if *owner == master && *end + 1 == slot => *end = slot,
            _ => ranges.push((slot, slot, master)),
        }
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: ClusterId = ClusterId::DEFAULT;

    fn node(address: &str, id: &str, role: Role) -> Arc<Node> {
        let address = address.parse().unwrap();
        Arc::new(Node { cluster: HERE, address, id: id.to_owned(), role, present: true, healthy: true })
    }

    fn two_masters() -> Topology {
        let nodes = vec![
            node("10.0.0.1:7000", "bb", Role::Master),
            node("10.0.0.1:7001", "aa", Role::Master),
            node("[::1]:7002", "cc", Role::Replica),
        ];
        let shards = [
            Shard { master: NodeIndex(0), ranges: vec![(0, 99), (200, 16383)], replicas: vec![NodeIndex(2)] },
            Shard { master: NodeIndex(1), ranges: vec![(101, 199)], replicas: vec![] },
        ];
        Topology::new(7, UpstreamKind::Cluster, nodes, &shards)
    }

    #[test]
    fn slots_find_their_master() {
        let topology = two_masters();
        let check = |slot, expect: Option<u16>| {
            assert_eq!(topology.master_of(SlotAt { cluster: HERE, slot }), expect.map(NodeIndex))
        };
        check(0, Some(0));
        check(99, Some(0));
        check(100, None);
        check(101, Some(1));
        check(200, Some(0));
        check(16383, Some(0));
        check(16384, None);
        check(u16::MAX, None);
        let ranges: Vec<_> = topology.cluster(HERE).ranges().collect();
        assert_eq!(ranges, [(0, 99, NodeIndex(0)), (101, 199, NodeIndex(1)), (200, 16383, NodeIndex(0))]);
        assert_eq!(topology.cluster(HERE).assigned_slots(), 16383);
    }

    #[test]
    fn masters_are_sorted_by_id_and_nodes_found_by_address() {
        let topology = two_masters();
        assert_eq!(topology.cluster(HERE).masters, [NodeIndex(1), NodeIndex(0)]);
        assert_eq!(topology.replicas_of(NodeIndex(0)), [NodeIndex(2)]);
        assert!(topology.replicas_of(NodeIndex(9)).is_empty());
        assert_eq!(topology.cluster(HERE).find("::1", 7002), Some(NodeIndex(2)));
        assert_eq!(topology.cluster(HERE).find("10.0.0.1", 7001), Some(NodeIndex(1)));
        assert_eq!(topology.cluster(HERE).find("10.0.0.1", 7003), None);
    }

    #[test]
    fn clusters_have_maps_of_their_own_and_nodes_in_common() {
        let there = ClusterId(1);
        let mut nodes = two_masters().nodes;
        // The very address of a node of the first cluster, as where a server has moved to another.
        nodes.push(Arc::new(Node { cluster: there, ..(*nodes[0]).clone() }));
        let shard = |node, replicas| Shard { master: NodeIndex(node), ranges: vec![(0, 16383)], replicas };
        let of = |version, shards| ClusterShards { version, kind: UpstreamKind::Cluster, shards };
        let first = of(5, vec![shard(0, vec![NodeIndex(2)])]);
        let topology = Topology::of_clusters(6, nodes, &[first, of(1, vec![shard(3, Vec::new())])]);
        let owner = |cluster| topology.master_of(SlotAt::of(cluster, b"key"));
        assert_eq!([owner(HERE), owner(there)], [Some(NodeIndex(0)), Some(NodeIndex(3))]);
        let find = |cluster| topology.cluster(cluster).find("10.0.0.1", 7000);
        assert_eq!([find(HERE), find(there)], [Some(NodeIndex(0)), Some(NodeIndex(3))]);
        assert_eq!(topology.cluster(there).find("10.0.0.1", 7001), None);
        assert_eq!(topology.replicas_of(NodeIndex(0)), [NodeIndex(2)]);
        assert_eq!([HERE, there].map(|id| topology.cluster(id).version), [5, 1]);
        let cell = TopologyCell::new(topology);
        assert_eq!(
            [cell.begin_discovery(there), cell.discoveries_begun(there), cell.discoveries_begun(HERE)],
            [1, 1, 0]
        );
        cell.end_discovery(there, 1, 7);
        assert_eq!((cell.epoch_of(HERE), cell.epoch_of(there)), (0, 7));
        assert_eq!([cell.discovery_ended(there), cell.discovery_ended(HERE)], [1, 0]);
    }

    #[test]
    fn one_server_owns_every_slot() {
        let topology = Topology::single(1, Address::new("redis", 6379));
        assert_eq!(topology.cluster(HERE).ranges().collect::<Vec<_>>(), [(0, 16383, NodeIndex(0))]);
        assert!(topology.is_ready());
        assert!(!Topology::unknown().is_ready());
    }

    #[test]
    fn readers_and_watchers_see_what_is_stored() {
        let cell = TopologyCell::new(Topology::unknown());
        let mut reader = cell.reader();
        let mut changes = cell.changes();
        assert_eq!(reader.load().version, 0);
        assert!(!changes.has_changed().unwrap());
        cell.store(Topology::single(3, Address::new("h", 1)));
        assert_eq!(reader.load().version, 3);
        assert_eq!(cell.load().version, 3);
        assert!(changes.has_changed().unwrap());
        assert_eq!(*changes.borrow_and_update(), 3);
    }
}
