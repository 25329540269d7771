//! Who waits in a queue.

/// Who waits for one operation, or for several equal ones in a row: as many commands of one connection, with nothing
/// between them. Small, and opaque to the queue but for this.
pub trait Member: Copy {
    /// For how many operations it waits; at least 1.
    fn operations(&self) -> u32;

    /// Who waits for the one at this place among them, from 0.
    fn one(&self, place: u32) -> Self;
}

/// Nobody waits.
impl Member for () {
    fn operations(&self) -> u32 {
        1
    }

    fn one(&self, _: u32) -> Self {}
}
