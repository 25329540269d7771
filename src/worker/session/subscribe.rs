//! `SUBSCRIBE` and its kin: a subscribed client has a connection of its own for channels and patterns, and one per node for
//! shard channels. Messages go from there to its output as they come.
//!
//! In a cluster any node carries a channel's messages (Redis documentation, "Sharded Pub/Sub"), and `PUBLISH` counts those who
//! are subscribed at the node that it is sent to. So channels and patterns of all clients are at one master of their cluster, the first
//! by id, and so is `PUBLISH`: it counts every receiver that a gateway has. Which cluster that is, is [`super::channel_clusters`]'. A shard
//! channel's messages come from the owner of its slot; keyspace events from every master ([`super::keyspace_events`]).
//!
//! The counts in confirmations are of all that the client is subscribed to, wherever it is.

use super::Sessions;
use crate::worker::selection::Selection;
use bytes::Bytes;

use crate::command::Session;
use crate::limits::SUBSCRIPTIONS_MAX;
use crate::resp::{self, Request, encode};
use crate::route::ClusterId;
use crate::shared::labels::ErrorKind;
use crate::shared::topology::NodeIndex;
use crate::worker::client::Gate;
use crate::worker::client::subscriptions::{Deferred, Subscriptions};
use crate::worker::decide::CROSSSLOT;
use crate::worker::errors::UpstreamError;
use crate::worker::flow::Flow;
use crate::worker::names::{ClientKey, UpstreamKey};
use crate::worker::pending::{Origin, Pending, Route};
use crate::worker::reply::ReplyBytes;
use crate::worker::upstream::Role;

/// What a subscriber's connection is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Carries {
    /// Shard channels of its node.
    ShardChannels,
    /// Channels and patterns in this cluster.
    ChannelsOf(ClusterId),
}

/// A part of a request, for one connection, which confirms so many names.
pub(super) struct Part<'r> {
    /// The connection.
    pub connection: UpstreamKey,
    /// The request.
    pub request: &'r [u8],
    /// The names.
    pub replies: u32,
}

impl Sessions<'_> {
    /// `(P|S)SUBSCRIBE` and `(P|S)UNSUBSCRIBE`.
    pub fn subscription_command(&mut self, key: ClientKey, session: Session, request: &Request<'_>) -> Flow {
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        if !client.replies.is_empty() {
            return client.wait(Gate::Drain);
        }
        let routed_as = client.session.channels_routed_as();
        let names: Vec<&[u8]> = request.args().skip(1).collect();
        let sharded = matches!(session, Session::Ssubscribe | Session::Sunsubscribe);
        if sharded && !self.core.snapshots.is_one_server() {
            let mut slots = names.iter().map(|name| self.core.snapshots.place_of(routed_as, name));
            let first = slots.next();
            if slots.any(|slot| Some(slot) != first) {
                return self.refuse(key, ErrorKind::ClientRequest, CROSSSLOT);
            }
        }
        match session {
            Session::Subscribe | Session::Psubscribe | Session::Ssubscribe => {
                self.subscribe(key, session, &names, request)
            }
            _ => self.unsubscribe(key, session, &names, request),
        }
    }

    fn subscribe(
        &mut self,
        key: ClientKey,
        session: Session,
        names: &[&[u8]],
        request: &Request<'_>,
    ) -> Flow {
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let held = client.session.subscriptions.as_ref().map_or(0, |all| all.len());
        if held + names.len() > SUBSCRIPTIONS_MAX {
            let text = format!(
                "ERR hotgate: a client may have {SUBSCRIPTIONS_MAX} subscriptions; use another connection"
            );
            return self.refuse(key, ErrorKind::Overload, &text);
        }
        if session != Session::Ssubscribe {
            return self.subscribe_in_clusters(key, session, names, request);
        }
        let routed_as = client.session.channels_routed_as();
        let place = names.first().map(|name| self.core.snapshots.place_of(routed_as, name));
        let Some(place) = place else { return Flow::Next };
        let node = match self.sender().node_for(key, Route::Slot(place)) {
            Ok(node) => node,
            Err(error) => return self.refuse(key, ErrorKind::UpstreamUnavailable, error.to_string()),
        };
        let Some(connection) = self.subscriber_connection(key, node, Carries::ShardChannels) else {
            return self.refuse_subscription(key);
        };
        self.send_subscription(
            key,
            vec![Part { connection, request: request.bytes(), replies: names.len() as u32 }],
        );
        Flow::Next
    }

    /// There is no room for a connection that a subscription needs.
    pub(super) fn refuse_subscription(&mut self, key: ClientKey) -> Flow {
        self.end_unused_listeners(key);
        self.end_empty_subscriptions(key);
        let error = UpstreamError::Full("the table of session connections").to_string();
        self.refuse(key, ErrorKind::Overload, &error)
    }

    /// The client's own connection to a node, or one in its cluster where that does as well.
    pub(super) fn subscriber_connection(
        &mut self,
        key: ClientKey,
        node: NodeIndex,
        carries: Carries,
    ) -> Option<UpstreamKey> {
        let client = self.clients.all.get(key)?;
        let version = client.session.version;
        let found = client.session.subscriptions.as_ref().and_then(|all| match carries {
            Carries::ShardChannels => {
                all.shard_connections.iter().find(|(known, _)| *known == node).map(|(_, key)| *key)
            }
            Carries::ChannelsOf(cluster) => all.connection_in(cluster),
        });
        if found.is_some() {
            return found;
        }
        let selection = Selection::of_version(version);
        let connection =
            self.upstreams.own_connection(self.core, node, Role::Subscriber(key), selection, None)?;
        let session = &mut self.clients.all.get_mut(key)?.session;
        let (user, routed_as) = (&session.user, session.routed_as);
        session.subscriptions.get_or_insert_with(|| Box::new(Subscriptions::of(user, routed_as)));
        session.refresh_plain();
        let all = session.subscriptions.as_mut()?;
        match carries {
            Carries::ShardChannels => all.shard_connections.push((node, connection)),
            Carries::ChannelsOf(cluster) => all.channel_connections.push((cluster, connection)),
        }
        Some(connection)
    }

    fn unsubscribe(
        &mut self,
        key: ClientKey,
        session: Session,
        names: &[&[u8]],
        request: &Request<'_>,
    ) -> Flow {
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let Some(all) = &mut client.session.subscriptions else {
            self.confirm_nothing(key, session, names, 0);
            return Flow::Next;
        };
        if session != Session::Sunsubscribe {
            return self.unsubscribe_in_clusters(key, session, names, request);
        }
        let snapshots = &self.core.snapshots;
        let place = names.first().map(|name| snapshots.place_of(all.routed_as, name));
        let node = place.and_then(|place| snapshots.topology.master_of(place));
        let known = all.shard_connections.iter().find(|(known, _)| Some(*known) == node);
        // Without names all are meant; they are on one connection, or else confirmed by us below.
        let connection = known
            .or(all.shard_connections.first().filter(|_| all.shard_connections.len() == 1))
            .map(|(_, key)| *key);
        let Some(connection) = connection else {
            if names.is_empty() && all.shard_connections.len() > 1 {
                self.leave_shard_channels(key);
                return Flow::Next;
            }
            let left = all.count(session);
            self.confirm_nothing(key, session, names, left as i64);
            self.end_empty_subscriptions(key);
            return Flow::Next;
        };
        let replies = if names.is_empty() { all.names(session).len().max(1) } else { names.len() } as u32;
        self.send_subscription(key, vec![Part { connection, request: request.bytes(), replies }]);
        Flow::Next
    }

    /// `SUNSUBSCRIBE` of everything where it is at several nodes: their connections are given up, and each name is confirmed.
    fn leave_shard_channels(&mut self, key: ClientKey) {
        let Some(all) =
            self.clients.all.get_mut(key).and_then(|client| client.session.subscriptions.as_mut())
        else {
            return;
        };
        let names: Vec<Bytes> = all.shard_channels.drain().collect();
        let connections = std::mem::take(&mut all.shard_connections);
        connections.into_iter().for_each(|(_, connection)| self.upstreams.close_own(connection));
        let names: Vec<&[u8]> = names.iter().map(|name| &name[..]).collect();
        self.confirm_names(key, Session::Sunsubscribe, &names, |place| (names.len() - 1 - place) as i64);
        self.end_empty_subscriptions(key);
    }

    /// Sends the parts of one request: each when the one before is confirmed, so that a client is told of its names in their order.
    pub(super) fn send_subscription(&mut self, key: ClientKey, parts: Vec<Part<'_>>) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        client.exclusive = true;
        let suppressed = client.take_suppressed();
        for Part { connection, request, replies } in parts {
            let sequence = client.replies.push_waiting(suppressed);
            let pending = Pending::subscription(Origin::client(key, sequence), replies, self.core.now_ns);
            let all = client.session.subscriptions.get_or_insert_default();
            all.deferred.push_back(Deferred::new(pending, connection, request));
        }
        // They go when the other masters that it concerns have been asked; at once where there are none.
        self.send_deferred(key);
    }

    /// Confirms an unsubscription where there was nothing that Redis would know of.
    pub(super) fn confirm_nothing(&mut self, key: ClientKey, session: Session, names: &[&[u8]], left: i64) {
        self.confirm_names(key, session, names, |_| left);
    }

    fn confirm_names(
        &mut self,
        key: ClientKey,
        session: Session,
        names: &[&[u8]],
        left: impl Fn(usize) -> i64,
    ) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let version = client.session.version;
        let word: &[u8] = match session {
            Session::Punsubscribe => b"punsubscribe",
            Session::Sunsubscribe => b"sunsubscribe",
            _ => b"unsubscribe",
        };
        let mut reply = Vec::new();
        let mut confirm = |name: Option<&[u8]>, place: usize| {
            encode::push(&mut reply, version, 3);
            encode::bulk(&mut reply, word);
            match name {
                Some(name) => encode::bulk(&mut reply, name),
                None => encode::null(&mut reply, version),
            }
            encode::integer(&mut reply, left(place));
        };
        match names.is_empty() {
            true => confirm(None, 0),
            false => names.iter().enumerate().for_each(|(place, name)| confirm(Some(name), place)),
        }
        // It goes out even where replies are silenced, as from Redis, but uses up a `CLIENT REPLY SKIP`.
        self.clients.add_push(key, ReplyBytes::Borrowed(&reply));
    }

    /// Takes note of what Redis says about one name: only by that is a client subscribed to it, or not any more. A request
    /// that is refused, in whole or from some name on, so leaves nothing behind.
    pub fn note_subscription(&mut self, key: ClientKey, reply: &[u8]) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let Some(all) = &mut client.session.subscriptions else { return };
        let mut words = resp::elements(reply).into_iter().flatten().map(resp::bulk_payload);
        let (Some(Some(word)), Some(Some(name))) = (words.next(), words.next()) else { return };
        let (names, subscribed) = match word {
            b"subscribe" => (&mut all.channels, true),
            b"psubscribe" => (&mut all.patterns, true),
            b"ssubscribe" => (&mut all.shard_channels, true),
            b"unsubscribe" => (&mut all.channels, false),
            b"punsubscribe" => (&mut all.patterns, false),
            b"sunsubscribe" => (&mut all.shard_channels, false),
            _ => return,
        };
        if subscribed {
            names.insert(Bytes::copy_from_slice(name));
        } else {
            names.remove(name);
        }
    }

    /// A confirmation whose count is of all that the client is subscribed to. `None` where the server's says just that.
    pub fn with_whole_count(&self, key: ClientKey, reply: &[u8]) -> Option<Vec<u8>> {
        let parts: Vec<&[u8]> = resp::elements(reply)?.collect();
        let [word, name, count] = parts[..] else { return None };
        let session = match resp::bulk_payload(word)? {
            b"ssubscribe" | b"sunsubscribe" => Session::Ssubscribe,
            b"subscribe" | b"unsubscribe" | b"psubscribe" | b"punsubscribe" => Session::Subscribe,
            _ => return None,
        };
        let all = self.clients.all.get(key)?.session.subscriptions.as_ref();
        let whole = all.map_or(0, |all| all.count(session)) as i64;
        if resp::parse_integer_reply(count) == Some(whole) {
            return None;
        }
        let mut counted = reply[..reply.iter().position(|byte| *byte == b'\n')? + 1].to_vec();
        counted.extend_from_slice(word);
        counted.extend_from_slice(name);
        encode::integer(&mut counted, whole);
        Some(counted)
    }

    /// Gives up a client's subscriber connections once it is subscribed to nothing, and nothing of it is under way there.
    pub fn end_empty_subscriptions(&mut self, key: ClientKey) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let upstreams = &self.upstreams.connections;
        let settled = |connection: UpstreamKey| {
            upstreams.get(connection).is_none_or(|known| known.wire.inflight() == 0)
        };
        let ends = |all: &mut Box<Subscriptions>| {
            all.is_empty() && all.deferred.is_empty() && all.connections().all(settled)
        };
        let Some(all) = client.session.subscriptions.take_if(ends) else { return };
        client.session.refresh_plain();
        for connection in all.connections() {
            self.upstreams.close_own(connection);
        }
    }
}
