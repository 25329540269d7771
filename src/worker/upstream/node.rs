//! Which node a request goes to.

use super::Upstreams;
use crate::config::ReadFrom;
use crate::route::SlotAt;
use crate::shared::topology::NodeIndex;
use crate::worker::core::Core;
use crate::worker::errors::UpstreamError;
use crate::worker::pending::Route;

impl Upstreams {
    /// As [`Upstreams::node_of`], where it does not matter why there is none.
    #[inline]
    pub fn node_now(&mut self, core: &Core, route: Route, client_id: u64) -> Option<NodeIndex> {
        match route {
            // The ordinary way builds no error.
            Route::Slot(slot) => core.snapshots.topology.master_of(slot),
            _ => self.node_of(core, route, Some(client_id)).ok(),
        }
    }

    /// The node that a request goes to now: of the client with this id, or of none.
    ///
    /// # Errors
    /// There is none.
    pub fn node_of(
        &mut self,
        core: &Core,
        route: Route,
        client_id: Option<u64>,
    ) -> Result<NodeIndex, UpstreamError> {
        let topology = &core.snapshots.topology;
        if !topology.knows_all() {
            let cluster = core.snapshots.cluster_of(route);
            if !topology.cluster(cluster).is_known() {
                return Err(UpstreamError::none_known(core.gateway.facts_of(cluster)));
            }
        }
        match route {
            Route::Slot(slot) => topology.master_of(slot).ok_or(UpstreamError::Unassigned(slot)),
            Route::Node(node) => Ok(node),
            Route::ReadSlot(slot) => {
                let master = topology.master_of(slot).ok_or(UpstreamError::Unassigned(slot))?;
                let census = &self.pools.census;
                let is_usable = |replica: &NodeIndex| {
                    topology.node(*replica).is_some_and(|node| node.healthy) && !census.backs_off(*replica)
                };
                let usable = || topology.replicas_of(master).iter().copied().filter(is_usable);
                self.turn = self.turn.wrapping_add(1);
                let read_from = core.snapshots.read_from(slot.cluster);
                if read_from == ReadFrom::Nearest {
                    let near = || usable().filter(|replica| core.snapshots.is_near(*replica));
                    let near_master = Some(master).filter(|master| core.snapshots.is_near(*master));
                    let nearest = near().nth(self.turn % near().count().max(1)).or(near_master);
                    self.reads.count(nearest.is_some());
                    if let Some(nearest) = nearest {
                        return Ok(nearest);
                    }
                }
                match usable().nth(self.turn % usable().count().max(1)) {
                    Some(replica) => Ok(replica),
                    None if read_from == ReadFrom::Replica => Err(UpstreamError::NoReplica(slot)),
                    None => Ok(master),
                }
            }
            Route::AnyNode | Route::Messages(_) | Route::Connection => {
                let cluster = core.snapshots.cluster_of(route);
                let masters = &topology.cluster(cluster).masters;
                // The same node for all of a client's commands, so that its messages keep their order; for those of all clients
                // the first one, since masters are in the same order at every gateway.
                let first =
                    client_id.filter(|_| !matches!(route, Route::Messages(_))).map_or(0, |id| id as usize);
                let reachable = (0..masters.len())
                    .map(|step| masters[(first + step) % masters.len()])
                    .find(|master| !self.pools.census.backs_off(*master));
                let nobody = UpstreamError::Unassigned(SlotAt { cluster, slot: 0 });
                reachable.or_else(|| masters.first().copied()).ok_or(nobody)
            }
        }
    }
}
