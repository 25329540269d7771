//! `MULTI EXEC DISCARD WATCH UNWATCH`.
//!
//! Commands of a transaction are queued at the gateway and go out at `EXEC` in one stretch, `MULTI ... EXEC`, so that an open
//! transaction costs no upstream connection, and one that was redirected goes again as a whole (Redis runs nothing of it).
//! What of it is not Redis's to do is in [`super::exec`].
//! `WATCH` is state of a connection at Redis: it takes one of the session's own, on the node of its keys, and the `EXEC` that
//! follows goes there.

use super::Sessions;
use crate::worker::ended::Ended;
use crate::worker::reply::ReplyBytes;
use bytes::Bytes;

use crate::command::{CommandId, Session};
use crate::limits::{TRANSACTION_BYTES_MAX, TRANSACTION_COMMANDS_MAX};
use crate::resp::{Request, encode};
use crate::route::{ClusterId, SlotAt};
use crate::shared::labels::{ErrorKind, RequestClass};
use crate::worker::client::Gate;
use crate::worker::client::session::Replies;
use crate::worker::client::transaction::{Step, Transaction, TransactionState, Watch};
use crate::worker::decide::{CROSSSLOT, Part};
use crate::worker::errors::UpstreamError;
use crate::worker::flow::Flow;
use crate::worker::names::ClientKey;
use crate::worker::pending::{Hook, Origin, Outgoing, Pending, Route};
use crate::worker::selection::{LoginNumber, Selection};
use crate::worker::send::{Exit, Payload, is_swap};
use crate::worker::upstream::Cargo;

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
pub(in crate::worker) const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";
const EXECABORT: &str = "EXECABORT Transaction discarded because of previous errors.";

impl Sessions<'_> {
    /// `MULTI`, `EXEC`, `DISCARD`, `WATCH` or `UNWATCH`.
    pub fn run_transaction_command(
        &mut self,
        key: ClientKey,
        session: Session,
        command: Option<CommandId>,
        slot: Option<SlotAt>,
        request: &Request<'_>,
    ) -> Flow {
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let open = client.session.transaction.queuing().is_some();
        match (session, open) {
            (Session::Multi, true) => {
                self.refuse(key, ErrorKind::ClientRequest, "ERR MULTI calls can not be nested")
            }
            (Session::Watch, true) => {
                self.refuse(key, ErrorKind::ClientRequest, "ERR WATCH inside MULTI is not allowed")
            }
            (Session::Exec, false) => self.refuse(key, ErrorKind::ClientRequest, "ERR EXEC without MULTI"),
            (Session::Discard, false) => {
                self.refuse(key, ErrorKind::ClientRequest, "ERR DISCARD without MULTI")
            }
            (Session::Multi, false) => {
                client.session.transaction = TransactionState::Queuing(Box::new(Transaction {
                    slot: client.session.watch.slot(),
                    readonly: true,
                    database: client.session.database,
                    version: client.session.version,
                    ..Default::default()
                }));
                client.session.refresh_plain();
                self.reply_in_transaction(key, b"+OK\r\n");
                Flow::Next
            }
            (Session::Exec, true) => self.exec(key),
            (Session::Discard, true) => {
                self.drop_transaction(key);
                self.reply_in_transaction(key, b"+OK\r\n");
                Flow::Next
            }
            (Session::Unwatch, _) => {
                if !client.replies.is_empty() {
                    return client.wait(Gate::Drain);
                }
                self.end_watch(key);
                self.reply_in_transaction(key, b"+OK\r\n");
                Flow::Next
            }
            _ => self.watch(key, command, slot, request),
        }
    }

    /// Queues a command of an open transaction.
    pub fn queue_command(
        &mut self,
        key: ClientKey,
        request: &Request<'_>,
        (slot, keyless): (Option<SlotAt>, Option<ClusterId>),
        readonly: bool,
        part: Part,
    ) -> Flow {
        if part == Part::Redis {
            self.note_script_command(request);
        }
        let open = self.clients.all.get(key).and_then(|client| client.session.transaction.queuing());
        let Some(version) = open.map(|transaction| transaction.version) else { return Flow::Next };
        let step = self.step_of(version, part, request);
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let Some(transaction) = client.session.transaction.queuing_mut() else { return Flow::Next };
        let bytes = transaction.commands.len() + transaction.here_bytes + request.bytes().len();
        if transaction.queued >= TRANSACTION_COMMANDS_MAX || bytes > TRANSACTION_BYTES_MAX {
            transaction.poisoned = true;
            let text = format!(
                "ERR hotgate: a transaction may have {TRANSACTION_COMMANDS_MAX} commands of {TRANSACTION_BYTES_MAX} bytes together; split it"
            );
            return self.refuse(key, ErrorKind::Overload, &text);
        }
        if matches!(step, Step::Redis(_) | Step::Select(_)) {
            transaction.runs.push(client.replies.at_hand());
        }
        transaction.queue(step, request.bytes());
        transaction.slot = transaction.slot.or(slot);
        transaction.keyless = transaction.keyless.or(keyless);
        transaction.readonly &= readonly;
        transaction.scripts |= runs_script(request.name());
        transaction.swaps |= is_swap(request.name());
        self.clients.add_reply(key, ReplyBytes::Borrowed(b"+QUEUED\r\n"));
        Flow::Next
    }

    fn exec(&mut self, key: ClientKey) -> Flow {
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let has_part = client.session.transaction.queuing().is_some_and(Transaction::has_part);
        let watched = client.session.watch.is_on();
        let swaps = client.session.transaction.queuing().is_some_and(|transaction| transaction.swaps);
        if (watched || has_part || swaps) && !client.replies.is_empty() {
            return client.wait(Gate::Drain);
        }
        let suspects = |slot: SlotAt| self.upstreams.suspects.suspects(Route::Slot(slot), self.core.now_ns);
        let as_user = client.session.transaction.queuing().is_some_and(|transaction| transaction.as_user);
        let cargo = client.session.transaction.queuing().map(|transaction| match transaction.scripts {
            _ if as_user => Cargo::AsUser,
            _ if transaction.readonly && transaction.slot.is_some_and(suspects) => Cargo::Suspect,
            true => Cargo::Script,
            false => Cargo::reading(transaction.readonly),
        });
        if !watched && !self.sender().choose_connection_to_several(key, cargo.unwrap_or(Cargo::Other)) {
            return self.clients.wait_for_all(key);
        }
        if as_user && let Some((kind, text)) = self.why_not_as_user(key) {
            self.drop_transaction(key);
            return self.refuse(key, kind, &text);
        }
        // Room is asked for while nothing has been changed yet.
        let way = match self.exit_of_transaction(key) {
            Ok(way) => way,
            Err(flow) => return flow,
        };
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        let Some(mut transaction) = client.session.transaction.take_queuing() else { return Flow::Next };
        client.session.watched = Default::default();
        client.session.refresh_plain();
        if transaction.poisoned {
            self.end_watch(key);
            return self.refuse(key, ErrorKind::ClientRequest, EXECABORT);
        }
        if let Watch::Lost { .. } = client.session.watch {
            let mut reply = Vec::new();
            encode::null_array(&mut reply, client.session.version);
            self.end_watch(key);
            return self.end_exec(key, &reply);
        }
        let Some((exit, hook)) = way else {
            self.end_watch(key);
            if has_part {
                self.exec_here(key, *transaction);
                return Flow::Next;
            }
            return self.end_exec(key, b"*0\r\n");
        };
        client.exclusive |= has_part || swaps || hook != Hook::Transaction;
        client.session.swaps = swaps;
        let suppressed = client.take_suppressed();
        transaction.suppressed = suppressed && client.session.replies == Replies::On;
        client.replies.begin_transaction(transaction.runs.clone());
        let sequence = client.replies.push_transaction(suppressed);
        let (route, readonly) = match hook {
            Hook::Transaction => {
                (transaction.route(self.core.snapshots.routes.keyless()), transaction.readonly)
            }
            _ => (Route::Connection, false),
        };
        let outgoing = Outgoing { route, readonly, class: RequestClass::Transaction, hook };
        let commands = transaction.count as u32;
        let pending =
            Pending::transaction(Origin::client(key, sequence), outgoing, commands, self.core.now_ns);
        let bytes = Bytes::from([MULTI, &transaction.commands, EXEC].concat());
        self.sender().send_out(exit, pending, Payload::Owned(&bytes));
        if let (true, Some(client)) = (has_part, self.clients.all.get_mut(key)) {
            client.session.transaction = TransactionState::Executing(transaction);
        }
        Flow::Next
    }

    /// Why the open transaction can't run as its client's own user now, if it can't.
    fn why_not_as_user(&mut self, key: ClientKey) -> Option<(ErrorKind, String)> {
        let transaction = self.clients.all.get(key)?.session.transaction.queuing()?;
        if transaction.poisoned {
            return None;
        }
        let route = transaction.route(self.core.snapshots.routes.keyless());
        let node = self.sender().node_for(key, route).ok();
        self.sender().why_not_as_user(key, node)
    }

    /// What a client that is itself at Redis logs in with there.
    fn login_of(&mut self, key: ClientKey) -> LoginNumber {
        let login = self.clients.all.get_mut(key).and_then(|client| client.session.login.as_mut());
        login.map_or(0, |login| self.upstreams.logins.number_of(login))
    }

    /// Answers an `EXEC` with which Redis has nothing to do.
    fn end_exec(&mut self, key: ClientKey, reply: &[u8]) -> Flow {
        let ended = Ended::answered(RequestClass::Transaction);
        self.clients.answer(self.core, key, ended, ReplyBytes::Borrowed(reply));
        Flow::Next
    }

    /// Where the open transaction goes, and what its reply changes. `None` when Redis has no part in it. `Err` when it has to
    /// wait for room, or has been refused.
    fn exit_of_transaction(&mut self, key: ClientKey) -> Result<Option<(Exit, Hook)>, Flow> {
        let Some(client) = self.clients.all.get(key) else { return Err(Flow::Next) };
        let Some(transaction) = client.session.transaction.queuing() else { return Err(Flow::Next) };
        let watch = client.session.watch.connection();
        // Only Redis knows whether a watched key has changed, so it is asked even when there is nothing to run.
        let is_empty = transaction.count == 0 && watch.is_none();
        let is_lost = matches!(client.session.watch, Watch::Lost { .. });
        if transaction.poisoned || is_lost || is_empty {
            return Ok(None);
        }
        if let Some(connection) = watch {
            let room = self.sender().room_or_wait(key, connection).ok_or(Flow::Wait)?;
            return Ok(Some((Exit::Now(room), Hook::WatchedTransaction)));
        }
        let selection = client.session.selection();
        let (changes, as_user) = (transaction.changes_connection(), transaction.as_user);
        let route = transaction.route(self.core.snapshots.routes.keyless());
        let node = self.sender().node_for(key, route);
        if !changes {
            let exit = self.sender().exit_or_wait(key, route, node.ok()).ok_or(Flow::Wait)?;
            return Ok(Some((exit, Hook::Transaction)));
        }
        // One that selects a database or a version of the protocol has a connection of its own.
        let login = if as_user { self.login_of(key) } else { 0 };
        let selection = Selection { login, ..selection };
        let room = node.and_then(|node| {
            let room = self.connection_for_session(key, node, selection);
            room.ok_or(UpstreamError::Full("the table of session connections"))
        });
        match room {
            Ok(room) => Ok(Some((Exit::Now(room), Hook::OwnTransaction))),
            Err(error) => {
                self.drop_transaction(key);
                Err(self.refuse(key, ErrorKind::UpstreamUnavailable, error.to_string()))
            }
        }
    }

    /// `WATCH`: everything before it has to be answered first, and it before anything after it, since it travels on
    /// another connection.
    fn watch(
        &mut self,
        key: ClientKey,
        command: Option<CommandId>,
        slot: Option<SlotAt>,
        request: &Request<'_>,
    ) -> Flow {
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        if !client.replies.is_empty() {
            return client.wait(Gate::Drain);
        }
        if let Watch::Lost { .. } = client.session.watch {
            // The next `EXEC` fails already, whatever is watched beside, as in Redis.
            self.reply_in_transaction(key, b"+OK\r\n");
            return Flow::Next;
        }
        let selection = client.session.selection();
        let watch = client.session.watch;
        let same_slot = watch.slot().is_none_or(|watched| Some(watched) == slot);
        let keyless = Route::Messages(self.core.snapshots.routes.keyless());
        let route = slot.map_or(keyless, Route::Slot);
        let node = match self.sender().node_for(key, route) {
            Ok(node) => node,
            Err(UpstreamError::Unassigned(_) | UpstreamError::NoReplica(_)) => {
                let class = self.core.class_of(command);
                let outgoing = Outgoing { route, readonly: true, class, hook: Hook::None };
                return self.sender().forward(key, request, None, outgoing, None);
            }
            Err(error) => return self.refuse(key, ErrorKind::UpstreamUnavailable, error.to_string()),
        };
        let connection = match watch {
            Watch::Keys { node: watched, connection, .. } if watched == node && same_slot => {
                match self.sender().room_or_wait(key, connection) {
                    Some(room) => Some(room),
                    None => return Flow::Wait,
                }
            }
            Watch::Keys { node: watched, .. } if !self.core.snapshots.holds_all_keys_of(watched, node) => {
                return self.refuse(key, ErrorKind::ClientRequest, CROSSSLOT);
            }
            _ => self.connection_for_session(key, node, selection),
        };
        let Some(room) = connection else {
            let error = UpstreamError::Full("the table of session connections").to_string();
            return self.refuse(key, ErrorKind::Overload, &error);
        };
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        client.session.watch = Watch::Keys { node, connection: room.connection(), slot };
        client.exclusive = true;
        let suppressed = client.take_suppressed();
        let sequence = client.replies.push_waiting(suppressed);
        let origin = Origin::client(key, sequence);
        let pending = Pending::on_connection(origin, RequestClass::Transaction, self.core.now_ns);
        self.upstreams.send(room, pending, &[request.bytes()]);
        Flow::Next
    }

    /// Forgets what is queued and what is watched.
    pub fn drop_transaction(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.all.get_mut(key) {
            client.session.transaction.take_queuing();
        }
        self.end_watch(key);
    }

    /// Nothing is watched any more; the connection goes back clean.
    pub fn end_watch(&mut self, key: ClientKey) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        client.session.watched = Default::default();
        let watch = std::mem::take(&mut client.session.watch);
        client.session.refresh_plain();
        if let Some(connection) = watch.connection() {
            self.upstreams.unwatch(self.core, connection);
        }
    }
}

/// Whether a command of this name runs a script, which may not end by itself.
fn runs_script(name: &[u8]) -> bool {
    let starts = |with: &[u8]| name.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    starts(b"eval") || starts(b"fcall")
}
