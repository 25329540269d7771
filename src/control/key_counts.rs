//! How many keys each master holds, so that an imbalance of the data can be told of.
//!
//! Each master is asked once a second (`DBSIZE`, which costs it nothing that grows). A user who may not ask has no such figure, and
//! a master that does not answer keeps none that is old. Only database 0 is counted: the only one of a cluster.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::sleep;

use super::masters::{Masters, Server};
use crate::resp::{first_error, parse_integer_reply};
use crate::shared::gateway::Gateway;
use crate::shared::topology::{Node, NodeIndex};

const PERIOD: Duration = Duration::from_secs(1);
/// After a refusal: each is written into the log of Redis's access lists.
const PERIOD_REFUSED: Duration = Duration::from_secs(60);

/// Keys by the place of the master among the node indexes.
pub type KeyCounts = HashMap<usize, u64>;

/// Asks until the process stops.
pub async fn follow_key_counts(gateway: Arc<Gateway>, counts: watch::Sender<Arc<KeyCounts>>) {
    let mut masters = Masters::new(Arc::clone(&gateway));
    loop {
        let topology = gateway.topology.load();
        let known: Vec<(usize, Server)> = (topology.clusters().iter().flat_map(|map| &map.masters))
            .filter_map(|index: &NodeIndex| topology.node(*index).map(|node| (index.position(), node)))
            .filter(|(_, node): &(usize, &Arc<Node>)| node.present)
            .map(|(place, node)| (place, Server { cluster: node.cluster, address: node.address.clone() }))
            .collect();
        let replies = masters.ask_each(known.iter().map(|(_, server)| server.clone()), b"DBSIZE").await;
        let says_no = |reply: &Bytes| first_error(reply).is_some_and(|text| text.starts_with(b"NOPERM"));
        let is_refused = replies.iter().flatten().any(says_no);
        let keys =
            |reply: Option<Bytes>| parse_integer_reply(&reply?).and_then(|keys| u64::try_from(keys).ok());
        let found: KeyCounts = known
            .iter()
            .zip(replies)
            .filter_map(|((place, _), reply)| Some((*place, keys(reply)?)))
            .collect();
        counts.send_replace(Arc::new(found));
        sleep(if is_refused { PERIOD_REFUSED } else { PERIOD }).await;
    }
}
