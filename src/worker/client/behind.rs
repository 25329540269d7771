//! What a client has to do with keys in write-behind mode: those that its commands touch, and the barrier of one past their homes.

use smallvec::SmallVec;

use crate::shared::behind::NamedKey;

/// Keys in write-behind mode, in the order of their hashes.
pub type BehindKeys = SmallVec<[NamedKey; 1]>;

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
    /// The homes whose word it needs, in the order in which they are asked: one after the other.
    pub homes: SmallVec<[usize; 1]>,
    /// So many of them, the first, hold their keys for it.
    pub granted: usize,
    /// What it needs held.
    pub touched: BarrierKeys,
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
        self.granted == self.homes.len()
    }

    /// The homes that have been asked.
    pub fn asked(&self) -> &[usize] {
        &self.homes[..self.homes.len().min(self.granted + 1)]
    }
}

impl BarrierKeys {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.all
    }

    /// Adds what another command touches.
    pub fn add(&mut self, other: BarrierKeys) {
        self.all |= other.all;
        self.keys.extend(other.keys);
        self.sort();
    }

    /// Puts the keys in order, each once.
    pub fn sort(&mut self) {
        self.keys.sort_unstable_by_key(|(id, _)| id.hash);
        self.keys.dedup_by_key(|(id, _)| id.hash);
    }
}
