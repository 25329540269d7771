//! Error replies after which a flush is sent again: the node did not run it.

use crate::resp::{NotRun, first_error};

/// Whether the reply, or the first error in it, says that the node did not run the command and another attempt may succeed. `READONLY` is
/// not among them: a client of a single replica has to see it.
pub(super) fn is_retryable(reply: &[u8]) -> bool {
    let why = first_error(reply).and_then(NotRun::of);
    why.is_some_and(|why| !matches!(why, NotRun::ReadOnly | NotRun::NoScript))
}
