//! What folding saves Redis, command by command: `cargo bench --bench folds`.
//!
//! 200 connections send the same commands on one key, 16 in each pipeline, closed-loop, through two gateways with one worker: one
//! with combining off, one that a rule has fold. Redis and the gateways share one core, the load has the other. Both take
//! turns in every round, and medians over the rounds are compared: requests per second, Redis's processor time per request,
//! and how many commands Redis had for each request.
//!
//! Does not measure whether folding begins when it should: `never_worse` and `rush` do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench stops at the first thing that is not as it must be"
)]

#[path = "rush/processes.rs"]
#[allow(dead_code, reason = "this bench asks less of the servers")]
mod processes;

use std::time::Duration;

use hotgate::demo::load::{Catalogue, Connections, Stop};
use hotgate::demo::private_redis::PrivateServer;
use processes::{Gateway, LOAD_CORE, SERVER_CORE, ask, command_calls, cpu_seconds, pin, wait_for};

const CONNECTIONS: usize = 200;
const PIPELINE: usize = 16;
const ROUNDS: usize = 3;
const ROUND_TIME: Duration = Duration::from_millis(500);

/// Commands that take turns on each connection, on one key.
const CASES: [&[&str]; 11] = [
    &["INCR k"],
    &["INCR k", "EXPIRE k 60"],
    &["INCR k", "EXPIRE k 60 NX"],
    &["MULTI", "INCR k", "EXPIRE k 60", "EXEC"],
    &["MULTI", "HINCRBY k views 1", "HINCRBY k likes 1", "EXEC"],
    &["SET k value EX 60"],
    &["SET k value NX PX 60000"],
    &["HSET k price 5 stock 7"],
    &["HINCRBY k views 1", "HINCRBY k likes 1"],
    &["RPUSH k element"],
    &["SADD k member"],
];

/// One round through one gateway.
#[derive(Clone, Copy, Default)]
struct Round {
    per_second: f64,
    /// Redis's processor time per request, in µs.
    redis_us: f64,
    /// Commands that Redis had for each request.
    commands: f64,
}

fn main() {
    pin(std::process::id(), LOAD_CORE);
    let server = wait_for(PrivateServer::start(&[])).unwrap_or_else(|error| panic!("{error}"));
    pin(server.pid(), SERVER_CORE);
    let upstream = server.address().to_string();
    let off = Gateway::start(&upstream, "[combine]\nenabled = false\n");
    let folding = Gateway::start(&upstream, "[[rule]]\nmatch = 'k'\nmode = 'combine'\n");
    println!(
        "one hot key, {CONNECTIONS} connections, P={PIPELINE}, medians of {ROUNDS} rounds: off -> folded"
    );
    for case in CASES {
        let mut catalogue = Catalogue::default();
        let requests: Vec<u32> = case
            .iter()
            .map(|line| catalogue.add(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>(), 0, 0))
            .collect();
        let mut rounds = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (gateway, rounds) in [&off, &folding].into_iter().zip(&mut rounds) {
                rounds.push(round(&server, gateway, &catalogue, &requests));
            }
        }
        let [off, folded] = rounds.map(|rounds| Round {
            per_second: median(&rounds, |round| round.per_second),
            redis_us: median(&rounds, |round| round.redis_us),
            commands: median(&rounds, |round| round.commands),
        });
        println!(
            "{:44} {:7.0} -> {:7.0} requests/s, {:.3} -> {:.4} µs of Redis, {:.2} -> {:.4} commands per request",
            case.join("; "),
            off.per_second,
            folded.per_second,
            off.redis_us,
            folded.redis_us,
            off.commands,
            folded.commands
        );
    }
}

fn round(server: &PrivateServer, gateway: &Gateway, catalogue: &Catalogue, requests: &[u32]) -> Round {
    let port = server.address().port;
    ask(port, "DEL k");
    let mut connections = Connections::open(&[gateway.port], CONNECTIONS, &Stop::default()).unwrap();
    let calls = || command_calls(port).values().sum::<u64>();
    let before = (calls(), cpu_seconds(server.pid()));
    let seen = connections.saturate_with(catalogue, requests, PIPELINE, ROUND_TIME).unwrap();
    let redis_us = (cpu_seconds(server.pid()) - before.1) * 1e6;
    let commands = calls() - before.0;
    assert_eq!(seen.errors, 0, "requests were answered with errors");
    let replies = seen.replies as f64;
    Round { per_second: seen.per_second(), redis_us: redis_us / replies, commands: commands as f64 / replies }
}

fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
