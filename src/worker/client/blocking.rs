//! Commands that may wait at Redis: each gets a connection of its own, so that nobody else waits with it.

use bytes::Bytes;

use super::dispatch::Flow;
use super::{ClientKey, Gate};
use crate::command::{CommandId, Session};
use crate::resp::Request;
use crate::shared::labels::{ErrorKind, RequestClass};
use crate::worker::state::State;
use crate::worker::upstream::errors::UpstreamError;
use crate::worker::upstream::{ASKING, Hook, Origin, Pending, Role, Route};

impl State {
    /// A command that opens, uses or closes state of the connection.
    pub(super) fn run_session(
        &mut self,
        key: ClientKey,
        session: Session,
        command: Option<CommandId>,
        slot: Option<u16>,
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

    fn block(&mut self, key: ClientKey, slot: Option<u16>, request: &Request<'_>) -> Flow {
        let Some(client) = self.clients.get_mut(key) else { return Flow::Next };
        if !client.replies.is_empty() {
            return client.wait(Gate::Drain);
        }
        let (version, database) = (client.session.version, client.session.database);
        let routed = Pending {
            route: slot.map_or(Route::AnyNode, Route::Slot),
            ..Pending::new(Origin::Client { key, sequence: 0, part: 0 })
        };
        let asked = client.ask_target.take();
        let node = match asked.map_or_else(|| self.node_of(&routed), Ok) {
            Ok(node) => node,
            Err(error) => return self.refuse(key, ErrorKind::UpstreamUnavailable, error.to_string()),
        };
        let Some(connection) = self.session_connection(node, key, version, database) else {
            let error = UpstreamError::Full("the table of session connections").to_string();
            return self.refuse(key, ErrorKind::Overload, &error);
        };
        let Some(client) = self.clients.get_mut(key) else { return Flow::Next };
        client.session.blocking = Some(connection);
        client.exclusive = true;
        let muted = client.take_muted();
        let sequence = client.replies.push_waiting(muted);
        let origin = Origin::Client { key, sequence, part: 0 };
        let prefix = if asked.is_some() { ASKING } else { &[] };
        let pending = Pending {
            hook: Hook::ReleaseConnection,
            leading: u32::from(asked.is_some()),
            prefix_len: prefix.len() as u32,
            ..Pending::on_connection(origin, RequestClass::Blocking, self.now_ns)
        };
        if let Some(upstream) = self.upstreams.get_mut(connection) {
            upstream.role = Role::Session(key);
            upstream.queue(pending, &[prefix, request.bytes()]);
        }
        Flow::Next
    }

    /// A session's command went to a node that does not have the slot. The client has nothing else unsettled, so its slot in
    /// the reply queue is taken back and the whole request is looked at again after a moment. `false` when it has waited for
    /// too long and got an error.
    pub(in crate::worker) fn dispatch_again(
        &mut self,
        key: ClientKey,
        pending: &Pending,
        bytes: Bytes,
    ) -> bool {
        self.end_empty_subscriptions(key);
        let bytes = bytes.slice(pending.prefix_len as usize..);
        let patience_ns = self.config.upstream.unavailable_wait.as_nanos() as u64;
        let now_ns = self.now_ns;
        let Some(client) = self.clients.get_mut(key) else { return false };
        client.session.blocking = None;
        if client.session_redirects == 0 {
            client.session_redirected_since_ns = now_ns;
        }
        client.session_redirects += 1;
        if now_ns.saturating_sub(client.session_redirected_since_ns) > patience_ns {
            let redirects = std::mem::take(&mut client.session_redirects);
            let error = UpstreamError::Redirected(u8::try_from(redirects).unwrap_or(u8::MAX));
            self.settle_error(pending, &error, None);
            return false;
        }
        let leftover = pending.hook != Hook::ReleaseConnection;
        let Some(client) = self.clients.get_mut(key) else { return false };
        client.replies.retract();
        client.exclusive = false;
        client.paused = true;
        if let Some(inbox) = &mut client.inbox {
            inbox.stalled.push_front(bytes);
        }
        if leftover {
            self.end_watch(key);
        }
        self.look_later(key);
        true
    }
}
