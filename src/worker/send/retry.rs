//! What has not run waits a moment and is sent again.

use bytes::Bytes;

use super::Sender;
use crate::shared::refresh::RefreshReason;
use crate::worker::effects::Effect;
use crate::worker::errors::UpstreamError;
use crate::worker::pending::{Origin, Pending};
use crate::worker::upstream::parallel::{ALONE, AS_USER};
use crate::worker::upstream::{Again, Retry};

impl Sender<'_> {
    /// Queues a request that has not run. It gets `reply` (what Redis said last) or `error` when the time is over.
    pub fn retry_later(
        &mut self,
        mut pending: Pending,
        bytes: Bytes,
        error: UpstreamError,
        reply: Option<&[u8]>,
    ) {
        let patience_ns = self.core.unavailable_wait_ns(self.core.snapshots.cluster_of(pending.route));
        if self.core.now_ns >= pending.retry_until_ns(self.core.now_ns, patience_ns) {
            return self.fail(pending, error, reply);
        }
        let mut turn = 0;
        match pending.origin {
            Origin::Client { key, .. } => match self.clients.all.get_mut(key) {
                Some(client) => turn = client.parked.take_turn(),
                None => return,
            },
            Origin::CacheFetch(fetch, _) => self.core.effects.push(Effect::HoldCacheFetch(fetch)),
            Origin::Flush(_)
            | Origin::Behind(_)
            | Origin::Sale(_)
            | Origin::Confirmation(_)
            | Origin::Probe(_)
            | Origin::Swallow => {}
        }
        let reply = reply.map(Bytes::copy_from_slice);
        let again = Again { pending, bytes, error, reply, turn };
        self.upstreams.retries.push(self.core.now_ns, Retry::Send(Box::new(again)));
    }

    /// Does again what is due.
    pub(in crate::worker) fn run_due(&mut self) {
        // What goes back into the queue gets its turn next time.
        for _ in 0..self.upstreams.retries.len() {
            match self.upstreams.retries.take_due(self.core.now_ns) {
                None => break,
                Some(Retry::Look(client)) => {
                    if let Some(client) = self.clients.all.get(client) {
                        client.wake();
                    }
                }
                Some(Retry::Send(again)) => self.send_again(again),
            }
        }
        for waiter in self.upstreams.retries.take_waiters() {
            if let Some(client) = self.clients.all.get(waiter) {
                client.wake();
            }
        }
    }

    fn send_again(&mut self, again: Box<Again>) {
        match again.pending.origin {
            Origin::Client { key, .. } => {
                let Some(client) = self.clients.all.get_mut(key) else { return };
                if !client.parked.is_next(again.turn) {
                    // One before it went back into the queue, behind it.
                    return self.upstreams.retries.push(self.core.now_ns, Retry::Send(again));
                }
                client.parked.begin();
                client.wake();
                if again.pending.losses > 0 && client.connection_number != AS_USER {
                    // What comes behind it goes the same way, or waits, so that it stays behind.
                    client.connection_number = ALONE;
                    client.exclusive = true;
                }
            }
            Origin::CacheFetch(fetch, _) => self.core.effects.push(Effect::ResumeCacheFetch(fetch)),
            Origin::Flush(_)
            | Origin::Behind(_)
            | Origin::Sale(_)
            | Origin::Confirmation(_)
            | Origin::Probe(_)
            | Origin::Swallow => {}
        }
        let Again { pending, bytes, error, reply, .. } = *again;
        let origin = pending.origin;
        match self.node_of(&pending) {
            Ok(node) => self.send_to(node, pending, &[], bytes),
            Err(error @ (UpstreamError::Unassigned(_) | UpstreamError::NoReplica(_))) => {
                self.core.refresh(self.core.snapshots.cluster_of(pending.route), RefreshReason::Unassigned);
                self.retry_later(pending, bytes, error, reply.as_deref());
            }
            Err(_) => self.retry_later(pending, bytes, error, reply.as_deref()),
        }
        if let Origin::Client { key, .. } = origin
            && let Some(client) = self.clients.all.get_mut(key)
        {
            client.parked.end();
        }
    }
}
