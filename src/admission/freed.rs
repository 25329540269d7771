//! Which directions (increments, decrements) may have got room from an operation that is waiting or in flight.

/// The directions that may have room.
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
