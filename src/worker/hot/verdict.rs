//! What hot keys make of a request.

/// What becomes of a request that would be forwarded.
#[derive(Debug, PartialEq, Eq)]
pub enum HotVerdict {
    /// It goes as it came.
    Forward,
    /// It goes as it came, and later combined operations of its client wait for its reply.
    Barrier,
    /// It was taken into a queue, with its identical followers: so many in all.
    Combined(u32),
    /// It was answered from a copy, with so many bytes.
    Served(u32),
    /// Something of its client has to be answered first.
    Wait,
    /// The key has room for nothing more of this worker's clients: it comes again when there is some.
    AwaitRoom,
    /// It would pass by a quota: the error that it gets.
    Refuse(String),
}
