//! How a worker tells the keeper of a cluster that its map of the cluster seems out of date.
//!
//! A request never waits. The mailbox is bounded, and a request beyond the bound is dropped, because the keeper then has requests
//! enough. Many workers that notice one change cost one refresh: the keeper takes everything in the mailbox at once, and
//! ignores what was noticed under an older topology.

use tokio::sync::mpsc;

use crate::limits::REFRESHES_WAITING_MAX;
use crate::route::ClusterId;
use crate::shared::topology::{Address, ClusterMap, NodeIndex, Topology};

/// Why a worker doubts the topology.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefreshReason {
    /// A `MOVED` or `ASK` named this address (an empty host in the redirect means the host that sent it: the worker
    /// puts that in). An address never seen before gets a [`NodeIndex`] with the
    /// refresh, even when the cluster's own map does not list it yet, as it does not list the target of a migration
    /// that owns no slot.
    Redirected(Address),
    /// A connection could not be made, or broke.
    ConnectionFailed(Address),
    /// A request's slot has no master.
    Unassigned,
    /// A master answers again after a silence. Another may have taken its place meanwhile.
    Silence(Address),
    /// A write was refused with `READONLY`: the server is no longer master.
    ReadOnly(Address),
    /// What a node says of itself, or of its cluster, is not what it said before. Whatever was published meanwhile may be of before that, so it
    /// is looked at unless what the node said is published. So a failover of which each node of a cluster tells in turn costs one look.
    Changed {
        /// The node.
        node: Address,
        /// What it says.
        said: Said,
    },
}

/// What is new in what a node of a cluster says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It is a master.
    IsMaster,
    /// It copies the server at this address.
    IsReplicaOf(String),
    /// It has heard of this epoch of its cluster, which serves.
    Epoch(u64),
    /// Anything else.
    Other,
}

impl Said {
    /// Whether the map that is published of the cluster, by a node that has heard of `epoch`, has it of the node at this address.
    pub fn is_published(
        &self,
        (map, topology): (&ClusterMap, &Topology),
        node: &Address,
        epoch: u64,
    ) -> bool {
        let is_at = |index: &NodeIndex, address: &str| {
            topology.node(*index).is_some_and(|known| known.address.to_string() == address)
        };
        let own = node.to_string();
        match self {
            Self::IsMaster => map.masters.iter().any(|master| is_at(master, &own)),
            Self::IsReplicaOf(of) => {
                let master = map.masters.iter().find(|master| is_at(master, of));
                let replicas = master.map_or(&[][..], |master| topology.replicas_of(*master));
                replicas.iter().any(|replica| is_at(replica, &own))
            }
            Self::Epoch(heard) => *heard <= epoch,
            Self::Other => false,
        }
    }
}

/// A request as the keeper receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefreshRequest {
    /// The reason.
    pub reason: RefreshReason,
    /// The version of the cluster's map under which it was noticed.
    pub seen_version: u64,
}

/// The workers' end of the mailbox; clone one per worker.
#[derive(Clone, Debug)]
pub struct RefreshRequester {
    /// One for each cluster, by its id.
    senders: Vec<mpsc::Sender<RefreshRequest>>,
}

impl RefreshRequester {
    /// Asks for a refresh of the cluster's map because of `reason`, noticed under its version `seen_version`.
    pub fn request(&self, cluster: ClusterId, reason: RefreshReason, seen_version: u64) {
        // Full: a refresh is due anyway. Closed: the process is going down.
        let _ = self.senders[cluster.position()].try_send(RefreshRequest { reason, seen_version });
    }
}

/// The two ends of the mailboxes: one for the keeper of each of so many clusters, by their ids.
pub fn refresh_mailboxes(clusters: usize) -> (RefreshRequester, Vec<mpsc::Receiver<RefreshRequest>>) {
    let (senders, receivers) = (0..clusters).map(|_| mpsc::channel(REFRESHES_WAITING_MAX)).unzip();
    (RefreshRequester { senders }, receivers)
}
