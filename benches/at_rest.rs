//! What counters cost those who do not use them: `cargo bench --bench at_rest [-- COUNTERS]`.
//!
//! A bystander sends `PING` every millisecond to a gateway with one worker, and its times are compared with those at a gateway
//! that knows no counter at all:
//!
//! - a million counters under a quota, at rest, Redis away (COUNTERS sets another number);
//! - 8,000 counters under `on_unavailable = "allow"` that are counted on while Redis is away;
//! - 4,000 combined keys under load.
//!
//! The p99 of each is to be within 2 ms of that with no counter. Beside it stand the processor time of the gateway, which says
//! what is done when nobody asks for anything, and the memory of a counter.
//!
//! Does not measure throughput: `hot_key` and `passthrough` do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench stops at the first thing that is not as it must be"
)]

#[path = "rush/processes.rs"]
#[allow(dead_code, reason = "this bench asks less of the servers")]
mod processes;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hotgate::demo::private_redis::PrivateServer;
use processes::{Gateway, LOAD_CORE, cpu_seconds, pin, wait_for};

const COUNTERS: usize = 1_000_000;
const PROBE_TIME: Duration = Duration::from_secs(10);
const PROBE_PERIOD: Duration = Duration::from_millis(1);
const P99_EXCESS_MAX: Duration = Duration::from_millis(2);
const QUOTA: &str = "[[quota]]\nmatch = 'c:*'\nlimit = 1000000000\n";

/// What a bystander saw.
struct Seen {
    p50: Duration,
    p99: Duration,
    max: Duration,
    /// Of one core.
    cpu_share: f64,
}

fn main() {
    let counters = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(COUNTERS);
    pin(std::process::id(), LOAD_CORE);
    let none = {
        let (server, gateway) = start("");
        drop(server);
        probe(&gateway)
    };
    print("no counter, Redis away", &none, &none);
    {
        let (server, gateway) =
            start(&format!("[admission]\nkeys_max = {counters}\nbytes_max = '16gb'\n{QUOTA}"));
        let before = resident_bytes(gateway.pid());
        Load::connect(&gateway).count(counters, counters);
        drop(server);
        let what = format!("{counters} counters at rest, Redis away");
        print(&what, &probe(&gateway), &none);
        println!("{what}: {} bytes for each", (resident_bytes(gateway.pid()) - before) / counters as u64);
    }
    {
        let keys = 8000;
        let (server, gateway) = start(&format!("{QUOTA}on_unavailable = 'allow'\n"));
        let mut load = Load::connect(&gateway);
        load.count(keys, keys);
        drop(server);
        // Those that are sent at first wait until it is known that Redis is away.
        load.count(keys, keys);
        print(
            "8000 counters under on_unavailable = \"allow\", Redis away, 5,000/s",
            &load.while_offering(keys, 5000, || probe(&gateway)),
            &none,
        );
    }
    let keys = 4000;
    let (_server, gateway) = start("[[rule]]\nmatch = 'c:*'\nmode = 'combine'\n");
    let mut load = Load::connect(&gateway);
    load.count(keys, keys);
    print("4000 combined keys, 10,000/s", &load.while_offering(keys, 10_000, || probe(&gateway)), &none);
}

fn start(config: &str) -> (PrivateServer, Gateway) {
    let server = wait_for(PrivateServer::start(&[])).unwrap_or_else(|error| panic!("{error}"));
    let gateway = Gateway::start(&server.address().to_string(), config);
    (server, gateway)
}

fn print(what: &str, seen: &Seen, none: &Seen) {
    let verdict = if seen.p99 <= none.p99 + P99_EXCESS_MAX { "met" } else { "NOT MET" };
    println!(
        "{what}: a bystander's PING p50 {:?}, p99 {:?}, at most {:?}; {:.1} % of a core: p99 within {P99_EXCESS_MAX:?} of none {verdict}",
        seen.p50,
        seen.p99,
        seen.max,
        seen.cpu_share * 100.0
    );
}

/// Sends `PING` every millisecond. A probe that is late counts from when it was due.
fn probe(gateway: &Gateway) -> Seen {
    let mut stream = connect(gateway);
    let (start, cpu) = (Instant::now(), cpu_seconds(gateway.pid()));
    let mut times = Vec::new();
    for turn in 1.. {
        let due = start + PROBE_PERIOD * turn;
        thread::park_timeout(due.saturating_duration_since(Instant::now()));
        // What the machine is late with is not the gateway's.
        let sent = Instant::now();
        stream.write_all(b"*1\r\n$4\r\nPING\r\n").unwrap();
        stream.read_exact(&mut [0; 7]).unwrap();
        times.push(sent.elapsed());
        if start.elapsed() > PROBE_TIME {
            break;
        }
    }
    let cpu_share = (cpu_seconds(gateway.pid()) - cpu) / start.elapsed().as_secs_f64();
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    Seen { p50: at(0.5), p99: at(0.99), max: at(1.0), cpu_share }
}

/// A connection that counts under `c:0`, `c:1` and so on.
struct Load {
    stream: TcpStream,
    next: usize,
}

impl Load {
    fn connect(gateway: &Gateway) -> Load {
        Load { stream: connect(gateway), next: 0 }
    }

    /// So many increments, over so many keys by turns. All have to be granted.
    fn count(&mut self, keys: usize, mut increments: usize) {
        while increments > 0 {
            let part = increments.min(1000);
            self.send(keys, part);
            self.receive(part);
            increments -= part;
        }
    }

    fn send(&mut self, keys: usize, increments: usize) {
        let mut requests = Vec::new();
        for _ in 0..increments {
            let key = format!("c:{}", self.next % keys);
            hotgate::resp::encode::command(&mut requests, &[b"INCR", key.as_bytes()]);
            self.next += 1;
        }
        self.stream.write_all(&requests).unwrap();
    }

    fn receive(&mut self, mut replies: usize) {
        let mut chunk = [0; 64 * 1024];
        while replies > 0 {
            let count = self.stream.read(&mut chunk).unwrap();
            assert!(count > 0, "the gateway closed the connection");
            assert!(!chunk[..count].contains(&b'-'), "{}", String::from_utf8_lossy(&chunk[..count]));
            replies -= chunk[..count].iter().filter(|byte| **byte == b'\n').count();
        }
    }

    /// Offers increments at a rate, whatever comes back, until `act` is over.
    fn while_offering<T>(mut self, keys: usize, per_second: usize, act: impl FnOnce() -> T) -> T {
        let over = Arc::new(AtomicBool::new(false));
        let offering = {
            let over = Arc::clone(&over);
            thread::spawn(move || {
                let start = Instant::now();
                let mut sent = 0;
                while !over.load(Ordering::Relaxed) {
                    let due = (start.elapsed().as_secs_f64() * per_second as f64) as usize;
                    let part = (due - sent).min(1000);
                    self.send(keys, part);
                    self.receive(part);
                    sent += part;
                    thread::park_timeout(Duration::from_millis(5));
                }
            })
        };
        let seen = act();
        over.store(true, Ordering::Relaxed);
        offering.join().expect("every increment is granted");
        seen
    }
}

fn connect(gateway: &Gateway) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Memory of a process that lies in RAM.
fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says how much");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("kilobytes") * 1024
}
