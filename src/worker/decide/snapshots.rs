//! What decisions rest on: the snapshots that other threads publish, as one worker has them.
//!
//! Owns none of them, and deliberately decides nothing: it answers what follows from routes and topology together.

use std::sync::Arc;

use super::classes::Classes;
use crate::access::Users;
use crate::command::CommandTable;
use crate::config::ReadFrom;
use crate::resp::key_slot;
use crate::route::{ClusterId, RoutedAs, Routes, SlotAt};
use crate::shared::topology::{ClusterMap, NodeIndex, Topology, UpstreamKind};
use crate::worker::pending::Route;
use crate::worker::selection::Selection;

/// The snapshots that decisions rest on. Replaced as a whole when one of them changes.
pub struct Snapshots {
    /// Which cluster each key lives in.
    pub routes: Routes,
    /// Where the slots of each cluster are.
    pub topology: Arc<Topology>,
    /// Which commands there are.
    pub commands: Arc<CommandTable>,
    /// What each command counts as.
    pub classes: Classes,
    /// Where reads of each cluster may go, by [`ClusterId`].
    pub read_from: Box<[ReadFrom]>,
    /// The nodes in the gateway's own zone, by [`NodeIndex`]; nothing where no cluster is read by zone.
    pub near: Box<[bool]>,
    /// Who may do what.
    pub users: Arc<Users>,
}

impl Snapshots {
    /// The cluster that commands without keys go to.
    #[inline]
    pub fn keyless(&self) -> &ClusterMap {
        self.topology.cluster(self.routes.keyless())
    }

    /// There is one cluster, which is one server: it holds every key.
    #[inline]
    pub fn is_one_server(&self) -> bool {
        self.routes.several().is_none() && self.keyless().kind == UpstreamKind::Single
    }

    /// The masters of all clusters, cluster by cluster.
    pub fn all_masters(&self) -> Vec<NodeIndex> {
        self.topology.clusters().iter().flat_map(|map| &map.masters).copied().collect()
    }

    /// Whether what such a user asks of all keys is asked of this cluster: of every one, unless routes of that user's own keep all of
    /// its keys out of it.
    pub fn reaches(&self, routed_as: RoutedAs, cluster: ClusterId) -> bool {
        let table = self.routes.several().filter(|_| routed_as != RoutedAs::ANYBODY);
        table.is_none_or(|table| table.may_hold(routed_as, b"*", cluster))
    }

    /// The clusters of which nothing is known yet.
    pub fn unknown_clusters(&self) -> impl Iterator<Item = ClusterId> + '_ {
        let numbered = self.topology.clusters().iter().enumerate();
        numbered.filter(|(_, map)| !map.is_known()).map(|(place, _)| ClusterId(place as u16))
    }

    /// Whether two nodes belong to one cluster that is one server, so that either was or is the server of all its keys.
    pub fn holds_all_keys_of(&self, one: NodeIndex, other: NodeIndex) -> bool {
        let cluster = self.cluster_of_node(one);
        cluster == self.cluster_of_node(other) && self.topology.cluster(cluster).kind == UpstreamKind::Single
    }

    /// Whether a cluster has databases besides 0.
    pub fn has_databases(&self, cluster: ClusterId) -> bool {
        self.topology.cluster(cluster).kind == UpstreamKind::Single
    }

    /// What a connection to `node` selects for somebody with this selection.
    pub fn selection_at(&self, node: NodeIndex, selection: Selection) -> Selection {
        match self.has_databases(self.cluster_of_node(node)) {
            true => selection,
            false => Selection { database: 0, ..selection },
        }
    }

    /// The slot of a key as requests of such a user have it: one server owns all slots, and there every key is in slot 0.
    #[inline]
    pub fn place_of(&self, routed_as: RoutedAs, key: &[u8]) -> SlotAt {
        let cluster = self.routes.cluster_for(routed_as, key);
        let single = self.topology.cluster(cluster).kind == UpstreamKind::Single;
        SlotAt { cluster, slot: if single { 0 } else { key_slot(key) } }
    }

    /// Where reads of a cluster, which the configuration has named, may go.
    #[inline]
    pub fn read_from(&self, cluster: ClusterId) -> ReadFrom {
        self.read_from[cluster.position()]
    }

    /// The cluster that a request goes to.
    pub fn cluster_of(&self, route: Route) -> ClusterId {
        match route {
            Route::Slot(place) | Route::ReadSlot(place) => place.cluster,
            Route::Node(node) => self.cluster_of_node(node),
            Route::Messages(cluster) => cluster,
            Route::AnyNode | Route::Connection => self.routes.keyless(),
        }
    }

    /// The cluster that a node belongs to.
    pub fn cluster_of_node(&self, node: NodeIndex) -> ClusterId {
        self.topology.node(node).map_or(self.routes.keyless(), |node| node.cluster)
    }
}
