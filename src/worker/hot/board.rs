//! What of the quotas is to be published: counts that are new, levels that are shown, limit keys that are polled.
//!
//! The keys that it concerns are noted as they change, so that publishing costs what has changed and not what there is. Levels
//! are shown of the keys that have rows of their own in the tallies, and limit keys are polled up to a bound: so either is
//! bounded.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::HotKeys;
use super::quota::{KeyQuotaState, describe};
use crate::limits::POLLED_KEYS_MAX;
use crate::shared::keyed::{Keyed, RowId};
use crate::shared::quota_board::QuotaBoard;
use crate::shared::tallies::QuotaTally;
use crate::worker::core::Core;

/// At most so often levels are published, since that copies the names of all keys.
const BOARD_PERIOD_NS: u64 = 250_000_000;

/// What is noted.
#[derive(Default)]
pub(super) struct Board {
    /// Keys that have counted since the tallies were published.
    pub counted: Vec<u64>,
    /// Those of them without rows of their own, of which the control thread has not been told.
    pub(super) untold: HashSet<u64>,
    /// Keys that may have rows of their own. Each of them took one, so there are at most as many new ones as rows.
    shown: Vec<u64>,
    /// Limit keys, and how many counters have each.
    polled: BTreeMap<Bytes, usize>,
    /// Since the last board there are limit keys that nobody polls yet, or some that nobody needs any more.
    polled_changed: bool,
    due_ns: u64,
    published: bool,
}

impl Board {
    /// A quota holds this key now.
    pub fn enter(&mut self, hash: u64, held: &KeyQuotaState) {
        if !held.rows().contains(&RowId::Shared) {
            self.shown.push(hash);
        }
        for name in held.admission.quota().polled() {
            *self.polled.entry(name.clone()).or_insert_with(|| {
                self.polled_changed = true;
                0
            }) += 1;
        }
    }

    /// It does not any more.
    pub fn leave(&mut self, held: &mut KeyQuotaState, tallies: &mut Keyed<QuotaTally>) {
        self.unpoll(held);
        held.tally(tallies);
        held.release(tallies);
    }

    /// The limit keys of this one are not needed any more.
    pub fn unpoll(&mut self, held: &KeyQuotaState) {
        for name in held.admission.quota().polled() {
            if let Some(counters) = self.polled.get_mut(name) {
                *counters -= 1;
                if *counters == 0 {
                    self.polled.remove(name);
                    self.polled_changed = true;
                }
            }
        }
    }

    /// Everything is to be published as soon as may be.
    pub fn hurry(&mut self) {
        self.due_ns = 0;
    }
}

impl HotKeys {
    /// A key that a quota holds is counting: its counts are taken with the next publication.
    pub(super) fn count_later(&mut self, hash: u64) {
        let home = self.entries.get_mut(&hash).and_then(|entry| entry.queue.as_mut());
        if let Some(held) = home.and_then(|home| home.held.as_mut()) {
            held.count_later(hash, &mut self.board);
        }
    }

    /// Takes the counts of the quotas into the tallies, and publishes the levels now and then.
    pub fn publish_quotas(&mut self, core: &mut Core) {
        for hash in std::mem::take(&mut self.board.counted) {
            let home = self.entries.get_mut(&hash).and_then(|entry| entry.queue.as_mut());
            if let Some(held) = home.and_then(|home| home.held.as_mut()) {
                held.tally(&mut core.tallies.quotas);
                if held.rows().contains(&RowId::Shared) {
                    self.board.untold.insert(hash);
                }
            }
        }
        self.send_quota_news(core);
        self.held.measure(&core.config, core.gateway.workers.len(), &mut core.tallies.admission);
        let due = core.now_ns >= self.board.due_ns;
        let wanted = !self.quotas.is_empty() || self.board.published;
        // A limit key that nobody polls yet holds up its counter.
        if !(due && wanted || self.board.polled_changed) {
            return;
        }
        let mut facts = Vec::new();
        let mut shown = std::mem::take(&mut self.board.shown);
        shown.sort_unstable();
        shown.dedup();
        shown.retain(|hash| {
            let home = self.entries.get_mut(hash).and_then(|entry| entry.queue.as_mut());
            let Some(home) = home else { return false };
            home.adopt_limits(&self.limits, self.limits_version, core.now_ns);
            let Some(held) = &home.held else { return false };
            let has_rows = !held.rows().contains(&RowId::Shared);
            if has_rows {
                describe(held, self.quotas.rules(), core.now_ns, &mut facts);
            }
            has_rows
        });
        let board = &mut self.board;
        board.shown = shown;
        // One more than are polled tells the poller that there are too many.
        let polled: Vec<Bytes> = board.polled.keys().take(POLLED_KEYS_MAX + 1).cloned().collect();
        (board.due_ns, board.polled_changed) = (core.now_ns + BOARD_PERIOD_NS, false);
        board.published = !(facts.is_empty() && polled.is_empty());
        core.gateway.workers[core.index].quotas.store(Arc::new(QuotaBoard { facts, polled }));
    }
}
