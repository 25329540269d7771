//! How soon a key that becomes hot is known to whoever listens: `cargo bench --bench hot_notice`.
//!
//! The real program before a real server, 20,000 requests per second over Zipf-distributed keys. In each of 50 tries a key
//! that nobody has touched takes over a tenth of the traffic from one millisecond to the next; the clock runs from its
//! first request to the message about it on `__hotkey_notify__`, which leaves when the hot set is published.
//!
//! The delay as the window and the thresholds make it, without a machine in between, is in `tests/models/detection_accuracy.rs`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench stops at the first thing that is not as it must be"
)]
#![allow(clippy::disallowed_methods, reason = "the threads of the load have nothing to do between two ticks")]

#[path = "../tests/detection_streams/mod.rs"]
#[allow(dead_code, reason = "the hash is for the other benches")]
mod detection_streams;
#[path = "rush/processes.rs"]
#[allow(dead_code, reason = "this bench asks less of the servers")]
mod processes;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use detection_streams::{Stream, name};
use hotgate::demo::private_redis::PrivateServer;
use hotgate::resp::encode;
use processes::{Gateway, wait_for};

const TRIES: u64 = 50;
const TICK: Duration = Duration::from_millis(1);
const REQUESTS_PER_TICK: usize = 20;
const HOT_PER_TICK: usize = REQUESTS_PER_TICK / 10;
const KEYS: usize = 100_000;
/// Between two tries: the window that the last try has filled must have passed.
const PAUSE: Duration = Duration::from_millis(1_300);
const MEDIAN_MS_MAX: f64 = 200.0;
const WORST_MS_MAX: f64 = 400.0;

fn main() {
    let server = wait_for(PrivateServer::start(&[])).unwrap_or_else(|error| panic!("{error}"));
    let gateway = Gateway::start(&server.address().to_string(), "");
    let mut notices = TcpStream::connect(("127.0.0.1", gateway.port)).unwrap();
    notices.write_all(b"SUBSCRIBE __hotkey_notify__\r\n").unwrap();
    let mut notices = BufReader::new(notices).lines().map_while(Result::ok);
    let (hot_key, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let traffic = {
        let (hot_key, over, port) = (Arc::clone(&hot_key), Arc::clone(&over), gateway.port);
        thread::spawn(move || send(port, &hot_key, &over))
    };
    let mut delays_ms: Vec<f64> = (1..=TRIES)
        .map(|number| {
            thread::sleep(PAUSE);
            let started = Instant::now();
            hot_key.store(number, Ordering::Relaxed);
            let key = format!("hot:{number}\"");
            let hot = |line: &String| line.contains(&key) && line.contains("\"hot\"");
            notices.find(hot).expect("a message about the key");
            let delay_ms = started.elapsed().as_secs_f64() * 1e3;
            hot_key.store(0, Ordering::Relaxed);
            delay_ms
        })
        .collect();
    over.store(true, Ordering::Relaxed);
    traffic.join().expect("the traffic went on to the end");
    delays_ms.sort_by(f64::total_cmp);
    let (median, worst) = (delays_ms[delays_ms.len() / 2], delays_ms[delays_ms.len() - 1]);
    let verdict = |met| if met { "met" } else { "NOT MET" };
    println!(
        "from nothing to 10 % of traffic, {TRIES} tries: known after {median:.0} ms in the median (at most \
         {MEDIAN_MS_MAX:.0}: {}), {worst:.0} ms at worst (at most {WORST_MS_MAX:.0}: {})",
        verdict(median <= MEDIAN_MS_MAX),
        verdict(worst <= WORST_MS_MAX)
    );
}

/// Sends at an even rate, and reads nothing but to make room.
fn send(port: u16, hot_key: &AtomicU64, over: &AtomicBool) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut replies = stream.try_clone().unwrap();
    thread::spawn(move || {
        let mut chunk = [0; 1 << 16];
        while replies.read(&mut chunk).is_ok_and(|count| count > 0) {}
    });
    let mut zipf = Stream::zipf(KEYS, 1.0, 1);
    let mut requests = Vec::new();
    let mut due = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let hot = hot_key.load(Ordering::Relaxed);
        let hot_count = if hot == 0 { 0 } else { HOT_PER_TICK };
        requests.clear();
        for _ in 0..REQUESTS_PER_TICK - hot_count {
            encode::command(&mut requests, &[b"GET", &name(zipf.draw())]);
        }
        for _ in 0..hot_count {
            encode::command(&mut requests, &[b"INCR", format!("hot:{hot}").as_bytes()]);
        }
        stream.write_all(&requests).unwrap();
        due += TICK;
        thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}
