//! The load of a sale: when each request is due, and which, fixed by a seed, whatever the servers do.
//!
//! Two Poisson processes run beside each other: the increments of one SKU, and the traffic of an ordinary day, which draws
//! keys by Zipf's law with exponent 1 (Breslau et al., "Web Caching and Zipf-like Distributions", INFOCOM 1999, found 0.64
//! to 0.83 for pages; shops are steeper) and reads four times for each write.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Arrival, Catalogue};

/// The counter of the SKU that is on sale.
pub const HOT_KEY: &str = "sku:{8421}:reserved";

/// The class of the increments of [`HOT_KEY`].
pub const HOT: usize = 0;
/// The class of other keys on its node.
pub const SAME_NODE: usize = 1;
/// The class of keys on other nodes.
pub const OTHER_NODES: usize = 2;
/// How many classes there are.
pub const CLASSES: usize = 3;

const BACKGROUND_KEYS: usize = 10_000;
const READ_SHARE: f64 = 0.8;
const VALUE: &[u8] = &[b'x'; 32];
const SEED: u64 = 8421;

/// The requests of the sale.
pub struct Sale {
    /// Rendered.
    pub catalogue: Catalogue,
    increment: u32,
    /// Reads and writes of the background keys, most popular first.
    reads: Vec<u32>,
    writes: Vec<u32>,
    /// The share of all draws that go to this key or a more popular one.
    popularity: Vec<f64>,
}

impl Sale {
    /// `node_of` tells the node of a key, `route_of` the group of connections that leads to a node.
    pub fn new(node_of: impl Fn(&[u8]) -> usize, route_of: impl Fn(usize) -> usize) -> Self {
        let mut catalogue = Catalogue::default();
        let hot_node = node_of(HOT_KEY.as_bytes());
        let increment = catalogue.add(&[b"INCR", HOT_KEY.as_bytes()], route_of(hot_node), HOT);
        let (mut reads, mut writes) = (Vec::new(), Vec::new());
        for number in 0..BACKGROUND_KEYS {
            let key = format!("page:{number}");
            let node = node_of(key.as_bytes());
            let class = if node == hot_node { SAME_NODE } else { OTHER_NODES };
            reads.push(catalogue.add(&[b"GET", key.as_bytes()], route_of(node), class));
            writes.push(catalogue.add(&[b"SET", key.as_bytes(), VALUE], route_of(node), class));
        }
        Self { catalogue, increment, reads, writes, popularity: zipf(BACKGROUND_KEYS) }
    }

    /// The number of the increment in the catalogue.
    pub fn increment(&self) -> u32 {
        self.increment
    }

    /// The arrivals of a run with these rates per second, in order.
    pub fn arrivals(&self, hot_rate: f64, background_rate: f64) -> impl Iterator<Item = Arrival> {
        let mut rng = SmallRng::seed_from_u64(SEED);
        let mut hot_us = gap_us(&mut rng, hot_rate);
        let mut background_us = gap_us(&mut rng, background_rate);
        std::iter::from_fn(move || {
            if hot_us <= background_us {
                let arrival = Arrival { due_us: hot_us as u32, request: self.increment };
                hot_us += gap_us(&mut rng, hot_rate);
                Some(arrival)
            } else {
                let arrival = Arrival { due_us: background_us as u32, request: self.draw(&mut rng) };
                background_us += gap_us(&mut rng, background_rate);
                Some(arrival)
            }
        })
    }

    fn draw(&self, rng: &mut SmallRng) -> u32 {
        let draw: f64 = rng.random();
        let key = self.popularity.partition_point(|share| *share < draw).min(BACKGROUND_KEYS - 1);
        if rng.random_bool(READ_SHARE) { self.reads[key] } else { self.writes[key] }
    }
}

/// The time to the next arrival of a Poisson process; none comes at rate 0.
fn gap_us(rng: &mut SmallRng, rate: f64) -> f64 {
    let draw: f64 = rng.random();
    -(1.0 - draw).ln() * 1_000_000.0 / rate
}

fn zipf(keys: usize) -> Vec<f64> {
    let total: f64 = (1..=keys).map(|rank| 1.0 / rank as f64).sum();
    let mut share = 0.0;
    (1..=keys)
        .map(|rank| {
            share += 1.0 / rank as f64 / total;
            share
        })
        .collect()
}
