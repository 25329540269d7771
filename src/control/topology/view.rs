//! One node's view of the cluster, put in order: pure, and free of IO.
//!
//! What a server says is not believed blindly. A view that contradicts itself (two owners of one slot) is refused as a
//! whole; nodes that cannot be reached by anyone (no port yet, no address) are left out; of two nodes that claim one
//! address, as after an address was reused, the one that works and owns slots stays.

use std::collections::HashSet;
use std::fmt;

use crate::shared::topology::{Address, SLOTS};

/// Nodes in one view. The Redis Cluster specification aims at 1000 nodes; four times that is no real cluster.
pub const VIEW_NODES_MAX: usize = 4096;

/// A cluster as one of its nodes sees it. Two views are equal when they mean the same topology.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterView {
    /// Sorted by the master's id and address.
    pub shards: Vec<ShardView>,
}

/// A master, what it owns, and who copies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardView {
    /// The owner of the slots.
    pub master: NodeView,
    /// Inclusive, ascending, with gaps between them; every slot is below [`SLOTS`].
    pub ranges: Vec<(u16, u16)>,
    /// Sorted by id and address.
    pub replicas: Vec<NodeView>,
}

/// A node as it is announced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeView {
    /// The cluster's node id; empty outside a cluster.
    pub id: String,
    /// Where clients reach it. Port 0 stands for a node that cannot be reached, and is gone after [`ClusterView::new`].
    pub address: Address,
    /// It is not held for failed.
    pub healthy: bool,
}

/// Why a reply is no view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ViewError {
    /// Not the shape Redis documents; what was expected.
    Malformed(&'static str),
    /// Two masters own this slot.
    Overlap(u16),
    /// A shard that owns slots has several masters, and the reply does not say which of them owns them.
    AmbiguousMaster,
    /// More than [`VIEW_NODES_MAX`] nodes.
    TooManyNodes,
}

impl fmt::Display for ViewError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(expected) => write!(f, "the cluster's map is malformed: expected {expected}"),
            Self::Overlap(slot) => write!(f, "the cluster's map gives slot {slot} to two masters"),
            Self::AmbiguousMaster => f.write_str("the cluster's map has a shard with several masters"),
            Self::TooManyNodes => write!(f, "the cluster's map has more than {VIEW_NODES_MAX} nodes"),
        }
    }
}

impl std::error::Error for ViewError {}

impl ClusterView {
    /// Puts shards in order: ranges merged, everything sorted, unreachable and doubly claimed addresses left out, and
    /// masters that neither work nor own anything (what a failover leaves behind) as well.
    ///
    /// # Errors
    /// [`ViewError::Overlap`], [`ViewError::TooManyNodes`], and [`ViewError::Malformed`] for a range that is none.
    pub fn new(mut shards: Vec<ShardView>) -> Result<Self, ViewError> {
        let nodes: usize = shards.iter().map(|shard| 1 + shard.replicas.len()).sum();
        if nodes > VIEW_NODES_MAX {
            return Err(ViewError::TooManyNodes);
        }
        let mut owned = vec![false; usize::from(SLOTS)];
        for shard in &mut shards {
            claim(&mut owned, &shard.ranges)?;
            shard.ranges = merged(std::mem::take(&mut shard.ranges));
        }
        shards.retain(|shard| shard.master.healthy || !shard.ranges.is_empty());
        keep_one_node_per_address(&mut shards);
        for shard in &mut shards {
            shard.replicas.sort();
        }
        shards.sort_by(|a, b| a.master.cmp(&b.master));
        Ok(Self { shards })
    }

    /// How many slots have an owner.
    pub fn assigned_slots(&self) -> u16 {
        self.shards.iter().flat_map(|shard| &shard.ranges).map(|(start, end)| end - start + 1).sum()
    }
}

fn claim(owned: &mut [bool], ranges: &[(u16, u16)]) -> Result<(), ViewError> {
    for &(start, end) in ranges {
        if start > end || end >= SLOTS {
            return Err(ViewError::Malformed("a range of slots, 0 to 16383, ascending"));
        }
        for slot in start..=end {
            if std::mem::replace(&mut owned[usize::from(slot)], true) {
                return Err(ViewError::Overlap(slot));
            }
        }
    }
    Ok(())
}

fn merged(mut ranges: Vec<(u16, u16)>) -> Vec<(u16, u16)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u16, u16)> = Vec::new();
    for (start, end) in ranges {
        match merged.last_mut() {
            Some((_, last_end)) if *last_end + 1 == start => *last_end = end,
            _ => merged.push((start, end)),
        }
    }
    merged
}

/// Goes from the best claim to the worst: working masters that own slots, failed ones that do, masters without slots,
/// working replicas, failed ones. A shard whose master has lost its address to another is left out with its replicas:
/// nobody can serve its slots at the place where the view has them.
fn keep_one_node_per_address(shards: &mut Vec<ShardView>) {
    let mut taken: HashSet<Address> = HashSet::new();
    let mut take = |node: &NodeView| node.address.is_somewhere() && taken.insert(node.address.clone());
    shards.sort_by_key(|shard| (shard.ranges.is_empty(), !shard.master.healthy));
    shards.retain(|shard| take(&shard.master));
    for healthy in [true, false] {
        for shard in shards.iter_mut() {
            shard.replicas.retain(|replica| replica.healthy != healthy || take(replica));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, port: u16, healthy: bool) -> NodeView {
        NodeView { id: id.to_owned(), address: Address::new("h", port), healthy }
    }

    fn shard(master: NodeView, ranges: &[(u16, u16)], replicas: &[NodeView]) -> ShardView {
        ShardView { master, ranges: ranges.to_vec(), replicas: replicas.to_vec() }
    }

    #[test]
    fn equal_views_are_equal_however_they_are_told() {
        let one = ClusterView::new(vec![
            shard(
                node("b", 2, true),
                &[(200, 299), (0, 99), (100, 150)],
                &[node("y", 9, true), node("x", 8, true)],
            ),
            shard(node("a", 1, true), &[(300, 16383)], &[]),
        ]);
        let other = ClusterView::new(vec![
            shard(node("a", 1, true), &[(300, 16383)], &[]),
            shard(node("b", 2, true), &[(0, 150), (200, 299)], &[node("x", 8, true), node("y", 9, true)]),
        ]);
        assert_eq!(one, other);
        assert_eq!(one.unwrap().assigned_slots(), 16384 - 49);
    }

    #[test]
    fn contradictions_are_refused() {
        let check = |shards, expect| assert_eq!(ClusterView::new(shards), Err(expect));
        check(
            vec![shard(node("a", 1, true), &[(0, 100)], &[]), shard(node("b", 2, true), &[(100, 200)], &[])],
            ViewError::Overlap(100),
        );
        check(vec![shard(node("a", 1, true), &[(5, 9), (7, 7)], &[])], ViewError::Overlap(7));
        let range = ViewError::Malformed("a range of slots, 0 to 16383, ascending");
        check(vec![shard(node("a", 1, true), &[(9, 5)], &[])], range.clone());
        check(vec![shard(node("a", 1, true), &[(0, 16384)], &[])], range);
        check(vec![shard(node("a", 1, true), &[], &vec![node("r", 2, true); 4096])], ViewError::TooManyNodes);
    }

    #[test]
    fn one_address_is_one_node() {
        let check = |shards: Vec<ShardView>, expect: &[(&str, &[&str])]| {
            let view = ClusterView::new(shards).unwrap();
            let got: Vec<(&str, Vec<&str>)> = view
                .shards
                .iter()
                .map(|s| (s.master.id.as_str(), s.replicas.iter().map(|r| r.id.as_str()).collect()))
                .collect();
            let expect: Vec<(&str, Vec<&str>)> = expect.iter().map(|(m, r)| (*m, r.to_vec())).collect();
            assert_eq!(got, expect);
        };
        // What a failover leaves behind.
        check(
            vec![shard(node("old", 1, false), &[], &[]), shard(node("new", 2, true), &[(0, 16383)], &[])],
            &[("new", &[])],
        );
        // A failed replica's address was given to another master's replica.
        check(
            vec![
                shard(node("a", 1, true), &[(0, 9)], &[node("dead", 5, false)]),
                shard(node("b", 2, true), &[(10, 19)], &[node("alive", 5, true)]),
            ],
            &[("a", &[]), ("b", &["alive"])],
        );
        // A failed master's address is now a working master's; nobody serves the slots of the failed one.
        check(
            vec![
                shard(node("dead", 1, false), &[(0, 9)], &[node("r", 7, true)]),
                shard(node("b", 1, true), &[(10, 19)], &[]),
            ],
            &[("b", &[])],
        );
        // No port yet.
        check(vec![shard(node("a", 1, true), &[(0, 9)], &[node("r", 0, true)])], &[("a", &[])]);
        // A master that owns nothing yet is part of the cluster.
        check(
            vec![shard(node("a", 1, true), &[(0, 9)], &[]), shard(node("empty", 2, true), &[], &[])],
            &[("a", &[]), ("empty", &[])],
        );
    }
}
