//! How a request goes to Redis that runs there as its client's own user (`auth.upstream_identity = "same"`).
//!
//! It goes over a connection that has logged in as that user ([`crate::worker::upstream::user_logins`]). A client changes between that one
//! and the shared ones only while it has nothing unsettled, so its commands keep their order: what is pipelined behind one of the other
//! kind waits for its reply. Scripts that are pipelined behind each other do not.
//!
//! Deliberately absent: reads that were lost and are sent again alone, past what holds a node up, and scripts that the gateway loads by
//! itself. All of these would go as the gateway.

use bytes::Bytes;

use super::{Payload, Sender};
use crate::detect::EntryHandle;
use crate::resp::Request;
use crate::shared::labels::{ErrorKind, RequestClass};
use crate::shared::topology::NodeIndex;
use crate::worker::client::Gate;
use crate::worker::errors::UpstreamError;
use crate::worker::flow::Flow;
use crate::worker::names::ClientKey;
use crate::worker::pending::{Origin, Outgoing, Pending, Route};
use crate::worker::selection::Selection;
use crate::worker::upstream::Cargo;

/// The error where what a client reads through a script would have to be tracked.
const TRACKS: &str = "ERR hotgate: with CLIENT TRACKING on, scripts, functions and commands of modules can't run as the user itself: \
    what they read would not be tracked. Send them over another connection";

/// The error where what was queued would run as the user, who is not itself any more.
const NOT_ITSELF: &str = "ERR hotgate: auth.upstream_identity was changed since the script was queued; nothing of the transaction has run";

impl Sender<'_> {
    /// Sends a request to one node as it is, as its client's own user.
    pub fn forward_as_user(
        &mut self,
        key: ClientKey,
        request: &Request<'_>,
        owned: Option<&Bytes>,
        outgoing: Outgoing,
        access: Option<EntryHandle>,
    ) -> Flow {
        let route = outgoing.route;
        // Without declared keys it may touch anything, so it must not overtake nor be overtaken where nodes are many.
        let undeclared = route == Route::AnyNode
            && outgoing.class != RequestClass::Read
            && !self.core.snapshots.is_one_server();
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        if undeclared && !client.replies.is_empty() {
            return client.wait(Gate::Drain);
        }
        if !self.choose_connection_to_several(key, Cargo::AsUser) {
            return self.clients.wait_for_all(key);
        }
        let Some(client) = self.clients.all.get(key) else { return Flow::Next };
        let node = self.upstreams.node_now(self.core, route, client.id);
        if let Some((kind, text)) = self.why_not_as_user(key, node) {
            self.clients.refuse(self.core, key, kind, text);
            return Flow::Next;
        }
        let Some(exit) = self.exit_or_wait(key, route, node) else { return Flow::Wait };
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        client.exclusive |= undeclared;
        let suppressed = client.take_suppressed();
        let sequence = client.replies.push_waiting(suppressed);
        let pending = Pending::forwarded(Origin::client(key, sequence), outgoing, access, self.core.now_ns);
        self.send_out(exit, pending, owned.map_or(Payload::Borrowed(request.bytes()), Payload::Owned));
        Flow::Next
    }

    /// Why nothing can go to a node as this client's own user now, if it can't.
    pub fn why_not_as_user(
        &mut self,
        key: ClientKey,
        node: Option<NodeIndex>,
    ) -> Option<(ErrorKind, String)> {
        let client = self.clients.all.get_mut(key)?;
        if client.session.tracking.is_some() {
            return Some((ErrorKind::NotCarried, TRACKS.to_owned()));
        }
        let selection = client.session.selection();
        // A reload has changed that between what was queued and its `EXEC`.
        let Some(login) = &mut client.session.login else {
            return Some((ErrorKind::NotCarried, NOT_ITSELF.to_owned()));
        };
        let login = self.upstreams.logins.number_of(login);
        let node = node?;
        if let Some(word) = self.upstreams.logins.refusal(node, login, self.core.now_ns) {
            return Some((ErrorKind::ClientAuth, word.to_owned()));
        }
        let selection = Selection { login, ..selection };
        if !self.upstreams.may_have_user_connection(self.core, node, selection) {
            let error = UpstreamError::Full("the table of session connections").to_string();
            return Some((ErrorKind::Overload, error));
        }
        None
    }
}
