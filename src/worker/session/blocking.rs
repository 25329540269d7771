//! Commands that may wait at Redis: each gets a connection of its own, so that nobody else waits with it.

use super::Sessions;
use crate::worker::ended::Ended;
use crate::worker::selection::Selection;
use bytes::Bytes;

use crate::command::{CommandId, Session};
use crate::resp::Request;
use crate::route::{ClusterId, SlotAt};
use crate::shared::labels::{ErrorKind, RequestClass};
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::NodeIndex;
use crate::worker::client::{CommandRetry, Gate};
use crate::worker::errors::UpstreamError;
use crate::worker::flow::Flow;
use crate::worker::names::ClientKey;
use crate::worker::pending::{Hook, Origin, Pending, Route};
use crate::worker::retryable::ASKING;
use crate::worker::send::caching_prefix;
use crate::worker::upstream::Phase;

impl Sessions<'_> {
    /// A command that opens, uses or closes state of the connection.
    pub fn run_session(
        &mut self,
        key: ClientKey,
        session: Session,
        command: Option<CommandId>,
        slot: Option<SlotAt>,
        request: &Request<'_>,
    ) -> Flow {
        match session {
            Session::Multi | Session::Exec | Session::Discard | Session::Watch | Session::Unwatch => {
                self.run_transaction_command(key, session, command, slot, request)
            }
            Session::Blocking => self.block(key, slot, request),
            Session::Monitor => self.monitor(key, request),
            Session::Tracking => self.tracking(key, request),
            _ => self.subscription_command(key, session, request),
        }
    }

    fn block(&mut self, key: ClientKey, slot: Option<SlotAt>, request: &Request<'_>) -> Flow {
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        if !client.replies.is_empty() {
            return client.wait(Gate::Drain);
        }
        let selection = client.session.selection();
        let route = slot.map_or(Route::AnyNode, Route::Slot);
        let asked = client.ask_target.take();
        let is_another_try = client.command_retry.is_some();
        let cluster = self.core.snapshots.cluster_of(route);
        let node = match asked.map_or_else(|| self.sender().node_for(key, route), Ok) {
            Ok(node) => node,
            Err(error) => return self.block_later((key, cluster), Some(error)),
        };
        if is_another_try && self.is_away(node, selection) {
            return self.block_later((key, cluster), None);
        }
        let caching = self.caching_of(key).filter(|_| asked.is_none());
        let Some(room) = self.connection_for_session(key, node, selection) else {
            let error = UpstreamError::Full("the table of session connections").to_string();
            return self.refuse(key, ErrorKind::Overload, &error);
        };
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        client.session.blocking = Some(room.connection());
        client.exclusive = true;
        let suppressed = client.take_suppressed();
        let sequence = client.replies.push_waiting(suppressed);
        let prefix = if asked.is_some() { ASKING } else { caching_prefix(caching) };
        let pending = Pending::blocking(Origin::client(key, sequence), prefix.len(), self.core.now_ns);
        self.upstreams.send(room, pending, &[prefix, request.bytes()]);
        Flow::Next
    }

    /// Whether no connection to `node` is open. One is kept trying, so that not each blocked client tries by itself.
    fn is_away(&mut self, node: NodeIndex, selection: Selection) -> bool {
        let shared = self.upstreams.shared_connection(self.core, node, selection, 0);
        self.upstreams.connections.get(shared).is_none_or(|upstream| upstream.phase() != Phase::Ready)
    }

    /// A blocking command can't be sent, because its node was lost or, with an error, is not known. It waits as any other
    /// would; then its client gets the error, or sees the end of its connection as it would from Redis itself, and tries again
    /// when it sees fit.
    fn block_later(&mut self, (key, cluster): (ClientKey, ClusterId), error: Option<UpstreamError>) -> Flow {
        if self.has_tried_too_long(key, cluster) {
            if let Some(client) = self.clients.all.get_mut(key) {
                client.command_retry = None;
            }
            match error {
                Some(error) => {
                    return self.refuse(key, ErrorKind::UpstreamUnavailable, error.to_string());
                }
                None => self.end_block(key),
            }
            return Flow::Next;
        }
        self.core.refresh(cluster, RefreshReason::Unassigned);
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let flow = client.wait(Gate::Drain);
        self.upstreams.retries.look_later(self.core.now_ns, key);
        flow
    }

    /// A session's command went to a node of this cluster that does not have the slot. The client has nothing else unsettled, so its slot in
    /// the reply queue is taken back and the whole request is looked at again after a moment. `false` when it has waited for
    /// too long and got `reply`.
    pub fn dispatch_again(
        &mut self,
        (key, cluster): (ClientKey, ClusterId),
        pending: &Pending,
        bytes: Bytes,
        reply: &[u8],
    ) -> bool {
        self.end_empty_subscriptions(key);
        if self.has_tried_too_long(key, cluster) {
            let Some(client) = self.clients.all.get_mut(key) else { return false };
            let tries = client.command_retry.take().map_or(1, |retry| retry.tries);
            let error = UpstreamError::Redirected(u8::try_from(tries).unwrap_or(u8::MAX));
            self.sender().fail(*pending, error, Some(reply));
            return false;
        }
        self.retract_command(key, pending, bytes)
    }

    /// The connection of a blocking command was lost before the command was sent: it is looked at again, as in
    /// [`Sessions::block_later`].
    pub fn block_again(&mut self, (key, cluster): (ClientKey, ClusterId), pending: &Pending, bytes: Bytes) {
        match self.has_tried_too_long(key, cluster) {
            true => self.end_block(key),
            false => _ = self.retract_command(key, pending, bytes),
        }
    }

    fn end_block(&mut self, key: ClientKey) {
        let ended = Ended::failed(RequestClass::Blocking, ErrorKind::UpstreamUnavailable);
        self.clients.end_by_hang_up(self.core, key, ended);
    }

    /// Counts one more try of the client's command at hand, which goes to this cluster.
    fn has_tried_too_long(&mut self, key: ClientKey, cluster: ClusterId) -> bool {
        let patience_ns = self.core.unavailable_wait_ns(cluster);
        let now_ns = self.core.now_ns;
        let Some(client) = self.clients.all.get_mut(key) else { return false };
        client.session.blocking = None;
        let retry = client.command_retry.get_or_insert(CommandRetry { tries: 0, since_ns: now_ns });
        retry.tries += 1;
        now_ns.saturating_sub(retry.since_ns) > patience_ns
    }

    /// Takes a command's slot in the reply queue back, and looks at it again after a moment.
    fn retract_command(&mut self, key: ClientKey, pending: &Pending, bytes: Bytes) -> bool {
        let bytes = bytes.slice(pending.prefix_len as usize..);
        let leftover = pending.hook != Hook::ReleaseConnection;
        let Some(client) = self.clients.all.get_mut(key) else { return false };
        client.replies.retract();
        client.exclusive = false;
        client.paused = true;
        if let Some(inbox) = &mut client.inbox {
            inbox.stalled.push_front(bytes);
        }
        if leftover {
            self.end_watch(key);
        }
        self.upstreams.retries.look_later(self.core.now_ns, key);
        true
    }
}
