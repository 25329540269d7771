//! What becomes of the requests on a connection that broke.
//!
//! A request that was not written whole has not run and goes again. One that only reads goes again too, where it can break
//! nothing else ([`super::upstream::Suspects`]). One that was
//! written may have run or not: nobody knows, so the client is told just that, and it is never sent a second time.
//!
//! What lives in a connection ends with it, as with Redis: a client that waits in a blocking command, is subscribed or
//! monitors sees the end of its own connection, which its library knows how to go on from. So does the client of a write of
//! unknown outcome if `upstream.lost_reply` says so.

use std::time::Duration;

use bytes::Bytes;

use super::ended::Ended;
use super::errors::UpstreamError;
use super::names::UpstreamKey;
use super::owners::Worker;
use super::pending::{Origin, Pending, Route};
use super::upstream::suspects::TRIES_ALONE_MAX;
use super::upstream::{Role, Unanswered};
use crate::route::ClusterId;
use crate::shared::labels::{ErrorKind, RequestClass};
use crate::shared::topology::NodeIndex;

impl Worker {
    /// Sends what is parked on a connection that is not open yet to the nodes that it would go to now.
    pub(super) fn reroute_parked(&mut self) {
        let connecting: Vec<UpstreamKey> = self
            .upstreams
            .connections
            .iter()
            .filter(|upstream| upstream.stream.is_none() && upstream.wire.inflight() > 0)
            .filter(|upstream| matches!(upstream.role(), Role::Shared(_) | Role::User))
            .map(|upstream| upstream.key)
            .collect();
        for key in connecting {
            let Some(upstream) = self.upstreams.connections.get_mut(key) else { continue };
            let (node, cluster) = (upstream.node, upstream.cluster);
            let name = self.core.node_name(node);
            let is_master = self.core.snapshots.topology.is_master(node);
            let parked =
                self.upstreams.connections.get_mut(key).map(|upstream| upstream.wire.take_unanswered());
            for request in parked.unwrap_or_default() {
                let pending = request.pending;
                let owner = self.sender().node_of(&pending);
                match pending.origin {
                    Origin::Client { .. } | Origin::CacheFetch(..)
                        if pending.prefix_len == 0 && owner.as_ref().is_ok_and(|owner| *owner != node) =>
                    {
                        self.sender().send_to(owner.unwrap_or(node), pending, &[], request.bytes);
                    }
                    Origin::Flush(_) | Origin::Behind(_) | Origin::Sale(_) if !is_master => {
                        self.fail_one(request, (cluster, &name), "another node has its slots now");
                    }
                    _ => self.sender().queue_on(key, node, pending, &[], request.bytes),
                }
            }
            self.upstreams.wake_waiters(&mut self.core, key);
        }
    }

    /// Settles or re-routes everything that was on the connection `key`.
    pub(super) fn fail_all(&mut self, key: UpstreamKey, why: &str) {
        let Some(upstream) = self.upstreams.connections.get_mut(key) else { return };
        let (node, cluster, role) = (upstream.node, upstream.cluster, upstream.role());
        let unanswered = upstream.wire.take_unanswered();
        let waiters = std::mem::take(&mut upstream.waiters);
        waiters.let_go_on(&mut self.core.effects);
        let name = self.core.node_name(node);
        for request in unanswered {
            self.fail_one(request, (cluster, &name), why);
        }
        self.on_connection_ended(key, node, role);
    }

    fn fail_one(&mut self, request: Unanswered, (cluster, node): (ClusterId, &str), why: &str) {
        let Unanswered { mut pending, bytes, written } = request;
        // The reply that was due has been delivered already; only swallowed ones were outstanding.
        if pending.delivered == 0 {
            return;
        }
        if let Origin::Flush(flush) = pending.origin {
            return self.hot.flush_lost(&mut self.core, flush, written);
        }
        if let Origin::Behind(flush) = pending.origin {
            return self.hot.behind_lost(&mut self.core, flush, written);
        }
        if let Origin::Sale(call) = pending.origin {
            return self.hot.sale_lost(&mut self.core, call, written);
        }
        if let Origin::Probe(_) = pending.origin {
            return;
        }
        if let Origin::Confirmation(index) = pending.origin {
            return self.hot.settle_confirmation(&mut self.core, index, None);
        }
        let error = match written {
            true => UpstreamError::OutcomeUnknown(node.to_owned(), self.core.upstream_of(cluster).lost_reply),
            false => UpstreamError::Unreachable(node.to_owned(), why.to_owned()),
        };
        // One part of a `WAIT` can't be looked at again by itself.
        if pending.class == RequestClass::Blocking && (written || !pending.is_part_of_wait()) {
            self.end_blocking(&pending, bytes, (!written).then_some(cluster));
        } else if pending.route == Route::Connection {
            self.settle_error(&pending, &error, None);
        } else if !written || pending.readonly {
            let bytes = bytes.slice(pending.prefix_len as usize..);
            pending.start_over();
            if written {
                pending.losses = pending.losses.saturating_add(1);
                self.upstreams.suspects.on_loss(pending.route, pending.losses, self.core.now_ns);
            }
            if pending.losses > TRIES_ALONE_MAX {
                let error = UpstreamError::Breaks(node.to_owned(), pending.losses, why.to_owned());
                return self.settle_error(&pending, &error, None);
            }
            let error = if written { UpstreamError::Lost(node.to_owned()) } else { error };
            self.sender().retry_later(pending, bytes, error, None);
        } else {
            self.settle_error(&pending, &error, None);
        }
    }

    /// A blocking command that was sent may have taken something; one that was not sent, to a cluster, is looked at again.
    fn end_blocking(&mut self, pending: &Pending, bytes: Bytes, unsent_to: Option<ClusterId>) {
        let Origin::Client { key, .. } = pending.origin else { return };
        match unsent_to {
            None => {
                let ended = Ended::failed(pending.class, ErrorKind::UpstreamLost);
                self.clients.end_by_hang_up(&mut self.core, key, ended);
            }
            Some(cluster) => self.sessions().block_again((key, cluster), pending, bytes),
        }
    }

    /// Answers what clients have parked on a connection that could not be made with Redis's own word for it.
    pub(super) fn answer_parked(&mut self, key: UpstreamKey, word: &str) {
        let Some(upstream) = self.upstreams.connections.get_mut(key) else { return };
        let (node, cluster) = (upstream.node, upstream.cluster);
        let reply = format!("-{word}\r\n");
        let parked = upstream.wire.take_unanswered();
        let name = self.core.node_name(node);
        let error = UpstreamError::Unreachable(name.clone(), word.to_owned());
        for request in parked {
            match request.pending.origin {
                Origin::Client { .. } | Origin::CacheFetch(..) => {
                    self.settle_error(&request.pending, &error, Some(reply.as_bytes()));
                }
                _ => self.fail_one(request, (cluster, &name), word),
            }
        }
    }

    /// Redis does not let a user in as which requests wait here: they are answered with that.
    pub(super) fn refuse_user(&mut self, key: UpstreamKey, step: &str, reply: &str) -> Option<Duration> {
        if let Some(word) = self.upstreams.note_refused_user(&self.core, key, step, reply) {
            self.answer_parked(key, &word);
        }
        self.fail_all(key, "Redis refused its user");
        None
    }

    /// What depended on a connection that has ended hears of it.
    fn on_connection_ended(&mut self, key: UpstreamKey, node: NodeIndex, role: Role) {
        match role {
            Role::OutOfBand => self.upstreams.vitals.ended(node, key),
            Role::Copies => self.hot.cache.tracking_ended(&mut self.core, key),
            _ => {
                if let Some(owner) = role.owner() {
                    self.sessions().on_connection_lost(owner, key, role);
                }
            }
        }
    }
}
