//! `EXEC` of a transaction in which the gateway has a part.
//!
//! Redis runs what concerns its data, in one stretch. What concerns the connection, the gateway or all nodes of a cluster
//! (`CLIENT SETNAME`, `INFO`, `SUBSCRIBE`, `FLUSHALL` in a cluster) is done here once Redis has run its part, in the order in
//! which it was queued, as if it had come alone. `SELECT` and `HELLO` are both: Redis changes the connection, which
//! therefore is one of the client's own, and the client follows.
//!
//! The reply leaves piece by piece: the head of the array, then Redis's elements and what the others get, in order. Messages
//! that come meanwhile wait until it is whole.
//!
//! Invariant: nothing is done here unless Redis has run its part: an `EXEC` that fails changes nothing.
//! Deliberately absent: what is done here does not happen at the same moment as what Redis runs.

use super::Sessions;
use crate::worker::effects::Effect;
use crate::worker::ended::Ended;
use std::collections::VecDeque;

use bytes::Bytes;

use super::transaction::EXEC;
use crate::limits::LARGE_REPLY_BYTES;
use crate::resp::{self, Request, RespVersion, encode};
use crate::route::ClusterId;
use crate::worker::client::Gate;
use crate::worker::client::invalidations::FLUSH;
use crate::worker::client::session::Replies;
use crate::worker::client::transaction::{Due, ExecReply, Step, Transaction, TransactionState, Watch};
use crate::worker::decide::{Part, local};
use crate::worker::names::{ClientKey, ReplySlot, UpstreamKey};
use crate::worker::pending::{Hook, Pending};
use crate::worker::reply::ReplyBytes;
use crate::worker::upstream::Role;

/// What is next of the reply of an `EXEC`.
#[derive(Debug)]
pub enum NextPiece {
    /// Nothing: it is whole, or there is none.
    Over,
    /// Something that has to wait.
    Wait,
    /// A request that the gateway does now.
    Run(Bytes),
}

impl Sessions<'_> {
    /// How a command is remembered that a transaction queues.
    pub fn step_of(&self, version: RespVersion, part: Part, request: &Request<'_>) -> Step {
        let kept = || Bytes::copy_from_slice(request.bytes());
        match part {
            Part::Redis => Step::Redis(1),
            Part::Here => Step::Here(kept()),
            Part::Select => match request.arg(1).and_then(resp::parse_integer).map(u32::try_from) {
                Some(Ok(database)) => Step::Select(database),
                // Redis says what is wrong with it.
                _ => Step::Redis(1),
            },
            Part::Hello => match local::version_chosen(&self.core.snapshots.users, version, request) {
                Some(chosen) if chosen != version => Step::Hello(chosen, kept()),
                _ => Step::Here(kept()),
            },
        }
    }

    /// Redis has answered the `EXEC` of a transaction: its reply goes to the client, or is the beginning of what does.
    pub fn settle_exec(
        &mut self,
        slot: ReplySlot,
        connection: UpstreamKey,
        pending: &Pending,
        reply: ReplyBytes<'_>,
    ) {
        let node = self.upstreams.connections.get(connection).map(|upstream| upstream.node);
        let (key, ended) = (slot.client, Ended::forwarded(pending, node));
        let Some(client) = self.clients.all.get_mut(key) else {
            // A watched connection has been taken back when the client went; nobody knows what this one is like.
            if let (Hook::OwnTransaction, Some(upstream)) =
                (pending.hook, self.upstreams.connections.get_mut(connection))
            {
                upstream.close();
            }
            self.clients.settle(self.core, slot, ended, reply);
            return;
        };
        if pending.hook == Hook::WatchedTransaction {
            client.session.watch = Watch::Nothing;
            let role = self.upstreams.connections.get(connection).map(|upstream| upstream.role());
            if client.session.tracking.is_some() && role != Some(Role::Tracking(key)) {
                // It watched before it tracked, so what it has read here is not tracked.
                self.clients.on_invalidation(self.core, key, FLUSH);
            }
        }
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let swaps = std::mem::take(&mut client.session.swaps);
        let executing = client.session.transaction.take_executing();
        let ran = matches!(reply.as_slice().first(), Some(b'*'));
        if ran && swaps {
            self.core.effects.push(Effect::DatabasesSwapped);
        }
        let Some(transaction) = executing.filter(|_| ran && !reply.as_slice().starts_with(b"*-1")) else {
            self.end_exec_connection(connection, pending, None);
            return self.clients.settle(self.core, slot, ended, reply);
        };
        let reply = reply.into_bytes();
        let elements: Vec<Bytes> =
            resp::elements(&reply).into_iter().flatten().map(|element| reply.slice_ref(element)).collect();
        let suppressed = transaction.suppressed;
        let mut head = Vec::new();
        encode::array(&mut head, transaction.queued);
        let version = transaction.version;
        let due = transaction.due(elements);
        let selected = due.iter().rev().find_map(|due| match due {
            Due::Select(database, reply) if reply.starts_with(b"+") => Some(*database),
            _ => None,
        });
        self.end_exec_connection(connection, pending, Some((version, selected)));
        self.clients.settle(self.core, slot, ended, ReplyBytes::Owned(head.into()));
        self.begin_exec_reply(key, due, suppressed);
    }

    /// A connection of the client's own goes back as the transaction has left it: in another version or database, if it ran.
    fn end_exec_connection(
        &mut self,
        connection: UpstreamKey,
        pending: &Pending,
        changed: Option<(RespVersion, Option<u32>)>,
    ) {
        if pending.hook == Hook::Transaction {
            return;
        }
        if let (Some(upstream), Some((version, database))) =
            (self.upstreams.connections.get_mut(connection), changed)
        {
            upstream.version = version;
            upstream.database = database.unwrap_or(upstream.database);
        }
        self.upstreams.release_connection(self.core, connection);
    }

    /// Nothing in the transaction is Redis's, so all of it is done here.
    pub fn exec_here(&mut self, key: ClientKey, transaction: Transaction) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let suppressed = transaction.suppressed;
        self.core.count_call(client.replies.at_hand());
        let mut head = Vec::new();
        encode::array(&mut head, transaction.queued);
        let is_unwanted = suppressed || client.session.replies == Replies::Off;
        self.clients.add(key, ReplyBytes::Borrowed(&head), is_unwanted);
        let due = transaction.due(Vec::new());
        self.begin_exec_reply(key, due, suppressed);
    }

    fn begin_exec_reply(&mut self, key: ClientKey, due: VecDeque<Due>, suppressed: bool) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let reply = ExecReply { due, suppressed, held: Vec::new() };
        client.session.transaction = TransactionState::Replying(Box::new(reply));
        client.session.refresh_plain();
        client.paused = true;
        client.wake();
        self.clients.mark_dirty(key);
    }

    /// The `EXEC` was redirected, and nothing of the transaction has run: it comes again after a moment.
    pub fn exec_again(&mut self, (key, cluster): (ClientKey, ClusterId), pending: &Pending, reply: &[u8]) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let executing = client.session.transaction.take_executing();
        let mut pending = *pending;
        // The bytes that come again are those of its `EXEC`, not those that were sent.
        pending.prefix_len = 0;
        if self.dispatch_again((key, cluster), &pending, Bytes::from_static(EXEC), reply)
            && let Some(client) = self.clients.all.get_mut(key)
        {
            client.session.transaction =
                executing.map_or(TransactionState::Closed, TransactionState::Queuing);
            client.session.refresh_plain();
        }
    }
}

impl Sessions<'_> {
    /// Goes on with the reply of an `EXEC`, up to what has to be done by the gateway first.
    pub fn next_piece(&mut self, key: ClientKey) -> NextPiece {
        loop {
            let Some(client) = self.clients.all.get_mut(key) else { return NextPiece::Over };
            if client.session.transaction.replying().is_none() {
                return NextPiece::Over;
            }
            if !client.may_go_on(&self.core.config.limits) {
                // What the piece waited for may come while this holds it up, so it is looked at anew when this is over.
                client.gate = Gate::Open;
                return NextPiece::Wait;
            }
            let due = client.session.transaction.replying_mut().and_then(|reply| reply.due.pop_front());
            match due {
                None if !client.replies.is_empty() => {
                    client.wait(Gate::Drain);
                    return NextPiece::Wait;
                }
                None => {
                    if let TransactionState::Replying(reply) = std::mem::take(&mut client.session.transaction)
                    {
                        client.output.tail().extend_from_slice(&reply.held);
                    }
                    client.session.refresh_plain();
                    self.clients.mark_dirty(key);
                }
                Some(Due::Reply(reply)) => self.pass_element(key, reply),
                Some(Due::Select(database, reply)) => {
                    if reply.starts_with(b"+") {
                        client.session.database = database;
                        self.adapt_own_connections(key);
                    }
                    self.pass_element(key, reply);
                }
                Some(Due::Run(request)) => return NextPiece::Run(request),
            }
        }
    }

    /// A piece could not be done yet: it comes again.
    pub fn put_back_piece(&mut self, key: ClientKey, request: Bytes) {
        if let Some(client) = self.clients.all.get_mut(key)
            && let Some(reply) = client.session.transaction.replying_mut()
        {
            reply.due.push_front(Due::Run(request));
        }
    }

    fn pass_element(&mut self, key: ClientKey, element: Bytes) {
        let element = match element.len() {
            0..LARGE_REPLY_BYTES => ReplyBytes::Borrowed(&element),
            _ => ReplyBytes::Owned(element),
        };
        self.clients.add_reply(key, element);
    }
}
