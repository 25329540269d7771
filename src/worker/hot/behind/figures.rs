//! What is shown of write-behind, and what is said of increments that a stop leaves behind.

use super::BehindKey;
use crate::config::RuleMode;
use crate::shared::keys::KeyNames;
use crate::worker::core::Core;
use crate::worker::hot::{Due, HotKeys};

/// A key that nobody uses is forgotten after this long.
const IDLE_NS: u64 = 10_000_000_000;

/// A key that is passed through is looked at anew after this long: it may be a counter again.
const PASSED_THROUGH_NS: u64 = 1_000_000_000;

/// A key that could be forgotten, but for something that is under way, is looked at again after this long.
const UNSETTLED_NS: u64 = 1_000_000_000;

/// What could not be flushed before the process had to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unflushed {
    /// Keys.
    pub keys: usize,
    /// Increments that were acknowledged, over all of them.
    pub increments: usize,
}

impl Unflushed {
    /// Adds what another worker could not flush.
    pub fn add(&mut self, other: Self) {
        self.keys += other.keys;
        self.increments += other.increments;
    }
}

impl HotKeys {
    /// Takes what the machine of a key has counted into the tallies.
    pub(super) fn tally_behind(&mut self, core: &mut Core, key: &mut BehindKey) {
        let (now, then, hash) = (key.machine.facts(), key.tallied, key.id.hash);
        key.tallied = now;
        match now.oldest_unflushed_ns {
            Some(since_ns) => self.behind.pending_since.set(hash, since_ns),
            None if then.oldest_unflushed_ns.is_some() => self.behind.pending_since.disarm(hash),
            None => {}
        }
        if key.machine.passes_through() && key.passed_through_ns.is_none() {
            key.passed_through_ns = Some(core.now_ns);
            self.arm(Due::Forget(hash), core.now_ns + PASSED_THROUGH_NS);
        }
        let tally = &mut core.tallies.write_behind;
        tally.absorbed += now.absorbed - then.absorbed;
        tally.acknowledged += now.acknowledged - then.acknowledged;
        tally.flushes += now.flushes - then.flushes;
        tally.resends += now.resends - then.resends;
        tally.replays += now.replays - then.replays;
        tally.unknown_outcomes += now.unknown_outcomes - then.unknown_outcomes;
        tally.unknown_deltas += now.unknown.deltas - then.unknown.deltas;
        tally.lost_deltas += now.lost.deltas - then.lost.deltas;
        let row = core.tallies.combine.keys.row(key.row);
        row.offered += now.absorbed - then.absorbed;
        row.flushed += now.flushes - then.flushes;
        row.pending = now.pending_deltas as u64;
    }

    /// Puts a new key into the table.
    pub(super) fn keep_key(&mut self, key: BehindKey) {
        self.arm(Due::Forget(key.id.hash), key.active_ns + IDLE_NS);
        self.behind.keys.insert(key.id.hash, Some(Box::new(key)));
    }

    /// Forgets a key of which nothing is left and that nobody uses, or looks at it again when that may be so.
    pub fn forget_behind(&mut self, core: &mut Core, hash: u64) {
        let Some(key) = self.behind.get_mut(hash) else { return };
        let passed_ns = key.passed_through_ns.map_or(u64::MAX, |since_ns| since_ns + PASSED_THROUGH_NS);
        let over_ns = passed_ns.min(key.active_ns + IDLE_NS);
        if over_ns > core.now_ns || !key.machine.is_empty() || key.dirty {
            return self.arm(Due::Forget(hash), over_ns.max(core.now_ns + UNSETTLED_NS));
        }
        core.tallies.combine.keys.release(key.row);
        self.behind.keys.remove(&hash);
        self.behind.pending_since.disarm(hash);
        self.timers.disarm(Due::Behind(hash));
    }

    /// Measures the levels.
    pub fn keep_behind(&mut self, core: &mut Core) {
        let now_ns = core.now_ns;
        let behind = &mut self.behind;
        let tally = &mut core.tallies.write_behind;
        tally.pending = behind.budget.deltas() as u64;
        let is_used = self.rules.any(RuleMode::WriteBehind) || !behind.keys.is_empty();
        tally.pending_max = if is_used { behind.budget.deltas_max() as u64 } else { 0 };
        if let Some(facts) = behind.journal.as_ref().and_then(|side| side.facts()) {
            tally.journal_bytes = facts.bytes;
            tally.journal_syncs = facts.commits;
            tally.journal_faults = facts.faults;
            tally.journal_refusing = u64::from(facts.faulty || facts.full);
            tally.journal_full = u64::from(facts.full);
            tally.journal_os_error = facts.os_error.unwrap_or(0);
        }
        let oldest_ns = behind.pending_since.next_due_ns().unwrap_or(now_ns);
        tally.oldest_pending_ms = now_ns.saturating_sub(oldest_ns) / 1_000_000;
        self.ask_drained(core);
    }

    /// Has all that is pending flushed, since the process is to end.
    pub fn drain_behind(&mut self) {
        let hashes: Vec<u64> = self.behind.keys.keys().copied().collect();
        hashes.into_iter().for_each(|hash| self.look(hash));
    }

    /// Whether increments wait for Redis, or replies for the disk.
    pub fn has_unflushed(&mut self) -> bool {
        let behind = &self.behind;
        behind.budget.deltas() > 0 || behind.journal.as_ref().is_some_and(|side| side.is_waiting())
    }

    /// Says of each key what could not be flushed.
    pub fn report_unflushed(&mut self, names: &KeyNames) -> Unflushed {
        let mut unflushed = Unflushed::default();
        let journaled = self.behind.journal.is_some();
        for key in self.behind.all() {
            let facts = key.machine.facts();
            if facts.pending_deltas == 0 {
                continue;
            }
            unflushed.keys += 1;
            unflushed.increments += facts.pending_deltas;
            let (sum, increments) = (facts.pending_sum, facts.pending_deltas);
            // A flush whose start waits for the disk has not been sent.
            let in_doubt = facts.in_doubt && key.start.is_none();
            tracing::error!(
                key = key.shown(names),
                sum,
                increments,
                in_doubt,
                journaled,
                "acknowledged increments could not be flushed"
            );
        }
        unflushed
    }
}
