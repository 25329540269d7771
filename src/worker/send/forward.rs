//! How a client's request goes to one node as it is: behind what it must not overtake, on the connection for its kind.

use bytes::Bytes;

use super::{Payload, Sender};
use crate::detect::EntryHandle;
use crate::limits::LONG_REQUEST_BYTES;
use crate::resp::Request;
use crate::shared::labels::RequestClass;
use crate::shared::topology::NodeIndex;
use crate::worker::client::{Client, Gate};
use crate::worker::core::Core;
use crate::worker::flow::Flow;
use crate::worker::names::ClientKey;
use crate::worker::pending::{Hook, Origin, Outgoing, Pending, Route};
use crate::worker::upstream::{Cargo, Upstreams};

impl Sender<'_> {
    /// Sends a request to one node as it is.
    pub fn forward(
        &mut self,
        key: ClientKey,
        request: &Request<'_>,
        owned: Option<&Bytes>,
        outgoing: Outgoing,
        access: Option<EntryHandle>,
    ) -> Flow {
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let Outgoing { route, readonly, class, mut hook } = outgoing;
        // Without declared keys it may touch anything, so it must not overtake nor be overtaken where nodes are many.
        let undeclared =
            route == Route::AnyNode && matches!(class, RequestClass::Script | RequestClass::Write);
        let long = request.bytes().len() >= LONG_REQUEST_BYTES;
        let undeclared = undeclared && !self.core.snapshots.is_one_server();
        if (long || undeclared) && !client.replies.is_empty() {
            return client.wait(Gate::Drain);
        }
        let node = self.upstreams.node_now(self.core, route, client.id);
        if class == RequestClass::Script
            && hook == Hook::None
            && may_lack_script(self.core, self.upstreams, node, request)
        {
            if !client.replies.is_empty() {
                return client.wait(Gate::Drain);
            }
            client.exclusive = true;
            client.session.script = request.arg(1).map(Bytes::copy_from_slice);
            hook = Hook::Script;
        }
        if route == Route::AnyNode && is_swap(request.name()) {
            hook = Hook::SwapDatabases;
        }
        let cargo = match class {
            _ if readonly && self.upstreams.suspects.suspects(route, self.core.now_ns) => Cargo::Suspect,
            RequestClass::Script => Cargo::Script,
            _ => Cargo::reading(readonly && !request.name().eq_ignore_ascii_case(b"pfcount")),
        };
        if !client.replies.is_empty() {
            if !cargo.fits(client.connection_number) {
                return client.wait(Gate::Drain);
            }
        } else if let Some(node) = node {
            client.connection_number = self.upstreams.pools.number_for(node, cargo, long);
        }
        client.exclusive |= long || undeclared;
        let outgoing = Outgoing { route, readonly, class, hook };
        // The ordinary way: there is room on a shared connection.
        if let (Some(node), None, None) = (node, &client.session.tracking, owned) {
            let selection = client.session.selection();
            let connection =
                self.upstreams.shared_connection(self.core, node, selection, client.connection_number);
            if let Some(room) = self.upstreams.room_now(self.core, connection) {
                let pending = take_place(client, key, outgoing, access, self.core.now_ns);
                self.upstreams.send(room, pending, &[request.bytes()]);
                return Flow::Next;
            }
        }
        let Some(exit) = self.exit_or_wait(key, route, node) else { return Flow::Wait };
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let pending = take_place(client, key, outgoing, access, self.core.now_ns);
        let payload = owned.map_or(Payload::Borrowed(request.bytes()), Payload::Owned);
        self.send_out(exit, pending, payload);
        Flow::Next
    }

    /// Chooses the connection of a request to several nodes. `false` when it has to wait until everything of its client has been
    /// answered.
    pub fn choose_connection_to_several(&mut self, key: ClientKey, cargo: Cargo) -> bool {
        let Some(client) = self.clients.all.get_mut(key) else { return true };
        if !client.replies.is_empty() {
            return cargo.fits(client.connection_number);
        }
        client.connection_number = self.upstreams.pools.number_to_several(cargo, client.connection_number);
        true
    }
}

/// Takes the request's place among its client's replies.
#[inline]
fn take_place(
    client: &mut Client,
    key: ClientKey,
    outgoing: Outgoing,
    access: Option<EntryHandle>,
    now_ns: u64,
) -> Pending {
    let suppressed = client.take_suppressed();
    let sequence = client.replies.push_waiting(suppressed);
    Pending::forwarded(Origin::client(key, sequence), outgoing, access, now_ns)
}

/// Whether a command of this name swaps databases.
pub fn is_swap(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"swapdb")
}

/// Whether `EVALSHA` may find its script missing at `node` although we have its body.
fn may_lack_script(
    core: &Core,
    upstreams: &Upstreams,
    node: Option<NodeIndex>,
    request: &Request<'_>,
) -> bool {
    if !request.name().get(..7).is_some_and(|name| name.eq_ignore_ascii_case(b"evalsha")) {
        return false;
    }
    let (Some(node), Some(sha)) = (node, request.arg(1)) else { return false };
    !upstreams.loaded_scripts.contains(&(node, Bytes::copy_from_slice(sha)))
        && core.gateway.scripts.body(sha).is_some()
}
