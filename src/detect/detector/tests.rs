//! What is counted, kept and forgotten by one detector.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::route::{ClusterId, KeyHasher};

const READ: Access = Access { write: false, counter: false, bytes_in: 10, client: 1 };

fn id(key: &[u8]) -> KeyId {
    let hash = ahash::RandomState::with_seeds(1, 2, 3, 4).hash_one(key);
    KeyId { cluster: ClusterId::DEFAULT, hash }
}

fn detector(tracked_keys: usize) -> Detector {
    let config = DetectorConfig { tracked_keys, sample_ratio: 1 };
    Detector::new(config, Box::new(|key| key.starts_with(b"never:")), 0)
}

fn record(detector: &mut Detector, key: &[u8], access: Access) -> Option<EntryHandle> {
    detector.record(key, id(key), access)
}

#[test]
fn one_key_of_two_clusters_is_counted_as_two() {
    let mut detector = detector(64);
    let hasher = KeyHasher::default();
    for (id, times) in [(0, 3), (1, 5)].map(|(cluster, times)| (hasher.id(ClusterId(cluster), b"sku"), times))
    {
        detector.record_many(b"sku", id, READ, times);
    }
    let mut rows = detector.take_slice(1).rows;
    rows.sort_by_key(|row| row.reads);
    let counted: Vec<_> = rows.iter().map(|row| (row.key.cluster().0, row.key.bytes(), row.reads)).collect();
    assert_eq!(counted, [(0, &b"sku"[..], 3), (1, &b"sku"[..], 5)]);
}

#[test]
fn counts_are_kept_apart_and_begin_anew_with_each_slice() {
    let mut detector = detector(64);
    let incr = Access { write: true, counter: true, bytes_in: 30, client: 2 };
    let set = Access { write: true, counter: false, bytes_in: 500, client: 3 };
    for access in [READ, READ, incr, set] {
        let handle = record(&mut detector, b"sku", access).unwrap();
        detector.record_reply(handle, 7);
    }
    let slice = detector.take_slice(100_000_000);
    let [row] = &slice.rows[..] else { panic!("{slice:?}") };
    assert_eq!(row.key.bytes(), b"sku");
    assert_eq!((row.reads, row.writes, row.counters), (2, 2, 1));
    assert_eq!((row.bytes_in, row.bytes_out), (550, 28));
    assert_eq!(row.connections.estimate(), 3);
    assert_eq!(slice.duration_ns, 100_000_000);
    assert_eq!((slice.totals.ops, slice.totals.writes), (4, 2));
    assert!(detector.take_slice(200_000_000).rows.is_empty());
}

#[test]
fn accesses_in_a_row_count_as_those_one_by_one() {
    let incr = Access { write: true, counter: true, bytes_in: 5000, client: 2 };
    let [mut together, mut apart] = [detector(64), detector(64)];
    for (key, times) in [(b"a", 7), (b"b", 5000), (b"a", 1)] {
        let handle = together.record_many(key, id(key), incr, times).unwrap();
        together.record_reply(handle, 7 * times);
        for _ in 0..times {
            let handle = record(&mut apart, key, incr).unwrap();
            apart.record_reply(handle, 7);
        }
    }
    assert_eq!(format!("{:?}", together.take_slice(1)), format!("{:?}", apart.take_slice(1)));
}

#[test]
fn of_accesses_in_a_row_so_many_are_sampled() {
    let mut detector = detector(64);
    detector.set_sample_ratio(10);
    for _ in 0..100 {
        assert!(detector.record_many(b"a", id(b"a"), READ, 1001).is_some());
    }
    let slice = detector.take_slice(1);
    assert_eq!(slice.totals.ops, 100_100);
    assert_eq!(slice.rows[0].reads, 100_100, "one of each ten counts ten times");
}

#[test]
fn ignored_keys_are_counted_in_totals_only() {
    let mut detector = detector(64);
    for _ in 0..1_000 {
        assert_eq!(record(&mut detector, b"never:this", READ), None);
    }
    let slice = detector.take_slice(1);
    assert!(slice.rows.is_empty());
    assert_eq!(slice.totals.ops, 1_000);
    detector.set_ignore(Box::new(|_| false));
    for _ in 0..100 {
        assert!(record(&mut detector, b"never:this", READ).is_some());
    }
    assert_eq!(detector.take_slice(2).rows[0].reads, 100);
}

#[test]
fn a_late_reply_is_not_booked_on_a_successor() {
    let mut detector = detector(64);
    let late = record(&mut detector, b"first", READ).unwrap();
    detector.table.clear();
    // The successor must fall on the same entry, so it is the same key tracked again.
    record(&mut detector, b"first", READ).unwrap();
    detector.record_reply(late, 1_000);
    assert_eq!(detector.take_slice(1).rows[0].bytes_out, 0);
}

/// A big value that is fetched too seldom to be tracked by its accesses.
#[test]
fn bytes_of_replies_lead_to_admission() {
    let mut detector = detector(64);
    let flood = |detector: &mut Detector, from: u32| {
        for i in from..from + 10_000 {
            record(detector, &i.to_be_bytes(), READ);
        }
    };
    flood(&mut detector, 0);
    for round in 1..10 {
        let handle = record(&mut detector, b"big", READ).unwrap();
        detector.record_reply(handle, 4 << 20);
        flood(&mut detector, round * 10_000);
    }
    let slice = detector.take_slice(1);
    let big = slice.rows.iter().find(|row| row.key.bytes() == b"big").expect("is tracked");
    assert!(big.bytes_out >= 8 * (4 << 20), "{big:?}");
}

#[test]
fn sampling_is_unbiased() {
    let mut detector = detector(64);
    detector.set_sample_ratio(16);
    for i in 0..160_000_u64 {
        // In step with the ratio: taking every sixteenth access would see one of these keys only.
        let key: &[u8] = if i.is_multiple_of(16) { b"sixteenth" } else { b"others" };
        record(&mut detector, key, READ);
    }
    let slice = detector.take_slice(1);
    assert_eq!(slice.totals.ops, 160_000);
    let row = slice.rows.iter().find(|row| row.key.bytes() == b"sixteenth").unwrap();
    assert!((9_000..11_000).contains(&row.reads), "{row:?}");
    assert_eq!(slice.rows.iter().map(|row| row.reads).sum::<u32>(), 160_000);
}

#[test]
fn weights_survive_the_renewal_of_the_scale() {
    let mut detector = detector(64);
    for slice in 0..1_000 {
        for _ in 0..100 {
            record(&mut detector, b"steady", READ);
        }
        assert!(detector.scale <= SCALE_MAX / DECAY);
        assert_eq!(detector.take_slice(slice).rows[0].reads, 100);
    }
    let (lower, upper) = detector.table.bounds(id(b"steady").hash);
    // The geometric series: 100 accesses a slice, each slice weighing DECAY times the next.
    let expected = 100.0 * DECAY / (1.0 - DECAY) * detector.scale;
    assert!((upper / expected - 1.0).abs() < 0.01 && lower == upper, "{lower} {upper} {expected}");
}

proptest! {
    /// The error bound, against exact decayed counts. Few entries and many keys make for much eviction.
    #[test]
    fn bounds_hold_for_every_key(
        accesses in prop::collection::vec((0_u16..600, 0_u32..20_000, any::<bool>()), 1..6_000),
        slice_ops in 50_usize..3_000,
        skew in 1_u16..600,
    ) {
        let mut detector = detector(64);
        let mut exact: HashMap<u16, f64> = HashMap::new();
        for (i, &(key, bytes, to_hot)) in accesses.iter().enumerate() {
            let key = if to_hot { key % skew } else { key };
            let name = key.to_be_bytes();
            *exact.entry(key).or_default() += f64::from(detector.scale) * f64::from(1 + (bytes >> 12));
            record(&mut detector, &name, Access { bytes_in: bytes, ..READ });
            if i % slice_ops == 0 {
                let _ = detector.take_slice(i as u64);
            }
        }
        for (key, weight) in exact {
            let (lower, upper) = detector.table.bounds(id(&key.to_be_bytes()).hash);
            prop_assert!(f64::from(lower) <= weight * 1.001, "{key}: {lower} > {weight}");
            prop_assert!(f64::from(upper) >= weight * 0.999, "{key}: {upper} < {weight}");
        }
    }
}
