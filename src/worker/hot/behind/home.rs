//! The home of a key answers: operations and barriers of clients, its own and those of other workers.
//!
//! Invariant: while a key is driven it is out of the table, and nothing that looks for it there runs meanwhile. So what a
//! home says to its own worker waits for the end of the pump like all else.

use std::sync::Arc;

use bytes::Bytes;

use super::{BehindKey, Member, journal};
use crate::combine::{Answer, Delta, Taken, WriteBehindKey, WriteBehindOp};
use crate::limits::BEHIND_KEYS_MAX;
use crate::resp::encode;
use crate::shared::behind::{BehindAsk, BehindRequest, HomeMessage, HomeReply};
use crate::shared::handoff::Waiter;
use crate::shared::labels::{ErrorKind, Outcome};
use crate::shared::mailbox::WorkerMessage;
use crate::worker::core::Core;
use crate::worker::hot::HotKeys;
use crate::worker::reply::ReplyBytes;

const TOO_MANY: &str = "ERR hotgate: write_behind.pending_max increments wait for Redis already, or too many operations for this key; \
                        the command was not taken, try again later";

const FORBIDDEN: &str = "ERR hotgate: Redis does not let the gateway's user flush write-behind increments (the gateway's log and status line name the \
                         missing right); the command was not taken, try again later";

impl HotKeys {
    /// Asks the home of a key, at the end of this tick.
    pub fn ask(&mut self, home: usize, request: BehindRequest) {
        self.behind.outboxes[home].push(request);
        self.wake();
    }

    /// Serves questions, of this worker or another.
    pub fn serve_behind(&mut self, core: &mut Core, requests: Vec<BehindRequest>) {
        for request in requests {
            let BehindRequest { key, hash, ask, waiter } = request;
            match ask {
                BehindAsk::Take(op) => self.take_at_home(core, &key, hash, op, waiter),
                BehindAsk::Barrier => self.bar_at_home(core, key, hash, waiter),
                BehindAsk::Done => {
                    if let Some(key) = self.behind.keys.get_mut(&hash) {
                        key.machine.released_done();
                        self.look(hash);
                    }
                }
                BehindAsk::Doubt => self.doubt_totals_at_home(core),
                BehindAsk::Leftovers => {
                    let left = self.has_leftovers();
                    let config = Arc::clone(&core.config);
                    self.send_reply(key, hash, waiter, HomeReply::Leftovers(config, left));
                }
                BehindAsk::List => {
                    let keys = &self.behind.keys;
                    let named = keys.iter().map(|(hash, key)| (*hash, key.machine.key().clone()));
                    let named: Vec<(u64, Bytes)> = named.collect();
                    named.iter().for_each(|(hash, _)| self.hurry(*hash));
                    self.send_reply(key, hash, waiter, HomeReply::Keys(named));
                }
            }
        }
    }

    /// Takes an operation on a key whose home is here.
    pub fn take_at_home(
        &mut self,
        core: &mut Core,
        key: &[u8],
        hash: u64,
        op: WriteBehindOp,
        waiter: Waiter,
    ) {
        let member = Member { waiter, op: Some(op) };
        let wanted = self.begin_behind(core, key, hash);
        let now_ns = core.now_ns;
        let behind = &mut self.behind;
        let Some(entry) = behind.keys.get_mut(&hash).filter(|entry| entry.machine.key() == key) else {
            return self.send_reply(Bytes::copy_from_slice(key), hash, waiter, HomeReply::PassThrough(op));
        };
        entry.active_ns = now_ns;
        if behind.forbidden && op != WriteBehindOp::Get {
            core.tallies.error(ErrorKind::UpstreamUnavailable);
            return self.fail_member(core, hash, waiter, FORBIDDEN);
        }
        if !wanted {
            entry.machine.stop_absorbing();
        }
        let taken = entry.machine.take(op, member, now_ns, &behind.policy, &mut behind.budget);
        match taken {
            Taken::Answer { answer, delta, .. } => {
                let refused = match &mut behind.journal {
                    Some(side) => side.admit(entry, hash, member, answer, delta),
                    None => Ok(true),
                };
                if delta.is_some() {
                    entry.deltas_since_look += 1;
                }
                if refused.is_err()
                    && let Some(Delta { sequence, .. }) = delta
                {
                    entry.machine.retract(sequence, &mut behind.budget);
                }
                let due = entry.deltas_since_look >= behind.policy.flush_deltas_max;
                if delta.is_some() && (due || entry.timer_ns == 0) {
                    self.look(hash);
                }
                match refused {
                    Ok(true) => self.answer_member(core, hash, waiter, answer),
                    Ok(false) => {}
                    Err(refused) => self.fail_member(core, hash, waiter, &journal::refusal(&refused)),
                }
            }
            Taken::Waits => self.look(hash),
            Taken::Refused => self.refuse_member(core, hash, member),
            Taken::PassThrough => {
                self.send_reply(Bytes::copy_from_slice(key), hash, waiter, HomeReply::PassThrough(op))
            }
        }
    }

    fn bar_at_home(&mut self, core: &mut Core, key: Bytes, hash: u64, waiter: Waiter) {
        self.begin_behind(core, &key, hash);
        let now_ns = core.now_ns;
        let Some(entry) = self.behind.keys.get_mut(&hash) else {
            return self.send_reply(key, hash, waiter, HomeReply::Free);
        };
        entry.active_ns = now_ns;
        match entry.machine.barrier(Member { waiter, op: None }) {
            Taken::Refused => self.send_reply(key, hash, waiter, HomeReply::Refused(TOO_MANY)),
            Taken::PassThrough => self.send_reply(key, hash, waiter, HomeReply::Free),
            Taken::Waits | Taken::Answer { .. } => self.look(hash),
        }
    }

    /// Makes the machine of a key, if there is none and there is room. Says whether the rules want one: those of the worker
    /// that asks may be older.
    fn begin_behind(&mut self, core: &mut Core, key: &[u8], hash: u64) -> bool {
        if !self.wants_behind(key, hash) {
            return false;
        }
        if self.behind.keys.contains_key(&hash) || self.behind.keys.len() >= BEHIND_KEYS_MAX {
            return true;
        }
        let row = core.tallies.combine.keys.acquire(Arc::from(key));
        let machine = WriteBehindKey::new(Bytes::copy_from_slice(key), self.behind.identity());
        let place = core.snapshots.routes.place_of(key);
        self.keep_key(hash, BehindKey::new(machine, place, row, core.now_ns));
        true
    }

    /// Answers members of a key that waited, in order. What the journal refuses takes all behind it along, since each was
    /// answered with those before it.
    pub(super) fn answer_resumed(
        &mut self,
        core: &mut Core,
        hash: u64,
        key: &mut BehindKey,
        told: Vec<(Member, Taken)>,
    ) {
        let mut failed = None;
        for (member, taken) in told {
            let Taken::Answer { answer, delta, .. } = taken else {
                self.refuse_member(core, hash, member);
                continue;
            };
            let behind = &mut self.behind;
            let admitted = match (&failed, &mut behind.journal) {
                (Some(_), _) => Ok(false),
                (None, Some(side)) => side.admit(key, hash, member, answer, delta),
                (None, None) => Ok(true),
            };
            if let Err(refused) = &admitted {
                failed = Some(journal::refusal(refused));
            }
            match (&failed, admitted) {
                (Some(text), _) => {
                    if let Some(Delta { sequence, .. }) = delta {
                        key.machine.retract(sequence, &mut behind.budget);
                    }
                    self.fail_member(core, hash, member.waiter, text);
                }
                (None, Ok(true)) => self.answer_member(core, hash, member.waiter, answer),
                (None, _) => {}
            }
        }
    }

    pub(super) fn answer_member(&mut self, core: &mut Core, hash: u64, waiter: Waiter, answer: Answer) {
        let mut reply = std::mem::take(&mut self.scratch);
        reply.clear();
        answer.encode(waiter.version, &mut reply);
        self.reply_member(core, hash, waiter, &reply, Outcome::Absorbed);
        self.scratch = reply;
    }

    /// Answers a member with an error of ours: `text` with its code.
    pub(super) fn fail_member(&mut self, core: &mut Core, hash: u64, waiter: Waiter, text: &str) {
        let mut reply = Vec::new();
        encode::error(&mut reply, text);
        self.reply_member(core, hash, waiter, &reply, Outcome::Failed);
    }

    fn refuse_member(&mut self, core: &mut Core, hash: u64, member: Member) {
        core.tallies.write_behind.refused_full += 1;
        core.tallies.error(ErrorKind::Overload);
        self.fail_member(core, hash, member.waiter, TOO_MANY);
    }

    fn reply_member(&mut self, core: &mut Core, hash: u64, waiter: Waiter, reply: &[u8], outcome: Outcome) {
        if usize::from(waiter.worker) == core.index {
            core.effects.answer_absorbed(waiter, outcome, ReplyBytes::Borrowed(reply));
        } else {
            let reply = HomeReply::Reply(Bytes::copy_from_slice(reply), outcome);
            self.send_reply(Bytes::new(), hash, waiter, reply);
        }
    }

    /// Says something to the worker of a client, at the end of this tick.
    pub(super) fn send_reply(&mut self, key: Bytes, hash: u64, waiter: Waiter, reply: HomeReply) {
        self.behind.results[usize::from(waiter.worker)].push(HomeMessage { key, hash, waiter, reply });
        self.wake();
    }

    /// Sends what has gathered for other workers. What has gathered for this one is for it to serve.
    pub fn exchange_behind(&mut self, core: &mut Core) -> (Vec<BehindRequest>, Vec<HomeMessage>) {
        let own = core.index;
        for worker in (0..self.behind.outboxes.len()).filter(|worker| *worker != own) {
            let requests = std::mem::take(&mut self.behind.outboxes[worker]);
            if !requests.is_empty()
                && let Some(WorkerMessage::Behind(requests)) =
                    self.try_send(core, worker, WorkerMessage::Behind(requests))
            {
                self.behind.outboxes[worker] = requests;
            }
            let results = std::mem::take(&mut self.behind.results[worker]);
            if !results.is_empty()
                && let Some(WorkerMessage::HomeReplies(results)) =
                    self.try_send(core, worker, WorkerMessage::HomeReplies(results))
            {
                self.behind.results[worker] = results;
            }
        }
        let own = (&mut self.behind.outboxes[core.index], &mut self.behind.results[core.index]);
        (std::mem::take(own.0), std::mem::take(own.1))
    }
}
