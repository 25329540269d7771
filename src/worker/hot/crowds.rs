//! Keys with a crowd ([`crate::pace::crowds()`]) are combined though they are not in the hot set: they pass as they came, or fold,
//! as the keys of that do.
//!
//! A key ceases to be one of them when it has passed, or lain idle, for ten seconds, or when it gets into the hot set. What
//! rules, `detect.never_track` or `combine.enabled` keep out of the hot set is kept out here as well.

use bytes::Bytes;

use super::{Due, HotKeys};
use crate::config::RuleMode;
use crate::detect::KEY_BYTES_MAX;
use crate::route::SlotAt;
use crate::shared::topology::NodeIndex;
use crate::worker::core::Core;

/// Keys of this kind that a worker has at most: twice as many as could have a crowd at one look. Further ones wait for detection.
const CROWDS_MAX: usize = 32;

/// A key that passes, or is not used, for so long has no crowd any more. Longer than the longest rest between two probes, so
/// that a key is not forgotten while it folds.
pub(super) const CROWD_IDLE_NS: u64 = 10_000_000_000;

const _: () = assert!(CROWD_IDLE_NS > 2 * crate::pace::REST_NS_MAX);

impl HotKeys {
    /// These keys have crowds at a node where a queue stands.
    pub fn take_crowds(&mut self, core: &mut Core, node: NodeIndex, found: Vec<(SlotAt, Bytes)>) {
        let mut is_fruitless = true;
        for (place, key) in found {
            is_fruitless &= !self.take_crowd(core, place, key);
        }
        self.govern.node(node).crowd_looks.on_look(core.now_ns, is_fruitless);
    }

    /// Whether the key is one of them from now on, and was none before.
    fn take_crowd(&mut self, core: &mut Core, place: SlotAt, key: Bytes) -> bool {
        let is_counted = self.detector.as_ref().is_some_and(|detector| !detector.ignores(&key));
        if !core.config.combine.enabled || !is_counted || key.len() > KEY_BYTES_MAX {
            return false;
        }
        let id = core.gateway.key_hasher.id(place.cluster, &key);
        let excluded = matches!(self.rules.mode_of(&key, id.hash), RuleMode::Off | RuleMode::WriteBehind);
        if excluded || self.crowds.len() >= CROWDS_MAX {
            return false;
        }
        match self.entries.get(&id.hash) {
            Some(entry) if entry.key != key || entry.is_wanted() => return false,
            Some(_) => {}
            None => self.begin(core, key, id, false),
        }
        let Some(entry) = self.entries.get_mut(&id.hash) else { return false };
        entry.crowded = true;
        core.tallies.combine.crowds += 1;
        self.crowds.push(id.hash);
        self.arm(Due::Cool(id.hash), core.now_ns + CROWD_IDLE_NS);
        true
    }

    /// A key has no crowd any more, or needs none.
    pub(super) fn leave_crowds(&mut self, hash: u64) {
        self.crowds.retain(|known| *known != hash);
        if let Some(entry) = self.entries.get_mut(&hash) {
            entry.crowded = false;
        }
    }

    /// What kept keys out may be otherwise in a new configuration: those that still have crowds are found again.
    pub(super) fn leave_all_crowds(&mut self, core: &Core) {
        for hash in std::mem::take(&mut self.crowds) {
            self.leave_crowds(hash);
            self.arm(Due::Cool(hash), core.now_ns);
        }
    }
}
