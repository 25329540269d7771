//! Quotas on the data path: which keys one holds, what becomes of an increment at its home, and what is published of it.
//!
//! A key that a quota holds is combined from its first increment, hot or not, and whatever rules say: the clamp is in the flush.
//! What is decided without Redis is [`crate::admission`]'s; this drives it.
//! What is to be added without a clamp goes its own way ([`super::debts`]).

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::debts::OrphanedDebt;
use crate::admission::{
    Admission, Counts, Decision, KeyQuota, MALFORMED_DELTA, OtherCommand, QuotaRules, RuleCounts, Setting,
    verdict_of_other_command,
};
use crate::combine::{Consumes, Op};
use crate::command::{CommandId, KeyPositions};
use crate::config::Quota;
use crate::limits::KEY_VERDICTS;
use crate::resp::{Request, RespVersion, encode};
use crate::shared::keyed::{Keyed, RowId};
use crate::shared::labels::Outcome;
use crate::shared::quota_board::{PolledLimits, QuotaBoard};
use crate::shared::quota_facts::QuotaFacts;
use crate::shared::tallies::QuotaTally;
use crate::worker::client::ClientKey;
use crate::worker::state::State;

/// At most so often levels are published, since that copies the names of all keys.
const BOARD_PERIOD_NS: u64 = 250_000_000;

/// The `[[quota]]`s, compiled, and which of the keys seen lately they hold.
#[derive(Default)]
pub struct Quotas {
    rules: QuotaRules,
    /// Direct-mapped: a verdict stands where the hash says, until another key takes its place.
    verdicts: Vec<(u64, bool)>,
}

impl Quotas {
    /// Takes over the quotas of a configuration.
    pub fn new(quotas: &[Quota]) -> Self {
        let verdicts = if quotas.is_empty() { Vec::new() } else { vec![(0, false); KEY_VERDICTS] };
        Self { rules: QuotaRules::compile(quotas), verdicts }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether a quota holds this key.
    pub fn holds(&mut self, key: &[u8], hash: u64) -> bool {
        if self.rules.is_empty() {
            return false;
        }
        let place = hash as usize & (KEY_VERDICTS - 1);
        match self.verdicts.get(place) {
            Some((known, held)) if *known == hash => *held,
            _ => {
                let held = self.rules.of(key).is_some();
                self.verdicts[place] = (hash, held);
                held
            }
        }
    }

    /// What holds this key.
    pub fn of(&mut self, key: &[u8], hash: u64) -> Option<Arc<KeyQuota>> {
        if self.holds(key, hash) { self.rules.of(key).map(Arc::new) } else { None }
    }
}

/// The quota of a key, at the key's home.
pub struct Held {
    /// Decides.
    pub admission: Admission,
    /// One row for each part of the quota.
    rows: SmallVec<[RowId; 2]>,
    /// What is in the rows already.
    tallied: RuleCounts,
}

impl Held {
    /// Nothing is known of the counter yet but the limits that were polled for others.
    pub fn new(
        quota: Arc<KeyQuota>,
        tallies: &mut Keyed<QuotaTally>,
        limits: &PolledLimits,
        now_ns: u64,
    ) -> Self {
        let rows = take_rows(&quota, tallies);
        let tallied = RuleCounts::from_elem(Counts::default(), quota.parts().len());
        let mut held = Self { admission: Admission::new(quota), rows, tallied };
        held.adopt_limits(limits, now_ns);
        held
    }

    /// Takes over what now holds the key. Counts go on where only the places of its quotas have changed.
    fn reconfigure(
        &mut self,
        quota: Arc<KeyQuota>,
        tallies: &mut Keyed<QuotaTally>,
        limits: &PolledLimits,
        now_ns: u64,
    ) {
        self.tally(tallies);
        if quota.is_alike(self.admission.quota()) {
            for (row, rule) in self.rows.iter().zip(quota.rules()).filter(|(row, _)| **row != RowId::OVERFLOW)
            {
                tallies.row(*row).rule = rule;
            }
        } else {
            self.release(tallies);
            self.rows = take_rows(&quota, tallies);
        }
        self.admission.reconfigure(now_ns, quota);
        self.tallied = RuleCounts::from_slice(self.admission.counts());
        self.adopt_limits(limits, now_ns);
    }

    /// Takes over those of the polled limits that concern it.
    fn adopt_limits(&mut self, limits: &PolledLimits, now_ns: u64) {
        let quota = Arc::clone(self.admission.quota());
        self.admission.on_polled(now_ns, quota.polled().iter().map(|name| limits.get(name).copied()));
    }

    /// Answers an operation that was to go to Redis and could not be sent. `None` in shadow mode, which changes no reply.
    pub fn answer_unsent(
        &mut self,
        now_ns: u64,
        delta: i64,
        version: RespVersion,
        out: &mut Vec<u8>,
    ) -> Option<Outcome> {
        if self.admission.quota().is_shadow() {
            return None;
        }
        let decision = self.admission.decide_unsent(now_ns, delta);
        self.carry_out(decision, version, out)
    }

    /// Words what was decided of an operation; `None` for one that goes to Redis.
    pub fn carry_out(
        &mut self,
        decision: Decision,
        version: RespVersion,
        out: &mut Vec<u8>,
    ) -> Option<Outcome> {
        match decision {
            Decision::Admit | Decision::Ask => None,
            Decision::Refuse(denial) => {
                self.admission.write_denial(denial, version, out);
                Some(Outcome::Refused)
            }
            Decision::LetThrough(value) => {
                encode::integer(out, value);
                Some(Outcome::Combined)
            }
        }
    }

    /// Gives its rows back.
    pub fn release(&self, tallies: &mut Keyed<QuotaTally>) {
        self.rows.iter().for_each(|row| tallies.release(*row));
    }

    fn tally(&mut self, tallies: &mut Keyed<QuotaTally>) {
        for ((row, now), then) in self.rows.iter().zip(self.admission.counts()).zip(&mut self.tallied) {
            let tally = tallies.row(*row);
            tally.admitted += now.admitted - then.admitted;
            tally.admitted_units += now.admitted_units - then.admitted_units;
            for (reason, count) in tally.refused.iter_mut().enumerate() {
                *count += now.refused[reason] - then.refused[reason];
            }
            tally.would_refuse += now.would_refuse - then.would_refuse;
            tally.unchecked += now.unchecked - then.unchecked;
            tally.debts_lost += now.debts_lost - then.debts_lost;
            tally.rechecks += now.rechecks - then.rechecks;
            *then = *now;
        }
    }
}

/// A row for each part of a quota.
fn take_rows(quota: &KeyQuota, tallies: &mut Keyed<QuotaTally>) -> SmallVec<[RowId; 2]> {
    let name: Arc<[u8]> = Arc::from(&quota.key()[..]);
    let rows = quota.rules().map(|rule| {
        let row = tallies.acquire(Arc::clone(&name));
        if row != RowId::OVERFLOW {
            tallies.row(row).rule = rule;
        }
        row
    });
    rows.collect()
}

impl State {
    /// The error for a command that names a key under an enforced quota and would pass by the quota, if it does. What it may
    /// change is noted for its client.
    pub fn refusal_beside_quota(
        &mut self,
        client: ClientKey,
        command: CommandId,
        request: &Request<'_>,
        setting: Setting,
    ) -> Option<String> {
        if self.hot.quotas.is_empty() {
            return None;
        }
        let known = self.knowledge.commands.get(command);
        let mut keys = KeyPositions::new();
        if known.keys(request, &mut keys).is_err() {
            return None;
        }
        let writes = known.is_write();
        keys.iter().filter_map(|place| request.arg(*place as usize)).find_map(|key| {
            let hash = self.hot.hasher.hash_one(key);
            let quota = self.hot.quotas.of(key, hash)?;
            let refusal = refusal(&quota, request.name(), writes, setting);
            if writes && refusal.is_none() {
                self.note_written(client, hash);
            }
            refusal
        })
    }

    /// The error for a command on a key that a quota holds and of which nothing is known, if it has to be refused. Only what the
    /// quota judges takes a place among the counters, so that names which nobody counts under do not fill it.
    pub(super) fn refusal_of_unknown(
        &mut self,
        command: CommandId,
        request: &Request<'_>,
        key: &[u8],
        hash: u64,
        op: Option<&Op<'_>>,
        database: u32,
    ) -> Option<String> {
        if !self.knowledge.commands.get(command).is_write() {
            return None;
        }
        let quota = self.hot.quotas.of(key, hash)?;
        refusal_alone(&quota, op, request, true, database)
    }

    /// Begins to combine a key because a quota holds it. The error is for the client: the table is full, and what is not in
    /// it can't be held.
    pub(super) fn begin_by_quota(&mut self, key: &[u8], hash: u64) -> Result<(), String> {
        let keys_max = self.config.admission.keys_max;
        if self.hot.held_keys >= keys_max || self.hot.entries.contains_key(&hash) {
            return Err(format!(
                "QUOTA admission.keys_max = {keys_max} counters are in use already, so no further one can be held; try again later"
            ));
        }
        self.begin(Bytes::copy_from_slice(key), hash, false);
        Ok(())
    }

    /// Takes over limits that the control thread has polled.
    pub fn adopt_polled_limits(&mut self, limits: &PolledLimits) {
        self.tick();
        let now_ns = self.now_ns;
        for entry in self.hot.entries.values_mut() {
            let Some(home) = &mut entry.queue else { continue };
            let Some(held) = &mut home.held else { continue };
            let waited = held.admission.clamp().is_none();
            held.adopt_limits(limits, now_ns);
            if waited && held.admission.clamp().is_some() {
                home.failed_since_ns = 0;
            }
        }
    }

    /// Compiles the quotas of a new configuration, and holds the keys that are combined already to them.
    pub(super) fn configure_quotas(&mut self) {
        self.hot.quotas = Quotas::new(&self.config.quotas);
        let limits = Arc::clone(&self.gateway.polled_limits.borrow());
        let tallies = &mut self.tallies.quotas;
        let mut debts = Vec::new();
        for (hash, entry) in &mut self.hot.entries {
            let quota = self.hot.quotas.of(&entry.key, *hash);
            if entry.serves_debts || entry.quota == quota {
                continue;
            }
            entry.quota.clone_from(&quota);
            let Some(home) = &mut entry.queue else { continue };
            match (&mut home.held, quota) {
                (Some(held), Some(quota)) => held.reconfigure(quota, tallies, &limits, self.now_ns),
                (held, quota) => {
                    if let Some(held) = held {
                        held.release(tallies);
                        if let Some(debt) = held.admission.debt() {
                            let orphan = OrphanedDebt { key: entry.key.clone(), debt, unsent: 0 };
                            self.hot.orphaned_debts.insert(!*hash, orphan);
                        }
                        debts.extend(held.admission.take_owed().map(|sum| (*hash, entry.key.clone(), sum)));
                    }
                    *held = quota.map(|quota| Box::new(Held::new(quota, tallies, &limits, self.now_ns)));
                }
            }
        }
        for (hash, key, sum) in debts {
            // Without a quota nothing counts in windows.
            self.send_debt(hash, key, sum, None);
        }
        self.hot.held_keys = self.hot.entries.values().filter(|entry| entry.quota.is_some()).count();
        self.hot.epoch = self.hot.epoch.wrapping_add(1);
        self.hot.board_due_ns = 0;
    }

    /// Takes the counts of the quotas into the tallies, and publishes the levels now and then.
    pub fn publish_quotas(&mut self) {
        let due = self.now_ns >= self.hot.board_due_ns;
        if self.hot.quotas.is_empty() && !(due && self.hot.board_published) {
            return;
        }
        let mut board = QuotaBoard::default();
        for entry in self.hot.entries.values_mut() {
            let Some(held) = entry.queue.as_mut().and_then(|home| home.held.as_mut()) else { continue };
            held.tally(&mut self.tallies.quotas);
            let quota = held.admission.quota();
            board.polled.extend(quota.polled().iter().cloned());
            if due && !held.rows.contains(&RowId::OVERFLOW) {
                describe(held, &self.hot.quotas.rules, self.now_ns, &mut board.facts);
            }
        }
        // A limit key that nobody polls yet holds up its counter.
        let cell = &self.gateway.workers[self.index].quotas;
        if due || board.polled.len() != cell.load().polled.len() {
            if !due {
                board.facts.clone_from(&cell.load().facts);
            }
            self.hot.board_due_ns = self.now_ns + BOARD_PERIOD_NS;
            self.hot.board_published = !(board.facts.is_empty() && board.polled.is_empty());
            cell.store(Arc::new(board));
        }
    }
}

/// The error for a command on a key under a quota, if it would pass by the quota.
pub(super) fn refusal(quota: &KeyQuota, name: &[u8], writes: bool, setting: Setting) -> Option<String> {
    if quota.is_shadow() {
        return None;
    }
    let counts_down = quota.consumes() == Consumes::Down;
    verdict_of_other_command(name, writes, counts_down, setting).error(name, quota.key())
}

/// The error for an operation by itself on a key under a quota that can't be held to the quota: `op` is what it folds to, if it
/// folds.
pub(super) fn refusal_alone(
    quota: &KeyQuota,
    op: Option<&Op<'_>>,
    request: &Request<'_>,
    writes: bool,
    database: u32,
) -> Option<String> {
    if quota.is_shadow() {
        return None;
    }
    let counts = ["incr", "decr", "incrby", "decrby"]
        .iter()
        .any(|name| request.name().eq_ignore_ascii_case(name.as_bytes()));
    match op {
        Some(Op::Increment(_)) if database == 0 => None,
        Some(Op::Increment(_)) => OtherCommand::Refuse
            .error(request.name(), quota.key())
            .map(|text| format!("{text}, and in database 0 only")),
        _ if counts => Some(MALFORMED_DELTA.to_owned()),
        _ => refusal(quota, request.name(), writes, Setting::Alone),
    }
}

fn describe(held: &Held, rules: &QuotaRules, now_ns: u64, facts: &mut Vec<QuotaFacts>) {
    let key = held.admission.quota().key().to_vec();
    facts.extend(held.admission.facts(now_ns).into_iter().map(|fact| QuotaFacts {
        key: key.clone(),
        rule: fact.rule,
        pattern: rules.quota(fact.rule).map(|quota| quota.pattern.clone()).unwrap_or_default(),
        limit: fact.limit,
        counts_down: fact.counts_down,
        value: fact.value,
        window_ms: fact.window_ms,
        enforce: fact.enforce,
        paused: fact.paused,
        exhausted: fact.exhausted,
    }));
}
