//! Which node a request goes to, and which connection carries it there.

use super::Sender;
use crate::resp::RespVersion;
use crate::shared::topology::NodeIndex;
use crate::worker::client::tracking::Tracked;
use crate::worker::errors::UpstreamError;
use crate::worker::names::{ClientKey, UpstreamKey};
use crate::worker::pending::{Origin, Pending, Route};
use crate::worker::selection::Selection;
use crate::worker::upstream::parallel::{ALONE, AS_USER};
use crate::worker::upstream::{ConnectionNumber, Role};

impl Sender<'_> {
    /// The node that a request goes to now.
    ///
    /// # Errors
    /// There is none.
    pub fn node_of(&mut self, pending: &Pending) -> Result<NodeIndex, UpstreamError> {
        match pending.origin {
            Origin::Client { key, .. } => self.node_for(key, pending.route),
            _ => self.upstreams.node_of(self.core, pending.route, None),
        }
    }

    /// The node that a request of this client goes to now.
    ///
    /// # Errors
    /// There is none.
    pub fn node_for(&mut self, key: ClientKey, route: Route) -> Result<NodeIndex, UpstreamError> {
        let client = match route {
            Route::AnyNode | Route::Connection => self.clients.all.get(key),
            _ => None,
        };
        self.upstreams.node_of(self.core, route, client.map(|client| client.id))
    }

    /// The connection that carries a request to a node. `None` when its client has gone.
    pub(super) fn connection_for(&mut self, pending: &Pending, node: NodeIndex) -> Option<UpstreamKey> {
        let (version, number) = match pending.origin {
            Origin::Client { key, .. } => return self.connection_of(key, node),
            Origin::CacheFetch(_, version) => (version, if pending.losses > 0 { ALONE } else { 0 }),
            _ => (RespVersion::Resp2, 0),
        };
        Some(self.upstreams.shared_connection(self.core, node, Selection::of_version(version), number))
    }

    /// The connection that carries a client's requests to a node. `None` when it has gone, or is not any more who they were to go as.
    pub(super) fn connection_of(&mut self, key: ClientKey, node: NodeIndex) -> Option<UpstreamKey> {
        let client = self.clients.all.get_mut(key)?;
        let (selection, number) = (client.session.selection(), client.connection_number);
        if number == AS_USER {
            let login = self.upstreams.logins.number_of(client.session.login.as_mut()?);
            let selection = Selection { login, ..selection };
            return Some(self.upstreams.user_connection(self.core, node, selection));
        }
        match client.session.tracking {
            None => Some(self.upstreams.shared_connection(self.core, node, selection, number)),
            Some(_) => Some(self.client_connection(key, node, selection, number)),
        }
    }

    /// The connection that carries a client's requests to a node: a shared one, unless the client tracks.
    pub fn client_connection(
        &mut self,
        key: ClientKey,
        node: NodeIndex,
        selection: Selection,
        number: ConnectionNumber,
    ) -> UpstreamKey {
        let tracking = self.clients.all.get(key).and_then(|client| client.session.tracking.as_ref());
        let Some(tracking) = tracking else {
            return self.upstreams.shared_connection(self.core, node, selection, number);
        };
        match tracking.connections.iter().find(|tracked| tracked.node == node) {
            Some(tracked) => tracked.connection,
            None => self.open_tracked(key, node, selection),
        }
    }

    /// Opens a tracking client's connection to a node, and its companion.
    pub fn open_tracked(&mut self, key: ClientKey, node: NodeIndex, selection: Selection) -> UpstreamKey {
        let (core, upstreams) = (&mut *self.core, &mut *self.upstreams);
        let client = self.clients.all.get_mut(key);
        let tracking = client.and_then(|client| client.session.tracking.as_mut());
        let redirects = tracking.as_ref().is_some_and(|tracking| tracking.redirect.is_some());
        let command = tracking.as_ref().map(|tracking| tracking.options.command(None));
        let companion = redirects.then(|| {
            let selection = Selection { version: RespVersion::Resp3, ..selection };
            upstreams.open_connection(core, node, Role::Invalidations(key), selection, None)
        });
        let connection = upstreams.open_connection(core, node, Role::Tracking(key), selection, command);
        if let Some(upstream) = upstreams.connections.get_mut(connection) {
            upstream.companion = companion;
        }
        if let Some(tracking) = tracking {
            tracking.connections.push(Tracked { node, connection, companion });
        }
        connection
    }
}
