//! Keys become combined when the hot set says so, and cease to be when it does not any more and nothing of them is unsettled.

use bytes::Bytes;

use super::crowds::CROWD_IDLE_NS;
use super::{Due, Entry, HotKey, HotKeys};

use crate::config::RuleMode;
use crate::detect::HotSet;
use crate::limits::RECORDED_PER_SECOND_MAX;
use crate::worker::core::Core;

/// A key that only a rule wants combined is forgotten after this long without use; its next use brings it back.
const RULED_IDLE_NS: u64 = 60_000_000_000;

/// The same for a key that a quota holds: with it go its counts.
const QUOTA_IDLE_NS: u64 = 600_000_000_000;

/// A key that could be forgotten, but for something that is not settled yet, is looked at again after this long.
const UNSETTLED_NS: u64 = 1_000_000_000;

/// One access in how many is to be recorded in the next slice, given how many came in the last.
fn sample_ratio(accesses: u64, duration_ns: u64, ratio_max: u32) -> u32 {
    let per_second = accesses.saturating_mul(1_000_000_000) / duration_ns.max(1);
    let wanted = per_second.div_ceil(RECORDED_PER_SECOND_MAX).clamp(1, u64::from(ratio_max.max(1)));
    wanted as u32
}

impl Entry {
    /// When it has been out of use for long enough.
    pub(super) fn idle_due_ns(&self) -> u64 {
        let (used_ns, idle_ns) = match (self.quota.is_some(), self.crowded && !self.ruled) {
            (true, _) => (self.active_ns, QUOTA_IDLE_NS),
            // While it passes nobody notes when it is used.
            (false, true) if self.passes() => (self.active_ns.max(self.pace.since_ns()), CROWD_IDLE_NS),
            (false, true) => (self.active_ns, CROWD_IDLE_NS),
            (false, false) => (self.active_ns, RULED_IDLE_NS),
        };
        used_ns.saturating_add(idle_ns)
    }

    /// Nothing of it waits, is on its way, or is owed.
    fn is_settled(&self) -> bool {
        let at_rest = |home: &HotKey| {
            home.queue.is_empty()
                && home.unconfirmed.is_empty()
                && !home.held.as_ref().is_some_and(|held| held.admission.owes())
        };
        self.unsettled.is_none() && self.queue.as_deref().is_none_or(at_rest)
    }
}

impl HotKeys {
    /// Takes over the published hot set, if it or the configuration is new.
    pub fn adopt_hot_set(&mut self, core: &mut Core, hot_set: &HotSet) {
        if self.hot_set_version == Some(hot_set.version) {
            return;
        }
        self.hot_set_version = Some(hot_set.version);
        core.tick();
        let former = std::mem::take(&mut self.hot_keys);
        for hash in &former {
            if let Some(entry) = self.entries.get_mut(hash) {
                entry.hot = false;
            }
        }
        if core.config.combine.enabled {
            self.adopt_hot_keys(core, hot_set);
        }
        for hash in former {
            if self.entries.get(&hash).is_some_and(|entry| !entry.hot) {
                self.arm(Due::Cool(hash), core.now_ns);
            }
        }
    }

    fn adopt_hot_keys(&mut self, core: &mut Core, hot_set: &HotSet) {
        // Of a name that is too long to be kept whole only rules can say that it is combined.
        for hot_key in hot_set.entries.iter().filter(|hot_key| !hot_key.key.is_truncated()) {
            let key = hot_key.key.bytes();
            let id = core.gateway.key_hasher.id(hot_key.key.cluster(), key);
            let hash = id.hash;
            let excluded = matches!(self.rules.mode_of(key, hash), RuleMode::Off | RuleMode::WriteBehind)
                && !self.quotas.holds(key, hash);
            match self.entries.get_mut(&hash) {
                _ if excluded => continue,
                Some(entry) => {
                    entry.hot = entry.key == key;
                    if entry.hot && entry.crowded {
                        self.leave_crowds(hash);
                    }
                }
                None => self.begin(core, Bytes::copy_from_slice(key), id, true),
            }
            self.hot_keys.push(hash);
        }
    }

    /// Forgets a key that is not combined any more; otherwise it is looked at again when it may not be.
    pub fn cool_down(&mut self, core: &mut Core, hash: u64) {
        let Some(entry) = self.entries.get_mut(&hash) else { return };
        let idle_due_ns = entry.idle_due_ns();
        let over = !entry.is_wanted() || (!entry.hot && idle_due_ns < core.now_ns);
        if !(over && entry.is_settled()) {
            let soon_ns = core.now_ns + UNSETTLED_NS;
            // A hot key comes back when it leaves the hot set.
            let due_ns = if over { soon_ns } else { idle_due_ns.max(soon_ns) };
            return self.arm(Due::Cool(hash), due_ns);
        }
        if let Some(mut entry) = self.entries.remove(&hash) {
            self.give_back_entry(core, hash, &mut entry);
        }
    }

    /// Gives back what a key has taken.
    fn give_back_entry(&mut self, core: &mut Core, hash: u64, entry: &mut Entry) {
        if entry.quota.is_some() {
            self.held.remove(entry.held_bytes);
        }
        if entry.crowded {
            self.leave_crowds(hash);
        }
        self.owing_keys.remove(&hash);
        if let Some(home) = &mut entry.queue {
            core.tallies.combine.keys.release(home.row);
            if let Some(held) = &mut home.held {
                self.board.leave(held, &mut core.tallies.quotas);
            }
        }
    }

    /// Gives what was counted to the control thread, unless that has not taken the last yet.
    pub fn hand_over_slice(&mut self, core: &mut Core) {
        let Some(detector) = &mut self.detector else { return };
        let Ok(place) = core.gateway.slices.try_reserve() else { return };
        let slice = detector.take_slice(core.now_ns);
        let ratio = sample_ratio(slice.totals.ops, slice.duration_ns, core.config.detect.sample_max);
        detector.set_sample_ratio(ratio);
        place.send((core.index, slice));
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
