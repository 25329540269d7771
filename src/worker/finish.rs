//! (d) The one end of a request that went to Redis for a client: its slot in the reply queue, its class, outcome and times.

use super::errors::UpstreamError;
use super::names::UpstreamKey;
use super::owners::Worker;
use super::pending::{Hook, Origin, Pending};
use super::reply::ReplyBytes;
use crate::config::LostReply;
use crate::resp::encode;
use crate::shared::labels::{CloseReason, ErrorKind, Outcome, RequestClass};

impl Worker {
    /// Ends a request that was forwarded, with the reply that Redis gave to it.
    #[inline]
    pub(super) fn finish_forwarded(&mut self, key: UpstreamKey, pending: &Pending, reply: ReplyBytes<'_>) {
        self.count_reply(key, pending, reply.as_slice());
        if let Origin::Client { key, sequence, part } = pending.origin {
            self.clients.settle(&mut self.core, key, sequence, part, reply);
        }
    }

    /// Counts a reply that has come from the connection `key`: for the node, the key, the times, and the class of the request.
    pub(super) fn count_reply(&mut self, key: UpstreamKey, pending: &Pending, reply: &[u8]) {
        // How long replicas take says nothing about how long the node does, and a probe is to be refused.
        if let Origin::Confirmation(_) | Origin::Probe(_) = pending.origin {
            return;
        }
        let Some(upstream) = self.upstreams.connections.get(key) else { return };
        let now_ns = self.core.now_ns;
        let tallies = &mut self.core.tallies;
        let tally = tallies.node(upstream.node.position());
        tally.requests += 1;
        if pending.class != RequestClass::Blocking {
            tally.reply_us.record(now_ns.saturating_sub(pending.sent_ns) / 1000);
        }
        // A server that asks for the body of a script gets it; nothing has failed.
        if reply.first() == Some(&b'-') && !reply.starts_with(b"-NOSCRIPT") {
            tally.errors += 1;
            tallies.error(ErrorKind::UpstreamReply);
        }
        if let (Some(handle), Some(detector)) = (pending.access, &mut self.hot.detector) {
            detector.record_reply(handle, reply.len().min(u32::MAX as usize) as u32);
        }
        let times = &mut self.core.reply_times;
        match pending.origin {
            // How long a command blocks is what its client asked for, and no figure of Redis or of the gateway.
            _ if pending.class == RequestClass::Blocking => {}
            Origin::Swallow => {}
            Origin::Client { .. } | Origin::Fill(..) => {
                times.add_forwarded(pending.received_ns, pending.sent_ns, now_ns, tallies);
            }
            _ => times.add_own(pending.sent_ns, now_ns, tallies),
        }
        if let Origin::Client { .. } = pending.origin {
            tallies.count(pending.class, Outcome::Forwarded);
        }
    }

    /// Ends a request with `reply` if Redis said something, else with `error`.
    pub(super) fn settle_error(&mut self, pending: &Pending, error: &UpstreamError, reply: Option<&[u8]>) {
        let mut text = Vec::new();
        if reply.is_none_or(|reply| reply.starts_with(b"-MOVED") || reply.starts_with(b"-ASK ")) {
            encode::error(&mut text, error.to_string());
        } else {
            text.extend_from_slice(reply.unwrap_or_default());
        }
        self.core.tallies.error(match error {
            UpstreamError::OutcomeUnknown(_) => ErrorKind::UnknownOutcome,
            UpstreamError::Redirected(_) => ErrorKind::RedirectExhausted,
            UpstreamError::Lost(_) | UpstreamError::Breaks(..) => ErrorKind::UpstreamLost,
            UpstreamError::Full(_) => ErrorKind::Overload,
            _ => ErrorKind::UpstreamUnavailable,
        });
        match pending.origin {
            Origin::Client { key, sequence, part } => {
                self.core.tallies.count(pending.class, Outcome::Failed);
                if let (RequestClass::Transaction, Some(client)) =
                    (pending.class, self.clients.all.get_mut(key))
                {
                    client.session.give_up_exec(pending.hook == Hook::WatchedTransaction);
                }
                match error {
                    UpstreamError::OutcomeUnknown(_)
                        if self.core.config.upstream.lost_reply == LostReply::Close =>
                    {
                        self.clients.hang_up(&mut self.core, key, CloseReason::UpstreamLost);
                    }
                    _ => {
                        self.clients.settle(&mut self.core, key, sequence, part, ReplyBytes::Borrowed(&text))
                    }
                }
            }
            Origin::Fill(fill, _) => self.fail_fill(fill, &text),
            Origin::Flush(_)
            | Origin::Behind(_)
            | Origin::Confirmation(_)
            | Origin::Probe(_)
            | Origin::Swallow => {}
        }
    }
}
