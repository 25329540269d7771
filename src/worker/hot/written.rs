//! Counters under a quota that a client has changed beside their queues: the home is told by the client's next increment.
//!
//! What a client remembers of them is its own ([`crate::worker::client::written`]).

use super::HotKeys;
use crate::worker::names::ClientKey;
use crate::worker::owners::Worker;

impl Worker {
    /// A client changes a key that a quota holds, beside the key's queue.
    pub(super) fn note_written(&mut self, client: ClientKey, hash: u64) {
        if let Some(client) = self.clients.all.get_mut(client) {
            client.written.note(hash);
        }
    }
}

impl HotKeys {
    /// A client that counts now, here at the home of the key or through another worker, has changed the key before.
    pub(super) fn adopt_written(&mut self, hash: u64) {
        let home = self.entries.get_mut(&hash).and_then(|entry| entry.queue.as_mut());
        if let Some(held) = home.and_then(|home| home.held.as_mut()) {
            held.admission.on_written();
        }
    }
}
