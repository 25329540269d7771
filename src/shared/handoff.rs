//! What workers send each other about combined keys: operations to the home worker of a key, outcomes back.
//!
//! A client is named by a number here, because it belongs to one worker and no other may touch it.

use bytes::Bytes;

use super::labels::Outcome;
use crate::combine::{Member, Verb};
use crate::resp::RespVersion;

/// An operation that folds, with bytes of its own. See [`crate::combine::Op`].
#[derive(Clone, Debug)]
pub enum OwnedOp {
    /// An increment of a string.
    Increment(i64),
    /// `GET`.
    Get,
    /// A plain `SET` of this value.
    Set(Bytes),
    /// An increment of this field.
    HashIncrement(Bytes, i64),
    /// `HGET` of this field.
    HashGet(Bytes),
    /// Another read, whole, and whether its reply is a scalar.
    Read(Bytes, bool),
}

/// One operation on its way to the home of its key.
#[derive(Clone, Debug)]
pub struct Handoff {
    /// The key.
    pub key: Bytes,
    /// Its hash.
    pub hash: u64,
    /// The operation.
    pub op: OwnedOp,
    /// How its client wants the reply.
    pub version: RespVersion,
    /// The waiting client.
    pub waiter: Waiter,
    /// Its client has changed the key outside of the queue before, and that was answered.
    pub written: bool,
}

/// The client that waits for a combined operation, or for several equal ones in a row.
#[derive(Clone, Copy, Debug)]
pub struct Waiter {
    /// The worker of the client.
    pub worker: u16,
    /// The client's number there.
    pub client: u64,
    /// The slot in its reply queue; the first of as many as it waits for operations.
    pub sequence: u32,
    /// For how many operations it waits; at least 1.
    pub operations: u32,
    /// When the request came in, in nanoseconds of the process's clock.
    pub received_ns: u64,
    /// The delta of each of them; 0 for anything but an increment.
    pub delta: i64,
    /// How it says the increment.
    pub verb: Verb,
    /// How its client wants the reply.
    pub version: RespVersion,
}

impl Member for Waiter {
    fn operations(&self) -> u32 {
        self.operations
    }

    fn one(&self, place: u32) -> Self {
        Self { sequence: self.sequence.wrapping_add(place), operations: 1, ..*self }
    }

    fn caller(&self) -> u64 {
        // Clients are numbered by each worker for itself.
        self.client.rotate_left(16) ^ u64::from(self.worker)
    }

    fn verb(&self) -> Verb {
        self.verb
    }
}

/// An outcome on its way back.
#[derive(Clone, Debug)]
pub struct HandoffResult {
    /// The hash of the key.
    pub hash: u64,
    /// The waiting client.
    pub waiter: Waiter,
    /// The whole reply, or as many as it waits for, one behind the other.
    pub reply: Bytes,
    /// The outcome that it counts as.
    pub outcome: Outcome,
}
