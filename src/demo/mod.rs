//! `hotgate demo`: private Redis servers with gateways before them, and a load on both, for someone who just cloned this.
//!
//! ```text
//!   main thread                        thread of the load
//!     starts servers and gateways,       story:    a sale straight to Redis, then the same through hotgate
//!     waits for a signal,                compare:  one key straight, combining off, defaults; at rest and overloaded
//!     ends all of it                     sold_out: a quota of two gateways until nothing is left
//!                                        reservations: a sale, its ledger in SQLite, and a Redis that is given its holders back
//! ```
//!
//! The servers are real: the server program on PATH, in a temporary directory, on free ports of 127.0.0.1. The gateways are
//! `hotgate serve` of this program. What is printed was measured in this run: nothing is known beforehand.
//!
//! All of it goes when the demo ends: on Ctrl-C and SIGTERM, also while things start, the load stops and the servers are killed; a
//! start that fails half way kills what it had started; and after a `kill -9` of the demo a watchdog process does the same within a
//! moment (see `private_redis`). What remains in no case: data, processes, files.

mod compare;
mod figures;
pub mod load;
pub mod machine;
pub mod private_redis;
mod reservations;
mod sold_out;
mod story;

use std::fmt;
use std::io::{self, Write};
use std::pin::Pin;
use std::thread;
use std::time::Duration;

use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use load::{LoadError, Stop};
use private_redis::{
    Ports, PrivateCluster, PrivateGateway, PrivateLedger, PrivateRedisError, PrivateServer,
    find_server_program,
};

/// Masters of the private cluster: as few as Redis recommends at least.
const MASTERS: usize = 3;

/// Combining off: the gateway to compare with.
const COMBINING_OFF: &str = "[combine]\nenabled = false\n";

/// What is to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// A sale that overloads Redis, straight and through the gateway. Then all of it stays, to be played with.
    Story,
    /// The table of one key: straight, combining off, defaults.
    Compare,
    /// A quota that is sold out through two gateways.
    Quotas,
    /// A sale of reservations, and its ledger in an SQLite file.
    Ledger,
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct DemoOptions {
    /// What to show.
    pub show: Show,
    /// How long each load of it lasts; each has its own default.
    pub load_time: Option<Duration>,
}

/// Why there is no demo.
#[derive(Debug)]
pub enum DemoError {
    /// The private servers or a gateway before them did not start.
    Start(PrivateRedisError),
    /// A load ended early.
    Load(LoadError),
    /// No runtime, no signal handler, no thread.
    Io(io::Error),
}

impl fmt::Display for DemoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => error.fmt(f),
            Self::Load(error) => error.fmt(f),
            Self::Io(error) => write!(f, "cannot start the demo: {error}"),
        }
    }
}

impl std::error::Error for DemoError {}

impl From<PrivateRedisError> for DemoError {
    fn from(error: PrivateRedisError) -> Self {
        Self::Start(error)
    }
}

impl From<LoadError> for DemoError {
    fn from(error: LoadError) -> Self {
        Self::Load(error)
    }
}

impl From<io::Error> for DemoError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Completes when a signal asks for the end.
type Shutdown = Pin<Box<dyn Future<Output = ()>>>;

/// Runs the demo until it has shown all, or a signal ends it.
///
/// # Errors
/// Every [`DemoError`]; everything that had been started is gone by then.
pub fn run(options: DemoOptions) -> Result<(), DemoError> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let shutdown: Shutdown = Box::pin(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
        run_until(shutdown, options).await
    })
}

/// The servers and gateways of one demo. Dropping it ends them.
struct Stage {
    servers: Servers,
    gateways: Vec<PrivateGateway>,
    /// The thread of the load takes it: it kills it and starts it again.
    ledger: Option<PrivateLedger>,
}

enum Servers {
    Single(PrivateServer),
    Cluster(PrivateCluster),
}

async fn run_until(mut shutdown: Shutdown, options: DemoOptions) -> Result<(), DemoError> {
    let mut stage = tokio::select! {
        stage = start(options.show) => stage?,
        () = &mut shutdown => return Ok(()),
    };
    let stop = Stop::default();
    let (finished, mut shown) = oneshot::channel();
    let load = spawn_load(&mut stage, options, stop.clone(), finished)?;
    let outcome = tokio::select! {
        outcome = &mut shown => outcome.unwrap_or(Err(LoadError::Stopped)),
        () = &mut shutdown => Err(LoadError::Stopped),
    };
    if outcome.is_ok() && options.show == Show::Story {
        say(&guide(&stage));
        shutdown.await;
    }
    // Without its servers the load can't wait for one of them.
    stop.set();
    drop(stage);
    let _ = load.join();
    match outcome {
        Ok(()) | Err(LoadError::Stopped) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Starts what is needed to show this.
async fn start(show: Show) -> Result<Stage, PrivateRedisError> {
    // A missing program is said before anything is made.
    find_server_program()?;
    say(match show {
        Show::Story => {
            "Starting a private Redis Cluster of three masters, and hotgate before it. Ctrl-C ends all of it."
        }
        Show::Compare => "Starting a private Redis, and two gateways before it. Ctrl-C ends all of it.",
        Show::Quotas => {
            "Starting a private Redis, and two gateways that share a quota. Ctrl-C ends all of it."
        }
        Show::Ledger => {
            "Starting a private Redis, a gateway before it, and the ledger. Ctrl-C ends all of it."
        }
    });
    let (servers, addresses) = match show {
        Show::Story => {
            let cluster = PrivateCluster::start(MASTERS, 0, &[]).await?;
            let addresses = cluster.addresses();
            (Servers::Cluster(cluster), addresses)
        }
        Show::Compare | Show::Quotas | Show::Ledger => {
            let server = PrivateServer::start(&[]).await?;
            let addresses = vec![server.address()];
            (Servers::Single(server), addresses)
        }
    };
    let quota = sold_out::config();
    let ledger = match show {
        Show::Ledger => Some(PrivateLedger::start(&addresses)?),
        Show::Story | Show::Compare | Show::Quotas => None,
    };
    let with_ledger = ledger.as_ref().map(PrivateLedger::config).unwrap_or_default();
    let configs: &[(&str, Ports)] = match show {
        Show::Story => &[("", Ports::Usual)],
        Show::Compare => &[(COMBINING_OFF, Ports::Free), ("", Ports::Free)],
        Show::Quotas => &[(&quota, Ports::Usual), (&quota, Ports::Free)],
        Show::Ledger => &[(&with_ledger, Ports::Usual)],
    };
    let mut gateways = Vec::new();
    for (config, ports) in configs {
        gateways.push(PrivateGateway::start(&addresses, config, *ports).await?);
    }
    Ok(Stage { servers, gateways, ledger })
}

/// The load has a thread of its own: it never waits, and it may be kept on a core.
fn spawn_load(
    stage: &mut Stage,
    options: DemoOptions,
    stop: Stop,
    finished: oneshot::Sender<Result<(), LoadError>>,
) -> io::Result<thread::JoinHandle<()>> {
    let cores = machine::Cores::of_this_machine()?;
    let gateways = stage.gateways.iter().map(Peer::from).collect();
    let servers = match &stage.servers {
        Servers::Single(server) => vec![Peer::from(server)],
        Servers::Cluster(cluster) => (0..MASTERS).map(|node| Peer::from(cluster.node(node))).collect(),
    };
    let ground = Ground { cores, servers, gateways, stop };
    let ledger = stage.ledger.take();
    thread::Builder::new().name("load".to_owned()).spawn(move || {
        let outcome = match (options.show, ledger) {
            (_, Some(ledger)) => reservations::show(&ground, ledger, options.load_time),
            (Show::Compare, None) => compare::show(&ground, options.load_time),
            (Show::Quotas, None) => sold_out::show(&ground, options.load_time),
            (Show::Story | Show::Ledger, None) => story::show(&ground, options.load_time),
        };
        // The receiver is gone only when a signal came first.
        let _ = finished.send(outcome);
    })
}

/// What the thread of the load knows of the stage.
struct Ground {
    cores: machine::Cores,
    servers: Vec<Peer>,
    gateways: Vec<Peer>,
    stop: Stop,
}

/// A process that is loaded or watched.
#[derive(Clone, Copy)]
struct Peer {
    port: u16,
    pid: u32,
    /// The dashboard of a gateway.
    admin: Option<std::net::SocketAddr>,
}

impl From<&PrivateServer> for Peer {
    fn from(server: &PrivateServer) -> Self {
        Self { port: server.address().port, pid: server.pid(), admin: None }
    }
}

impl From<&PrivateGateway> for Peer {
    fn from(gateway: &PrivateGateway) -> Self {
        Self { port: gateway.listen().port(), pid: gateway.pid(), admin: Some(gateway.admin()) }
    }
}

impl Ground {
    /// Where the dashboard of a gateway is, as a sentence.
    fn page(&self, gateway: usize) -> String {
        let admin = self.gateways.get(gateway).and_then(|gateway| gateway.admin);
        admin.map(|admin| format!("Watch it on http://{admin}/")).unwrap_or_default()
    }
}

/// Prints a paragraph. A closed standard output is no reason to end the demo.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
}

/// The sentence that belongs under figures if the load could not keep its own time.
fn lateness_remark(lateness_ms: f64) -> Option<String> {
    (lateness_ms > LATENESS_MS_MAX).then(|| {
        format!(
            "THIS MACHINE WAS BUSY: the load itself was {lateness_ms:.0} ms late (p99), and that is in every latency above. Repeat it \
             when the machine is quiet."
        )
    })
}

/// A load on a quiet machine is late by less than this, at its 99th percentile.
const LATENESS_MS_MAX: f64 = 5.0;

fn guide(stage: &Stage) -> String {
    let Some(gateway) = stage.gateways.first() else { return String::new() };
    let nodes: Vec<String> = match &stage.servers {
        Servers::Single(server) => vec![server.address().to_string()],
        Servers::Cluster(cluster) => cluster.addresses().iter().map(ToString::to_string).collect(),
    };
    let program = std::env::args().next().unwrap_or_else(|| "hotgate".to_owned());
    let (listen, admin) = (gateway.listen(), gateway.admin());
    let port = listen.port();
    format!(
        "All of it still runs: the cluster at {nodes}, hotgate before it at {listen}. In another terminal:\n\
         \n\
         \x20 redis-cli -p {port} INCR 'sku:{{8421}}:reserved'\n\
         \x20 redis-benchmark -p {port} -c 50 -P 64 -n 5000000 INCR 'sku:{{8421}}:reserved'    # a hot counter\n\
         \x20 redis-benchmark -p {port} -c 50 -n 1000000 -r 100000 -t get,incr               # no hot key\n\
         \x20 redis-cli -p {port} HOTKEYS GET\n\
         \x20 {program} top --admin http://{admin}\n\
         \x20 {program} demo --compare    # one key straight, with combining off, with the defaults: a table\n\
         \x20 {program} demo --quotas     # a limit that is sold out\n\
         \x20 {program} demo --ledger     # reservations in SQL, and a Redis that loses everything\n\
         \n\
         Dashboard: http://{admin}/\n\
         Ctrl-C ends all of it; nothing is kept.",
        nodes = nodes.join(", "),
    )
}
