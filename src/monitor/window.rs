//! The time over which rates are told.

use super::merged::Merged;

/// Two snapshots and the seconds between them.
pub struct Window<'a> {
    /// The older of the two.
    pub base: &'a Merged,
    /// The time between them.
    pub seconds: f64,
}

impl Window<'_> {
    /// The rate per second of a count that was `base` and is `now`.
    pub fn rate(&self, now: u64, base: u64) -> f64 {
        // Rows by key start anew when a key comes back; what they hold then happened within the window.
        let happened = if now >= base { now - base } else { now };
        happened as f64 / self.seconds
    }
}
