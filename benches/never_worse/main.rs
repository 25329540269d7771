//! The cure is never worse than the disease: `cargo bench --bench never_worse`.
//!
//! One hot key: the gateway with its defaults against the same gateway with combining off, and against a
//! twin that has it off as well, which shows what the machine's noise is worth. The three take turns within each round, so that
//! whatever else the machine does meets all of them. First closed loops, for each load, number of clients, pipeline and number of workers; then
//! open loops at a tenth, a half, 0.9 and 1.0 of what the gateway without combining takes, with requests on other keys beside. For each cell it
//! prints the ratios of requests per second (with the interval of 95 % over the rounds), of the median and of p99, and at the end the
//! geometric means and the cells that fall short.
//!
//! `--full` has all clients and pipelines, `--short` one load and few of both in two rounds; `--rounds N` and `--millis N` set how often and how
//! long. `--only WORD` runs the cells whose name holds the word (`open` is in the name of open loops).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench stops at the first thing that is not as it must be"
)]

#[path = "../rush/processes.rs"]
#[allow(dead_code, reason = "this bench asks less of the servers")]
mod processes;

mod cell;
mod open;

use std::time::Duration;

use cell::{Cell, Seen};
use hotgate::demo::load::{Catalogue, Connections, Stop};
use hotgate::demo::private_redis::PrivateServer;
use processes::{Gateway, command_calls, wait_for};

const OFF: &str = "[combine]\nenabled = false\n";

/// A load: its name, and the commands that take turns.
const LOADS: [(&str, &[&[&str]]); 5] = [
    ("INCR", &[&["INCR", "hot:counter"]]),
    ("GET", &[&["GET", "hot:counter"]]),
    ("HINCRBY", &[&["HINCRBY", "hot:hash", "field", "2"]]),
    ("SET", &[&["SET", "hot:text", "a value of some bytes"]]),
    (
        "mix",
        &[
            &["INCR", "hot:mix"],
            &["GET", "hot:mix"],
            &["INCRBY", "hot:mix", "5"],
            &["GET", "hot:mix"],
            &["SET", "hot:mix", "7"],
        ],
    ),
];

/// How much is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Short,
    Usual,
    Full,
}

/// What is asked for on the command line.
struct Wanted {
    extent: Extent,
    rounds: usize,
    time: Duration,
    only: Option<String>,
}

impl Wanted {
    fn of_command_line() -> Wanted {
        let words: Vec<String> = std::env::args().collect();
        let has = |flag: &str| words.iter().any(|word| word == flag);
        let after =
            |flag: &str| words.iter().position(|word| word == flag).and_then(|place| words.get(place + 1));
        let number = |flag, default| after(flag).map_or(default, |word| word.parse().expect("a number"));
        let extent = match (has("--short"), has("--full")) {
            (true, _) => Extent::Short,
            (_, true) => Extent::Full,
            _ => Extent::Usual,
        };
        Wanted {
            extent,
            rounds: number("--rounds", if extent == Extent::Short { 2 } else { 3 }),
            time: Duration::from_millis(number("--millis", 400) as u64),
            only: after("--only").cloned(),
        }
    }

    fn skips(&self, name: &str) -> bool {
        self.only.as_ref().is_some_and(|only| !name.contains(only.as_str()))
    }

    fn loads(&self) -> &'static [(&'static str, &'static [&'static [&'static str]])] {
        if self.extent == Extent::Short { &LOADS[..1] } else { &LOADS }
    }

    fn workers(&self) -> &'static [usize] {
        if self.extent == Extent::Short { &[1] } else { &[1, 2] }
    }
}

fn main() {
    let wanted = Wanted::of_command_line();
    let server = wait_for(PrivateServer::start(&[])).unwrap_or_else(|error| panic!("{error}"));
    let port = server.address().port;
    let upstream = server.address().to_string();
    let mut cells = Vec::new();
    Cell::print_heading();
    for workers in wanted.workers() {
        let gateways = [OFF, OFF, ""].map(|config| Gateway::start_anywhere(&upstream, config, *workers));
        let ports = gateways.each_ref().map(|gateway| gateway.port);
        for (load, commands) in wanted.loads() {
            closed_loops(&wanted, (load, commands), (port, ports), *workers, &mut cells);
            open::loops(&wanted, (load, commands), (port, ports), *workers, &mut cells);
        }
    }
    cell::conclude(&cells);
}

fn closed_loops(
    wanted: &Wanted,
    (load, commands): (&str, &[&[&str]]),
    (redis, ports): (u16, [u16; 3]),
    workers: usize,
    cells: &mut Vec<Cell>,
) {
    let mut catalogue = Catalogue::default();
    let requests: Vec<u32> = commands.iter().map(|words| add(&mut catalogue, words, 0)).collect();
    let (clients, pipelines): (&[usize], &[usize]) = match wanted.extent {
        Extent::Short => (&[2, 50], &[1, 16]),
        Extent::Usual => (&[1, 10, 50, 1000], &[1, 64]),
        Extent::Full => (&[1, 2, 5, 10, 50, 200, 1000, 5000], &[1, 16, 64]),
    };
    for pipeline in pipelines {
        for clients in clients.iter().filter(|clients| **clients * pipeline <= 12_800) {
            let name = format!("{load} c={clients} P={pipeline} w={workers}");
            if wanted.skips(&name) {
                continue;
            }
            let cell = measure(wanted, name, redis, |contender, time| {
                let mut connections =
                    Connections::open(&[ports[contender]], *clients, &Stop::default()).unwrap();
                let seen = connections.saturate_with(&catalogue, &requests, *pipeline, time).unwrap();
                assert_eq!(seen.errors, 0, "requests were answered with errors");
                let us = |quantile| seen.latency_us.value_at_quantile(quantile) as f64;
                let figures = Seen {
                    per_second: seen.per_second(),
                    p50_us: us(0.5),
                    p99_us: us(0.99),
                    bystander_p99_us: None,
                };
                (figures, seen.replies)
            });
            cell.print();
            cells.push(cell);
        }
    }
}

fn add(catalogue: &mut Catalogue, words: &[&str], class: usize) -> u32 {
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
    catalogue.add(&words, 0, class)
}

/// Has the three take turns. `run` says what one gave in so much time, and how many requests that was.
fn measure(wanted: &Wanted, name: String, redis: u16, run: impl Fn(usize, Duration) -> (Seen, u64)) -> Cell {
    let mut cell = Cell { name, seen: Default::default(), commands: 0.0 };
    // A key is hot, and its course settled, before anything counts.
    run(2, Duration::from_millis(400));
    let (mut commands, mut requests) = (0, 0);
    for round in 0..wanted.rounds {
        for place in 0..3 {
            let contender = (place + round) % 3;
            let before = calls(redis);
            let (seen, replies) = run(contender, wanted.time);
            if contender == 2 {
                commands += calls(redis) - before;
                requests += replies;
            }
            cell.seen[contender].push(seen);
        }
    }
    cell.commands = commands as f64 / requests as f64;
    cell
}

/// Commands on data that Redis has executed.
fn calls(port: u16) -> u64 {
    let calls = command_calls(port);
    ["incr", "incrby", "get", "set", "hincrby", "evalsha", "eval"]
        .iter()
        .filter_map(|name| calls.get(*name))
        .sum()
}
