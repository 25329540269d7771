//! What a worker notes when a connection opens, can't be made or ends, and how long it waits before the next attempt.

use std::time::Duration;

use bytes::{Buf, BytesMut};
use rand::Rng;

use super::intake::Intake;
use super::names::UpstreamKey;
use super::owners::Worker;
use super::upstream::greeting::GreetingError;
use super::upstream::user_logins::is_of_user;
use super::upstream::{Phase, Role, Upstream};
use super::upstream_task::ConnectionEnd;
use crate::config;
use crate::net::Stream;
use crate::resp::ReplyScanner;
use crate::shared::labels::{ErrorKind, NodeState};
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::NodeIndex;

impl Worker {
    /// Delivers what came right behind the log-in: invalidations.
    pub(super) fn deliver_early(&mut self, key: UpstreamKey, mut early: BytesMut) {
        if early.is_empty() {
            return;
        }
        let delivered = self.deliver_buffer(key, &mut early);
        let Some(upstream) = self.upstreams.connections.get_mut(key) else { return };
        match delivered {
            Ok((consumed, wanted)) => {
                early.advance(consumed);
                upstream.intake.keep(&early, wanted);
            }
            Err(_) => upstream.close(),
        }
    }

    /// The server pauses everything, so that the log-in takes as long as the pause.
    pub(super) fn is_paused(&mut self, key: UpstreamKey) -> bool {
        self.core.tick();
        let node = self
            .upstreams
            .connections
            .get(key)
            .filter(|upstream| !upstream.closing)
            .map(|upstream| upstream.node);
        node.is_some_and(|node| self.upstreams.vitals.is_all_paused(node, self.core.now_ns))
    }

    /// The connection is open. Returns the time, or nothing when it is not wanted any more.
    pub(super) fn connected(
        &mut self,
        key: UpstreamKey,
        stream: Stream,
        server_id: Option<u64>,
        connect_ns: u64,
    ) -> Option<u64> {
        self.core.tick();
        self.upstreams.connections.get(key).filter(|upstream| !upstream.closing)?;
        self.upstreams.set_phase(key, Phase::Ready);
        let upstream = self.upstreams.connections.get_mut(key)?;
        upstream.stream = Some(stream);
        upstream.server_id = server_id;
        (upstream.write_failed, upstream.leaving) = (false, false);
        (upstream.alive_ns, upstream.held) = (self.core.now_ns, false);
        upstream.refused_inside = None;
        upstream.scanner = ReplyScanner::new();
        upstream.intake = Intake::default();
        upstream.gauge.reset();
        let was_open = std::mem::replace(&mut upstream.was_open, true);
        let (node, role) = (upstream.node, upstream.role());
        self.hot.note_connect_time(node, connect_ns);
        let tally = self.core.tallies.node(node.position());
        tally.reconnects += u64::from(was_open);
        tally.connects += 1;
        tally.state = NodeState::Up;
        match role {
            Role::Tracking(owner) => self.sessions().tracking_connected(owner),
            Role::Invalidations(owner) => self.sessions().companion_connected(owner, key),
            _ => {}
        }
        Some(self.core.now_ns)
    }

    /// The connection could not be made. Returns the pause before the next attempt, or nothing when there is none.
    pub(super) fn connect_failed(
        &mut self,
        key: UpstreamKey,
        failures: u32,
        error: &GreetingError,
    ) -> Option<Duration> {
        self.core.tick();
        let upstream = self.upstreams.connections.get(key)?;
        let (node, role) = (upstream.node, upstream.role());
        if role == Role::Copies {
            self.tracking_failed(key, node, error);
            return None;
        }
        if let GreetingError::Refused { step, reply } = error
            && is_of_user(upstream, reply)
        {
            return self.refuse_user(key, step, reply);
        }
        if let GreetingError::Refused { reply, .. } = error
            && reply.starts_with("BUSY ")
        {
            self.answer_parked(key, reply);
        }
        if let Role::Tracking(owner) | Role::Invalidations(owner) = role {
            self.sessions().tracking_not_connected(owner, error);
        }
        let tally = self.core.tallies.node(node.position());
        tally.connect_failures += 1;
        self.note_down(node, role);
        self.core.tallies.error(ErrorKind::UpstreamUnavailable);
        // One that is not kept tries as often as it is wanted.
        let is_known = role == Role::User && self.upstreams.pools.census.backs_off(node);
        if failures == 1 && !is_known {
            tracing::warn!(node = %self.core.node_name(node), %error, "can't connect to an upstream node; trying again");
        }
        self.back_off(key, failures, &error.to_string())
    }

    /// The connection broke or was closed. As [`Worker::connect_failed`].
    pub(super) fn disconnected(
        &mut self,
        key: UpstreamKey,
        failures: u32,
        ended: ConnectionEnd,
    ) -> Option<Duration> {
        self.core.tick();
        let upstream = self.upstreams.connections.get_mut(key)?;
        upstream.stream = None;
        let (node, role) = (upstream.node, upstream.role());
        let why = match ended {
            ConnectionEnd::Closed | ConnectionEnd::Moved => "closed by the gateway".to_owned(),
            ConnectionEnd::Broken(why) | ConnectionEnd::Refused(why) => {
                self.core.tallies.error(ErrorKind::UpstreamLost);
                tracing::warn!(node = %self.core.node_name(node), why, "lost a connection to an upstream node");
                why
            }
        };
        self.note_down(node, role);
        self.back_off(key, failures, &why)
    }

    /// A connection failed. Its node is down unless others that all clients share are open: those serve.
    fn note_down(&mut self, node: NodeIndex, role: Role) {
        let is_shared = |role: Role| matches!(role, Role::Shared(_));
        let serves =
            |other: &Upstream| other.node == node && is_shared(other.role()) && other.stream.is_some();
        if is_shared(role) && !self.upstreams.connections.iter().any(serves) {
            self.core.tallies.node(node.position()).state = NodeState::Down;
        }
    }

    /// Hands on what the connection carried and says how long it waits.
    fn back_off(&mut self, key: UpstreamKey, failures: u32, why: &str) -> Option<Duration> {
        let cluster = self.upstreams.connections.get(key)?.cluster;
        let why = config::naming(&self.core.upstream_of(cluster).name, why);
        let pause = backoff(self.core.upstream_of(cluster), failures);
        let due_ns = self.core.now_ns + pause.as_nanos() as u64;
        self.upstreams.set_phase(key, Phase::Waiting(due_ns));
        let upstream = self.upstreams.connections.get(key)?;
        let node = upstream.node;
        let keep = !upstream.closing && matches!(upstream.role(), Role::Shared(_));
        let wanted = self.core.snapshots.topology.node(node).is_some_and(|node| node.present);
        if let Some(node) = self.core.snapshots.topology.node(node) {
            let reason = RefreshReason::ConnectionFailed(node.address.clone());
            self.core.refresh(node.cluster, reason);
        }
        self.fail_all(key, &why);
        if keep && wanted {
            if let Some(upstream) = self.upstreams.connections.get_mut(key) {
                upstream.closing = false;
            }
            return Some(pause);
        }
        None
    }
}

/// Doubles with each failure in a row; half of it is chance, so that workers and gateways do not come all at once.
fn backoff(settings: &config::Upstream, failures: u32) -> Duration {
    let longest = settings
        .backoff_min
        .saturating_mul(1 << failures.saturating_sub(1).min(20))
        .min(settings.backoff_max);
    longest.mul_f64(rand::rng().random_range(0.5..=1.0))
}
