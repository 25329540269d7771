//! What nodes say of keys that have changed, on its way to the client that is to hear of it: the tracking client itself, or the
//! one that it redirects to, which may be another worker's.
//!
//! The mailbox of the other worker is bounded. What does not go in waits here, up to [`BACKLOG_BYTES_MAX`]; beyond it a client
//! is told to drop its whole cache instead, which says as much and needs no room.

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;

use super::{Clients, Phase};
use crate::limits::BACKLOG_BYTES_MAX;
use crate::resp::{RespVersion, elements, encode};
use crate::shared::gateway::Gateway;
use crate::shared::mailbox::{Invalidation, WorkerMessage};
use crate::worker::core::Core;
use crate::worker::names::ClientKey;

/// The message that everything may have changed.
pub const FLUSH: &[u8] = b">2\r\n$10\r\ninvalidate\r\n_\r\n";

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

impl Clients {
    /// A node has said which keys have changed, in RESP3, to a tracking client.
    pub fn on_invalidation(&mut self, core: &Core, source: ClientKey, push: &[u8]) {
        let Some(client) = self.all.get(source) else { return };
        let Some(tracking) = &client.session.tracking else { return };
        let version = client.session.version;
        let Some(redirect) = tracking.redirect else {
            if version == RespVersion::Resp3 {
                self.push_to(core, source, push);
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
            source_worker: core.index,
            source: source.to_number(),
            keys,
        };
        if redirect.worker == core.index {
            return self.on_redirected_invalidation(core, invalidation);
        }
        if let Some(backlog) = self.redirected.get_mut(redirect.worker) {
            backlog.push(invalidation);
            self.send_redirected(&core.gateway);
        }
    }

    /// Hands over what waits for other workers, as far as their mailboxes take it.
    pub fn send_redirected(&mut self, gateway: &Gateway) {
        for (backlog, worker) in self.redirected.iter_mut().zip(&gateway.workers) {
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

    /// Another client, of any worker, redirects an invalidation to one of this worker's.
    pub fn on_redirected_invalidation(&mut self, core: &Core, invalidation: Invalidation) {
        let key = ClientKey::from_number(invalidation.target);
        let target = self
            .all
            .get(key)
            .filter(|client| client.id == invalidation.target_id && !matches!(client.phase, Phase::Dead(_)));
        let Some(client) = target else {
            if invalidation.source_worker == core.index {
                self.on_redirect_broken(core, invalidation.source, invalidation.target_id);
            } else if let Some(worker) = core.gateway.workers.get(invalidation.source_worker) {
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
        self.push_to(core, key, &message);
    }

    /// The client is gone that a tracking one redirects to.
    pub fn on_redirect_broken(&mut self, core: &Core, source: u64, target_id: u64) {
        let key = ClientKey::from_number(source);
        let Some(client) = self.all.get_mut(key) else { return };
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
            self.push_to(core, key, &message);
        }
    }
}
