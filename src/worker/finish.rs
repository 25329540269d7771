//! (d) The one end of a request.

use super::client::{hang_up, settle_client};
use super::errors::UpstreamError;
use super::owners::Worker;
use super::pending::{Hook, Origin, Pending};
use super::reply::ReplyBytes;
use crate::config::LostReply;
use crate::resp::encode;
use crate::shared::labels::{CloseReason, ErrorKind, Outcome, RequestClass};

impl Worker {
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
                        hang_up(self, key, CloseReason::UpstreamLost);
                    }
                    _ => settle_client(self, key, sequence, part, ReplyBytes::Borrowed(&text)),
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
