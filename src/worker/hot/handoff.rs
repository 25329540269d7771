//! Operations on keys whose home is another worker: gathered during a tick, handed over once at its end.
//!
//! The mailboxes between workers are bounded. When one is full the batch stays here, and grows by no more than the worker's
//! clients may have in flight, which is bounded too.

use bytes::Bytes;
use tokio::sync::mpsc::error::TrySendError;

use super::{Due, HotKeys};
use crate::combine::{Member, Op};
use crate::resp::encode;
use crate::shared::handoff::{Handoff, OwnedOp};
use crate::shared::labels::Outcome;
use crate::shared::mailbox::WorkerMessage;
use crate::worker::core::Core;
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
            Op::Write { request, form } => Self::Write(Bytes::copy_from_slice(request), *form),
            Op::Transaction { commands, shape, delta } => {
                Self::Transaction(Bytes::copy_from_slice(commands), *shape, *delta)
            }
            Op::Script { request, shape, delta } => {
                Self::Script(Bytes::copy_from_slice(request), *shape, *delta)
            }
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
            Self::Write(request, form) => Op::Write { request, form: *form },
            Self::Transaction(commands, shape, delta) => {
                Op::Transaction { commands, shape: *shape, delta: *delta }
            }
            Self::Script(request, shape, delta) => Op::Script { request, shape: *shape, delta: *delta },
        }
    }
}

impl HotKeys {
    /// Puts an operation among those for another worker.
    pub(super) fn hand_off(&mut self, home: usize, handoff: Handoff) {
        self.outboxes[home].push(handoff);
        self.wake();
    }

    /// Sends what has gathered for other workers.
    pub fn send_handoffs(&mut self, core: &mut Core) {
        for worker in 0..self.outboxes.len() {
            if !self.outboxes[worker].is_empty() {
                let batch = std::mem::take(&mut self.outboxes[worker]);
                if let Some(WorkerMessage::Combine(batch)) =
                    self.try_send(core, worker, WorkerMessage::Combine(batch))
                {
                    self.outboxes[worker] = batch;
                }
            }
            if !self.sales.outbox(worker).is_empty() {
                let batch = std::mem::take(self.sales.outbox(worker));
                if let Some(WorkerMessage::Reserve(batch)) =
                    self.try_send(core, worker, WorkerMessage::Reserve(batch))
                {
                    *self.sales.outbox(worker) = batch;
                }
            }
            if !self.answers[worker].is_empty() {
                let batch = std::mem::take(&mut self.answers[worker]);
                if let Some(WorkerMessage::Combined(batch)) =
                    self.try_send(core, worker, WorkerMessage::Combined(batch))
                {
                    self.answers[worker] = batch;
                }
            }
        }
    }

    /// Gives the message back when the mailbox is full; the pump tries again soon.
    pub(super) fn try_send(
        &mut self,
        core: &mut Core,
        worker: usize,
        message: WorkerMessage,
    ) -> Option<WorkerMessage> {
        match core.gateway.workers[worker].mailbox.try_send(message) {
            Ok(()) => None,
            Err(TrySendError::Full(message)) => {
                self.arm(Due::Mailboxes, core.now_ns + FULL_PAUSE_NS);
                Some(message)
            }
            // The worker has ended, and with it the process is ending.
            Err(TrySendError::Closed(_)) => None,
        }
    }

    /// Operations of other workers' clients on keys whose home is here.
    pub fn take_handoffs(&mut self, core: &mut Core, batch: Vec<Handoff>) {
        for handoff in batch {
            // The other worker may have learned of the hot key a moment earlier, or of its end a moment later.
            if !self.entries.contains_key(&handoff.id.hash) {
                if self.quotas.holds(&handoff.key, handoff.id.hash)
                    && let Some(text) = self.refusal_for_room(core, &handoff.key, handoff.id.hash)
                {
                    self.refuse_handoff(core, &handoff, &text);
                    continue;
                }
                self.begin(core, handoff.key.clone(), handoff.id, false);
            }
            if handoff.written {
                self.adopt_written(handoff.id.hash);
            }
            self.push(core, handoff.id.hash, handoff.op.borrow(), handoff.waiter, handoff.version);
        }
    }

    /// Answers an operation for whose key there is no room at its home.
    fn refuse_handoff(&mut self, core: &mut Core, handoff: &Handoff, text: &str) {
        let mut reply = Vec::new();
        encode::error(&mut reply, text);
        for place in 0..handoff.waiter.operations {
            let waiter = handoff.waiter.one(place);
            self.settle_member(core, handoff.id.hash, waiter, ReplyBytes::Borrowed(&reply), Outcome::Refused);
        }
    }
}
