//! Which keys are combined: begun by a rule, a quota or the hot set, and configured anew.

use std::sync::Arc;

use bytes::Bytes;

use super::entry::Home;
use super::quota::Held;
use super::{Due, Entry, HeldCounters, HotKeys, Rules};
use crate::combine::{KeyQueue, QueueLimits};
use crate::command::glob;
use crate::config::{Config, Limits, RuleMode};
use crate::detect::{Detector, DetectorConfig};
use crate::limits::{QUEUE_BYTES_MAX, RULED_KEYS_MAX, RULED_NAME_BYTES_MAX};
use crate::shared::keyed::RowId;
use crate::worker::client::Client;
use crate::worker::client::session::Replies;
use crate::worker::core::Core;
use crate::worker::names::ClientKey;
use crate::worker::owners::Worker;

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
    pub fn begin_by_rule(&mut self, core: &mut Core, key: &[u8], hash: u64) -> bool {
        let wanted = self.rules.mode_of(key, hash) == RuleMode::Combine;
        let wanted = wanted && key.len() <= RULED_NAME_BYTES_MAX;
        if !wanted || self.entries.len() >= RULED_KEYS_MAX || self.entries.contains_key(&hash) {
            return false;
        }
        self.begin(core, Bytes::copy_from_slice(key), hash, false);
        true
    }

    /// Begins to combine a key. Whoever caused it, a rule that wants the key combined keeps it so when it cools.
    pub(super) fn begin(&mut self, core: &mut Core, key: Bytes, hash: u64, hot: bool) {
        let ruled = self.rules.mode_of(&key, hash) == RuleMode::Combine;
        let home = core.home_of(hash);
        let quota = self.quotas.of(&key, hash);
        let queue = (home == core.index).then(|| {
            let row = core.tallies.combine.keys.acquire(Arc::from(&key[..]));
            let held = quota.clone().map(|quota| self.hold(core, hash, quota));
            Box::new(self.new_home(core, &key, core.gateway.id.as_bytes(), row, held))
        });
        let held_bytes = quota.as_ref().map_or(0, |quota| HeldCounters::weigh(quota, home == core.index));
        if quota.is_some() {
            self.held.add(held_bytes);
        }
        let place = core.snapshots.routes.place_of(&key);
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
        core: &Core,
        key: &Bytes,
        identity: &[u8],
        row: RowId,
        held: Option<Box<Held>>,
    ) -> Home {
        Home {
            place: core.snapshots.routes.place_of(key),
            held,
            row,
            waiting_since_ns: 0,
            queue: KeyQueue::new(key.clone(), identity, queue_limits(&core.config))
                .sharing(&self.spares)
                .cautious(),
            sending: Default::default(),
            charge: None,
            unconfirmed: Vec::new(),
            dirty: false,
            owner: Default::default(),
            said: None,
            tallied: Default::default(),
        }
    }
}

impl Worker {
    /// Whether something of a client is in a queue, or waits for a copy.
    pub fn has_combined(&self, client: ClientKey) -> bool {
        self.clients.all.get(client).is_some_and(|client| client.combined > 0 || client.copies.awaits())
    }

    /// Takes over a new configuration. What was counted and copied under the former one stays unless it is about that.
    pub fn configure_hot(&mut self, former_config: Option<&Config>) {
        let config = &self.core.config;
        let counts_alike = former_config.is_some_and(|former| {
            former.detect.enabled == config.detect.enabled
                && former.detect.never_track == config.detect.never_track
        });
        let copies_alike = former_config.is_some_and(|former| {
            former.read_cache == config.read_cache
                && former.rules == config.rules
                && former.quotas == config.quotas
        });
        let former = std::mem::replace(&mut self.hot.rules, Rules::new(&self.core.config.rules));
        self.hot.leave_rules(&mut self.core, former);
        // What was sent before under other rules has to be answered before anything goes by a home under these, and the
        // other way round.
        self.hot.epoch = self.hot.epoch.wrapping_add(1);
        self.hot.govern.on_passing();
        if !counts_alike {
            self.hot.detector = detector(&self.core.config, self.core.now_ns);
        }
        let (rules, timers) = (&mut self.hot.rules, &mut self.hot.timers);
        for (hash, entry) in &mut self.hot.entries {
            timers.arm(Due::Cool(*hash), self.core.now_ns);
            if let Some(home) = &mut entry.queue {
                home.queue.set_limits(queue_limits(&self.core.config));
            }
            if !entry.serves_debts {
                entry.ruled = rules.mode_of(&entry.key, *hash) == RuleMode::Combine;
            }
        }
        if !copies_alike {
            self.configure_copies();
        }
        self.hot.cache.forgive_refusals();
        self.hot.configure_quotas(&mut self.core);
        self.hot.hot_set_version = None;
        let hot_set = Arc::clone(&self.core.gateway.hot_set.borrow());
        self.hot.adopt_hot_set(&mut self.core, &hot_set);
        self.hot.configure_behind(&mut self.core);
    }
}

fn queue_limits(config: &Config) -> QueueLimits {
    QueueLimits { operations_max: config.combine.pending_max, bytes_max: QUEUE_BYTES_MAX }
}

impl Client {
    /// Whether everything that this client sent before the newest combined key was one has been answered, and everything
    /// that went past a queue since.
    pub fn may_combine(&mut self, epoch: u32) -> bool {
        if self.combine_epoch != epoch {
            self.combine_epoch = epoch;
            self.combine_after = self.replies.next_sequence();
        }
        self.replies.has_left(self.combine_after)
    }

    /// How many requests equal to one that is combined may go with it.
    pub fn repeats_max(&self, limits: &Limits) -> usize {
        if self.session.replies != Replies::On || self.barrier.is_some() {
            return 0;
        }
        self.window.requests_max(limits).saturating_sub(self.replies.len() + 1)
    }
}
