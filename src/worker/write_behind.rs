//! Commands meet keys in write-behind mode: increments and reads of such a key go to its home, and any other command that touches
//! one needs a barrier first.
//!
//! The homes are asked one after the other, in the order of workers. Each flushes what it took before and then holds its keys; while the
//! command is under way nothing that came behind it is answered there. When its reply has left, the homes are told. Why that is right
//! and never stands still, [`super::hot::behind`] says.
//!
//! A command that writes and names no keys needs the barrier of all keys of all homes, and so does a `SORT` whose patterns
//! lead to keys that it does not name. Reads of the whole keyspace (`SCAN`, `KEYS`, `DBSIZE`) need none, and may miss what is
//! pending.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::client::Gate;
use super::client::behind::{Barrier, BarrierKeys};
use super::decide::{Part, Verdict};
use super::flow::Flow;
use super::names::ClientKey;
use super::owners::Worker;
use super::pending::{Hook, Origin, Outgoing, Pending, Route};
use super::reply::ReplyBytes;
use super::resolve::Resolved;
use super::turn::turn;
use crate::combine::{Op, Verb, WriteBehindOp};
use crate::command::{Fan, Session};
use crate::resp::encode;
use crate::route::SlotAt;
use crate::shared::behind::{Asker, BarrierId, BehindRequest, HomeReply, NamedKey};
use crate::shared::handoff::{AnswerTo, Waiter};
use crate::shared::labels::{ErrorKind, RequestClass};

/// Takes over what the disk says, for as long as the worker lives.
pub(super) async fn follow_journal(worker: Rc<RefCell<Worker>>) {
    let news = worker.borrow().hot.behind.journal_news();
    let Some(mut news) = news else { return };
    let mut more = true;
    while more {
        more = news.changed().await;
        turn(&worker, |worker| {
            worker.hot.take_journal_progress(&mut worker.core);
        });
    }
}

impl Worker {
    /// Looks at keys that have changed, so many at the most, and at what homes and clients say to each other.
    pub(super) fn pump_behind(&mut self, looks_max: usize) {
        for _ in 0..looks_max {
            let Some(hash) = self.hot.behind.changed().pop_front() else { break };
            self.hot.look_behind(&mut self.core, &mut self.upstreams, hash);
        }
        let (requests, replies) = self.hot.exchange_behind(&mut self.core);
        self.hot.serve_behind(&mut self.core, requests);
        self.on_home_replies(replies);
    }

    /// Takes a request to the home of its key, or has it wait for its barrier. `None` lets it go its way.
    pub fn by_write_behind(
        &mut self,
        key: ClientKey,
        resolved: &Resolved<'_>,
        verdict: &Verdict,
    ) -> Option<Flow> {
        if !self.hot.behind.is_on() {
            return None;
        }
        // The home of a key that was in write-behind mode may have something of the client that it hands back.
        let pass_epoch = self.hot.pass_epoch();
        if !self.clients.all.get_mut(key)?.may_pass(pass_epoch) {
            return Some(self.clients.wait_for_all(key));
        }
        if let Some(op) = self.absorbable(key, resolved, verdict) {
            return self.take_behind(key, resolved, op);
        }
        self.end_barrier(key);
        match self.clients.all.get(key)?.barrier.as_deref() {
            Some(Barrier { until: None, refused: Some(text), .. }) => {
                let text = *text;
                self.give_up_barrier(key);
                if matches!(verdict, Verdict::Session(Session::Exec, _)) {
                    self.sessions().drop_transaction(key);
                }
                return Some(self.refuse(key, ErrorKind::UpstreamUnavailable, text));
            }
            Some(barrier @ Barrier { until: None, .. }) if barrier.is_open() => return None,
            Some(Barrier { until: None, .. }) => return Some(self.clients.wait_for_all(key)),
            // An earlier command has one.
            Some(_) | None => {}
        }
        let touched = self.touched(key, resolved, verdict);
        if touched.is_empty() {
            return None;
        }
        let client = self.clients.all.get(key)?;
        if client.barrier.is_none() && client.replies.is_empty() {
            self.begin_barrier(key, touched);
        }
        Some(self.clients.wait_for_all(key))
    }

    /// The operation, if write-behind may answer it, and the place of its key.
    fn absorbable(
        &self,
        key: ClientKey,
        resolved: &Resolved<'_>,
        verdict: &Verdict,
    ) -> Option<WriteBehindOp> {
        if !matches!(verdict, Verdict::Forward(_) | Verdict::ForwardAsUser(_)) {
            return None;
        }
        let op = match self.hot.foldable(resolved.command)?.op(resolved.request)? {
            Op::Increment(delta) => WriteBehindOp::Increment(delta),
            Op::Get => WriteBehindOp::Get,
            _ => return None,
        };
        let session = &self.clients.all.get(key)?.session;
        (session.database == 0 && session.tracking.is_none()).then_some(op)
    }

    /// `None` if the key is not in write-behind mode.
    fn take_behind(
        &mut self,
        client_key: ClientKey,
        resolved: &Resolved<'_>,
        op: WriteBehindOp,
    ) -> Option<Flow> {
        let (at, name) = resolved.only_key()?;
        let id = at.id();
        if !self.hot.goes_by_home(name, id.hash) {
            return None;
        }
        let wants = self.hot.wants_behind(name, id.hash);
        let client = self.clients.all.get_mut(client_key)?;
        if !client.may_combine(self.hot.epoch) {
            return Some(client.wait(Gate::Drain));
        }
        let rules_since_ns = self.hot.behind.rules_since_ns();
        let beside_until_ns = client.beside_until_ns(rules_since_ns, self.core.now_ns);
        let asker = Asker { wants, beside_until_ns };
        client.combined += 1;
        let suppressed = client.take_suppressed();
        let waiter = Waiter {
            to: AnswerTo::Slot {
                client: client_key.to_number(),
                sequence: client.replies.push_waiting(suppressed),
            },
            operations: 1,
            worker: self.core.index as u16,
            received_ns: self.core.now_ns,
            upstream_ns: 0,
            class: match op {
                WriteBehindOp::Get => RequestClass::Read,
                WriteBehindOp::Increment(_) => RequestClass::Counter,
            },
            command: Some(resolved.command),
            delta: 0,
            verb: Verb::default(),
            version: client.session.version,
            bytes: 0,
        };
        self.count_access(client_key, resolved);
        let home = self.core.home_of(id.hash);
        if home == self.core.index {
            self.hot.take_at_home(&mut self.core, (id, name), op, waiter, asker);
            self.deliver_answers();
        } else {
            let key = (id, Bytes::copy_from_slice(name));
            self.hot.ask(home, BehindRequest::Take { key, op, waiter, asker });
        }
        Some(Flow::Next)
    }

    /// What a request touches beside write-behind. What is queued in a transaction is touched by its `EXEC`.
    fn touched(&mut self, key: ClientKey, resolved: &Resolved<'_>, verdict: &Verdict) -> BarrierKeys {
        match verdict {
            Verdict::Answer(_)
            | Verdict::Reserve(_)
            | Verdict::Refuse(_)
            | Verdict::Deny(..)
            | Verdict::Abort(_)
            | Verdict::HangUp(_) => BarrierKeys::default(),
            Verdict::Session(Session::Exec, _) => {
                let Some(session) = self.clients.all.get(key).map(|client| &client.session) else {
                    return BarrierKeys::default();
                };
                let mut touched = session.watched.clone();
                if let Some(transaction) = session.transaction.queuing() {
                    touched.add(transaction.touched.clone());
                }
                touched
            }
            Verdict::Session(Session::Watch, _) => {
                let named = self.named(key, resolved);
                if let Some(client) = self.clients.all.get_mut(key) {
                    client.session.watched.add(named.clone());
                }
                named
            }
            Verdict::Forward(_) | Verdict::ForwardAsUser(_) | Verdict::Split(_) => self.named(key, resolved),
            // What blocks is for other types than counters, and must not hold up one.
            Verdict::Session(..) => BarrierKeys::default(),
            Verdict::Fan(Fan::Min | Fan::MinArray) => BarrierKeys { all: true, ..BarrierKeys::default() },
            Verdict::Fan(_) => self.named(key, resolved),
            Verdict::Queue { part: Part::Select | Part::Hello | Part::Here, .. } => BarrierKeys::default(),
            Verdict::Queue { part: Part::Redis, .. } => {
                let named = self.named(key, resolved);
                let client = self.clients.all.get_mut(key);
                if let Some(transaction) = client.and_then(|client| client.session.transaction.queuing_mut())
                {
                    transaction.touched.add(named);
                }
                BarrierKeys::default()
            }
        }
    }

    fn named(&mut self, key: ClientKey, resolved: &Resolved<'_>) -> BarrierKeys {
        if resolved.is_malformed {
            return BarrierKeys::default();
        }
        if resolved.keys.is_empty() {
            let script = resolved.counts_as == RequestClass::Script;
            return BarrierKeys { all: resolved.writes() || script, ..BarrierKeys::default() };
        }
        let database = self.clients.all.get(key).map_or(0, |client| client.session.database_ahead());
        // The database that `COPY` and `MOVE` name may be this one.
        let elsewhere = database != 0 && !resolved.writes();
        let mut touched =
            BarrierKeys { all: !elsewhere && resolved.follows_patterns, ..BarrierKeys::default() };
        for (at, name) in resolved.named_keys().filter(|_| !elsewhere) {
            if self.hot.goes_by_home(name, at.hash) {
                touched.keys.push((at.id(), Bytes::copy_from_slice(name)));
            }
        }
        touched.sort();
        touched
    }

    fn begin_barrier(&mut self, key: ClientKey, touched: BarrierKeys) {
        let homes: SmallVec<[usize; 1]> = (0..self.core.gateway.workers.len())
            .filter(|home| {
                touched.all || touched.keys.iter().any(|(id, _)| self.core.home_of(id.hash) == *home)
            })
            .collect();
        let number = self.hot.behind.next_barrier();
        if let Some(client) = self.clients.all.get_mut(key) {
            let barrier = Barrier { number, homes, granted: 0, touched, refused: None, until: None };
            client.barrier = Some(Box::new(barrier));
        }
        self.ask_next_home(key);
    }

    /// Asks the next home for a client's barrier, or lets the client go on if there is none.
    fn ask_next_home(&mut self, key: ClientKey) {
        let Some(client) = self.clients.all.get(key) else { return };
        let Some(barrier) = client.barrier.as_deref() else { return };
        let Some(home) = barrier.homes.get(barrier.granted).copied() else { return client.wake() };
        let is_of_home = |(id, _): &&NamedKey| self.core.home_of(id.hash) == home;
        let keys = barrier.touched.keys.iter().filter(is_of_home).cloned().collect();
        let (id, all) = (self.barrier_id(key, barrier), barrier.touched.all);
        self.hot.ask(home, BehindRequest::Barrier { id, keys, all });
    }

    fn barrier_id(&self, key: ClientKey, barrier: &Barrier) -> BarrierId {
        BarrierId { worker: self.core.index as u16, client: key.to_number(), number: barrier.number }
    }

    /// What homes say to this worker and its clients.
    pub fn on_home_replies(&mut self, replies: Vec<HomeReply>) {
        for reply in replies {
            match reply {
                HomeReply::Answer(waiter, reply, outcome) => {
                    let reply = ReplyBytes::Borrowed(&reply);
                    self.core.effects.answer_absorbed(waiter, outcome, reply);
                }
                HomeReply::PassThrough(key, op, waiter) => self.send_passed_through(&key, op, waiter),
                HomeReply::Barrier(id, granted) => self.on_barrier_reply(id, granted),
                HomeReply::Drained { home, epoch, config, drained } => {
                    self.hot.on_drained(&self.core, (home, epoch), &config, drained);
                }
            }
        }
    }

    /// Sends an operation that its home passes through. Later ones wait for its answer, so that they can't overtake it.
    fn send_passed_through(&mut self, (id, name): &NamedKey, op: WriteBehindOp, waiter: Waiter) {
        let AnswerTo::Slot { client, sequence } = waiter.to else { return };
        let key = ClientKey::from_number(client);
        let Some(client) = self.clients.all.get_mut(key) else { return };
        client.combined -= 1;
        client.combine_after = client.replies.next_sequence();
        client.beside_until_ns = None;
        let mut bytes = Vec::new();
        match op {
            WriteBehindOp::Get => encode::command(&mut bytes, &[b"GET", name]),
            WriteBehindOp::Increment(delta) => {
                encode::command(&mut bytes, &[b"INCRBY", name, itoa::Buffer::new().format(delta).as_bytes()]);
            }
        }
        let route = Route::Slot(SlotAt::of(id.cluster, name));
        let readonly = op == WriteBehindOp::Get;
        let outgoing = Outgoing { route, readonly, class: waiter.class, hook: Hook::None };
        let origin = Origin::client(key, sequence);
        let pending = Pending::forwarded(origin, outgoing, None, waiter.received_ns);
        match self.sender().node_of(&pending) {
            Ok(node) => self.sender().send_to(node, pending, &[], bytes.into()),
            Err(error) => self.sender().retry_later(pending, bytes.into(), error, None),
        }
    }

    /// What a home says of a barrier; nothing if its command was given up meanwhile, which the home is told.
    fn on_barrier_reply(&mut self, id: BarrierId, granted: Result<(), &'static str>) {
        let key = ClientKey::from_number(id.client);
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let barrier = client.barrier.as_deref_mut().filter(|barrier| barrier.number == id.number);
        let Some(barrier) = barrier else { return };
        match granted {
            Ok(()) => {
                barrier.granted += 1;
                self.ask_next_home(key);
            }
            Err(text) => {
                barrier.refused = Some(text);
                client.wake();
            }
        }
    }

    /// The command at hand is on its way or answered: its barrier ends with its reply.
    pub fn mark_barrier(&mut self, key: ClientKey) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let next = client.replies.next_sequence();
        if let Some(barrier) = client.barrier.as_mut().filter(|barrier| barrier.until.is_none()) {
            barrier.until = Some(next);
            client.combine_after = next;
            self.end_barrier(key);
        }
    }

    /// Ends the barrier of a command whose reply has left.
    pub fn end_barrier(&mut self, key: ClientKey) {
        let Some(client) = self.clients.all.get(key) else { return };
        let until = client.barrier.as_ref().and_then(|barrier| barrier.until);
        if until.is_some_and(|until| client.replies.has_left(until)) {
            self.give_up_barrier(key);
        }
    }

    /// Ends a client's barrier, whatever has become of it.
    fn give_up_barrier(&mut self, key: ClientKey) {
        let barrier = self.clients.all.get_mut(key).and_then(|client| client.barrier.take());
        self.release_barrier(key, barrier);
    }

    /// Tells homes that a command is over, or will never come.
    pub fn release_barrier(&mut self, key: ClientKey, barrier: Option<Box<Barrier>>) {
        let Some(barrier) = barrier else { return };
        let id = self.barrier_id(key, &barrier);
        for home in barrier.asked() {
            self.hot.ask(*home, BehindRequest::EndBarrier(id));
        }
    }
}
