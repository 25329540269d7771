//! Combined counters are linearizable: through two gateways with two workers each, beside a client that writes to Redis
//! directly, all operations on a counter can be put into one order that agrees with every reply, with the order of each
//! connection, and with real time (an operation that was answered before another was sent comes before it).
//!
//! That holds with folding forced on, off, and switched at random by reloads under way.
//!
//! Increments are positive, so their replies tell their places, and the order can be checked instead of searched for
//! (Herlihy and Wing, "Linearizability", ACM TOPLAS 1990). A failing seed is printed; `HOTGATE_SEED` repeats it, as far as
//! threads can be repeated.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use crate::support::folding::{Folding, Switch};
use crate::support::text::{one_line, request};
use crate::support::{Client, Cluster, Gateway, Server, seed};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const GATEWAYS: usize = 2;
const CONNECTIONS: usize = 12;
const KEYS: usize = 3;
const BURSTS: usize = 150;
const PIPELINE_MAX: usize = 12;
const RUN_MAX: usize = 6;

/// How a counter is kept.
#[derive(Clone, Copy, Debug)]
enum Kind {
    String,
    HashField,
    /// A string, which every other connection increments in transactions that set its time to live.
    Transaction,
}

impl Kind {
    fn increment(self, key: usize, delta: i64) -> String {
        match self {
            Kind::String if delta == 1 => format!("INCR counter:{{{key}}}"),
            Kind::String => format!("INCRBY counter:{{{key}}} {delta}"),
            Kind::Transaction if delta == 1 => format!("INCR counter:t{{{key}}}"),
            Kind::Transaction => format!("INCRBY counter:t{{{key}}} {delta}"),
            Kind::HashField => format!("HINCRBY counter:h{{{key}}} field {delta}"),
        }
    }

    /// What a connection sends for an operation, and how many replies come before the one that counts.
    fn requests(self, connection: usize, (key, delta): (usize, i64)) -> (Vec<u8>, usize) {
        match (self, delta) {
            (_, 0) => (request(&self.read(key)), 0),
            (Kind::Transaction, _) if connection.is_multiple_of(2) => {
                let expire = format!("EXPIRE counter:t{{{key}}} 1000");
                let lines = ["MULTI", &self.increment(key, delta), &expire, "EXEC"];
                (lines.iter().flat_map(|line| request(line)).collect(), 3)
            }
            _ => (request(&self.increment(key, delta)), 0),
        }
    }

    fn read(self, key: usize) -> String {
        match self {
            Kind::String => format!("GET counter:{{{key}}}"),
            Kind::Transaction => format!("GET counter:t{{{key}}}"),
            Kind::HashField => format!("HGET counter:h{{{key}}} field"),
        }
    }
}

/// One operation and its reply.
#[derive(Clone, Copy, Debug)]
struct Operation {
    connection: usize,
    /// Zero for a read.
    delta: i64,
    /// The counter's value right after it.
    value: i64,
    sent: Instant,
    answered: Instant,
}

/// What one connection does and sees, by key.
fn converse(
    address: SocketAddr,
    kind: Kind,
    connection: usize,
    seed: u64,
) -> BTreeMap<usize, Vec<Operation>> {
    let mut rng = SmallRng::seed_from_u64(seed.wrapping_add(connection as u64));
    let mut client = Client::connect(address);
    let mut seen: BTreeMap<usize, Vec<Operation>> = BTreeMap::new();
    for _ in 0..BURSTS {
        let count = rng.random_range(1..=PIPELINE_MAX);
        // Some operations come several times in a row, and are combined as one.
        let burst: Vec<(usize, i64)> = (0..count)
            .flat_map(|_| {
                let delta = if rng.random_ratio(1, 4) { 0 } else { rng.random_range(1..=3) };
                let times = if rng.random_ratio(1, 4) { rng.random_range(2..=RUN_MAX) } else { 1 };
                std::iter::repeat_n((rng.random_range(0..KEYS), delta), times)
            })
            .collect();
        let bytes: Vec<u8> =
            burst.iter().flat_map(|operation| kind.requests(connection, *operation).0).collect();
        let sent = Instant::now();
        client.send(&bytes);
        for (key, delta) in burst {
            (0..kind.requests(connection, (key, delta)).1).for_each(|_| assert_ne!(client.reply()[0], b'-'));
            let reply = one_line(&client.reply());
            let value = match reply.split_once(' ') {
                // A transaction's: the count, then that it has a time to live.
                Some(("*2", replies)) => replies.trim_start_matches(':').trim_end_matches(" :1"),
                Some((_, digits)) => digits,
                None if reply == "$-1" => "0",
                None => reply.trim_start_matches(':'),
            };
            let value = value.parse().unwrap_or_else(|_| panic!("seed {seed}: {reply}"));
            let answered = Instant::now();
            seen.entry(key).or_default().push(Operation { connection, delta, value, sent, answered });
        }
    }
    seen
}

/// Holds the history of one counter against the only order that its values allow.
fn check(mut history: Vec<Operation>, last: i64, seed: u64) {
    let mut latest = BTreeMap::new();
    for operation in &history {
        let before = latest.insert(operation.connection, operation.value).unwrap_or(0);
        let moved = operation.value - before;
        assert!(moved >= operation.delta, "seed {seed}: after {before} its connection saw {operation:?}");
    }
    history.sort_by_key(|operation| (operation.value, operation.delta == 0, operation.sent));
    let mut value = 0;
    for operation in &history {
        assert_eq!(
            operation.value - operation.delta,
            value,
            "seed {seed}: not the next value: {operation:?}"
        );
        value = operation.value;
    }
    assert_eq!(value, last, "seed {seed}: the last value in Redis");
    let mut sent_latest = history[0];
    for operation in &history {
        assert!(
            operation.answered >= sent_latest.sent,
            "seed {seed}: {operation:?} was over before {sent_latest:?} began, and comes after it"
        );
        if operation.sent > sent_latest.sent {
            sent_latest = *operation;
        }
    }
}

/// Runs all connections and checks every counter; `direct` is where each key's Redis answers.
fn run(
    (gateways, config, folding): (&[Gateway], &str, Folding),
    direct: impl Fn(usize) -> SocketAddr,
    kind: Kind,
) {
    let seed = seed();
    println!("{kind:?}, folding {folding:?}, {config:?}");
    let mut switch = Switch::new(gateways, &format!("{config}{WORKERS}"), PATTERN, folding, seed);
    let mut histories: BTreeMap<usize, Vec<Operation>> = BTreeMap::new();
    std::thread::scope(|scope| {
        let through = (0..CONNECTIONS).map(|connection| {
            let address = gateways[connection % gateways.len()].address;
            scope.spawn(move || converse(address, kind, connection, seed))
        });
        let beside = {
            let addresses: Vec<SocketAddr> = (0..KEYS).map(&direct).collect();
            scope.spawn(move || write_directly(&addresses, kind, seed))
        };
        let threads: Vec<_> = through.collect::<Vec<_>>().into_iter().chain([beside]).collect();
        while folding == Folding::Switching && !threads.iter().all(ScopedJoinHandle::is_finished) {
            switch.perhaps(4);
            std::thread::park_timeout(Duration::from_millis(2));
        }
        for thread in threads {
            for (key, operations) in thread.join().unwrap() {
                histories.entry(key).or_default().extend(operations);
            }
        }
    });
    for (key, history) in histories {
        let last = Client::connect(direct(key)).text(&kind.read(key)).parse().unwrap();
        check(history, last, seed);
    }
}

/// A client that knows nothing of gateways.
fn write_directly(addresses: &[SocketAddr], kind: Kind, seed: u64) -> BTreeMap<usize, Vec<Operation>> {
    let mut rng = SmallRng::seed_from_u64(seed ^ u64::MAX);
    let mut clients: Vec<Client> = addresses.iter().map(|address| Client::connect(*address)).collect();
    let mut seen: BTreeMap<usize, Vec<Operation>> = BTreeMap::new();
    for _ in 0..BURSTS {
        let (key, delta) = (rng.random_range(0..KEYS), rng.random_range(1..=3));
        let sent = Instant::now();
        let value = clients[key].integer(&kind.increment(key, delta));
        let operation = Operation { connection: CONNECTIONS, delta, value, sent, answered: Instant::now() };
        seen.entry(key).or_default().push(operation);
    }
    seen
}

const WORKERS: &str = "[gateway]\nworkers = 2\n";
const PATTERN: &str = "counter:*";

fn before(upstream: &str, config: &str, folding: Folding) -> Vec<Gateway> {
    let config = format!("{config}{WORKERS}{}", folding.rule(PATTERN));
    (0..GATEWAYS).map(|_| Gateway::before(upstream).config(&config).start()).collect()
}

fn check_one_server(config: &str, folding: Folding) {
    for kind in [Kind::String, Kind::HashField, Kind::Transaction] {
        let server = Server::start();
        let gateways = before(&server.address().to_string(), config, folding);
        run((&gateways, config, folding), |_| server.address(), kind);
    }
}

#[test]
fn counters_on_one_server() {
    for config in
        ["", "[combine]\nexactly_once = true\n", "[combine]\nflush_interval = '0s'\nearly_flush_min = 2\n"]
    {
        check_one_server(config, Folding::On);
    }
    check_one_server("", Folding::Off);
}

#[test]
fn counters_while_folding_is_switched_at_random() {
    for config in ["", "[combine]\nexactly_once = true\n"] {
        check_one_server(config, Folding::Switching);
    }
}

#[test]
fn counters_in_a_cluster() {
    let cluster = Cluster::start();
    for (kind, folding) in
        [(Kind::String, Folding::On), (Kind::HashField, Folding::Switching), (Kind::Transaction, Folding::On)]
    {
        let gateways = before(&cluster.seeds(), "", folding);
        let direct = |key| {
            let node = cluster.master_of(&format!("counter:{{{key}}}"));
            ([127, 0, 0, 1], cluster.port(node)).into()
        };
        run((&gateways, "", folding), direct, kind);
    }
}
