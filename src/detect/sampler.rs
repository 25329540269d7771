//! Which accesses are recorded when not all of them can be.
//!
//! Owns the choice: one access of each block, by chance, so that traffic in step with the blocks is not counted wrongly. What is
//! counted for the others, the detector decides.

/// Takes one of each `ratio` accesses.
pub(super) struct Sampler {
    pub(super) ratio: u32,
    /// Accesses until the block ends.
    left: u32,
    /// The access of the block that is taken is the one that leaves this many.
    chosen: u32,
    state: u64,
}

impl Sampler {
    pub(super) fn new() -> Self {
        Self { ratio: 1, left: 0, chosen: 0, state: 0 }
    }

    /// How many of so many accesses to one key in a row are taken.
    #[inline]
    pub(super) fn take(&mut self, hash: u64, times: u32) -> u32 {
        if self.ratio == 1 {
            return times;
        }
        (0..times).filter(|_| self.takes_next(hash)).count() as u32
    }

    /// The key's hash feeds the choice, so that nobody who lacks the hasher's seeds can predict it.
    fn takes_next(&mut self, hash: u64) -> bool {
        if self.left == 0 {
            self.left = self.ratio;
            self.state = (self.state ^ hash).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
            self.chosen = (((self.state >> 32) * u64::from(self.ratio)) >> 32) as u32;
        }
        self.left -= 1;
        self.left == self.chosen
    }
}
