//! Whether a request was taken, and how one goes out that is sent as it came.

use super::pending::{Hook, Route};

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

/// How a request goes out.
#[derive(Clone, Copy)]
pub struct Outgoing {
    /// Where to.
    pub route: Route,
    /// It changes nothing, so it may be sent twice.
    pub readonly: bool,
    /// What else happens when the reply comes.
    pub hook: Hook,
}
