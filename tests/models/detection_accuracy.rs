//! The figures that detection promises: precision, recall and rate error under Zipf's law, resistance against
//! a scan, delay, and memory. Each test prints its figures (`cargo test --test models detection_accuracy -- --nocapture`).

use std::collections::HashSet;

use crate::detection_streams::{Stream, hash, name};
use hotgate::detect::{Access, Detector, DetectorConfig, Merger, MergerConfig, Rank, Slice, TransitionKind};
use hotgate::route::{ClusterId, KeyId};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const KEYS: usize = 1_000_000;
const STEP_MS: u64 = 100;
const WINDOW_STEPS: u64 = 10;
const READ: Access = Access { write: false, counter: false, bytes_in: 36, client: 1 };

/// Some workers, a merger, and a clock that the test turns.
struct Process {
    workers: Vec<Detector>,
    merger: Merger,
    now_ms: u64,
    rng: SmallRng,
}

impl Process {
    fn new(workers: usize, seed: u64) -> Self {
        let worker = |_| Detector::new(DetectorConfig::DEFAULT, Box::new(|_| false), 0);
        let rng = SmallRng::seed_from_u64(seed);
        Self {
            workers: (0..workers).map(worker).collect(),
            merger: Merger::new(MergerConfig::DEFAULT, 0),
            now_ms: 0,
            rng,
        }
    }

    fn access(&mut self, name: &[u8], hash: u64) {
        let worker = self.rng.random_range(0..self.workers.len());
        self.workers[worker].record(name, KeyId { cluster: ClusterId::DEFAULT, hash }, READ);
    }

    fn step(&mut self) {
        self.now_ms += STEP_MS;
        let now_ns = self.now_ms * 1_000_000;
        let slices: Vec<Slice> = self.workers.iter_mut().map(|worker| worker.take_slice(now_ns)).collect();
        self.merger.step(self.now_ms, &slices);
    }
}

/// How the ranking of a window compares with exact counts of the same window.
#[derive(Debug)]
struct Figures {
    precision: f64,
    recall: f64,
    rate_error: f64,
}

impl Figures {
    /// A published key is right if no key outside an exact top `n` has more accesses than it.
    fn of(merger: &Merger, exact: &[u32], n: usize) -> Self {
        let mut order: Vec<u32> = (0..exact.len() as u32).collect();
        order.select_nth_unstable_by_key(n - 1, |key| std::cmp::Reverse(exact[*key as usize]));
        let last_count = exact[order[n - 1] as usize];
        let published: HashSet<u32> =
            merger.top(n, Rank::Ops).iter().map(|top| number(top.key.bytes())).collect();
        let right = published.iter().filter(|key| exact[**key as usize] >= last_count).count();
        let must: Vec<u32> =
            order[..n].iter().copied().filter(|key| exact[*key as usize] > last_count).collect();
        let missed = must.iter().filter(|key| !published.contains(key)).count();
        let rate_error = merger
            .top(n, Rank::Ops)
            .iter()
            .map(|top| {
                let truth = f64::from(exact[number(top.key.bytes()) as usize]);
                (top.rates.ops / truth - 1.0).abs()
            })
            .fold(0.0, f64::max);
        Self {
            precision: right as f64 / published.len() as f64,
            recall: 1.0 - missed as f64 / n as f64,
            rate_error,
        }
    }
}

fn number(name: &[u8]) -> u32 {
    name[4..].iter().fold(0, |number, digit| number * 10 + u32::from(digit - b'0'))
}

/// A million accesses in each window of one second, on two workers; judged at the end of each window, also of
/// the first, which begins with empty detectors. After `scan_from` windows, one half of the traffic is keys
/// that are used once.
///
/// Ten million accesses in a build with optimization (`cargo test --release`); without, where one access costs
/// the test a microsecond, the first two million of them.
fn check_top_100(label: &str, exponent: f64, scan_from: u64) {
    const WINDOWS: u64 = if cfg!(debug_assertions) { 2 } else { 10 };
    let per_step = 1_000_000 / WINDOW_STEPS as usize;
    let names: Vec<[u8; 16]> = (0..KEYS as u32).map(name).collect();
    let hashes: Vec<u64> = names.iter().map(|name| hash(name)).collect();
    let mut stream = Stream::zipf(KEYS, exponent, 1);
    let mut process = Process::new(2, 2);
    let mut one_time = KEYS as u32;
    let mut worst = Figures { precision: 1.0, recall: 1.0, rate_error: 0.0 };
    for window in 0..WINDOWS {
        let mut exact = vec![0; KEYS];
        for _ in 0..WINDOW_STEPS {
            for access in 0..per_step {
                if window >= scan_from && access % 2 == 1 {
                    one_time += 1;
                    let name = name(one_time);
                    process.access(&name, hash(&name));
                } else {
                    let key = stream.draw() as usize;
                    exact[key] += 1;
                    process.access(&names[key], hashes[key]);
                }
            }
            process.step();
        }
        let figures = Figures::of(&process.merger, &exact, 100);
        worst.precision = worst.precision.min(figures.precision);
        worst.recall = worst.recall.min(figures.recall);
        worst.rate_error = worst.rate_error.max(figures.rate_error);
    }
    let tracked: Vec<usize> = process.workers.iter().map(Detector::tracked).collect();
    println!("{label}, worst of {WINDOWS} windows of a million accesses: {worst:?}, tracked {tracked:?}");
    assert!(worst.precision >= 0.98 && worst.recall >= 0.98, "{worst:?}");
    assert!(worst.rate_error <= 0.02, "{worst:?}");
}

#[test]
fn top_100_of_zipf_1_0() {
    check_top_100("Zipf(1.0)", 1.0, u64::MAX);
}

#[test]
fn top_100_of_zipf_0_8() {
    check_top_100("Zipf(0.8)", 0.8, u64::MAX);
}

#[test]
fn a_scan_does_not_push_hot_keys_out() {
    check_top_100("Zipf(1.0), half of it a scan from the second window", 1.0, 1);
}

/// A key goes from nothing to 10 % of the traffic at a random time. The workers end their slices and the
/// control thread its steps every 100 ms, each at a phase of its own, as their timers do.
#[test]
fn a_new_hot_key_is_published_in_time() {
    check_delay(20);
    check_delay(50);
}

fn check_delay(ops_per_ms: u32) {
    const TRIES: u64 = 50;
    let mut delays: Vec<u64> = (0..TRIES).map(|seed| delay_ms(seed, ops_per_ms)).collect();
    delays.sort_unstable();
    let (median, worst) = (delays[delays.len() / 2], delays[delays.len() - 1]);
    println!(
        "{ops_per_ms},000 accesses/s: delay over {TRIES} tries: median {median} ms, worst {worst} ms (simulated)"
    );
    assert!(median < 200, "{delays:?}");
    assert!(worst < 400, "{delays:?}");
}

fn delay_ms(seed: u64, ops_per_ms: u32) -> u64 {
    let mut process = Process::new(2, seed);
    let mut stream = Stream::zipf(10_000, 0.8, seed);
    let phases: [u64; 3] = std::array::from_fn(|_| process.rng.random_range(0..STEP_MS));
    let rise_ms = 1_500 + process.rng.random_range(0..STEP_MS);
    let mut mailbox: Vec<Slice> = Vec::new();
    for now_ms in 1..rise_ms + 2_000 {
        for _ in 0..ops_per_ms {
            let is_new = now_ms > rise_ms && process.rng.random_ratio(1, 10);
            let name = name(if is_new { KEYS as u32 } else { stream.draw() });
            process.access(&name, hash(&name));
        }
        for (worker, phase) in process.workers.iter_mut().zip(phases) {
            if now_ms % STEP_MS == phase {
                mailbox.push(worker.take_slice(now_ms * 1_000_000));
            }
        }
        if now_ms % STEP_MS == phases[2] {
            let transitions = process.merger.step(now_ms, &std::mem::take(&mut mailbox));
            let is_the_new = |key: &[u8]| number(key) == KEYS as u32;
            if transitions
                .iter()
                .any(|t| t.kind == TransitionKind::BecameHot && is_the_new(t.hot_key.key.bytes()))
            {
                assert!(process.merger.hot_set().entries.iter().any(|hot| is_the_new(hot.key.bytes())));
                return now_ms - rise_ms;
            }
        }
    }
    panic!("seed {seed}: the key never became hot");
}

#[test]
fn memory_is_within_the_budget() {
    let bytes = DetectorConfig::DEFAULT.memory_bytes_max();
    println!("memory per worker at the defaults: at most {:.2} MiB", bytes as f64 / f64::from(1 << 20));
    assert!(bytes <= 8 << 20);
}
