//! A key is driven: asked what is due, sent, and told what came back.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{BehindKey, Member, Stage, journal};
use crate::combine::{Action, DeltaFlush, FlushOutcome, Retry};
use crate::journal::FlushEnd;
use crate::resp::{RespVersion, encode};
use crate::shared::behind::BehindWord;
use crate::shared::labels::ErrorKind;
use crate::worker::flush::Put;
use crate::worker::hot::Due;
use crate::worker::hot::outcome::target_of;
use crate::worker::names::FlushKey;
use crate::worker::owners::Worker;
use crate::worker::pending::Origin;
use crate::worker::reply::ReplyBytes;

pub(super) const UNREACHABLE: &str = "ERR hotgate: the key's node can't be reached or does not serve its slot, and the key has increments that wait for it \
                           or was not known yet; the command was not sent, try again";

const NOT_JOURNALED: &str = "ERR hotgate: the key has increments that can't be flushed, since the journal takes no records; the log says why; \
                             the command was not sent, try again later";

impl super::Behind {
    /// The keys to be looked at in this tick.
    pub(in crate::worker::hot) fn changed(&mut self) -> &mut VecDeque<u64> {
        &mut self.dirty
    }

    /// Whether keys are to be looked at now.
    pub(in crate::worker::hot) fn has_changed(&self) -> bool {
        !self.dirty.is_empty()
    }
}

impl Worker {
    /// Looks at keys that have changed, so many at the most.
    pub(in crate::worker::hot) fn pump_behind(&mut self, looks_max: usize) {
        for _ in 0..looks_max {
            let Some(hash) = self.hot.behind.dirty.pop_front() else { break };
            self.look_behind(hash);
        }
        self.exchange_behind();
    }

    /// Looks at a key that has changed or whose time has come.
    pub(in crate::worker::hot) fn look_behind(&mut self, hash: u64) {
        self.with_behind(hash, |worker, key| {
            key.dirty = false;
            key.deltas_since_look = 0;
            if key.timer_ns <= worker.core.now_ns {
                key.timer_ns = 0;
            }
            worker.drive(hash, key);
        });
    }

    /// Lends a key out of the table.
    pub(super) fn with_behind(&mut self, hash: u64, act: impl FnOnce(&mut Self, &mut BehindKey)) {
        let Some(mut key) = self.hot.behind.keys.remove(&hash) else { return };
        act(self, &mut key);
        self.tally_behind(hash, &mut key);
        self.hot.behind.keys.insert(hash, key);
    }

    /// Does what is due for a key, until it has to wait for something.
    fn drive(&mut self, hash: u64, key: &mut BehindKey) {
        self.give_up_overdue_members(hash, key);
        loop {
            match key.stage {
                _ if self.core.now_ns < key.pause_until_ns => {
                    return self.look_at(hash, key, key.pause_until_ns);
                }
                Stage::BaseDue => {
                    let mut request = BytesMut::new();
                    encode::command(&mut request, &[b"GET", key.machine.key()]);
                    match self.send_behind(hash, key, request.freeze()) {
                        true => key.stage = Stage::BaseSent,
                        false => self.pause(hash, key),
                    }
                    return;
                }
                Stage::FlushDue if !self.can_reach(key) => {
                    self.take_back_flush(key);
                    return self.pause(hash, key);
                }
                // No flush is begun, and written down as begun, that cannot be sent: who takes over the journal would have to take
                // it for one that may have taken effect.
                Stage::Rest if key.machine.has_unsent() && !self.can_reach(key) => {
                    return self.pause(hash, key);
                }
                Stage::Rest if key.machine.has_unsent() => {
                    self.note_silence(key, key.failing_since_ns);
                    if let Some(due_ns) = self.look_pending(key) {
                        return self.look_at(hash, key, due_ns);
                    }
                }
                _ => {}
            }
            let behind = &mut self.hot.behind;
            let at_once = self.core.draining || key.hurried;
            match key.machine.next(self.core.now_ns, &behind.policy, at_once, &mut behind.budget) {
                Action::AskBase => key.stage = Stage::BaseDue,
                Action::Flush(flush) => {
                    key.hurried = false;
                    return self.begin_flush(hash, key, &flush);
                }
                Action::Release(member) => self.release(hash, key, member),
                Action::Over(outcome) => {
                    key.stage = Stage::Rest;
                    self.flush_over(key, &outcome);
                }
                Action::Resume => {
                    let mut told = Vec::new();
                    let sink = |member, taken| told.push((member, taken));
                    key.machine.resume(self.core.now_ns, &behind.policy, &mut behind.budget, sink);
                    self.answer_resumed(hash, key, told);
                }
                Action::NotBefore(due_ns) => return self.look_at(hash, key, due_ns),
                Action::InFlight => return,
                Action::Idle => {
                    key.hurried = false;
                    return;
                }
            }
        }
    }

    /// Sends a flush, or first has its start written down.
    fn begin_flush(&mut self, hash: u64, key: &mut BehindKey, flush: &DeltaFlush) {
        match &mut self.hot.behind.journal {
            Some(side) if !flush.resend => match side.start(key, hash, flush) {
                Ok(ticket) => key.stage = Stage::FlushJournaled(ticket),
                Err(refused) => self.flush_not_written(hash, key, flush.token, &journal::refusal(&refused)),
            },
            _ => self.send_flush_of(hash, key),
        }
    }

    /// The journal does not take the start of a flush, so that its deltas gather again.
    pub(super) fn flush_not_written(&mut self, hash: u64, key: &mut BehindKey, token: u64, why: &str) {
        tracing::debug!(key = key.name(), why, "a write-behind flush is put off");
        key.machine.flush_not_written(token);
        key.stage = Stage::Rest;
        self.put_off(hash, key, NOT_JOURNALED);
    }

    /// The flush that is to be sent again has not taken effect, and its node can't be reached: its deltas gather again.
    fn take_back_flush(&mut self, key: &mut BehindKey) {
        let Some(token) = key.machine.take_back_flush() else { return };
        key.stage = Stage::Rest;
        if let Some(side) = &mut self.hot.behind.journal {
            side.settle(key, token, FlushEnd::Returned);
        }
    }

    /// The start of a flush is on disk.
    pub(super) fn flush_written(&mut self, hash: u64, ticket: crate::journal::Ticket) {
        self.with_behind(hash, |worker, key| {
            if key.stage == Stage::FlushJournaled(ticket) {
                worker.send_flush_of(hash, key);
            }
        });
    }

    fn send_flush_of(&mut self, hash: u64, key: &mut BehindKey) {
        let mut bytes = BytesMut::new();
        key.machine.encode(&mut bytes);
        match self.send_behind(hash, key, bytes.freeze()) {
            true => key.stage = Stage::FlushSent,
            false => {
                key.machine.not_executed();
                key.stage = Stage::FlushDue;
                self.pause(hash, key);
            }
        }
    }

    fn send_behind(&mut self, hash: u64, key: &mut BehindKey, request: Bytes) -> bool {
        key.sending = self.hot.next_sending();
        key.sent_ns = self.core.now_ns;
        let origin = Origin::Behind(FlushKey { hash, sending: key.sending });
        let put = self.put_flush(key.slot, &mut key.target, RespVersion::Resp2, origin, &[request]);
        matches!(put, Put::Sent(_))
    }

    /// Whether the key's node takes requests, so that the flush should be asked for again.
    fn can_reach(&mut self, key: &BehindKey) -> bool {
        let node = key.target.map(|(node, _)| node);
        match node.or_else(|| self.core.snapshots.topology.master_of(key.slot)) {
            Some(node) => self.upstreams.flush_connection(&mut self.core, node, RespVersion::Resp2).is_some(),
            None => {
                self.core.refresh(crate::shared::refresh::RefreshReason::Unassigned);
                false
            }
        }
    }

    /// The next attempt waits a moment. Who waits for a base that has been known before does not.
    fn pause(&mut self, hash: u64, key: &mut BehindKey) {
        let mut told = Vec::new();
        let behind = &mut self.hot.behind;
        let sink = |member, taken| told.push((member, taken));
        if key.machine.base_unreachable(self.core.now_ns, &behind.policy, &mut behind.budget, sink) {
            self.answer_resumed(hash, key, told);
            if key.stage == Stage::BaseDue {
                key.stage = Stage::Rest;
                key.failing_since_ns = 0;
                key.dirty = true;
                self.hot.behind.dirty.push_back(hash);
                return self.hot.wake();
            }
        }
        self.put_off(hash, key, UNREACHABLE);
    }

    /// The next attempt waits a moment; `why` is the error of those who have waited too long.
    fn put_off(&mut self, hash: u64, key: &mut BehindKey, why: &'static str) {
        if key.failing_since_ns == 0 {
            key.failing_since_ns = self.core.now_ns;
        }
        key.failing_why = why;
        key.pause_until_ns = self.hot.next_retry_ns(self.core.now_ns);
        self.look_at(hash, key, key.pause_until_ns);
    }

    /// Looks at a key again at this time, unless it will be before.
    pub(super) fn look_at(&mut self, hash: u64, key: &mut BehindKey, due_ns: u64) {
        if key.timer_ns == 0 || due_ns < key.timer_ns {
            key.timer_ns = due_ns;
            self.hot.arm(Due::Behind(hash), due_ns);
        }
    }

    /// A reply to what was sent for a key.
    pub fn settle_behind(&mut self, flush: FlushKey, reply: ReplyBytes<'_>) {
        let hash = flush.hash;
        self.with_behind(hash, |worker, key| {
            if key.sending == flush.sending {
                match key.stage {
                    Stage::BaseSent => worker.base_replied(hash, key, reply.as_slice()),
                    Stage::FlushSent => worker.flush_replied(hash, key, reply.as_slice()),
                    _ => {}
                }
                worker.note_silence(key, key.sent_ns);
                worker.drive(hash, key);
            }
        });
    }

    /// What was sent for a key was lost with its connection; `written` when it may have been executed.
    pub fn behind_lost(&mut self, flush: FlushKey, written: bool) {
        let hash = flush.hash;
        self.with_behind(hash, |worker, key| {
            if key.sending != flush.sending {
                return;
            }
            match key.stage {
                Stage::BaseSent => key.stage = Stage::BaseDue,
                Stage::FlushSent => {
                    if written {
                        key.machine.outcome_unknown();
                    } else {
                        key.machine.not_executed();
                    }
                    key.stage = Stage::FlushDue;
                }
                _ => return,
            }
            worker.pause(hash, key);
        });
    }

    fn base_replied(&mut self, hash: u64, key: &mut BehindKey, reply: &[u8]) {
        let mut told = Vec::new();
        let behind = &mut self.hot.behind;
        let sink = |member, taken| told.push((member, taken));
        if key.machine.base(reply, self.core.now_ns, &behind.policy, &mut behind.budget, sink) {
            key.stage = Stage::Rest;
            key.failing_since_ns = 0;
            self.answer_resumed(hash, key, told);
        } else {
            key.stage = Stage::BaseDue;
            self.elsewhere(hash, key, reply);
        }
    }

    fn flush_replied(&mut self, hash: u64, key: &mut BehindKey, reply: &[u8]) {
        let mut told = Vec::new();
        let behind = &mut self.hot.behind;
        let sink = |member, taken| told.push((member, taken));
        let outcome = key.machine.settle(reply, self.core.now_ns, &behind.policy, &mut behind.budget, sink);
        key.stage = Stage::Rest;
        match &outcome {
            Some(FlushOutcome::Again(Retry::Refused(why)) | FlushOutcome::Returned { reason: why, .. }) => {
                behind.forbidden |= is_forbidden(why);
            }
            Some(FlushOutcome::Applied { .. }) => behind.forbidden = false,
            _ => {}
        }
        match outcome {
            Some(FlushOutcome::Again(retry)) => {
                key.stage = Stage::FlushDue;
                match retry {
                    Retry::NoScript | Retry::Asked => {}
                    Retry::Elsewhere => self.elsewhere(hash, key, reply),
                    Retry::Refused(text) => {
                        self.doubt_master_of(key, &text);
                        if key.failing_since_ns == 0 {
                            tracing::warn!(
                                key = key.name(),
                                error = text,
                                "Redis refuses a write-behind flush"
                            );
                        }
                        self.pause(hash, key);
                    }
                }
            }
            Some(outcome) => {
                self.flush_over(key, &outcome);
                match outcome {
                    FlushOutcome::Returned { reason, .. } => {
                        self.doubt_master_of(key, &reason);
                        if key.failing_since_ns == 0 {
                            key.failing_since_ns = self.core.now_ns;
                        }
                    }
                    _ => key.failing_since_ns = 0,
                }
            }
            None => {}
        }
        self.answer_resumed(hash, key, told);
    }

    /// A node that refuses a flush because it only follows another is master no more.
    fn doubt_master_of(&mut self, key: &BehindKey, error: &str) {
        if let Some(node) =
            self.core.snapshots.topology.master_of(key.slot).filter(|_| error.starts_with("READONLY"))
        {
            self.core.doubt_master(node);
        }
    }

    /// Follows a redirection at once the first time; a second one in a row, or any other refusal, waits a moment.
    fn elsewhere(&mut self, hash: u64, key: &mut BehindKey, reply: &[u8]) {
        match target_of(&mut self.core, key.slot, reply) {
            Some(target) if key.failing_since_ns == 0 => {
                key.target = Some(target);
                key.failing_since_ns = self.core.now_ns;
            }
            target => {
                key.target = target.filter(|(_, asking)| *asking);
                self.pause(hash, key);
            }
        }
    }

    /// Reports what became of a flush to the journal and to people.
    fn flush_over(&mut self, key: &BehindKey, outcome: &FlushOutcome) {
        let (token, end) = match outcome {
            FlushOutcome::Applied { token, .. } => (*token, FlushEnd::Acknowledged),
            FlushOutcome::Returned { token, reason } => {
                // Once, until it does.
                if key.failing_since_ns == 0 {
                    tracing::warn!(
                        key = key.name(),
                        reason,
                        "a write-behind flush did not take effect, and will go again"
                    );
                }
                (*token, FlushEnd::Returned)
            }
            FlushOutcome::Lost(loss) | FlushOutcome::Unknown(loss) => {
                let what = match outcome {
                    FlushOutcome::Unknown(_) => {
                        self.core.tallies.error(ErrorKind::UnknownOutcome);
                        "whether acknowledged increments are in Redis is not known"
                    }
                    _ => "acknowledged increments are lost: Redis refused them",
                };
                let (sum, increments, reason) = (loss.sum, loss.count, &loss.reason);
                tracing::error!(key = key.name(), sum, increments, reason, "{what}");
                (loss.token, FlushEnd::GivenUp)
            }
            FlushOutcome::Again(_) => return,
        };
        if let Some(side) = &mut self.hot.behind.journal {
            side.settle(key, token, end);
        }
    }

    /// Lets a member go that waited for all before it.
    fn release(&mut self, hash: u64, key: &mut BehindKey, member: Member) {
        let name = key.machine.key().clone();
        match member.op {
            None => self.tell(name, hash, member.waiter, BehindWord::Pass),
            Some(op) => {
                // Its own worker keeps it in order from here on, and a key that is passed through has no base to be asked for.
                key.machine.released_done();
                self.tell(name, hash, member.waiter, BehindWord::Yours(op));
            }
        }
    }

    /// Answers members that have waited too long for a node that can't be reached, or for the journal.
    fn give_up_overdue_members(&mut self, hash: u64, key: &mut BehindKey) {
        let patience_ns = self.core.config.upstream.unavailable_wait.as_nanos() as u64;
        let failing = key.failing_since_ns != 0;
        if !failing || self.core.now_ns.saturating_sub(key.failing_since_ns) < patience_ns {
            return;
        }
        let mut members = Vec::new();
        key.machine.abandon_waiting(|member| members.push(member));
        for member in members {
            self.core.tallies.error(ErrorKind::UpstreamUnavailable);
            match member.op {
                Some(_) => self.fail_member(hash, member.waiter, key.failing_why),
                None => {
                    let name = key.machine.key().clone();
                    self.tell(name, hash, member.waiter, BehindWord::Refused(key.failing_why));
                }
            }
        }
        if matches!(key.stage, Stage::BaseDue | Stage::BaseSent) {
            // The next operation asks anew, with patience of its own.
            key.stage = Stage::Rest;
            key.failing_since_ns = 0;
        }
    }
}

/// Whether Redis refuses a flush, or what its script does, because the gateway's user lacks a right.
fn is_forbidden(why: &str) -> bool {
    ["NOPERM", "ERR unknown command", "ERR The user executing the script"]
        .iter()
        .any(|word| why.starts_with(word))
}
