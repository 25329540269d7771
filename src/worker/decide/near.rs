//! Which nodes are in the gateway's own zone, for clusters with `read_from = "nearest"`.
//!
//! Worked out when the topology or the configuration is another, and only looked at by requests.

use super::Snapshots;
use crate::config::{Network, ReadFrom};
use crate::shared::topology::NodeIndex;

impl Snapshots {
    /// Whether a node is in the gateway's own zone.
    pub fn is_near(&self, node: NodeIndex) -> bool {
        self.near.get(node.position()).is_some_and(|is_near| *is_near)
    }

    /// Looks which nodes are in the gateway's own zone, one of these networks.
    pub fn find_near(&mut self, own: &[Network]) {
        if !self.read_from.contains(&ReadFrom::Nearest) {
            self.near = Box::default();
            return;
        }
        // A name is not looked up: of its servers a cluster tells addresses.
        let is_near = |host: &str| {
            host.parse().is_ok_and(|address| own.iter().any(|network| network.contains(address)))
        };
        self.near = self.topology.nodes.iter().map(|node| is_near(&node.address.host)).collect();
    }
}
