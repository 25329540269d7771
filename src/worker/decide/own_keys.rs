//! The keys that the gateway itself keeps in Redis (overrides and windows of quotas, tokens): clients neither read nor change
//! them.
//!
//! An argument is looked at for the first bytes of such a name only, so a request that names none costs next to nothing. One
//! that does is refused if the name stands where the command has a key: a value may look like that.
//!
//! Does not see keys that a script touches without declaring them.

use crate::combine::is_companion_key;
use crate::command::{Command, KeyPositions};
use crate::resp::Request;

/// What such a command gets.
pub(super) const OWN_KEY: &[u8] =
    b"ERR hotgate: keys named {...}hotgate:... are the gateway's own; HOTGATE QUOTA shows and changes quotas";

/// Whether a request names a key of the gateway's own.
pub(super) fn names_own_key(command: &Command, request: &Request<'_>) -> bool {
    if !request.args().skip(1).any(is_companion_key) {
        return false;
    }
    let mut keys = KeyPositions::new();
    // Malformed arguments are for Redis to refuse.
    command.keys(request, &mut keys).is_ok()
        && keys.iter().filter_map(|place| request.arg(*place as usize)).any(is_companion_key)
}
