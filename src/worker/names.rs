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

/// Names a fill: the moment at which it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FillId(pub u64);
