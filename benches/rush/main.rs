//! The mask sale: `cargo bench --bench rush`.
//!
//! One SKU gets 0.5, 1 and 3 times what Redis can take, on top of an ordinary day's traffic on the same connections;
//! once straight to Redis, once through hotgate, in one run. Then the SKU is sold out, and the rush goes on.
//!
//! What Redis can take is measured first, with the same connections and on the same core: increments alone, with
//! pipelines deep enough that more depth gains nothing. So the bar is Redis at its best.
//!
//! Fair on a machine of two cores: the node that owns the SKU has a core for itself when it is on its own, and shares
//! that core with the gateway when there is one. The load and the rest of the cluster are on the other core in both
//! cases. A fleet of gateways would have more; here hotgate has to do with what it takes off Redis.
//!
//! At the end comes the same rush as a ramp: a SKU that is quiet, and within a second gets 70 times as much, through a gateway without any rule.
//!
//! `--short` makes runs of 5 seconds; `--ramp` has the ramp alone.
//!
//! Idle cores are kept awake where the system allows it, for all contenders alike.
//!
//! Writes `target/rush/report.txt` and `target/rush/latency.svg` (beside the build, or in `CARGO_TARGET_DIR`). Says for
//! each target whether it is met, and never fails for it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a bench stops at the first thing that is not as it must be"
)]

mod awake;
mod floor;
mod picture;
mod processes;
mod ramp;
mod report;
mod sold_out;
mod stage;

use std::path::PathBuf;
use std::time::Duration;

use hotgate::demo::load::{CLASSES, Connections, Offer, Outcome, Sale, Stop};
use processes::{Gateway, LOAD_CORE, cpu_seconds};
use stage::Stage;

/// Connections to each place, as many as application servers that have one connection for all they do.
const CONNECTIONS: usize = 16;

/// Requests per connection that bring Redis to its limit.
const PROBE_DEPTH: usize = 1024;
const PROBE_TIME: Duration = Duration::from_secs(3);

/// What is too slow falls behind for as long as it is asked for too much; a sale lasts longer than this.
const RUN_TIME: Duration = Duration::from_secs(30);
const RUN_TIME_SHORT: Duration = Duration::from_secs(5);

/// What the rush adds, as a multiple of what Redis can take. The first run has the background alone.
const FACTORS: [f64; 4] = [0.0, 0.5, 1.0, 3.0];

/// The ordinary day, on all three nodes together.
const BACKGROUND_RATE: f64 = 20_000.0;

const RULE: &str = "[[rule]]\nmatch = \"sku:*:reserved\"\nmode = \"combine\"\n";

/// One run.
struct Run {
    factor: f64,
    outcome: Outcome,
    /// Commands for the hot key that its node executed.
    hot_commands: u64,
    /// Processor time of the hot node, of the gateway (0 without one) and of the load, in seconds.
    redis_cpu: f64,
    gateway_cpu: f64,
    load_cpu: f64,
}

fn main() {
    let has = |flag: &str| std::env::args().any(|argument| argument == flag);
    if has(floor::ARGUMENT) {
        return floor::serve();
    }
    let time = if has("--short") { RUN_TIME_SHORT } else { RUN_TIME };
    processes::pin(std::process::id(), LOAD_CORE);
    let awake = awake::keep();
    let stage = Stage::start();
    let direct = Sale::new(|key| stage.node_of(key), |node| node);
    let capacity = probe(&stage, &direct);
    eprintln!("Redis takes {capacity:.0} increments per second");
    if has("--ramp") {
        return println!("{}", report::ramp(&ramp::run(&stage, capacity)));
    }
    let runs = |name, sale: &Sale, ports: &[u16], gateway: Option<&Gateway>| -> Vec<Run> {
        FACTORS
            .iter()
            .map(|factor| {
                eprintln!("{name}, {factor} times that");
                run((&stage, sale, time), ports, gateway, *factor, capacity)
            })
            .collect()
    };
    let without = runs("straight to Redis", &direct, &stage.ports, None);
    let gateway = Gateway::start(&stage.upstream(), RULE);
    let through = Sale::new(|key| stage.node_of(key), |_| 0);
    let with = runs("through hotgate", &through, &[gateway.port], Some(&gateway));
    drop(gateway);
    eprintln!("sold out");
    let sold_out = sold_out::run(&stage);
    eprintln!("the ramp");
    let ramp = ramp::run(&stage, capacity);

    let directory = output_directory();
    let report = report::text(capacity, &without, &with, &sold_out, awake.remark()) + &report::ramp(&ramp);
    std::fs::write(directory.join("report.txt"), &report).unwrap();
    std::fs::write(directory.join("latency.svg"), picture::svg(&without, &with)).unwrap();
    println!("{report}\nwritten to {}", directory.display());
}

/// Increments per second that Redis alone can take.
fn probe(stage: &Stage, sale: &Sale) -> f64 {
    let port = stage.ports[stage.hot_node];
    let mut connections = Connections::open(&[port], CONNECTIONS, &Stop::default()).unwrap();
    connections.saturate(&sale.catalogue, sale.increment(), PROBE_DEPTH, PROBE_TIME).unwrap().per_second()
}

fn run(
    (stage, sale, time): (&Stage, &Sale, Duration),
    ports: &[u16],
    gateway: Option<&Gateway>,
    factor: f64,
    capacity: f64,
) -> Run {
    let mut connections = Connections::open(ports, CONNECTIONS, &Stop::default()).unwrap();
    let gateway_cpu = || gateway.map_or(0.0, |gateway| cpu_seconds(gateway.pid()));
    let load_cpu = || cpu_seconds(std::process::id());
    let (work_before, gateway_before, load_before) = (stage.work(), gateway_cpu(), load_cpu());
    let arrivals = sale.arrivals(factor * capacity, BACKGROUND_RATE);
    let offer = Offer { time, classes: CLASSES };
    let outcome = connections.offer(&sale.catalogue, arrivals, offer).unwrap();
    let (gateway_after, load_after, work_after) = (gateway_cpu(), load_cpu(), stage.work());
    drop(connections);
    stage.settle();
    Run {
        factor,
        outcome,
        hot_commands: work_after.hot_commands - work_before.hot_commands,
        redis_cpu: work_after.cpu_seconds - work_before.cpu_seconds,
        gateway_cpu: gateway_after - gateway_before,
        load_cpu: load_after - load_before,
    }
}

/// cargo runs a bench in the package's directory.
fn output_directory() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    let directory = target.join("rush");
    std::fs::create_dir_all(&directory).unwrap();
    directory
}
