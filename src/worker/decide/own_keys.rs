//! The keys that the gateway itself keeps in Redis (overrides and windows of quotas, tokens): clients neither read nor change
//! them.
//!
//! Only where a command has a key such a name is refused: a value may look like that.
//!
//! Does not see keys that a script touches without declaring them.

use crate::combine::is_companion_key;
use crate::worker::resolve::Resolved;

/// What such a command gets.
pub(super) const OWN_KEY: &[u8] =
    b"ERR hotgate: keys named {...}hotgate:... are the gateway's own; HOTGATE QUOTA shows and changes quotas";

/// Whether a request names a key of the gateway's own. Malformed arguments are for Redis to refuse.
pub(super) fn names_own_key(resolved: &Resolved<'_>) -> bool {
    resolved.named_keys().any(|(_, key)| is_companion_key(key))
}
