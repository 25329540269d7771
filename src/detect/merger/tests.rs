//! When keys become hot and cool, with slices made by hand.

use super::*;
use crate::detect::{Connections, SliceRow, SliceTotals};
use crate::route::ClusterId;

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
        key: KeyName::new(ClusterId::DEFAULT, key.as_bytes()),
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
