//! Which connections tell their worker what of the keys read on them has changed, and what they say.
//!
//! There is one for each node, made when a tracked key of the node is first read, in RESP3 since only that carries such
//! messages between replies. Until it is ready reads go the ordinary way. One that breaks is not made again by itself: the
//! next read asks for a new one. Here is their list and what follows for the copies. They are opened, tested and closed in
//! [`crate::worker::copy_connections`], and kept in [`crate::worker::upstream`] as all are.

use super::Cache;
use super::store::TrackingSource;
use crate::resp;
use crate::route::ClusterId;
use crate::shared::topology::NodeIndex;
use crate::worker::core::Core;
use crate::worker::hot::HotKeys;
use crate::worker::names::UpstreamKey;

/// The tracking connections of a worker.
#[derive(Default)]
pub struct TrackingConnections {
    /// At most one for each node.
    all: Vec<TrackingConnection>,
    /// How many were made: their serial numbers.
    made: u64,
    /// Nodes that could not be had, and when they may be asked again.
    backed_off: Vec<(NodeIndex, u64)>,
    /// That a node refuses has been said.
    told: bool,
}

/// One of them.
#[derive(Clone, Copy, Debug)]
pub struct TrackingConnection {
    node: NodeIndex,
    /// The connection.
    pub key: UpstreamKey,
    /// The source of the copies that were read on it.
    pub source: TrackingSource,
}

impl TrackingConnections {
    /// The one to a node.
    pub fn to(&self, node: NodeIndex) -> Option<TrackingConnection> {
        self.all.iter().find(|known| known.node == node).copied()
    }

    /// All of them.
    pub fn keys(&self) -> impl Iterator<Item = UpstreamKey> {
        self.all.iter().map(|known| known.key)
    }

    /// One was opened.
    pub fn add(&mut self, node: NodeIndex, key: UpstreamKey) {
        self.made += 1;
        self.all.push(TrackingConnection { node, key, source: self.made });
    }

    /// Whether a node may be asked for one: it has not just failed.
    pub fn may_open(&mut self, node: NodeIndex, now_ns: u64) -> bool {
        self.backed_off.retain(|(_, until_ns)| *until_ns > now_ns);
        self.backed_off.iter().all(|(other, _)| *other != node)
    }

    /// A node is not asked until then.
    pub fn back_off(&mut self, node: NodeIndex, until_ns: u64) {
        self.backed_off.push((node, until_ns));
    }

    /// Whether nobody has been told yet that a node refuses. From now on somebody has.
    pub fn is_first_refusal(&mut self) -> bool {
        !std::mem::replace(&mut self.told, true)
    }

    /// Nodes that refused may be asked again.
    pub fn forgive(&mut self) {
        self.backed_off.clear();
        self.told = false;
    }
}

impl Cache {
    /// A tracking connection has ended: nothing says any more when its copies change.
    pub fn tracking_ended(&mut self, core: &mut Core, key: UpstreamKey) {
        let connections = &mut self.connections.all;
        let Some(place) = connections.iter().position(|known| known.key == key) else { return };
        let source = connections.swap_remove(place).source;
        self.drop_sources(core, |of| of == Some(source));
    }

    /// The slots have new owners, who do not know what was read from the old ones.
    pub fn drop_tracked(&mut self, core: &mut Core) {
        if self.on {
            self.drop_sources(core, |source| source.is_some());
        }
    }

    fn drop_sources(&mut self, core: &mut Core, gone: impl Fn(Option<TrackingSource>) -> bool) {
        core.tallies.read_cache.drops += u64::from(self.store.drop_sources(gone) > 0);
    }
}

impl HotKeys {
    /// A push message on a tracking connection to this cluster: the keys that have changed there, or null when all have.
    pub fn on_copies_changed(&mut self, core: &mut Core, cluster: ClusterId, message: &[u8]) {
        let Some(mut parts) = resp::elements(message) else { return };
        if parts.next().and_then(resp::bulk_payload) != Some(b"invalidate") {
            return;
        }
        let store = &mut self.cache.store;
        let dropped = match parts.next().and_then(resp::elements) {
            Some(keys) => keys
                .filter_map(resp::bulk_payload)
                .map(|key| store.drop_key(core.gateway.key_hasher.id(cluster, key).hash))
                .sum::<usize>(),
            None => store.drop_sources(|_| true),
        };
        core.tallies.read_cache.invalidations += dropped as u64;
    }
}
