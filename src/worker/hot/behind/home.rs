//! The home of a key replies: to operations and barriers of clients, its own and those of other workers.

use std::sync::Arc;

use bytes::Bytes;

use super::{BehindKey, journal};
use crate::combine::{Answer, BarrierTurn, Taken, WriteBehindKey, WriteBehindOp};
use crate::limits::BEHIND_KEYS_MAX;
use crate::resp::encode;
use crate::route::KeyId;
use crate::shared::behind::{Asker, BarrierId, BehindRequest, HomeReply, NamedKey};
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

    /// Serves requests, of this worker or another.
    pub fn serve_behind(&mut self, core: &mut Core, requests: Vec<BehindRequest>) {
        for request in requests {
            match request {
                BehindRequest::Take { key: (id, name), op, waiter, asker } => {
                    self.take_at_home(core, (id, &name), op, waiter, asker);
                }
                BehindRequest::Barrier { id, keys, all } => self.begin_barrier(core, id, keys, all),
                BehindRequest::EndBarrier(id) => self.end_barrier(id),
                BehindRequest::AskDrained { worker, epoch } => {
                    let reply = self.drained(core, epoch);
                    self.send_reply(worker, reply);
                }
            }
        }
    }

    /// Takes an operation on a key whose home is here.
    pub fn take_at_home(
        &mut self,
        core: &mut Core,
        (id, name): (KeyId, &[u8]),
        op: WriteBehindOp,
        waiter: Waiter,
        asker: Asker,
    ) {
        let wanted = asker.wants && self.begin_behind(core, id, name);
        let key = self.behind.keys.get_mut(&id.hash);
        let Some(mut key) = key.and_then(|key| key.take_if(|key| key.machine.key() == name)) else {
            let reply = HomeReply::PassThrough((id, Bytes::copy_from_slice(name)), op, waiter);
            return self.send_reply(usize::from(waiter.worker), reply);
        };
        key.active_ns = core.now_ns;
        if asker.beside_until_ns > key.doubted_ns {
            key.doubted_ns = core.now_ns.max(asker.beside_until_ns);
            key.machine.doubt_total();
        }
        if !wanted && !key.machine.passes_through() {
            key.machine.stop_absorbing();
            self.look_again_behind(&mut key);
        }
        if self.behind.forbidden && op != WriteBehindOp::Get {
            core.tallies.error(ErrorKind::UpstreamUnavailable);
            self.fail_member(core, waiter, FORBIDDEN);
        } else {
            let behind = &mut self.behind;
            let taken = key.machine.take(op, waiter, core.now_ns, &behind.policy, &mut behind.budget);
            match taken {
                Taken::Waits => self.look_again_behind(&mut key),
                Taken::PassThrough => self.pass_through(&key, op, waiter),
                Taken::Answer { .. } | Taken::Refused => self.settle_behind_op(core, &mut key, waiter, taken),
            }
        }
        self.put_back(key);
    }

    /// Makes the machine of a key, if there is none and there is room. Says whether the rules want one: those of the worker
    /// that asks may be older.
    fn begin_behind(&mut self, core: &mut Core, id: KeyId, name: &[u8]) -> bool {
        if !self.wants_behind(name, id.hash) {
            return false;
        }
        if self.behind.keys.contains_key(&id.hash) || self.behind.keys.len() >= BEHIND_KEYS_MAX {
            return true;
        }
        let row = core.tallies.combine.keys.acquire(Arc::from(name));
        let mut machine = WriteBehindKey::new(Bytes::copy_from_slice(name), self.behind_identity());
        (0..self.behind.barriers.hold_new_key(id.hash)).for_each(|_| machine.hold());
        self.keep_key(BehindKey::new(id, machine, row, core.now_ns));
        true
    }

    /// Puts a barrier into the queues of its keys, all at once.
    fn begin_barrier(&mut self, core: &mut Core, id: BarrierId, keys: Vec<NamedKey>, all: bool) {
        for (key, name) in &keys {
            self.begin_behind(core, *key, name);
        }
        let hashes: Vec<u64> = match all {
            true => self.behind.keys.keys().copied().collect(),
            false => keys.iter().map(|(key, _)| key.hash).collect(),
        };
        let mut awaited = 0;
        for hash in hashes {
            let Some(key) = self.behind.get_mut(hash) else { continue };
            key.active_ns = core.now_ns;
            if !key.machine.barrier(id) {
                // Where it stands already it ends as soon as its turn has come.
                return self.reply_to_barrier(id, Err(TOO_MANY));
            }
            awaited += 1;
            self.look(hash);
        }
        if self.behind.barriers.begin(id, awaited, all) {
            self.reply_to_barrier(id, Ok(()));
        }
    }

    /// A barrier has come to the front of the queue of a key.
    pub(super) fn hold_for(&mut self, key: &mut BehindKey, id: BarrierId) {
        match self.behind.barriers.on_turn(id, key.id.hash) {
            BarrierTurn::Waits => {}
            BarrierTurn::Granted => self.reply_to_barrier(id, Ok(())),
            BarrierTurn::Ended => key.machine.end_hold(),
        }
    }

    /// Lets go the keys that a barrier holds.
    pub(super) fn end_barrier(&mut self, id: BarrierId) {
        for hash in self.behind.barriers.end(id) {
            if let Some(key) = self.behind.get_mut(hash) {
                key.machine.end_hold();
                self.look(hash);
            }
        }
    }

    pub(super) fn reply_to_barrier(&mut self, id: BarrierId, granted: Result<(), &'static str>) {
        self.send_reply(usize::from(id.worker), HomeReply::Barrier(id, granted));
    }

    pub(super) fn pass_through(&mut self, key: &BehindKey, op: WriteBehindOp, waiter: Waiter) {
        self.send_reply(usize::from(waiter.worker), HomeReply::PassThrough(key.named(), op, waiter));
    }

    /// Ends an operation that the machine has answered or refused. What the journal refuses is taken back before another is
    /// answered on top of it.
    pub(super) fn settle_behind_op(
        &mut self,
        core: &mut Core,
        key: &mut BehindKey,
        waiter: Waiter,
        taken: Taken,
    ) {
        let Taken::Answer { answer, delta } = taken else {
            core.tallies.write_behind.refused_full += 1;
            core.tallies.error(ErrorKind::Overload);
            return self.fail_member(core, waiter, TOO_MANY);
        };
        let behind = &mut self.behind;
        let admitted = match &mut behind.journal {
            Some(side) => side.admit(key, waiter, answer, delta),
            None => Ok(true),
        };
        if let (Err(_), Some(delta)) = (&admitted, delta) {
            key.machine.retract(delta.sequence, &mut behind.budget);
        }
        // What waits for Redis is looked at when it begins to, and when it is enough for a flush.
        let gathered = key.machine.gathered();
        let is_news = gathered == 1 || gathered.is_multiple_of(behind.policy.flush_deltas_max);
        if delta.is_some() && is_news {
            self.look_again_behind(key);
        }
        match admitted {
            Ok(true) => self.answer_member(core, waiter, answer),
            // It waits for the disk.
            Ok(false) => {}
            Err(refused) => self.fail_member(core, waiter, &journal::refusal(&refused)),
        }
    }

    pub(super) fn answer_member(&mut self, core: &mut Core, waiter: Waiter, answer: Answer) {
        let mut reply = std::mem::take(&mut self.scratch);
        reply.clear();
        answer.encode(waiter.version, &mut reply);
        self.reply_member(core, waiter, &reply, Outcome::Absorbed);
        self.scratch = reply;
    }

    /// Answers a member with an error of ours: `text` with its code.
    pub(super) fn fail_member(&mut self, core: &mut Core, waiter: Waiter, text: &str) {
        let mut reply = Vec::new();
        encode::error(&mut reply, text);
        self.reply_member(core, waiter, &reply, Outcome::Failed);
    }

    fn reply_member(&mut self, core: &mut Core, waiter: Waiter, reply: &[u8], outcome: Outcome) {
        let worker = usize::from(waiter.worker);
        if worker == core.index {
            core.effects.answer_absorbed(waiter, outcome, ReplyBytes::Borrowed(reply));
        } else {
            self.send_reply(worker, HomeReply::Answer(waiter, Bytes::copy_from_slice(reply), outcome));
        }
    }

    /// Says something to a worker, at the end of this tick.
    fn send_reply(&mut self, worker: usize, reply: HomeReply) {
        self.behind.replies[worker].push(reply);
        self.wake();
    }

    /// Sends what has gathered for other workers. What has gathered for this one is for it to serve.
    pub fn exchange_behind(&mut self, core: &mut Core) -> (Vec<BehindRequest>, Vec<HomeReply>) {
        let own = core.index;
        for worker in (0..self.behind.outboxes.len()).filter(|worker| *worker != own) {
            let requests = std::mem::take(&mut self.behind.outboxes[worker]);
            if !requests.is_empty()
                && let Some(WorkerMessage::Behind(requests)) =
                    self.try_send(core, worker, WorkerMessage::Behind(requests))
            {
                self.behind.outboxes[worker] = requests;
            }
            let replies = std::mem::take(&mut self.behind.replies[worker]);
            if !replies.is_empty()
                && let Some(WorkerMessage::HomeReplies(replies)) =
                    self.try_send(core, worker, WorkerMessage::HomeReplies(replies))
            {
                self.behind.replies[worker] = replies;
            }
        }
        (std::mem::take(&mut self.behind.outboxes[own]), std::mem::take(&mut self.behind.replies[own]))
    }
}
