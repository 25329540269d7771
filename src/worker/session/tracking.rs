//! `CLIENT TRACKING`: server-assisted client-side caching (Redis documentation, "Client-side caching").
//!
//! Redis remembers which keys a connection has read and says when they change. So a tracking client gets connections of its
//! own, one per node, on which everything of it goes. They speak its version of the protocol. Where it redirects, each has a
//! companion in RESP3, to which the node sends what it has to say. Here is what clients ask for; [`super::tracking_connections`]
//! has those connections, and [`crate::worker::client::invalidations`] brings what they say to the client that was named.
//!
//! Invariant: what is read before `+OK` was answered need not be tracked, everything after it is: `+OK` is answered when
//! the node, and in broadcast mode every master that can be reached, has agreed.

use super::Sessions;
use crate::worker::ended::Ended;
use smallvec::SmallVec;

use crate::resp::{Request, RespVersion, encode};
use crate::shared::labels::{ErrorKind, RequestClass};
use crate::worker::client::Gate;
use crate::worker::client::invalidations::FLUSH;
use crate::worker::client::merge::{Merge, Plan};
use crate::worker::client::tracking::{Awaiting, Redirect, Tracking, redirect_of};
use crate::worker::client::tracking_options::{Asked, Options, Switch};
use crate::worker::effects::Effect;
use crate::worker::errors::UpstreamError;
use crate::worker::flow::Flow;
use crate::worker::names::{ClientKey, ReplySlot, UpstreamKey};
use crate::worker::pending::{Origin, Pending, Route};
use crate::worker::reply::ReplyBytes;
use crate::worker::upstream::Phase;

const NO_TARGET: &str = "ERR The client ID you want redirect to does not exist";
const NOT_CACHING: &str = "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled";
const NOT_OPT_IN: &str = "ERR CLIENT CACHING YES is only valid when tracking is enabled in OPTIN mode.";
const NOT_OPT_OUT: &str = "ERR CLIENT CACHING NO is only valid when tracking is enabled in OPTOUT mode.";

impl Sessions<'_> {
    /// `CLIENT TRACKING|CACHING|TRACKINGINFO|GETREDIR`.
    pub fn tracking(&mut self, key: ClientKey, request: &Request<'_>) -> Flow {
        let word = |place| request.arg(place).unwrap_or_default().to_ascii_lowercase();
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let version = client.session.version;
        let tracking = client.session.tracking.as_deref_mut();
        let mut reply = Vec::new();
        match &word(1)[..] {
            b"tracking" => return self.tracking_command(key, request),
            b"caching" => match (tracking, &word(2)[..]) {
                (None, _) => encode::error(&mut reply, NOT_CACHING),
                (Some(tracking), b"yes") if tracking.options.opt_in => {
                    tracking.caching = Some(true);
                    encode::simple(&mut reply, "OK");
                }
                (Some(tracking), b"no") if tracking.options.opt_out => {
                    tracking.caching = Some(false);
                    encode::simple(&mut reply, "OK");
                }
                (_, b"yes") => encode::error(&mut reply, NOT_OPT_IN),
                (_, b"no") => encode::error(&mut reply, NOT_OPT_OUT),
                _ => encode::error(&mut reply, "ERR syntax error"),
            },
            b"trackinginfo" => encode_info(&mut reply, version, tracking.as_deref()),
            _ => encode::integer(&mut reply, redirect_of(tracking.as_deref())),
        }
        self.reply(key, &reply);
        Flow::Next
    }

    /// `CLIENT TRACKING ON|OFF`. The client that it redirects to may be another worker's, who has to be asked.
    fn tracking_command(&mut self, key: ClientKey, request: &Request<'_>) -> Flow {
        let own_worker = self.core.index;
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        if !client.replies.is_empty() {
            return client.wait(Gate::Drain);
        }
        let asked = Asked::parse(request);
        client.exclusive = true;
        let suppressed = client.take_suppressed();
        let sequence = client.replies.push_waiting(suppressed);
        let Some(id) = asked.redirect else {
            self.apply_tracking(key, sequence, asked, None);
            return Flow::Next;
        };
        let id = u64::try_from(id).unwrap_or_default();
        if let Some(found) = self.clients.by_id(id) {
            let redirect = Redirect { id, worker: own_worker, client: found.to_number() };
            self.apply_tracking(key, sequence, asked, Some(redirect));
            return Flow::Next;
        }
        let asked = Box::new(asked);
        self.core.effects.push(Effect::FindRedirect { key, sequence, asked, id });
        Flow::Next
    }

    /// Does what a `CLIENT TRACKING` asks for, now that the client is known that it redirects to, if there is one.
    pub fn apply_tracking(
        &mut self,
        key: ClientKey,
        sequence: u32,
        asked: Asked,
        redirect: Option<Redirect>,
    ) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let refused = |text: &str| Some(text.as_bytes().to_vec());
        let present = client.session.tracking.as_ref().map(|tracking| &tracking.options);
        let error = match asked.rest {
            _ if asked.redirect.is_some() && redirect.is_none() => refused(NO_TARGET),
            Err(text) => refused(text),
            Ok((Switch::Off, _)) => {
                self.stop_tracking(key);
                return self.settle_tracking(key, sequence, None);
            }
            Ok((Switch::On, options)) => match options.after(present) {
                Err(text) => Some(text),
                Ok(options) => return self.begin_tracking(key, sequence, options, redirect),
            },
        };
        self.settle_tracking(key, sequence, Some((ErrorKind::ClientRequest, &error.unwrap_or_default())));
    }

    /// Answers a `CLIENT TRACKING`: with OK, or with this error.
    fn settle_tracking(&mut self, key: ClientKey, sequence: u32, error: Option<(ErrorKind, &[u8])>) {
        let mut reply = Vec::new();
        let ended = match error {
            None => {
                encode::simple(&mut reply, "OK");
                Ended::answered(RequestClass::Local)
            }
            Some((kind, text)) => {
                encode::error(&mut reply, text);
                Ended::failed(RequestClass::Local, kind)
            }
        };
        self.clients.settle(self.core, ReplySlot::new(key, sequence), ended, ReplyBytes::Borrowed(&reply));
    }

    /// Begins to track, or goes on with other options.
    fn begin_tracking(
        &mut self,
        key: ClientKey,
        sequence: u32,
        options: Options,
        redirect: Option<Redirect>,
    ) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        if let Some(tracking) = &mut client.session.tracking
            && tracking.redirect.is_some() == redirect.is_some()
        {
            tracking.options = options;
            tracking.redirect = redirect;
            tracking.broken = false;
            return self.send_options(key, sequence);
        }
        // What was tracked before is tracked no more, since other connections carry it.
        let again = client.session.tracking.is_some();
        let awaiting = Awaiting { sequence, outstanding: 0, ready: 0, refusal: None, again };
        self.stop_tracking(key);
        let Some(client) = self.clients.all.get_mut(key) else { return };
        client.session.tracking = Some(Box::new(Tracking {
            options,
            redirect,
            broken: false,
            caching: None,
            connections: Default::default(),
            awaiting: Some(awaiting),
        }));
        client.session.refresh_plain();
        self.open_first(key);
    }

    /// Tells the nodes that track for the client already what it wants now. The client is answered when all have heard it.
    fn send_options(&mut self, key: ClientKey, sequence: u32) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let Some(tracking) = &mut client.session.tracking else { return };
        let upstreams = &self.upstreams.connections;
        let mut unused: SmallVec<[UpstreamKey; 2]> = SmallVec::new();
        // One that is not open yet carries nothing, as the client has nothing unsettled: it is made anew when it is needed.
        tracking.connections.retain(|tracked| {
            let open = upstreams.get(tracked.connection).is_some_and(|known| known.phase() == Phase::Ready);
            if !open {
                unused.extend([Some(tracked.connection), tracked.companion].into_iter().flatten());
            }
            open
        });
        let told: Vec<UpstreamKey> = tracking.connections.iter().map(|tracked| tracked.connection).collect();
        let options = tracking.options.clone();
        if told.is_empty() {
            self.settle_tracking(key, sequence, None);
        } else if let Some(client) = self.clients.all.get_mut(key) {
            client.replies.gather(sequence, Merge::new(Plan::Same, told.len()));
        }
        unused.into_iter().for_each(|connection| self.upstreams.close_own(connection));
        for (part, connection) in told.into_iter().enumerate() {
            let id = self.companion_id(connection);
            let origin = Origin::Client { key, sequence, part: part as u32 };
            let pending = Pending::on_connection(origin, RequestClass::Local, self.core.now_ns);
            if let Some(room) = self.upstreams.room(self.core, connection) {
                self.upstreams.send(room, pending, &[&options.command_again(id)]);
            }
        }
        self.listen_everywhere(key);
    }

    fn open_first(&mut self, key: ClientKey) {
        let Some(client) = self.clients.all.get(key) else { return };
        let selection = client.session.selection();
        let broadcast = client.session.tracking.as_ref().is_some_and(|tracking| tracking.options.broadcast);
        let nodes = match self.sender().node_for(key, Route::AnyNode) {
            Ok(_) if broadcast => self.core.snapshots.all_masters(),
            Ok(node) => vec![node],
            Err(error) => return self.tracking_settled(key, false, Some(error.to_string())),
        };
        let full = nodes.iter().any(|node| {
            let cluster = self.core.snapshots.cluster_of_node(*node);
            let own = nodes.iter().filter(|other| self.core.snapshots.cluster_of_node(**other) == cluster);
            let owned = self.upstreams.pools.census.owned(cluster) + own.count();
            owned > self.core.upstream_of(cluster).session_connections_max
        });
        if full {
            let error = UpstreamError::Full("the table of session connections");
            return self.tracking_settled(key, false, Some(error.to_string()));
        }
        if let Some(awaiting) = self.awaiting_of(key) {
            awaiting.outstanding = nodes.len();
        }
        for node in nodes {
            let selection = self.core.snapshots.selection_at(node, selection);
            self.sender().open_tracked(key, node, selection);
        }
    }

    /// The `CLIENT TRACKING ON` of a client that has not been answered yet.
    pub fn awaiting_of(&mut self, key: ClientKey) -> Option<&mut Awaiting> {
        self.clients.all.get_mut(key)?.session.tracking.as_mut()?.awaiting.as_mut()
    }

    /// Gives up the connections of a client that tracks no more.
    pub fn stop_tracking(&mut self, key: ClientKey) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let Some(tracking) = client.session.tracking.take() else { return };
        client.session.refresh_plain();
        for tracked in &tracking.connections {
            // What is watched on it may change without our hearing of it.
            client.session.watch.on_lost(tracked.connection);
        }
        for tracked in &tracking.connections {
            for connection in [Some(tracked.connection), tracked.companion].into_iter().flatten() {
                self.upstreams.close_own(connection);
            }
        }
    }

    /// A connection of the client's tracking is open, or has ended without having been.
    pub fn tracking_settled(&mut self, key: ClientKey, ready: bool, refusal: Option<String>) {
        let Some(awaiting) = self.awaiting_of(key) else { return };
        awaiting.outstanding = awaiting.outstanding.saturating_sub(1);
        awaiting.ready += usize::from(ready);
        awaiting.refusal = awaiting.refusal.take().or(refusal);
        if awaiting.outstanding > 0 {
            return;
        }
        let Some(tracking) =
            self.clients.all.get_mut(key).and_then(|client| client.session.tracking.as_mut())
        else {
            return;
        };
        let Some(awaiting) = tracking.awaiting.take() else { return };
        if awaiting.ready == 0 {
            self.stop_tracking(key);
            let lost = "ERR hotgate: the connection for CLIENT TRACKING was lost; try again";
            let text = awaiting.refusal.as_deref().unwrap_or(lost);
            let error = (ErrorKind::UpstreamUnavailable, text.as_bytes());
            return self.settle_tracking(key, awaiting.sequence, Some(error));
        }
        self.settle_tracking(key, awaiting.sequence, None);
        // Inside a transaction what Redis ran before may have been read by a client that means to keep it.
        let in_exec =
            self.clients.all.get(key).is_some_and(|client| client.session.transaction.replying().is_some());
        if awaiting.again || in_exec {
            self.clients.on_invalidation(self.core, key, FLUSH);
        }
    }

    /// What has to precede a tracking client's next command, because it sent `CLIENT CACHING` before.
    pub fn caching_of(&self, key: ClientKey) -> Option<bool> {
        self.clients.all.get(key)?.session.tracking.as_ref()?.caching
    }
}

fn encode_info(out: &mut Vec<u8>, version: RespVersion, tracking: Option<&Tracking>) {
    let mut flags: Vec<&[u8]> = vec![if tracking.is_some() { b"on" } else { b"off" }];
    if let Some(Tracking { options, caching, broken, .. }) = tracking {
        let known: [(bool, &[u8]); 7] = [
            (options.broadcast, b"bcast"),
            (options.opt_in, b"optin"),
            (*caching == Some(true), b"caching-yes"),
            (options.opt_out, b"optout"),
            (*caching == Some(false), b"caching-no"),
            (options.no_loop, b"noloop"),
            (*broken, b"broken_redirect"),
        ];
        flags.extend(known.iter().filter(|(set, _)| *set).map(|(_, name)| *name));
    }
    encode::map(out, version, 3);
    encode::bulk(out, b"flags");
    encode::set(out, version, flags.len());
    flags.iter().for_each(|flag| encode::bulk(out, flag));
    encode::bulk(out, b"redirect");
    encode::integer(out, redirect_of(tracking));
    encode::bulk(out, b"prefixes");
    let prefixes = tracking.map(|tracking| &tracking.options.prefixes);
    encode::array(out, prefixes.map_or(0, std::collections::BTreeSet::len));
    prefixes.into_iter().flatten().for_each(|prefix| encode::bulk(out, prefix));
}
