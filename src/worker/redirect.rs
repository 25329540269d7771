//! A request whose reply asks for another try ([`super::retryable`]) goes elsewhere, or later.
//!
//! A request that was redirected has not run, so it may be sent again whatever it is. Those that follow a redirection are bounded by
//! `upstream.redirects_max` in number, all of them by `upstream.unavailable_wait` in time. Beyond that the client gets Redis's own
//! word, but for `MOVED` and `ASK`, of which it never hears.
//!
//! Order: requests of one client on one slot are redirected one after the other in the order they were sent, and the
//! client sends no new ones under a newer topology until these are settled, so they arrive in order. The exceptions wait where single
//! commands follow at once, in the middle of a migration: a multi-key request (`TRYAGAIN`), and a transaction (`ASK`). What is
//! pipelined behind one on its keys may overtake it, as it may with any cluster client.

use super::errors::UpstreamError;
use super::names::UpstreamKey;
use super::owners::Worker;
use super::pending::{Hook, Origin, Pending, Route};
use super::retryable::{ASKING, Retryable, Wants};
use crate::shared::labels::RedirectKind;
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::Address;

impl Worker {
    /// Sends the oldest request of a connection elsewhere if the reply asks for that. `false` when the reply is to be
    /// delivered as it is.
    pub(super) fn redirect(&mut self, key: UpstreamKey, reply: &[u8]) -> bool {
        let Some(upstream) = self.upstreams.connections.get(key) else { return false };
        let Some(front) = upstream.wire.front() else { return false };
        let aborted = front.is_transaction() && front.redirected && reply.starts_with(b"-EXECABORT");
        let node = upstream.node;
        let found = match Retryable::of(reply) {
            _ if aborted => Retryable { kind: RedirectKind::TryAgain, wants: Wants::Patience },
            Some(found) => found,
            None => return false,
        };
        match found.wants {
            // The write was refused, and a client that wrote to a replica has to hear of it.
            Wants::Master => {
                self.core.suspect_master(node);
                return false;
            }
            // Its node was known to have the script. Where it was sent elsewhere since, that one may not.
            Wants::Script if front.hook != Hook::Script && front.redirects == 0 => {
                self.upstreams.loaded_scripts.clear();
                return false;
            }
            _ if front.is_part_of_wait() => return false,
            _ => {}
        }
        self.core.tallies.redirects[found.kind.index()] += 1;
        if front.route == Route::Connection {
            return self.redirect_session(key, found, aborted, reply);
        }
        let target = found.target().and_then(|target| self.core.address_of(node, target));
        let Some((mut pending, bytes)) =
            self.upstreams.connections.get_mut(key).and_then(|upstream| upstream.wire.pop_with_bytes())
        else {
            return false;
        };
        self.upstreams.wake_waiters(&mut self.core, key);
        let bytes = bytes.slice(pending.prefix_len as usize..);
        pending.start_over();
        pending.redirects = pending.redirects.saturating_add(1);
        let cluster = self.core.snapshots.cluster_of_node(node);
        let redirects_max = self.core.upstream_of(cluster).redirects_max;
        if usize::from(pending.redirects) > redirects_max && target.is_some() {
            let error = UpstreamError::Redirected(pending.redirects - 1);
            self.settle_error(&pending, &error, Some(reply));
            return true;
        }
        match (found.wants, target) {
            (Wants::Script, _) => self.sessions().load_script(node, pending, bytes, reply),
            (Wants::Node(_), Some(target)) => {
                self.core.refresh(cluster, RefreshReason::Redirected(target.clone()));
                self.resend(pending, bytes, &target, false, reply);
            }
            // `ASKING` and `CLIENT CACHING` are each for the very next command, so one that is cached waits for the slot to arrive.
            (Wants::NodeOnce(_), Some(target))
                if pending.hook != Hook::Transaction && pending.caching.is_none() =>
            {
                self.resend(pending, bytes, &target, true, reply);
            }
            _ => {
                self.core.refresh(cluster, RefreshReason::Unassigned);
                let error = UpstreamError::Redirected(pending.redirects);
                self.sender().retry_later(pending, bytes, error, Some(reply));
            }
        }
        true
    }

    /// Sends a redirected request to the node that the redirection named, or later if that is not known yet.
    fn resend(
        &mut self,
        mut pending: Pending,
        bytes: bytes::Bytes,
        target: &Address,
        asking: bool,
        reply: &[u8],
    ) {
        let cluster = self.core.snapshots.cluster_of(pending.route);
        let Some(node) = self.core.snapshots.topology.cluster(cluster).find(&target.host, target.port) else {
            self.core.refresh(cluster, RefreshReason::Redirected(target.clone()));
            let error = UpstreamError::Redirected(pending.redirects);
            return self.sender().retry_later(pending, bytes, error, Some(reply));
        };
        // The new node may lack the script of an `EVALSHA`. It gets it at once, so that what is pipelined behind can't overtake this.
        let mut prefix = self.sessions().script_before(&bytes);
        pending.leading += u32::from(!prefix.is_empty());
        if asking {
            pending.leading += 1;
            prefix.extend_from_slice(ASKING);
        }
        pending.prefix_len = prefix.len() as u32;
        self.sender().send_to(node, pending, &prefix, bytes);
    }

    /// A session's command was redirected: its connection goes to the wrong node. The client has nothing else unsettled,
    /// so the whole request is dispatched anew after a moment.
    fn redirect_session(
        &mut self,
        key: UpstreamKey,
        found: Retryable<'_>,
        aborted: bool,
        reply: &[u8],
    ) -> bool {
        let Some(upstream) = self.upstreams.connections.get_mut(key) else { return false };
        let node = upstream.node;
        let Some((pending, bytes)) = upstream.wire.pop_with_bytes() else { return false };
        self.upstreams.wake_waiters(&mut self.core, key);
        if pending.hook == Hook::ReleaseConnection {
            self.upstreams.release_connection(&self.core, key);
        }
        let cluster = self.core.snapshots.cluster_of_node(node);
        match found.target().and_then(|target| self.core.address_of(node, target)) {
            Some(target) => self.core.refresh(cluster, RefreshReason::Redirected(target)),
            None => self.core.refresh(cluster, RefreshReason::Unassigned),
        }
        let Origin::Client { key: client, .. } = pending.origin else { return true };
        if let (Wants::NodeOnce(target), Hook::ReleaseConnection) = (found.wants, pending.hook) {
            let target = self.core.address_of(node, target);
            let map = self.core.snapshots.topology.cluster(cluster);
            let known = target.and_then(|target| map.find(&target.host, target.port));
            if let Some(client) = self.clients.all.get_mut(client) {
                client.ask_target = known;
            }
        }
        if pending.hook == Hook::OwnTransaction {
            // Nothing of it ran, so the connection is as it was.
            self.upstreams.release_connection(&self.core, key);
            self.sessions().exec_again((client, cluster), &pending, reply);
            return true;
        }
        if aborted || pending.hook == Hook::WatchedTransaction {
            // The watched keys moved, so nobody can tell whether they changed: the transaction did not run, as after a change.
            self.sessions().abort_watched(client, key, &pending);
            return true;
        }
        self.sessions().dispatch_again((client, cluster), &pending, bytes, reply);
        true
    }
}
