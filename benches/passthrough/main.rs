//! What a request costs the gateway that passes it through: `cargo bench --bench passthrough [-- --rounds N]`.
//!
//! redis-benchmark with 50 clients runs GET and INCR over 100,000 keys, without pipelining and with 16 requests in a
//! pipeline, against Redis directly (what the work itself costs), nutcracker (twemproxy, the rival of the targets) and
//! hotgate with one worker, in front of one Redis and of a cluster of three masters. The contenders take turns in every
//! round, so that whatever else the machine does meets all of them, and medians over the rounds are compared. The measure
//! is processor time per request, which a busy neighbour disturbs less than throughput.
//!
//! Needs redis-server, redis-benchmark and nutcracker on PATH (or in /usr/sbin). Does not measure latency.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench stops at the first thing that is not as it must be"
)]

#[path = "../rush/awake.rs"]
mod awake;
mod processes;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use processes::{Contender, Measured, Process};

const KEYS: usize = 100_000;
const CLIENTS: usize = 50;
const IDLE_CONNECTIONS: usize = 10_000;
const IDLE_MEMORY_MIB_MAX: f64 = 100.0;

/// One column of the table.
struct Load {
    name: &'static str,
    command: &'static str,
    pipeline: usize,
    /// Enough for a second of processor time or more.
    requests: usize,
    /// hotgate's time over nutcracker's in the same run may be this, in front of one Redis and in front of a cluster.
    ratio_max: [f64; 2],
}

const LOADS: [Load; 4] = [
    Load { name: "GET P=1", command: "get", pipeline: 1, requests: 150_000, ratio_max: [0.9, 1.05] },
    Load { name: "INCR P=1", command: "incr", pipeline: 1, requests: 150_000, ratio_max: [0.9, 1.05] },
    Load { name: "GET P=16", command: "get", pipeline: 16, requests: 1_500_000, ratio_max: [0.7, 0.9] },
    Load { name: "INCR P=16", command: "incr", pipeline: 16, requests: 1_500_000, ratio_max: [0.7, 0.9] },
];

const DIRECT: &str = "redis itself";
const NUTCRACKER: &str = "nutcracker, one redis";
const SINGLE: &str = "hotgate, one redis";
const CLUSTER: &str = "hotgate, three masters";

fn main() {
    let rounds = argument("--rounds").unwrap_or(5);
    let scale = argument("--percent-of-requests").unwrap_or(100);
    let awake = awake::keep();
    let contenders = processes::start();
    for contender in &contenders {
        fill(contender.port);
    }
    let mut measured: BTreeMap<(&str, &str, String), Vec<f64>> = BTreeMap::new();
    for round in 1..=rounds {
        for load in &LOADS {
            for contender in &contenders {
                for Measured { process, cpu_us } in run(contender, load, load.requests * scale / 100) {
                    measured.entry((contender.name, load.name, process)).or_default().push(cpu_us);
                }
            }
        }
        eprintln!("round {round} of {rounds} is done");
    }
    let medians: Medians = measured.into_iter().map(|(row, values)| (row, median(values))).collect();
    println!("\n{}", awake.remark());
    print_times(&medians, rounds);
    print_ratios(&medians);
    print_idle_memory(&contenders);
}

type Medians = BTreeMap<(&'static str, &'static str, String), f64>;

/// The value of a flag on the command line. cargo passes a `--bench` of its own, which is ignored.
fn argument(flag: &str) -> Option<usize> {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == flag)?;
    Some(arguments.get(at + 1)?.parse().expect("a number"))
}

/// Sets every key that redis-benchmark's GET may draw, so that none misses.
fn fill(port: u16) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    for first in (0..KEYS).step_by(500) {
        let requests: Vec<String> = (first..first + 500)
            .map(|key| format!("*3\r\n$3\r\nSET\r\n$16\r\nkey:{key:012}\r\n$3\r\nxxx\r\n"))
            .collect();
        stream.write_all(requests.concat().as_bytes()).unwrap();
        let mut replies = vec![0; 500 * 5];
        stream.read_exact(&mut replies).unwrap();
        assert_eq!(replies, b"+OK\r\n".repeat(500));
    }
}

/// The processor time that each process of `contender` spends on a request of `load`.
fn run(contender: &Contender, load: &Load, requests: usize) -> Vec<Measured> {
    let before: Vec<u64> = contender.processes.iter().map(Process::cpu_us).collect();
    processes::redis_benchmark(contender.port, CLIENTS, KEYS, load.command, load.pipeline, requests);
    let mut spent: BTreeMap<&str, u64> = BTreeMap::new();
    for (process, before) in contender.processes.iter().zip(before) {
        *spent.entry(process.name).or_default() += process.cpu_us() - before;
    }
    spent
        .into_iter()
        .map(|(process, us)| Measured { process: process.to_string(), cpu_us: us as f64 / requests as f64 })
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 }
}

fn print_times(medians: &Medians, rounds: usize) {
    println!("processor time per request in µs, median of {rounds} rounds, {CLIENTS} clients, {KEYS} keys");
    print!("{:<26}{:<12}", "", "process");
    LOADS.iter().for_each(|load| print!("{:>11}", load.name));
    println!();
    for contender in [DIRECT, NUTCRACKER, SINGLE, CLUSTER] {
        for process in ["redis", "nutcracker", "hotgate"] {
            let row: Vec<f64> = LOADS
                .iter()
                .filter_map(|load| medians.get(&(contender, load.name, process.to_string())).copied())
                .collect();
            if !row.is_empty() {
                print!("{contender:<26}{process:<12}");
                row.iter().for_each(|us| print!("{us:>11.2}"));
                println!();
            }
        }
    }
}

fn print_ratios(medians: &Medians) {
    println!("\nhotgate's time over nutcracker's, with the most it may be");
    for (place, contender) in [SINGLE, CLUSTER].into_iter().enumerate() {
        print!("{contender:<38}");
        for load in &LOADS {
            let time = |contender, process: &str| medians[&(contender, load.name, process.to_string())];
            let ratio = time(contender, "hotgate") / time(NUTCRACKER, "nutcracker");
            let most = load.ratio_max[place];
            print!(
                "  {}: {ratio:.2} (max {most}) {}",
                load.name,
                if ratio <= most { "met" } else { "MISSED" }
            );
        }
        println!();
    }
}

/// Each connection has had one request answered, as those of a pool have, before it falls idle.
fn print_idle_memory(contenders: &[Contender]) {
    let contender = contenders.iter().find(|contender| contender.name == SINGLE).unwrap();
    let gateway = contender.processes.iter().find(|process| process.name == "hotgate").unwrap();
    let before = gateway.resident_mib();
    let connections: Vec<TcpStream> = (0..IDLE_CONNECTIONS)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", contender.port)).expect("one more connection");
            stream.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
            let mut reply = [0; 7];
            stream.read_exact(&mut reply).unwrap();
            stream
        })
        .collect();
    let with = gateway.resident_mib();
    println!(
        "\nmemory of hotgate with {} idle connections: {with:.1} MiB (max {IDLE_MEMORY_MIB_MAX}) {}, {:.1} MiB of it for them",
        connections.len(),
        if with <= IDLE_MEMORY_MIB_MAX { "met" } else { "MISSED" },
        with - before,
    );
}
