//! From the slices of all workers to one hot set.
//!
//! Owns the window of each key and the decision when it becomes hot and when it cools. Deliberately asks no worker and publishes
//! nothing: slices come in by a call, and the set goes out as a value.

use std::collections::HashMap;
use std::sync::Arc;

use super::config::{MergerConfig, Thresholds};
use super::history::History;
use super::hot::{Class, HotKey, HotSet, Rank, TopKey, Transition, TransitionKind};
use super::key::KeyName;
use super::slice::Slice;
use super::window::{Counts, ENTER_STEPS, KeyWindow, Total, Traffic};

/// A key that wants into a full hot set must have this many times the rate of its coldest key, lest two keys
/// of equal rate take turns.
const DISPLACE_RATIO: f64 = 1.25;

/// One step alone lets a key in from this many times the thresholds: enough to tell it from the chance of a
/// single slice, and a slice sooner for a key that rose early in it.
const ONE_STEP_RATIO: f64 = 1.5;

/// Merges slices, keeps the window and judges who is hot.
///
/// Created and owned by the control thread. A key is judged on the last two steps against their own duration,
/// or at half again the thresholds on the last one alone, so that it need not fill the window. It leaves after
/// it has been under the lower thresholds for a number of steps. All figures that are published are over the
/// window, or over the key's life where that is shorter.
///
/// Memory: at most `tracked_keys_max` windows of about 0.9 KiB, and `top_k` histories of 60 points.
pub struct Merger {
    config: MergerConfig,
    keys: HashMap<KeyName, KeyWindow, ahash::RandomState>,
    hot: HashMap<KeyName, Hot, ahash::RandomState>,
    traffic: Traffic,
    /// Number of the current step, from 1.
    step: u64,
    last_step_ms: u64,
    version: u64,
    published: Arc<HotSet>,
}

/// The state of a hot key.
struct Hot {
    since_ms: u64,
    class: Class,
    peak: f64,
    /// Steps in a row below the thresholds for leaving.
    steps_below: u32,
    history: History,
}

impl Merger {
    /// A merger whose first step begins at `now_ms`.
    #[must_use]
    pub fn new(config: MergerConfig, now_ms: u64) -> Self {
        let mut merger = Self {
            config: MergerConfig::DEFAULT,
            keys: HashMap::default(),
            hot: HashMap::default(),
            traffic: Traffic::default(),
            step: 0,
            last_step_ms: now_ms,
            version: 0,
            published: Arc::default(),
        };
        merger.set_config(config);
        merger
    }

    /// Replaces the settings. A window of another length starts empty; hot keys stay hot until judged.
    pub fn set_config(&mut self, config: MergerConfig) {
        let window_steps = config.window_steps.clamp(ENTER_STEPS as usize, MergerConfig::WINDOW_STEPS_MAX);
        if window_steps != self.config.window_steps {
            self.keys.clear();
        }
        self.config = MergerConfig { window_steps, ..config };
    }

    /// Ends a step at `now_ms` with all slices that arrived in it, and gives who became hot or cooled.
    pub fn step(&mut self, now_ms: u64, slices: &[Slice]) -> Vec<Transition> {
        self.step += 1;
        self.book_total(now_ms, slices);
        for row in slices.iter().flat_map(|slice| &slice.rows) {
            self.book(&row.key, &Counts::from(row));
        }
        let mut transitions = self.judge_hot(now_ms);
        self.judge_others(now_ms, slices, &mut transitions);
        self.version += u64::from(!transitions.is_empty());
        self.publish(now_ms);
        if self.step.is_multiple_of(self.config.window_steps as u64) {
            self.keys.retain(|_, window| !window.is_over(self.step));
        }
        transitions
    }

    /// The hot set as of the last step.
    #[must_use]
    pub fn hot_set(&self) -> Arc<HotSet> {
        Arc::clone(&self.published)
    }

    /// The first `count` keys of the last window, hot or not, most first.
    #[must_use]
    pub fn top(&self, count: usize, rank: Rank) -> Vec<TopKey> {
        let measure = |counts: &Counts| match rank {
            Rank::Ops => counts.ops(),
            Rank::Reads => counts.reads,
            Rank::Writes => counts.writes,
            Rank::Bytes => counts.bytes(),
        };
        let mut ranked: Vec<_> = self
            .keys
            .iter()
            .map(|(key, window)| (key, window, window.sum(self.step, self.config.window_steps as u64)))
            .filter(|(_, _, counts)| measure(counts) > 0)
            .collect();
        ranked.sort_by(|a, b| measure(&b.2).cmp(&measure(&a.2)).then_with(|| a.0.cmp(b.0)));
        ranked.truncate(count);
        let top_key = |(key, window, counts): (&KeyName, &KeyWindow, Counts)| TopKey {
            key: key.clone(),
            class: counts.class(),
            rates: window.rates(self.step, &self.traffic),
        };
        ranked.into_iter().map(top_key).collect()
    }

    /// How many keys the window holds.
    #[must_use]
    pub fn tracked(&self) -> usize {
        self.keys.len()
    }

    fn book_total(&mut self, now_ms: u64, slices: &[Slice]) {
        let step_ns = now_ms.saturating_sub(self.last_step_ms).max(1) * 1_000_000;
        self.last_step_ms = now_ms;
        let mut total = Total { duration_ns: step_ns, ..Total::default() };
        for slice in slices {
            total.slice_ns_max = total.slice_ns_max.max(slice.duration_ns);
            total.ops += slice.totals.ops;
            total.bytes_in += slice.totals.bytes_in;
            total.bytes_out += slice.totals.bytes_out;
        }
        self.traffic.set(self.step, total);
    }

    fn book(&mut self, key: &KeyName, counts: &Counts) {
        if let Some(window) = self.keys.get_mut(key) {
            return window.add(self.step, counts);
        }
        if self.keys.len() >= self.config.tracked_keys_max {
            self.forget_lightest_half();
        }
        let mut window = KeyWindow::new(self.config.window_steps);
        window.add(self.step, counts);
        self.keys.insert(key.clone(), window);
    }

    fn forget_lightest_half(&mut self) {
        let (step, steps) = (self.step, self.config.window_steps as u64);
        let mut ops: Vec<u64> = self.keys.values().map(|window| window.sum(step, steps).ops()).collect();
        let middle = ops.len() / 2;
        if middle < ops.len() {
            let median = *ops.select_nth_unstable(middle).1;
            self.keys
                .retain(|key, window| window.sum(step, steps).ops() > median || self.hot.contains_key(key));
        }
    }

    /// Updates hot keys, and lets those go that have been below the line for long enough.
    fn judge_hot(&mut self, now_ms: u64) -> Vec<Transition> {
        let mut cooled = Vec::new();
        for (key, hot) in &mut self.hot {
            let window = self.keys.get(key);
            let recent = window.map(|window| window.sum(self.step, ENTER_STEPS)).unwrap_or_default();
            let class = judge(&self.config.leave, &recent, &self.traffic.sum(self.step, ENTER_STEPS));
            hot.steps_below = if class.is_some() { 0 } else { hot.steps_below + 1 };
            hot.class = class.unwrap_or(hot.class);
            let ops = window.map_or(0, |window| window.sum(self.step, 1).ops());
            hot.history.add(now_ms, ops);
            let rates = window.map(|window| window.rates(self.step, &self.traffic)).unwrap_or_default();
            hot.peak = hot.peak.max(rates.ops);
            if hot.steps_below >= self.config.leave_steps.max(1) {
                cooled.push(key.clone());
            }
        }
        cooled.iter().filter_map(|key| self.cool(key, now_ms)).collect()
    }

    /// Lets keys in that were seen in this step and are above the line, highest rate first.
    fn judge_others(&mut self, now_ms: u64, slices: &[Slice], transitions: &mut Vec<Transition>) {
        let total = self.traffic.sum(self.step, ENTER_STEPS);
        let one_step_total = self.traffic.sum(self.step, 1);
        let one_step_enter = self.config.enter.scaled(ONE_STEP_RATIO);
        let mut risen: Vec<(&KeyName, Class, u64)> = Vec::new();
        for row in slices.iter().flat_map(|slice| &slice.rows) {
            let Some(window) = self.keys.get(&row.key) else { continue };
            let recent = window.sum(self.step, ENTER_STEPS);
            let class = judge(&self.config.enter, &recent, &total)
                .or_else(|| judge(&one_step_enter, &window.sum(self.step, 1), &one_step_total));
            if let Some(class) = class
                && !self.hot.contains_key(&row.key)
            {
                risen.push((&row.key, class, recent.ops()));
            }
        }
        risen.sort_by(|a, b| b.2.cmp(&a.2).then_with(|| a.0.cmp(b.0)));
        risen.dedup_by(|a, b| a.0 == b.0);
        for (key, class, ops) in risen {
            if self.hot.len() >= self.config.top_k {
                match self.coldest() {
                    Some((coldest, rate)) if total.per_second(ops) > rate * DISPLACE_RATIO => {
                        transitions.extend(self.cool(&coldest, now_ms));
                    }
                    _ => break,
                }
            }
            transitions.push(self.heat(key, class, now_ms));
        }
    }

    fn coldest(&self) -> Option<(KeyName, f64)> {
        let total = self.traffic.sum(self.step, ENTER_STEPS);
        let ops =
            |key: &KeyName| self.keys.get(key).map_or(0, |window| window.sum(self.step, ENTER_STEPS).ops());
        let (key, ops) = self.hot.keys().map(|key| (key, ops(key))).min_by_key(|(_, ops)| *ops)?;
        Some((key.clone(), total.per_second(ops)))
    }

    fn heat(&mut self, key: &KeyName, class: Class, now_ms: u64) -> Transition {
        let mut history = History::new(now_ms);
        let mut peak = 0.0;
        if let Some(window) = self.keys.get(key) {
            history.add(now_ms, window.sum(self.step, ENTER_STEPS).ops());
            peak = window.rates(self.step, &self.traffic).ops;
        }
        let hot = Hot { since_ms: now_ms, class, peak, steps_below: 0, history };
        let hot_key = self.describe(key, &hot);
        self.hot.insert(key.clone(), hot);
        Transition { kind: TransitionKind::BecameHot, at_ms: now_ms, hot_key }
    }

    fn cool(&mut self, key: &KeyName, now_ms: u64) -> Option<Transition> {
        let hot = self.hot.remove(key)?;
        Some(Transition { kind: TransitionKind::Cooled, at_ms: now_ms, hot_key: self.describe(key, &hot) })
    }

    fn describe(&self, key: &KeyName, hot: &Hot) -> HotKey {
        let window = self.keys.get(key);
        HotKey {
            key: key.clone(),
            since_ms: hot.since_ms,
            class: hot.class,
            rates: window.map(|window| window.rates(self.step, &self.traffic)).unwrap_or_default(),
            peak: hot.peak,
            history: hot.history.points(),
        }
    }

    fn publish(&mut self, now_ms: u64) {
        let mut entries: Vec<HotKey> = self.hot.iter().map(|(key, hot)| self.describe(key, hot)).collect();
        entries.sort_by(|a, b| b.rates.ops.total_cmp(&a.rates.ops).then_with(|| a.key.cmp(&b.key)));
        let total = self.traffic.sum(self.step, self.config.window_steps as u64);
        self.published = Arc::new(HotSet {
            version: self.version,
            at_ms: now_ms,
            entries,
            total_ops: total.per_second(total.ops),
            total_bytes_in: total.per_second(total.bytes_in),
            total_bytes_out: total.per_second(total.bytes_out),
        });
    }
}

/// The kind of load of a key that reaches the thresholds, or None.
fn judge(thresholds: &Thresholds, recent: &Counts, total: &Total) -> Option<Class> {
    let by_ops = total.judged_per_second(recent.ops()) >= thresholds.ops_per_s
        && total.share(recent.ops()) >= thresholds.share
        && recent.ops() > 0;
    if by_ops {
        return Some(recent.class());
    }
    let by_bytes = total.judged_per_second(recent.bytes()) >= thresholds.bytes_per_s && recent.bytes() > 0;
    by_bytes.then_some(Class::ByteHot)
}

#[cfg(test)]
mod tests;
