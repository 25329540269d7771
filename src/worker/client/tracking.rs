//! `CLIENT TRACKING`: server-assisted client-side caching (Redis documentation, "Client-side caching").
//!
//! Redis remembers which keys a connection has read and says on that connection when they change. So a tracking client gets
//! connections of its own, one per node, each of which starts with the client's own `CLIENT TRACKING` command. When one
//! breaks, the client is told to drop its whole cache. Only RESP3: in RESP2 the invalidations would go to another
//! client's connection, which may be on another worker.

use bytes::Bytes;

use super::dispatch::Flow;
use super::session::Tracking;
use super::{ClientKey, Gate};
use crate::resp::{Request, RespVersion, encode};
use crate::shared::labels::{ErrorKind, RequestClass};
use crate::shared::topology::NodeIndex;
use crate::worker::state::State;
use crate::worker::upstream::errors::UpstreamError;
use crate::worker::upstream::{Hook, Lane, Origin, Pending, Role, UpstreamKey};

const NEEDS_RESP3: &str =
    "ERR hotgate: CLIENT TRACKING needs RESP3 here, without REDIRECT: send HELLO 3 first";

impl State {
    /// `CLIENT TRACKING|CACHING|TRACKINGINFO|GETREDIR`.
    pub(super) fn tracking(&mut self, key: ClientKey, request: &Request<'_>) -> Flow {
        let word = |place| request.arg(place).unwrap_or_default().to_ascii_lowercase();
        let Some(client) = self.clients.get_mut(key) else { return Flow::Next };
        let version = client.session.version;
        let mut reply = Vec::new();
        match (&word(1)[..], &word(2)[..]) {
            (b"tracking", b"on") => return self.start_tracking(key, request),
            (b"tracking", b"off") => {
                if !client.replies.is_empty() {
                    return client.wait(Gate::Drain);
                }
                self.stop_tracking(key);
                encode::simple(&mut reply, "OK");
            }
            (b"caching", choice @ (b"yes" | b"no")) => match &mut client.session.tracking {
                Some(tracking) => {
                    tracking.caching = Some(choice == b"yes");
                    encode::simple(&mut reply, "OK");
                }
                None => encode::error(
                    &mut reply,
                    "ERR CLIENT CACHING can be called only when the client is in tracking mode with OPTIN or OPTOUT mode enabled",
                ),
            },
            (b"trackinginfo", _) => encode_info(&mut reply, version, client.session.tracking.as_deref()),
            (b"getredir", _) => {
                encode::integer(&mut reply, if client.session.tracking.is_some() { 0 } else { -1 })
            }
            _ => encode::error(&mut reply, "ERR syntax error"),
        }
        self.reply(key, &reply);
        Flow::Next
    }

    fn start_tracking(&mut self, key: ClientKey, request: &Request<'_>) -> Flow {
        let Some(client) = self.clients.get_mut(key) else { return Flow::Next };
        if !client.replies.is_empty() {
            return client.wait(Gate::Drain);
        }
        let options: Vec<Bytes> =
            request.args().skip(3).map(|word| Bytes::from(word.to_ascii_lowercase())).collect();
        if client.session.version == RespVersion::Resp2 || options.iter().any(|word| &word[..] == b"redirect")
        {
            return self.refuse(key, ErrorKind::NotCarried, NEEDS_RESP3);
        }
        let database = client.session.database;
        self.stop_tracking(key);
        let node = match self.node_of(&Pending::new(Origin::Client { key, sequence: 0, part: 0 })) {
            Ok(node) => node,
            Err(error) => return self.refuse(key, ErrorKind::UpstreamUnavailable, error.to_string()),
        };
        let role = Role::Tracking(key);
        let Some(connection) = self.own_connection(node, role, RespVersion::Resp3, database, None) else {
            let error = UpstreamError::Full("the table of session connections").to_string();
            return self.refuse(key, ErrorKind::Overload, &error);
        };
        let Some(client) = self.clients.get_mut(key) else { return Flow::Next };
        client.session.tracking = Some(Box::new(Tracking {
            command: Bytes::copy_from_slice(request.bytes()),
            broadcast: options.iter().any(|word| &word[..] == b"bcast"),
            options,
            caching: None,
            connections: [(node, connection)].into_iter().collect(),
        }));
        client.session.refresh_plain();
        client.exclusive = true;
        let muted = client.take_muted();
        let sequence = client.replies.push_waiting(muted);
        let origin = Origin::Client { key, sequence, part: 0 };
        let pending = Pending {
            hook: Hook::Tracking,
            ..Pending::on_connection(origin, RequestClass::Local, self.now_ns)
        };
        if let Some(upstream) = self.upstreams.get_mut(connection) {
            upstream.queue(pending, &[request.bytes()]);
        }
        Flow::Next
    }

    fn stop_tracking(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else { return };
        let Some(tracking) = client.session.tracking.take() else { return };
        client.session.refresh_plain();
        for (_, connection) in &tracking.connections {
            if let Some(upstream) = self.upstreams.get_mut(*connection) {
                upstream.role = Role::Spare;
                upstream.close();
            }
        }
    }

    /// Redis accepted or refused the client's `CLIENT TRACKING ON`.
    pub(in crate::worker) fn tracking_confirmed(&mut self, key: ClientKey, _: UpstreamKey, is_error: bool) {
        if is_error {
            self.stop_tracking(key);
        } else {
            self.listen_everywhere(key);
        }
    }

    /// In broadcast mode invalidations come without anything having been read, so every master is listened to.
    pub(in crate::worker) fn listen_everywhere(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get(key) else { return };
        if client.session.tracking.as_ref().is_some_and(|tracking| tracking.broadcast) {
            let (version, database) = (client.session.version, client.session.database);
            for node in self.knowledge.topology.masters.clone() {
                self.client_connection(key, node, version, database, 0);
            }
        }
    }

    /// The connection that carries a client's requests to a node: a shared one, unless the client tracks.
    pub(in crate::worker) fn client_connection(
        &mut self,
        key: ClientKey,
        node: NodeIndex,
        version: RespVersion,
        database: u32,
        lane: Lane,
    ) -> UpstreamKey {
        let tracking = self.clients.get(key).and_then(|client| client.session.tracking.as_ref());
        let Some(tracking) = tracking else { return self.shared_connection(node, version, database, lane) };
        if let Some((_, connection)) = tracking.connections.iter().find(|(known, _)| *known == node) {
            return *connection;
        }
        let command = tracking.command.clone();
        let connection = self.open_connection(node, Role::Tracking(key), version, database, Some(command));
        if let Some(tracking) = self.clients.get_mut(key).and_then(|client| client.session.tracking.as_mut())
        {
            tracking.connections.push((node, connection));
        }
        connection
    }

    /// What has to precede a tracking client's next command, because it sent `CLIENT CACHING` before.
    pub(super) fn caching_prefix(&mut self, key: ClientKey) -> &'static [u8] {
        let tracking = self.clients.get_mut(key).and_then(|client| client.session.tracking.as_mut());
        match tracking.and_then(|tracking| tracking.caching.take()) {
            Some(true) => b"*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$3\r\nYES\r\n",
            Some(false) => b"*3\r\n$6\r\nCLIENT\r\n$7\r\nCACHING\r\n$2\r\nNO\r\n",
            None => b"",
        }
    }
}

fn encode_info(out: &mut Vec<u8>, version: RespVersion, tracking: Option<&Tracking>) {
    let mut flags: Vec<&[u8]> = vec![if tracking.is_some() { b"on" } else { b"off" }];
    let mut prefixes: Vec<&[u8]> = Vec::new();
    if let Some(tracking) = tracking {
        let mut words = tracking.options.iter();
        while let Some(word) = words.next() {
            match &word[..] {
                b"prefix" => prefixes.extend(words.next().map(|prefix| &prefix[..])),
                option => flags.push(option),
            }
        }
        match tracking.caching {
            Some(true) => flags.push(b"caching-yes"),
            Some(false) => flags.push(b"caching-no"),
            None => {}
        }
    }
    encode::map(out, version, 3);
    encode::bulk(out, b"flags");
    encode::set(out, version, flags.len());
    flags.iter().for_each(|flag| encode::bulk(out, flag));
    encode::bulk(out, b"redirect");
    encode::integer(out, if tracking.is_some() { 0 } else { -1 });
    encode::bulk(out, b"prefixes");
    encode::array(out, prefixes.len());
    prefixes.iter().for_each(|prefix| encode::bulk(out, prefix));
}
