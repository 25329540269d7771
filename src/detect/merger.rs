//! From the slices of all workers to one hot set.

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

/// What is known of a key because it is hot.
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
mod tests {
    use super::*;
    use crate::detect::{Connections, SliceRow, SliceTotals};

    /// Steps of 100 ms in which each key has the given reads, writes and counters, and the rest of 10,000
    /// accesses go elsewhere.
    struct Clock {
        merger: Merger,
        now_ms: u64,
    }

    impl Clock {
        fn new(config: MergerConfig) -> Self {
            Self { merger: Merger::new(config, 0), now_ms: 0 }
        }

        fn step(&mut self, rows: &[SliceRow]) -> Vec<(TransitionKind, String)> {
            self.now_ms += 100;
            let totals = SliceTotals { ops: 10_000, ..SliceTotals::default() };
            let slice = Slice { duration_ns: 100_000_000, totals, rows: rows.to_vec() };
            let name = |t: Transition| (t.kind, String::from_utf8(t.hot_key.key.bytes().to_vec()).unwrap());
            self.merger.step(self.now_ms, &[slice]).into_iter().map(name).collect()
        }

        fn hot_names(&self) -> Vec<String> {
            let entries = &self.merger.hot_set().entries;
            entries.iter().map(|hot| String::from_utf8(hot.key.bytes().to_vec()).unwrap()).collect()
        }
    }

    fn row(key: &str, reads: u32, writes: u32, counters: u32) -> SliceRow {
        SliceRow {
            key: KeyName::new(key.as_bytes()),
            reads,
            writes,
            counters,
            bytes_in: 0,
            bytes_out: 0,
            uncounted_max: 0,
            connections: Connections::default(),
        }
    }

    #[test]
    fn a_key_enters_on_two_steps_and_leaves_after_ten_below() {
        let mut clock = Clock::new(MergerConfig::DEFAULT);
        (0..20).for_each(|_| assert!(clock.step(&[]).is_empty()));
        let version = clock.merger.hot_set().version;
        // 1,200/s: above the line of 1,000/s and 1 % once two steps have seen it.
        assert!(clock.step(&[row("sku", 120, 0, 0)]).is_empty());
        assert_eq!(clock.step(&[row("sku", 120, 0, 0)]), [(TransitionKind::BecameHot, "sku".into())]);
        assert_eq!(clock.merger.hot_set().version, version + 1);
        // Between the lines it stays.
        (0..50).for_each(|_| assert!(clock.step(&[row("sku", 70, 0, 0)]).is_empty()));
        // One step above the lower line starts the count of steps below anew.
        (0..9).for_each(|_| assert!(clock.step(&[row("sku", 10, 0, 0)]).is_empty()));
        assert!(clock.step(&[row("sku", 150, 0, 0)]).is_empty());
        let cooled_at = (1..30).find(|_| !clock.step(&[]).is_empty());
        // The step after the burst still sees it in its two steps.
        assert_eq!(cooled_at, Some(11));
        assert!(clock.hot_names().is_empty());
        assert_eq!(clock.merger.hot_set().version, version + 2);
    }

    #[test]
    fn one_step_far_above_the_line_is_enough() {
        let check = |ops: u32, hot: bool| {
            let mut clock = Clock::new(MergerConfig::DEFAULT);
            (0..20).for_each(|_| assert!(clock.step(&[]).is_empty()));
            assert_eq!(!clock.step(&[row("sku", ops, 0, 0)]).is_empty(), hot, "{ops} in a step");
        };
        check(149, false);
        check(150, true);
    }

    #[test]
    fn classes_follow_what_most_accesses_do() {
        let check = |row: SliceRow, expect: Class| {
            let mut clock = Clock::new(MergerConfig::DEFAULT);
            clock.step(&[row]);
            assert_eq!(clock.merger.hot_set().entries[0].class, expect);
        };
        check(row("k", 600, 400, 400), Class::ReadHot);
        check(row("k", 400, 600, 100), Class::WriteHot);
        check(row("k", 400, 600, 600), Class::CounterHot);
        check(SliceRow { bytes_out: 8 << 20, ..row("k", 2, 0, 0) }, Class::ByteHot);
    }

    #[test]
    fn figures_of_a_young_key_are_over_its_life() {
        let mut clock = Clock::new(MergerConfig::DEFAULT);
        (0..20).for_each(|_| drop(clock.step(&[])));
        clock.step(&[row("sku", 1_000, 0, 0)]);
        clock.step(&[row("sku", 3_000, 0, 0)]);
        let hot_set = clock.merger.hot_set();
        let rates = hot_set.entries[0].rates;
        assert_eq!((rates.ops, rates.share, rates.trend), (20_000.0, 0.2, 3.0));
        assert_eq!((hot_set.total_ops, hot_set.entries[0].since_ms), (100_000.0, 2_100));
        (0..10).for_each(|_| drop(clock.step(&[row("sku", 500, 0, 0)])));
        let hot_set = clock.merger.hot_set();
        assert_eq!((hot_set.entries[0].rates.ops, hot_set.entries[0].rates.trend), (5_000.0, 1.0));
        assert!(hot_set.entries[0].peak >= 20_000.0);
    }

    #[test]
    fn a_full_hot_set_prefers_the_hotter() {
        let mut clock = Clock::new(MergerConfig { top_k: 2, ..MergerConfig::DEFAULT });
        clock.step(&[row("a", 900, 0, 0), row("b", 500, 0, 0), row("c", 400, 0, 0)]);
        assert_eq!(clock.hot_names(), ["a", "b"]);
        clock.step(&[row("a", 900, 0, 0), row("b", 500, 0, 0), row("c", 700, 0, 0)]);
        assert_eq!(clock.hot_names(), ["a", "b"], "1,100 is not a quarter more than 1,000");
        clock.step(&[row("a", 900, 0, 0), row("b", 500, 0, 0), row("c", 700, 0, 0)]);
        assert_eq!(clock.hot_names(), ["a", "c"]);
    }

    #[test]
    fn a_late_slice_is_no_burst() {
        let mut merger = Merger::new(MergerConfig::DEFAULT, 0);
        for step in 1..10 {
            merger.step(step * 100, &[]);
        }
        let totals = SliceTotals { ops: 10_000, ..SliceTotals::default() };
        // 700/s over the second that the worker was away.
        let late = Slice { duration_ns: 1_000_000_000, totals, rows: vec![row("sku", 700, 0, 0)] };
        assert!(merger.step(1_000, &[late]).is_empty());
        assert_eq!(merger.top(1, Rank::Ops)[0].key.bytes(), b"sku");
    }

    #[test]
    fn the_table_is_bounded_and_keeps_the_heavy() {
        let mut clock = Clock::new(MergerConfig { tracked_keys_max: 100, ..MergerConfig::DEFAULT });
        for round in 0..20 {
            let rows: Vec<_> = (0..50).map(|i| row(&format!("{round}:{i}"), 1 + i, 0, 0)).collect();
            clock.step(&[row("heavy", 90, 0, 0)]);
            clock.step(&rows);
            assert!(clock.merger.tracked() <= 100);
        }
        assert_eq!(clock.merger.top(1, Rank::Reads)[0].key.bytes(), b"heavy");
    }
}
