//! The cost of finding where a request or a reply ends, beside redis-protocol's decoder on the same bytes.
//!
//! Each sample scans a burst of 16, as a pipeline of that depth brings; criterion prints the time of one request
//! or reply as the inverse of its throughput in elements. `cargo bench --bench scanner`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use hotgate::resp::{ReplyScan, ReplyScanner, RequestLimits, RequestScan, RequestScanner, encode, key_slot};
use redis_protocol::resp2::decode::decode_range;

const BURST: usize = 16;

const LIMITS: RequestLimits = RequestLimits {
    bulk_bytes_max: 512 * 1024 * 1024,
    arguments_max: 1024 * 1024,
    inline_bytes_max: 64 * 1024,
    authenticated: true,
};

fn requests(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("request");
    group.throughput(Throughput::Elements(BURST as u64));
    let large = [b'x'; 1024];
    let keys: Vec<String> = (0..100).map(|index| format!("key:{index:012}")).collect();
    let mget: Vec<&[u8]> =
        std::iter::once("MGET").chain(keys.iter().map(String::as_str)).map(str::as_bytes).collect();
    let inputs: [(&str, &[&[u8]]); 4] = [
        ("GET", &[b"GET", b"key:000000012345"]),
        ("SET", &[b"SET", b"key:000000012345", b"xxx"]),
        ("SET of 1 KiB", &[b"SET", b"key:000000012345", &large]),
        ("MGET of 100", &mget),
    ];
    for (name, args) in inputs {
        let mut burst = Vec::new();
        for _ in 0..BURST {
            encode::command(&mut burst, args);
        }
        group.bench_with_input(BenchmarkId::new("hotgate", name), &burst, |bench, burst| {
            let mut scanner = RequestScanner::new(LIMITS);
            bench.iter(|| {
                let mut rest = black_box(burst.as_slice());
                while let RequestScan::Complete { len } = scanner.scan(rest) {
                    black_box(scanner.spans());
                    rest = &rest[len..];
                }
                assert!(rest.is_empty());
            });
        });
        group.bench_with_input(BenchmarkId::new("redis-protocol", name), &burst, |bench, burst| {
            bench.iter(|| decode_all(black_box(burst)));
        });
    }
    group.finish();
}

fn replies(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("reply");
    group.throughput(Throughput::Elements(BURST as u64));
    let array = format!("*100\r\n{}", "$3\r\nxxx\r\n".repeat(100));
    let bulk = format!("$1024\r\n{}\r\n", "x".repeat(1024));
    let inputs = [
        ("OK", "+OK\r\n"),
        ("integer", ":1234567\r\n"),
        ("bulk of 3", "$3\r\nxxx\r\n"),
        ("bulk of 1 KiB", &bulk),
        ("array of 100", &array),
    ];
    for (name, reply) in inputs {
        let burst = reply.repeat(BURST).into_bytes();
        group.bench_with_input(BenchmarkId::new("hotgate", name), &burst, |bench, burst| {
            let mut scanner = ReplyScanner::new();
            bench.iter(|| {
                let mut rest = black_box(burst.as_slice());
                while let ReplyScan::Complete { len } = scanner.scan(rest) {
                    rest = &rest[black_box(len)..];
                }
                assert!(rest.is_empty());
            });
        });
        group.bench_with_input(BenchmarkId::new("redis-protocol", name), &burst, |bench, burst| {
            bench.iter(|| decode_all(black_box(burst)));
        });
    }
    group.finish();
}

fn slots(bench: &mut Criterion) {
    let mut group = bench.benchmark_group("key_slot");
    for key in ["key:000000012345", "sku:{8421}:reserved"] {
        group.bench_with_input(BenchmarkId::new("hotgate", key), key.as_bytes(), |bench, key| {
            bench.iter(|| key_slot(black_box(key)));
        });
        group.bench_with_input(BenchmarkId::new("redis-protocol", key), key.as_bytes(), |bench, key| {
            bench.iter(|| redis_protocol::redis_keyslot(black_box(key)));
        });
    }
    group.finish();
}

fn decode_all(burst: &[u8]) {
    let mut rest = burst;
    while let Ok(Some((frame, len))) = decode_range(rest) {
        black_box(&frame);
        rest = &rest[len..];
    }
    assert!(rest.is_empty());
}

criterion_group!(benches, requests, replies, slots);
criterion_main!(benches);
