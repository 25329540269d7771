//! What of quotas goes to and comes from the control thread beside the board: counters that have no row of their own are told of,
//! and what operators set is taken over.
//!
//! Either costs what has changed. The list of all counters is the control thread's.

use super::HotKeys;
use super::quota::describe;
use crate::limits::QUOTAS_TOLD_MAX;
use crate::shared::quota_overrides::{Overrides, changes};
use crate::worker::core::Core;

impl HotKeys {
    /// Tells of counters that have counted and have no row of their own, a bounded number at a time.
    pub(super) fn send_quota_news(&mut self, core: &Core) {
        if self.board.untold.is_empty() {
            return;
        }
        // While as many lists wait as may, the counters wait here.
        let Ok(place) = core.gateway.quota_news.try_reserve() else { return };
        let hashes: Vec<u64> = self.board.untold.iter().take(QUOTAS_TOLD_MAX).copied().collect();
        let mut facts = Vec::with_capacity(hashes.len());
        for hash in hashes {
            self.board.untold.remove(&hash);
            let home = self.entries.get(&hash).and_then(|entry| entry.queue.as_ref());
            if let Some(held) = home.and_then(|home| home.held.as_ref()) {
                describe(held, self.quotas.rules(), core.now_ns, &mut facts);
            }
        }
        place.send(facts);
    }

    /// Takes over what operators set for single counters. One that is paused no more is open at once.
    pub fn adopt_overrides(&mut self, core: &Core, former: &Overrides, now: &Overrides) {
        for (key, set) in changes(former, now) {
            let hash = core.id_of(key).hash;
            let entry = self.entries.get_mut(&hash).filter(|entry| entry.key == *key);
            let home = entry.and_then(|entry| entry.queue.as_mut());
            if let Some(held) = home.and_then(|home| home.held.as_mut()) {
                held.admission.on_override(core.now_ns, set.limit, set.paused);
            }
        }
        self.board.hurry();
    }
}
