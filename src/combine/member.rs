//! A member of a queue: the caller that waits for the reply.

use std::fmt::Debug;
use std::hash::Hash;

/// How a client said an increment of a string.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verb {
    /// `INCR`
    Incr,
    /// `DECR`
    Decr,
    /// `INCRBY`
    #[default]
    Incrby,
    /// `DECRBY`
    Decrby,
}

/// Who waits for one operation, or for several equal ones in a row: as many commands of one connection, with nothing
/// between them. Small, and opaque to the queue but for this.
pub trait Member: Copy {
    /// Names a connection.
    type Caller: Copy + Debug + Ord + Hash;

    /// For how many operations it waits; at least 1.
    fn operations(&self) -> u32;

    /// The member for the one operation at this place, from 0.
    fn one(&self, place: u32) -> Self;

    /// The connection that it belongs to: operations of one connection keep their order.
    fn caller(&self) -> Self::Caller;

    /// How it says an increment of a string.
    fn verb(&self) -> Verb {
        Verb::default()
    }
}

/// Nobody waits.
impl Member for () {
    type Caller = ();

    fn operations(&self) -> u32 {
        1
    }

    fn one(&self, _: u32) -> Self {}

    fn caller(&self) {}
}
