//! Whether a request was taken.

/// Whether the request at hand was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Taken; the next one may be looked at.
    Next,
    /// Taken, with this many identical followers.
    NextAfter(u32),
    /// Not taken: it has to come again later.
    Wait,
}
