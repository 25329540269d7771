//! Quotas on the data path: which keys one holds, what becomes of an increment at its home, and what is published of it.
//!
//! A key that a quota holds is combined from its first increment, hot or not, and whatever rules say: the clamp is in the flush.
//! What is decided without Redis is [`crate::admission`]'s; this drives it.
//! What is to be added without a clamp goes its own way ([`super::unclamped`]).

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use super::board::Board;
use super::unclamped::OrphanedSum;
use super::{HeldCounters, HotKey, HotKeys};
use crate::admission::{
    Admission, CommandContext, Counts, Decision, KeyQuota, MALFORMED_DELTA, OtherCommand, QuotaRules,
    RuleCounts, verdict_of_other_command,
};
use crate::combine::{Consumes, Op};
use crate::config::Quota;
use crate::limits::KEY_VERDICTS;
use crate::resp::{Request, RespVersion, encode};
use crate::route::KeyId;
use crate::shared::keyed::{Keyed, RowId};
use crate::shared::labels::Outcome;
use crate::shared::quota_board::PolledLimits;
use crate::shared::quota_facts::{Changed, QuotaFacts};
use crate::shared::tallies::QuotaTally;
use crate::worker::core::Core;
use crate::worker::resolve::{KeyAt, Resolved};

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

    /// They themselves.
    pub fn rules(&self) -> &QuotaRules {
        &self.rules
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
pub struct KeyQuotaState {
    /// Decides.
    pub admission: Admission,
    /// One row for each part of the quota.
    rows: SmallVec<[RowId; 2]>,
    /// What is in the rows already.
    tallied: RuleCounts,
    /// It is noted that not all is.
    counted: bool,
    /// Which of the polled limits it knows.
    limits_version: u64,
}

impl KeyQuotaState {
    /// Nothing is known of the counter yet.
    fn new(quota: Arc<KeyQuota>, tallies: &mut Keyed<QuotaTally>) -> Self {
        let rows = take_rows(&quota, tallies);
        let tallied = RuleCounts::from_elem(Counts::default(), quota.parts().len());
        Self { admission: Admission::new(quota), rows, tallied, counted: false, limits_version: 0 }
    }

    /// Its rows, one for each part of the quota.
    pub fn rows(&self) -> &[RowId] {
        &self.rows
    }

    /// Has its counts taken with the next publication.
    pub(super) fn count_later(&mut self, hash: u64, board: &mut Board) {
        if !std::mem::replace(&mut self.counted, true) {
            board.counted.push(hash);
        }
    }

    /// Takes over what now holds the key. Counts go on where only the places of its quotas have changed.
    fn reconfigure(&mut self, quota: Arc<KeyQuota>, tallies: &mut Keyed<QuotaTally>, now_ns: u64) {
        self.tally(tallies);
        if quota.is_alike(self.admission.quota()) {
            for (row, rule) in self.rows.iter().zip(quota.rules()).filter(|(row, _)| **row != RowId::Shared) {
                tallies.row(*row).rule = rule;
            }
        } else {
            self.release(tallies);
            self.rows = take_rows(&quota, tallies);
        }
        self.admission.reconfigure(now_ns, quota);
        self.tallied = RuleCounts::from_slice(self.admission.counts());
        self.limits_version = 0;
    }

    /// Takes over those of the polled limits that concern it, if any are new. Says whether it was held up by that.
    fn adopt_limits(&mut self, limits: &PolledLimits, version: u64, now_ns: u64) -> bool {
        if std::mem::replace(&mut self.limits_version, version) == version
            || self.admission.quota().polled().is_empty()
        {
            return false;
        }
        let waited = self.admission.clamp().is_none();
        let quota = Arc::clone(self.admission.quota());
        self.admission.on_polled(now_ns, quota.polled().iter().map(|name| limits.get(name).copied()));
        waited && self.admission.clamp().is_some()
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

    /// Takes what is new into its rows.
    pub fn tally(&mut self, tallies: &mut Keyed<QuotaTally>) {
        self.counted = false;
        for ((row, now), then) in self.rows.iter().zip(self.admission.counts()).zip(&mut self.tallied) {
            let tally = tallies.row(*row);
            tally.admitted += now.admitted - then.admitted;
            tally.admitted_units += now.admitted_units - then.admitted_units;
            for (reason, count) in tally.refused.iter_mut().enumerate() {
                *count += now.refused[reason] - then.refused[reason];
            }
            tally.would_refuse += now.would_refuse - then.would_refuse;
            tally.unchecked += now.unchecked - then.unchecked;
            tally.owed_lost += now.owed_lost - then.owed_lost;
            tally.rechecks += now.rechecks - then.rechecks;
            *then = *now;
        }
    }
}

impl HotKey {
    /// Takes over those of the polled limits that concern it, if any are new.
    pub(super) fn adopt_limits(&mut self, limits: &PolledLimits, version: u64, now_ns: u64) {
        if self.held.as_mut().is_some_and(|held| held.adopt_limits(limits, version, now_ns)) {
            self.owner.on_success();
        }
    }
}

/// A row for each part of a quota.
fn take_rows(quota: &KeyQuota, tallies: &mut Keyed<QuotaTally>) -> SmallVec<[RowId; 2]> {
    let name: Arc<[u8]> = Arc::from(&quota.key()[..]);
    let rows = quota.rules().map(|rule| {
        let row = tallies.acquire(Arc::clone(&name));
        if row != RowId::Shared {
            tallies.row(row).rule = rule;
        }
        row
    });
    rows.collect()
}

impl HotKeys {
    /// The error for a command that names keys under enforced quotas and would pass by one of them, if it does. What it may
    /// change otherwise is noted for its client.
    pub fn refusal_of_several(
        &mut self,
        resolved: &Resolved<'_>,
        context: CommandContext,
        mut note: impl FnMut(u64),
    ) -> Option<String> {
        if self.quotas.is_empty() {
            return None;
        }
        let writes = resolved.writes();
        resolved.named_keys().find_map(|(key, name)| {
            let quota = self.quotas.of(name, key.hash)?;
            let refusal = refusal(&quota, resolved.request.name(), writes, context);
            if writes && refusal.is_none() {
                note(key.hash);
            }
            refusal
        })
    }

    /// The error for a command on one key that a quota holds, if it can't be held to the quota. `op` is what it folds to. Only
    /// what the quota judges takes a place among the counters, so that names which nobody counts under do not fill it.
    pub fn refusal_of_one(
        &mut self,
        resolved: &Resolved<'_>,
        (key, name): (KeyAt, &[u8]),
        op: Option<&Op<'_>>,
        database: u32,
    ) -> Option<String> {
        if self.quotas.is_empty() {
            return None;
        }
        let (request, writes) = (resolved.request, resolved.writes());
        if let Some(entry) = self.entries.get(&key.hash).filter(|entry| entry.key == name) {
            return refusal_alone(entry.quota.as_deref()?, op, request, writes, database);
        }
        let quota = if writes { self.quotas.of(name, key.hash) } else { None };
        refusal_alone(quota.as_deref()?, op, request, writes, database)
    }
}

impl HotKeys {
    /// Begins to combine a key because a quota holds it. The error is for the client: the table is full, and what is not in
    /// it can't be held.
    pub fn begin_by_quota(&mut self, core: &mut Core, key: &[u8], id: KeyId) -> Result<(), String> {
        if let Some(text) = self.refusal_for_room(core, key, id.hash) {
            return Err(text);
        }
        self.begin(core, Bytes::copy_from_slice(key), id, false);
        Ok(())
    }

    /// The error for an increment of a counter that is not remembered and can't be, if there is no room for it.
    pub(super) fn refusal_for_room(&mut self, core: &mut Core, key: &[u8], hash: u64) -> Option<String> {
        if self.entries.contains_key(&hash) {
            return Some(
                "QUOTA another key has this one's place, so it can't be held; use another name".to_owned(),
            );
        }
        let at_home = core.home_of(hash) == core.index;
        let workers = core.gateway.workers.len();
        let quota = self.quotas.of(key, hash);
        let refusal = self.held.refusal(quota.as_ref(), at_home, &core.config, workers);
        core.tallies.admission.refused_full += u64::from(refusal.is_some());
        refusal
    }

    /// The state of a quota that begins to hold a key at its home.
    pub(super) fn hold(&mut self, core: &mut Core, hash: u64, quota: Arc<KeyQuota>) -> Box<KeyQuotaState> {
        let mut held = Box::new(KeyQuotaState::new(quota, &mut core.tallies.quotas));
        held.adopt_limits(&self.limits, self.limits_version, core.now_ns);
        self.board.enter(hash, &held);
        held
    }

    /// Takes over limits that the control thread has polled. Each key does so when it is looked at next, which one that waits
    /// for its limits is soon.
    pub fn adopt_polled_limits(&mut self, limits: &Arc<PolledLimits>) {
        self.limits = Arc::clone(limits);
        self.limits_version += 1;
    }

    /// Has a key that is looked at take over the limits that were polled, and note what it counts.
    pub(super) fn adopt_limits(&mut self, core: &mut Core, hash: u64, home: &mut HotKey) {
        if let Some(held) = &mut home.held {
            held.count_later(hash, &mut self.board);
            home.adopt_limits(&self.limits, self.limits_version, core.now_ns);
        }
    }

    /// Compiles the quotas of a new configuration, and holds the keys that are combined already to them.
    pub(super) fn configure_quotas(&mut self, core: &mut Core) {
        self.quotas = Quotas::new(&core.config.quotas);
        let tallies = &mut core.tallies.quotas;
        let mut owed_sums = Vec::new();
        let HotKeys { entries, quotas, board, orphaned_sums, .. } = self;
        for (hash, entry) in entries {
            let quota = quotas.of(&entry.key, *hash);
            if entry.is_unclamped || entry.quota == quota {
                continue;
            }
            let at_home = entry.home == core.index;
            entry.held_bytes = quota.as_ref().map_or(0, |quota| HeldCounters::weigh(quota, at_home));
            entry.quota.clone_from(&quota);
            let Some(home) = &mut entry.queue else { continue };
            match (&mut home.held, quota) {
                (Some(held), Some(quota)) => {
                    board.unpoll(held);
                    held.reconfigure(quota, tallies, core.now_ns);
                    board.enter(*hash, held);
                }
                (held, quota) => {
                    if let Some(held) = held {
                        board.leave(held, tallies);
                        if let Some(owed) = held.admission.owed() {
                            let orphan =
                                OrphanedSum { key: entry.key.clone(), place: entry.place, owed, unsent: 0 };
                            orphaned_sums.insert(!*hash, orphan);
                        }
                        let counter = || (entry.key.clone(), entry.place);
                        owed_sums.extend(held.admission.take_owed().map(|sum| (*hash, counter(), sum)));
                    }
                    *held = quota.map(|quota| Box::new(KeyQuotaState::new(quota, tallies)));
                    held.iter().for_each(|held| board.enter(*hash, held));
                }
            }
        }
        for (hash, counter, sum) in owed_sums {
            // Without a quota nothing counts in windows.
            self.send_owed(core, hash, counter, sum, None);
        }
        let mut counters = HeldCounters::default();
        let held = self.entries.values().filter(|entry| entry.quota.is_some());
        held.for_each(|entry| counters.add(entry.held_bytes));
        self.held = counters;
        self.epoch = self.epoch.wrapping_add(1);
        self.limits_version += 1;
        self.board.hurry();
    }
}

/// The error for a command on a key under a quota, if it would pass by the quota.
pub(super) fn refusal(
    quota: &KeyQuota,
    name: &[u8],
    writes: bool,
    context: CommandContext,
) -> Option<String> {
    if quota.is_shadow() {
        return None;
    }
    let counts_down = quota.consumes() == Consumes::Down;
    verdict_of_other_command(name, writes, counts_down, context).error(name, quota.key())
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
        _ => refusal(quota, request.name(), writes, CommandContext::Alone),
    }
}

/// What has been counted for one of its quotas.
fn tallied(held: &KeyQuotaState, rule: u16) -> QuotaTally {
    let mut rules = held.admission.quota().rules();
    let counts = rules.position(|known| known == rule).and_then(|place| held.admission.counts().get(place));
    counts.map_or_else(QuotaTally::default, |counts| QuotaTally {
        rule,
        admitted: counts.admitted,
        admitted_units: counts.admitted_units,
        refused: counts.refused,
        would_refuse: counts.would_refuse,
        unchecked: counts.unchecked,
        owed_lost: counts.owed_lost,
        rechecks: counts.rechecks,
    })
}

pub(super) fn describe(held: &KeyQuotaState, rules: &QuotaRules, now_ns: u64, facts: &mut Vec<QuotaFacts>) {
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
        fault: held.admission.fault().unwrap_or_default().to_owned(),
        changed: Changed::default(),
        tally: tallied(held, fact.rule),
    }));
}
