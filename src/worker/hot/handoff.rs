//! Operations on keys whose home is another worker: gathered during a tick, handed over once at its end.
//!
//! The mailboxes between workers are bounded. When one is full the batch stays here, and grows by no more than the worker's
//! clients may have in flight, which is bounded too.

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;

use super::Due;
use crate::combine::{Member, Op};
use crate::limits::LARGE_REPLY_BYTES;
use crate::resp::encode;
use crate::shared::handoff::{Handoff, HandoffResult, OwnedOp};
use crate::shared::labels::Outcome;
use crate::shared::mailbox::WorkerMessage;
use crate::worker::client::flush_touched;
use crate::worker::owners::Worker;
use crate::worker::reply::ReplyBytes;

/// How long a full mailbox is left alone.
const FULL_PAUSE_NS: u64 = 1_000_000;

impl OwnedOp {
    /// Keeps an operation beyond the request it came in.
    pub fn new(op: &Op<'_>) -> Self {
        match op {
            Op::Increment(delta) => Self::Increment(*delta),
            Op::Get => Self::Get,
            Op::Set(value) => Self::Set(Bytes::copy_from_slice(value)),
            Op::HashIncrement { field, delta } => Self::HashIncrement(Bytes::copy_from_slice(field), *delta),
            Op::HashGet { field } => Self::HashGet(Bytes::copy_from_slice(field)),
            Op::Read { request, scalar } => Self::Read(Bytes::copy_from_slice(request), *scalar),
        }
    }

    fn borrow(&self) -> Op<'_> {
        match self {
            Self::Increment(delta) => Op::Increment(*delta),
            Self::Get => Op::Get,
            Self::Set(value) => Op::Set(value),
            Self::HashIncrement(field, delta) => Op::HashIncrement { field, delta: *delta },
            Self::HashGet(field) => Op::HashGet { field },
            Self::Read(request, scalar) => Op::Read { request, scalar: *scalar },
        }
    }
}

impl Worker {
    /// Puts an operation among those for another worker.
    pub(super) fn hand_off(&mut self, home: usize, handoff: Handoff) {
        self.hot.outboxes[home].push(handoff);
        self.hot.wake();
    }

    /// Sends what has gathered for other workers.
    pub(super) fn send_handoffs(&mut self) {
        for worker in 0..self.hot.outboxes.len() {
            if !self.hot.outboxes[worker].is_empty() {
                let batch = std::mem::take(&mut self.hot.outboxes[worker]);
                if let Some(WorkerMessage::Combine(batch)) =
                    self.try_send(worker, WorkerMessage::Combine(batch))
                {
                    self.hot.outboxes[worker] = batch;
                }
            }
            if !self.hot.results[worker].is_empty() {
                let batch = std::mem::take(&mut self.hot.results[worker]);
                if let Some(WorkerMessage::Combined(batch)) =
                    self.try_send(worker, WorkerMessage::Combined(batch))
                {
                    self.hot.results[worker] = batch;
                }
            }
        }
    }

    /// Gives the message back when the mailbox is full; the pump tries again soon.
    pub(super) fn try_send(&mut self, worker: usize, message: WorkerMessage) -> Option<WorkerMessage> {
        match self.core.gateway.workers[worker].mailbox.try_send(message) {
            Ok(()) => None,
            Err(TrySendError::Full(message)) => {
                self.hot.arm(Due::Mailboxes, self.core.now_ns + FULL_PAUSE_NS);
                Some(message)
            }
            // The worker has ended, and with it the process is ending.
            Err(TrySendError::Closed(_)) => None,
        }
    }

    /// Operations of other workers' clients on keys whose home is here.
    pub fn take_handoffs(&mut self, batch: Vec<Handoff>) {
        for handoff in batch {
            // The other worker may have learned of the hot key a moment earlier, or of its end a moment later.
            if !self.hot.entries.contains_key(&handoff.hash) {
                if self.hot.quotas.holds(&handoff.key, handoff.hash)
                    && let Some(text) = self.refusal_for_room(&handoff.key, handoff.hash)
                {
                    self.refuse_handoff(&handoff, &text);
                    continue;
                }
                self.begin(handoff.key.clone(), handoff.hash, false);
            }
            if handoff.written {
                self.adopt_written(handoff.hash);
            }
            self.push(handoff.hash, handoff.op.borrow(), handoff.waiter, handoff.version);
        }
    }

    /// Answers an operation for whose key there is no room at its home.
    fn refuse_handoff(&mut self, handoff: &Handoff, text: &str) {
        let mut reply = Vec::new();
        encode::error(&mut reply, text);
        for place in 0..handoff.waiter.operations {
            let waiter = handoff.waiter.one(place);
            self.settle_member(handoff.hash, waiter, ReplyBytes::Borrowed(&reply), Outcome::Refused);
        }
    }

    /// Outcomes for this worker's own clients.
    pub fn take_results(&mut self, batch: Vec<HandoffResult>) {
        for result in batch {
            let HandoffResult { hash, waiter, reply, outcome } = result;
            let reply = match reply.len() {
                0..LARGE_REPLY_BYTES => ReplyBytes::Borrowed(&reply),
                _ => ReplyBytes::Owned(reply),
            };
            self.settle_local(hash, waiter, reply, outcome);
        }
        flush_touched(self);
    }
}
