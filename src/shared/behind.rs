//! What workers tell each other about keys in write-behind mode: questions to the home of a key, and what it says.
//!
//! As in [`super::handoff`] a client is named by a number that only its own worker can use.

use std::sync::Arc;

use bytes::Bytes;

use super::handoff::Waiter;
use super::labels::Outcome;
use crate::combine::WriteBehindOp;
use crate::config::Config;

/// What is asked of a home.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BehindAsk {
    /// Take this operation.
    Take(WriteBehindOp),
    /// Flush what was taken before, and then let another command on the key pass.
    Barrier,
    /// That command has been answered, or its client is gone.
    Done,
    /// Name all keys that the home keeps anything of, and flush them soon: a command without declared keys comes.
    List,
    /// Doubt the totals that are known: a worker's rules have changed, and under the old ones its clients may have written
    /// beside the home.
    Doubt,
    /// Say whether anything is left of keys that the rules do not name any more. The sequence is the home's number.
    Leftovers,
}

/// One question on its way to the home of its key.
#[derive(Clone, Debug)]
pub struct BehindRequest {
    /// The key.
    pub key: Bytes,
    /// Its hash.
    pub hash: u64,
    /// What is asked.
    pub ask: BehindAsk,
    /// Who asks. For commands with a barrier the sequence is its number.
    pub waiter: Waiter,
}

/// What a home says.
#[derive(Clone, Debug)]
pub enum HomeReply {
    /// This is the reply.
    Reply(Bytes, Outcome),
    /// The key is passed through: send the operation yourself, the ordinary way.
    PassThrough(WriteBehindOp),
    /// The command may pass, and the home is to be told when it is answered.
    Granted,
    /// The command may pass, and the home keeps nothing of the key.
    Free,
    /// The command may not pass, for this error.
    Refused(&'static str),
    /// These are the home's keys, by hash.
    Keys(Vec<(u64, Bytes)>),
    /// Whether anything is left of keys that these rules do not name.
    Leftovers(Arc<Config>, bool),
}

/// A reply of a home on its way back.
#[derive(Clone, Debug)]
pub struct HomeMessage {
    /// The key that was asked about.
    pub key: Bytes,
    /// Its hash.
    pub hash: u64,
    /// Who asked.
    pub waiter: Waiter,
    /// What is said.
    pub reply: HomeReply,
}
