//! The names that a client is subscribed to, and the connections that carry them.
//!
//! Plain data: who subscribes, and what Redis confirms, is `session/`'s.

use std::collections::{HashSet, VecDeque};

use bytes::Bytes;
use smallvec::SmallVec;

use super::Clients;
use crate::command::Session;
use crate::resp::{RespVersion, encode};
use crate::route::{ClusterId, RoutedAs};
use crate::shared::topology::NodeIndex;
use crate::worker::core::Core;
use crate::worker::names::UpstreamKey;
use crate::worker::pending::Pending;

type Names = HashSet<Bytes, ahash::RandomState>;

/// How the channels of events begin.
const EVENTS: [&[u8]; 2] = [b"__keyspace@", b"__keyevent@"];

/// The names that a client is subscribed to, and the connections that carry them.
#[derive(Debug, Default)]
pub struct Subscriptions {
    /// Who subscribed first, and by whose routes its channels are looked for, until nothing is left of them.
    pub user: Bytes,
    /// The same for the routes in force.
    pub routed_as: RoutedAs,
    /// `SUBSCRIBE`.
    pub channels: Names,
    /// `PSUBSCRIBE`.
    pub patterns: Names,
    /// `SSUBSCRIBE`.
    pub shard_channels: Names,
    /// One connection for channels and patterns in each cluster where some are. The first is where keyspace events are confirmed.
    pub channel_connections: SmallVec<[(ClusterId, UpstreamKey); 1]>,
    /// One connection per node for shard channels.
    pub shard_connections: SmallVec<[(NodeIndex, UpstreamKey); 1]>,
    /// Some of the names may bring keyspace events of a cluster.
    pub wants_events: bool,
    /// One connection for each other master where keyspace events are subscribed to.
    pub event_listeners: Vec<EventListener>,
    /// What is confirmed to the client, in this order, once those have been asked. Its names are those of one request.
    pub deferred: VecDeque<Deferred>,
}

impl Subscriptions {
    /// Nothing yet, of this user's.
    pub fn of(user: &Bytes, routed_as: RoutedAs) -> Self {
        Self { user: user.clone(), routed_as, ..Self::default() }
    }

    /// All names.
    pub fn len(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All connections.
    pub fn connections(&self) -> impl Iterator<Item = UpstreamKey> {
        let shards = self.shard_connections.iter().map(|(_, key)| *key);
        let events = self.event_listeners.iter().map(|listener| listener.connection);
        let channels = self.channel_connections.iter().map(|(_, key)| *key);
        channels.chain(shards).chain(events)
    }

    /// The connection for channels and patterns in a cluster.
    pub fn connection_in(&self, cluster: ClusterId) -> Option<UpstreamKey> {
        self.channel_connections.iter().find(|(known, _)| *known == cluster).map(|(_, key)| *key)
    }

    /// What a confirmation counts: shard channels, or channels and patterns.
    pub fn count(&self, session: Session) -> usize {
        match session {
            Session::Ssubscribe | Session::Sunsubscribe => self.shard_channels.len(),
            _ => self.channels.len() + self.patterns.len(),
        }
    }

    /// The names that a command speaks of.
    pub fn names(&mut self, session: Session) -> &mut Names {
        match session {
            Session::Psubscribe | Session::Punsubscribe => &mut self.patterns,
            Session::Ssubscribe | Session::Sunsubscribe => &mut self.shard_channels,
            _ => &mut self.channels,
        }
    }

    /// The names that may bring events, with the command that subscribes to them.
    pub fn event_names(&self) -> [(&'static [u8], Vec<Bytes>); 2] {
        let of = |names: &Names, session| {
            names.iter().filter(|name| may_bring_events(session, name)).cloned().collect()
        };
        [
            (b"SUBSCRIBE", of(&self.channels, Session::Subscribe)),
            (b"PSUBSCRIBE", of(&self.patterns, Session::Psubscribe)),
        ]
    }
}

/// A master that a client listens to for events alone.
#[derive(Debug)]
pub struct EventListener {
    /// The master.
    pub node: NodeIndex,
    /// The connection.
    pub connection: UpstreamKey,
    /// It has confirmed.
    pub confirmed: bool,
}

/// A part of a client's subscription that waits until every master has been asked, and the parts before it are confirmed.
#[derive(Debug)]
pub struct Deferred {
    /// The subscription.
    pub pending: Pending,
    /// The client's own connection in the cluster of its names.
    pub connection: UpstreamKey,
    /// Its bytes.
    pub request: Bytes,
}

impl Deferred {
    /// A request for the client's own connection.
    pub fn new(pending: Pending, connection: UpstreamKey, request: &[u8]) -> Self {
        Self { pending, connection, request: Bytes::copy_from_slice(request) }
    }
}

/// Whether a channel is one of events.
pub fn is_event(channel: &[u8]) -> bool {
    EVENTS.iter().any(|start| channel.starts_with(start))
}

/// Whether a name that is subscribed to may bring events: a channel of theirs, or a pattern that may match one.
pub fn may_bring_events(session: Session, name: &[u8]) -> bool {
    let literal = match session {
        Session::Subscribe => return is_event(name),
        Session::Psubscribe => name.split(|byte| b"*?[\\".contains(byte)).next().unwrap_or_default(),
        _ => return false,
    };
    EVENTS
        .iter()
        .any(|start| literal.starts_with(start) || (literal.len() < name.len() && start.starts_with(literal)))
}

impl Clients {
    /// Delivers a message of the gateway's own to the clients that are subscribed to its channel.
    pub fn publish_locally(&mut self, core: &Core, channel: &[u8], payload: &[u8]) {
        let mut receivers = Vec::new();
        for client in self.all.iter() {
            let Some(all) = &client.session.subscriptions else { continue };
            let version = client.session.version;
            let mut messages = Vec::new();
            if all.channels.contains(channel) {
                encode_message(&mut messages, version, &[b"message", channel, payload]);
            }
            for pattern in
                all.patterns.iter().filter(|pattern| crate::command::glob::matches(pattern, channel))
            {
                encode_message(&mut messages, version, &[b"pmessage", pattern, channel, payload]);
            }
            if !messages.is_empty() {
                receivers.push((client.key, messages));
            }
        }
        receivers.into_iter().for_each(|(key, messages)| self.push_to(core, key, &messages));
    }
}

fn encode_message(out: &mut Vec<u8>, version: RespVersion, parts: &[&[u8]]) {
    encode::push(out, version, parts.len());
    parts.iter().for_each(|part| encode::bulk(out, part));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_names_may_bring_events() {
        let channel = |name: &str| may_bring_events(Session::Subscribe, name.as_bytes());
        assert!(channel("__keyspace@0__:k") && channel("__keyevent@0__:del"));
        assert!(!channel("__key") && !channel("*") && !channel("news"));
        let pattern = |name: &str| may_bring_events(Session::Psubscribe, name.as_bytes());
        for name in [
            "*",
            "__key*",
            "__keyspace@0__:*",
            "__keyevent@*__:expired",
            "[_]x",
            "?",
            "\\__key*",
            "__keyspace@0__:k",
        ] {
            assert!(pattern(name), "{name}");
        }
        for name in ["news*", "__kex*", "__keyspace", "a?"] {
            assert!(!pattern(name), "{name}");
        }
        assert!(!may_bring_events(Session::Ssubscribe, b"__keyspace@0__:k"));
    }
}
