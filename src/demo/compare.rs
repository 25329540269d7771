//! The comparison: one key, asked straight, through a gateway with combining off, and through one with the defaults.
//!
//! The upper rows are closed-loop: so many clients, each of which waits for its reply, so that nobody is overloaded and the rate says
//! what clients get. The lower rows are open-loop: so many requests are due each second whether answered or not, below what Redis
//! takes and far above it. The three take turns within each row, round by round, so that whatever else the machine does meets all
//! of them.

use std::fmt::Write;
use std::time::Duration;

use super::load::{Arrival, Catalogue, Connections, LoadError, Offer};
use super::machine::cpu_seconds;
use super::{Ground, Peer, figures, lateness_remark, say};

/// How long each open loop lasts if nothing else is asked for. A round of a closed loop takes a part of it.
const LOAD_TIME: Duration = Duration::from_secs(4);
const ROUNDS: u32 = 3;
const ROUND_PARTS: u32 = 8;

/// Clients and requests in each pipeline.
const CLOSED: [(usize, usize); 5] = [(1, 1), (10, 1), (50, 1), (1000, 1), (50, 16)];

/// Multiples of what Redis takes, and how the row is called.
const OPEN: [(f64, &str); 2] = [(0.5, "half of what Redis takes"), (3.0, "overload: 3 times that")];

/// Connections of an open loop.
const CONNECTIONS: usize = 16;

/// Requests per connection that bring Redis to its limit.
const PROBE_DEPTH: usize = 512;

const KEY: &str = "counter:{8421}";

/// One contender in one row.
#[derive(Clone, Default)]
struct Cell {
    /// Replies other than errors per second.
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// Commands on the key that Redis ran, for each request that was asked for.
    commands: f64,
    /// Processor time of Redis and of the gateway, in cores.
    server_cores: f64,
    gateway_cores: f64,
}

/// Who is asked: how it is called, where, and what process is between.
struct Contender {
    name: &'static str,
    port: u16,
    gateway: Option<Peer>,
}

struct Comparison<'a> {
    ground: &'a Ground,
    server: Peer,
    contenders: [Contender; 3],
    catalogue: Catalogue,
    increment: u32,
}

/// Shows it.
pub(super) fn show(ground: &Ground, load_time: Option<Duration>) -> Result<(), LoadError> {
    let ([server], [off, defaults]) = (&ground.servers[..], &ground.gateways[..]) else { return Ok(()) };
    let mut catalogue = Catalogue::default();
    let increment = catalogue.add(&[b"INCR", KEY.as_bytes()], 0, 0);
    let contenders = [
        Contender { name: "straight to Redis", port: server.port, gateway: None },
        Contender { name: "hotgate, combining off", port: off.port, gateway: Some(*off) },
        Contender { name: "hotgate, defaults", port: defaults.port, gateway: Some(*defaults) },
    ];
    let comparison = Comparison { ground, server: *server, contenders, catalogue, increment };
    let time = load_time.unwrap_or(LOAD_TIME);
    say(&comparison.heading());
    for (clients, pipeline) in CLOSED {
        let cells = comparison.closed_row(clients, pipeline, time / ROUND_PARTS)?;
        say(&row(&closed_name(clients, pipeline), &cells));
    }
    let all = [server, off, defaults];
    ground.cores.pin(server.pid, ground.cores.server);
    [off, defaults].iter().for_each(|gateway| ground.cores.pin(gateway.pid, ground.cores.gateway));
    ground.cores.pin_load();
    let capacity = comparison.probe(time / 4)?;
    say(&format!(
        "\nEach on its core now. {}\nRedis takes {capacity:.0} INCR per second on {CONNECTIONS} connections, pipelined; an open loop \
         asks for its share of that.",
        ground.cores.describe()
    ));
    let mut lateness_ms: f64 = 0.0;
    let mut last = [(); 3].map(|()| Cell::default());
    for (factor, name) in OPEN {
        let (cells, late_ms) = comparison.open_row(factor * capacity, time)?;
        say(&row(&format!("{name} ({:.0}/s)", factor * capacity), &cells));
        lateness_ms = lateness_ms.max(late_ms);
        last = cells;
    }
    say(&comparison.overloaded(&last));
    all.iter().for_each(|peer| ground.cores.unpin(peer.pid));
    if let Some(remark) = lateness_remark(lateness_ms) {
        say(&remark);
    }
    Ok(())
}

impl Comparison<'_> {
    fn heading(&self) -> String {
        let [straight, off, defaults] = &self.contenders;
        let groups = [straight, off, defaults].map(|contender| format!("{:>31}", contender.name)).concat();
        let figures = format!("{:>13}{:>9}{:>9}", "answered/s", "p50, ms", "p99, ms").repeat(3);
        format!(
            "\nINCR of one key. Redis, the gateway (one worker) and the load share this machine, on whatever cores the system gives them;\n\
             medians of {ROUNDS} rounds in turns. What counts is a row: the gateway costs a hop, folding should cost nothing beyond it.\n\n\
             {:<34}{groups}\n{:<34}{figures}",
            "", "clients that wait for each reply"
        )
    }

    /// Increments per second that Redis alone takes.
    fn probe(&self, time: Duration) -> Result<f64, LoadError> {
        let mut connections = Connections::open(&[self.server.port], CONNECTIONS, &self.ground.stop)?;
        let seen = connections.saturate(&self.catalogue, self.increment, PROBE_DEPTH, time)?;
        Ok(seen.per_second())
    }

    fn closed_row(&self, clients: usize, pipeline: usize, time: Duration) -> Result<[Cell; 3], LoadError> {
        let mut rounds: [Vec<Cell>; 3] = Default::default();
        for _ in 0..ROUNDS {
            for (contender, rounds) in self.contenders.iter().zip(&mut rounds) {
                let mut connections = Connections::open(&[contender.port], clients, &self.ground.stop)?;
                let seen = connections.saturate(&self.catalogue, self.increment, pipeline, time)?;
                let ms = |percentile| seen.latency_us.value_at_percentile(percentile) as f64 / 1000.0;
                rounds.push(Cell {
                    per_second: (seen.replies - seen.errors) as f64 / seen.seconds,
                    p50_ms: ms(50.0),
                    p99_ms: ms(99.0),
                    ..Cell::default()
                });
            }
        }
        Ok(rounds.map(|rounds| Cell {
            per_second: median(&rounds, |cell| cell.per_second),
            p50_ms: median(&rounds, |cell| cell.p50_ms),
            p99_ms: median(&rounds, |cell| cell.p99_ms),
            ..Cell::default()
        }))
    }

    /// And how late the load itself was at worst.
    fn open_row(&self, rate: f64, time: Duration) -> Result<([Cell; 3], f64), LoadError> {
        let mut lateness_ms: f64 = 0.0;
        let mut cells = [(); 3].map(|()| Cell::default());
        for (contender, cell) in self.contenders.iter().zip(&mut cells) {
            let mut connections = Connections::open(&[contender.port], CONNECTIONS, &self.ground.stop)?;
            let gateway_cpu = || contender.gateway.map_or(0.0, |gateway| cpu_seconds(gateway.pid));
            let before =
                (figures::increments(self.server.port)?, cpu_seconds(self.server.pid), gateway_cpu());
            let gap_us = 1_000_000.0 / rate;
            let request = self.increment;
            let arrivals =
                (0_u64..).map(|number| Arrival { due_us: (number as f64 * gap_us) as u32, request });
            let outcome = connections.offer(&self.catalogue, arrivals, Offer { time, classes: 1 })?;
            let (server_cpu, gateway_cpu) =
                (cpu_seconds(self.server.pid) - before.1, gateway_cpu() - before.2);
            let commands = figures::increments(self.server.port)?.saturating_sub(before.0);
            lateness_ms = lateness_ms.max(outcome.lateness_ms());
            let class = &outcome.classes[0];
            *cell = Cell {
                per_second: class.answered as f64 / outcome.seconds,
                p50_ms: class.percentile_ms(50.0),
                p99_ms: class.percentile_ms(99.0),
                commands: commands as f64 / class.offered.max(1) as f64,
                server_cores: server_cpu / outcome.seconds,
                gateway_cores: gateway_cpu / outcome.seconds,
            };
            drop(connections);
            figures::settle(self.server.port, &self.ground.stop)?;
        }
        Ok((cells, lateness_ms))
    }

    /// What the overload cost whom.
    fn overloaded(&self, cells: &[Cell; 3]) -> String {
        let mut text = String::from("\nIn the overload\n");
        let mut line = |what: &str, figure: &dyn Fn(&Cell) -> String| {
            let figures = cells.iter().map(|cell| format!("{:>31}", figure(cell))).collect::<String>();
            let _ = writeln!(text, "{what:<34}{figures}");
        };
        line("commands at Redis, of those asked", &|cell| format!("{:.2} %", cell.commands * 100.0));
        line("processor of Redis, of one core", &|cell| format!("{:.0} %", cell.server_cores * 100.0));
        line("processor of hotgate, of one core", &|cell| format!("{:.0} %", cell.gateway_cores * 100.0));
        text.push_str(
            "Latencies of the open loops count from the moment at which a request was due; what was not answered at the end counts with \
             its age.",
        );
        text
    }
}

fn closed_name(clients: usize, pipeline: usize) -> String {
    let plural = if clients == 1 { "" } else { "s" };
    match pipeline {
        1 => format!("{clients} client{plural}"),
        _ => format!("{clients} client{plural}, {pipeline} in a pipeline"),
    }
}

fn row(name: &str, cells: &[Cell; 3]) -> String {
    let figures = |cell: &Cell| {
        let Cell { per_second, p50_ms, p99_ms, .. } = cell;
        let digits = |ms: f64| if ms < 100.0 { 2 } else { 0 };
        format!("{per_second:>13.0}{p50_ms:>9.*}{p99_ms:>9.*}", digits(*p50_ms), digits(*p99_ms))
    };
    format!("{name:<34}{}", cells.iter().map(figures).collect::<String>())
}

fn median(cells: &[Cell], figure: impl Fn(&Cell) -> f64) -> f64 {
    let mut figures: Vec<f64> = cells.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_figures_of_each_under_its_name() {
        let cell = |per_second| Cell { per_second, p50_ms: 0.25, p99_ms: 12_345.6, ..Cell::default() };
        let text = row("10 clients", &[cell(1.0), cell(2.0), cell(3.0)]);
        let figures: Vec<&str> = text.split_whitespace().skip(2).collect();
        assert_eq!(figures, ["1", "0.25", "12346", "2", "0.25", "12346", "3", "0.25", "12346"]);
        assert_eq!(median(&[cell(9.0), cell(1.0), cell(5.0)], |cell| cell.per_second), 5.0);
        assert_eq!(closed_name(1, 1), "1 client");
    }
}
