//! Error replies after which a command is sent again: the node did not run it.

use crate::resp::first_error;

/// Redirections, and nodes that cannot serve now. `READONLY` is not among them: a client of a single replica has to see it.
const RETRYABLE: &[&[u8]] = &[b"MOVED ", b"ASK ", b"TRYAGAIN ", b"CLUSTERDOWN ", b"LOADING ", b"MASTERDOWN "];

/// Whether the reply, or the first error in it, says that the node did not run the command and another attempt may succeed.
pub(super) fn is_retryable(reply: &[u8]) -> bool {
    first_error(reply).is_some_and(|text| RETRYABLE.iter().any(|prefix| text.starts_with(prefix)))
}
