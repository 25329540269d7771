//! An operation of a client goes to its hot key: its slots in the reply queue are taken, and the key is told who waits.

use super::owners::Worker;
use crate::combine::{Op, Verb};
use crate::command::CommandId;
use crate::shared::handoff::{AnswerTo, Waiter};
use crate::shared::labels::RequestClass;
use crate::worker::names::ClientKey;

impl Worker {
    /// Takes an operation of one of this worker's clients, or so many equal ones, which may be combined now.
    pub(super) fn enqueue(
        &mut self,
        client_key: ClientKey,
        hash: u64,
        (op, verb, command): (Op<'_>, Verb, CommandId),
        operations: u32,
    ) {
        let Some(client) = self.clients.all.get_mut(client_key) else { return };
        client.combined += operations;
        let written = matches!(op, Op::Increment(_)) && client.written.take(hash);
        let sequence = match operations {
            1 => {
                let suppressed = client.take_suppressed();
                match op {
                    Op::Transaction { .. } => client.replies.push_transaction(suppressed),
                    _ => client.replies.push_waiting(suppressed),
                }
            }
            _ => client.replies.push_waiting_run(operations),
        };
        let waiter = Waiter {
            to: AnswerTo::Slot { client: client_key.to_number(), sequence },
            operations,
            worker: self.core.index as u16,
            received_ns: self.core.now_ns,
            upstream_ns: 0,
            class: class_of(&op),
            command: Some(command),
            delta: if let Op::Increment(delta) = op { delta } else { 0 },
            verb,
            version: client.session.version,
            bytes: u32::try_from(op.bytes()).unwrap_or(u32::MAX),
        };
        self.hot.take_operation(&mut self.core, hash, op, waiter, written);
        // A quota may have answered already. Then nothing of it is under way when the client's next request is looked at.
        self.deliver_answers();
    }
}

fn class_of(op: &Op<'_>) -> RequestClass {
    match op {
        Op::Increment(_) | Op::HashIncrement { .. } => RequestClass::Counter,
        Op::Get | Op::HashGet { .. } | Op::Read { .. } => RequestClass::Read,
        Op::Set(_) | Op::Write { .. } => RequestClass::Write,
        Op::Transaction { .. } => RequestClass::Transaction,
        Op::Script { .. } => RequestClass::Script,
    }
}
