//! (d) What went to Redis for a client ends: with the reply of its node, or with an error. See [`super::ended`].

use super::ended::Ended;
use super::errors::UpstreamError;
use super::names::UpstreamKey;
use super::owners::Worker;
use super::pending::{Hook, Origin, Pending};
use super::reply::ReplyBytes;
use crate::resp::encode;
use crate::shared::ending::Ending;
use crate::shared::error_words::ErrorWords;
use crate::shared::labels::{ErrorKind, RequestClass};
use crate::shared::topology::NodeIndex;

impl Worker {
    /// Ends a request that was forwarded, with the reply that Redis gave to it.
    #[inline]
    pub(super) fn finish_forwarded(&mut self, key: UpstreamKey, pending: &Pending, reply: ReplyBytes<'_>) {
        let node = self.count_reply(key, pending, reply.as_slice());
        if let Some(slot) = pending.origin.slot() {
            self.clients.settle(&mut self.core, slot, Ended::forwarded(pending, node), reply);
        }
    }

    /// Counts a reply that has come from the connection `key` for the node and the key, and says which node that is. Whoever waited for it
    /// ends by itself.
    // Each request comes through here: the call would cost it some twenty instructions.
    #[inline(always)]
    pub(super) fn count_reply(
        &mut self,
        key: UpstreamKey,
        pending: &Pending,
        reply: &[u8],
    ) -> Option<NodeIndex> {
        // How long replicas take says nothing about how long the node does, and a probe is to be refused.
        if let Origin::Confirmation(_) | Origin::Probe(_) = pending.origin {
            return None;
        }
        let node = self.upstreams.connections.get(key)?.node;
        let tallies = &mut self.core.tallies;
        let tally = tallies.node(node.position());
        tally.requests += 1;
        if pending.class != RequestClass::Blocking {
            tally.reply_us.record(self.core.now_ns.saturating_sub(pending.sent_ns) / 1000);
        }
        // A server that asks for the body of a script gets it; nothing has failed.
        if reply.first() == Some(&b'-') && !reply.starts_with(b"-NOSCRIPT") {
            tally.errors += 1;
            tally.last_error = ErrorWords::of_reply(reply);
            tallies.error(ErrorKind::UpstreamReply);
        }
        if let (Some(handle), Some(detector)) = (pending.access, &mut self.hot.detector) {
            detector.record_reply(handle, reply.len().min(u32::MAX as usize) as u32);
        }
        if let Origin::Flush(_) | Origin::Behind(_) | Origin::Sale(_) = pending.origin {
            self.core.time_own(pending.sent_ns);
        }
        Some(node)
    }

    /// Ends a request with `reply` if Redis said something, else with `error`.
    pub(super) fn settle_error(&mut self, pending: &Pending, error: &UpstreamError, reply: Option<&[u8]>) {
        let mut text = Vec::new();
        if reply.is_none_or(|reply| reply.starts_with(b"-MOVED") || reply.starts_with(b"-ASK ")) {
            encode::error(&mut text, error.to_string());
        } else {
            text.extend_from_slice(reply.unwrap_or_default());
        }
        let ending = match error {
            UpstreamError::OutcomeUnknown(_, told) => Ending::unknown(*told),
            UpstreamError::Redirected(_) => Ending::failed(ErrorKind::RedirectExhausted),
            UpstreamError::Lost(_) | UpstreamError::Breaks(..) => Ending::failed(ErrorKind::UpstreamLost),
            UpstreamError::Full(_) => Ending::failed(ErrorKind::Overload),
            _ => Ending::failed(ErrorKind::UpstreamUnavailable),
        };
        let mut swaps = pending.hook == Hook::SwapDatabases;
        match (pending.origin, pending.origin.slot()) {
            (_, Some(slot)) => {
                if let (RequestClass::Transaction, Some(client)) =
                    (pending.class, self.clients.all.get_mut(slot.client))
                {
                    swaps |= std::mem::take(&mut client.session.swaps);
                    client.session.give_up_exec(pending.hook == Hook::WatchedTransaction);
                }
                let ended = Ended::untimed(pending.class, ending);
                self.clients.settle(&mut self.core, slot, ended, ReplyBytes::Borrowed(&text));
            }
            (Origin::CacheFetch(fetch, _), None) => {
                self.core.count_error(ending);
                self.fail_fetch(fetch, &text);
            }
            _ => self.core.count_error(ending),
        }
        // It may have been run.
        if swaps {
            self.drop_all_copies();
        }
    }
}
