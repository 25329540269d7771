//! Counters under a quota that a client has changed beside their queues: the home is told by the client's next increment.
//!
//! What a client remembers of them is its own ([`crate::worker::client::written`]).

use super::HotKeys;

impl HotKeys {
    /// A client that counts now, here at the home of the key or through another worker, has changed the key before.
    pub(super) fn adopt_written(&mut self, hash: u64) {
        let home = self.entries.get_mut(&hash).and_then(|entry| entry.queue.as_mut());
        if let Some(held) = home.and_then(|home| home.held.as_mut()) {
            held.admission.on_written();
        }
    }
}
