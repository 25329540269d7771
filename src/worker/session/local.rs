//! Commands that the gateway answers: at once where the worker knows the answer, later where the control thread does.

use std::net::SocketAddr;

use super::Sessions;
use crate::worker::certified::{Certified, certified};
use crate::worker::ended::Ended;
use bytes::Bytes;
use smallvec::SmallVec;
use tokio::sync::oneshot;

use crate::access::DenialReason;
use crate::command::{CommandId, GIVEN_BY_RULE, Local};
use crate::net::SocketName;
use crate::resp::{Request, RespVersion, encode};
use crate::shared::labels::{CloseReason, ErrorKind, RequestClass};
use crate::shared::mailbox::{Asker, ControlRequest};
use crate::shared::topology::UpstreamKind;
use crate::worker::client::session::Session;
use crate::worker::client::{Gate, Phase};
use crate::worker::decide::local::{self, Answer, Surroundings};
use crate::worker::decide::pose::AdvertisedAddress;
use crate::worker::denials::denial;
use crate::worker::effects::Effect;
use crate::worker::flow::Flow;
use crate::worker::names::{ClientKey, UpstreamKey};
use crate::worker::pending::{Hook, Origin, Outgoing, Pending, Route};
use crate::worker::send::Payload;
use crate::worker::upstream::Cargo;

impl Sessions<'_> {
    /// Answers a local command.
    pub fn answer(
        &mut self,
        key: ClientKey,
        local: Local,
        command: Option<CommandId>,
        request: &Request<'_>,
    ) -> Flow {
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        if local == Local::Administer && !client.session.administers {
            let name = command.map(|id| self.core.snapshots.commands.get(id).refusal(GIVEN_BY_RULE));
            return self.refuse(key, ErrorKind::NotCarried, name.unwrap_or_default());
        }
        // These change what later replies look like, or end the connection: whatever came before has to be out first.
        let changes = matches!(local, Local::Hello | Local::Select | Local::Reset);
        // What is under way as the client's own user may have to go again, as that user.
        let leaves = local == Local::Auth && client.session.login.is_some();
        if (changes || leaves) && !client.replies.is_empty() {
            return client.wait(Gate::Drain);
        }
        if changes && !self.room_for_change(key) {
            return Flow::Wait;
        }
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let announced = self.core.config.gateway.announce.as_ref();
        let (host, port) = match announced {
            Some(address) => (address.host.clone(), address.port),
            None => shown_address(&client.local, &self.core.gateway.listen),
        };
        let advertised = AdvertisedAddress { host: &host, port, gateway_id: &self.core.gateway.id };
        let facts = self.core.gateway.keyless_facts().load();
        let surroundings = Surroundings {
            snapshots: &self.core.snapshots,
            config: &self.core.config,
            advertised,
            client_id: client.id,
            server_version: facts.version.as_deref().unwrap_or("unknown"),
        };
        let version = client.session.version;
        let mut reply = Vec::new();
        let answer = local::answer(local, &surroundings, &mut client.session, request, &mut reply);
        match answer {
            Answer::Done => self.reply(key, &reply),
            Answer::Silent => self.clients.end_silently(self.core, key, Ended::answered(RequestClass::Local)),
            Answer::Close => {
                self.reply(key, &reply);
                if let Some(client) = self.clients.all.get_mut(key) {
                    client.phase = Phase::Finishing(CloseReason::Client);
                }
            }
            Answer::Reset => {
                self.reset(key);
                self.reply(key, &reply);
            }
            Answer::Denied(user) => {
                if let Some(client) = self.clients.all.get(key) {
                    let told = denial(client, DenialReason::Auth, request.name().to_ascii_lowercase(), &user);
                    self.core.gateway.users.send(told);
                }
                return self.refuse_login(key);
            }
            Answer::Ask => self.ask_control(key, local, request),
            Answer::Forward(slot) => {
                let route = match self.core.snapshots.keyless().kind {
                    UpstreamKind::Single => Route::AnyNode,
                    UpstreamKind::Cluster => Route::Slot(slot),
                };
                let class = self.core.class_of(command);
                let outgoing = Outgoing { route, readonly: true, class, hook: Hook::None };
                return self.sender().forward(key, request, None, outgoing, None);
            }
            Answer::Select(database) => return self.select(key, database),
        }
        if let Some(client) = self.clients.all.get_mut(key)
            && client.session.version != version
        {
            client.copies.change_version(client.replies.next_sequence().wrapping_sub(1));
            self.adapt_own_connections(key);
        }
        Flow::Next
    }

    /// Tells a client that its log-in failed: at once, or after a pause if too many from its address did.
    fn refuse_login(&mut self, key: ClientKey) -> Flow {
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let pause = self.clients.logins.failed(&client.peer.host(), self.core.now_ns);
        if pause.is_zero() || client.session.transaction.replying().is_some() {
            return self.refuse(key, ErrorKind::ClientAuth, local::WRONGPASS);
        }
        client.exclusive = true;
        let suppressed = client.take_suppressed();
        let sequence = client.replies.push_waiting(suppressed);
        self.core.effects.push(Effect::RefuseLogin { key, sequence, pause });
        Flow::Next
    }

    /// Asks Redis whether the database exists. The question goes over the connection of the present database, which is
    /// set back in the same stretch of the pipeline.
    fn select(&mut self, key: ClientKey, database: u32) -> Flow {
        let node = self.sender().node_for(key, Route::AnyNode).ok();
        let Some(exit) = self.sender().exit_or_wait(key, Route::AnyNode, node) else { return Flow::Wait };
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        client.session.selecting = Some(database);
        client.connection_number =
            self.upstreams.pools.number_to_several(Cargo::Read, client.connection_number);
        client.exclusive = true;
        let suppressed = client.take_suppressed();
        let present = client.session.database.to_string();
        let sequence = client.replies.push_waiting(suppressed);
        let pending = Pending::select(Origin::client(key, sequence), self.core.now_ns);
        let mut bytes = Vec::new();
        encode::command(&mut bytes, &[b"SELECT", database.to_string().as_bytes()]);
        encode::command(&mut bytes, &[b"SELECT", present.as_bytes()]);
        self.sender().send_out(exit, pending, Payload::Borrowed(&bytes));
        Flow::Next
    }

    /// Whether the connections of a client's own take another word about its version or database; if not, its request is
    /// looked at again when they do.
    fn room_for_change(&mut self, key: ClientKey) -> bool {
        self.own_connections(key).into_iter().all(|connection| {
            self.upstreams.connections.get(connection).is_none()
                || self.sender().room_or_wait(key, connection).is_some()
        })
    }

    fn own_connections(&self, key: ClientKey) -> SmallVec<[UpstreamKey; 2]> {
        let Some(session) = self.clients.all.get(key).map(|client| &client.session) else {
            return SmallVec::new();
        };
        let tracking = session.tracking.iter().flat_map(|tracking| &tracking.connections);
        let watch = session.watch.connection();
        tracking.map(|tracked| tracked.connection).chain(watch).collect()
    }

    /// The client has chosen another version or database. Its own connections follow, since Redis forgets what is watched or
    /// tracked on one that is closed; what is sent on them from now on stands behind the change.
    pub fn adapt_own_connections(&mut self, key: ClientKey) {
        let Some(client) = self.clients.all.get(key) else { return };
        let Session { version, database, .. } = client.session;
        for connection in self.own_connections(key) {
            let Some(upstream) = self.upstreams.connections.get_mut(connection) else { continue };
            let number = if version == RespVersion::Resp2 { b"2" } else { b"3" };
            let new_version = std::mem::replace(&mut upstream.version, version) != version;
            let new_database = std::mem::replace(&mut upstream.database, database) != database;
            if new_version {
                self.upstreams.send_unheard(self.core, connection, &[b"HELLO", number]);
            }
            if new_database {
                self.upstreams.send_unheard(
                    self.core,
                    connection,
                    &[b"SELECT", database.to_string().as_bytes()],
                );
            }
        }
    }

    /// `RESET`: everything that the connection was told is forgotten.
    fn reset(&mut self, key: ClientKey) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let old = std::mem::replace(&mut client.session, Session::new(self.core.snapshots.users.anybody()));
        client.session.limits_changed = true;
        if let Certified::User(user) = certified(self.core, &client.stream) {
            client.session.become_user(&user);
        }
        self.release_session(old);
    }

    fn ask_control(&mut self, key: ClientKey, command: Local, request: &Request<'_>) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let suppressed = client.take_suppressed();
        let (reply, answer) = oneshot::channel();
        let question = ControlRequest {
            command,
            arguments: request.args().map(Bytes::copy_from_slice).collect(),
            version: client.session.version,
            asker: Asker {
                client_id: client.id,
                address: client.peer.to_string(),
                user: String::from_utf8_lossy(&client.session.user).into_owned(),
                administers: client.session.administers,
                database: client.session.database,
            },
            reply,
        };
        if self.core.gateway.control.try_send(question).is_err() {
            let text = "ERR hotgate: too many questions wait for the control thread; try again";
            self.refuse(key, ErrorKind::Overload, text);
            return;
        }
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let sequence = client.replies.push_waiting(suppressed);
        self.core.effects.push(Effect::AwaitControl { key, sequence, answer });
    }
}

/// Where a client is told that every node is: at what it has dialled, or at the first port if that was a Unix socket, which no `CLUSTER`
/// command can name.
fn shown_address(dialled: &SocketName, listen: &[SocketAddr]) -> (String, u16) {
    match (dialled, listen.first()) {
        (SocketName::Unix(_), Some(first)) => (first.ip().to_string(), first.port()),
        _ => (dialled.host(), dialled.port()),
    }
}
