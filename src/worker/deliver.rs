//! (c) A reply finds its request.
//!
//! Replies come in the order of the requests on the wire, so the oldest request is the one. What comes out of band (push
//! messages, messages to subscribers, what a monitor shows) is told apart by the role of the connection.

use bytes::BytesMut;

use super::ended::Ended;
use super::errors::UpstreamError;
use super::names::{ReplySlot, UpstreamKey};
use super::owners::Worker;
use super::pending::{Hook, Origin};
use super::reply::ReplyBytes;
use super::retryable::{Retryable, Wants};
use super::upstream::parallel::ALONE;
use super::upstream::{NextReply, Role, Turn};
use super::upstream_task::ConnectionEnd;
use crate::limits::{LARGE_REPLY_BYTES, LONG_REPLY_BYTES};
use crate::resp::{self, ReplyScan};
use crate::shared::labels::{ErrorKind, NodeRefusal};

/// Of a reply that ends a connection, this much is logged: an error of Redis is a sentence.
const SHOWN_BYTES_MAX: usize = 128;

/// How Redis words that a transaction was given up for what had been refused before. Its client had to be told `QUEUED` by then.
const ABORTED: &[u8] = b"-EXECABORT Transaction discarded because of previous errors.";

impl Worker {
    /// Delivers the whole replies at the front of `input`. Returns how many bytes they had and how many more the
    /// unfinished one needs.
    ///
    /// # Errors
    /// The server broke the protocol.
    pub(super) fn deliver_all(
        &mut self,
        key: UpstreamKey,
        input: &[u8],
    ) -> Result<(usize, usize), ConnectionEnd> {
        let mut consumed = 0;
        loop {
            let rest = &input[consumed..];
            match self.next_reply(key, rest)? {
                NextReply::Answer(len, pending) => {
                    self.finish_forwarded(key, &pending, ReplyBytes::Borrowed(&rest[..len]));
                    consumed += len;
                }
                NextReply::Whole(len) => {
                    self.deliver(key, ReplyBytes::Borrowed(&rest[..len]))?;
                    consumed += len;
                }
                NextReply::Unfinished(wanted) => return Ok((consumed, wanted)),
            }
        }
    }

    /// As [`Worker::deliver_all`] for a buffer of its own, of which large replies are cut off without a copy.
    pub(super) fn deliver_buffer(
        &mut self,
        key: UpstreamKey,
        input: &mut BytesMut,
    ) -> Result<(usize, usize), ConnectionEnd> {
        let mut consumed = 0;
        loop {
            let (len, answered) = match self.next_reply(key, &input[consumed..])? {
                NextReply::Answer(len, pending) => (len, Some(pending)),
                NextReply::Whole(len) => (len, None),
                NextReply::Unfinished(wanted) => return Ok((consumed, wanted)),
            };
            let large = len >= LARGE_REPLY_BYTES;
            let owned = large.then(|| {
                let _ = input.split_to(std::mem::take(&mut consumed));
                input.split_to(len).freeze()
            });
            let reply = match owned {
                Some(bytes) => ReplyBytes::Owned(bytes),
                None => ReplyBytes::Borrowed(&input[consumed..consumed + len]),
            };
            match answered {
                Some(pending) => self.finish_forwarded(key, &pending, reply),
                None => self.deliver(key, reply)?,
            }
            consumed += if large { 0 } else { len };
        }
    }

    /// The reply at the front, with the request that it answers where that is all there is to know.
    // Each reply comes through here: the call would cost it some sixty instructions.
    #[inline(always)]
    fn next_reply(&mut self, key: UpstreamKey, input: &[u8]) -> Result<NextReply, ConnectionEnd> {
        let Some(upstream) = self.upstreams.connections.get_mut(key).filter(|_| !input.is_empty()) else {
            return Ok(NextReply::Unfinished(0));
        };
        match upstream.scanner.scan(input) {
            ReplyScan::Complete { len } => {
                if self.core.stands_out(upstream.wire.front(), len) {
                    self.note_standout(key, &input[..len]);
                }
                let upstream = self.upstreams.connections.get_mut(key);
                Ok(match upstream.and_then(|upstream| upstream.take_answered(input[0])) {
                    Some(pending) => NextReply::Answer(len, pending),
                    None => NextReply::Whole(len),
                })
            }
            unfinished => self.await_rest(key, input.len(), unfinished).map(NextReply::Unfinished),
        }
    }

    /// A reply of which `have` bytes have come is not whole. Returns how many more it needs.
    fn await_rest(&mut self, key: UpstreamKey, have: usize, scan: ReplyScan) -> Result<usize, ConnectionEnd> {
        let Some(upstream) = self.upstreams.connections.get_mut(key) else { return Ok(0) };
        match scan {
            ReplyScan::Complete { .. } => Ok(0),
            ReplyScan::Incomplete { wanted }
                if have.saturating_add(wanted) > self.core.upstream_of(upstream.cluster).reply_bytes_max =>
            {
                Err(self.give_up_reply(key, "it is longer than upstream.reply_bytes_max"))
            }
            ReplyScan::TooLong => Err(self.give_up_reply(key, "a line of it has no end in sight")),
            ReplyScan::Incomplete { wanted } => {
                if let (true, Role::Shared(number)) = (wanted >= LONG_REPLY_BYTES, upstream.role()) {
                    self.upstreams.pools.avoid(upstream.node, number);
                }
                let known_bytes = have.saturating_add(wanted);
                if known_bytes >= LONG_REPLY_BYTES
                    && let Some(Origin::Client { key, .. }) = upstream.wire.front().map(|front| front.origin)
                    && let Some(client) = self.clients.all.get_mut(key)
                {
                    client.window.announced(known_bytes);
                }
                Ok(wanted)
            }
            ReplyScan::Malformed(expected) => {
                self.core.tallies.error(ErrorKind::UpstreamProtocol);
                Err(ConnectionEnd::Broken(format!("what it sent is not RESP: expected {expected}")))
            }
        }
    }

    fn deliver(&mut self, key: UpstreamKey, reply: ReplyBytes<'_>) -> Result<(), ConnectionEnd> {
        let Some(upstream) = self.upstreams.connections.get_mut(key) else { return Ok(()) };
        if !matches!(upstream.role(), Role::Shared(_)) && self.deliver_out_of_band(key, reply.as_slice()) {
            return Ok(());
        }
        let Some(upstream) = self.upstreams.connections.get_mut(key) else { return Ok(()) };
        let first = reply.as_slice().first().copied();
        let mut refusal = None;
        match upstream.wire.turn(reply.as_slice()) {
            Ok(Turn::Deliver) => {}
            Ok(Turn::Refuse) => refusal = Some(shown(reply.as_slice())),
            Ok(Turn::Swallow) => {
                if first == Some(b'-')
                    && let Some(pending) = upstream.wire.front_mut()
                {
                    pending.redirected |= Retryable::of(reply.as_slice()).is_some();
                    if let Some(told) = NodeRefusal::of_reply(reply.as_slice()) {
                        self.core.tallies.node(upstream.node.position()).refusals[told.index()] += 1;
                    }
                    if pending.is_transaction() && upstream.refused_inside.is_none() {
                        upstream.refused_inside = Some(reply.as_slice()[1..].trim_ascii_end().into());
                    }
                }
                return Ok(());
            }
            Ok(Turn::Finish) => {
                upstream.wire.pop();
                self.upstreams.wake_waiters(&mut self.core, key);
                return Ok(());
            }
            Err(out_of_turn) => {
                self.core.tallies.error(ErrorKind::UpstreamProtocol);
                return Err(ConnectionEnd::Broken(format!("{out_of_turn} ({})", shown(reply.as_slice()))));
            }
        }
        let reply = match upstream.refused_inside.take() {
            Some(error) if reply.as_slice().starts_with(ABORTED) => {
                let is_flush =
                    matches!(upstream.wire.front().map(|front| front.origin), Some(Origin::Flush(_)));
                ReplyBytes::Owned(explained(&error, is_flush).into())
            }
            _ => reply,
        };
        let Some(pending) = upstream.wire.front() else { return Ok(()) };
        let told = match pending.origin {
            Origin::Flush(_) | Origin::Behind(_) | Origin::Sale(_) => NodeRefusal::of_flush(reply.as_slice()),
            _ => NodeRefusal::of_reply(reply.as_slice()),
        };
        if let Some(told) = told {
            self.core.tallies.node(upstream.node.position()).refusals[told.index()] += 1;
        }
        let is_own = pending.hook == Hook::OutOfBand
            || matches!(
                pending.origin,
                Origin::Flush(_)
                    | Origin::Behind(_)
                    | Origin::Sale(_)
                    | Origin::Confirmation(_)
                    | Origin::Probe(_)
            );
        if first != Some(b'-') || is_own || !self.redirect(key, reply.as_slice()) {
            self.settle_front(key, reply);
        }
        match refusal {
            None => Ok(()),
            Some(said) => {
                Err(ConnectionEnd::Refused(format!("it refused a request before it had it whole ({said})")))
            }
        }
    }

    /// A reply is not read to its end. Whoever waits for it is told so: the command has run, and would be answered alike again.
    fn give_up_reply(&mut self, key: UpstreamKey, why: &'static str) -> ConnectionEnd {
        self.core.tallies.error(ErrorKind::UpstreamProtocol);
        let ended = ConnectionEnd::Refused(format!("a reply was not read to its end: {why}"));
        let Some(upstream) = self.upstreams.connections.get_mut(key) else { return ended };
        let node = upstream.node;
        let is_its = upstream.wire.front().is_some_and(|front| front.leading == 0 && front.delivered == 1);
        if is_its
            && upstream.wire.turn(b"+") == Ok(Turn::Deliver)
            && upstream.wire.front().is_some_and(|front| is_told_of_length(front.origin))
            && let Some(pending) = upstream.wire.pop()
        {
            let error = UpstreamError::ReplyTooLong(self.core.node_name(node), why);
            if let Origin::Flush(flush) = pending.origin {
                let mut text = Vec::new();
                resp::encode::error(&mut text, error.to_string());
                let reply = ReplyBytes::Borrowed(&text);
                self.hot.settle_flush(&mut self.core, flush, pending.sent_ns, reply);
            } else {
                self.settle_error(&pending, &error, None);
            }
        }
        ended
    }

    /// Gives the reply to whoever waits for the oldest request, and drops that once nothing more belongs to it.
    fn settle_front(&mut self, key: UpstreamKey, reply: ReplyBytes<'_>) {
        let Some(upstream) = self.upstreams.connections.get_mut(key) else { return };
        let Some(front) = upstream.wire.front_mut() else { return };
        // Redis confirms the names of a subscription one by one, and refuses all of them with one error.
        let refused = front.hook == Hook::Subscription && reply.as_slice().first() == Some(&b'-');
        front.delivered = if refused { 0 } else { front.delivered - 1 };
        let pending = *front;
        if pending.delivered > 0 {
            // One of several confirmations: its client has nothing else unsettled, so it goes straight out.
            self.pass_on_part(&pending, reply.as_slice());
            return;
        }
        if pending.trailing == 0 {
            upstream.wire.pop();
        }
        if !upstream.waiters.is_empty() {
            self.upstreams.wake_waiters(&mut self.core, key);
        }
        let node = self.count_reply(key, &pending, reply.as_slice());
        if pending.losses > 0
            || self.upstreams.connections.get(key).is_some_and(|known| known.role() == Role::Shared(ALONE))
        {
            self.upstreams.suspects.on_reply(pending.route, reply.as_slice().len(), self.core.now_ns);
        }
        if pending.hook != Hook::None {
            self.sessions().on_reply(key, &pending, reply.as_slice());
        }
        match pending.origin {
            Origin::Client { key: client, sequence, part } => {
                let slot = ReplySlot { client, sequence, part };
                let reply = match pending.hook {
                    Hook::Subscription => {
                        let counted = self.sessions().with_whole_count(client, reply.as_slice());
                        counted.map_or(reply, |counted| ReplyBytes::Owned(counted.into()))
                    }
                    Hook::Transaction | Hook::OwnTransaction | Hook::WatchedTransaction => {
                        return self.sessions().settle_exec(slot, key, &pending, reply);
                    }
                    _ => reply,
                };
                self.clients.settle(&mut self.core, slot, Ended::forwarded(&pending, node), reply);
            }
            Origin::Flush(flush) => self.hot.settle_flush(&mut self.core, flush, pending.sent_ns, reply),
            Origin::Sale(call) => self.hot.settle_sale(&mut self.core, call, pending.sent_ns, reply),
            Origin::Behind(flush) => {
                self.hot.settle_behind(&mut self.core, &mut self.upstreams, flush, reply)
            }
            Origin::Confirmation(index) => {
                self.hot.settle_confirmation(&mut self.core, index, Some(reply.as_slice()))
            }
            Origin::CacheFetch(fetch, _) => self.settle_fetch(fetch, key, pending.sent_ns, reply),
            Origin::Probe(question) => {
                self.upstreams.settle_probe(&self.core, key, question, reply.as_slice());
            }
            Origin::Swallow if matches!(pending.hook, Hook::LogIn | Hook::LogInNext) => {
                self.upstreams.note_log_in(&self.core, key, pending.hook, reply.as_slice());
            }
            Origin::Swallow => match self.upstreams.connections.get(key).map(|upstream| upstream.role()) {
                Some(Role::Events(owner)) => self.sessions().events_confirmed(owner, key),
                Some(Role::Subscriber(owner)) => self.sessions().elsewhere_confirmed(owner, reply.as_slice()),
                _ => {}
            },
        }
    }
}

/// The reply of a transaction that was not run, with the error for which it was not. A flush is told that error alone where it asks for
/// another try.
fn explained(error: &[u8], is_flush: bool) -> Vec<u8> {
    let alone = [b"-", error, b"\r\n"].concat();
    let wants = Retryable::of(&alone).map(|found| found.wants);
    if is_flush && matches!(wants, Some(Wants::Node(_) | Wants::NodeOnce(_) | Wants::Patience)) {
        return alone;
    }
    let by: &[u8] = b"-EXECABORT Transaction discarded because of: ";
    [by, &alone[1..]].concat()
}

/// Whether somebody waits for a reply that may be too long, and would otherwise ask again.
fn is_told_of_length(origin: Origin) -> bool {
    matches!(origin, Origin::Client { .. } | Origin::CacheFetch(..) | Origin::Flush(_))
}

/// A reply that ends a connection, for the log. Only an error is shown: anything else may be somebody's data.
fn shown(reply: &[u8]) -> String {
    match reply.first() {
        Some(b'-') => reply[..reply.len().min(SHOWN_BYTES_MAX)].trim_ascii_end().escape_ascii().to_string(),
        _ => "it was no error".to_owned(),
    }
}

/// Whether a reply is an array (or push) whose first element is this word, in any case.
pub(super) fn first_word(reply: &[u8]) -> Option<&[u8]> {
    let first = resp::elements(reply)?.next()?;
    resp::bulk_payload(first)
}
