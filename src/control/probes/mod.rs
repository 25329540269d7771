//! Asks every upstream node how it is, so that one that hangs, dies or turns away is told of though no client asks it for anything.
//!
//! One task for each node that is present, and for each server that the configuration names under another address. Each keeps one
//! connection and sends one small pipeline at a time. The cost is bounded at any number of nodes: all together ask at most
//! [`ROUNDS_PER_S_MAX`] times a second, so that beyond 250 nodes each is asked less often.
//!
//! Deliberately judges nothing: it puts down what was heard, and has the topology looked at when that does not fit it.

mod name;
mod node;
mod replies;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

use crate::route::ClusterId;
use crate::shared::gateway::Gateway;
use crate::shared::topology::Address;
use node::Probed;

/// Between two questions to one node, while there are few nodes. A silence is told after a second, and its beginning is seen this much
/// later at most.
const PERIOD_MIN: Duration = Duration::from_millis(500);
/// Rounds of questions per second, over all nodes: about a hundredth of the control thread.
const ROUNDS_PER_S_MAX: u32 = 500;
/// How soon a change of the configuration's servers is followed.
const LOOK_PERIOD: Duration = Duration::from_secs(1);

/// How often each of so many servers is asked.
fn period(servers: usize) -> Duration {
    PERIOD_MIN.max(Duration::from_secs(1) * u32::try_from(servers).unwrap_or(u32::MAX) / ROUNDS_PER_S_MAX)
}

/// Asks until the process stops.
pub async fn follow_probes(gateway: Arc<Gateway>) {
    let mut changes = gateway.topology.changes();
    let mut asked: HashMap<(ClusterId, Address), AbortHandle> = HashMap::new();
    let mut pace = tokio::sync::watch::Sender::new(PERIOD_MIN);
    loop {
        let wanted = servers(&gateway);
        asked.retain(|(cluster, address), task| {
            let stays = wanted.contains(&(*cluster, address.clone()));
            if !stays {
                task.abort();
                gateway.probes.forget(*cluster, address);
                gateway.names.forget(*cluster, address);
            }
            stays
        });
        set_pace(&mut pace, period(wanted.len()));
        for (cluster, address) in wanted {
            asked.entry((cluster, address.clone())).or_insert_with(|| {
                let probed = Probed::new(Arc::clone(&gateway), cluster, address);
                tokio::spawn(probed.follow(pace.subscribe())).abort_handle()
            });
        }
        match timeout(LOOK_PERIOD, changes.changed()).await {
            Ok(Err(_)) => return,
            // Several changes in a row are followed at once.
            Ok(Ok(())) => sleep(Duration::from_millis(10)).await,
            Err(_) => {}
        }
    }
}

fn set_pace(pace: &mut tokio::sync::watch::Sender<Duration>, period: Duration) {
    pace.send_if_modified(|now| std::mem::replace(now, period) != period);
}

/// Nodes that are present, and servers that are named.
fn servers(gateway: &Gateway) -> HashSet<(ClusterId, Address)> {
    let topology = gateway.topology.load();
    let config = gateway.config.load();
    let present = topology.nodes.iter().filter(|node| node.present);
    let mut servers: HashSet<_> = present.map(|node| (node.cluster, node.address.clone())).collect();
    for cluster in config.clusters() {
        servers.extend(config.servers_of(cluster).iter().map(|address| (cluster, address.clone())));
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_nodes_are_asked_less_often_and_cost_no_more() {
        for (nodes, expected_ms) in [(1, 500), (250, 500), (251, 502), (1_000, 2_000), (16_384, 32_768)] {
            assert_eq!(period(nodes).as_millis(), expected_ms);
            assert!(nodes as f64 / period(nodes).as_secs_f64() <= f64::from(ROUNDS_PER_S_MAX));
        }
    }
}
