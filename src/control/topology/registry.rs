//! Gives every address of every cluster its index for the life of the process, and builds published topologies from views. Pure.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::view::{ClusterView, NodeView};
use crate::route::ClusterId;
use crate::shared::topology::{Address, ClusterShards, Node, NodeIndex, Role, Shard, Topology, UpstreamKind};

/// Addresses that one process can know. A cluster of the 1000 nodes that Redis recommends at most may change every
/// address sixteen times, as by rolling restarts where each start gives a new IP; at some hundred bytes each they cost
/// little. At the bound, a topology that names a new address is refused with [`RegistryFull`], the last good one stays,
/// and the process has to be restarted.
const ADDRESSES_MAX: usize = 16_384;

/// The bound on addresses is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegistryFull;

impl fmt::Display for RegistryFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{ADDRESSES_MAX} upstream addresses have been seen since the start, no more can be remembered: \
             restart the gateway"
        )
    }
}

impl std::error::Error for RegistryFull {}

/// The nodes ever seen of all clusters, and what was last made of them. The keepers of the clusters share it.
pub struct Registry {
    version: u64,
    nodes: Vec<Arc<Node>>,
    /// By [`ClusterId`].
    clusters: Vec<ClusterShards>,
    /// By [`ClusterId`].
    by_address: Vec<HashMap<Address, NodeIndex>>,
}

impl Registry {
    /// Knows nothing of so many clusters.
    pub fn new(clusters: usize) -> Self {
        Self {
            version: 0,
            nodes: Vec::new(),
            clusters: vec![ClusterShards::unknown(); clusters],
            by_address: vec![HashMap::new(); clusters],
        }
    }

    /// What is published of it now.
    pub fn topology(&self) -> Topology {
        Topology::of_clusters(self.version, self.nodes.clone(), &self.clusters)
    }

    /// Takes over the `view` of a cluster, and remembers the addresses of `redirect_targets` as absent nodes where the view lacks them.
    /// Returns the next topology, or `None` when nothing changed.
    ///
    /// # Errors
    /// [`RegistryFull`]; then nothing is taken over.
    pub fn apply(
        &mut self,
        cluster: ClusterId,
        kind: UpstreamKind,
        view: &ClusterView,
        redirect_targets: &[Address],
    ) -> Result<Option<Topology>, RegistryFull> {
        let fresh = self.index_all(cluster, view, redirect_targets)?;
        let mut nodes: Vec<Arc<Node>> = self
            .nodes
            .iter()
            .map(|node| if node.cluster == cluster { absent(node) } else { Arc::clone(node) })
            .collect();
        nodes.extend(fresh.into_iter().map(|address| never_present(cluster, address)));
        let mut shards = Vec::new();
        for shard in &view.shards {
            let mut place = |node, role| self.place(cluster, &mut nodes, node, role);
            let master = place(&shard.master, Role::Master);
            let replicas = shard.replicas.iter().map(|replica| place(replica, Role::Replica)).collect();
            shards.push(Shard { master, ranges: shard.ranges.clone(), replicas });
        }
        Ok(self.publish(cluster, kind, nodes, shards))
    }

    /// Nobody in a cluster answers any more: its map stays as it was last known, with every node unhealthy. `None` when that
    /// was so already.
    pub fn mark_unreachable(&mut self, cluster: ClusterId) -> Option<Topology> {
        let unhealthy = |node: &Arc<Node>| {
            if node.healthy && node.cluster == cluster {
                Arc::new(Node { healthy: false, ..(**node).clone() })
            } else {
                Arc::clone(node)
            }
        };
        let nodes = self.nodes.iter().map(unhealthy).collect();
        let ClusterShards { kind, shards, .. } = self.clusters[cluster.position()].clone();
        self.publish(cluster, kind, nodes, shards)
    }

    /// Every node ever seen in a cluster.
    pub fn nodes_of(&self, cluster: ClusterId) -> impl Iterator<Item = &Arc<Node>> {
        self.nodes.iter().filter(move |node| node.cluster == cluster)
    }

    /// Whether this address has an index in a cluster.
    pub fn knows(&self, cluster: ClusterId, address: &Address) -> bool {
        self.by_address[cluster.position()].contains_key(address)
    }

    /// The version of a cluster's map that was last handed out.
    pub fn version_of(&self, cluster: ClusterId) -> u64 {
        self.clusters[cluster.position()].version
    }

    fn publish(
        &mut self,
        cluster: ClusterId,
        kind: UpstreamKind,
        nodes: Vec<Arc<Node>>,
        shards: Vec<Shard>,
    ) -> Option<Topology> {
        let known = &mut self.clusters[cluster.position()];
        let is_first = known.version == 0 && nodes.iter().any(|node| node.cluster == cluster);
        if !is_first && kind == known.kind && nodes == self.nodes && shards == known.shards {
            return None;
        }
        *known = ClusterShards { version: known.version + 1, kind, shards };
        self.version += 1;
        self.nodes = nodes;
        Some(self.topology())
    }

    /// Gives each address of a cluster an index, all or none of them. Returns those that are new, in the order of their indexes.
    fn index_all(
        &mut self,
        cluster: ClusterId,
        view: &ClusterView,
        redirect_targets: &[Address],
    ) -> Result<Vec<Address>, RegistryFull> {
        let in_view =
            view.shards.iter().flat_map(|shard| std::iter::once(&shard.master).chain(&shard.replicas));
        let by_address = &mut self.by_address[cluster.position()];
        let mut unknown: Vec<Address> = in_view
            .map(|node| &node.address)
            .chain(redirect_targets)
            .filter(|address| !by_address.contains_key(address))
            .cloned()
            .collect();
        unknown.sort();
        unknown.dedup();
        if self.nodes.len() + unknown.len() > ADDRESSES_MAX {
            return Err(RegistryFull);
        }
        for (address, index) in unknown.iter().zip(self.nodes.len()..) {
            // Below ADDRESSES_MAX, so it fits.
            by_address.insert(address.clone(), NodeIndex(index as u16));
        }
        Ok(unknown)
    }

    fn place(&self, cluster: ClusterId, nodes: &mut [Arc<Node>], view: &NodeView, role: Role) -> NodeIndex {
        let index = self.by_address[cluster.position()][&view.address];
        let node = Node {
            cluster,
            address: view.address.clone(),
            id: view.id.clone(),
            role,
            present: true,
            healthy: view.healthy,
        };
        nodes[index.position()] = Arc::new(node);
        index
    }
}

/// A node that a redirect named: only its address is known.
fn never_present(cluster: ClusterId, address: Address) -> Arc<Node> {
    let role = Role::Master;
    Arc::new(Node { cluster, address, id: String::new(), role, present: false, healthy: false })
}

fn absent(node: &Arc<Node>) -> Arc<Node> {
    if node.present || node.healthy {
        Arc::new(Node { present: false, healthy: false, ..(**node).clone() })
    } else {
        Arc::clone(node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::topology::view::ShardView;
    use crate::route::SlotAt;

    const HERE: ClusterId = ClusterId::DEFAULT;

    fn node(id: &str, port: u16) -> NodeView {
        NodeView { id: id.to_owned(), address: Address::new("h", port), healthy: true }
    }

    fn view(shards: &[(NodeView, (u16, u16), &[NodeView])]) -> ClusterView {
        let shard = |(master, range, replicas): &(NodeView, (u16, u16), &[NodeView])| ShardView {
            master: master.clone(),
            ranges: vec![*range],
            replicas: replicas.to_vec(),
        };
        ClusterView::new(shards.iter().map(shard).collect()).unwrap()
    }

    fn apply(registry: &mut Registry, view: &ClusterView) -> Option<Topology> {
        registry.apply(HERE, UpstreamKind::Cluster, view, &[]).unwrap()
    }

    #[test]
    fn indexes_survive_changes_and_versions_count_them() {
        let mut registry = Registry::new(1);
        let two = view(&[(node("a", 1), (0, 99), &[node("r", 3)]), (node("b", 2), (100, 16383), &[])]);
        let first = apply(&mut registry, &two).unwrap();
        assert_eq!((first.version, first.cluster(HERE).masters.len()), (1, 2));
        assert!(apply(&mut registry, &two).is_none());

        // The replica is promoted, and its old master is gone.
        let promoted = view(&[(node("r", 3), (0, 99), &[]), (node("b", 2), (100, 16383), &[])]);
        let second = apply(&mut registry, &promoted).unwrap();
        assert_eq!(second.version, 2);
        assert_eq!(second.master_of(SlotAt { cluster: HERE, slot: 5 }), first.cluster(HERE).find("h", 3));
        let gone = second.node(first.master_of(SlotAt { cluster: HERE, slot: 5 }).unwrap()).unwrap();
        assert!(!gone.present && !gone.healthy);

        // A node comes back as itself at another address: a new index; its old one stays with the old address.
        let moved = view(&[(node("r", 3), (0, 99), &[]), (node("b", 7), (100, 16383), &[])]);
        let third = apply(&mut registry, &moved).unwrap();
        assert_ne!(
            third.master_of(SlotAt { cluster: HERE, slot: 100 }),
            second.master_of(SlotAt { cluster: HERE, slot: 100 })
        );
        assert_eq!(third.cluster(HERE).find("h", 2), second.cluster(HERE).find("h", 2));
        assert_eq!(third.nodes.len(), 4);
    }

    #[test]
    fn redirect_targets_get_an_index_and_stay_absent() {
        let mut registry = Registry::new(1);
        let one = view(&[(node("a", 1), (0, 16383), &[])]);
        apply(&mut registry, &one);
        let target = Address::new("h", 9);
        let next = registry
            .apply(HERE, UpstreamKind::Cluster, &one, &[target.clone(), target.clone()])
            .unwrap()
            .unwrap();
        let index = next.cluster(HERE).find("h", 9).unwrap();
        assert!(!next.node(index).unwrap().present);
        assert_eq!(next.cluster(HERE).masters.len(), 1);
        assert!(registry.apply(HERE, UpstreamKind::Cluster, &one, &[target]).unwrap().is_none());
    }

    #[test]
    fn an_unreachable_upstream_keeps_its_map() {
        let mut registry = Registry::new(1);
        assert!(registry.mark_unreachable(HERE).is_none());
        let one = view(&[(node("a", 1), (0, 16383), &[])]);
        apply(&mut registry, &one);
        let dark = registry.mark_unreachable(HERE).unwrap();
        assert!(!dark.is_ready());
        assert!(dark.master_of(SlotAt { cluster: HERE, slot: 0 }).is_some());
        assert!(registry.mark_unreachable(HERE).is_none());
        assert!(apply(&mut registry, &one).unwrap().is_ready());
    }

    #[test]
    fn a_cluster_without_nodes_is_published_once() {
        let mut registry = Registry::new(1);
        assert!(apply(&mut registry, &ClusterView::default()).is_some_and(|topology| !topology.is_ready()));
        assert!(apply(&mut registry, &ClusterView::default()).is_none());
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let mut registry = Registry::new(1);
        let one = view(&[(node("a", 1), (0, 16383), &[])]);
        let targets: Vec<Address> = (1..=ADDRESSES_MAX as u16).map(|port| Address::new("h", port)).collect();
        let full = registry.apply(HERE, UpstreamKind::Cluster, &one, &targets).unwrap().unwrap();
        assert_eq!(full.nodes.len(), ADDRESSES_MAX);
        let one_more = [Address::new("i", 1)];
        assert_eq!(registry.apply(HERE, UpstreamKind::Cluster, &one, &one_more).err(), Some(RegistryFull));
        assert!(registry.apply(HERE, UpstreamKind::Cluster, &one, &[]).unwrap().is_none());
    }

    #[test]
    fn clusters_share_indexes_and_nothing_else() {
        let mut registry = Registry::new(2);
        let there = ClusterId(1);
        let one = view(&[(node("a", 1), (0, 16383), &[])]);
        apply(&mut registry, &one);
        // The same address in another cluster is another node.
        let both = registry.apply(there, UpstreamKind::Single, &one, &[]).unwrap().unwrap();
        let places = [HERE, there].map(|id| both.cluster(id).find("h", 1));
        assert_eq!(places, [Some(NodeIndex(0)), Some(NodeIndex(1))]);
        assert_eq!((both.version, registry.version_of(HERE), registry.version_of(there)), (2, 1, 1));
        assert_eq!(
            [HERE, there].map(|id| both.cluster(id).kind),
            [UpstreamKind::Cluster, UpstreamKind::Single]
        );
        // What becomes of one is no news of the other.
        let dark = registry.mark_unreachable(there).unwrap();
        assert_eq!([HERE, there].map(|id| dark.cluster(id).is_ready()), [true, false]);
        let moved = view(&[(node("b", 2), (0, 16383), &[])]);
        let next = apply(&mut registry, &moved).unwrap();
        assert_eq!(next.cluster(HERE).find("h", 2), Some(NodeIndex(2)));
        assert!(next.node(NodeIndex(1)).unwrap().present && !next.node(NodeIndex(0)).unwrap().present);
        assert_eq!((registry.version_of(HERE), registry.version_of(there)), (2, 2));
    }
}
