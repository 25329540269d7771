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

use std::collections::VecDeque;

use bytes::Bytes;

use super::invalidations::FLUSH;
use crate::limits::LARGE_REPLY_BYTES;
use crate::resp::{self, Request, RequestScan, RespVersion, encode};
use crate::worker::client::session::{Replies, Session, Transaction};
use crate::worker::client::{Client, Gate, Inbox, settle_client};
use crate::worker::decide::{Part, local};
use crate::worker::dispatch::dispatch;
use crate::worker::flow::Flow;
use crate::worker::owners::Worker;
use crate::worker::upstream::Role;

use super::transaction::EXEC;
use crate::worker::client::touch;
use crate::worker::names::{ClientKey, UpstreamKey};
use crate::worker::pending::{Hook, Pending};
use crate::worker::reply::ReplyBytes;

/// Queued commands, by who does them.
#[derive(Debug)]
pub enum Step {
    /// So many that Redis alone runs.
    Redis(usize),
    /// `SELECT`: Redis runs it, and the client is in this database if Redis agrees.
    Select(u32),
    /// `HELLO` that chooses another version: Redis changes too, but what the client gets is the gateway's.
    Hello(RespVersion, Bytes),
    /// Done here.
    Here(Bytes),
}

/// What is still to be done of an `EXEC` that Redis has answered.
#[derive(Debug, Default)]
pub struct Rest {
    due: VecDeque<Due>,
    /// The reply of `EXEC` is not wanted (`CLIENT REPLY SKIP`).
    pub skipped: bool,
    /// Messages that came meanwhile. Bounded with the client's output.
    held: Vec<u8>,
}

#[derive(Debug)]
enum Due {
    /// An element of Redis's reply.
    Reply(Bytes),
    /// The reply of `SELECT`.
    Select(u32, Bytes),
    /// A request to be done here.
    Run(Bytes),
}

impl Transaction {
    /// Queues a command.
    pub(in crate::worker) fn queue(&mut self, step: Step, request: &[u8]) {
        match &step {
            Step::Redis(_) => self.commands.extend_from_slice(request),
            Step::Select(database) => {
                self.commands.extend_from_slice(request);
                self.database = *database;
            }
            Step::Hello(version, kept) => {
                let number = if *version == RespVersion::Resp2 { b"2" } else { b"3" };
                encode::command(&mut self.commands, &[b"HELLO", number]);
                self.version = *version;
                self.here_bytes += kept.len();
            }
            Step::Here(kept) => self.here_bytes += kept.len(),
        }
        self.count += usize::from(!matches!(step, Step::Here(_)));
        self.note(step);
        self.queued += 1;
    }

    fn note(&mut self, step: Step) {
        let is_redis = matches!(step, Step::Redis(_));
        if self.steps.is_empty() {
            if is_redis {
                return;
            }
            if self.queued > 0 {
                self.steps.push(Step::Redis(self.queued));
            }
        }
        match (self.steps.last_mut(), step) {
            (Some(Step::Redis(count)), Step::Redis(more)) => *count += more,
            (_, step) => self.steps.push(step),
        }
    }

    /// Whether it changes the connection that it runs on.
    pub(in crate::worker) fn changes_connection(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Select(_) | Step::Hello(..)))
    }

    /// Pairs the steps with Redis's replies.
    fn due(self, elements: Vec<Bytes>) -> VecDeque<Due> {
        let mut elements = elements.into_iter();
        // Redis has one for each command; were one missing, the client would wait for it for ever.
        let mut next = || {
            let missing = || Bytes::from_static(b"-ERR hotgate: the server left out a reply of EXEC\r\n");
            elements.next().unwrap_or_else(missing)
        };
        let mut due = VecDeque::with_capacity(self.queued);
        for step in self.steps {
            match step {
                Step::Redis(count) => due.extend((0..count).map(|_| Due::Reply(next()))),
                Step::Select(database) => due.push_back(Due::Select(database, next())),
                Step::Hello(_, request) => {
                    next();
                    due.push_back(Due::Run(request));
                }
                Step::Here(request) => due.push_back(Due::Run(request)),
            }
        }
        due
    }
}

impl Session {
    /// Bytes of messages that wait for the end of a reply of `EXEC`.
    pub fn held_push_bytes(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| rest.held.len())
    }
}

impl Client {
    /// Where a message goes that is no reply: to the output, but never into the middle of a reply of `EXEC`.
    pub fn push_tail(&mut self) -> &mut Vec<u8> {
        match &mut self.session.rest {
            Some(rest) => &mut rest.held,
            None => self.output.tail(),
        }
    }
}

impl Worker {
    /// How a command is remembered that a transaction queues.
    pub(in crate::worker) fn step_of(&self, version: RespVersion, part: Part, request: &Request<'_>) -> Step {
        let kept = || Bytes::copy_from_slice(request.bytes());
        match part {
            Part::Redis => Step::Redis(1),
            Part::Here => Step::Here(kept()),
            Part::Select => match request.arg(1).and_then(resp::parse_integer).map(u32::try_from) {
                Some(Ok(database)) => Step::Select(database),
                // Redis says what is wrong with it.
                _ => Step::Redis(1),
            },
            Part::Hello => match local::version_chosen(&self.core.config, version, request) {
                Some(chosen) if chosen != version => Step::Hello(chosen, kept()),
                _ => Step::Here(kept()),
            },
        }
    }

    /// Redis has answered the `EXEC` of a transaction: its reply goes to the client, or is the beginning of what does.
    pub(in crate::worker) fn settle_exec(
        &mut self,
        key: ClientKey,
        sequence: u32,
        connection: UpstreamKey,
        pending: &Pending,
        reply: ReplyBytes<'_>,
    ) {
        let Some(client) = self.clients.all.get_mut(key) else {
            // A watched connection has been taken back when the client went; nobody knows what this one is like.
            if let (Hook::OwnTransaction, Some(upstream)) =
                (pending.hook, self.upstreams.connections.get_mut(connection))
            {
                upstream.close();
            }
            return;
        };
        if pending.hook == Hook::WatchedTransaction {
            client.session.watch = None;
            client.session.watch_slot = None;
            let role = self.upstreams.connections.get(connection).map(|upstream| upstream.role());
            if client.session.tracking.is_some() && role != Some(Role::Tracking(key)) {
                // It watched before it tracked, so what it has read here is not tracked.
                self.invalidated(key, FLUSH);
            }
        }
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let executing = client.session.executing.take();
        let ran = matches!(reply.as_slice().first(), Some(b'*'));
        let Some(transaction) = executing.filter(|_| ran && !reply.as_slice().starts_with(b"*-1")) else {
            self.end_exec_connection(connection, pending, None);
            return settle_client(self, key, sequence, 0, reply);
        };
        let reply = reply.into_bytes();
        let elements: Vec<Bytes> =
            resp::elements(&reply).into_iter().flatten().map(|element| reply.slice_ref(element)).collect();
        let skipped = transaction.skipped;
        let mut head = Vec::new();
        encode::array(&mut head, transaction.queued);
        let version = transaction.version;
        let due = transaction.due(elements);
        let selected = due.iter().rev().find_map(|due| match due {
            Due::Select(database, reply) if reply.starts_with(b"+") => Some(*database),
            _ => None,
        });
        self.end_exec_connection(connection, pending, Some((version, selected)));
        settle_client(self, key, sequence, 0, ReplyBytes::Owned(head.into()));
        self.begin_rest(key, due, skipped);
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
        self.upstreams.release_connection(&mut self.core, connection);
    }

    /// Nothing in the transaction is Redis's, so all of it is done here.
    pub(in crate::worker) fn exec_here(&mut self, key: ClientKey, transaction: Transaction) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let muted = transaction.skipped || client.session.replies == Replies::Off;
        let mut head = Vec::new();
        encode::array(&mut head, transaction.queued);
        client.replies.answer(ReplyBytes::Borrowed(&head), muted, &mut client.output);
        let skipped = transaction.skipped;
        let due = transaction.due(Vec::new());
        self.begin_rest(key, due, skipped);
    }

    fn begin_rest(&mut self, key: ClientKey, due: VecDeque<Due>, skipped: bool) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        client.session.rest = Some(Box::new(Rest { due, skipped, held: Vec::new() }));
        client.session.refresh_plain();
        client.paused = true;
        client.wake();
        touch(self, key);
    }

    /// The `EXEC` was redirected, and nothing of the transaction has run: it comes again after a moment.
    pub(in crate::worker) fn exec_again(&mut self, key: ClientKey, pending: &Pending, reply: &[u8]) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let executing = client.session.executing.take();
        let pending = Pending { prefix_len: 0, ..*pending };
        if self.dispatch_again(key, &pending, Bytes::from_static(EXEC), reply)
            && let Some(client) = self.clients.all.get_mut(key)
        {
            client.session.transaction = executing;
            client.session.refresh_plain();
        }
    }
}

/// Goes on with what is still to be done of an `EXEC`. `false` when that has to wait.
pub(in crate::worker) fn serve_rest(worker: &mut Worker, key: ClientKey, inbox: &mut Inbox) -> bool {
    loop {
        let Some(client) = worker.clients.all.get_mut(key) else { return true };
        if client.session.rest.is_none() {
            return true;
        }
        if !worker.may_go_on(key) {
            return false;
        }
        let Some(client) = worker.clients.all.get_mut(key) else { return true };
        let due = client.session.rest.as_mut().and_then(|rest| rest.due.pop_front());
        match due {
            None if !client.replies.is_empty() => {
                client.wait(Gate::Drain);
                return false;
            }
            None => {
                let held = client.session.rest.take().map(|rest| rest.held).unwrap_or_default();
                client.session.refresh_plain();
                client.output.tail().extend_from_slice(&held);
                touch(worker, key);
            }
            Some(Due::Reply(reply)) => worker.pass_element(key, reply),
            Some(Due::Select(database, reply)) => {
                if reply.starts_with(b"+") {
                    client.session.database = database;
                    worker.adapt_own_connections(key);
                }
                worker.pass_element(key, reply);
            }
            Some(Due::Run(bytes)) => {
                if let RequestScan::Complete { .. } = inbox.scanner.scan(&bytes) {
                    let request = Request::new(&bytes, inbox.scanner.spans());
                    if dispatch(worker, key, &request, None) == Flow::Wait {
                        if let Some(client) = worker.clients.all.get_mut(key)
                            && let Some(rest) = &mut client.session.rest
                        {
                            rest.due.push_front(Due::Run(bytes));
                        }
                        return false;
                    }
                }
            }
        }
    }
}

impl Worker {
    fn pass_element(&mut self, key: ClientKey, element: Bytes) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let muted = client.take_muted();
        let element = match element.len() {
            0..LARGE_REPLY_BYTES => ReplyBytes::Borrowed(&element),
            _ => ReplyBytes::Owned(element),
        };
        client.replies.answer(element, muted, &mut client.output);
        touch(self, key);
    }
}
