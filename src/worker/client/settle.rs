//! (d) A reply finds its client: into its slot of the reply queue, or, unasked for, to the end of its output.

use super::{Client, Clients, Gate, Phase};
use crate::config::Limits;
use crate::limits::OUTPUT_SHARE_SERVED;
use crate::resp::encode;
use crate::shared::labels::{CloseReason, ErrorKind, Outcome, RequestClass};
use crate::worker::core::Core;
use crate::worker::effects::Effect;
use crate::worker::flow::Flow;
use crate::worker::names::ClientKey;
use crate::worker::reply::ReplyBytes;

impl Clients {
    /// Settles a slot of a client's reply queue, if the client is still there.
    ///
    /// A reply never closes its client, however many wait: the client has asked for it, and [`Window`](super::window::Window)
    /// and the bound on output have decided how much it could ask for.
    pub fn settle(
        &mut self,
        core: &mut Core,
        key: ClientKey,
        sequence: u32,
        part: u32,
        reply: ReplyBytes<'_>,
    ) {
        let reply_bytes = reply.as_slice().len();
        self.settle_with(core, key, 1, reply_bytes, |client| {
            client.replies.settle(sequence, part, reply, &mut client.output);
        });
    }

    /// As [`Clients::settle`] for as many slots as `requests`, with their replies one behind the other.
    pub fn settle_run(
        &mut self,
        core: &mut Core,
        key: ClientKey,
        sequence: u32,
        requests: u32,
        replies: ReplyBytes<'_>,
    ) {
        let reply_bytes = replies.as_slice().len();
        self.settle_with(core, key, requests, reply_bytes, |client| {
            client.replies.settle_run(sequence, requests, replies, &mut client.output);
        });
    }

    #[inline]
    fn settle_with(
        &mut self,
        core: &mut Core,
        key: ClientKey,
        replies: u32,
        reply_bytes: usize,
        settle: impl FnOnce(&mut Client),
    ) {
        let Some(client) = self.all.get_mut(key) else { return };
        if let Phase::Dead(_) = client.phase {
            return;
        }
        let unanswered = client.replies.len();
        settle(client);
        let at_rest = client.replies.is_empty() && !client.paused;
        client.window.settled(replies, reply_bytes, unanswered, at_rest);
        client.mark_dirty(&mut self.dirty);
        if client.barrier.is_some() {
            core.effects.push(Effect::EndBarrier(key));
        }
    }

    /// Answers the request at hand, in its turn.
    pub fn answer(&mut self, key: ClientKey, reply: &[u8]) {
        let Some(client) = self.all.get_mut(key) else { return };
        let suppressed = client.take_suppressed();
        client.replies.answer(ReplyBytes::Borrowed(reply), suppressed, &mut client.output);
        client.mark_dirty(&mut self.dirty);
    }

    /// Answers the request at hand with an error of the gateway's own.
    pub fn refuse(&mut self, core: &mut Core, key: ClientKey, kind: ErrorKind, text: impl AsRef<[u8]>) {
        core.tallies.error(kind);
        core.tallies.count(RequestClass::Local, Outcome::Failed);
        let mut reply = Vec::new();
        encode::error(&mut reply, text);
        self.answer(key, &reply);
    }

    /// The request at hand waits until everything of its client has been answered.
    pub fn wait_for_all(&mut self, key: ClientKey) -> Flow {
        self.all.get_mut(key).map_or(Flow::Next, |client| client.wait(Gate::Drain))
    }

    /// Gives a client what it has not asked for, under the bound on its output. Replies that wait do not count: they were asked
    /// for.
    pub fn push_to(&mut self, core: &Core, key: ClientKey, message: &[u8]) {
        let bytes_max = core.config.limits.client_output_buffer_max;
        let open = self.all.get_mut(key).filter(|client| client.phase == Phase::Open);
        let Some(client) = open else { return };
        client.push_tail().extend_from_slice(message);
        client.pushed_bytes += message.len();
        let waiting_bytes = client.output.len() + client.session.held_push_bytes();
        if waiting_bytes.min(client.pushed_bytes) > bytes_max {
            self.close(key, CloseReason::OutputBuffer);
        } else {
            client.mark_dirty(&mut self.dirty);
        }
    }
}

impl Client {
    /// Has itself written at the end of the turn, with the others in `dirty`.
    #[inline]
    pub fn mark_dirty(&mut self, dirty: &mut Vec<ClientKey>) {
        if !self.dirty {
            self.dirty = true;
            dirty.push(self.key);
        }
    }

    /// Whether the next request may be looked at.
    pub fn may_go_on(&mut self, limits: &Limits) -> bool {
        if self.exclusive {
            if !self.replies.is_empty() {
                return false;
            }
            self.exclusive = false;
            self.command_retry = None;
        }
        let bytes = self.output.len() + self.replies.held_bytes();
        // Others wait for the end of a barrier, which must not depend on whether this client reads.
        let has_room = bytes <= limits.client_output_buffer_max / OUTPUT_SHARE_SERVED
            || self.barrier.as_ref().is_some_and(|barrier| barrier.awaits_command());
        self.phase == Phase::Open
            && self.retrying == 0
            && self.parked.is_empty()
            && self.replies.len() < self.window.requests_max(limits)
            && has_room
    }
}
