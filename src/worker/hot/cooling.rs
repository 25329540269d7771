//! Keys become combined when the hot set says so, and cease to be when it does not any more and nothing of them is unsettled.

use bytes::Bytes;

use super::Home;

use crate::config::RuleMode;
use crate::detect::HotSet;
use crate::worker::state::State;

/// A key that only a rule wants combined is forgotten after this long without use; its next use brings it back.
const RULED_IDLE_NS: u64 = 60_000_000_000;

/// The same for a key that a quota holds: with it go its counts.
const QUOTA_IDLE_NS: u64 = 600_000_000_000;

impl State {
    /// Takes over the published hot set.
    pub fn adopt_hot_set(&mut self, hot_set: &HotSet) {
        if hot_set.version == self.hot.hot_set_version {
            return;
        }
        self.hot.hot_set_version = hot_set.version;
        self.tick();
        self.hot.entries.values_mut().for_each(|entry| entry.hot = false);
        if !self.config.combine.enabled {
            return;
        }
        // Of a name that is too long to be kept whole only rules can say that it is combined.
        for hot_key in hot_set.entries.iter().filter(|hot_key| !hot_key.key.is_truncated()) {
            let key = hot_key.key.bytes();
            let hash = self.hot.hasher.hash_one(key);
            let excluded = matches!(self.hot.rules.mode_of(key, hash), RuleMode::Off | RuleMode::WriteBehind)
                && !self.hot.quotas.holds(key, hash);
            match self.hot.entries.get_mut(&hash) {
                _ if excluded => {}
                Some(entry) => entry.hot = entry.key == key,
                None => self.begin(Bytes::copy_from_slice(key), hash, false, true),
            }
        }
    }

    /// Forgets keys that are not combined any more.
    pub fn cool_down(&mut self) {
        let now_ns = self.now_ns;
        let tallies = &mut self.tallies;
        self.hot.entries.retain(|_, entry| {
            let idle_max_ns = if entry.quota.is_some() { QUOTA_IDLE_NS } else { RULED_IDLE_NS };
            let idle = !entry.hot && now_ns.saturating_sub(entry.active_ns) > idle_max_ns;
            let at_rest =
                |home: &Home| home.queue.is_empty() && !home.held.as_ref().is_some_and(|held| held.owes());
            let settled = entry.unsettled == 0 && entry.queue.as_deref().is_none_or(at_rest);
            let keep = !(settled && (!entry.is_wanted() || idle));
            if let (false, Some(home)) = (keep, &entry.queue) {
                tallies.combine.keys.release(home.row);
                if let Some(held) = &home.held {
                    held.release(&mut tallies.quotas);
                }
            }
            keep
        });
    }

    /// Gives what was counted to the control thread, unless that has not taken the last yet.
    pub fn hand_over_slice(&mut self) {
        let Some(detector) = &mut self.hot.detector else { return };
        let Ok(place) = self.gateway.slices.try_reserve() else { return };
        place.send((self.index, detector.take_slice(self.now_ns)));
    }
}
