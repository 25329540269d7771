//! Every bound that holds across directories. What happens at a bound is said with it; bounds that are private to a module
//! stand there, and bounds that an operator sets are in [`crate::config`].

use std::time::Duration;

/// The longest line of an inline request, or of a count in a request, in bytes (`PROTO_INLINE_MAX_SIZE` of Redis). Beyond it
/// the client gets a protocol error and is closed.
pub const INLINE_BYTES_MAX: usize = 64 * 1024;

/// The step in which detection moves and workers keep house: once per slice they hand over what they counted, publish their
/// tallies and look at time limits. A key is noticed within two.
pub const SLICE: Duration = Duration::from_millis(100);

/// Slices of the longest window. Each costs every key that is remembered one cell of its history, and the control thread
/// one look at it.
pub const WINDOW_SLICES_MAX: usize = 20;
