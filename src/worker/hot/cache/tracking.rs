//! Connections to nodes that say which of the keys read on them have changed.
//!
//! One for each node, made when a tracked key of the node is first read, in RESP3 since only that carries such messages
//! between replies. Until it is ready reads go the ordinary way. One that breaks is not made again by itself: the next
//! read asks for a new one.

use super::store::UNTRACKED;
use crate::resp::{self, RespVersion};
use crate::shared::topology::NodeIndex;
use crate::worker::names::UpstreamKey;
use crate::worker::owners::Worker;
use crate::worker::selection::Selection;
use crate::worker::upstream::{GreetingError, Phase, Role};

const TRACKING_ON: &[u8] = b"*3\r\n$6\r\nCLIENT\r\n$8\r\nTRACKING\r\n$2\r\nON\r\n";

/// A node that refuses to track is asked again after this long: it may have been upgraded, or its users' rights changed.
const REFUSED_REST_NS: u64 = 60_000_000_000;

/// A connection that has carried nothing for this long is tested, since one that is dead without our knowing would leave
/// its copies to their age.
const SILENCE_NS: u64 = 1_000_000_000;

/// The tracking connections of a worker.
#[derive(Default)]
pub struct Connections {
    /// At most one for each node.
    all: Vec<Connection>,
    /// How many were made: their serial numbers.
    made: u64,
    /// Nodes that could not be had, and when they may be asked again.
    resting: Vec<(NodeIndex, u64)>,
    /// That a node refuses has been said.
    told: bool,
}

struct Connection {
    node: NodeIndex,
    key: UpstreamKey,
    source: u64,
}

impl Connections {
    /// Nodes that refused may be asked again.
    pub fn forgive(&mut self) {
        self.resting.clear();
        self.told = false;
    }
}

impl Worker {
    /// The tracking connection to a node and its serial number, if it is ready; otherwise one is made, unless that has just
    /// failed.
    pub(super) fn tracking_connection(&mut self, node: NodeIndex) -> Option<(UpstreamKey, u64)> {
        let connections = &mut self.hot.cache.connections;
        if let Some(known) = connections.all.iter().find(|known| known.node == node) {
            let (key, source) = (known.key, known.source);
            match self.upstreams.connections.get(key) {
                Some(upstream) => return (upstream.phase() == Phase::Ready).then_some((key, source)),
                None => self.copies_lost(key),
            }
        }
        let connections = &mut self.hot.cache.connections;
        let now_ns = self.core.now_ns;
        connections.resting.retain(|(_, until_ns)| *until_ns > now_ns);
        if connections.resting.iter().any(|(resting, _)| *resting == node) {
            return None;
        }
        let greeting = Some(bytes::Bytes::from_static(TRACKING_ON));
        let key = self.upstreams.open_connection(
            &mut self.core,
            node,
            Role::Copies,
            Selection::of_version(RespVersion::Resp3),
            greeting,
        );
        let connections = &mut self.hot.cache.connections;
        connections.made += 1;
        connections.all.push(Connection { node, key, source: UNTRACKED + connections.made });
        None
    }

    /// A tracking connection could not be made: its node is left alone for a while.
    pub fn tracking_failed(&mut self, key: UpstreamKey, node: NodeIndex, error: &GreetingError) {
        let refused = matches!(error, GreetingError::Refused { .. });
        let rest_ns = match refused {
            true => REFUSED_REST_NS,
            false => self.core.config.upstream.backoff_max.as_nanos() as u64,
        };
        self.copies_lost(key);
        let name = self.core.node_name(node);
        let connections = &mut self.hot.cache.connections;
        connections.resting.push((node, self.core.now_ns + rest_ns));
        if refused && !std::mem::replace(&mut connections.told, true) {
            tracing::warn!(
                node = %name, %error,
                "the server does not track reads; keys with read = \"tracked\" are collapsed instead"
            );
        }
    }

    /// A tracking connection has ended: nothing says any more when its copies change.
    pub fn copies_lost(&mut self, key: UpstreamKey) {
        let cache = &mut self.hot.cache;
        let Some(place) = cache.connections.all.iter().position(|known| known.key == key) else { return };
        let source = cache.connections.all.swap_remove(place).source;
        if cache.store.drop_sources(|of| of == source) > 0 {
            self.core.tallies.read_cache.drops += 1;
        }
    }

    /// No rule wants tracked copies any more.
    pub(super) fn close_tracking_connections(&mut self) {
        for connection in &self.hot.cache.connections.all {
            if let Some(upstream) = self.upstreams.connections.get_mut(connection.key) {
                upstream.close();
            }
        }
    }

    /// The slots have new owners, who do not know what was read from the old ones.
    pub fn drop_tracked_copies(&mut self) {
        if self.hot.cache.on && self.hot.cache.store.drop_sources(|source| source != UNTRACKED) > 0 {
            self.core.tallies.read_cache.drops += 1;
        }
    }

    /// A push message on a tracking connection: the keys that have changed, or null when all have.
    pub fn take_invalidation(&mut self, message: &[u8]) {
        let Some(mut parts) = resp::elements(message) else { return };
        if parts.next().and_then(resp::bulk_payload) != Some(b"invalidate") {
            return;
        }
        let store = &mut self.hot.cache.store;
        let dropped = match parts.next().and_then(resp::elements) {
            Some(keys) => keys
                .filter_map(resp::bulk_payload)
                .map(|key| store.drop_key(self.hot.hasher.hash_one(key)))
                .sum::<usize>(),
            None => store.drop_sources(|_| true),
        };
        self.core.tallies.read_cache.invalidations += dropped as u64;
    }

    /// Asks silent connections for a sign of life; one that gives none within `upstream.request_timeout` counts as broken.
    pub(super) fn test_tracking_connections(&mut self) {
        let now_ns = self.core.now_ns;
        for place in 0..self.hot.cache.connections.all.len() {
            let key = self.hot.cache.connections.all[place].key;
            let Some(upstream) = self.upstreams.connections.get_mut(key) else { continue };
            let silent = now_ns.saturating_sub(upstream.active_ns) > SILENCE_NS;
            if silent && upstream.phase() == Phase::Ready && upstream.wire.inflight() == 0 {
                upstream.active_ns = now_ns;
                self.upstreams.tell_connection(&self.core, key, &[b"PING"]);
            }
        }
    }
}
