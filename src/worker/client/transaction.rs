//! `MULTI EXEC DISCARD WATCH UNWATCH`.
//!
//! Commands of a transaction are queued at the gateway and go out at `EXEC` in one stretch, `MULTI ... EXEC`, so that an open
//! transaction costs no upstream connection, and one that was redirected goes again as a whole (Redis runs nothing of it).
//! What of it is not Redis's to do is in [`super::exec`].
//! `WATCH` is state of a connection at Redis: it takes one of the session's own, on the node of its keys, and the `EXEC` that
//! follows goes there.

use super::dispatch::{Flow, Outgoing};
use super::session::{Replies, Transaction};
use super::tracking::caching_prefix;
use super::{ClientKey, Gate};
use crate::command::{CommandId, Session};
use crate::limits::{TRANSACTION_BYTES_MAX, TRANSACTION_COMMANDS_MAX};
use crate::resp::{Request, encode};
use crate::shared::labels::{ErrorKind, RequestClass};
use crate::shared::topology::UpstreamKind;
use crate::worker::decide::{CROSSSLOT, Part};
use crate::worker::state::State;
use crate::worker::upstream::errors::UpstreamError;
use crate::worker::upstream::{Cargo, Hook, Origin, Pending, Route, UpstreamKey};

const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
pub(super) const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";
const EXECABORT: &str = "EXECABORT Transaction discarded because of previous errors.";

impl State {
    /// `MULTI`, `EXEC`, `DISCARD`, `WATCH` or `UNWATCH`.
    pub(super) fn run_transaction_command(
        &mut self,
        key: ClientKey,
        session: Session,
        command: Option<CommandId>,
        slot: Option<u16>,
        request: &Request<'_>,
    ) -> Flow {
        let Some(client) = self.clients.get_mut(key) else { return Flow::Next };
        let open = client.session.transaction.is_some();
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
                client.session.transaction = Some(Box::new(Transaction {
                    slot: client.session.watch_slot,
                    readonly: true,
                    database: client.session.database,
                    version: client.session.version,
                    ..Default::default()
                }));
                client.session.refresh_plain();
                self.reply(key, b"+OK\r\n");
                Flow::Next
            }
            (Session::Exec, true) => self.exec(key),
            (Session::Discard, true) => {
                self.drop_transaction(key);
                self.reply(key, b"+OK\r\n");
                Flow::Next
            }
            (Session::Unwatch, _) => {
                if !client.replies.is_empty() {
                    return client.wait(Gate::Drain);
                }
                self.end_watch(key);
                self.reply(key, b"+OK\r\n");
                Flow::Next
            }
            _ => self.watch(key, command, slot, request),
        }
    }

    /// Queues a command of an open transaction.
    pub(super) fn queue_command(
        &mut self,
        key: ClientKey,
        request: &Request<'_>,
        slot: Option<u16>,
        readonly: bool,
        part: Part,
    ) -> Flow {
        if part == Part::Redis {
            self.note_script_command(request);
        }
        let open = self.clients.get(key).and_then(|client| client.session.transaction.as_deref());
        let Some(version) = open.map(|transaction| transaction.version) else { return Flow::Next };
        let step = self.step_of(version, part, request);
        let Some(client) = self.clients.get_mut(key) else { return Flow::Next };
        let Some(transaction) = &mut client.session.transaction else { return Flow::Next };
        let bytes = transaction.commands.len() + transaction.here_bytes + request.bytes().len();
        if transaction.queued >= TRANSACTION_COMMANDS_MAX || bytes > TRANSACTION_BYTES_MAX {
            transaction.poisoned = true;
            let text = format!(
                "ERR hotgate: a transaction may have {TRANSACTION_COMMANDS_MAX} commands of {TRANSACTION_BYTES_MAX} bytes together; split it"
            );
            return self.refuse(key, ErrorKind::Overload, &text);
        }
        transaction.queue(step, request.bytes());
        transaction.slot = transaction.slot.or(slot);
        transaction.readonly &= readonly;
        transaction.scripts |= runs_script(request.name());
        self.reply(key, b"+QUEUED\r\n");
        Flow::Next
    }

    fn exec(&mut self, key: ClientKey) -> Flow {
        let Some(client) = self.clients.get_mut(key) else { return Flow::Next };
        let has_part = client.session.transaction.as_ref().is_some_and(|open| !open.steps.is_empty());
        let watched = client.session.watch.is_some() || client.session.watch_lost;
        if (watched || has_part) && !client.replies.is_empty() {
            return client.wait(Gate::Drain);
        }
        let cargo = client.session.transaction.as_ref().map(|transaction| match transaction.scripts {
            true => Cargo::Script,
            false => Cargo::reading(transaction.readonly),
        });
        if !watched && !self.take_lane_to_several(key, cargo.unwrap_or(Cargo::Other)) {
            return self.wait_for_all(key);
        }
        let Some(client) = self.clients.get_mut(key) else { return Flow::Next };
        let Some(mut transaction) = client.session.transaction.take() else { return Flow::Next };
        client.session.watched = Default::default();
        client.session.refresh_plain();
        if transaction.poisoned {
            self.end_watch(key);
            return self.refuse(key, ErrorKind::ClientRequest, EXECABORT);
        }
        if std::mem::take(&mut client.session.watch_lost) {
            let mut reply = Vec::new();
            encode::null_array(&mut reply, client.session.version);
            self.end_watch(key);
            self.reply(key, &reply);
            return Flow::Next;
        }
        let watch = client.session.watch.map(|(_, connection)| connection);
        // Only Redis knows whether a watched key has changed, so it is asked even when there is nothing to run.
        if transaction.count == 0 && watch.is_none() {
            self.end_watch(key);
            match has_part {
                true => self.exec_here(key, *transaction),
                false => self.reply(key, b"*0\r\n"),
            }
            return Flow::Next;
        }
        let own = match watch {
            Some(connection) => Some((connection, Hook::WatchedTransaction)),
            None if transaction.changes_connection() => match self.connection_to_change(key, &transaction) {
                Ok(connection) => Some((connection, Hook::OwnTransaction)),
                Err(error) => return self.refuse(key, ErrorKind::UpstreamUnavailable, error.to_string()),
            },
            None => None,
        };
        let Some(client) = self.clients.get_mut(key) else { return Flow::Next };
        client.exclusive |= has_part || own.is_some();
        let muted = client.take_muted();
        transaction.skipped = muted && client.session.replies == Replies::On;
        let sequence = client.replies.push_waiting(muted);
        match own {
            Some((connection, hook)) => {
                self.send_on_connection(key, sequence, connection, hook, &transaction)
            }
            None => self.send_transaction(key, sequence, &transaction),
        }
        if let (true, Some(client)) = (has_part, self.clients.get_mut(key)) {
            client.session.executing = Some(transaction);
        }
        Flow::Next
    }

    /// A connection of the client's own for a transaction that selects a database or a version of the protocol.
    fn connection_to_change(
        &mut self,
        key: ClientKey,
        transaction: &Transaction,
    ) -> Result<UpstreamKey, UpstreamError> {
        let Some(client) = self.clients.get(key) else { return Err(UpstreamError::NoneKnown(None)) };
        let (version, database) = (client.session.version, client.session.database);
        let routed = Pending {
            route: transaction.slot.map_or(Route::Messages, Route::Slot),
            ..Pending::new(Origin::Client { key, sequence: 0, part: 0 })
        };
        let node = self.node_of(&routed)?;
        let connection = self.connection_for_session(key, node, version, database);
        connection.ok_or(UpstreamError::Full("the table of session connections"))
    }

    fn send_on_connection(
        &mut self,
        key: ClientKey,
        sequence: u32,
        connection: UpstreamKey,
        hook: Hook,
        transaction: &Transaction,
    ) {
        let leading = transaction.count as u32 + 1;
        let origin = Origin::Client { key, sequence, part: 0 };
        let prefix = caching_prefix(self.caching_of(key));
        let pending = Pending {
            hook,
            leading: leading + u32::from(!prefix.is_empty()),
            leading_total: leading,
            prefix_len: prefix.len() as u32,
            ..Pending::on_connection(origin, RequestClass::Transaction, self.now_ns)
        };
        if let Some(upstream) = self.upstreams.get_mut(connection) {
            upstream.queue(pending, &[prefix, MULTI, &transaction.commands, EXEC]);
        }
    }

    fn send_transaction(&mut self, key: ClientKey, sequence: u32, transaction: &Transaction) {
        let leading = transaction.count as u32 + 1;
        let pending = Pending {
            route: transaction.slot.map_or(Route::Messages, Route::Slot),
            readonly: transaction.readonly,
            hook: Hook::Transaction,
            class: RequestClass::Transaction,
            leading,
            leading_total: leading,
            received_ns: self.now_ns,
            sent_ns: self.now_ns,
            ..Pending::new(Origin::Client { key, sequence, part: 0 })
        };
        let bytes = [MULTI, &transaction.commands, EXEC].concat();
        let node = self.node_of(&pending).ok();
        self.put_on_wire(node, pending, &bytes, None);
    }

    /// `WATCH`: everything before it has to be answered first, and it before anything after it, since it travels on
    /// another connection.
    fn watch(
        &mut self,
        key: ClientKey,
        command: Option<CommandId>,
        slot: Option<u16>,
        request: &Request<'_>,
    ) -> Flow {
        let Some(client) = self.clients.get_mut(key) else { return Flow::Next };
        if !client.replies.is_empty() {
            return client.wait(Gate::Drain);
        }
        let (version, database) = (client.session.version, client.session.database);
        let watch = client.session.watch;
        let same_slot = client.session.watch_slot.is_none_or(|watched| Some(watched) == slot);
        let pending = Pending {
            route: slot.map_or(Route::Messages, Route::Slot),
            ..Pending::new(Origin::Client { key, sequence: 0, part: 0 })
        };
        let node = match self.node_of(&pending) {
            Ok(node) => node,
            Err(UpstreamError::Unassigned(_) | UpstreamError::NoReplica(_)) => {
                let outgoing = Outgoing { route: pending.route, readonly: true, hook: Hook::None };
                return self.forward(key, command, request, None, outgoing, None);
            }
            Err(error) => return self.refuse(key, ErrorKind::UpstreamUnavailable, error.to_string()),
        };
        let connection = match watch {
            Some((watched, connection)) if watched == node && same_slot => Some(connection),
            Some(_) if self.knowledge.topology.kind == UpstreamKind::Cluster => {
                return self.refuse(key, ErrorKind::ClientRequest, CROSSSLOT);
            }
            _ => self.connection_for_session(key, node, version, database),
        };
        let Some(connection) = connection else {
            let error = UpstreamError::Full("the table of session connections").to_string();
            return self.refuse(key, ErrorKind::Overload, &error);
        };
        let Some(client) = self.clients.get_mut(key) else { return Flow::Next };
        client.session.watch = Some((node, connection));
        client.session.watch_slot = slot;
        client.session.watch_lost = false;
        client.exclusive = true;
        let muted = client.take_muted();
        let sequence = client.replies.push_waiting(muted);
        let origin = Origin::Client { key, sequence, part: 0 };
        let pending = Pending::on_connection(origin, RequestClass::Transaction, self.now_ns);
        if let Some(upstream) = self.upstreams.get_mut(connection) {
            upstream.queue(pending, &[request.bytes()]);
        }
        Flow::Next
    }

    /// Forgets what is queued and what is watched.
    pub(super) fn drop_transaction(&mut self, key: ClientKey) {
        if let Some(client) = self.clients.get_mut(key) {
            client.session.transaction = None;
        }
        self.end_watch(key);
    }

    /// Nothing is watched any more; the connection goes back clean.
    pub(super) fn end_watch(&mut self, key: ClientKey) {
        let Some(client) = self.clients.get_mut(key) else { return };
        client.session.watch_lost = false;
        client.session.watch_slot = None;
        client.session.watched = Default::default();
        let watch = client.session.watch.take();
        client.session.refresh_plain();
        if let Some((_, connection)) = watch {
            self.unwatch(connection);
        }
    }
}

/// Whether a command of this name runs a script, which may not end by itself.
fn runs_script(name: &[u8]) -> bool {
    let starts = |with: &[u8]| name.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    starts(b"eval") || starts(b"fcall")
}
