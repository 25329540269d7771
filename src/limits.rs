//! Every bound that holds across directories. What happens at a bound is said with it; bounds that are private to a module
//! stand there, and bounds that an operator sets are in [`crate::config`].

/// The longest line of an inline request, or of a count in a request, in bytes (`PROTO_INLINE_MAX_SIZE` of Redis). Beyond it
/// the client gets a protocol error and is closed.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;
