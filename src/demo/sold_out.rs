//! A quota that is sold out: two gateways share it, a thousand buyers ask both, and no unit too many is given.

use std::time::{Duration, Instant};

use super::load::{Catalogue, Connections, HOT_KEY, LoadError};
use super::{Ground, figures, say};

/// Units on sale.
const LIMIT: u64 = 100_000;

/// Clients of each gateway; each waits for its answer before it asks again.
const CLIENTS: usize = 500;

/// Between two lines.
const SLICE: Duration = Duration::from_millis(500);

/// How long buyers go on asking when nothing is left, if nothing else is asked for.
const LOAD_TIME: Duration = Duration::from_secs(5);

/// A machine that has not sold all by then gets no more time.
const SALE_TIME_MAX: Duration = Duration::from_secs(120);

/// The lines of both gateways' configuration.
pub(super) fn config() -> String {
    format!("[[quota]]\nmatch = \"{HOT_KEY}\"\nlimit = {LIMIT}\n")
}

/// Shows it.
pub(super) fn show(ground: &Ground, load_time: Option<Duration>) -> Result<(), LoadError> {
    let ports: Vec<u16> = ground.gateways.iter().map(|gateway| gateway.port).collect();
    let server = ground.servers.first().map_or(0, |server| server.port);
    let mut catalogue = Catalogue::default();
    let increment = catalogue.add(&[b"INCR", HOT_KEY.as_bytes()], 0, 0);
    let mut buyers = Connections::open(&ports, CLIENTS, &ground.stop)?;
    say(&format!(
        "\n{LIMIT} units are on sale: `limit = {LIMIT}` on {HOT_KEY} at two gateways before one Redis.\n\
         {} clients buy with INCR, each one after the other. {}\n\n{:>10}{:>14}{:>14}{:>14}{:>12}{:>26}",
        CLIENTS * ports.len(),
        ground.page(0),
        "second",
        "sold",
        "refused",
        "replies/s",
        "p99, ms",
        "commands at Redis per s",
    ));
    let start = Instant::now();
    let (mut sold, mut refused) = (0, 0);
    let mut ends = None;
    while ends.is_none_or(|ends| Instant::now() < ends) && start.elapsed() < SALE_TIME_MAX {
        let before = calls(server)?;
        let seen = buyers.saturate(&catalogue, increment, 1, SLICE)?;
        sold += seen.replies - seen.errors;
        refused += seen.errors;
        say(&format!(
            "{:>10.1}{sold:>14}{refused:>14}{:>14.0}{:>12.1}{:>26.0}",
            start.elapsed().as_secs_f64(),
            seen.per_second(),
            seen.latency_us.value_at_percentile(99.0) as f64 / 1000.0,
            calls(server)?.saturating_sub(before) as f64 / seen.seconds,
        ));
        if refused > 0 && ends.is_none() {
            ends = Some(Instant::now() + load_time.unwrap_or(LOAD_TIME));
        }
    }
    let counter = figures::ask(server, &format!("GET {HOT_KEY}"))?;
    let counter = counter.lines().nth(1).unwrap_or("nothing").trim_end().to_owned();
    say(&format!(
        "\nBuyers got {sold} units, and Redis has {HOT_KEY} = {counter}; the limit is {LIMIT}. {refused} were refused by the gateways."
    ));
    Ok(())
}

/// Commands on data that Redis has got so far. What a script runs is the script's.
fn calls(port: u16) -> Result<u64, LoadError> {
    let calls = figures::command_calls(port)?;
    Ok(["incr", "evalsha", "eval"].iter().filter_map(|name| calls.get(*name)).sum())
}
