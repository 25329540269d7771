//! Room on a connection, and the one place where a request is put on a wire.
//!
//! A connection takes a request while fewer than `upstream.inflight_max` are on it and those have less than
//! `upstream.output_buffer_max` bytes together; an empty one takes any. So it holds these bounds and one request more (the
//! parts of a request that is taken apart count as one). One that is to be left ([`super::former_addresses`]) takes none until it is empty.
//! What happens to whoever finds no room is decided in
//! [`crate::worker::send`].
//!
//! Some words need not ask, since there are few of them on a connection: what a session's own connection is told when
//! its client has changed version or database (the client asks for room first), a `WAIT` for grants, a new log-in
//! ([`super::log_in`]), and what a node is asked about itself ([`super::vitals`], the `PING` that tests a connection for copies).

use bytes::Bytes;
use smallvec::SmallVec;

use super::{Phase, Role, Upstream, Upstreams};
use crate::resp::{RespVersion, encode};
use crate::shared::topology::NodeIndex;
use crate::worker::core::Core;
use crate::worker::effects::{Effect, Effects};
use crate::worker::names::{ClientKey, UpstreamKey};
use crate::worker::pending::Pending;
use crate::worker::selection::Selection;

/// Room for one request on this connection. Only this file grants it, and no request goes out without.
#[derive(Debug)]
pub struct Room {
    connection: UpstreamKey,
    /// It belongs to a client that tracks.
    tracks: bool,
}

impl Room {
    /// Where it is.
    pub fn connection(&self) -> UpstreamKey {
        self.connection
    }

    /// Whether it belongs to a client that tracks.
    pub fn tracks(&self) -> bool {
        self.tracks
    }

    /// Room on `upstream`, if it has any.
    #[inline]
    pub fn on(core: &Core, upstream: &Upstream) -> Option<Self> {
        let Upstream { wire, key, cluster, .. } = upstream;
        let settings = core.upstream_of(*cluster);
        let has_room = wire.inflight() == 0
            || (wire.inflight() < settings.inflight_max
                && wire.inflight_bytes() < settings.output_buffer_max
                && !upstream.leaving);
        has_room.then_some(Self { connection: *key, tracks: matches!(upstream.role(), Role::Tracking(_)) })
    }
}

/// Who waits for room on one connection.
#[derive(Debug, Default)]
pub struct RoomWaiters {
    clients: Vec<ClientKey>,
    /// Combined keys, by hash.
    keys: SmallVec<[u64; 2]>,
}

impl RoomWaiters {
    /// Nobody does.
    pub fn is_empty(&self) -> bool {
        self.clients.is_empty() && self.keys.is_empty()
    }

    /// A client waits.
    pub fn add_client(&mut self, client: ClientKey) {
        self.clients.push(client);
    }

    /// The connection has room or is no more: all of them are looked at again.
    pub fn let_go_on(self, effects: &mut Effects) {
        self.clients.into_iter().for_each(|client| effects.push(Effect::RoomForClient(client)));
        self.keys.into_iter().for_each(|hash| effects.push(Effect::RoomForKey(hash)));
    }
}

impl Upstreams {
    /// Room on a connection, if it has any.
    pub fn room(&self, core: &Core, connection: UpstreamKey) -> Option<Room> {
        Room::on(core, self.connections.get(connection)?)
    }

    /// Room on a connection that is open or being opened, if it has any.
    #[inline]
    pub fn room_now(&self, core: &Core, connection: UpstreamKey) -> Option<Room> {
        let upstream = self.connections.get(connection)?;
        match upstream.phase() {
            Phase::Waiting(_) => None,
            Phase::Connecting | Phase::Ready => Room::on(core, upstream),
        }
    }

    /// Room for a flush of a combined key on the connection that takes flushes to a node; without, the key is looked at again
    /// when there is some. `None` when the last attempt to reach the node failed.
    pub fn room_for_flush(
        &mut self,
        core: &mut Core,
        node: NodeIndex,
        version: RespVersion,
        hash: u64,
    ) -> Option<Option<Room>> {
        let connection = self.flush_connection(core, node, version)?;
        let room = self.room(core, connection);
        if room.is_none()
            && let Some(upstream) = self.connections.get_mut(connection)
            && !upstream.waiters.keys.contains(&hash)
        {
            upstream.waiters.keys.push(hash);
        }
        Some(room)
    }

    /// The connection that takes flushes to a node, unless the last attempt to reach the node failed.
    pub fn flush_connection(
        &mut self,
        core: &mut Core,
        node: NodeIndex,
        version: RespVersion,
    ) -> Option<UpstreamKey> {
        let number = self.pools.preferred(node);
        let connection = self.shared_connection(core, node, Selection::of_version(version), number);
        let phase = self.connections.get(connection)?.phase();
        (!matches!(phase, Phase::Waiting(_))).then_some(connection)
    }

    /// Lets those go on that wait for room on a connection, once it is half empty, so that they come in droves and not one by
    /// one. To be called whenever a request has left it.
    pub fn wake_waiters(&mut self, core: &mut Core, key: UpstreamKey) {
        let Some(upstream) = self.connections.get_mut(key) else { return };
        if upstream.waiters.is_empty() || (upstream.leaving && upstream.wire.inflight() > 0) {
            return;
        }
        let settings = core.upstream_of(upstream.cluster);
        let (requests_max, bytes_max) = (settings.inflight_max / 2, settings.output_buffer_max / 2);
        if upstream.wire.inflight() <= requests_max && upstream.wire.inflight_bytes() <= bytes_max {
            std::mem::take(&mut upstream.waiters).let_go_on(&mut core.effects);
        }
    }

    /// Puts a request on the connection that has room for it.
    #[inline]
    pub fn send(&mut self, room: Room, pending: Pending, parts: &[&[u8]]) {
        if let Some(upstream) = self.connections.get_mut(room.connection) {
            put(upstream, pending, parts);
        }
    }

    /// Puts the commands of one flush on the connection that has room for it; each awaits a reply of its own.
    pub fn send_all<'a>(
        &mut self,
        room: Room,
        prefix: &[u8],
        commands: impl Iterator<Item = (Pending, &'a Bytes)>,
    ) {
        if let Some(upstream) = self.connections.get_mut(room.connection) {
            commands.for_each(|(pending, command)| put(upstream, pending, &[prefix, command]));
        }
    }

    /// As [`Upstreams::send`] without a copy.
    pub fn send_large(&mut self, room: Room, pending: Pending, bytes: Bytes) {
        if let Some(upstream) = self.connections.get_mut(room.connection) {
            upstream.wire.push_large(pending, bytes);
            upstream.wake();
        }
    }

    /// Puts words of the gateway's own on a connection: a question about the node itself, or a log-in.
    pub(super) fn send_question(
        &mut self,
        core: &Core,
        connection: UpstreamKey,
        pending: Pending,
        bytes: &[u8],
    ) {
        if let Some(upstream) = self.connections.get_mut(connection) {
            upstream.active_ns = core.now_ns;
            put(upstream, pending, &[bytes]);
        }
    }

    /// Sends something of which nobody awaits the reply. For connections of one session, and few words: see above.
    pub fn send_unheard(&mut self, core: &Core, connection: UpstreamKey, command: &[&[u8]]) {
        let pending = Pending::swallowed(core.now_ns);
        let mut bytes = Vec::new();
        encode::command(&mut bytes, command);
        if let Some(upstream) = self.connections.get_mut(connection) {
            put(upstream, pending, &[&bytes]);
        }
    }
}

#[inline]
fn put(upstream: &mut Upstream, pending: Pending, parts: &[&[u8]]) {
    upstream.wire.push(pending, parts);
    upstream.wake();
}
