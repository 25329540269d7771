//! The story: a sale that asks one key for more than its Redis can take, straight to Redis, and then through hotgate.
//!
//! Both loads are the same, arrival by arrival, and open-loop: buyers do not wait for each other. They follow one another, since side by
//! side they would take each other's processor; the table puts them side by side.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use super::load::{
    CLASSES, Connections, HOT, HOT_KEY, LoadError, OTHER_NODES, Offer, Outcome, SAME_NODE, Sale,
};
use super::machine::cpu_seconds;
use super::{Ground, figures, lateness_remark, say};
use crate::resp::key_slot;

/// How long each sale lasts if nothing else is asked for.
const LOAD_TIME: Duration = Duration::from_secs(8);

/// Connections to each place, as many as application servers that have one connection for all they do.
const CONNECTIONS: usize = 16;

/// Requests per connection that bring Redis to its limit, and for how long.
const PROBE_DEPTH: usize = 512;
const PROBE_TIME: Duration = Duration::from_secs(1);

/// The sale, as a multiple of what Redis takes.
const FACTOR: f64 = 3.0;

/// The ordinary day: reads and writes of other keys per second, on all nodes together.
const BACKGROUND_RATE: f64 = 10_000.0;

/// One sale.
struct Run {
    outcome: Outcome,
    /// Seconds of the run, in order: what a line of the table needs.
    seconds: Vec<Second>,
    /// Commands of the SKU that Redis ran: the background has no increments.
    commands: u64,
    /// Processor time of the SKU's Redis and of the gateway, in seconds.
    server_cpu: f64,
    gateway_cpu: f64,
}

/// What was answered in one second of a sale.
#[derive(Clone, Copy)]
struct Second {
    answered: u64,
    /// Nothing if nothing was answered.
    p99_ms: Option<f64>,
    /// Of other keys on the node of the SKU.
    others_p99_ms: Option<f64>,
}

/// Where the sale is held.
struct Place<'a> {
    ground: &'a Ground,
    /// First slot of a range -> its node.
    ranges: BTreeMap<u16, usize>,
    hot_node: usize,
}

/// Shows it.
pub(super) fn show(ground: &Ground, load_time: Option<Duration>) -> Result<(), LoadError> {
    let ports: Vec<u16> = ground.servers.iter().map(|server| server.port).collect();
    let ranges = figures::slot_ranges(&ports)?;
    let mut place = Place { ground, ranges, hot_node: 0 };
    place.hot_node = place.node_of(HOT_KEY.as_bytes());
    place.pin();
    let straight = Sale::new(|key| place.node_of(key), |node| node);
    let capacity = probe(&place, &straight)?;
    let time = load_time.unwrap_or(LOAD_TIME);
    say(&format!(
        "\n{}\n\nThe Redis that has {HOT_KEY} takes {capacity:.0} INCR of it per second, pipelined on {CONNECTIONS} connections.\n\
         Now a sale opens: {:.0} per second for {} s, {FACTOR:.0} times that, whether answered or not, and {BACKGROUND_RATE:.0} GET and \
         SET of other keys.\n{}\n",
        ground.cores.describe(),
        capacity * FACTOR,
        time.as_secs(),
        ground.page(0),
    ));
    say(&heading());
    let without = run(&place, &straight, &ports, capacity, time, |number, second| {
        say(&line(number, Some(second), None));
    })?;
    figures::settle(place.hot_port(), &ground.stop)?;
    say("The same sale through hotgate:");
    let through = Sale::new(|key| place.node_of(key), |_| 0);
    let gateway = ground.gateways.first().map_or(0, |gateway| gateway.port);
    let with = run(&place, &through, &[gateway], capacity, time, |number, second| {
        say(&line(number, without.seconds.get(number).copied(), Some(second)));
    })?;
    figures::settle(place.hot_port(), &ground.stop)?;
    place.unpin();
    say(&summary(&without, &with));
    let lateness_ms = without.outcome.lateness_ms().max(with.outcome.lateness_ms());
    if let Some(remark) = lateness_remark(lateness_ms) {
        say(&remark);
    }
    Ok(())
}

impl Place<'_> {
    fn node_of(&self, key: &[u8]) -> usize {
        self.ranges.range(..=key_slot(key)).next_back().map_or(0, |(_, node)| *node)
    }

    fn pin(&self) {
        let cores = &self.ground.cores;
        for (node, server) in self.ground.servers.iter().enumerate() {
            cores.pin(server.pid, if node == self.hot_node { cores.server } else { cores.load });
        }
        self.ground.gateways.iter().for_each(|gateway| cores.pin(gateway.pid, cores.gateway));
        cores.pin_load();
    }

    fn unpin(&self) {
        let all = self.ground.servers.iter().chain(&self.ground.gateways);
        all.for_each(|peer| self.ground.cores.unpin(peer.pid));
    }

    fn hot_port(&self) -> u16 {
        self.ground.servers[self.hot_node].port
    }

    /// Processor time of the SKU's Redis and of the gateways so far.
    fn cpu(&self) -> (f64, f64) {
        let gateways = self.ground.gateways.iter().map(|gateway| cpu_seconds(gateway.pid)).sum();
        (cpu_seconds(self.ground.servers[self.hot_node].pid), gateways)
    }
}

/// Increments per second that Redis alone takes.
fn probe(place: &Place, sale: &Sale) -> Result<f64, LoadError> {
    let mut connections = Connections::open(&[place.hot_port()], CONNECTIONS, &place.ground.stop)?;
    let seen = connections.saturate(&sale.catalogue, sale.increment(), PROBE_DEPTH, PROBE_TIME)?;
    Ok(seen.per_second())
}

fn run(
    place: &Place,
    sale: &Sale,
    ports: &[u16],
    capacity: f64,
    time: Duration,
    mut on_second: impl FnMut(usize, Second),
) -> Result<Run, LoadError> {
    let mut connections = Connections::open(ports, CONNECTIONS, &place.ground.stop)?;
    let mut seconds = Vec::new();
    let ((server_before, gateway_before), commands_before) =
        (place.cpu(), figures::increments(place.hot_port())?);
    let arrivals = sale.arrivals(FACTOR * capacity, BACKGROUND_RATE);
    let offer = Offer { time, classes: CLASSES };
    let outcome = connections.offer_by_seconds(&sale.catalogue, arrivals, offer, |second| {
        let (hot, others) = (&second.classes[HOT], &second.classes[SAME_NODE]);
        let second = Second {
            answered: hot.answered,
            p99_ms: (!hot.latency_us.is_empty()).then(|| hot.percentile_ms(99.0)),
            others_p99_ms: (!others.latency_us.is_empty()).then(|| others.percentile_ms(99.0)),
        };
        on_second(seconds.len(), second);
        seconds.push(second);
    })?;
    let (server_after, gateway_after) = place.cpu();
    // Redis has not seen yet what waits in the sockets of a load that it could not take.
    let commands = figures::increments(place.hot_port())?.saturating_sub(commands_before);
    drop(connections);
    Ok(Run {
        outcome,
        seconds,
        commands,
        server_cpu: server_after - server_before,
        gateway_cpu: gateway_after - gateway_before,
    })
}

fn heading() -> String {
    let group = format!("{:>12}{:>12}{:>18}", "INCR/s", "p99, ms", "other keys' p99");
    format!(
        "{:<8}{:^42}   {:^42}\n{:<8}{group}   {group}",
        "", "straight to Redis", "through hotgate", "second"
    )
}

/// One second of both, as far as they have been.
fn line(number: usize, straight: Option<Second>, through: Option<Second>) -> String {
    let shown = |ms: Option<f64>| ms.map_or_else(|| "-".to_owned(), |ms| format!("{ms:.1}"));
    let cells = |second: Option<Second>| match second {
        Some(Second { answered, p99_ms, others_p99_ms }) => {
            format!("{answered:>12}{:>12}{:>18}", shown(p99_ms), shown(others_p99_ms))
        }
        None => " ".repeat(42),
    };
    format!("{:<8}{}   {}", number + 1, cells(straight), cells(through)).trim_end().to_owned()
}

fn summary(straight: &Run, through: &Run) -> String {
    let mut text = format!("\n{:<52}{:>20}{:>20}\n", "", "straight to Redis", "through hotgate");
    let mut row = |what: &str, figure: &dyn Fn(&Run) -> String| {
        let _ = writeln!(text, "{what:<52}{:>20}{:>20}", figure(straight), figure(through));
    };
    let rate = |count: u64, run: &Run| format!("{:.0}", count as f64 / run.outcome.seconds);
    row("INCR of the SKU, asked for per second", &|run| rate(run.outcome.classes[HOT].offered, run));
    row("  answered within a second", &|run| {
        let class = &run.outcome.classes[HOT];
        format!("{:.1} %", class.good as f64 * 100.0 / class.offered.max(1) as f64)
    });
    row("  errors", &|run| run.outcome.classes[HOT].errors.to_string());
    for (name, class) in
        [("  ", HOT), ("other keys of that Redis, ", SAME_NODE), ("keys of other nodes, ", OTHER_NODES)]
    {
        row(&format!("{name}p50 / p99, ms"), &|run| {
            let class = &run.outcome.classes[class];
            format!("{:.1} / {:.1}", class.percentile_ms(50.0), class.percentile_ms(99.0))
        });
    }
    row("commands of the SKU that its Redis ran, per second", &|run| rate(run.commands, run));
    row("processor of its Redis, of one core", &|run| share(run.server_cpu, run));
    row("processor of hotgate, of one core", &|run| share(run.gateway_cpu, run));
    text.push_str(
        "Latencies count from the moment at which a request was due; what was not answered at the end counts with its age.\n",
    );
    text
}

fn share(cpu_seconds: f64, run: &Run) -> String {
    format!("{:.0} %", cpu_seconds * 100.0 / run.outcome.seconds)
}
