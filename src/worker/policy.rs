//! What the policies of its keys make of a request: the one place where they have their precedence.
//!
//! | first | asks | its answer ends the matter when |
//! |---|---|---|
//! | 1 | the quota | the command would pass by it |
//! | 2 | write-behind | the key's home answers, or the command has to wait for it |
//! | 3 | copies | one answers, or will |
//! | 4 | combining | the operation is taken into a queue; an increment under a quota always is |
//! | 5 | | the request is forwarded as it came |
//!
//! Each access is counted here as well, whatever becomes of it, unless it comes again.

use super::client::{AwaitedRoom, Gate};
use super::decide::{Part, Verdict};
use super::flow::Flow;
use super::hot::{HotVerdict, Standing, Turn};
use super::names::ClientKey;
use super::owners::Worker;
use super::resolve::{KeyAt, Resolved};
use crate::admission::CommandContext;
use crate::combine::{Foldable, Op, Verb};
use crate::command::{CommandFlags, Session};
use crate::detect::{Access, EntryHandle};
use crate::limits::LONG_REQUEST_BYTES;
use crate::shared::labels::RequestClass;

/// What becomes of a request.
pub enum Policy {
    /// What was decided of it is done. Where the size of its reply is counted.
    Go(Option<EntryHandle>),
    /// The same, and later combined operations of its client wait for its reply.
    GoAsBarrier(Option<EntryHandle>),
    /// It was taken care of, or has to wait.
    Done(Flow),
    /// It would pass by a quota: the error that it gets.
    Refuse(String),
}

impl Worker {
    /// Asks the policies of its keys about a request of which `verdict` was decided.
    pub(super) fn policy(&mut self, client: ClientKey, resolved: &Resolved<'_>, verdict: &Verdict) -> Policy {
        let forwards = matches!(verdict, Verdict::Forward(_) | Verdict::ForwardAsUser(_));
        let is_queued = matches!(verdict, Verdict::Queue { part: Part::Redis, .. });
        if is_queued {
            self.count_access(client, resolved);
        }
        if self.hot.is_idle() && !self.hot.behind.is_on() {
            return Policy::Go(if forwards { self.count_access(client, resolved) } else { None });
        }
        let only = if forwards { resolved.only_key() } else { None };
        // What would take its connection for itself, and much of the queue, goes as it came.
        let short = resolved.request.bytes().len() < LONG_REQUEST_BYTES;
        let foldable = only.and_then(|_| self.hot.foldable(resolved.command)).filter(|_| short);
        let op = foldable.and_then(|foldable| foldable.op(resolved.request));
        let refusal = match (only, context_of(verdict)) {
            (Some((key, name)), _) => {
                let database = self.clients.all.get(client).map_or(0, |client| client.session.database);
                self.hot.refusal_of_one(resolved, (key, name), op.as_ref(), database)
            }
            (None, Some(context)) => {
                let mut client = self.clients.all.get_mut(client);
                self.hot.refusal_of_several(resolved, context, |hash| {
                    if let Some(client) = &mut client {
                        client.written.note(hash);
                    }
                })
            }
            (None, None) => None,
        };
        if let Some(text) = refusal {
            return Policy::Refuse(text);
        }
        if let Some(flow) = self.by_write_behind(client, resolved, verdict) {
            return Policy::Done(flow);
        }
        match (only, verdict) {
            (Some((key, name)), _) => self.policy_of_one(client, resolved, (key, name), (foldable, op)),
            (None, Verdict::Forward(_)) => match self.counting_call(resolved) {
                Some((key, op)) => {
                    self.policy_of_one(client, resolved, key, (Some(Foldable::Script), Some(op)))
                }
                None => self.policy_of_several(client, resolved),
            },
            // Only Redis knows whether its user may do what the script is declared to do.
            (None, Verdict::ForwardAsUser(_)) => self.policy_of_several(client, resolved),
            (None, Verdict::Session(Session::Exec, _)) => self.policy_of_exec(client, resolved),
            // It begins or ends at the gateway.
            (None, Verdict::Session(Session::Multi | Session::Discard, _)) => Policy::Go(None),
            // What may touch any key waits for what is in queues, and what is combined later waits for it.
            (None, Verdict::Split(_) | Verdict::Fan(_) | Verdict::Session(..))
                if self.has_combined(client) =>
            {
                Policy::Done(self.clients.wait_for_all(client))
            }
            _ => Policy::Go(None),
        }
    }

    /// A command on one key, wherever it goes.
    fn policy_of_one(
        &mut self,
        client: ClientKey,
        resolved: &Resolved<'_>,
        (key, name): (KeyAt, &[u8]),
        (foldable, op): (Option<Foldable>, Option<Op<'_>>),
    ) -> Policy {
        let verdict = match self.look_at_copies(client, resolved, (key, name)) {
            Some(verdict) => verdict,
            None => {
                let verb = foldable.map_or(Verb::default(), Foldable::verb);
                self.combine(client, resolved, (key, name), op.map(|op| (op, verb)))
            }
        };
        let times = match &verdict {
            HotVerdict::Wait => return Policy::Done(self.clients.wait_for_all(client)),
            HotVerdict::AwaitRoom => return Policy::Done(self.await_room_of(client, key.hash)),
            HotVerdict::Combined(operations) => *operations,
            HotVerdict::Refuse(text) => return Policy::Refuse(text.clone()),
            HotVerdict::Forward | HotVerdict::Barrier | HotVerdict::Served(_) => 1,
        };
        let access = access_of(client, resolved);
        self.note_use(client, resolved, key.hash, times);
        let detector = self.hot.detector.as_mut();
        let handle = detector.and_then(|detector| detector.record_many(name, key.id(), access, times));
        match verdict {
            HotVerdict::Barrier => Policy::GoAsBarrier(handle),
            HotVerdict::Served(bytes) => {
                if let (Some(handle), Some(detector)) = (handle, &mut self.hot.detector) {
                    detector.record_reply(handle, bytes);
                }
                Policy::Done(Flow::Next)
            }
            HotVerdict::Combined(operations) => Policy::Done(Flow::NextAfter(operations - 1)),
            HotVerdict::Forward | HotVerdict::Wait | HotVerdict::AwaitRoom | HotVerdict::Refuse(_) => {
                Policy::Go(handle)
            }
        }
    }

    /// Notes who uses a key, of some requests.
    fn note_use(&mut self, client: ClientKey, resolved: &Resolved<'_>, hash: u64, times: u32) {
        if !self.hot.is_use_sampled() {
            return;
        }
        let id = self.clients.all.get(client).map_or(0, |client| client.id);
        self.hot.note_use(hash, resolved.command, id, times);
    }

    /// The key and the operation of a call of a script that is declared to count.
    fn counting_call<'r>(&self, resolved: &Resolved<'r>) -> Option<((KeyAt, &'r [u8]), Op<'r>)> {
        let request = resolved.request;
        let is_script = self.hot.foldable(resolved.command) == Some(Foldable::Script);
        if !is_script || request.bytes().len() >= LONG_REQUEST_BYTES {
            return None;
        }
        let [key] = resolved.keys.as_slice() else { return None };
        Some(((*key, request.arg(key.position as usize)?), self.hot.counter_scripts.op(request)?))
    }

    /// A command on several keys, or on any.
    fn policy_of_several(&mut self, client: ClientKey, resolved: &Resolved<'_>) -> Policy {
        if self.pass_copies(client, resolved) {
            return Policy::Done(self.clients.wait_for_all(client));
        }
        if resolved.is_malformed {
            return Policy::Go(None);
        }
        let passes = self.may_pass(client);
        // A script that names no keys may touch any, and so may a `SORT` by patterns.
        let names_none = resolved.keys.is_empty() && !resolved.flags.contains(CommandFlags::PUBSUB);
        let touches_any = names_none || resolved.follows_patterns;
        let is_combined = |key: &KeyAt| self.hot.folds(key.hash, passes);
        let combined = touches_any || resolved.keys.iter().any(is_combined);
        // It may touch a combined key beside the queue.
        if combined && self.has_combined(client) {
            return Policy::Done(self.clients.wait_for_all(client));
        }
        self.count_access(client, resolved);
        resolved.keys.iter().for_each(|key| self.hot.note_unfolded(key.hash, resolved.command));
        if combined { Policy::GoAsBarrier(None) } else { Policy::Go(None) }
    }

    /// Takes an operation on one key into the queue of its home, if it may be combined now.
    pub(super) fn combine(
        &mut self,
        client_key: ClientKey,
        resolved: &Resolved<'_>,
        (key, name): (KeyAt, &[u8]),
        op: Option<(Op<'_>, Verb)>,
    ) -> HotVerdict {
        let counts = matches!(op, Some((Op::Increment(_), _)));
        let Some(client) = self.clients.all.get_mut(client_key) else { return HotVerdict::Forward };
        let database = client.session.database;
        if !self.hot.knows(name, key.hash) {
            if self.hot.is_under_quota(name, key.hash) {
                if !counts || database != 0 {
                    if resolved.writes() {
                        client.written.note(key.hash);
                    }
                    return HotVerdict::Forward;
                }
                if let Err(text) = self.hot.begin_by_quota(&mut self.core, name, key.id()) {
                    return HotVerdict::Refuse(text);
                }
            } else if !self.hot.begin_by_rule(&mut self.core, name, key.id()) {
                return HotVerdict::Forward;
            }
        }
        let op =
            op.filter(|(op, _)| !op.is_plain_only() || !self.hot.is_scripted(&self.core, name, key.hash));
        if op.is_none() {
            self.hot.note_unfolded(key.hash, resolved.command);
        }
        let Some(client) = self.clients.all.get_mut(client_key) else { return HotVerdict::Forward };
        let standing =
            Standing { may_pass: client.may_pass(self.hot.pass_epoch()), is_queued: client.combined > 0 };
        if let Turn::Goes(verdict) = self.hot.take_turn(&self.core, key.hash, op.is_some(), standing) {
            return verdict;
        }
        let Some(client) = self.clients.all.get_mut(client_key) else { return HotVerdict::Forward };
        let Some(entry) = self.hot.entry(key.hash) else { return HotVerdict::Forward };
        let clamped = entry.quota.is_some() && counts;
        let may_fold = database == 0 && (clamped || client.session.tracking.is_none());
        let Some((op, verb)) = op.filter(|_| may_fold && entry.is_wanted()) else {
            if entry.quota.is_some() && resolved.writes() && !(counts && may_fold) {
                client.written.note(key.hash);
            }
            return if client.combined > 0 { HotVerdict::Wait } else { HotVerdict::Barrier };
        };
        if !client.may_combine(self.hot.epoch) {
            return HotVerdict::Wait;
        }
        // A write in the queue that its node holds back must not hold back a read that was never behind it.
        let reads = matches!(op, Op::Get | Op::HashGet { .. } | Op::Read { .. });
        if reads && client.combined == 0 && self.upstreams.is_held_up(&self.core, key.slot) {
            return HotVerdict::Barrier;
        }
        // Where there may be copies, each operation is looked at for what its client has seen.
        let by_itself = self.hot.is_copied(name, key.hash) || matches!(op, Op::Transaction { .. });
        let room = self.hot.room(&self.core, key.hash);
        if room == 0 {
            return HotVerdict::AwaitRoom;
        }
        let Some(client) = self.clients.all.get(client_key) else { return HotVerdict::Forward };
        let repeats_max = if by_itself { 0 } else { client.repeats_max(&self.core.config.limits) };
        let operations = 1 + resolved.request.repeats(repeats_max.min(room as usize - 1)) as u32;
        self.enqueue(client_key, key.hash, (op, verb, resolved.command), operations);
        HotVerdict::Combined(operations)
    }

    /// Holds a client back until a key has room again.
    pub(super) fn await_room_of(&mut self, client_key: ClientKey, hash: u64) -> Flow {
        let Some(client) = self.clients.all.get_mut(client_key) else { return Flow::Next };
        // Once is enough: it is looked at each time that anything of it has been answered, too.
        if client.room_awaited.replace(AwaitedRoom::Key(hash)) != Some(AwaitedRoom::Key(hash)) {
            self.hot.await_room(hash, client_key);
        }
        client.wait(Gate::Room)
    }

    /// Whether something of a client is in a queue, or waits for a copy.
    pub(super) fn has_combined(&self, client: ClientKey) -> bool {
        self.clients.all.get(client).is_some_and(|client| client.combined > 0 || client.copies.awaits())
    }

    /// Whether a client has nothing in queues that was there when a key last ceased to be folded.
    fn may_pass(&mut self, client: ClientKey) -> bool {
        let pass_epoch = self.hot.pass_epoch();
        self.clients.all.get_mut(client).is_none_or(|client| client.may_pass(pass_epoch))
    }

    /// Counts an access to each key of a request. Where the size of its reply is counted, if it has one key.
    pub fn count_access(&mut self, client: ClientKey, resolved: &Resolved<'_>) -> Option<EntryHandle> {
        let detector = self.hot.detector.as_mut()?;
        let access = access_of(client, resolved);
        if let Some((key, name)) = resolved.only_key() {
            return detector.record_many(name, key.id(), access, 1);
        }
        for (key, name) in resolved.named_keys() {
            detector.record(name, key.id(), access);
        }
        None
    }
}

/// Where a command stands whose keys are looked at here for quotas, and which does not count under one by itself.
fn context_of(verdict: &Verdict) -> Option<CommandContext> {
    match verdict {
        Verdict::Queue { .. } => Some(CommandContext::Transaction),
        Verdict::Forward(_)
        | Verdict::ForwardAsUser(_)
        | Verdict::Split(_)
        | Verdict::Fan(_)
        | Verdict::Session(..) => Some(CommandContext::Alone),
        Verdict::Answer(_)
        | Verdict::Reserve(_)
        | Verdict::Refuse(_)
        | Verdict::Deny(..)
        | Verdict::Abort(_)
        | Verdict::HangUp(_) => None,
    }
}

fn access_of(client: ClientKey, resolved: &Resolved<'_>) -> Access {
    Access {
        write: resolved.writes(),
        counter: resolved.counts_as == RequestClass::Counter,
        bytes_in: resolved.request.bytes().len().min(u32::MAX as usize) as u32,
        client: client.to_number(),
    }
}
