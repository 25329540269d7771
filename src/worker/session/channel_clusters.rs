//! In which clusters channels and patterns are subscribed to.
//!
//! A channel lives where a key of its name would live: there it is published to, and there it is listened to. A pattern is listened to in
//! each cluster where a channel that it matches may live. So one request may concern several clusters:
//!
//! ```text
//! SUBSCRIBE a x b     (a, b live in default, x in big)
//!   default: SUBSCRIBE a --confirmed--> big: SUBSCRIBE x --confirmed--> default: SUBSCRIBE b
//! PSUBSCRIBE x*
//!   big: PSUBSCRIBE x* (swallowed) --confirmed--> default: PSUBSCRIBE x*
//! ```
//!
//! Of the clusters of one name the first confirms it to the client, when the others have. What may bring keyspace events is confirmed where
//! the client subscribed first, and heard elsewhere by the listeners at every master that bring those ([`super::keyspace_events`]).
//!
//! Deliberately keeps a client's connection to a cluster until the client is subscribed to nothing at all.

use smallvec::{SmallVec, smallvec};

use super::Sessions;
use super::subscribe::{Carries, Part};
use crate::command::Session;
use crate::config::Config;
use crate::resp::{Request, encode, first_error};
use crate::route::{ClusterId, RoutedAs, Routes};
use crate::shared::labels::{CloseReason, ErrorKind};
use crate::worker::client::subscriptions::{Subscriptions, may_bring_events};
use crate::worker::errors::UpstreamError;
use crate::worker::flow::Flow;
use crate::worker::names::{ClientKey, UpstreamKey};
use crate::worker::pending::Route;

/// Where a name is subscribed to.
#[derive(Debug, PartialEq, Eq)]
struct Spread {
    /// Who confirms it.
    confirming: ClusterId,
    /// Where it is listened to besides.
    others: SmallVec<[ClusterId; 2]>,
}

/// What has to be known for that.
struct Spreading<'s> {
    routes: &'s Routes,
    routed_as: RoutedAs,
    clusters: u16,
    /// Where the client subscribed first.
    home: Option<ClusterId>,
}

impl Spreading<'_> {
    /// The clusters in which a channel of this name, or one that matches it, may live.
    fn holders(&self, session: Session, name: &[u8]) -> SmallVec<[ClusterId; 2]> {
        let is_pattern = matches!(session, Session::Psubscribe | Session::Punsubscribe);
        match self.routes.several() {
            Some(table) if is_pattern => (0..self.clusters)
                .map(ClusterId)
                .filter(|cluster| table.may_hold(self.routed_as, name, *cluster))
                .collect(),
            Some(table) => smallvec![table.cluster_of(self.routed_as, name)],
            None => smallvec![self.routes.keyless()],
        }
    }

    fn of(&mut self, session: Session, name: &[u8]) -> Spread {
        let subscribed = match session {
            Session::Psubscribe | Session::Punsubscribe => Session::Psubscribe,
            _ => Session::Subscribe,
        };
        let mut others = self.holders(session, name);
        let first = others.first().copied().unwrap_or(self.routes.keyless());
        let brings_events = may_bring_events(subscribed, name);
        let confirming = self.home.filter(|home| brings_events || others.contains(home)).unwrap_or(first);
        others.retain(|cluster| *cluster != confirming);
        if brings_events {
            others.clear();
        }
        self.home = self.home.or(Some(confirming));
        Spread { confirming, others }
    }
}

impl Sessions<'_> {
    /// `SUBSCRIBE` and `PSUBSCRIBE`.
    pub(super) fn subscribe_in_clusters(
        &mut self,
        key: ClientKey,
        session: Session,
        names: &[&[u8]],
        request: &Request<'_>,
    ) -> Flow {
        let spreads = self.spreads(key, session, names);
        let mut clusters: SmallVec<[ClusterId; 2]> = SmallVec::new();
        for spread in &spreads {
            for cluster in [spread.confirming].into_iter().chain(spread.others.iter().copied()) {
                if !clusters.contains(&cluster) {
                    clusters.push(cluster);
                }
            }
        }
        let replying =
            self.clients.all.get(key).is_some_and(|client| client.session.transaction.replying().is_some());
        if clusters.len() > 1 && replying {
            let text = "CROSSSLOT hotgate: a transaction subscribes to channels of one cluster at a time (docs/routes.md)";
            return self.refuse(key, ErrorKind::ClientRequest, text);
        }
        let is_only = clusters.len() == 1;
        for cluster in clusters {
            let node = match self.sender().node_for(key, Route::Messages(cluster)) {
                Ok(node) => node,
                Err(error) => return self.refuse_unreachable(key, error),
            };
            // To be away costs the clusters beside it nothing.
            if !is_only && self.upstreams.pools.census.backs_off(node) {
                let why = "the last attempt failed".to_owned();
                let error = UpstreamError::Unreachable(self.core.node_name(node), why);
                return self.refuse_unreachable(key, error);
            }
            if self.subscriber_connection(key, node, Carries::ChannelsOf(cluster)).is_none() {
                return self.refuse_subscription(key);
            }
        }
        if self.subscribe_to_events(key, session, names).is_none() {
            return self.refuse_subscription(key);
        }
        self.send_spread(key, (names, &spreads), request);
        Flow::Next
    }

    fn refuse_unreachable(&mut self, key: ClientKey, error: UpstreamError) -> Flow {
        self.end_empty_subscriptions(key);
        self.refuse(key, ErrorKind::UpstreamUnavailable, error.to_string())
    }

    /// `UNSUBSCRIBE` and `PUNSUBSCRIBE` of a client that is subscribed to something.
    pub(super) fn unsubscribe_in_clusters(
        &mut self,
        key: ClientKey,
        session: Session,
        names: &[&[u8]],
        request: &Request<'_>,
    ) -> Flow {
        let Some(all) =
            self.clients.all.get_mut(key).and_then(|client| client.session.subscriptions.as_mut())
        else {
            return Flow::Next;
        };
        let (connections, left) = (all.channel_connections.len(), all.count(session));
        let every: Vec<bytes::Bytes> = all.names(session).iter().cloned().collect();
        if connections == 0 || (connections > 1 && names.is_empty() && every.is_empty()) {
            self.confirm_nothing(key, session, names, left as i64);
            self.end_empty_subscriptions(key);
            return Flow::Next;
        }
        self.unsubscribe_from_events(key, session, names);
        if connections == 1 {
            let connection = self.channel_connection(key, None);
            let replies = if names.is_empty() { every.len().max(1) } else { names.len() } as u32;
            let part = connection.map(|connection| Part { connection, request: request.bytes(), replies });
            self.send_subscription(key, part.into_iter().collect());
            return Flow::Next;
        }
        let every: Vec<&[u8]> = every.iter().map(|name| &name[..]).collect();
        let names = if names.is_empty() { &every } else { names };
        let spreads = self.spreads(key, session, names);
        self.send_spread(key, (names, &spreads), request);
        Flow::Next
    }

    /// Where each of these names is subscribed to.
    fn spreads(&self, key: ClientKey, session: Session, names: &[&[u8]]) -> Vec<Spread> {
        let Some(client) = self.clients.all.get(key) else { return Vec::new() };
        let all = client.session.subscriptions.as_deref();
        let home = all.and_then(|all| all.channel_connections.first()).map(|(cluster, _)| *cluster);
        let routed_as = client.session.channels_routed_as();
        let (routes, clusters) =
            (&self.core.snapshots.routes, self.core.snapshots.topology.clusters().len() as u16);
        let mut spreading = Spreading { routes, routed_as, clusters, home };
        names.iter().map(|name| spreading.of(session, name)).collect()
    }

    /// Sends a request for these names where each of them is; to the clusters that confirm them last, in the order of the names.
    fn send_spread(
        &mut self,
        key: ClientKey,
        (names, spreads): (&[&[u8]], &[Spread]),
        request: &Request<'_>,
    ) {
        let clusters = self.core.snapshots.topology.clusters().len() as u16;
        for cluster in (0..clusters).map(ClusterId) {
            let here = |(_, spread): &(&&[u8], &Spread)| spread.others.contains(&cluster);
            let here: Vec<&[u8]> = names.iter().zip(spreads).filter(here).map(|(name, _)| *name).collect();
            if let (false, Some(connection)) = (here.is_empty(), self.channel_connection(key, Some(cluster)))
            {
                self.send_to_listener(connection, request.name(), &here);
            }
        }
        let mut runs: Vec<(UpstreamKey, Vec<u8>, u32)> = Vec::new();
        let numbered: Vec<(&[u8], ClusterId)> =
            names.iter().zip(spreads).map(|(name, spread)| (*name, spread.confirming)).collect();
        for run in numbered.chunk_by(|(_, one), (_, other)| one == other) {
            let found = self.channel_connection(key, Some(run[0].1)).or(self.channel_connection(key, None));
            let Some(connection) = found else { continue };
            let words: Vec<&[u8]> =
                [request.name()].into_iter().chain(run.iter().map(|(name, _)| *name)).collect();
            let mut bytes = Vec::new();
            encode::command(&mut bytes, &words);
            runs.push((connection, bytes, run.len() as u32));
        }
        let parts = runs.iter().map(|(connection, request, replies)| Part {
            connection: *connection,
            request,
            replies: *replies,
        });
        self.send_subscription(key, parts.collect());
    }

    /// The client's connection for channels of a cluster; the first one for none.
    fn channel_connection(&self, key: ClientKey, cluster: Option<ClusterId>) -> Option<UpstreamKey> {
        let all = self.clients.all.get(key)?.session.subscriptions.as_ref()?;
        match cluster {
            Some(cluster) => all.connection_in(cluster),
            None => all.channel_connections.first().map(|(_, connection)| *connection),
        }
    }

    /// A cluster has answered that does not confirm to the client itself. One that refuses would be a silence that nobody is told of.
    pub fn elsewhere_confirmed(&mut self, owner: ClientKey, reply: &[u8]) {
        match first_error(reply).is_some() {
            true => self.clients.hang_up(self.core, owner, CloseReason::UpstreamLost),
            false => self.send_deferred(owner),
        }
    }

    /// The routes were those of `former`: a client that is subscribed to something which lives elsewhere by now is cut off, since it may have
    /// missed messages, and subscribes again.
    pub fn follow_moved_channels(&mut self, former: &Config) {
        let subscribed: Vec<ClientKey> = self
            .clients
            .all
            .iter()
            .filter(|client| client.session.subscriptions.is_some())
            .map(|client| client.key)
            .collect();
        if subscribed.is_empty() {
            return;
        }
        let (before, clusters) = (former.routing(), self.core.snapshots.topology.clusters().len() as u16);
        for key in subscribed {
            let all = self.clients.all.get(key).and_then(|client| client.session.subscriptions.as_deref());
            if all.is_some_and(|all| has_moved(all, &before, &self.core.snapshots.routes, clusters)) {
                self.clients.hang_up(self.core, key, CloseReason::UpstreamLost);
            }
        }
    }
}

/// Whether something of these lives elsewhere by other routes.
fn has_moved(all: &Subscriptions, before: &Routes, now: &Routes, clusters: u16) -> bool {
    let spreading =
        |routes| Spreading { routes, routed_as: Routes::routed_as(routes, &all.user), clusters, home: None };
    let (before, now) = (spreading(before), spreading(now));
    let moved = |session, name: &[u8]| before.holders(session, name) != now.holders(session, name);
    all.channels.iter().chain(&all.shard_channels).any(|name| moved(Session::Subscribe, name))
        || all.patterns.iter().any(|name| moved(Session::Psubscribe, name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::table::RouteRule;

    fn spread(home: Option<u16>, session: Session, name: &str) -> (u16, Vec<u16>) {
        let rule = |pattern: &str, cluster: u16| RouteRule {
            user: None,
            pattern: pattern.to_owned(),
            clusters: vec![(ClusterId(cluster), format!("c{cluster}"))],
            by: String::new(),
        };
        let names = (0..3).map(|id| format!("c{id}")).collect();
        let routes = Routes::new(names, vec![rule("a:*", 1), rule("b:*", 2)]);
        let (routed_as, home) = (RoutedAs::ANYBODY, home.map(ClusterId));
        let mut spreading = Spreading { routes: &routes, routed_as, clusters: 3, home };
        let Spread { confirming, others } = spreading.of(session, name.as_bytes());
        assert_eq!(spreading.home, home.or(Some(confirming)));
        (confirming.0, others.iter().map(|cluster| cluster.0).collect())
    }

    #[test]
    fn a_name_is_where_channels_of_it_live() {
        for session in [Session::Subscribe, Session::Unsubscribe] {
            assert_eq!(spread(None, session, "a:1"), (1, vec![]));
            assert_eq!(spread(Some(1), session, "news"), (0, vec![]));
            // Events come from everywhere by other ways.
            assert_eq!(spread(Some(2), session, "__keyevent@0__:del"), (2, vec![]));
        }
        for session in [Session::Psubscribe, Session::Punsubscribe] {
            assert_eq!(spread(None, session, "a:*"), (1, vec![]));
            assert_eq!(spread(Some(2), session, "a:*"), (1, vec![]));
            assert_eq!(spread(None, session, "a*"), (0, vec![1]));
            assert_eq!(spread(Some(1), session, "a*"), (1, vec![0]));
            // Those that listen for events at every master hear the rest.
            assert_eq!(spread(None, session, "*"), (0, vec![]));
            assert_eq!(spread(Some(2), session, "[ab]:x"), (2, vec![]));
            assert_eq!(spread(Some(1), session, "__key*"), (1, vec![]));
        }
    }
}
