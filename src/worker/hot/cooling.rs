//! Keys become combined when the hot set says so, and cease to be when it does not any more and nothing of them is unsettled.

use bytes::Bytes;

use super::Home;

use crate::config::RuleMode;
use crate::detect::HotSet;
use crate::limits::RECORDED_PER_SECOND_MAX;
use crate::worker::state::State;

/// A key that only a rule wants combined is forgotten after this long without use; its next use brings it back.
const RULED_IDLE_NS: u64 = 60_000_000_000;

/// The same for a key that a quota holds: with it go its counts.
const QUOTA_IDLE_NS: u64 = 600_000_000_000;

/// One access in how many is to be recorded in the next slice, given how many came in the last.
fn sample_ratio(accesses: u64, duration_ns: u64, ratio_max: u32) -> u32 {
    let per_second = accesses.saturating_mul(1_000_000_000) / duration_ns.max(1);
    let wanted = per_second.div_ceil(RECORDED_PER_SECOND_MAX).clamp(1, u64::from(ratio_max.max(1)));
    wanted as u32
}

impl State {
    /// Takes over the published hot set, if it or the configuration is new.
    pub fn adopt_hot_set(&mut self, hot_set: &HotSet) {
        if self.hot.hot_set_version == Some(hot_set.version) {
            return;
        }
        self.hot.hot_set_version = Some(hot_set.version);
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
                None => self.begin(Bytes::copy_from_slice(key), hash, true),
            }
        }
    }

    /// Forgets keys that are not combined any more.
    pub fn cool_down(&mut self) {
        let now_ns = self.now_ns;
        let tallies = &mut self.tallies;
        let held_keys = &mut self.hot.held_keys;
        self.hot.entries.retain(|_, entry| {
            let idle_max_ns = if entry.quota.is_some() { QUOTA_IDLE_NS } else { RULED_IDLE_NS };
            let idle = !entry.hot && now_ns.saturating_sub(entry.active_ns) > idle_max_ns;
            let at_rest = |home: &Home| {
                home.queue.is_empty()
                    && home.unconfirmed.is_empty()
                    && !home.held.as_ref().is_some_and(|held| held.admission.owes())
            };
            let settled = entry.unsettled == 0 && entry.queue.as_deref().is_none_or(at_rest);
            let keep = !(settled && (!entry.is_wanted() || idle));
            *held_keys -= usize::from(!keep && entry.quota.is_some());
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
        let slice = detector.take_slice(self.now_ns);
        let ratio = sample_ratio(slice.totals.ops, slice.duration_ns, self.config.detect.sample_max);
        detector.set_sample_ratio(ratio);
        place.send((self.index, slice));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_access_is_recorded_until_there_are_too_many() {
        let check =
            |accesses, expected| assert_eq!(sample_ratio(accesses, 100_000_000, 16), expected, "{accesses}");
        check(0, 1);
        check(50_000, 1);
        check(50_001, 2);
        check(200_000, 4);
        check(100_000_000, 16);
        assert_eq!(sample_ratio(1, 0, 16), 16);
    }
}
