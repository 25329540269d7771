//! Keys that a reload takes out of write-behind mode.
//!
//! Until nothing of them is left at their homes their commands go by there as before, so that none overtakes what is pending.
//! A home that has the new rules takes no more of such a key: it flushes what it has, and hands the rest back in order. Each
//! worker asks the homes once per slice. When all have the rules that it has and nothing is left, it goes by them no more; what
//! was on its way to them then comes back before their answers to the next question, and until those are there a client with
//! operations under way waits for them.
//!
//! A key that a quota holds from now on goes by its quota at once.

use std::sync::Arc;

use bytes::Bytes;

use super::{Behind, Stage};
use crate::config::{Config, RuleMode};
use crate::limits::RULED_NAME_BYTES_MAX;
use crate::shared::behind::{BehindAsk, BehindRequest};
use crate::shared::handoff::{AnswerTo, Waiter};
use crate::worker::core::Core;
use crate::worker::hot::HotKeys;
use crate::worker::hot::Rules;

/// Rules of before, as long as they matter.
#[derive(Default)]
pub(super) struct Leaving {
    rules: Vec<Rules>,
    /// By worker, whether it has said that nothing is left.
    clear: Vec<bool>,
    /// Since when all have said so, once.
    closing_since_ns: Option<u64>,
}

impl Leaving {
    pub fn is_over(&self) -> bool {
        self.rules.is_empty()
    }
}

impl Behind {
    /// Whether homes may still hand back operations on keys that go by them no more.
    pub fn is_closing(&self) -> bool {
        self.leaving.closing_since_ns.is_some()
    }
}

impl HotKeys {
    /// Remembers rules that are replaced.
    pub(in crate::worker::hot) fn leave_rules(&mut self, core: &mut Core, rules: Rules) {
        if rules.any(RuleMode::WriteBehind) {
            let leaving = &mut self.behind.leaving;
            leaving.rules.push(rules);
            leaving.clear = vec![false; core.gateway.workers.len()];
            leaving.closing_since_ns = None;
        }
    }

    /// Whether the rules of now want a key of database 0 in write-behind mode. A quota on it goes before: it needs Redis to
    /// say yes first.
    pub(super) fn wants_behind(&mut self, key: &[u8], hash: u64) -> bool {
        key.len() <= RULED_NAME_BYTES_MAX
            && self.rules.mode_of(key, hash) == RuleMode::WriteBehind
            && !self.quotas.holds(key, hash)
    }

    /// Whether a key was in write-behind mode and something of it may be left.
    pub(super) fn is_leaving(&mut self, key: &[u8], hash: u64) -> bool {
        let leaving = &mut self.behind.leaving;
        key.len() <= RULED_NAME_BYTES_MAX
            && leaving.closing_since_ns.is_none()
            && leaving.rules.iter_mut().any(|rules| rules.mode_of(key, hash) == RuleMode::WriteBehind)
            && !self.quotas.holds(key, hash)
    }

    /// Has the homes doubt what they know: they are told before anything comes to them under the new rules.
    pub(in crate::worker::hot) fn doubt_totals(&mut self, core: &mut Core) {
        self.doubt_totals_at_home(core);
        let (workers, own) = (core.gateway.workers.len(), core.index);
        for home in (0..workers).filter(|home| *home != own) {
            let waiter = self.asker(core, home);
            self.ask(home, BehindRequest { key: Bytes::new(), hash: 0, ask: BehindAsk::Doubt, waiter });
        }
    }

    pub(super) fn doubt_totals_at_home(&mut self, core: &mut Core) {
        let hashes: Vec<u64> = self.behind.keys.keys().copied().collect();
        for hash in hashes {
            self.with_behind(core, hash, |_, _, key| key.machine.doubt_total());
            self.look(hash);
        }
    }

    /// Asks homes what is left.
    pub(super) fn ask_for_leftovers(&mut self, core: &mut Core) {
        for home in 0..self.behind.leaving.clear.len() {
            if self.behind.leaving.clear[home] {
                continue;
            }
            let waiter = self.asker(core, home);
            self.ask(home, BehindRequest { key: Bytes::new(), hash: 0, ask: BehindAsk::Leftovers, waiter });
        }
    }

    /// This worker itself, with a question to a home.
    fn asker(&mut self, core: &mut Core, home: usize) -> Waiter {
        Waiter::asking(core.index, AnswerTo::Home(home as u32), core.now_ns)
    }

    /// Whether anything of a key is pending, waits or is on its way that the rules do not name any more.
    pub(super) fn has_leftovers(&mut self) -> bool {
        let keys = self.behind.keys.iter();
        let left: Vec<(u64, Bytes)> = keys
            .filter(|(_, key)| !key.machine.is_empty() || key.stage != Stage::Rest)
            .map(|(hash, key)| (*hash, key.machine.key().clone()))
            .collect();
        left.iter().any(|(hash, key)| !self.wants_behind(key, *hash))
    }

    /// What a home says of this under its configuration to this worker's question.
    pub(in crate::worker) fn on_leftovers(
        &mut self,
        core: &mut Core,
        question: Waiter,
        config: &Arc<Config>,
        left: bool,
    ) {
        let is_current = Arc::ptr_eq(config, &core.config);
        let leaving = &mut self.behind.leaving;
        if leaving.closing_since_ns.is_some_and(|since_ns| question.received_ns <= since_ns) {
            return;
        }
        if let AnswerTo::Home(home) = question.to
            && let Some(clear) = leaving.clear.get_mut(home as usize)
        {
            *clear = is_current && !left;
        }
        if !leaving.clear.iter().all(|clear| *clear) {
            return;
        }
        if leaving.closing_since_ns.is_some() {
            *leaving = Leaving::default();
        } else {
            leaving.closing_since_ns = Some(core.now_ns);
            leaving.clear.fill(false);
        }
    }
}
