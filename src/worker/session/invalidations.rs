//! What nodes say of keys that have changed, on its way to the client that is to hear of it: the tracking client itself, or the
//! one that it redirects to, which may be another worker's.
//!
//! The mailbox of the other worker is bounded. What does not go in waits here, up to [`BACKLOG_BYTES_MAX`]; beyond it a client
//! is told to drop its whole cache instead, which says as much and needs no room.

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;

use crate::limits::BACKLOG_BYTES_MAX;
use crate::resp::{RespVersion, elements, encode};
use crate::shared::labels::CloseReason;
use crate::shared::mailbox::{Invalidation, WorkerMessage};
use crate::worker::client::{Phase, close_client, touch};
use crate::worker::names::ClientKey;
use crate::worker::owners::Worker;

/// The message that everything may have changed.
pub(in crate::worker) const FLUSH: &[u8] = b">2\r\n$10\r\ninvalidate\r\n_\r\n";

const CHANNEL: &[u8] = b"__redis__:invalidate";

/// Invalidations for one other worker's clients that found its mailbox full.
#[derive(Default)]
pub struct Backlog {
    waiting: Vec<Invalidation>,
    bytes: usize,
}

impl Backlog {
    fn push(&mut self, invalidation: Invalidation) {
        self.bytes += invalidation.keys.len();
        self.waiting.push(invalidation);
        if self.bytes + self.waiting.len() * size_of::<Invalidation>() <= BACKLOG_BYTES_MAX {
            return;
        }
        // One word to each client is enough to say that everything may have changed.
        self.waiting.iter_mut().for_each(|waiting| waiting.keys = Bytes::from_static(b"_\r\n"));
        self.waiting.sort_by_key(|waiting| (waiting.target_id, waiting.source));
        self.waiting.dedup_by_key(|waiting| (waiting.target_id, waiting.source));
        self.bytes = 0;
    }
}

impl Worker {
    /// A node has said which keys have changed, in RESP3, to a tracking client.
    pub(in crate::worker) fn invalidated(&mut self, source: ClientKey, push: &[u8]) {
        let Some(client) = self.clients.all.get(source) else { return };
        let Some(tracking) = &client.session.tracking else { return };
        let version = client.session.version;
        let Some(redirect) = tracking.redirect else {
            if version == RespVersion::Resp3 {
                self.push_to(source, push);
            }
            return;
        };
        let Some(keys) = elements(push).and_then(|mut parts| parts.nth(1)) else { return };
        // As Redis does: null as the client would have read it that tracks.
        let keys = match (keys, version) {
            (b"_\r\n", RespVersion::Resp2) => Bytes::from_static(b"$-1\r\n"),
            _ => Bytes::copy_from_slice(keys),
        };
        let invalidation = Invalidation {
            target: redirect.client,
            target_id: redirect.id,
            source_worker: self.core.index,
            source: source.to_number(),
            keys,
        };
        if redirect.worker == self.core.index {
            return self.take_redirected(invalidation);
        }
        if let Some(backlog) = self.clients.redirected.get_mut(redirect.worker) {
            backlog.push(invalidation);
            self.send_redirected();
        }
    }

    /// Hands over what waits for other workers, as far as their mailboxes take it.
    pub(in crate::worker) fn send_redirected(&mut self) {
        for (backlog, worker) in self.clients.redirected.iter_mut().zip(&self.core.gateway.workers) {
            if backlog.waiting.is_empty() {
                continue;
            }
            let batch = std::mem::take(&mut backlog.waiting);
            match worker.mailbox.try_send(WorkerMessage::Invalidate(batch)) {
                Ok(()) => backlog.bytes = 0,
                Err(TrySendError::Full(WorkerMessage::Invalidate(batch))) => backlog.waiting = batch,
                // The worker has ended, and with it the process is ending.
                Err(_) => {}
            }
        }
    }

    /// Delivers what another client, of any worker, redirects to one of this worker's.
    pub(in crate::worker) fn take_redirected(&mut self, invalidation: Invalidation) {
        let key = ClientKey::from_number(invalidation.target);
        let target =
            self.clients.all.get(key).filter(|client| {
                client.id == invalidation.target_id && !matches!(client.phase, Phase::Dead(_))
            });
        let Some(client) = target else {
            if invalidation.source_worker == self.core.index {
                self.redirect_broken(invalidation.source, invalidation.target_id);
            } else if let Some(worker) = self.core.gateway.workers.get(invalidation.source_worker) {
                let (source, target_id) = (invalidation.source, invalidation.target_id);
                // Were it lost, the next invalidation would bring it up again.
                let _ = worker.mailbox.try_send(WorkerMessage::RedirectBroken { source, target_id });
            }
            return;
        };
        let mut message = Vec::new();
        match client.session.version {
            RespVersion::Resp3 => {
                encode::push(&mut message, RespVersion::Resp3, 2);
                encode::bulk(&mut message, b"invalidate");
            }
            RespVersion::Resp2 if client.session.subscriptions.is_some() => {
                encode::array(&mut message, 3);
                encode::bulk(&mut message, b"message");
                encode::bulk(&mut message, CHANNEL);
            }
            // In RESP2 only a subscriber can be told, as by Redis.
            RespVersion::Resp2 => return,
        }
        message.extend_from_slice(&invalidation.keys);
        self.push_to(key, &message);
    }

    /// The client is gone that a tracking one redirects to.
    pub(in crate::worker) fn redirect_broken(&mut self, source: u64, target_id: u64) {
        let key = ClientKey::from_number(source);
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let Some(tracking) = &mut client.session.tracking else { return };
        if tracking.redirect.is_none_or(|redirect| redirect.id != target_id) {
            return;
        }
        tracking.broken = true;
        if client.session.version == RespVersion::Resp3 {
            let mut message = Vec::new();
            encode::push(&mut message, RespVersion::Resp3, 2);
            encode::bulk(&mut message, b"tracking-redir-broken");
            encode::integer(&mut message, i64::try_from(target_id).unwrap_or(i64::MAX));
            self.push_to(key, &message);
        }
    }

    /// Gives a client what it has not asked for, under the bound on its output. Replies that wait do not count: they were asked
    /// for.
    pub(in crate::worker) fn push_to(&mut self, key: ClientKey, message: &[u8]) {
        let bytes_max = self.core.config.limits.client_output_buffer_max;
        let open = self.clients.all.get_mut(key).filter(|client| client.phase == Phase::Open);
        let Some(client) = open else { return };
        client.push_tail().extend_from_slice(message);
        client.pushed_bytes += message.len();
        let waiting_bytes = client.output.len() + client.session.held_push_bytes();
        if waiting_bytes.min(client.pushed_bytes) > bytes_max {
            close_client(self, key, CloseReason::OutputBuffer);
        } else {
            touch(self, key);
        }
    }
}
