//! What workers tell each other about keys in write-behind mode: requests to the home of a key, and what it replies.
//!
//! As in [`super::handoff`] a client is named by a number that only its own worker can use.

use std::sync::Arc;

use bytes::Bytes;

use super::handoff::Waiter;
use super::labels::Outcome;
use crate::combine::WriteBehindOp;
use crate::config::Config;
use crate::route::KeyId;

/// Which key it is, and its name there.
pub type NamedKey = (KeyId, Bytes);

/// Names the barrier of one command of a client, for the life of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BarrierId {
    /// The client's worker.
    pub worker: u16,
    /// The client's number.
    pub client: u64,
    /// Which barrier of its worker.
    pub number: u32,
}

/// A request to a home.
#[derive(Clone, Debug)]
pub enum BehindRequest {
    /// Take this operation.
    Take {
        /// The key.
        key: NamedKey,
        /// The operation.
        op: WriteBehindOp,
        /// Who waits for its reply.
        waiter: Waiter,
        /// What the home has to know of the worker and of the client.
        asker: Asker,
    },
    /// Flush what was taken before of these keys, and take nothing more of them until the end of the barrier.
    Barrier {
        /// Its name.
        id: BarrierId,
        /// The keys, all of this home.
        keys: Vec<NamedKey>,
        /// Beside them all that the home keeps anything of, or will: a command without declared keys comes.
        all: bool,
    },
    /// The command of this barrier has been answered, or will never be sent.
    EndBarrier(BarrierId),
    /// Say whether anything is left of keys that the rules do not name any more.
    AskDrained {
        /// Who asks.
        worker: usize,
        /// Under which of its rules.
        epoch: u32,
    },
}

/// What a home has to know of whoever brings an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asker {
    /// The rules of its worker want the key in write-behind mode. If not, it was, and comes by its home to keep order.
    pub wants: bool,
    /// Until this time, in nanoseconds of the process's clock, its client may have written the key beside its home.
    pub beside_until_ns: u64,
}

/// What a home replies.
#[derive(Clone, Debug)]
pub enum HomeReply {
    /// The reply to an operation.
    Answer(Waiter, Bytes, Outcome),
    /// The key is passed through: send the operation yourself, the ordinary way.
    PassThrough(NamedKey, WriteBehindOp, Waiter),
    /// The barrier holds all keys of this home; or it can't be had, for this error.
    Barrier(BarrierId, Result<(), &'static str>),
    /// Whether this home, under these rules, keeps nothing of keys that they do not name.
    Drained {
        /// The home.
        home: usize,
        /// As it was asked.
        epoch: u32,
        /// The rules.
        config: Arc<Config>,
        /// Whether it does.
        drained: bool,
    },
}
