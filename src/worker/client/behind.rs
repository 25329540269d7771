//! What a client has to do with keys in write-behind mode: those that its commands touch, and the barrier of one past their homes.

use bytes::Bytes;
use smallvec::SmallVec;

/// Keys in write-behind mode, by hash.
pub type BehindKeys = SmallVec<[(u64, Bytes); 1]>;

/// The keys that a command touches, as far as they are in write-behind mode.
#[derive(Clone, Debug, Default)]
pub struct BarrierKeys {
    /// These.
    pub keys: BehindKeys,
    /// It may touch any.
    pub all: bool,
}

/// One command's way past the homes of keys.
#[derive(Debug)]
pub struct Barrier {
    /// Which barrier of its worker it is: a word of a home for an earlier one is not taken for it.
    pub number: u32,
    /// Homes that have yet to name their keys.
    pub unlisted: usize,
    /// In the order of hashes.
    pub wanted: BehindKeys,
    /// So many of them, the first, let it pass.
    pub passed: usize,
    /// Those among them that are to be told when the command is answered.
    pub held: BehindKeys,
    /// The error with which a home refused it.
    pub refused: Option<&'static str>,
    /// The slot behind the command's own in the reply queue, once the command is on its way.
    pub until: Option<u32>,
}

impl Barrier {
    /// Whether the command has yet to be sent.
    pub fn awaits_command(&self) -> bool {
        self.until.is_none()
    }

    /// Whether all homes let it pass.
    pub fn is_open(&self) -> bool {
        self.unlisted == 0 && self.passed == self.wanted.len()
    }
}

impl BarrierKeys {
    /// Adds what another command touches.
    pub fn add(&mut self, other: BarrierKeys) {
        self.all |= other.all;
        self.keys.extend(other.keys);
        sort(&mut self.keys);
    }
}

/// In the order of hashes, each key once.
pub fn sort(keys: &mut BehindKeys) {
    keys.sort_unstable_by_key(|(hash, _)| *hash);
    keys.dedup_by_key(|(hash, _)| *hash);
}
