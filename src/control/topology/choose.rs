//! Which of several nodes' answers to believe: pure.
//!
//! A node's map of the cluster may be out of date: a master cut off from the others goes on believing what it knew, and
//! news travels by gossip, a second or so from end to end. So a refresh asks a few nodes and takes the best answer:
//!
//! 1. One that knows an owner for some slot, before one that knows none: the latter comes from a node that was reset.
//! 2. One whose node says `cluster_state:ok`, before one that does not: a node on the minority side of a partition says
//!    `fail` after `cluster-node-timeout`, and so does one that has just started with an old map. When slots are
//!    uncovered every node says `fail`, and this decides nothing.
//! 3. The highest `cluster_current_epoch`. A failover and the end of a slot's migration each give the new owner an epoch
//!    above all others (Redis Cluster specification, "Configuration epoch"), so a node that has heard of a higher epoch
//!    has heard of more. It comes after the state because a node cut off may raise its own epoch in elections it loses.
//! 4. The answer that most of the nodes gave: epochs also travel by hearsay, ahead of the map they stand for.
//! 5. The node that was asked first: that is one named by a redirect, if there was one.
//!
//! It need not be right each time. What is still out of date earns a `MOVED`, which names the owner and asks for the
//! next refresh; an old answer costs a redirect, never a wrong reply.

use super::info::ClusterState;
use super::view::ClusterView;

/// The answer of one node of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterAnswer {
    /// Its map.
    pub view: ClusterView,
    /// Its state.
    pub state: ClusterState,
}

/// The best of `answers`, which are in the order of asking. `None` if there is none.
pub fn choose(answers: Vec<ClusterAnswer>) -> Option<ClusterAnswer> {
    let agreeing = |answer: &ClusterAnswer| answers.iter().filter(|other| other.view == answer.view).count();
    let merit = |(position, answer): &(usize, &ClusterAnswer)| {
        let knows_owners = answer.view.assigned_slots() > 0;
        (knows_owners, answer.state.ok, answer.state.current_epoch, agreeing(answer), usize::MAX - position)
    };
    let (best, _) = answers.iter().enumerate().max_by_key(merit)?;
    answers.into_iter().nth(best)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::topology::view::{NodeView, ShardView};
    use crate::shared::topology::Address;

    /// An answer in which the master at `port` owns everything (nothing for port 0).
    fn answer(port: u16, ok: bool, current_epoch: u64) -> ClusterAnswer {
        let master = NodeView { id: String::new(), address: Address::new("h", port), healthy: true };
        let shard = ShardView { master, ranges: vec![(0, 16383)], replicas: Vec::new() };
        let view = ClusterView::new(vec![shard]).unwrap();
        ClusterAnswer { view, state: ClusterState { ok, current_epoch, assigned_slots: 0 } }
    }

    #[test]
    fn the_freshest_answer_is_believed() {
        let check = |answers: &[(u16, bool, u64)], expect: u16| {
            let answers = answers.iter().map(|&(port, ok, epoch)| answer(port, ok, epoch)).collect();
            let best = choose(answers).unwrap();
            assert_eq!(best.view.shards.first().map_or(0, |shard| shard.master.address.port), expect);
        };
        check(&[(1, true, 5)], 1);
        check(&[(1, true, 5), (2, true, 6)], 2);
        // Cut off, and its epoch raised in vain.
        check(&[(1, false, 9), (2, true, 6)], 2);
        // All slots uncovered: the epoch still tells.
        check(&[(1, false, 5), (2, false, 6)], 2);
        check(&[(1, true, 5), (2, true, 5), (2, true, 5)], 2);
        check(&[(1, true, 5), (2, true, 5)], 1);
        // A node that was reset.
        check(&[(0, true, 9), (2, false, 1)], 2);
        check(&[(0, true, 9)], 0);
        assert_eq!(choose(Vec::new()), None);
    }
}
