//! The connections of clients that track: opened, found, lost, opened again.
//!
//! When one breaks, invalidations may have been missed, so its client is told to drop its whole cache. In broadcast mode every
//! master is listened to, and to one that was lost as soon as it is there again.

use super::Sessions;
use crate::shared::topology::NodeIndex;
use crate::worker::client::invalidations::FLUSH;
use crate::worker::names::{ClientKey, UpstreamKey};
use crate::worker::selection::Selection;
use crate::worker::upstream::{GreetingError, Phase, Room};

/// How long a client in broadcast mode waits before it listens again to a master that was lost.
const LISTEN_PAUSE_NS: u64 = 500_000_000;

impl Sessions<'_> {
    /// A tracking client's connection is open and the node tracks.
    pub fn tracking_connected(&mut self, key: ClientKey) {
        let Some(tracking) = self.clients.all.get(key).and_then(|client| client.session.tracking.as_ref())
        else {
            return;
        };
        if tracking.awaiting.is_some() {
            self.tracking_settled(key, true, None);
        } else if tracking.options.broadcast {
            // Until now nobody has listened to this node.
            self.clients.on_invalidation(self.core, key, FLUSH);
        }
    }

    /// A tracking client's connection, or its companion, could not be made.
    pub fn tracking_not_connected(&mut self, key: ClientKey, error: &GreetingError) {
        let text = match error {
            GreetingError::Refused { reply, .. } => reply.clone(),
            other => {
                format!("ERR hotgate: the server can't be reached for CLIENT TRACKING ({other}); try again")
            }
        };
        if let Some(awaiting) = self.awaiting_of(key) {
            awaiting.refusal.get_or_insert(text);
        }
    }

    /// A tracking client's connection has ended. Invalidations may have been missed, so the client has to drop its whole cache.
    pub fn tracking_lost(&mut self, key: ClientKey, connection: UpstreamKey) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let Some(tracking) = &mut client.session.tracking else { return };
        let place = tracking
            .connections
            .iter()
            .position(|tracked| tracked.connection == connection || tracked.companion == Some(connection));
        let Some(place) = place else { return };
        let lost = tracking.connections.swap_remove(place);
        let (awaits, broadcast) = (tracking.awaiting.is_some(), tracking.options.broadcast);
        let was_open =
            self.upstreams.connections.get(lost.connection).is_some_and(|upstream| upstream.was_open);
        client.session.watch.on_lost(lost.connection);
        for other in [Some(lost.connection), lost.companion].into_iter().flatten() {
            if let (true, Some(upstream)) = (other != connection, self.upstreams.connections.get_mut(other)) {
                upstream.close();
            }
        }
        if awaits {
            self.tracking_settled(key, false, None);
        } else if was_open {
            self.clients.on_invalidation(self.core, key, FLUSH);
        }
        if broadcast {
            self.clients.listen_again_at.push((key, self.core.now_ns + LISTEN_PAUSE_NS));
        }
    }

    /// In broadcast mode invalidations come without anything having been read, so every master is listened to, and nobody else.
    pub fn listen_everywhere(&mut self, key: ClientKey) {
        let masters = self.core.snapshots.all_masters();
        let Some(client) = self.clients.all.get(key) else { return };
        let selection = client.session.selection();
        let Some(tracking) = client.session.tracking.as_ref().filter(|tracking| tracking.options.broadcast)
        else {
            return;
        };
        let left: Vec<UpstreamKey> = tracking
            .connections
            .iter()
            .filter(|tracked| !masters.contains(&tracked.node))
            .map(|tracked| tracked.connection)
            .collect();
        for connection in left {
            if let Some(upstream) = self.upstreams.connections.get_mut(connection) {
                upstream.close();
            }
        }
        for node in masters {
            let selection = self.core.snapshots.selection_at(node, selection);
            self.sender().client_connection(key, node, selection, 0);
        }
    }

    /// Listens again for clients in broadcast mode whose connection to a master was lost.
    pub fn listen_again(&mut self) {
        let now_ns = self.core.now_ns;
        for (key, _) in
            self.clients.listen_again_at.extract_if(.., |(_, due_ns)| *due_ns <= now_ns).collect::<Vec<_>>()
        {
            self.listen_everywhere(key);
        }
    }

    /// The connection for a command of a session: the client's own if it tracks, since what the command reads or changes
    /// concerns its tracking too.
    pub fn connection_for_session(
        &mut self,
        key: ClientKey,
        node: NodeIndex,
        selection: Selection,
    ) -> Option<Room> {
        if self.clients.all.get(key)?.session.tracking.is_none() {
            return self.upstreams.session_connection(self.core, node, key, selection);
        }
        let connection = self.sender().client_connection(key, node, selection, 0);
        self.upstreams.room(self.core, connection)
    }

    /// The id, at its node, of the companion of a connection; nothing while there is none that is open.
    pub fn companion_id(&self, connection: UpstreamKey) -> Option<u64> {
        let companion =
            self.upstreams.connections.get(self.upstreams.connections.get(connection)?.companion?)?;
        companion.server_id.filter(|_| companion.phase() == Phase::Ready)
    }

    /// Whether a connection may log in: one with a companion waits for that, whose id it has to name. It is woken when the
    /// companion has come, or has gone.
    pub fn has_companion(&mut self, connection: UpstreamKey) -> bool {
        let Some(upstream) = self.upstreams.connections.get(connection) else { return true };
        if upstream.companion.is_none() || upstream.closing {
            return true;
        }
        let Some(id) = self.companion_id(connection) else { return false };
        let owner = self.upstreams.connections.get(connection).and_then(|upstream| upstream.owner());
        let tracking = owner.and_then(|owner| self.clients.all.get(owner)?.session.tracking.as_ref());
        let command = tracking.map(|tracking| tracking.options.command(Some(id)));
        if let Some(upstream) = self.upstreams.connections.get_mut(connection) {
            upstream.greeting = command;
        }
        true
    }

    /// A companion has come: whoever waits for it may go on.
    pub fn companion_connected(&mut self, key: ClientKey, companion: UpstreamKey) {
        let tracking = self.clients.all.get(key).and_then(|client| client.session.tracking.as_ref());
        let tracked = tracking.and_then(|tracking| {
            tracking.connections.iter().find(|tracked| tracked.companion == Some(companion))
        });
        if let Some(upstream) =
            tracked.and_then(|tracked| self.upstreams.connections.get_mut(tracked.connection))
        {
            upstream.woken = false;
            upstream.wake();
        }
    }
}
