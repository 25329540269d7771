//! Room that an operation on its way may have made.

/// The directions in which there may be room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Freed {
    pub increments: bool,
    pub decrements: bool,
}

impl Freed {
    /// An operation that adds `delta` makes room for those of the other sign.
    pub fn by(&mut self, delta: i64) {
        self.increments |= delta < 0;
        self.decrements |= delta > 0;
    }
}
