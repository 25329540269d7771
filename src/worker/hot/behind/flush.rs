//! A key is driven: asked what is due, sent, and told what came back.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::silence::{look_pending, note_silence};
use super::{BehindKey, journal};
use crate::combine::{
    Action, DeltaFlush, FlushOutcome, Retry, WriteBehindReply, WriteBehindWaiting as Waiting,
};
use crate::journal::FlushEnd;
use crate::resp::{RespVersion, encode};
use crate::shared::labels::ErrorKind;
use crate::shared::refresh::RefreshReason;
use crate::worker::core::Core;
use crate::worker::hot::exit::{FlushExit, FlushRequest, Put};
use crate::worker::hot::owner_request::Followed;
use crate::worker::hot::{Due, HotKeys};
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
        self.with_behind(hash, |hot, key| {
            key.dirty = false;
            hot.drive(core, exit, key);
            hot.tally_behind(core, key);
        });
    }

    /// Does what is due for a key, until it has to wait for something.
    fn drive(&mut self, core: &mut Core, exit: &mut impl FlushExit, key: &mut BehindKey) {
        self.give_up_overdue_members(core, key);
        loop {
            let behind = &mut self.behind;
            let now_ns = core.now_ns;
            if let Some((waiter, taken)) = key.machine.resume(now_ns, &behind.policy, &mut behind.budget) {
                self.settle_behind_op(core, key, waiter, taken);
                continue;
            }
            if let Some(due_ns) = key.owner.backs_off_until(now_ns) {
                return self.look_at_behind(key, due_ns);
            }
            if let Some(ticket) = key.start {
                if behind.journal.as_ref().is_some_and(|side| side.has_on_disk(ticket)) {
                    key.start = None;
                    self.send_flush_of(core, exit, key);
                }
                return;
            }
            if key.machine.has_due_flush() && self.holds_back_flush(core, exit, key) {
                return;
            }
            let behind = &mut self.behind;
            match key.machine.next(now_ns, &behind.policy, core.draining, &mut behind.budget) {
                Action::AskBase => {
                    let mut request = BytesMut::new();
                    encode::command(&mut request, &[b"GET", key.machine.key()]);
                    return self.send_behind(core, exit, key, request.freeze());
                }
                Action::Flush(flush) => return self.begin_flush(core, exit, key, &flush),
                Action::PassThrough(op, waiter) => self.pass_through(key, op, waiter),
                Action::Hold(barrier) => self.hold_for(key, barrier),
                Action::Over(outcome) => self.flush_over(core, key, &outcome),
                Action::NotBefore(due_ns) => return self.look_at_behind(key, due_ns),
                Action::InFlight | Action::Idle => return,
            }
        }
    }

    /// Whether a flush can't go now. None is begun, and written down as begun, that cannot be sent: who takes over the journal
    /// would have to take it for one that may have taken effect.
    fn holds_back_flush(&mut self, core: &mut Core, exit: &mut impl FlushExit, key: &mut BehindKey) -> bool {
        if !can_reach(core, exit, key) {
            if let Some(token) = key.machine.take_back_flush()
                && let Some(side) = &mut self.behind.journal
            {
                side.settle(key, token, FlushEnd::Returned);
            }
            self.pause(core, key);
            return true;
        }
        if !key.machine.has_unsent() {
            return false;
        }
        note_silence(core, key, key.owner.failing_since_ns());
        let look_ns = look_pending(core, key);
        if let Some(due_ns) = look_ns {
            self.look_at_behind(key, due_ns);
        }
        look_ns.is_some()
    }

    /// Sends a flush, or first has its start written down.
    fn begin_flush(
        &mut self,
        core: &mut Core,
        exit: &mut impl FlushExit,
        key: &mut BehindKey,
        flush: &DeltaFlush,
    ) {
        match &mut self.behind.journal {
            Some(side) if !flush.resend => match side.start(key, flush) {
                Ok(ticket) => key.start = Some(ticket),
                Err(refused) => self.start_refused(core, key, &journal::refusal(&refused)),
            },
            _ => self.send_flush_of(core, exit, key),
        }
    }

    /// The journal does not take the start of a flush, so that its deltas gather again.
    pub(super) fn start_refused(&mut self, core: &mut Core, key: &mut BehindKey, why: &str) {
        tracing::debug!(key = key.shown(&core.gateway.key_names), why, "a write-behind flush is put off");
        key.machine.take_back_flush();
        key.start = None;
        self.put_off(core, key, NOT_JOURNALED);
    }

    fn send_flush_of(&mut self, core: &mut Core, exit: &mut impl FlushExit, key: &mut BehindKey) {
        let mut request = BytesMut::new();
        key.machine.encode(&mut request);
        self.send_behind(core, exit, key, request.freeze());
    }

    fn send_behind(
        &mut self,
        core: &mut Core,
        exit: &mut impl FlushExit,
        key: &mut BehindKey,
        request: Bytes,
    ) {
        let sending = self.next_sending();
        key.sent_ns = core.now_ns;
        let flush = FlushRequest {
            origin: Origin::Behind(FlushKey { hash: key.id.hash, sending }),
            version: RespVersion::Resp2,
            commands: &[request.into()],
        };
        if !matches!(key.owner.send(core, exit, (key.place, sending), flush), Put::Sent(_)) {
            key.machine.lost(false);
            self.pause(core, key);
        }
    }

    /// The next attempt waits a moment. Who waits for a base that has been known before does not.
    fn pause(&mut self, core: &mut Core, key: &mut BehindKey) {
        if key.machine.fall_back(core.now_ns) {
            self.look_again_behind(key);
            if !key.machine.has_due_flush() {
                return key.owner.on_success();
            }
        }
        self.put_off(core, key, UNREACHABLE);
    }

    /// The next attempt waits a moment; `why` is the error of those who have waited too long.
    fn put_off(&mut self, core: &mut Core, key: &mut BehindKey, why: &'static str) {
        key.failing_why = why;
        let due_ns = self.back_off(core, key.id.cluster, &mut key.owner);
        self.look_at_behind(key, due_ns);
    }

    /// Looks at a key again at this time, unless it will be before.
    fn look_at_behind(&mut self, key: &BehindKey, due_ns: u64) {
        self.arm(Due::Behind(key.id.hash), due_ns);
    }

    /// A reply to what was sent for a key.
    pub fn settle_behind(
        &mut self,
        core: &mut Core,
        exit: &mut impl FlushExit,
        flush: FlushKey,
        reply: ReplyBytes<'_>,
    ) {
        self.with_behind(flush.hash, |hot, key| {
            if !key.owner.awaits(flush.sending) {
                return;
            }
            key.owner.disown();
            let behind = &mut hot.behind;
            let reply = reply.as_slice();
            let meaning = key.machine.settle(reply, core.now_ns, &behind.policy, &mut behind.budget);
            hot.replied(core, key, &meaning, reply);
            note_silence(core, key, Some(key.sent_ns));
            hot.drive(core, exit, key);
            hot.tally_behind(core, key);
        });
    }

    /// What was sent for a key was lost with its connection; `written` when it may have been executed.
    pub fn behind_lost(&mut self, core: &mut Core, flush: FlushKey, written: bool) {
        self.with_behind(flush.hash, |hot, key| {
            if key.owner.awaits(flush.sending) {
                key.owner.disown();
                key.machine.lost(written);
                hot.pause(core, key);
                hot.tally_behind(core, key);
            }
        });
    }

    fn replied(&mut self, core: &mut Core, key: &mut BehindKey, meaning: &WriteBehindReply, reply: &[u8]) {
        match meaning {
            WriteBehindReply::Again(Retry::NoScript | Retry::Asked) => {}
            WriteBehindReply::Again(Retry::Elsewhere) => {
                // A redirection is followed at once the first time.
                if key.owner.follow(core, key.place, reply) != Followed::AtOnce {
                    self.pause(core, key);
                }
            }
            WriteBehindReply::Again(Retry::Refused(why)) => {
                self.note_refusal(core, key, why);
                if !key.owner.is_failing() {
                    tracing::warn!(
                        key = key.shown(&core.gateway.key_names),
                        error = why,
                        "Redis refuses a write-behind flush"
                    );
                }
                self.pause(core, key);
            }
            WriteBehindReply::Over(outcome) => {
                self.flush_over(core, key, outcome);
                match outcome {
                    FlushOutcome::Returned { reason, .. } => {
                        self.note_refusal(core, key, reason);
                        key.owner.on_failure(core.now_ns);
                        return;
                    }
                    FlushOutcome::Applied { .. } => self.behind.forbidden = false,
                    FlushOutcome::Lost(_) | FlushOutcome::Unknown(_) => {}
                }
                key.owner.on_success();
            }
            WriteBehindReply::Base => key.owner.on_success(),
        }
    }

    /// Redis refuses a flush for now: because the gateway's user lacks a right, or because the node only follows another and is
    /// master no more.
    fn note_refusal(&mut self, core: &Core, key: &BehindKey, why: &str) {
        // The last two are what a script says: before Redis 7.2, and from then on and by Valkey.
        let words = [
            "NOPERM",
            "ERR unknown command",
            "ERR The user executing the script",
            "ERR ACL failure in script",
        ];
        self.behind.forbidden |= words.iter().any(|word| why.starts_with(word));
        let master = core.snapshots.topology.master_of(key.place);
        if let Some(node) = master.filter(|_| why.starts_with("READONLY")) {
            core.suspect_master(node);
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
                        key = key.shown(&core.gateway.key_names),
                        reason,
                        "a write-behind flush did not take effect, and will go again"
                    );
                }
                (*token, FlushEnd::Returned)
            }
            FlushOutcome::Lost(loss) | FlushOutcome::Unknown(loss) => {
                let mut what = "acknowledged increments are lost: Redis refused them";
                if let FlushOutcome::Unknown(_) = outcome {
                    core.tallies.error(ErrorKind::UnknownOutcome);
                    what = "whether acknowledged increments are in Redis is not known";
                }
                let (sum, increments, reason) = (loss.sum, loss.count, &loss.reason);
                tracing::error!(key = key.shown(&core.gateway.key_names), sum, increments, reason, "{what}");
                (loss.token, FlushEnd::GivenUp)
            }
        };
        if let Some(side) = &mut self.behind.journal {
            side.settle(key, token, end);
        }
    }

    /// Answers members that have waited too long for a node that can't be reached, or for the journal.
    fn give_up_overdue_members(&mut self, core: &mut Core, key: &mut BehindKey) {
        let patience_ns = core.unavailable_wait_ns(key.id.cluster);
        let failing_since_ns = key.owner.failing_since_ns();
        if failing_since_ns.is_none_or(|since_ns| core.now_ns.saturating_sub(since_ns) < patience_ns) {
            return;
        }
        while let Some(waiting) = key.machine.abandon_one() {
            core.tallies.error(ErrorKind::UpstreamUnavailable);
            match waiting {
                Waiting::Op(_, waiter) => self.fail_member(core, waiter, key.failing_why),
                Waiting::Barrier(id) => {
                    self.end_barrier(id);
                    self.reply_to_barrier(id, Err(key.failing_why));
                }
            }
        }
        if key.machine.facts().pending_deltas == 0 {
            // The next operation asks anew, with patience of its own.
            key.owner.disown();
            key.owner.on_success();
        }
    }
}

/// Whether the key's node takes requests, so that the flush should be asked for.
fn can_reach(core: &mut Core, exit: &mut impl FlushExit, key: &BehindKey) -> bool {
    let node = key.owner.target().map(|target| target.node);
    match node.or_else(|| core.snapshots.topology.master_of(key.place)) {
        Some(node) => exit.reaches(core, node),
        None => {
            core.refresh(key.place.cluster, RefreshReason::Unassigned);
            false
        }
    }
}
