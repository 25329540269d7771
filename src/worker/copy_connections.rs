//! The connections on which tracked keys are read, so that their node says there when they change: opened, tested, closed.
//!
//! Composed of their list ([`super::hot::cache::connections`]) and the connections themselves, which live and end as all do
//! ([`super::upstream_task`]). Keeps nothing, and decides nothing about copies.

use bytes::Bytes;

use super::hot::cache::TrackingSource;
use super::names::UpstreamKey;
use super::owners::Worker;
use super::selection::Selection;
use super::upstream::{GreetingError, Phase, Role};
use crate::resp::RespVersion;
use crate::shared::topology::NodeIndex;

const TRACKING_ON: &[u8] = b"*3\r\n$6\r\nCLIENT\r\n$8\r\nTRACKING\r\n$2\r\nON\r\n";

/// A node that refuses to track is asked again after this long: it may have been upgraded, or its users' rights changed.
const REFUSED_PAUSE_NS: u64 = 60_000_000_000;

/// A connection that has carried nothing for this long is tested, since one that is dead without our knowing would leave
/// its copies to their age.
const SILENCE_NS: u64 = 1_000_000_000;

impl Worker {
    /// The tracking connection to a node, and the source of the copies that are read on it; otherwise one is made, unless that
    /// has just failed.
    pub(super) fn tracking_connection(&mut self, node: NodeIndex) -> Option<(UpstreamKey, TrackingSource)> {
        let Self { core, upstreams, hot, .. } = self;
        if let Some(known) = hot.cache.connections.to(node) {
            return Some((known.key, known.source));
        }
        if hot.cache.connections.may_open(node, core.now_ns) {
            let selection = Selection::of_version(RespVersion::Resp3);
            let greeting = Some(Bytes::from_static(TRACKING_ON));
            let key = upstreams.open_connection(core, node, Role::Copies, selection, greeting);
            hot.cache.connections.add(node, key);
        }
        None
    }

    /// A tracking connection could not be made: its node is left alone for a while.
    pub(super) fn tracking_failed(&mut self, key: UpstreamKey, node: NodeIndex, error: &GreetingError) {
        let refused = matches!(error, GreetingError::Refused { .. });
        let pause_ns = match refused {
            true => REFUSED_PAUSE_NS,
            false => {
                self.core.upstream_of(self.core.snapshots.cluster_of_node(node)).backoff_max.as_nanos() as u64
            }
        };
        self.hot.cache.tracking_ended(&mut self.core, key);
        let connections = &mut self.hot.cache.connections;
        connections.back_off(node, self.core.now_ns + pause_ns);
        if refused && connections.is_first_refusal() {
            tracing::warn!(
                node = %self.core.node_name(node), %error,
                "the server does not track reads; keys with read = \"tracked\" are collapsed instead"
            );
        }
    }

    /// No rule wants tracked copies any more.
    pub(super) fn close_tracking_connections(&mut self) {
        for key in self.hot.cache.connections.keys() {
            if let Some(upstream) = self.upstreams.connections.get_mut(key) {
                upstream.close();
            }
        }
    }

    /// Asks silent connections for a sign of life; one that gives none within `upstream.request_timeout` counts as broken.
    pub(super) fn test_tracking_connections(&mut self) {
        let now_ns = self.core.now_ns;
        for key in self.hot.cache.connections.keys() {
            let Some(upstream) = self.upstreams.connections.get_mut(key) else { continue };
            let silent = now_ns.saturating_sub(upstream.active_ns) > SILENCE_NS;
            if silent && upstream.phase() == Phase::Ready && upstream.wire.inflight() == 0 {
                upstream.active_ns = now_ns;
                self.upstreams.send_unheard(&self.core, key, &[b"PING"]);
            }
        }
    }
}
