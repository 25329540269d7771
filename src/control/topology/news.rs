//! Whether what somebody noticed of a cluster is a reason to look at it again. Pure.
//!
//! In a failover many notice the same: workers whose requests are redirected or refused, and each node of the cluster as it is asked how
//! it is. What the map that is published has already is no reason, so all of it together costs a look or two.

use crate::route::ClusterId;
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::{Address, TopologyCell};

/// What was noticed under an older topology has been answered by the present one, unless it names a new address, or may be newer than
/// what the present one was made from. That a node is away which the present one has given up, and as no master, is nothing new either.
pub fn is_news(
    reason: &RefreshReason,
    (cluster, published): (ClusterId, &TopologyCell),
    is_recent: bool,
    is_unknown: impl Fn(&Address) -> bool,
) -> bool {
    let topology = published.load();
    let map = topology.cluster(cluster);
    match reason {
        RefreshReason::Changed { node, said } => {
            !said.is_published((map, &topology), node, published.epoch_of(cluster))
        }
        RefreshReason::Redirected(target) => is_recent || is_unknown(target),
        RefreshReason::ConnectionFailed(node) | RefreshReason::Silence(node) => {
            let found = map.find(&node.host, node.port);
            let is_given_up = found.is_some_and(|index| {
                !map.masters.contains(&index) && topology.node(index).is_some_and(|node| !node.healthy)
            });
            is_recent && !is_given_up
        }
        RefreshReason::Unassigned | RefreshReason::ReadOnly(_) => is_recent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::topology::registry::Registry;
    use crate::control::topology::view::{ClusterView, NodeView, ShardView};
    use crate::shared::refresh::Said;
    use crate::shared::topology::UpstreamKind;

    fn at(port: u16) -> Address {
        Address::new("10.0.0.1", port)
    }

    /// One shard: a master at port 1, a replica at 2, and one at 3 that has failed. Its map was that of epoch 5.
    fn published() -> (ClusterId, TopologyCell) {
        let node = |port: u16, healthy| NodeView { id: port.to_string(), address: at(port), healthy };
        let shard = ShardView {
            master: node(1, true),
            ranges: vec![(0, 16_383)],
            replicas: vec![node(2, true), node(3, false)],
        };
        let (here, view) = (ClusterId(0), ClusterView::new(vec![shard]).unwrap());
        let topology = Registry::new(1).apply(here, UpstreamKind::Cluster, &view, &[]).unwrap().unwrap();
        let cell = TopologyCell::new(topology);
        let number = cell.begin_discovery(here);
        cell.end_discovery(here, number, 5);
        (here, cell)
    }

    #[test]
    fn what_is_published_already_is_no_news() {
        let (here, cell) = published();
        let check = |reason: RefreshReason, recent: bool, late: bool| {
            let is_unknown = |address: &Address| address.port > 3;
            for (is_recent, expect) in [(true, recent), (false, late)] {
                assert_eq!(
                    is_news(&reason, (here, &cell), is_recent, is_unknown),
                    expect,
                    "{reason:?} {is_recent}"
                );
            }
        };
        check(RefreshReason::Unassigned, true, false);
        check(RefreshReason::Redirected(at(2)), true, false);
        check(RefreshReason::Redirected(at(9)), true, true);
        check(RefreshReason::ConnectionFailed(at(1)), true, false);
        check(RefreshReason::ConnectionFailed(at(2)), true, false);
        check(RefreshReason::ConnectionFailed(at(3)), false, false);
        let said = |port, said| RefreshReason::Changed { node: at(port), said };
        check(said(1, Said::IsMaster), false, false);
        check(said(2, Said::IsMaster), true, true);
        check(said(2, Said::IsReplicaOf("10.0.0.1:1".to_owned())), false, false);
        check(said(2, Said::IsReplicaOf("10.0.0.1:3".to_owned())), true, true);
        check(said(1, Said::IsReplicaOf("10.0.0.1:2".to_owned())), true, true);
        check(said(1, Said::Epoch(5)), false, false);
        check(said(1, Said::Epoch(6)), true, true);
        check(said(1, Said::Other), true, true);
    }
}
