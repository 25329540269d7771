//! The cure is never worse than the disease: `cargo bench --bench never_worse`.
//!
//! One hot key, closed loop: the gateway with its defaults against the same gateway with combining off, and against a
//! twin that has it off as well, which shows what the machine's noise is worth. The three take turns within each round, so that
//! whatever else the machine does meets all of them. For each cell of commands, clients, pipeline and workers it prints the ratios
//! of requests per second and of the median latency, and at the end their geometric means and the cells that fall short.
//!
//! `--full` has all clients and both pipelines; `--rounds N` and `--millis N` set how often and how long. `--only WORD` runs
//! the cells whose name holds the word.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench stops at the first thing that is not as it must be"
)]

#[path = "../rush/processes.rs"]
#[allow(dead_code, reason = "this bench asks less of the servers")]
mod processes;

use std::time::Duration;

use hotgate::demo::load::{Catalogue, Connections, Saturated, Stop};
use hotgate::demo::private_redis::PrivateServer;
use processes::{Gateway, command_calls, wait_for};

const OFF: &str = "[combine]\nenabled = false\n";

/// Cells below this are named, if all their rounds but one are.
const RATIO_MIN: f64 = 0.95;
const MEAN_MIN: f64 = 0.98;

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

/// What is asked for on the command line.
struct Wanted {
    full: bool,
    rounds: usize,
    time: Duration,
    only: Option<String>,
}

/// One cell: requests per second and median latency of off, twin and defaults, by round.
struct Cell {
    name: String,
    per_second: [Vec<f64>; 3],
    median_us: [Vec<f64>; 3],
    /// Commands at Redis for each request, with the defaults.
    commands: f64,
}

fn main() {
    let wanted = wanted();
    let server = wait_for(PrivateServer::start(&[])).unwrap_or_else(|error| panic!("{error}"));
    let port = server.address().port;
    let mut catalogue = Catalogue::default();
    let loads: Vec<(&str, Vec<u32>)> = LOADS
        .iter()
        .map(|(name, commands)| {
            let add = |words: &&[&str]| {
                let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
                catalogue.add(&words, 0, 0)
            };
            (*name, commands.iter().map(add).collect())
        })
        .collect();
    let (clients, pipelines): (&[usize], &[usize]) = match wanted.full {
        true => (&[1, 2, 5, 10, 50, 200, 1000, 5000], &[1, 16, 64]),
        false => (&[1, 10, 50, 1000], &[1, 64]),
    };
    let mut cells = Vec::new();
    println!(
        "{:<28}{:>12}{:>10}{:>10}{:>10}{:>10}{:>10}",
        "", "off, req/s", "twin", "defaults", "p50 twin", "p50", "cmd/req"
    );
    for workers in [1, 2] {
        let upstream = server.address().to_string();
        let gateways = [OFF, OFF, ""].map(|config| Gateway::start_anywhere(&upstream, config, workers));
        for (load, requests) in &loads {
            for pipeline in pipelines {
                for clients in clients.iter().filter(|clients| **clients * pipeline <= 12_800) {
                    let name = format!("{load} c={clients} P={pipeline} w={workers}");
                    if wanted.only.as_ref().is_some_and(|only| !name.contains(only.as_str())) {
                        continue;
                    }
                    let cell = measure(&wanted, name, &gateways, port, |port, time| {
                        let mut connections = Connections::open(&[port], *clients, &Stop::default()).unwrap();
                        let seen = connections.saturate_with(&catalogue, requests, *pipeline, time).unwrap();
                        assert_eq!(seen.errors, 0, "requests were answered with errors");
                        seen
                    });
                    print(&cell);
                    cells.push(cell);
                }
            }
        }
    }
    conclude(&cells);
}

fn wanted() -> Wanted {
    let words: Vec<String> = std::env::args().collect();
    let after =
        |flag: &str| words.iter().position(|word| word == flag).and_then(|place| words.get(place + 1));
    let number = |flag, default| after(flag).map_or(default, |word| word.parse().expect("a number"));
    Wanted {
        full: words.iter().any(|word| word == "--full"),
        rounds: number("--rounds", 3),
        time: Duration::from_millis(number("--millis", 400) as u64),
        only: after("--only").cloned(),
    }
}

fn measure(
    wanted: &Wanted,
    name: String,
    gateways: &[Gateway; 3],
    redis: u16,
    run: impl Fn(u16, Duration) -> Saturated,
) -> Cell {
    let mut cell =
        Cell { name, per_second: Default::default(), median_us: Default::default(), commands: 0.0 };
    // A key is hot, and its course settled, before anything counts.
    run(gateways[2].port, Duration::from_millis(400));
    let (mut commands, mut requests) = (0, 0);
    for round in 0..wanted.rounds {
        for place in 0..3 {
            let contender = (place + round) % 3;
            let before = calls(redis);
            let seen = run(gateways[contender].port, wanted.time);
            if contender == 2 {
                commands += calls(redis) - before;
                requests += seen.replies;
            }
            cell.per_second[contender].push(seen.per_second());
            cell.median_us[contender].push(seen.latency_us.value_at_quantile(0.5) as f64);
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

impl Cell {
    /// The ratios of a contender to combining off, round by round.
    fn ratios(&self, contender: usize) -> Vec<f64> {
        self.per_second[contender].iter().zip(&self.per_second[0]).map(|(theirs, off)| theirs / off).collect()
    }

    fn median_ratio(&self, contender: usize) -> f64 {
        middle(&self.median_us[contender]) / middle(&self.median_us[0])
    }

    /// All rounds but one are below what is asked for.
    fn falls_short(&self) -> bool {
        let ratios = self.ratios(2);
        ratios.iter().filter(|ratio| **ratio < RATIO_MIN).count() + 1 >= ratios.len().max(2)
            && middle(&ratios) < RATIO_MIN
    }
}

fn print(cell: &Cell) {
    println!(
        "{:<28}{:>12.0}{:>10.2}{:>10.2}{:>10.2}{:>10.2}{:>10.3}",
        cell.name,
        middle(&cell.per_second[0]),
        middle(&cell.ratios(1)),
        middle(&cell.ratios(2)),
        cell.median_ratio(1),
        cell.median_ratio(2),
        cell.commands,
    );
}

fn conclude(cells: &[Cell]) {
    let mean = |contender: usize| {
        let logarithms: Vec<f64> =
            cells.iter().flat_map(|cell| cell.ratios(contender)).map(f64::ln).collect();
        (logarithms.iter().sum::<f64>() / logarithms.len().max(1) as f64).exp()
    };
    let verdict = |met| if met { "met" } else { "NOT MET" };
    println!(
        "requests per second against off, geometric mean: twin {:.3}, defaults {:.3}: at least {MEAN_MIN} {}",
        mean(1),
        mean(2),
        verdict(mean(2) >= MEAN_MIN)
    );
    let short: Vec<&str> =
        cells.iter().filter(|cell| cell.falls_short()).map(|cell| cell.name.as_str()).collect();
    println!("no cell below {RATIO_MIN} {}", verdict(short.is_empty()));
    short.iter().for_each(|name| println!("  falls short: {name}"));
}

fn middle(values: &[f64]) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
