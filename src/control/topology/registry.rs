//! Gives every address its index for the life of the process, and builds published topologies from views. Pure.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use super::view::{ClusterView, NodeView};
use crate::shared::topology::{Address, Node, NodeIndex, Role, Shard, Topology, UpstreamKind};

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

/// The nodes ever seen, and what was last made of them. Owned by the keeper.
pub struct Registry {
    kind: UpstreamKind,
    version: u64,
    nodes: Vec<Arc<Node>>,
    shards: Vec<Shard>,
    by_address: HashMap<Address, NodeIndex>,
}

impl Default for Registry {
    /// Knows nothing; its topology would be [`Topology::unknown`].
    fn default() -> Self {
        let by_address = HashMap::new();
        Self { kind: UpstreamKind::Single, version: 0, nodes: Vec::new(), shards: Vec::new(), by_address }
    }
}

impl Registry {
    /// Takes over `view`, and remembers the addresses of `redirect_targets` as absent nodes where the view lacks them.
    /// Returns the next topology, or `None` when nothing changed.
    ///
    /// # Errors
    /// [`RegistryFull`]; then nothing is taken over.
    pub fn apply(
        &mut self,
        kind: UpstreamKind,
        view: &ClusterView,
        redirect_targets: &[Address],
    ) -> Result<Option<Topology>, RegistryFull> {
        self.index_all(view, redirect_targets)?;
        let mut nodes: Vec<Arc<Node>> = self.nodes.iter().map(absent).collect();
        nodes.extend(self.addresses_without_node().into_iter().map(never_present));
        let mut shards = Vec::new();
        for shard in &view.shards {
            let master = self.place(&mut nodes, &shard.master, Role::Master);
            let replicas =
                shard.replicas.iter().map(|replica| self.place(&mut nodes, replica, Role::Replica)).collect();
            shards.push(Shard { master, ranges: shard.ranges.clone(), replicas });
        }
        Ok(self.publish(kind, nodes, shards))
    }

    /// Nobody answers any more: the topology stays as it was last known, with every node unhealthy. `None` when that
    /// was so already.
    pub fn mark_unreachable(&mut self) -> Option<Topology> {
        let unhealthy = |node: &Arc<Node>| {
            if node.healthy {
                Arc::new(Node { healthy: false, ..(**node).clone() })
            } else {
                Arc::clone(node)
            }
        };
        let nodes = self.nodes.iter().map(unhealthy).collect();
        self.publish(self.kind, nodes, self.shards.clone())
    }

    /// Every node ever seen.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// Whether this address has an index.
    pub fn knows(&self, address: &Address) -> bool {
        self.by_address.contains_key(address)
    }

    /// The version last handed out.
    pub fn version(&self) -> u64 {
        self.version
    }

    fn publish(&mut self, kind: UpstreamKind, nodes: Vec<Arc<Node>>, shards: Vec<Shard>) -> Option<Topology> {
        let is_first = self.version == 0 && !nodes.is_empty();
        if !is_first && kind == self.kind && nodes == self.nodes && shards == self.shards {
            return None;
        }
        self.version += 1;
        (self.kind, self.nodes, self.shards) = (kind, nodes, shards);
        Some(Topology::new(self.version, kind, self.nodes.clone(), &self.shards))
    }

    /// Gives each address an index, all or none of them.
    fn index_all(&mut self, view: &ClusterView, redirect_targets: &[Address]) -> Result<(), RegistryFull> {
        let in_view =
            view.shards.iter().flat_map(|shard| std::iter::once(&shard.master).chain(&shard.replicas));
        let mut unknown: Vec<&Address> = in_view
            .map(|node| &node.address)
            .chain(redirect_targets)
            .filter(|address| !self.by_address.contains_key(address))
            .collect();
        unknown.sort();
        unknown.dedup();
        if self.by_address.len() + unknown.len() > ADDRESSES_MAX {
            return Err(RegistryFull);
        }
        for address in unknown {
            // Below ADDRESSES_MAX, so it fits.
            self.by_address.insert(address.clone(), NodeIndex(self.by_address.len() as u16));
        }
        Ok(())
    }

    /// The addresses that were given an index since the nodes were last published, by that index.
    fn addresses_without_node(&self) -> Vec<Address> {
        let is_new = |(_, index): &(&Address, &NodeIndex)| index.position() >= self.nodes.len();
        let mut fresh: Vec<(&Address, &NodeIndex)> = self.by_address.iter().filter(is_new).collect();
        fresh.sort_by_key(|(_, index)| **index);
        fresh.into_iter().map(|(address, _)| address.clone()).collect()
    }

    fn place(&self, nodes: &mut [Arc<Node>], view: &NodeView, role: Role) -> NodeIndex {
        let index = self.by_address[&view.address];
        let node = Node {
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
fn never_present(address: Address) -> Arc<Node> {
    Arc::new(Node { address, id: String::new(), role: Role::Master, present: false, healthy: false })
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
        registry.apply(UpstreamKind::Cluster, view, &[]).unwrap()
    }

    #[test]
    fn indexes_survive_changes_and_versions_count_them() {
        let mut registry = Registry::default();
        let two = view(&[(node("a", 1), (0, 99), &[node("r", 3)]), (node("b", 2), (100, 16383), &[])]);
        let first = apply(&mut registry, &two).unwrap();
        assert_eq!((first.version, first.masters.len()), (1, 2));
        assert!(apply(&mut registry, &two).is_none());

        // The replica is promoted, and its old master is gone.
        let promoted = view(&[(node("r", 3), (0, 99), &[]), (node("b", 2), (100, 16383), &[])]);
        let second = apply(&mut registry, &promoted).unwrap();
        assert_eq!(second.version, 2);
        assert_eq!(second.master_of(5), first.find("h", 3));
        let gone = second.node(first.master_of(5).unwrap()).unwrap();
        assert!(!gone.present && !gone.healthy);

        // A node comes back as itself at another address: a new index; its old one stays with the old address.
        let moved = view(&[(node("r", 3), (0, 99), &[]), (node("b", 7), (100, 16383), &[])]);
        let third = apply(&mut registry, &moved).unwrap();
        assert_ne!(third.master_of(100), second.master_of(100));
        assert_eq!(third.find("h", 2), second.find("h", 2));
        assert_eq!(third.nodes.len(), 4);
    }

    #[test]
    fn redirect_targets_get_an_index_and_stay_absent() {
        let mut registry = Registry::default();
        let one = view(&[(node("a", 1), (0, 16383), &[])]);
        apply(&mut registry, &one);
        let target = Address::new("h", 9);
        let next =
            registry.apply(UpstreamKind::Cluster, &one, &[target.clone(), target.clone()]).unwrap().unwrap();
        let index = next.find("h", 9).unwrap();
        assert!(!next.node(index).unwrap().present);
        assert_eq!(next.masters.len(), 1);
        assert!(registry.apply(UpstreamKind::Cluster, &one, &[target]).unwrap().is_none());
    }

    #[test]
    fn an_unreachable_upstream_keeps_its_map() {
        let mut registry = Registry::default();
        assert!(registry.mark_unreachable().is_none());
        let one = view(&[(node("a", 1), (0, 16383), &[])]);
        apply(&mut registry, &one);
        let dark = registry.mark_unreachable().unwrap();
        assert!(!dark.is_ready());
        assert!(dark.master_of(0).is_some());
        assert!(registry.mark_unreachable().is_none());
        assert!(apply(&mut registry, &one).unwrap().is_ready());
    }

    #[test]
    fn a_cluster_without_nodes_is_published_once() {
        let mut registry = Registry::default();
        assert!(apply(&mut registry, &ClusterView::default()).is_some_and(|topology| !topology.is_ready()));
        assert!(apply(&mut registry, &ClusterView::default()).is_none());
    }

    #[test]
    fn the_number_of_addresses_is_bounded() {
        let mut registry = Registry::default();
        let one = view(&[(node("a", 1), (0, 16383), &[])]);
        let targets: Vec<Address> = (1..=ADDRESSES_MAX as u16).map(|port| Address::new("h", port)).collect();
        let full = registry.apply(UpstreamKind::Cluster, &one, &targets).unwrap().unwrap();
        assert_eq!(full.nodes.len(), ADDRESSES_MAX);
        let one_more = [Address::new("i", 1)];
        assert_eq!(registry.apply(UpstreamKind::Cluster, &one, &one_more).err(), Some(RegistryFull));
        assert!(registry.apply(UpstreamKind::Cluster, &one, &[]).unwrap().is_none());
    }
}
