//! The cost of counting one access, beside a plain hash map of counters (the naive rival: exact, unbounded,
//! without bytes, connections or slices) and beside the hash of the key alone (the floor: the worker has
//! computed it anyway for routing and lookup).

#[path = "../tests/detection_streams/mod.rs"]
mod detection_streams;

use std::collections::HashMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use detection_streams::{Stream, hash, name};
use hotgate::detect::{Access, Detector, DetectorConfig};
use hotgate::route::{ClusterId, KeyId};

/// Accesses per iteration: 100 ms of a busy worker.
const ACCESSES: usize = 1 << 17;

struct Workload {
    label: &'static str,
    /// In the order of the accesses: keys lie in cache when they are counted, having just been parsed.
    names: Vec<[u8; 16]>,
}

fn workload(label: &'static str, keys: usize, exponent: f64) -> Workload {
    let mut stream = Stream::zipf(keys, exponent, 1);
    Workload { label, names: (0..ACCESSES * 16).map(|_| name(stream.draw())).collect() }
}

fn one_time_keys() -> Workload {
    let keys = ACCESSES * 16;
    Workload { label: "scan", names: (0..keys as u32).map(name).collect() }
}

fn record_all(detector: &mut Detector, names: &[[u8; 16]]) {
    for (client, name) in (0..50).cycle().zip(names) {
        let access = Access { write: false, counter: false, bytes_in: 36, client };
        let id = KeyId { cluster: ClusterId::DEFAULT, hash: hash(name) };
        if let Some(handle) = detector.record(name, id, access) {
            detector.record_reply(handle, 8);
        }
    }
}

fn record(c: &mut Criterion) {
    let workloads = [
        workload("uniform_100k", 100_000, 0.0),
        workload("uniform_1m", 1_000_000, 0.0),
        workload("zipf_1.0_1m", 1_000_000, 1.0),
        workload("zipf_0.8_1m", 1_000_000, 0.8),
        workload("one_key", 1, 0.0),
        one_time_keys(),
    ];
    for Workload { label, names } in &workloads {
        let mut group = c.benchmark_group(*label);
        group.throughput(Throughput::Elements(ACCESSES as u64));
        let mut chunks = names.chunks(ACCESSES).cycle();
        group.bench_function("hash_only", |b| {
            b.iter(|| {
                for name in chunks.next().into_iter().flatten() {
                    black_box(hash(name));
                }
            });
        });
        let mut detector = Detector::new(DetectorConfig::DEFAULT, Box::new(|_| false), 0);
        group.bench_function("detector", |b| {
            b.iter(|| {
                record_all(&mut detector, chunks.next().unwrap_or_default());
                black_box(detector.take_slice(0));
            });
        });
        let mut counters: HashMap<Vec<u8>, u64, ahash::RandomState> = HashMap::default();
        group.bench_function("hash_map", |b| {
            b.iter(|| {
                for name in chunks.next().into_iter().flatten() {
                    match counters.get_mut(&name[..]) {
                        Some(count) => *count += 1,
                        None => drop(counters.insert(name.to_vec(), 1)),
                    }
                }
            });
        });
        let mut detector = Detector::new(DetectorConfig::DEFAULT, Box::new(|_| false), 0);
        group.throughput(Throughput::Elements(1));
        group.bench_function("take_slice", |b| {
            b.iter_custom(|iterations| {
                let mut elapsed = Duration::ZERO;
                for _ in 0..iterations {
                    record_all(&mut detector, chunks.next().unwrap_or_default());
                    let start = Instant::now();
                    black_box(detector.take_slice(0));
                    elapsed += start.elapsed();
                }
                elapsed
            });
        });
        group.finish();
    }
}

criterion_group!(benches, record);
criterion_main!(benches);
