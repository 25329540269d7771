//! The names by which the rooms of a worker refer to what another room owns. A name may be stale; then it finds nothing.

use super::arena::Key;
use super::client::Client;
use super::upstream::Upstream;

/// Names a client of one worker.
pub type ClientKey = Key<Client>;

/// Names an upstream connection of one worker.
pub type UpstreamKey = Key<Upstream>;

/// Names one sending of a flush: replies to an earlier sending of the same key are not taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushKey {
    /// The hash of the hot key.
    pub hash: u64,
    /// Which sending.
    pub sending: u32,
}

/// Names a read of which a copy may be kept: the moment at which it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CacheFetchId(pub u64);

/// Names a slot of a client's reply queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplySlot {
    /// The client; it may be gone by the time the reply comes.
    pub client: ClientKey,
    /// The slot.
    pub sequence: u32,
    /// Which part of a merged reply; 0 otherwise.
    pub part: u32,
}

impl ReplySlot {
    /// A slot that awaits one reply.
    pub fn new(client: ClientKey, sequence: u32) -> Self {
        Self { client, sequence, part: 0 }
    }
}
