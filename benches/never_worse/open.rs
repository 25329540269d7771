//! Open loops: so many requests are due each second whether answered or not, most of them on the hot key and some on others beside it.
//!
//! The rate is a share of what the gateway with combining off takes on these connections in the same run. Latencies count from the moment at
//! which a request was due.

use std::time::Duration;

use hotgate::demo::load::{Arrival, Catalogue, Connections, Offer, Stop};

use super::cell::{Cell, Seen};
use super::{Extent, Wanted, add, measure};

const SHARES: [f64; 4] = [0.1, 0.5, 0.9, 1.0];
const CONNECTIONS: usize = 16;
/// Requests per connection that bring the gateway to its limit.
const PROBE_DEPTH: usize = 64;
/// One in so many requests is on another key.
const BYSTANDER_EACH: u64 = 20;
const HOT: usize = 0;
const BYSTANDER: usize = 1;

pub fn loops(
    wanted: &Wanted,
    (load, commands): (&str, &[&[&str]]),
    (redis, ports): (u16, [u16; 3]),
    workers: usize,
    cells: &mut Vec<Cell>,
) {
    let shares = if wanted.extent == Extent::Short { &SHARES[1..2] } else { &SHARES[..] };
    let name = |share: f64| format!("{load} open {share} w={workers}");
    if shares.iter().all(|share| wanted.skips(&name(*share))) {
        return;
    }
    let mut catalogue = Catalogue::default();
    let hot: Vec<u32> = commands.iter().map(|words| add(&mut catalogue, words, HOT)).collect();
    let bystander = add(&mut catalogue, &["GET", "page:1"], BYSTANDER);
    let request_of = |number: u64| match number % BYSTANDER_EACH {
        0 => bystander,
        _ => hot[number as usize % hot.len()],
    };
    let connect =
        |contender: usize| Connections::open(&[ports[contender]], CONNECTIONS, &Stop::default()).unwrap();
    let probe = connect(0).saturate_with(&catalogue, &hot, PROBE_DEPTH, 2 * wanted.time).unwrap();
    for share in shares.iter().filter(|share| !wanted.skips(&name(**share))) {
        let gap_us = 1_000_000.0 / (share * probe.per_second());
        // A loop as short as a closed one says nothing of its tail.
        let cell = measure(wanted, name(*share), redis, |contender, time: Duration| {
            let time = 3 * time;
            let arrivals = (0_u64..).map(|number| Arrival {
                due_us: (number as f64 * gap_us) as u32,
                request: request_of(number),
            });
            let outcome = connect(contender).offer(&catalogue, arrivals, Offer { time, classes: 2 }).unwrap();
            let us = |class: usize, percentile| outcome.classes[class].percentile_ms(percentile) * 1000.0;
            let answered: u64 = outcome.classes.iter().map(|class| class.answered).sum();
            let figures = Seen {
                per_second: answered as f64 / outcome.seconds,
                p50_us: us(HOT, 50.0),
                p99_us: us(HOT, 99.0),
                bystander_p99_us: Some(us(BYSTANDER, 99.0)),
            };
            (figures, answered)
        });
        cell.print();
        cells.push(cell);
    }
}
