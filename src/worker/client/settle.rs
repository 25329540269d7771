//! (d) A reply finds its client: into its slot of the reply queue, or, unasked for, to the end of its output.

use super::settled::Settled;
use super::{Client, Clients, Gate, Phase};
use crate::config::Limits;
use crate::limits::OUTPUT_SHARE_SERVED;
use crate::resp::encode;
use crate::shared::labels::{CloseReason, ErrorKind, RequestClass};
use crate::worker::core::Core;
use crate::worker::effects::Effect;
use crate::worker::ended::Ended;
use crate::worker::flow::Flow;
use crate::worker::names::{ClientKey, ReplySlot};
use crate::worker::reply::ReplyBytes;

impl Clients {
    /// Ends a request: counts it, and settles its slot of the reply queue, if its client is still there. One of unknown outcome
    /// ends its client's connection instead, if `upstream.lost_reply` says so.
    ///
    /// A reply never closes its client, however many wait: the client has asked for it, and [`Window`](super::window::Window)
    /// and the bound on output have decided how much it could ask for.
    #[inline]
    pub fn settle(&mut self, core: &mut Core, slot: ReplySlot, ended: Ended, reply: ReplyBytes<'_>) {
        self.settle_with(core, slot, (ended, 1), reply, |client, reply| {
            client.replies.settle(slot.sequence, slot.part, reply, &mut client.output)
        });
    }

    /// As [`Clients::settle`] for as many requests and slots, from this slot on, with their replies one behind the other.
    pub fn settle_run(
        &mut self,
        core: &mut Core,
        slot: ReplySlot,
        ended: Ended,
        requests: u32,
        replies: ReplyBytes<'_>,
    ) {
        self.settle_with(core, slot, (ended, requests), replies, |client, replies| {
            client.replies.settle_run(slot.sequence, requests, replies, &mut client.output)
        });
    }

    #[inline]
    fn settle_with<'a>(
        &mut self,
        core: &mut Core,
        slot: ReplySlot,
        (ended, requests): (Ended, u32),
        reply: ReplyBytes<'a>,
        settle: impl FnOnce(&mut Client, ReplyBytes<'a>) -> Option<Settled>,
    ) {
        let key = slot.client;
        if ended.hangs_up() {
            let client = self.all.get(key);
            let lost = client.and_then(|client| client.replies.command_of(slot.sequence)).map(Settled::lost);
            core.count_ended(ended, requests, lost.as_ref());
            return self.hang_up(core, key, CloseReason::UpstreamLost);
        }
        let alive = self.all.get_mut(key).filter(|client| !matches!(client.phase, Phase::Dead(_)));
        let Some(client) = alive else { return core.count_ended(ended, requests, None) };
        let (unanswered, reply_bytes) = (client.replies.len(), reply.as_slice().len());
        if client.tenancy.is_some() {
            client.count_reply(core, slot.sequence, reply.as_slice());
        }
        let settled = settle(client, reply);
        core.count_ended(ended, requests, settled.as_ref());
        if settled.is_some_and(|settled| settled.error.is_some() && settled.is_whole) {
            client.errors += u64::from(requests);
        }
        let at_rest = client.replies.is_empty() && !client.paused;
        client.window.settled(requests, reply_bytes, unanswered, at_rest);
        client.mark_dirty(&mut self.dirty);
        if client.tenancy.is_some() {
            client.count_left(core);
        }
        if client.barrier.is_some() {
            core.effects.push(Effect::EndBarrier(key));
        }
    }

    /// Ends the request at hand: counts it, and answers it in its turn.
    pub fn answer(&mut self, core: &mut Core, key: ClientKey, ended: Ended, reply: ReplyBytes<'_>) {
        self.count_at_hand(core, key, ended, reply.as_slice());
        let tenancy = self.all.get_mut(key).filter(|client| client.tenancy.is_some());
        if let Some(client) = tenancy {
            let sequence = client.replies.next_sequence();
            client.count_reply(core, sequence, reply.as_slice());
        }
        self.add_reply(key, reply);
        let tenancy = self.all.get_mut(key).filter(|client| client.tenancy.is_some());
        tenancy.into_iter().for_each(|client| client.count_left(core));
    }

    /// Ends a request that gets no reply.
    pub fn end_silently(&mut self, core: &mut Core, key: ClientKey, ended: Ended) {
        self.count_at_hand(core, key, ended, b"");
    }

    /// Ends a request by the end of its client's connection.
    pub fn end_by_hang_up(&mut self, core: &mut Core, key: ClientKey, ended: Ended) {
        self.count_at_hand(core, key, ended, b"");
        self.hang_up(core, key, CloseReason::UpstreamLost);
    }

    fn count_at_hand(&mut self, core: &mut Core, key: ClientKey, ended: Ended, reply: &[u8]) {
        let at_hand = self.all.get(key).map(|client| Settled::at_hand(client.replies.at_hand(), reply));
        core.count_ended(ended, 1, at_hand.as_ref());
        if at_hand.is_some_and(|settled| settled.error.is_some())
            && let Some(client) = self.all.get_mut(key)
        {
            client.errors += 1;
        }
    }

    /// Answers the request at hand with an error of the gateway's own.
    pub fn refuse(&mut self, core: &mut Core, key: ClientKey, kind: ErrorKind, text: impl AsRef<[u8]>) {
        let mut reply = Vec::new();
        encode::error(&mut reply, text);
        let ended = Ended::failed(RequestClass::Local, kind);
        self.answer(core, key, ended, ReplyBytes::Borrowed(&reply));
    }

    /// Adds a reply behind all others that ends no request by itself: what goes into a transaction or comes out of it counts with
    /// its `EXEC`.
    pub fn add_reply(&mut self, key: ClientKey, reply: ReplyBytes<'_>) {
        let Some(client) = self.all.get_mut(key) else { return };
        let suppressed = client.take_suppressed();
        self.add(key, reply, suppressed);
    }

    /// The same of a reply that goes out whatever the client has said: Redis counts it as a push, or it is the last one. It uses up a
    /// `CLIENT REPLY SKIP`.
    pub fn add_push(&mut self, key: ClientKey, reply: ReplyBytes<'_>) {
        let Some(client) = self.all.get_mut(key) else { return };
        client.take_suppressed();
        self.add(key, reply, false);
    }

    /// The same of a reply that is to be held back, or is not.
    pub fn add(&mut self, key: ClientKey, reply: ReplyBytes<'_>, suppressed: bool) {
        let Some(client) = self.all.get_mut(key) else { return };
        client.replies.answer(reply, suppressed, &mut client.output);
        client.mark_dirty(&mut self.dirty);
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
    /// Counts a reply, or a part of one, for the tenant whose request it answers.
    #[cold]
    fn count_reply(&mut self, core: &mut Core, sequence: u32, reply: &[u8]) {
        let Some(tenant) = self.tenancy.as_ref().and_then(|tenancy| tenancy.replied(sequence)) else {
            return;
        };
        core.count_tenant_reply(tenant, reply);
    }

    /// Counts what has been answered in whole for tenants.
    #[cold]
    pub fn count_left(&mut self, core: &mut Core) {
        let Some(tenancy) = &mut self.tenancy else { return };
        match self.replies.is_empty() {
            true => tenancy.all_left(core.now_ns, &mut core.tallies.tenants),
            false => tenancy.left(self.replies.first_sequence(), core.now_ns, &mut core.tallies.tenants),
        }
    }

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
