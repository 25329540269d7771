//! Keyspace events of a cluster: each master tells of its own keys only, and of no others', so a client that is subscribed to
//! such channels listens to every master.
//!
//! ```text
//! client --SUBSCRIBE __keyevent@0__:del--> first every other master, over a connection each (Role::Events)
//!                                          then the client's own subscription, whose confirmation is the client's
//! message <-- from any of them: passed on if it is an event, of a master, and the client is still subscribed to it
//! ```
//!
//! The client is confirmed only when all have been asked, so that what it does next is told of. Masters that come later are
//! listened to as soon as the topology names them. One that can't be reached is left out until the topology changes again;
//! one that was listened to and breaks off ends the client's connection, as the loss of any subscription does: it may have
//! missed something.
//!
//! Deliberately does not: pass on other messages from these connections, but for those of one listener in each further cluster. A
//! cluster hands them to every node, and those of its own cluster the client has from its own subscription.

use super::Sessions;
use crate::command::Session;
use crate::resp::{self, encode};
use crate::route::ClusterId;
use crate::shared::labels::CloseReason;
use crate::shared::topology::NodeIndex;
use crate::worker::client::subscriptions::{
    Deferred, EventListener, Subscriptions, is_event, may_bring_events,
};
use crate::worker::names::{ClientKey, UpstreamKey};
use crate::worker::pending::{Origin, Pending};
use crate::worker::selection::Selection;
use crate::worker::upstream::Role;

impl Sessions<'_> {
    /// Asks every master but that of the client's own subscription for these names. `None` when there is no room for a
    /// connection.
    pub fn subscribe_to_events(&mut self, key: ClientKey, session: Session, names: &[&[u8]]) -> Option<()> {
        let names: Vec<&[u8]> =
            names.iter().copied().filter(|name| may_bring_events(session, name)).collect();
        if names.is_empty() || self.core.snapshots.is_one_server() {
            return Some(());
        }
        let word: &[u8] = if session == Session::Psubscribe { b"PSUBSCRIBE" } else { b"SUBSCRIBE" };
        if let Some(all) = &mut self.clients.all.get_mut(key)?.session.subscriptions {
            all.wants_events = true;
        }
        self.open_event_listeners(key)?;
        let listeners = self.event_connections(key);
        listeners.into_iter().for_each(|connection| self.send_to_listener(connection, word, &names));
        Some(())
    }

    /// Follows the topology: listens to masters that are new, and no more to what is none.
    pub fn follow_event_masters(&mut self, key: ClientKey) {
        let topology = &self.core.snapshots.topology;
        let Some(all) =
            self.clients.all.get_mut(key).and_then(|client| client.session.subscriptions.as_mut())
        else {
            return;
        };
        let (kept, left): (Vec<_>, Vec<_>) =
            all.event_listeners.drain(..).partition(|listener| topology.is_master(listener.node));
        all.event_listeners = kept;
        left.into_iter().for_each(|listener| self.upstreams.close_own(listener.connection));
        let known = self.event_connections(key);
        // Without room for one more, the client would miss events without a word.
        if self.open_event_listeners(key).is_none() {
            return self.clients.hang_up(self.core, key, CloseReason::UpstreamLost);
        }
        let Some(all) = self.clients.all.get(key).and_then(|client| client.session.subscriptions.as_ref())
        else {
            return;
        };
        let wanted = all.event_names();
        let fresh = self.event_connections(key).into_iter().filter(|connection| !known.contains(connection));
        for connection in fresh.collect::<Vec<_>>() {
            for (word, names) in &wanted {
                let names: Vec<&[u8]> = names.iter().map(|name| &name[..]).collect();
                self.send_to_listener(connection, word, &names);
            }
        }
    }

    fn open_event_listeners(&mut self, key: ClientKey) -> Option<()> {
        let client = self.clients.all.get(key)?;
        let (version, all) = (client.session.version, client.session.subscriptions.as_ref()?);
        let own = all.channel_connections.first().and_then(|(_, own)| self.upstreams.connections.get(*own));
        let own = own.map(|own| own.node);
        let topology = &self.core.snapshots.topology;
        let heard = |node: &NodeIndex| all.event_listeners.iter().any(|listener| listener.node == *node);
        let missing: Vec<NodeIndex> = self
            .core
            .snapshots
            .all_masters()
            .into_iter()
            .filter(|node| Some(*node) != own && !heard(node))
            .filter(|node| topology.node(*node).is_some_and(|node| node.healthy))
            .collect();
        for node in missing {
            let connection = self.upstreams.own_connection(
                self.core,
                node,
                Role::Events(key),
                Selection::of_version(version),
                None,
            )?;
            let all = self.clients.all.get_mut(key)?.session.subscriptions.as_mut()?;
            all.event_listeners.push(EventListener { node, connection, confirmed: false });
        }
        Some(())
    }

    fn event_connections(&self, key: ClientKey) -> Vec<UpstreamKey> {
        let all = self.clients.all.get(key).and_then(|client| client.session.subscriptions.as_ref());
        all.map_or_else(Vec::new, |all| {
            all.event_listeners.iter().map(|listener| listener.connection).collect()
        })
    }

    /// Sends a command whose confirmations, one for each name, are nobody's.
    pub(super) fn send_to_listener(&mut self, connection: UpstreamKey, word: &[u8], names: &[&[u8]]) {
        if names.is_empty() {
            return;
        }
        let mut request = Vec::new();
        let words: Vec<&[u8]> = [word].into_iter().chain(names.iter().copied()).collect();
        encode::command(&mut request, &words);
        let pending = Pending::subscription(Origin::Swallow, names.len() as u32, self.core.now_ns);
        if let Some(room) = self.upstreams.room(self.core, connection) {
            self.upstreams.send(room, pending, &[&request]);
        }
    }

    /// Sends the next part of the client's own subscription once every master has confirmed or is out of reach, and so have the parts before.
    pub fn send_deferred(&mut self, key: ClientKey) {
        let upstreams = &self.upstreams.connections;
        let Some(all) =
            self.clients.all.get_mut(key).and_then(|client| client.session.subscriptions.as_mut())
        else {
            return;
        };
        let settled = |connection: UpstreamKey| {
            upstreams.get(connection).is_none_or(|known| known.wire.inflight() == 0)
        };
        let listeners = all.event_listeners.iter().map(|listener| listener.connection);
        let own = all.channel_connections.iter().map(|(_, connection)| *connection);
        if !listeners.chain(own).all(settled) {
            return;
        }
        let Some(Deferred { pending, connection, request }) = all.deferred.pop_front() else { return };
        if let Some(room) = self.upstreams.room(self.core, connection) {
            self.upstreams.send(room, pending, &[&request]);
        }
    }

    /// A master has confirmed what was asked of it last.
    pub fn events_confirmed(&mut self, owner: ClientKey, connection: UpstreamKey) {
        let all = self.clients.all.get_mut(owner).and_then(|client| client.session.subscriptions.as_mut());
        let listeners = all.into_iter().flat_map(|all| all.event_listeners.iter_mut());
        listeners.filter(|listener| listener.connection == connection).for_each(|listener| {
            listener.confirmed = true;
        });
        self.send_deferred(owner);
    }

    /// A connection to a master is lost.
    pub fn events_lost(&mut self, owner: ClientKey, connection: UpstreamKey) {
        let all = self.clients.all.get_mut(owner).and_then(|client| client.session.subscriptions.as_mut());
        let Some(all) = all else { return };
        let place = all.event_listeners.iter().position(|listener| listener.connection == connection);
        let Some(lost) = place.map(|place| all.event_listeners.swap_remove(place)) else { return };
        match lost.confirmed {
            true => self.clients.hang_up(self.core, owner, CloseReason::UpstreamLost),
            false => self.send_deferred(owner),
        }
    }

    /// Takes names that the client gives up from the other masters as well.
    pub fn unsubscribe_from_events(&mut self, key: ClientKey, session: Session, names: &[&[u8]]) {
        let listeners = self.event_connections(key);
        let (word, subscribed) = match session {
            Session::Unsubscribe => (&b"UNSUBSCRIBE"[..], Session::Subscribe),
            Session::Punsubscribe => (&b"PUNSUBSCRIBE"[..], Session::Psubscribe),
            _ => return,
        };
        let Some(all) = self.clients.all.get(key).and_then(|client| client.session.subscriptions.as_ref())
        else {
            return;
        };
        if listeners.is_empty() {
            return;
        }
        let [(_, channels), (_, patterns)] = all.event_names();
        let every = if subscribed == Session::Subscribe { channels } else { patterns };
        let given_up: Vec<&[u8]> = match names.is_empty() {
            true => every.iter().map(|name| &name[..]).collect(),
            false => names.iter().copied().filter(|name| may_bring_events(subscribed, name)).collect(),
        };
        listeners.into_iter().for_each(|connection| self.send_to_listener(connection, word, &given_up));
    }

    /// Stops listening for a client that is subscribed to no events any more.
    pub fn end_unused_listeners(&mut self, key: ClientKey) {
        let all = self.clients.all.get_mut(key).and_then(|client| client.session.subscriptions.as_mut());
        let Some(all) = all.filter(|all| all.wants_events) else { return };
        if all.event_names().iter().all(|(_, names)| names.is_empty()) && all.deferred.is_empty() {
            all.wants_events = false;
            let listeners = std::mem::take(&mut all.event_listeners);
            listeners.into_iter().for_each(|listener| self.upstreams.close_own(listener.connection));
        }
    }

    /// Whether the listener at `node` brings the messages of its cluster as well: one of each cluster does, but for that where the client's
    /// own subscription is, which has them itself.
    fn brings_messages(&self, all: &Subscriptions, node: NodeIndex, cluster: ClusterId) -> bool {
        let is_here = |listener: &&EventListener| {
            listener.confirmed && self.core.snapshots.cluster_of_node(listener.node) == cluster
        };
        let is_own = all.channel_connections.first().is_some_and(|(own, _)| *own == cluster);
        let first = all.event_listeners.iter().find(is_here);
        !is_own && first.is_some_and(|first| first.node == node)
    }

    /// Whether a message that came from `node` is for the client: over `Role::Events` only events that it is subscribed to,
    /// and events from masters only, since a replica tells of the same keys as its master; and others from the cluster of their channel.
    pub fn is_for_client(&self, owner: ClientKey, node: NodeIndex, for_events: bool, reply: &[u8]) -> bool {
        let all = self.clients.all.get(owner).and_then(|client| client.session.subscriptions.as_ref());
        let Some(all) = all else { return false };
        let routes = &self.core.snapshots.routes;
        if !all.wants_events && !for_events && routes.several().is_none() {
            return true;
        }
        let mut words = resp::elements(reply).into_iter().flatten().map(resp::bulk_payload);
        let (Some(Some(kind)), Some(Some(name))) = (words.next(), words.next()) else { return true };
        let (names, channel) = match kind {
            b"pmessage" => (&all.patterns, words.next().flatten().unwrap_or_default()),
            _ => (&all.channels, name),
        };
        match is_event(channel) {
            true => names.contains(name) && self.core.snapshots.topology.is_master(node),
            // Whoever publishes past the gateway may do so where the channel does not live.
            false => {
                let cluster = self.core.snapshots.cluster_of_node(node);
                let lives_here = routes.cluster_for(all.routed_as, channel) == cluster;
                let is_told_once = !for_events || self.brings_messages(all, node, cluster);
                lives_here && is_told_once && names.contains(name)
            }
        }
    }
}
