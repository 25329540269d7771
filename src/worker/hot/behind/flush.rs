//! A key is driven: asked what is due, sent, and told what came back.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::{BehindKey, Member, Stage, journal};
use crate::combine::{Action, DeltaFlush, FlushOutcome, Retry};
use crate::journal::FlushEnd;
use crate::resp::{RespVersion, encode};
use crate::shared::behind::HomeReply;
use crate::shared::labels::ErrorKind;
use crate::worker::core::Core;
use crate::worker::hot::Due;
use crate::worker::hot::HotKeys;
use crate::worker::hot::exit::{FlushExit, FlushRequest, Put};
use crate::worker::hot::owner_request::Followed;
use crate::worker::names::FlushKey;
use crate::worker::pending::Origin;
use crate::worker::reply::ReplyBytes;

pub(super) const UNREACHABLE: &str = "ERR hotgate: the key's node can't be reached or does not serve its slot, and the key has increments that wait for it \
                           or was not known yet; the command was not sent, try again";

const NOT_JOURNALED: &str = "ERR hotgate: the key has increments that can't be flushed, since the journal takes no records; the log says why; \
                             the command was not sent, try again later";

impl super::Behind {
    /// The keys to be looked at in this tick.
    pub fn changed(&mut self) -> &mut VecDeque<u64> {
        &mut self.dirty
    }

    /// Whether keys are to be looked at now.
    pub(in crate::worker::hot) fn has_changed(&self) -> bool {
        !self.dirty.is_empty()
    }
}

impl HotKeys {
    /// Looks at a key that has changed or whose time has come.
    pub fn look_behind(&mut self, core: &mut Core, exit: &mut impl FlushExit, hash: u64) {
        self.with_behind(core, hash, |hot, core, key| {
            key.dirty = false;
            key.deltas_since_look = 0;
            if key.timer_ns <= core.now_ns {
                key.timer_ns = 0;
            }
            hot.drive(core, exit, hash, key);
        });
    }

    /// Lends a key out of the table.
    pub(super) fn with_behind(
        &mut self,
        core: &mut Core,
        hash: u64,
        act: impl FnOnce(&mut Self, &mut Core, &mut BehindKey),
    ) {
        let Some(mut key) = self.behind.keys.remove(&hash) else { return };
        act(self, core, &mut key);
        self.tally_behind(core, hash, &mut key);
        self.behind.keys.insert(hash, key);
    }

    /// Does what is due for a key, until it has to wait for something.
    fn drive(&mut self, core: &mut Core, exit: &mut impl FlushExit, hash: u64, key: &mut BehindKey) {
        self.give_up_overdue_members(core, hash, key);
        loop {
            if let Some(due_ns) = key.owner.backs_off_until(core.now_ns) {
                return self.look_at_behind(hash, key, due_ns);
            }
            match key.stage {
                Stage::BaseDue => {
                    let mut request = BytesMut::new();
                    encode::command(&mut request, &[b"GET", key.machine.key()]);
                    match self.send_behind(core, exit, hash, key, request.freeze()) {
                        true => key.stage = Stage::BaseSent,
                        false => self.pause(core, hash, key),
                    }
                    return;
                }
                Stage::FlushDue if !self.can_reach(core, exit, key) => {
                    self.take_back_flush(key);
                    return self.pause(core, hash, key);
                }
                // No flush is begun, and written down as begun, that cannot be sent: who takes over the journal would have to take
                // it for one that may have taken effect.
                Stage::Rest if key.machine.has_unsent() && !self.can_reach(core, exit, key) => {
                    return self.pause(core, hash, key);
                }
                Stage::Rest if key.machine.has_unsent() => {
                    self.note_silence(core, key, key.owner.failing_since_ns().unwrap_or(0));
                    if let Some(due_ns) = self.look_pending(core, key) {
                        return self.look_at_behind(hash, key, due_ns);
                    }
                }
                _ => {}
            }
            let behind = &mut self.behind;
            let at_once = core.draining || key.hurried;
            match key.machine.next(core.now_ns, &behind.policy, at_once, &mut behind.budget) {
                Action::AskBase => key.stage = Stage::BaseDue,
                Action::Flush(flush) => {
                    key.hurried = false;
                    return self.begin_flush(core, exit, hash, key, &flush);
                }
                Action::Release(member) => self.release(hash, key, member),
                Action::Over(outcome) => {
                    key.stage = Stage::Rest;
                    self.flush_over(core, key, &outcome);
                }
                Action::Resume => {
                    let mut told = Vec::new();
                    let sink = |member, taken| told.push((member, taken));
                    key.machine.resume(core.now_ns, &behind.policy, &mut behind.budget, sink);
                    self.answer_resumed(core, hash, key, told);
                }
                Action::NotBefore(due_ns) => return self.look_at_behind(hash, key, due_ns),
                Action::InFlight => return,
                Action::Idle => {
                    key.hurried = false;
                    return;
                }
            }
        }
    }

    /// Sends a flush, or first has its start written down.
    fn begin_flush(
        &mut self,
        core: &mut Core,
        exit: &mut impl FlushExit,
        hash: u64,
        key: &mut BehindKey,
        flush: &DeltaFlush,
    ) {
        match &mut self.behind.journal {
            Some(side) if !flush.resend => match side.start(key, hash, flush) {
                Ok(ticket) => key.stage = Stage::FlushJournaled(ticket),
                Err(refused) => {
                    self.flush_not_written(core, hash, key, flush.token, &journal::refusal(&refused))
                }
            },
            _ => self.send_flush_of(core, exit, hash, key),
        }
    }

    /// The journal does not take the start of a flush, so that its deltas gather again.
    pub(super) fn flush_not_written(
        &mut self,
        core: &mut Core,
        hash: u64,
        key: &mut BehindKey,
        token: u64,
        why: &str,
    ) {
        tracing::debug!(key = key.name(), why, "a write-behind flush is put off");
        key.machine.flush_not_written(token);
        key.stage = Stage::Rest;
        self.put_off(core, hash, key, NOT_JOURNALED);
    }

    /// The flush that is to be sent again has not taken effect, and its node can't be reached: its deltas gather again.
    fn take_back_flush(&mut self, key: &mut BehindKey) {
        let Some(token) = key.machine.take_back_flush() else { return };
        key.stage = Stage::Rest;
        if let Some(side) = &mut self.behind.journal {
            side.settle(key, token, FlushEnd::Returned);
        }
    }

    /// The start of a flush is on disk.
    pub(super) fn flush_written(
        &mut self,
        core: &mut Core,
        exit: &mut impl FlushExit,
        hash: u64,
        ticket: crate::journal::Ticket,
    ) {
        self.with_behind(core, hash, |hot, core, key| {
            if key.stage == Stage::FlushJournaled(ticket) {
                hot.send_flush_of(core, exit, hash, key);
            }
        });
    }

    fn send_flush_of(&mut self, core: &mut Core, exit: &mut impl FlushExit, hash: u64, key: &mut BehindKey) {
        let mut bytes = BytesMut::new();
        key.machine.encode(&mut bytes);
        match self.send_behind(core, exit, hash, key, bytes.freeze()) {
            true => key.stage = Stage::FlushSent,
            false => {
                key.machine.not_executed();
                key.stage = Stage::FlushDue;
                self.pause(core, hash, key);
            }
        }
    }

    fn send_behind(
        &mut self,
        core: &mut Core,
        exit: &mut impl FlushExit,
        hash: u64,
        key: &mut BehindKey,
        request: Bytes,
    ) -> bool {
        let sending = self.next_sending();
        key.sent_ns = core.now_ns;
        let flush = FlushRequest {
            origin: Origin::Behind(FlushKey { hash, sending }),
            version: RespVersion::Resp2,
            commands: &[request],
        };
        matches!(key.owner.send(core, exit, (key.place, sending), flush), Put::Sent(_))
    }

    /// Whether the key's node takes requests, so that the flush should be asked for again.
    fn can_reach(&mut self, core: &mut Core, exit: &mut impl FlushExit, key: &BehindKey) -> bool {
        let node = key.owner.target().map(|target| target.node);
        match node.or_else(|| core.snapshots.topology.master_of(key.place)) {
            Some(node) => exit.reaches(core, node),
            None => {
                core.refresh(key.place.cluster, crate::shared::refresh::RefreshReason::Unassigned);
                false
            }
        }
    }

    /// The next attempt waits a moment. Who waits for a base that has been known before does not.
    fn pause(&mut self, core: &mut Core, hash: u64, key: &mut BehindKey) {
        let mut told = Vec::new();
        let behind = &mut self.behind;
        let sink = |member, taken| told.push((member, taken));
        if key.machine.base_unreachable(core.now_ns, &behind.policy, &mut behind.budget, sink) {
            self.answer_resumed(core, hash, key, told);
            if key.stage == Stage::BaseDue {
                key.stage = Stage::Rest;
                key.owner.on_success();
                key.dirty = true;
                self.behind.dirty.push_back(hash);
                return self.wake();
            }
        }
        self.put_off(core, hash, key, UNREACHABLE);
    }

    /// The next attempt waits a moment; `why` is the error of those who have waited too long.
    fn put_off(&mut self, core: &mut Core, hash: u64, key: &mut BehindKey, why: &'static str) {
        key.owner.on_failure(core.now_ns);
        key.failing_why = why;
        let retry_at_ns = self.next_retry_ns(core.now_ns);
        key.owner.back_off_until(retry_at_ns);
        self.look_at_behind(hash, key, retry_at_ns);
    }

    /// Looks at a key again at this time, unless it will be before.
    pub(super) fn look_at_behind(&mut self, hash: u64, key: &mut BehindKey, due_ns: u64) {
        if key.timer_ns == 0 || due_ns < key.timer_ns {
            key.timer_ns = due_ns;
            self.arm(Due::Behind(hash), due_ns);
        }
    }

    /// A reply to what was sent for a key.
    pub fn settle_behind(
        &mut self,
        core: &mut Core,
        exit: &mut impl FlushExit,
        flush: FlushKey,
        reply: ReplyBytes<'_>,
    ) {
        let hash = flush.hash;
        self.with_behind(core, hash, |hot, core, key| {
            if key.owner.awaits(flush.sending) {
                match key.stage {
                    Stage::BaseSent => hot.base_replied(core, hash, key, reply.as_slice()),
                    Stage::FlushSent => hot.flush_replied(core, hash, key, reply.as_slice()),
                    _ => {}
                }
                hot.note_silence(core, key, key.sent_ns);
                hot.drive(core, exit, hash, key);
            }
        });
    }

    /// What was sent for a key was lost with its connection; `written` when it may have been executed.
    pub fn behind_lost(&mut self, core: &mut Core, flush: FlushKey, written: bool) {
        let hash = flush.hash;
        self.with_behind(core, hash, |hot, core, key| {
            if !key.owner.awaits(flush.sending) {
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
            hot.pause(core, hash, key);
        });
    }

    fn base_replied(&mut self, core: &mut Core, hash: u64, key: &mut BehindKey, reply: &[u8]) {
        let mut told = Vec::new();
        let behind = &mut self.behind;
        let sink = |member, taken| told.push((member, taken));
        if key.machine.base(reply, core.now_ns, &behind.policy, &mut behind.budget, sink) {
            key.stage = Stage::Rest;
            key.owner.on_success();
            self.answer_resumed(core, hash, key, told);
        } else {
            key.stage = Stage::BaseDue;
            self.elsewhere(core, hash, key, reply);
        }
    }

    fn flush_replied(&mut self, core: &mut Core, hash: u64, key: &mut BehindKey, reply: &[u8]) {
        let mut told = Vec::new();
        let behind = &mut self.behind;
        let sink = |member, taken| told.push((member, taken));
        let outcome = key.machine.settle(reply, core.now_ns, &behind.policy, &mut behind.budget, sink);
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
                    Retry::Elsewhere => self.elsewhere(core, hash, key, reply),
                    Retry::Refused(text) => {
                        self.suspect_master_of(core, key, &text);
                        if !key.owner.is_failing() {
                            tracing::warn!(
                                key = key.name(),
                                error = text,
                                "Redis refuses a write-behind flush"
                            );
                        }
                        self.pause(core, hash, key);
                    }
                }
            }
            Some(outcome) => {
                self.flush_over(core, key, &outcome);
                match outcome {
                    FlushOutcome::Returned { reason, .. } => {
                        self.suspect_master_of(core, key, &reason);
                        key.owner.on_failure(core.now_ns);
                    }
                    _ => key.owner.on_success(),
                }
            }
            None => {}
        }
        self.answer_resumed(core, hash, key, told);
    }

    /// A node that refuses a flush because it only follows another is master no more.
    fn suspect_master_of(&mut self, core: &mut Core, key: &BehindKey, error: &str) {
        if let Some(node) =
            core.snapshots.topology.master_of(key.place).filter(|_| error.starts_with("READONLY"))
        {
            core.suspect_master(node);
        }
    }

    /// Follows a redirection at once the first time; a second one in a row, or any other refusal, waits a moment.
    fn elsewhere(&mut self, core: &mut Core, hash: u64, key: &mut BehindKey, reply: &[u8]) {
        match key.owner.follow(core, key.place, reply) {
            Followed::AtOnce => {}
            Followed::Later | Followed::Nowhere => self.pause(core, hash, key),
        }
    }

    /// Reports what became of a flush to the journal and to people.
    fn flush_over(&mut self, core: &mut Core, key: &BehindKey, outcome: &FlushOutcome) {
        let (token, end) = match outcome {
            FlushOutcome::Applied { token, .. } => (*token, FlushEnd::Acknowledged),
            FlushOutcome::Returned { token, reason } => {
                // Once, until it does.
                if !key.owner.is_failing() {
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
                        core.tallies.error(ErrorKind::UnknownOutcome);
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
        if let Some(side) = &mut self.behind.journal {
            side.settle(key, token, end);
        }
    }

    /// Lets a member go that waited for all before it.
    fn release(&mut self, hash: u64, key: &mut BehindKey, member: Member) {
        let name = key.machine.key().clone();
        match member.op {
            None => self.send_reply(name, hash, member.waiter, HomeReply::Granted),
            Some(op) => {
                // Its own worker keeps it in order from here on, and a key that is passed through has no base to be asked for.
                key.machine.released_done();
                self.send_reply(name, hash, member.waiter, HomeReply::PassThrough(op));
            }
        }
    }

    /// Answers members that have waited too long for a node that can't be reached, or for the journal.
    fn give_up_overdue_members(&mut self, core: &mut Core, hash: u64, key: &mut BehindKey) {
        let patience_ns = core.unavailable_wait_ns(key.place.cluster);
        let failing_since_ns = key.owner.failing_since_ns();
        if failing_since_ns.is_none_or(|since_ns| core.now_ns.saturating_sub(since_ns) < patience_ns) {
            return;
        }
        let mut members = Vec::new();
        key.machine.abandon_waiting(|member| members.push(member));
        for member in members {
            core.tallies.error(ErrorKind::UpstreamUnavailable);
            match member.op {
                Some(_) => self.fail_member(core, hash, member.waiter, key.failing_why),
                None => {
                    let name = key.machine.key().clone();
                    self.send_reply(name, hash, member.waiter, HomeReply::Refused(key.failing_why));
                }
            }
        }
        if matches!(key.stage, Stage::BaseDue | Stage::BaseSent) {
            // The next operation asks anew, with patience of its own.
            key.stage = Stage::Rest;
            key.owner.on_success();
        }
    }
}

/// Whether Redis refuses a flush, or what its script does, because the gateway's user lacks a right.
fn is_forbidden(why: &str) -> bool {
    ["NOPERM", "ERR unknown command", "ERR The user executing the script"]
        .iter()
        .any(|word| why.starts_with(word))
}
