//! Which keys go by their homes: those that the rules name, and those that former rules named until these are drained everywhere.
//! Why that keeps order stands in the parent's head.
//!
//! A key that a quota holds goes by its quota at once.

use std::sync::Arc;

use super::Behind;
use crate::combine::WriteBehindPolicy;
use crate::config::{Config, RuleMode};
use crate::limits::RULED_NAME_BYTES_MAX;
use crate::shared::behind::{BehindRequest, HomeReply};
use crate::worker::core::Core;
use crate::worker::hot::{HotKeys, Rules};

/// Rules of before, until they are drained.
#[derive(Default)]
pub(super) struct FormerRules {
    rules: Vec<Rules>,
    /// Goes up with each configuration: which answers of homes are to questions under this one.
    epoch: u32,
    /// When this configuration was taken over.
    since_ns: u64,
    /// By worker, whether it has said that it is drained.
    drained: Vec<bool>,
}

impl Behind {
    /// When the rules in force were taken over, in nanoseconds of the process's clock.
    pub fn rules_since_ns(&self) -> u64 {
        self.former.since_ns
    }
}

impl HotKeys {
    /// Remembers rules that are replaced.
    pub(in crate::worker::hot) fn leave_rules(&mut self, core: &Core, rules: Rules) {
        let former = &mut self.behind.former;
        if rules.any(RuleMode::WriteBehind) {
            former.rules.push(rules);
        }
        former.epoch = former.epoch.wrapping_add(1);
        former.since_ns = core.now_ns;
        former.drained = vec![false; core.gateway.workers.len()];
    }

    /// Takes over a new configuration.
    pub(in crate::worker::hot) fn configure_behind(&mut self, core: &Core) {
        let config = &core.config.write_behind;
        let interval_ns = config.flush_interval.as_nanos() as u64;
        let behind = &mut self.behind;
        behind.policy = WriteBehindPolicy {
            flush_interval_ns: interval_ns,
            flush_deltas_max: config.flush_max,
            // What others write shows as late as what is written here.
            base_age_ns_max: interval_ns,
            journal: behind.journal.is_some(),
        };
        // Each worker has a share of the bound, so that none has to ask another.
        let workers = core.gateway.workers.len();
        let share = config.pending_max / workers + usize::from(core.index < config.pending_max % workers);
        behind.budget.set_max(share.max(1));
        // From then on for good: a client may have something at a home long after the last key has gone from there.
        behind.on |= self.rules.any(RuleMode::WriteBehind) || !behind.keys.is_empty();
        let keys: Vec<_> = behind.all().map(|key| key.named()).collect();
        for (id, name) in keys {
            if !self.wants_behind(&name, id.hash)
                && let Some(key) = self.behind.get_mut(id.hash)
            {
                key.machine.stop_absorbing();
            }
            self.look(id.hash);
        }
    }

    /// Whether the rules want a key of database 0 in write-behind mode. A quota on it goes before: it needs Redis to say yes
    /// first.
    pub fn wants_behind(&mut self, name: &[u8], hash: u64) -> bool {
        let HotKeys { rules, quotas, .. } = self;
        is_named_by(rules, name, hash) && !quotas.holds(name, hash)
    }

    /// Whether commands on a key of database 0 go by its home: the rules want it so, or former ones did.
    pub fn goes_by_home(&mut self, name: &[u8], hash: u64) -> bool {
        let HotKeys { rules, quotas, behind, .. } = self;
        let mut all = std::iter::once(rules).chain(&mut behind.former.rules);
        all.any(|rules| is_named_by(rules, name, hash)) && !quotas.holds(name, hash)
    }

    /// Asks the homes that have not said that they are drained, if that matters.
    pub(super) fn ask_drained(&mut self, core: &Core) {
        if self.behind.former.rules.is_empty() {
            return;
        }
        let (worker, epoch) = (core.index, self.behind.former.epoch);
        for home in 0..core.gateway.workers.len() {
            if !self.behind.former.drained[home] {
                self.ask(home, BehindRequest::AskDrained { worker, epoch });
            }
        }
    }

    /// What this home says to that.
    pub(super) fn drained(&mut self, core: &Core, epoch: u32) -> HomeReply {
        let kept: Vec<_> =
            self.behind.all().filter(|key| !key.machine.is_empty()).map(|key| key.named()).collect();
        let drained = kept.iter().all(|(id, name)| self.wants_behind(name, id.hash));
        HomeReply::Drained { home: core.index, epoch, config: Arc::clone(&core.config), drained }
    }

    /// Takes what a home says under its configuration. The former rules matter no more when all homes are drained.
    pub fn on_drained(
        &mut self,
        core: &Core,
        (home, epoch): (usize, u32),
        config: &Arc<Config>,
        drained: bool,
    ) {
        let former = &mut self.behind.former;
        if epoch != former.epoch || !drained || !Arc::ptr_eq(config, &core.config) {
            return;
        }
        former.drained[home] = true;
        if former.drained.iter().all(|drained| *drained) && !former.rules.is_empty() {
            former.rules.clear();
            self.govern.on_passing();
        }
    }
}

fn is_named_by(rules: &mut Rules, name: &[u8], hash: u64) -> bool {
    name.len() <= RULED_NAME_BYTES_MAX && rules.mode_of(name, hash) == RuleMode::WriteBehind
}
