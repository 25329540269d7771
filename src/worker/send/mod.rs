//! (b) The one exit: whatever goes to Redis for a client leaves here, by node, room and connection.
//!
//! Room on a connection is bounded in requests and bytes ([`crate::worker::upstream::Room`]). What waits to be sent again has the
//! bound in bytes as well, for each worker ([`crate::worker::upstream::Retries`]). At the bound:
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
//! Owns nothing: a [`Sender`] borrows the clients and the connections for one step. It ends no request: one that fails is an
//! [`Effect::Fail`].

mod as_user;
mod aside;
mod connection;
mod forward;
mod retry;

pub use forward::is_swap;

use bytes::Bytes;

use super::client::{AwaitedRoom, Clients, Gate};
use super::core::Core;
use super::effects::Effect;
use super::errors::UpstreamError;
use super::names::{ClientKey, UpstreamKey};
use super::pending::{Origin, Pending, Route};
use super::upstream::{Phase, Room, Upstreams};
use crate::limits::LARGE_REQUEST_BYTES;
use crate::route::SlotAt;
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::NodeIndex;

/// The parts of a worker that sending needs.
pub struct Sender<'a> {
    /// What all rooms read and count in.
    pub core: &'a mut Core,
    /// Who sends.
    pub clients: &'a mut Clients,
    /// Where to.
    pub upstreams: &'a mut Upstreams,
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

impl Sender<'_> {
    /// Room on a connection; without, the client's next request is looked at again when there is some.
    pub fn room_or_wait(&mut self, key: ClientKey, connection: UpstreamKey) -> Option<Room> {
        let room = self.upstreams.room(self.core, connection);
        if room.is_none()
            && let Some(client) = self.clients.all.get_mut(key)
        {
            client.gate = Gate::Room;
            // Once is enough: it is looked at each time that anything of it has been answered, too.
            let awaited = AwaitedRoom::Connection(connection);
            if client.room_awaited.replace(awaited) != Some(awaited)
                && let Some(upstream) = self.upstreams.connections.get_mut(connection)
            {
                upstream.waiters.add_client(key);
            }
        }
        room
    }

    /// The way out for a client's request that goes this way, to `node`; without room it is looked at again when there is some.
    pub fn exit_or_wait(&mut self, key: ClientKey, route: Route, node: Option<NodeIndex>) -> Option<Exit> {
        let Some(node) = node else { return self.exit_later(key, route, None) };
        let connection = self.connection_of(key, node)?;
        let upstream = self.upstreams.connections.get(connection)?;
        if let Phase::Waiting(_) = upstream.phase() {
            return self.exit_later(key, route, Some(node));
        }
        let room = Room::on(self.core, upstream).or_else(|| self.room_or_wait(key, connection));
        room.map(Exit::Now)
    }

    fn exit_later(&mut self, key: ClientKey, route: Route, node: Option<NodeIndex>) -> Option<Exit> {
        let settings = self.core.upstream_of(self.core.snapshots.cluster_of(route));
        if self.upstreams.retries.has_room(settings) {
            return Some(Exit::Later(node));
        }
        self.upstreams.retries.wait_for_room(key, settings);
        if let Some(client) = self.clients.all.get_mut(key) {
            client.gate = Gate::Room;
        }
        None
    }

    /// Sends a client's request, whose slot in the reply queue is taken, where there is room for it.
    pub fn send_out(&mut self, exit: Exit, mut pending: Pending, payload: Payload<'_>) {
        let needs_client = !matches!(&exit, Exit::Now(room) if !room.tracks());
        if let (true, Origin::Client { key, .. }) = (needs_client, pending.origin) {
            let client = self.clients.all.get(key);
            pending.caching = client.and_then(|client| client.session.tracking.as_ref()?.caching);
        }
        let room = match exit {
            Exit::Now(room) => room,
            Exit::Later(node) => {
                let error = self.why_later(node, &pending);
                return self.retry_later(pending, payload.into_bytes(), error, None);
            }
        };
        match payload {
            Payload::Owned(bytes) => self.send_owned(room, pending, &[], bytes.clone()),
            Payload::Borrowed(bytes) if pending.caching.is_none() => {
                self.upstreams.send(room, pending, &[bytes]);
            }
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
            self.upstreams.send_large(room, pending, bytes);
        } else {
            self.upstreams.send(room, pending, &[prefix, caching, &bytes]);
        }
    }

    fn why_later(&mut self, node: Option<NodeIndex>, pending: &Pending) -> UpstreamError {
        if let Some(node) = node {
            return self.unreachable(node);
        }
        let cluster = self.core.snapshots.cluster_of(pending.route);
        let place = match pending.route {
            Route::Slot(place) | Route::ReadSlot(place) => place,
            _ => SlotAt { cluster, slot: 0 },
        };
        self.core.refresh(cluster, RefreshReason::Unassigned);
        UpstreamError::Unassigned(place)
    }

    fn unreachable(&self, node: NodeIndex) -> UpstreamError {
        UpstreamError::Unreachable(self.core.node_name(node), "the last attempt failed".to_owned())
    }

    /// Sends what can't stay where it is, since its slot in the reply queue is taken: on the shared connection to `node`, or
    /// on the client's own. Without room it waits among the retries.
    pub fn send_to(&mut self, node: NodeIndex, pending: Pending, prefix: &[u8], bytes: Bytes) {
        match self.connection_for(&pending, node) {
            Some(connection) => self.queue_on(connection, node, pending, prefix, bytes),
            None => {
                let why = "its client is another user now".to_owned();
                let error = UpstreamError::Unreachable(self.core.node_name(node), why);
                self.fail(pending, error, None);
            }
        }
    }

    /// As [`Sender::send_to`] on this connection.
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
        let room = self.upstreams.room(self.core, connection).filter(|_| !unreachable && !overtakes);
        let Some(room) = room else {
            let error = match unreachable {
                true => self.unreachable(node),
                false => UpstreamError::Full("the queue of requests to its node"),
            };
            pending.start_over();
            return self.retry_later(pending, bytes, error, None);
        };
        self.send_owned(room, pending, prefix, bytes);
    }

    /// Ends a request that comes to nothing, with `reply` if Redis said something, else with `error`.
    pub fn fail(&mut self, pending: Pending, error: UpstreamError, reply: Option<&[u8]>) {
        let reply = reply.map(Bytes::copy_from_slice);
        self.core.effects.push(Effect::Fail(Box::new((pending, error, reply))));
    }
}

/// What tells a node that the next command is to be tracked, or is not.
pub fn caching_prefix(caching: Option<bool>) -> &'static [u8] {
    match caching {
        Some(true) => b"*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$3\r\nYES\r\n",
        Some(false) => b"*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$2\r\nNO\r\n",
        None => b"",
    }
}
