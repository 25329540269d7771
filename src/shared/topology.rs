//! The map of the upstream: which server owns which hash slot, and where its replicas are.
//!
//! Owns the immutable snapshot [`Topology`], and the cell through which the control thread publishes it to the workers.
//! `control::topology` finds it out; nothing here asks a server anything.
//!
//! A single server is a topology like any other: one master that owns every slot. So the data path has one case.
//!
//! Invariant: a [`NodeIndex`] names one address for the life of the process and is never reused. So a worker may keep its
//! connections in a vector indexed by it, across any change of the cluster.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Cache};
use smallvec::SmallVec;
use tokio::sync::watch;

pub use crate::config::Address;
use crate::config::{Config, Pose, UpstreamKindChoice};

/// Hash slots of a Redis Cluster (Redis Cluster specification, "Key distribution model").
pub const SLOTS: u16 = 16384;

/// No master owns the slot. The registry of nodes is bounded well below this value.
const UNASSIGNED: u16 = u16::MAX;

/// Names one address ever seen upstream, for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub u16);

impl NodeIndex {
    /// The position in [`Topology::nodes`], and in every vector that a worker keeps per node.
    pub fn position(self) -> usize {
        usize::from(self.0)
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

/// Whether the upstream is one server or a cluster.
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

/// An immutable snapshot of the upstream.
pub struct Topology {
    /// Grows by one with every published change; 0 before anything is known.
    pub version: u64,
    /// Whether the upstream is one server or a cluster.
    pub kind: UpstreamKind,
    /// Every address ever seen, by [`NodeIndex`]; only ever appended to.
    pub nodes: Vec<Arc<Node>>,
    /// The present masters sorted by node id, so that every gateway before this upstream has them in the same order.
    pub masters: Vec<NodeIndex>,
    slot_master: Box<[u16]>,
    ranges: Vec<(u16, u16, NodeIndex)>,
    replicas: Vec<Vec<NodeIndex>>,
    by_host: HashMap<String, SmallVec<[(u16, NodeIndex); 1]>>,
}

impl Topology {
    /// Nothing is known yet: no nodes, every slot unassigned, version 0.
    pub fn unknown() -> Self {
        Self::new(0, UpstreamKind::Single, Vec::new(), &[])
    }

    /// One server that owns every slot.
    pub fn single(version: u64, address: Address) -> Self {
        let node = Node { address, id: String::new(), role: Role::Master, present: true, healthy: true };
        let shard = Shard { master: NodeIndex(0), ranges: vec![(0, SLOTS - 1)], replicas: Vec::new() };
        Self::new(version, UpstreamKind::Single, vec![Arc::new(node)], &[shard])
    }

    /// Builds the snapshot. Every index in `shards` must be a position in `nodes`; where ranges overlap, the later
    /// shard wins (`control::topology` refuses such an answer before it comes here).
    pub fn new(version: u64, kind: UpstreamKind, nodes: Vec<Arc<Node>>, shards: &[Shard]) -> Self {
        let mut slot_master = vec![UNASSIGNED; usize::from(SLOTS)].into_boxed_slice();
        let mut replicas = vec![Vec::new(); nodes.len()];
        for shard in shards {
            for &(start, end) in &shard.ranges {
                if let Some(range) = slot_master.get_mut(usize::from(start)..=usize::from(end)) {
                    range.fill(shard.master.0);
                }
            }
            replicas[shard.master.position()] = shard.replicas.clone();
        }
        let mut masters: Vec<NodeIndex> = shards.iter().map(|shard| shard.master).collect();
        masters.sort_by(|a, b| {
            let key = |index: &NodeIndex| {
                let node = &nodes[index.position()];
                (node.id.as_str(), &node.address)
            };
            key(a).cmp(&key(b))
        });
        let mut by_host: HashMap<String, SmallVec<[(u16, NodeIndex); 1]>> = HashMap::new();
        for (position, node) in nodes.iter().enumerate() {
            let ports = by_host.entry(node.address.host.clone()).or_default();
            ports.push((node.address.port, NodeIndex(position as u16)));
        }
        let ranges = ranges_of(&slot_master);
        Self { version, kind, nodes, masters, slot_master, ranges, replicas, by_host }
    }

    /// The master that owns `slot`; `None` when no one does, or `slot` is out of range.
    pub fn master_of(&self, slot: u16) -> Option<NodeIndex> {
        let master = *self.slot_master.get(usize::from(slot))?;
        (master != UNASSIGNED).then_some(NodeIndex(master))
    }

    /// The replicas of `master`, the failed ones included; empty for anything that is not a present master.
    pub fn replicas_of(&self, master: NodeIndex) -> &[NodeIndex] {
        self.replicas.get(master.position()).map_or(&[], Vec::as_slice)
    }

    /// The assigned slots as maximal inclusive ranges, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = (u16, u16, NodeIndex)> {
        self.ranges.iter().copied()
    }

    /// The node at `index`, if there is one.
    pub fn node(&self, index: NodeIndex) -> Option<&Arc<Node>> {
        self.nodes.get(index.position())
    }

    /// The node at an address, as a redirect names it. It may be absent from the present topology.
    pub fn find(&self, host: &str, port: u16) -> Option<NodeIndex> {
        let ports = self.by_host.get(host)?;
        ports.iter().find(|(known, _)| *known == port).map(|(_, index)| *index)
    }

    /// Whether clients see a cluster: the upstream is one, or the configuration says so.
    pub fn is_shown_as_cluster(&self, config: &Config) -> bool {
        self.kind == UpstreamKind::Cluster
            || config.upstream.kind == UpstreamKindChoice::Cluster
            || config.gateway.pose == Pose::Cluster
    }

    /// Some slot has a master that is not known to have failed: there is a point in accepting clients.
    pub fn is_ready(&self) -> bool {
        self.ranges.iter().any(|(_, _, master)| self.nodes[master.position()].healthy)
    }

    /// How many slots have a master, from 0 to [`SLOTS`].
    pub fn assigned_slots(&self) -> u16 {
        self.ranges.iter().map(|(start, end, _)| end - start + 1).sum()
    }
}

fn ranges_of(slot_master: &[u16]) -> Vec<(u16, u16, NodeIndex)> {
    let mut ranges: Vec<(u16, u16, NodeIndex)> = Vec::new();
    for (slot, &master) in slot_master.iter().enumerate().filter(|(_, master)| **master != UNASSIGNED) {
        let slot = slot as u16;
        match ranges.last_mut() {
            Some((_, end, owner)) if owner.0 == master && *end + 1 == slot => *end = slot,
            _ => ranges.push((slot, slot, NodeIndex(master))),
        }
    }
    ranges
}

/// Where the control thread publishes the topology and everyone else reads it.
///
/// Created once by the process; written only by the topology keeper.
pub struct TopologyCell {
    current: Arc<ArcSwap<Topology>>,
    version: watch::Sender<u64>,
    discoveries_begun: AtomicU64,
    discovery_ended: AtomicU64,
}

impl TopologyCell {
    /// A cell that holds `first`.
    pub fn new(first: Topology) -> Self {
        let version = watch::Sender::new(first.version);
        Self {
            current: Arc::new(ArcSwap::from_pointee(first)),
            version,
            discoveries_begun: AtomicU64::new(0),
            discovery_ended: AtomicU64::new(0),
        }
    }

    /// The keeper begins to discover the upstream. Returns the number of the discovery.
    pub fn begin_discovery(&self) -> u64 {
        self.discoveries_begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The result of this discovery is published.
    pub fn end_discovery(&self, discovery: u64) {
        self.discovery_ended.store(discovery, Ordering::Release);
    }

    /// Discoveries begun so far.
    pub fn discoveries_begun(&self) -> u64 {
        self.discoveries_begun.load(Ordering::Acquire)
    }

    /// The last discovery whose result is published.
    pub fn discovery_ended(&self) -> u64 {
        self.discovery_ended.load(Ordering::Acquire)
    }

    /// The current snapshot. For a hot path, keep a [`TopologyCell::reader`] instead.
    pub fn load(&self) -> Arc<Topology> {
        self.current.load_full()
    }

    /// Publishes `next` and wakes everyone who watches for changes.
    pub fn store(&self, next: Topology) {
        let version = next.version;
        self.current.store(Arc::new(next));
        self.version.send_replace(version);
    }

    /// A reader for one thread: its loads cost a pointer comparison while nothing changes. It keeps the snapshot it
    /// last saw alive until it looks again.
    pub fn reader(&self) -> TopologyReader {
        TopologyReader { cache: Cache::new(Arc::clone(&self.current)) }
    }

    /// Tells of changes by their version; works on any runtime. The snapshot is stored before its version is sent, so
    /// a reader that was woken sees at least that version.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

/// One thread's caching view of a [`TopologyCell`].
pub struct TopologyReader {
    cache: Cache<Arc<ArcSwap<Topology>>, Arc<Topology>>,
}

impl TopologyReader {
    /// The current snapshot.
    pub fn load(&mut self) -> &Arc<Topology> {
        self.cache.load()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(address: &str, id: &str, role: Role) -> Arc<Node> {
        let address = address.parse().unwrap();
        Arc::new(Node { address, id: id.to_owned(), role, present: true, healthy: true })
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
        let check = |slot, expect: Option<u16>| assert_eq!(topology.master_of(slot), expect.map(NodeIndex));
        check(0, Some(0));
        check(99, Some(0));
        check(100, None);
        check(101, Some(1));
        check(200, Some(0));
        check(16383, Some(0));
        check(16384, None);
        check(u16::MAX, None);
        let ranges: Vec<_> = topology.ranges().collect();
        assert_eq!(ranges, [(0, 99, NodeIndex(0)), (101, 199, NodeIndex(1)), (200, 16383, NodeIndex(0))]);
        assert_eq!(topology.assigned_slots(), 16383);
    }

    #[test]
    fn masters_are_sorted_by_id_and_nodes_found_by_address() {
        let topology = two_masters();
        assert_eq!(topology.masters, [NodeIndex(1), NodeIndex(0)]);
        assert_eq!(topology.replicas_of(NodeIndex(0)), [NodeIndex(2)]);
        assert!(topology.replicas_of(NodeIndex(9)).is_empty());
        assert_eq!(topology.find("::1", 7002), Some(NodeIndex(2)));
        assert_eq!(topology.find("10.0.0.1", 7001), Some(NodeIndex(1)));
        assert_eq!(topology.find("10.0.0.1", 7003), None);
    }

    #[test]
    fn one_server_owns_every_slot() {
        let topology = Topology::single(1, Address::new("redis", 6379));
        assert_eq!(topology.ranges().collect::<Vec<_>>(), [(0, 16383, NodeIndex(0))]);
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
