//! `MOVED ASK TRYAGAIN CLUSTERDOWN LOADING` and their kin: the gateway's business, never the client's.
//!
//! (Redis Cluster specification, "MOVED Redirection" and "ASK redirection".) A request that was redirected has not run, so
//! it may be sent again whatever it is. `MOVED` and `ASK` go on at once to the node that the reply names; the others wait a
//! moment. The former are bounded by `upstream.redirects_max` in number, all of them by `upstream.unavailable_wait` in time.
//! Beyond that the client gets Redis's own word, but for `MOVED` and `ASK`, of which it never hears.
//!
//! Order: requests of one client on one slot are redirected one after the other in the order they were sent, and the
//! client sends no new ones under a newer topology until these are settled, so they arrive in order. The exceptions wait where single
//! commands follow at once, in the middle of a migration: a multi-key request (`TRYAGAIN`), and a transaction (`ASK`). What is
//! pipelined behind one on its keys may overtake it, as it may with any cluster client.

use crate::resp;
use crate::shared::labels::RedirectKind;
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::Address;
use crate::worker::errors::UpstreamError;
use crate::worker::names::UpstreamKey;
use crate::worker::owners::Worker;
use crate::worker::pending::{Hook, Origin, Pending, Route};

/// What precedes a request that was redirected with `ASK`.
pub const ASKING: &[u8] = b"*1\r\n$6\r\nASKING\r\n";

/// An error reply that asks for another try.
struct Redirection<'a> {
    kind: RedirectKind,
    /// `host:port` of `MOVED` and `ASK`; the host may be empty.
    target: Option<&'a str>,
}

/// What kind of redirection an error reply is, and the `host:port` it names, if it is one.
pub fn redirection(reply: &[u8]) -> Option<(RedirectKind, Option<&str>)> {
    parse(reply).map(|found| (found.kind, found.target))
}

/// Whether a reply sends the request elsewhere or asks for another try.
pub(super) fn is_redirection(reply: &[u8]) -> bool {
    parse(reply).is_some()
}

fn parse(reply: &[u8]) -> Option<Redirection<'_>> {
    let text = std::str::from_utf8(resp::first_error(reply)?).ok()?;
    let mut words = text.split(' ');
    let kind = match words.next()? {
        "MOVED" => RedirectKind::Moved,
        "ASK" => RedirectKind::Ask,
        "TRYAGAIN" => RedirectKind::TryAgain,
        "CLUSTERDOWN" | "MASTERDOWN" => RedirectKind::ClusterDown,
        "LOADING" => RedirectKind::Loading,
        "READONLY" => RedirectKind::ReadOnly,
        "NOSCRIPT" => RedirectKind::NoScript,
        _ => return None,
    };
    let names_target = matches!(kind, RedirectKind::Moved | RedirectKind::Ask);
    Some(Redirection { kind, target: words.nth(1).filter(|_| names_target) })
}

impl Worker {
    /// Sends the oldest request of a connection elsewhere if the reply asks for that. `false` when the reply is to be
    /// delivered as it is.
    pub(super) fn redirect(&mut self, key: UpstreamKey, reply: &[u8]) -> bool {
        let Some(upstream) = self.upstreams.connections.get(key) else { return false };
        let Some(front) = upstream.wire.front() else { return false };
        let aborted = front.is_transaction() && front.redirected && reply.starts_with(b"-EXECABORT");
        let node = upstream.node;
        let found = match parse(reply) {
            _ if aborted => Redirection { kind: RedirectKind::TryAgain, target: None },
            Some(found) => found,
            None => return false,
        };
        if found.kind == RedirectKind::ReadOnly {
            // Passed on: the write was refused, and a client that wrote to a replica has to hear of it. But look again.
            self.core.doubt_master(node);
            return false;
        }
        if found.kind == RedirectKind::NoScript && front.hook != Hook::Script {
            self.upstreams.loaded_scripts.clear();
            return false;
        }
        if front.is_part_of_wait() {
            return false;
        }
        self.core.tallies.redirects[found.kind.index()] += 1;
        if front.route == Route::Connection {
            return self.redirect_session(key, &found, aborted, reply);
        }
        let (kind, target) = (found.kind, found.target.and_then(|target| self.core.address_of(node, target)));
        let Some((mut pending, bytes)) =
            self.upstreams.connections.get_mut(key).and_then(|upstream| upstream.wire.pop_with_bytes())
        else {
            return false;
        };
        self.upstreams.wake_waiters(&mut self.core, key);
        let bytes = bytes.slice(pending.prefix_len as usize..);
        pending.start_over();
        pending.redirects = pending.redirects.saturating_add(1);
        if usize::from(pending.redirects) > self.core.config.upstream.redirects_max && target.is_some() {
            let error = UpstreamError::Redirected(pending.redirects - 1);
            self.settle_error(&pending, &error, Some(reply));
            return true;
        }
        match (kind, target) {
            (RedirectKind::NoScript, _) => self.sessions().load_script(node, pending, bytes, reply),
            (RedirectKind::Moved, Some(target)) => {
                self.core.refresh(
                    self.core.snapshots.cluster_of_node(node),
                    RefreshReason::Redirected(target.clone()),
                );
                self.resend(pending, bytes, &target, false, reply);
            }
            // `ASKING` and `CLIENT CACHING` are each for the very next command, so one that is cached waits for the slot to arrive.
            (RedirectKind::Ask, Some(target))
                if pending.hook != Hook::Transaction && pending.caching.is_none() =>
            {
                self.resend(pending, bytes, &target, true, reply);
            }
            _ => {
                self.core.refresh(self.core.snapshots.cluster_of_node(node), RefreshReason::Unassigned);
                self.sender().retry_later(
                    pending,
                    bytes,
                    UpstreamError::Redirected(pending.redirects),
                    Some(reply),
                );
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
            self.sender().retry_later(
                pending,
                bytes,
                UpstreamError::Redirected(pending.redirects),
                Some(reply),
            );
            return;
        };
        if asking {
            pending.leading += 1;
            pending.prefix_len = ASKING.len() as u32;
        }
        self.sender().send_to(node, pending, if asking { ASKING } else { &[] }, bytes);
    }

    /// A session's command was redirected: its connection goes to the wrong node. The client has nothing else unsettled,
    /// so the whole request is dispatched anew after a moment.
    fn redirect_session(
        &mut self,
        key: UpstreamKey,
        found: &Redirection<'_>,
        aborted: bool,
        reply: &[u8],
    ) -> bool {
        let Some(upstream) = self.upstreams.connections.get_mut(key) else { return false };
        let node = upstream.node;
        let Some((pending, bytes)) = upstream.wire.pop_with_bytes() else { return false };
        self.upstreams.wake_waiters(&mut self.core, key);
        if pending.hook == Hook::ReleaseConnection {
            self.upstreams.release_connection(&mut self.core, key);
        }
        let cluster = self.core.snapshots.cluster_of_node(node);
        match found.target.and_then(|target| self.core.address_of(node, target)) {
            Some(target) => self.core.refresh(cluster, RefreshReason::Redirected(target)),
            None => self.core.refresh(cluster, RefreshReason::Unassigned),
        }
        let Origin::Client { key: client, .. } = pending.origin else { return true };
        if found.kind == RedirectKind::Ask && pending.hook == Hook::ReleaseConnection {
            let target = found.target.and_then(|target| self.core.address_of(node, target));
            let map = self.core.snapshots.topology.cluster(cluster);
            let known = target.and_then(|target| map.find(&target.host, target.port));
            if let Some(client) = self.clients.all.get_mut(client) {
                client.ask_target = known;
            }
        }
        if pending.hook == Hook::OwnTransaction {
            // Nothing of it ran, so the connection is as it was.
            self.upstreams.release_connection(&mut self.core, key);
            self.sessions().exec_again(client, &pending, reply);
            return true;
        }
        if aborted || pending.hook == Hook::WatchedTransaction {
            // The watched keys moved, so nobody can tell whether they changed: the transaction did not run, as after a change.
            self.abort_watched(client, key, &pending);
            return true;
        }
        self.sessions().dispatch_again(client, &pending, bytes, reply);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_replies_that_ask_for_another_try() {
        let check = |reply: &[u8], expected: Option<(RedirectKind, Option<&str>)>| {
            let found = parse(reply).map(|found| (found.kind, found.target));
            assert_eq!(found, expected, "{}", String::from_utf8_lossy(reply));
        };
        check(b"-MOVED 3999 127.0.0.1:6381\r\n", Some((RedirectKind::Moved, Some("127.0.0.1:6381"))));
        check(b"-MOVED 3999 :6381\r\n", Some((RedirectKind::Moved, Some(":6381"))));
        check(b"-ASK 3999 [::1]:6381\r\n", Some((RedirectKind::Ask, Some("[::1]:6381"))));
        check(
            b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n",
            Some((RedirectKind::TryAgain, None)),
        );
        check(b"-LOADING Redis is loading the dataset in memory\r\n", Some((RedirectKind::Loading, None)));
        check(b"-MOVEDX 1 a:1\r\n", None);
        check(b"-ERR unknown\r\n", None);
        check(b"+MOVED 1 a:1\r\n", None);
        check(b"-\xff\r\n", None);
    }
}
