//! What a request for a hot key costs, through one worker and with Redis alone: `cargo bench --bench hot_key`.
//!
//! 50 connections, one key, 16 and 64 requests in each pipeline, closed-loop: increments that are combined; reads that are
//! combined, and reads answered from copies under either policy of `read`. Redis has one core for itself when it is on its
//! own, and shares it with the gateway when there is one; the load has the other. The contenders take turns in every round,
//! and medians over the rounds are compared. The cost is processor time per request: of redis-server without a gateway, of
//! hotgate with one.
//!
//! At the end it prints what one flush costs Redis with the token of `exactly_once` and without, as Redis itself counts it
//! (`INFO commandstats`).
//!
//! Does not measure latency: `rush` does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench stops at the first thing that is not as it must be"
)]

#[path = "rush/awake.rs"]
mod awake;
#[path = "rush/processes.rs"]
#[allow(dead_code, reason = "this bench asks less of the servers")]
mod processes;

use std::time::Duration;

use hotgate::demo::load::{Catalogue, Connections, Stop};
use hotgate::demo::private_redis::PrivateServer;
use processes::{Gateway, LOAD_CORE, SERVER_CORE, ask, cpu_seconds, pin, wait_for};

const CLIENTS: usize = 50;
const PIPELINES: [usize; 2] = [16, 64];
const ROUNDS: usize = 5;
const ROUND_TIME: Duration = Duration::from_secs(1);
const RULES: &str = "[[rule]]\nmatch = 'sku:*'\nmode = 'combine'\n\
                     [[rule]]\nmatch = 'tracked:*'\nread = 'tracked'\n\
                     [[rule]]\nmatch = 'ttl:*'\nread = { ttl = '100ms' }\n";

/// A command, how the gateway answers it, and the key.
const CONTENDERS: [(&str, &str, &str); 4] = [
    ("INCR", "combined", "sku:{8421}:reserved"),
    ("GET", "combined", "sku:{8421}:sold"),
    ("GET", "from copies, tracked", "tracked:{8421}"),
    ("GET", "from copies, ttl = 100ms", "ttl:{8421}"),
];

/// One round of one contender.
#[derive(Clone)]
struct Round {
    /// Processor time of the contender per request, in µs.
    cpu_us: f64,
    /// Of the Redis behind the gateway.
    redis_us: f64,
    per_second: f64,
}

fn main() {
    pin(std::process::id(), LOAD_CORE);
    let awake = awake::keep();
    let server = wait_for(PrivateServer::start(&[])).unwrap_or_else(|error| panic!("{error}"));
    pin(server.pid(), SERVER_CORE);
    let gateway = Gateway::start(&server.address().to_string(), RULES);
    for (_, _, key) in CONTENDERS {
        ask(server.address().port, &format!("SET {key} 1000"));
    }
    let mut catalogue = Catalogue::default();
    let requests: Vec<u32> = CONTENDERS
        .iter()
        .map(|(command, _, key)| catalogue.add(&[command.as_bytes(), key.as_bytes()], 0, 0))
        .collect();
    println!("one hot key, {CLIENTS} clients, medians of {ROUNDS} rounds. {}", awake.remark());
    for pipeline in PIPELINES {
        let round = |port: u16, pid: u32, request: u32| {
            let mut connections = Connections::open(&[port], CLIENTS, &Stop::default()).unwrap();
            let before = (cpu_seconds(pid), cpu_seconds(server.pid()));
            let seen = connections.saturate(&catalogue, request, pipeline, ROUND_TIME).unwrap();
            assert_eq!(seen.errors, 0, "requests were answered with errors");
            let us = |seconds: f64| seconds * 1e6 / seen.replies as f64;
            Round {
                cpu_us: us(cpu_seconds(pid) - before.0),
                redis_us: us(cpu_seconds(server.pid()) - before.1),
                per_second: seen.per_second(),
            }
        };
        let (mut direct, mut through) = (vec![Vec::new(); requests.len()], vec![Vec::new(); requests.len()]);
        for _ in 0..ROUNDS {
            for (place, request) in requests.iter().enumerate() {
                direct[place].push(round(server.address().port, server.pid(), *request));
                through[place].push(round(gateway.port, gateway.pid(), *request));
            }
        }
        for (place, (command, how, _)) in CONTENDERS.iter().enumerate() {
            print(&format!("{command} P={pipeline} {how}"), &direct[place], &through[place]);
        }
    }
    print_cost_of_tokens(&server, &gateway, &catalogue, requests[0]);
}

fn print_cost_of_tokens(server: &PrivateServer, plain: &Gateway, catalogue: &Catalogue, increment: u32) {
    let port = server.address().port;
    let tokens =
        Gateway::start(&server.address().to_string(), &format!("[combine]\nexactly_once = true\n{RULES}"));
    let flush_us = |gateway: &Gateway, command: &str| {
        ask(port, "CONFIG RESETSTAT");
        let mut connections = Connections::open(&[gateway.port], CLIENTS, &Stop::default()).unwrap();
        connections.saturate(catalogue, increment, 1, ROUND_TIME).unwrap();
        command_us(port, command)
    };
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        with.push(flush_us(&tokens, "evalsha"));
        without.push(flush_us(plain, "incrby"));
    }
    let (with, without) = (middle(with), middle(without));
    println!("one flush in Redis: {with:.2} µs with a token (a script), {without:.2} µs without (INCRBY)");
}

/// What a command took Redis in the mean since the last `CONFIG RESETSTAT`, in µs, without reading and writing.
fn command_us(port: u16, command: &str) -> f64 {
    let stats = ask(port, "INFO commandstats");
    let line =
        stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:"))).expect("it was called");
    let (_, rest) = line.split_once("usec_per_call=").expect("Redis says how long");
    rest.split(',').next().and_then(|figure| figure.parse().ok()).expect("a number")
}

fn print(what: &str, direct: &[Round], through: &[Round]) {
    let verdict = |met| if met { "met" } else { "NOT MET" };
    let cpu_us = |rounds| median(rounds, |round: &Round| round.cpu_us);
    let per_second = |rounds| median(rounds, |round: &Round| round.per_second);
    let (redis, hotgate) = (cpu_us(direct), cpu_us(through));
    let behind_us = median(through, |round| round.redis_us);
    println!(
        "{what}: {hotgate:.3} µs of processor time per request, redis-server alone {redis:.3} µs ({behind_us:.3} µs behind \
         hotgate): less than Redis itself {}",
        verdict(hotgate < redis)
    );
    let (redis, hotgate) = (per_second(direct), per_second(through));
    println!(
        "{what}: {hotgate:.0} requests per second, Redis alone {redis:.0}: more than Redis alone {}",
        verdict(hotgate > redis)
    );
}

fn median(rounds: &[Round], of: impl Fn(&Round) -> f64) -> f64 {
    middle(rounds.iter().map(of).collect())
}

fn middle(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
