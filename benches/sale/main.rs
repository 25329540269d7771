//! A sale of reservations: `cargo bench --bench sale [-- SECONDS [HOLDERS]]`.
//!
//! Each request is one customer who wants a place. What Redis takes is measured first: the gateway's own script, called once per
//! request by the clients themselves, with pipelines, without a token, since nobody sends such a call again. Then three times that rate
//! is offered (open loop), once straight and once through hotgate. The sale has as many places as straight grants in the
//! whole run, so through hotgate it sells out on the way and the rest is refused. Then the sold-out sale meets as many strangers as
//! hotgate can refuse, and holders ask what they hold.
//!
//! Fair on a machine of two cores: Redis has a core for itself when it is on its own, and shares that core with the gateway when there is
//! one. The load is on the other. Redis keeps an append-only file.
//!
//! How fast places were granted is told by the ledger, that is by Redis's clock. Says for each target whether it is met, and never fails for
//! it. At the end a sale is filled with holders, ten million unless told otherwise: what each weighs, and what a page costs at row 10 and at the
//! last. A run takes ten seconds unless told otherwise; `-- 1 100000` shows in a minute that all of it works, and its figures mean nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench stops at the first thing that is not as it must be"
)]

#[path = "../rush/awake.rs"]
mod awake;
mod books;
#[path = "../rush/processes.rs"]
#[allow(dead_code, reason = "this bench asks less of the servers")]
mod processes;
#[path = "../reserve_scripts/redis.rs"]
#[allow(dead_code, reason = "this bench asks less of it")]
mod redis;
mod report;
mod requests;

use std::time::Duration;

use books::Books;
use hotgate::demo::load::{Connections, Offer, Outcome, Stop};
use hotgate::demo::private_redis::PrivateServer;
use processes::{Gateway, LOAD_CORE, SERVER_CORE, cpu_seconds, pin, wait_for};
use requests::{Crowd, Road, Wish};

const CONNECTIONS: usize = 16;
/// More than Redis takes, whatever the machine.
const PROBE_RATE: f64 = 150_000.0;
const PROBE_TIME: Duration = Duration::from_secs(3);
const RUN_TIME: Duration = Duration::from_secs(10);
const HOLDERS: usize = 10_000_000;
/// What is offered, as a multiple of what straight takes.
const FACTOR: f64 = 3.0;
/// What strangers offer a sale that is sold out, and holders who ask, as a multiple of what straight takes of these.
const REFUSALS_FACTOR: f64 = 25.0;
const CHECKS_FACTOR: f64 = 8.0;
const CROWD_TIME: Duration = Duration::from_secs(4);

/// A rewrite of the file would fork in the middle of a run.
const SERVER_ARGUMENTS: &[&str] =
    &["--appendonly", "yes", "--appendfsync", "everysec", "--auto-aof-rewrite-percentage", "0"];

/// What was seen of one load.
struct Run {
    outcome: Outcome,
    /// Processor time of Redis and of the gateway, in seconds.
    redis_cpu: f64,
    gateway_cpu: f64,
    /// Calls of scripts at Redis.
    calls: u64,
}

/// The same on both roads.
struct Pair {
    straight: Run,
    through: Run,
}

/// The sale on one road.
struct Sale {
    run: Run,
    books: Books,
    limit: u64,
}

/// All that the report tells.
struct Seen {
    capacity: f64,
    straight: Sale,
    through: Sale,
    refusals: Pair,
    checks: Pair,
}

fn main() {
    pin(std::process::id(), LOAD_CORE);
    let awake = awake::keep();
    let mut words = std::env::args().skip(1).filter_map(|word| word.parse().ok());
    let run_time = words.next().map_or(RUN_TIME, |seconds| Duration::from_secs(seconds as u64));
    let holders = words.next().unwrap_or(HOLDERS);
    let seen = see(run_time);
    println!("{}", report::text(&seen));
    let [weight, page] = weigh(holders);
    println!("  {weight}\n  {page}\n{}", awake.remark());
}

/// What holders weigh, and what a page of them costs.
fn weigh(holders: usize) -> [String; 2] {
    eprintln!("{holders} holders");
    let arguments = ["--save", ""];
    let server = wait_for(PrivateServer::start(&arguments)).unwrap_or_else(|error| panic!("{error}"));
    pin(server.pid(), SERVER_CORE);
    let mut redis = redis::Redis::connect(server.address().port);
    redis.open("holders", "LIMIT 4294967295 LEDGER OFF");
    [redis.weigh("holders", holders), redis.pages("holders", holders)]
}

fn see(run_time: Duration) -> Seen {
    let (probe_time, crowd_time) = (PROBE_TIME.min(run_time), CROWD_TIME.min(run_time));
    let server = wait_for(PrivateServer::start(SERVER_ARGUMENTS)).unwrap_or_else(|error| panic!("{error}"));
    pin(server.pid(), SERVER_CORE);
    let upstream = server.address().to_string();
    let stage = Stage { server, gateway: Gateway::start(&upstream, "") };
    books::load_script(stage.port());

    stage.open("probe", u64::from(u32::MAX));
    let probe = stage.run(Road::Straight, "probe", (Wish::Places, PROBE_RATE, probe_time));
    let capacity = answered(&probe) as f64 / probe_time.as_secs_f64();
    eprintln!("straight, Redis grants {capacity:.0} places per second");
    let limit = (capacity * run_time.as_secs_f64()) as u64;
    let sale = |road, sku| {
        eprintln!("{sku}: {FACTOR} times that");
        stage.open(sku, limit);
        let run = stage.run(road, sku, (Wish::Places, FACTOR * capacity, run_time));
        Sale { run, books: Books::read(stage.port(), sku), limit }
    };
    let straight = sale(Road::Straight, "straight");
    let through = sale(Road::Through, "through");

    // Both crowds meet the sale that was sold out through hotgate.
    let crowd = |wish, factor: f64| {
        eprintln!("{wish:?}");
        let straight = stage.run(Road::Straight, "through", (wish, PROBE_RATE, probe_time));
        let rate = factor * answered(&straight) as f64 / probe_time.as_secs_f64();
        Pair { straight, through: stage.run(Road::Through, "through", (wish, rate, crowd_time)) }
    };
    let refusals = crowd(Wish::PlacesOfStrangers, REFUSALS_FACTOR);
    let checks = crowd(Wish::Holdings, CHECKS_FACTOR);
    Seen { capacity, straight, through, refusals, checks }
}

/// Requests that were answered.
fn answered(run: &Run) -> u64 {
    run.outcome.classes[0].offered - run.outcome.classes[0].unanswered
}

/// One Redis, and the gateway beside it.
struct Stage {
    server: PrivateServer,
    gateway: Gateway,
}

impl Stage {
    fn port(&self) -> u16 {
        self.server.address().port
    }

    fn open(&self, sku: &str, limit: u64) {
        let reply = processes::ask(self.gateway.port, &format!("RESERVE.OPEN {sku} LIMIT {limit}"));
        assert_eq!(reply, "+OK\r\n");
    }

    /// Offers a crowd's wishes, evenly spaced.
    fn run(&self, road: Road, sku: &str, (wish, rate, time): (Wish, f64, Duration)) -> Run {
        let port = if road == Road::Straight { self.port() } else { self.gateway.port };
        let crowd = Crowd::new(road, sku, wish, (rate * time.as_secs_f64()) as u32);
        let mut connections = Connections::open(&[port], CONNECTIONS, &Stop::default()).unwrap();
        let before = self.work();
        let offer = Offer { time, classes: 1 };
        let outcome = connections.offer(&crowd.catalogue, crowd.arrivals(rate), offer).unwrap();
        let after = self.work();
        drop(connections);
        books::settle(self.port());
        Run {
            outcome,
            redis_cpu: after.0 - before.0,
            gateway_cpu: after.1 - before.1,
            calls: after.2 - before.2,
        }
    }

    fn work(&self) -> (f64, f64, u64) {
        let (redis, gateway) = (cpu_seconds(self.server.pid()), cpu_seconds(self.gateway.pid()));
        (redis, gateway, books::calls(self.port()))
    }
}
