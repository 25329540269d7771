//! Which masters have lost their replicas: a cluster that never had any is not told that it has none.

use std::collections::HashMap;

use super::view::NodeView;

/// A cluster that has had no replica for so long is taken for one that is to have none.
const FORGOTTEN_MS: u64 = 24 * 3_600_000;

/// Remembers of each cluster when a replica was last known. The clusters are those of the configuration.
#[derive(Debug, Default)]
pub struct Shards {
    seen_ms: HashMap<String, u64>,
}

impl Shards {
    /// Marks the masters that have slots and no replica that is up, if there are, or lately were, replicas.
    pub fn mark(&mut self, now_ms: u64, nodes: &mut [NodeView]) {
        for node in nodes.iter().filter(|node| node.role == "replica") {
            match self.seen_ms.get_mut(&node.cluster) {
                Some(seen_ms) => *seen_ms = now_ms,
                None => drop(self.seen_ms.insert(node.cluster.clone(), now_ms)),
            }
        }
        for node in nodes.iter_mut().filter(|node| node.role == "master" && node.slots > 0) {
            let seen_ms = self.seen_ms.get(&node.cluster);
            let is_remembered = seen_ms.is_some_and(|seen_ms| now_ms < seen_ms + FORGOTTEN_MS);
            node.lost_replicas = is_remembered && node.replicas_up == 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(replicas_up: [Option<u32>; 2]) -> Vec<NodeView> {
        let master = |up: Option<u32>| NodeView {
            role: "master",
            slots: 8_192,
            replicas: up.map_or(0, |_| 1),
            replicas_up: up.unwrap_or(0),
            ..NodeView::default()
        };
        let replica = |_| NodeView { role: "replica", ..NodeView::default() };
        let replicas = replicas_up.iter().flatten().map(replica);
        replicas_up.iter().map(|up| master(*up)).chain(replicas).collect()
    }

    #[test]
    fn what_never_had_replicas_has_lost_none() {
        let mut shards = Shards::default();
        let mut check = |now_ms: u64, replicas_up, lost: [bool; 2]| {
            let mut nodes = nodes(replicas_up);
            shards.mark(now_ms, &mut nodes);
            assert_eq!([nodes[0].lost_replicas, nodes[1].lost_replicas], lost, "{now_ms}");
        };
        check(0, [None, None], [false, false]);
        check(1, [Some(1), Some(1)], [false, false]);
        // One is down, and one is gone.
        check(2, [Some(0), Some(1)], [true, false]);
        check(3, [None, Some(1)], [true, false]);
        // The last one goes, and a day later that is as it should be.
        check(4, [None, None], [true, true]);
        check(FORGOTTEN_MS + 2, [None, None], [true, true]);
        check(FORGOTTEN_MS + 3, [None, None], [false, false]);
    }

    #[test]
    fn a_replica_of_one_cluster_is_none_that_another_lacks() {
        let mut nodes = nodes([Some(0), None]);
        nodes[1].cluster = "orders".to_owned();
        Shards::default().mark(0, &mut nodes);
        assert_eq!([nodes[0].lost_replicas, nodes[1].lost_replicas], [true, false]);
    }
}
