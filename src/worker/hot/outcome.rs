//! What comes back of a flush reaches its members.

use bytes::Bytes;

use super::entry::Sending;
use super::owner_request::Followed;
use super::quota::KeyQuotaState;
use super::{HotKey, HotKeys};
use crate::combine::{Again, Settled as CombineSettled};
use crate::config::LostReply;
use crate::resp::{encode, parse_integer_reply};
use crate::shared::ending::Ending;
use crate::shared::handoff::{AnswerTo, Waiter};
use crate::shared::labels::{ErrorKind, Outcome};
use crate::shared::rights::Fold;
use crate::shared::topology::UpstreamKind;
use crate::worker::core::Core;
use crate::worker::names::FlushKey;
use crate::worker::reply::ReplyBytes;

impl HotKeys {
    /// A reply to one command of a flush that was written at `sent_ns`.
    pub fn settle_flush(&mut self, core: &mut Core, flush: FlushKey, sent_ns: u64, reply: ReplyBytes<'_>) {
        let Some(sending) = self.sending(flush) else { return };
        sending.upstream_ns = sending.upstream_ns.max(core.now_ns.saturating_sub(sent_ns));
        sending.replies.push(reply.into_bytes());
        self.finish_sending(core, flush);
    }

    /// One command of a flush was lost with its connection; `written` when it may have been executed.
    pub fn flush_lost(&mut self, core: &mut Core, flush: FlushKey, written: bool) {
        let Some(sending) = self.sending(flush) else { return };
        sending.lost += 1;
        sending.unsent += usize::from(!written);
        self.finish_sending(core, flush);
    }

    fn sending(&mut self, flush: FlushKey) -> Option<&mut Sending> {
        let home = self.entries.get_mut(&flush.hash)?.queue.as_mut()?;
        home.owner.awaits(flush.sending).then_some(&mut home.sending)
    }

    fn finish_sending(&mut self, core: &mut Core, flush: FlushKey) {
        let hash = flush.hash;
        let mut over = None;
        let grants = self.with_home(hash, |hot, home| {
            let node = home.sending.node;
            if home.sending.replies.len() + home.sending.lost >= home.sending.expected {
                over = node;
                hot.finish(core, hash, home);
            }
            hot.tally_queue(core, home);
            if let Some(held) = &mut home.held {
                held.count_later(hash, &mut hot.board);
            }
            node.zip(home.replica_wait().filter(|_| !home.unconfirmed.is_empty()))
        });
        if let Some(node) = over {
            self.end_turn(core, hash, node);
        }
        if let Some(Some((node, wait))) = grants {
            self.confirm(core, hash, node, wait);
        }
    }

    fn finish(&mut self, core: &mut Core, hash: u64, home: &mut HotKey) {
        let sending = std::mem::take(&mut home.sending);
        if home.is_asking() {
            return self.finish_asking(core, hash, home, sending);
        }
        if sending.lost > 0 {
            let now_ns = core.now_ns;
            let (queue, held) = (&mut home.queue, &mut home.held);
            queue.lost(now_ns, &sending.replies, sending.unsent, |waiter, settled| {
                self.settle_one(core, hash, held.as_deref_mut(), waiter, settled)
            });
            if home.queue.has_flight() {
                self.try_later(core, hash, home);
            } else {
                self.go_on(hash, home);
            }
            return;
        }
        if core.snapshots.topology.cluster(home.place.cluster).kind == UpstreamKind::Cluster
            && home.queue.is_refused_by_replica(&sending.replies)
        {
            // A master no more. As long as replicas are read from, its connections do not make it say who is.
            home.queue.not_executed();
            if let Some(node) = sending.node {
                core.suspect_master(node);
            }
            self.try_later(core, hash, home);
            return;
        }
        let waits = home.replica_wait().is_some();
        let upstream_ns = sending.upstream_ns;
        home.answered_ns = core.now_ns;
        let HotKey { queue, held, unconfirmed, .. } = home;
        let settlement = queue.settle(&sending.replies, |waiter, settled| {
            let waiter = Waiter { upstream_ns, ..waiter };
            match if waits { granted(&settled, waiter.delta) } else { None } {
                Some(value) => unconfirmed.push((waiter, value)),
                None => self.settle_one(core, hash, held.as_deref_mut(), waiter, settled),
            }
        });
        if let (Some(held), Some(report)) = (held, &settlement.clamp) {
            held.admission.on_report(core.now_ns, report);
        }
        if settlement.denied && core.gateway.rights.on_refused(Fold::Increments) {
            tracing::warn!(
                key = core.gateway.key_names.label(home.queue.key()),
                "the upstream user may not say INCRBY, which many INCR, DECR and DECRBY of a hot key become: they go as they come; \
                 allow it +incrby"
            );
        }
        if let Some(news) = settlement.script {
            self.counter_scripts.on_news(core, home.queue.key(), news);
        }
        if settlement.again.is_some() {
            home.queue.load_scripts(|sha1| core.gateway.scripts.body(sha1));
        }
        match settlement.again {
            Some(Again::Elsewhere { reply }) => {
                let reply = sending.replies.get(reply).cloned().unwrap_or_default();
                if !self.go_apart(core, hash, home, &reply) {
                    self.follow(core, hash, home, &reply);
                }
            }
            Some(Again::NoScript | Again::OneByOne) => self.look_again(hash, home),
            None if home.end_apart(settlement.clamp.as_ref(), core.now_ns) => self.look_again(hash, home),
            None => self.go_on(hash, home),
        }
    }

    /// The flush at hand is over: the next may go.
    pub(super) fn go_on(&mut self, hash: u64, home: &mut HotKey) {
        home.owner.on_success();
        (home.said, home.apart) = (None, None);
        if !home.queue.is_empty() {
            self.look_again(hash, home);
        }
    }

    /// Sends the flush where a redirection says, or here again after a moment.
    pub(super) fn follow(&mut self, core: &mut Core, hash: u64, home: &mut HotKey, reply: &Bytes) {
        match home.owner.follow(core, home.place, reply) {
            Followed::AtOnce => self.look_again(hash, home),
            Followed::Later => self.try_later(core, hash, home),
            Followed::Nowhere => {
                home.said = Some(reply.clone());
                self.try_later(core, hash, home);
            }
        }
    }

    /// The flush at hand goes again after a pause, whatever else comes meanwhile.
    pub(super) fn try_later(&mut self, core: &mut Core, hash: u64, home: &mut HotKey) {
        let due_ns = self.back_off(core, home.place.cluster, &mut home.owner);
        self.look_at(due_ns, hash);
    }

    /// A key or sale that waited for room on its node's connection is looked at again.
    pub fn look_at_key(&mut self, hash: u64) {
        self.look_at_sale(hash);
        if let Some(home) = self.entries.get_mut(&hash).and_then(|entry| entry.queue.as_mut())
            && !std::mem::replace(&mut home.dirty, true)
        {
            self.dirty.push_back(hash);
            self.wake();
        }
    }

    pub(super) fn look_again(&mut self, hash: u64, home: &mut HotKey) {
        if !std::mem::replace(&mut home.dirty, true) {
            self.dirty.push_back(hash);
            self.wake();
        }
    }

    /// Answers one member.
    pub(super) fn settle_one(
        &mut self,
        core: &mut Core,
        hash: u64,
        held: Option<&mut KeyQuotaState>,
        waiter: Waiter,
        settled: CombineSettled<'_>,
    ) {
        let mut scratch = std::mem::take(&mut self.scratch);
        match (held, settled) {
            (_, CombineSettled::Unsent(reply)) => {
                let ending = Ending::failed(ErrorKind::UpstreamUnavailable);
                self.settle_member(core, hash, waiter, ReplyBytes::Borrowed(reply), ending);
            }
            (_, CombineSettled::OutcomeUnknown(reply)) => {
                let ending = Ending::unknown(self.lost_reply_of(core, hash));
                self.settle_member(core, hash, waiter, ReplyBytes::Borrowed(reply), ending);
            }
            (_, CombineSettled::Shared(reply)) => {
                self.settle_member(core, hash, waiter, ReplyBytes::Owned(reply.clone()), Outcome::Combined);
            }
            // A quota judges one by one, so what is told together went out before there was one.
            (_, CombineSettled::Reply(reply)) if waiter.delta == 0 || waiter.operations > 1 => {
                self.settle_member(core, hash, waiter, ReplyBytes::Borrowed(reply), Outcome::Combined);
            }
            (None, CombineSettled::Reply(reply)) => {
                self.settle_member(core, hash, waiter, ReplyBytes::Borrowed(reply), Outcome::Combined);
            }
            (Some(held), settled) => {
                let outcome = match settled {
                    CombineSettled::Refused(_) => Outcome::Refused,
                    CombineSettled::ClampError(_) => Outcome::Failed,
                    _ => Outcome::Combined,
                };
                let reply = held.admission.settle(waiter.delta, settled, waiter.version, &mut scratch);
                self.settle_member(core, hash, waiter, ReplyBytes::Borrowed(reply), outcome);
            }
            // The quota left the configuration while its last flush was under way.
            (None, CombineSettled::Refused(refusal)) => {
                scratch.clear();
                encode::error(&mut scratch, format!("QUOTA limit of {} reached", refusal.limit));
                self.settle_member(core, hash, waiter, ReplyBytes::Borrowed(&scratch), Outcome::Refused);
            }
            (None, CombineSettled::ClampError(text)) => {
                scratch.clear();
                encode::error(&mut scratch, text);
                self.settle_member(core, hash, waiter, ReplyBytes::Borrowed(&scratch), Outcome::Failed);
            }
        }
        self.scratch = scratch;
    }

    /// What a client gets for a write of unknown outcome on this key.
    fn lost_reply_of(&self, core: &Core, hash: u64) -> LostReply {
        let settings = self.entries.get(&hash).map(|entry| core.upstream_of(entry.place.cluster));
        settings.map_or(LostReply::Error, |settings| settings.lost_reply)
    }

    /// Answers one member of a flush that was given up. A quota has a word of its own for those that were surely not executed.
    pub(super) fn settle_given_up(
        &mut self,
        core: &mut Core,
        hash: u64,
        held: Option<&mut KeyQuotaState>,
        waiter: Waiter,
        settled: CombineSettled<'_>,
    ) {
        let mut reply = Vec::new();
        let answered = match (held, settled) {
            (Some(held), CombineSettled::Unsent(_)) if waiter.delta != 0 => {
                let answered = held.answer_unsent(core.now_ns, waiter.delta, waiter.version, &mut reply);
                if held.admission.owes() {
                    self.owing_keys.insert(hash);
                }
                answered
            }
            _ => None,
        };
        match answered {
            Some(outcome) => self.settle_member(core, hash, waiter, ReplyBytes::Borrowed(&reply), outcome),
            None => self.settle_one(core, hash, None, waiter, settled),
        }
    }

    /// Answers one member, here or on the worker that it belongs to. `reply` are as many replies as it waits for.
    pub(super) fn settle_member(
        &mut self,
        core: &mut Core,
        hash: u64,
        waiter: Waiter,
        reply: ReplyBytes<'_>,
        ending: impl Into<Ending>,
    ) {
        let ending = ending.into();
        if waiter.to == AnswerTo::Admission {
            self.settle_owed(core, hash, waiter, (ending, reply.as_slice()));
        } else if usize::from(waiter.worker) == core.index {
            core.effects.answer(hash, waiter, ending, reply);
        } else {
            let answers = &mut self.answers[usize::from(waiter.worker)];
            match reply {
                ReplyBytes::Borrowed(bytes) => answers.push_copied(Some(hash), waiter, ending, bytes),
                ReplyBytes::Owned(bytes) => answers.push_shared(Some(hash), waiter, ending, bytes),
            }
            self.wake();
        }
    }

    /// Takes the queue's figures into the tallies.
    pub(super) fn tally_queue(&mut self, core: &mut Core, home: &mut HotKey) {
        let (now, then) = (*home.queue.counters(), home.tallied);
        home.tallied = now;
        let tally = &mut core.tallies.combine;
        tally.offered += now.offered - then.offered;
        tally.flushed += now.commands - then.commands;
        tally.replayed += now.resends - then.resends;
        let row = tally.keys.row(home.row);
        row.offered += now.offered - then.offered;
        row.flushed += now.commands - then.commands;
        row.queued = home.queue.len() as u64;
    }
}

/// The reply to an operation that changed the counter, if it did.
fn granted(settled: &CombineSettled<'_>, delta: i64) -> Option<i64> {
    match settled {
        CombineSettled::Reply(reply) if delta != 0 => parse_integer_reply(reply),
        _ => None,
    }
}
