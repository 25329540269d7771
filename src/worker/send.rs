//! (b) The one exit: whatever goes to Redis asks for room here, and goes onto its connection here.
//!
//! A connection takes a request while fewer than `upstream.inflight_max` are on it and those have less than
//! `upstream.output_buffer_max` bytes together; an empty one takes any. So it holds these bounds and one request more (the
//! parts of a request that is taken apart count as one). What waits to be sent again has the bound in bytes as well, for each
//! worker: see [`super::upstream::Retries`]. At the bound:
//!
//! | who asks | what happens |
//! |---|---|
//! | a client's request: whole, in parts, a transaction, or one of its session | it stays where it was read, its client is not read on, and it is looked at again when half the room is free |
//! | a flush of a combined key | its operations stay in the key's queue, which has its own bound; the same |
//! | a flush of a key in write-behind mode | its deltas gather on; the next try is after a pause |
//! | a read that would make a copy | it goes the ordinary way, and waits there as a client's request |
//! | what was redirected, or lost with its connection | it waits among the retries, for `upstream.unavailable_wait` at the most, and gets an error then |
//! | what must not wait at its node (`SCRIPT KILL`, `CLIENT UNBLOCK`) | its sender gets an error, and tries again |
//!
//! Some words need not ask, since there are few of them on a connection: what a session's own connection is told when
//! its client has changed version or database (the client asks for room first), a `WAIT` for grants, and what a node is asked
//! about itself (`super::upstream::vitals`, the `PING` that tests a connection for copies).

use bytes::Bytes;
use smallvec::SmallVec;

use super::client::Gate;
use super::effects::Effect;
use super::owners::Worker;
use super::session::tracking::caching_prefix;
use super::upstream::lanes::ALONE;
use super::upstream::{Phase, Role, Upstream};
use crate::config;
use crate::limits::LARGE_REQUEST_BYTES;
use crate::resp::{RespVersion, encode};
use crate::shared::labels::RequestClass;
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::NodeIndex;
use crate::worker::errors::UpstreamError;
use crate::worker::names::{ClientKey, UpstreamKey};
use crate::worker::pending::{Origin, Pending, Route};

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

    fn on(upstream: &Upstream, settings: &config::Upstream) -> Option<Self> {
        let Upstream { wire, key, .. } = upstream;
        let has_room = wire.inflight() == 0
            || (wire.inflight() < settings.inflight_max
                && wire.inflight_bytes() < settings.output_buffer_max);
        has_room.then_some(Self { connection: *key, tracks: matches!(upstream.role(), Role::Tracking(_)) })
    }
}

/// Where a client's request can go now.
#[derive(Debug)]
pub enum Exit {
    /// Out.
    Now(Room),
    /// Among those that wait to be sent again: nobody owns the slot, or its node can't be reached.
    Later(Option<NodeIndex>),
}

/// The bytes of a request.
#[derive(Clone, Copy)]
pub enum Payload<'a> {
    /// To be copied.
    Borrowed(&'a [u8]),
    /// A buffer of its own.
    Owned(&'a Bytes),
}

impl Payload<'_> {
    fn into_bytes(self) -> Bytes {
        match self {
            Payload::Borrowed(bytes) => Bytes::copy_from_slice(bytes),
            Payload::Owned(bytes) => bytes.clone(),
        }
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
}

impl Worker {
    /// Room on a connection, if it has any.
    pub fn room(&self, connection: UpstreamKey) -> Option<Room> {
        Room::on(self.upstreams.connections.get(connection)?, &self.core.config.upstream)
    }

    /// As [`Worker::room`]; without, the client's next request is looked at again when there is some.
    pub fn room_or_wait(&mut self, key: ClientKey, connection: UpstreamKey) -> Option<Room> {
        let room = self.room(connection);
        if room.is_none()
            && let Some(client) = self.clients.all.get_mut(key)
        {
            client.gate = Gate::Room;
            // Once is enough: it is looked at each time that anything of it has been answered, too.
            if client.room_awaited.replace(connection) != Some(connection)
                && let Some(upstream) = self.upstreams.connections.get_mut(connection)
            {
                upstream.waiters.clients.push(key);
            }
        }
        room
    }

    /// The way out for a client's request to `node`; without room it is looked at again when there is some.
    pub fn exit_or_wait(&mut self, key: ClientKey, node: Option<NodeIndex>) -> Option<Exit> {
        let Some(node) = node else { return self.exit_later(key, None) };
        let connection = self.connection_of(key, node)?;
        let upstream = self.upstreams.connections.get(connection)?;
        if let Phase::Waiting(_) = upstream.phase() {
            return self.exit_later(key, Some(node));
        }
        let room =
            Room::on(upstream, &self.core.config.upstream).or_else(|| self.room_or_wait(key, connection));
        room.map(Exit::Now)
    }

    fn exit_later(&mut self, key: ClientKey, node: Option<NodeIndex>) -> Option<Exit> {
        if self.upstreams.retries.has_room(&self.core.config.upstream) {
            return Some(Exit::Later(node));
        }
        self.upstreams.retries.wait_for_room(key);
        if let Some(client) = self.clients.all.get_mut(key) {
            client.gate = Gate::Room;
        }
        None
    }

    /// Sends a client's request, whose slot in the reply queue is taken, where there is room for it.
    pub fn send_out(&mut self, exit: Exit, mut pending: Pending, payload: Payload<'_>) {
        let client = match (pending.origin, &exit) {
            (_, Exit::Now(Room { tracks: false, .. })) => None,
            (Origin::Client { key, .. }, _) => self.clients.all.get(key),
            _ => None,
        };
        pending.caching = client.and_then(|client| client.session.tracking.as_ref()?.caching);
        let room = match exit {
            Exit::Now(room) => room,
            Exit::Later(node) => {
                let error = self.why_later(node, &pending);
                return self.retry_later(pending, payload.into_bytes(), error, None);
            }
        };
        match payload {
            Payload::Owned(bytes) => self.send_owned(room, pending, &[], bytes.clone()),
            Payload::Borrowed(bytes) if pending.caching.is_none() => self.send(room, pending, &[bytes]),
            Payload::Borrowed(bytes) => self.send_owned(room, pending, &[], Bytes::copy_from_slice(bytes)),
        }
    }

    /// Sends a request behind what has to precede it there: `prefix`, which `pending` counts, and the `CLIENT CACHING` that its
    /// client has sent for it.
    fn send_owned(&mut self, room: Room, mut pending: Pending, prefix: &[u8], bytes: Bytes) {
        let caching = caching_prefix(pending.caching);
        pending.leading += u32::from(!caching.is_empty());
        pending.prefix_len += caching.len() as u32;
        if prefix.is_empty() && caching.is_empty() && bytes.len() >= LARGE_REQUEST_BYTES {
            self.send_large(room, pending, bytes);
        } else {
            self.send(room, pending, &[prefix, caching, &bytes]);
        }
    }

    /// The connection that carries a client's requests to a node.
    fn connection_of(&mut self, key: ClientKey, node: NodeIndex) -> Option<UpstreamKey> {
        let client = self.clients.all.get(key)?;
        let (version, database, lane) = (client.session.version, client.session.database, client.lane);
        match client.session.tracking {
            None => Some(self.shared_connection(node, version, database, lane)),
            Some(_) => Some(self.client_connection(key, node, version, database, lane)),
        }
    }

    fn why_later(&mut self, node: Option<NodeIndex>, pending: &Pending) -> UpstreamError {
        if let Some(node) = node {
            return UpstreamError::Unreachable(
                self.core.node_name(node),
                "the last attempt failed".to_owned(),
            );
        }
        let slot = if let Route::Slot(slot) | Route::ReadSlot(slot) = pending.route { slot } else { 0 };
        self.core.refresh(RefreshReason::Unassigned);
        UpstreamError::Unassigned(slot)
    }

    /// Puts a request on the connection that has room for it.
    pub fn send(&mut self, room: Room, pending: Pending, parts: &[&[u8]]) {
        if let Some(upstream) = self.upstreams.connections.get_mut(room.connection) {
            put(upstream, pending, parts);
        }
    }

    /// Puts the commands of one flush on the connection that has room for it; each awaits a reply of its own.
    pub fn send_all(&mut self, room: Room, pending: Pending, prefix: &[u8], commands: &[Bytes]) {
        if let Some(upstream) = self.upstreams.connections.get_mut(room.connection) {
            commands.iter().for_each(|command| put(upstream, pending, &[prefix, command]));
        }
    }

    /// As [`Worker::send`] without a copy.
    pub fn send_large(&mut self, room: Room, pending: Pending, bytes: Bytes) {
        if let Some(upstream) = self.upstreams.connections.get_mut(room.connection) {
            upstream.wire.push_large(pending, bytes);
            upstream.wake();
        }
    }

    /// Sends what can't stay where it is, since its slot in the reply queue is taken: on the shared connection to `node`, or
    /// on the client's own. Without room it waits among the retries.
    pub fn send_to(&mut self, node: NodeIndex, pending: Pending, prefix: &[u8], bytes: Bytes) {
        let connection = match pending.origin {
            Origin::Client { key, .. } => match self.connection_of(key, node) {
                Some(connection) => connection,
                None => return,
            },
            Origin::Fill(fill) => {
                let lane = if pending.losses > 0 { ALONE } else { 0 };
                self.shared_connection(node, self.version_of_fill(fill), 0, lane)
            }
            _ => self.shared_connection(node, RespVersion::Resp2, 0, 0),
        };
        self.queue_on(connection, node, pending, prefix, bytes);
    }

    /// As [`Worker::send_to`] on this connection.
    pub fn queue_on(
        &mut self,
        connection: UpstreamKey,
        node: NodeIndex,
        mut pending: Pending,
        prefix: &[u8],
        bytes: Bytes,
    ) {
        pending.sent_ns = self.core.now_ns;
        let Some(upstream) = self.upstreams.connections.get(connection) else { return };
        let unreachable = matches!(upstream.phase(), Phase::Waiting(_));
        // What waits already was sent before.
        let overtakes = match pending.origin {
            Origin::Client { key, .. } => {
                self.clients.all.get(key).is_some_and(|client| client.parked.others_wait())
            }
            _ => false,
        };
        let Some(room) = self.room(connection).filter(|_| !unreachable && !overtakes) else {
            let error = match unreachable {
                true => UpstreamError::Unreachable(
                    self.core.node_name(node),
                    "the last attempt failed".to_owned(),
                ),
                false => UpstreamError::Full("the queue of requests to its node"),
            };
            pending.start_over();
            return self.retry_later(pending, bytes, error, None);
        };
        self.send_owned(room, pending, prefix, bytes);
    }

    /// Room for a flush of a combined key on the connection that takes flushes to a node; without, the key is looked at again
    /// when there is some. `None` when the last attempt to reach the node failed.
    pub fn room_for_flush(
        &mut self,
        node: NodeIndex,
        version: RespVersion,
        hash: u64,
    ) -> Option<Option<Room>> {
        let connection = self.flush_connection(node, version)?;
        let room = self.room(connection);
        if room.is_none()
            && let Some(upstream) = self.upstreams.connections.get_mut(connection)
            && !upstream.waiters.keys.contains(&hash)
        {
            upstream.waiters.keys.push(hash);
        }
        Some(room)
    }

    /// The connection that takes flushes to a node, unless the last attempt to reach the node failed.
    pub fn flush_connection(&mut self, node: NodeIndex, version: RespVersion) -> Option<UpstreamKey> {
        let lane = self.upstreams.pools.preferred(node);
        let connection = self.shared_connection(node, version, 0, lane);
        let phase = self.upstreams.connections.get(connection)?.phase();
        (!matches!(phase, Phase::Waiting(_))).then_some(connection)
    }

    /// Lets those go on that wait for room on a connection, once it is half empty, so that they come in droves and not one by
    /// one. To be called whenever a request has left it.
    pub fn wake_waiters(&mut self, key: UpstreamKey) {
        let settings = &self.core.config.upstream;
        let (requests_max, bytes_max) = (settings.inflight_max / 2, settings.output_buffer_max / 2);
        let Some(upstream) = self.upstreams.connections.get_mut(key) else { return };
        let half_empty =
            upstream.wire.inflight() <= requests_max && upstream.wire.inflight_bytes() <= bytes_max;
        if half_empty && !upstream.waiters.is_empty() {
            let waiters = std::mem::take(&mut upstream.waiters);
            self.let_go_on(waiters);
        }
    }

    /// Lets go on who has waited for room on a connection, which has some or is no more.
    pub fn let_go_on(&mut self, waiters: RoomWaiters) {
        let effects = &mut self.core.effects;
        waiters.clients.into_iter().for_each(|client| effects.push(Effect::RoomForClient(client)));
        waiters.keys.into_iter().for_each(|hash| effects.push(Effect::RoomForKey(hash)));
    }

    /// Puts a question about a node itself on the connection for such.
    pub fn send_question(&mut self, connection: UpstreamKey, pending: Pending, bytes: &[u8]) {
        if let Some(upstream) = self.upstreams.connections.get_mut(connection) {
            upstream.active_ns = self.core.now_ns;
            put(upstream, pending, &[bytes]);
        }
    }

    /// Tells a connection something of which nobody awaits the reply. For connections of one session, and few words: see above.
    pub fn tell_connection(&mut self, connection: UpstreamKey, command: &[&[u8]]) {
        let pending = Pending::on_connection(Origin::Swallow, RequestClass::Local, self.core.now_ns);
        let mut bytes = Vec::new();
        encode::command(&mut bytes, command);
        if let Some(upstream) = self.upstreams.connections.get_mut(connection) {
            put(upstream, pending, &[&bytes]);
        }
    }
}

#[inline]
fn put(upstream: &mut Upstream, pending: Pending, parts: &[&[u8]]) {
    upstream.wire.push(pending, parts);
    upstream.wake();
}
