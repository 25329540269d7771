//! Which keys are combined: begun by a rule, a quota or the hot set, and configured anew.

use std::sync::Arc;

use bytes::Bytes;

use super::counter_scripts::CounterScripts;
use super::entry::HotKey;
use super::quota::KeyQuotaState;
use super::{Due, Entry, HeldCounters, HotKeys, Rules};
use crate::combine::KeyQueue;
use crate::command::glob;
use crate::config::{Config, RuleMode};
use crate::detect::{Detector, DetectorConfig};
use crate::limits::{RULED_KEYS_MAX, RULED_NAME_BYTES_MAX};
use crate::route::{KeyId, SlotAt};
use crate::shared::keyed::RowId;
use crate::worker::core::Core;

/// A detector as the configuration wants it; none when detection is off.
pub fn detector(config: &Config, now_ns: u64) -> Option<Box<Detector>> {
    let patterns: Vec<Vec<u8>> =
        config.detect.never_track.iter().map(|text| text.clone().into_bytes()).collect();
    let ignore = move |key: &[u8]| patterns.iter().any(|pattern| glob::matches(pattern, key));
    let sized = |tracked_keys| DetectorConfig { tracked_keys, sample_ratio: 1 };
    let fits = |tracked_keys: &usize| sized(*tracked_keys).memory_bytes_max() <= config.detect.memory_max;
    let tracked_keys = [65_536, 32_768, 16_384, 8192, 4096, 2048, 1024, 512, 256, 128].into_iter().find(fits);
    let detector = || Box::new(Detector::new(sized(tracked_keys.unwrap_or(64)), Box::new(ignore), now_ns));
    config.detect.enabled.then(detector)
}

impl HotKeys {
    /// Begins to combine a key that no one knew, if a rule says so.
    pub fn begin_by_rule(&mut self, core: &mut Core, key: &[u8], id: KeyId) -> bool {
        let hash = id.hash;
        let wanted = self.rules.mode_of(key, hash) == RuleMode::Combine;
        let wanted = wanted && key.len() <= RULED_NAME_BYTES_MAX;
        if !wanted || self.entries.len() >= RULED_KEYS_MAX || self.entries.contains_key(&hash) {
            return false;
        }
        self.begin(core, Bytes::copy_from_slice(key), id, false);
        true
    }

    /// Begins to combine a key. Whoever caused it, a rule that wants the key combined keeps it so when it cools.
    pub(super) fn begin(&mut self, core: &mut Core, key: Bytes, id: KeyId, hot: bool) {
        let KeyId { cluster, hash } = id;
        let place = SlotAt::of(cluster, &key);
        let ruled = self.rules.mode_of(&key, hash) == RuleMode::Combine;
        let home = core.home_of(hash);
        let quota = self.quotas.of(&key, hash);
        let queue = (home == core.index).then(|| {
            let row = core.tallies.combine.keys.acquire(Arc::from(&key[..]));
            let held = quota.clone().map(|quota| self.hold(core, hash, quota));
            Box::new(self.new_home((&key, place), core.gateway.id.as_bytes(), row, held))
        });
        let held_bytes = quota.as_ref().map_or(0, |quota| HeldCounters::weigh(quota, home == core.index));
        if quota.is_some() {
            self.held.add(held_bytes);
        }
        let entry =
            Entry { ruled, hot, quota, held_bytes, ..Entry::new(key, place, home, core.now_ns, queue) };
        self.arm(Due::Cool(hash), entry.idle_due_ns());
        if entry.is_forced() {
            self.epoch = self.epoch.wrapping_add(1);
        }
        self.entries.insert(hash, entry);
    }

    /// An empty queue whose tokens bear this identity.
    pub(super) fn new_home(
        &self,
        (key, place): (&Bytes, SlotAt),
        identity: &[u8],
        row: RowId,
        held: Option<Box<KeyQuotaState>>,
    ) -> HotKey {
        HotKey {
            place,
            held,
            row,
            waiting_since_ns: None,
            queue: KeyQueue::new(key.clone(), identity).sharing(&self.spares).cautious(),
            sending: Default::default(),
            apart: None,
            charge: None,
            unconfirmed: Vec::new(),
            answered_ns: 0,
            dirty: false,
            in_line: false,
            turn_since_ns: None,
            turn_wait_ns: 0,
            owner: Default::default(),
            said: None,
            tallied: Default::default(),
        }
    }
}

impl HotKeys {
    /// Takes over the rules of a new configuration. What was counted under the former one stays unless it is about that.
    pub fn configure_rules(&mut self, core: &mut Core, former_config: Option<&Config>) {
        let config = Arc::clone(&core.config);
        let counts_alike = former_config.is_some_and(|former| {
            former.detect.enabled == config.detect.enabled
                && former.detect.never_track == config.detect.never_track
        });
        let former = std::mem::replace(&mut self.rules, Rules::new(&config.rules));
        self.leave_rules(core, former);
        // What was sent before under other rules has to be answered before anything goes by a home under these, and the
        // other way round.
        self.epoch = self.epoch.wrapping_add(1);
        self.govern.on_passing();
        if !counts_alike {
            self.detector = detector(&config, core.now_ns);
        }
        for (hash, entry) in &mut self.entries {
            self.timers.arm(Due::Cool(*hash), core.now_ns);
            entry.forget_values();
            if !entry.is_unclamped {
                entry.ruled = self.rules.mode_of(&entry.key, *hash) == RuleMode::Combine;
            }
        }
    }

    /// Takes over the rest of a new configuration, once its rules and copies have been.
    pub fn configure_keys(&mut self, core: &mut Core) {
        self.cache.connections.forgive();
        self.counter_scripts = CounterScripts::new(&core.config.counter_scripts);
        self.configure_quotas(core);
        self.hot_set_version = None;
        self.leave_all_crowds(core);
        let hot_set = Arc::clone(&core.gateway.hot_set.borrow());
        self.adopt_hot_set(core, &hot_set);
        self.configure_behind(core);
    }
}
