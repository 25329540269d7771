//! What TLS costs, per request and per handshake, and what a storm of handshakes does to clients that are connected:
//! `cargo bench --bench tls [-- --rounds N]`.
//!
//! Contenders with one thread each: Redis's own TLS (OpenSSL), HAProxy before a plain Redis, and hotgate before a plain Redis and before one
//! that speaks TLS too. redis-benchmark runs GETs over TLS; `openssl s_time` makes sessions, new and resumed. All show the same certificate (P-256). The
//! contenders take turns in every round, and medians are compared. Then 5,000 clients begin a handshake at once, again and again,
//! while redis-benchmark measures: they send their greeting and leave when the server has answered it, which is what costs the
//! server most and the machine's other half least.
//!
//! Needs redis-server and redis-benchmark with TLS, openssl and haproxy. `HOTGATE_PROGRAM` names another gateway than the one that was built.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench stops at the first thing that is not as it must be"
)]

#[path = "../rush/awake.rs"]
mod awake;
mod contenders;
mod storm;

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use contenders::{Contender, Files};

const CLIENTS: usize = 50;
const HANDSHAKES_AT_ONCE: usize = 5_000;

/// Seconds that `openssl s_time` makes sessions for.
const SESSIONS_S: usize = 2;

/// In a storm the gateway's p99 may be this many times what it is without.
const P99_RATIO_MAX: f64 = 2.0;

const REQUESTS: [(&str, usize, usize); 2] = [("GET P=1", 1, 100_000), ("GET P=16", 16, 800_000)];
const SESSIONS: [(&str, &str); 2] = [("new session", "-new"), ("resumed", "-reuse")];

fn main() {
    let rounds = argument("--rounds").unwrap_or(3);
    let awake = awake::keep();
    let files = Files::new();
    let contenders = contenders::start(&files);
    let mut measured: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for round in 1..=rounds {
        for contender in &contenders {
            for (name, pipeline, requests) in REQUESTS {
                let us = contender.cpu_us(|| {
                    benchmark(contender, &files, pipeline, requests);
                    requests as u64
                });
                measured.entry((contender.name, name)).or_default().push(us);
            }
            for (name, flag) in SESSIONS {
                let us = contender.cpu_us(|| sessions(contender, flag));
                measured.entry((contender.name, name)).or_default().push(us);
            }
        }
        eprintln!("round {round} of {rounds} is done");
    }
    println!("\n{}", awake.remark());
    println!(
        "processor time of what speaks TLS with clients, in µs, median of {rounds} rounds, {CLIENTS} clients"
    );
    let columns = || REQUESTS.iter().map(|(name, ..)| *name).chain(SESSIONS.iter().map(|(name, _)| *name));
    print!("{:<34}", "");
    columns().for_each(|name| print!("{name:>13}"));
    println!();
    for contender in &contenders {
        print!("{:<34}", contender.name);
        columns().for_each(|name| print!("{:>13.2}", median(measured[&(contender.name, name)].clone())));
        println!();
    }
    in_a_storm(&contenders, &files, rounds);
}

/// Measures established clients alone, and beside handshakes.
fn in_a_storm(contenders: &[Contender], files: &Files, rounds: usize) {
    println!(
        "\nGET over TLS by {CLIENTS} established clients, p99 in ms, median of {rounds} rounds; beside {HANDSHAKES_AT_ONCE} handshakes at once"
    );
    for contender in contenders {
        let (mut alone, mut beside, answered) = (Vec::new(), Vec::new(), AtomicU64::new(0));
        for _ in 0..rounds {
            alone.push(benchmark(contender, files, 1, 60_000));
            let is_over = AtomicBool::new(false);
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        let count = storm::break_loose(contender.port, files, HANDSHAKES_AT_ONCE);
                        answered.fetch_add(count, Ordering::Relaxed);
                    }
                });
                beside.push(benchmark(contender, files, 1, 60_000));
                is_over.store(true, Ordering::Relaxed);
            });
        }
        let [alone, beside] = [median(alone), median(beside)];
        let ratio = beside / alone;
        let judged = match contender.is_hotgate() {
            true if ratio <= P99_RATIO_MAX => format!(" (max {P99_RATIO_MAX}) met"),
            true => format!(" (max {P99_RATIO_MAX}) MISSED"),
            false => String::new(),
        };
        let answered = answered.into_inner();
        println!(
            "{:<34}alone {alone:>7.3}  beside {beside:>7.3}  ratio {ratio:>5.2}{judged}  {answered} greetings answered",
            contender.name
        );
    }
}

/// The value of a flag on the command line. cargo passes a `--bench` of its own, which is ignored.
fn argument(flag: &str) -> Option<usize> {
    let arguments: Vec<String> = std::env::args().collect();
    let at = arguments.iter().position(|argument| argument == flag)?;
    Some(arguments.get(at + 1)?.parse().expect("a number"))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Runs redis-benchmark to its end. Returns the 99th percentile of its times in milliseconds.
fn benchmark(contender: &Contender, files: &Files, pipeline: usize, requests: usize) -> f64 {
    let numbers = [("-p", contender.port.into()), ("-c", CLIENTS), ("-P", pipeline), ("-n", requests)];
    let mut benchmark = Command::new("redis-benchmark");
    benchmark.args(["--csv", "-t", "get", "--tls", "--cacert"]).arg(&files.authority);
    for (flag, number) in numbers {
        benchmark.args([flag, &number.to_string()]);
    }
    let output = benchmark.output().expect("redis-benchmark is installed (redis-tools)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // "test","rps","avg_latency_ms","min","p50","p95","p99","max"
    let row = text.lines().find(|line| line.starts_with("\"GET\""));
    let said = || format!("{}: {text}{}", contender.name, String::from_utf8_lossy(&output.stderr));
    let row = row.unwrap_or_else(|| panic!("{}", said()));
    row.split(',')
        .nth(6)
        .and_then(|p99| p99.trim_matches('"').parse().ok())
        .expect("the seventh field is p99")
}

/// Makes sessions one after the other, and returns how many.
fn sessions(contender: &Contender, flag: &str) -> u64 {
    let output = Command::new("openssl")
        .args(["s_time", flag, "-connect", &format!("127.0.0.1:{}", contender.port)])
        .args(["-time", &SESSIONS_S.to_string()])
        .output()
        .expect("openssl is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    // "1234 connections in 2 real seconds, 0 bytes read per connection"
    let line = text.lines().find(|line| line.contains("real seconds")).unwrap_or_else(|| panic!("{text}"));
    line.split(' ').next().and_then(|count| count.parse().ok()).expect("the first word is a number")
}
