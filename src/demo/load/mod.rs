//! A load on servers, and the two ways to drive it. The demonstration and the benches measure with it.
//!
//! [`Connections::offer`] is open-loop: the arrival times are fixed before anything is sent, a request waits for its connection when
//! the server is slow, and its latency counts from the moment at which it was due. A closed loop would send less while the server
//! is slow and so leave out the very requests that suffer (Gil Tene, "How NOT to Measure Latency", 2013: coordinated omission).
//! [`Connections::saturate`] is closed-loop on purpose: it asks how much a server can take, and says nothing of latency under a
//! load that does not wait.
//!
//! One thread, non-blocking sockets: the load shares the machine with what it measures, so it must be cheap. All requests that fall
//! due in one tick go down one connection in one write.
//!
//! Owns its connections. Deliberately does not look at what a reply says, beyond whether it is an error.

mod connection;
mod outcome;
mod sale;

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use connection::Connection;
pub use outcome::{Class, Outcome};
pub use sale::{CLASSES, HOT, HOT_KEY, OTHER_NODES, SAME_NODE, Sale};

/// Between two rounds over the connections of an open loop. It is the most that the load itself adds to a latency while its core has
/// time; below it the system calls of the load would cost more than the requests.
const TICK: Duration = Duration::from_micros(200);

/// How long [`Connections::saturate`] waits at its end for the replies that are still due.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(20);

/// Latencies up to a minute, to three digits: 200 KB each.
fn new_histogram() -> Histogram<u64> {
    let bounded = Histogram::new_with_bounds(1, 60_000_000, 3);
    bounded.unwrap_or_else(|_| unreachable!("the bounds are constants that the crate takes"))
}

/// Why a load ended early.
#[derive(Debug)]
pub enum LoadError {
    /// [`Stop::set`] was called.
    Stopped,
    /// A connection can't be made, or broke.
    Io(io::Error),
    /// A server closed a connection.
    Closed,
    /// A server sent something that is no reply.
    Malformed,
    /// A server did not answer what was sent within [`DRAIN_TIME_MAX`].
    Silent,
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => f.write_str("the load was stopped"),
            Self::Io(error) => write!(f, "the load lost a connection: {error}"),
            Self::Closed => f.write_str("the server closed a connection of the load"),
            Self::Malformed => f.write_str("the server sent something that is no reply"),
            Self::Silent => write!(f, "the server answered nothing for {} s", DRAIN_TIME_MAX.as_secs()),
        }
    }
}

impl std::error::Error for LoadError {}

impl From<io::Error> for LoadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Ends every load that holds a clone of it, within a tick.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on loads end with [`LoadError::Stopped`].
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// An error once it is set.
    ///
    /// # Errors
    /// [`LoadError::Stopped`].
    pub fn check(&self) -> Result<(), LoadError> {
        if self.0.load(Ordering::Relaxed) { Err(LoadError::Stopped) } else { Ok(()) }
    }
}

/// The requests of a load, rendered once.
#[derive(Default)]
pub struct Catalogue {
    bytes: Vec<u8>,
    requests: Vec<Rendered>,
}

/// One request and where it counts.
struct Rendered {
    bytes: Range<usize>,
    /// The index of the group of connections that takes it.
    route: usize,
    /// The index of the class in the [`Outcome`].
    class: usize,
}

impl Catalogue {
    /// Adds a request; returns its number.
    pub fn add(&mut self, arguments: &[&[u8]], route: usize, class: usize) -> u32 {
        let start = self.bytes.len();
        crate::resp::encode::command(&mut self.bytes, arguments);
        self.requests.push(Rendered { bytes: start..self.bytes.len(), route, class });
        self.requests.len() as u32 - 1
    }

    fn get(&self, request: u32) -> &Rendered {
        &self.requests[request as usize]
    }

    fn bytes_of(&self, request: u32) -> &[u8] {
        &self.bytes[self.get(request).bytes.clone()]
    }
}

/// A request that is due at a time from the start of its run.
#[derive(Clone, Copy)]
pub struct Arrival {
    /// In µs.
    pub due_us: u32,
    /// Its number in the [`Catalogue`].
    pub request: u32,
}

/// How long an open loop lasts, and how many classes its requests have.
#[derive(Clone, Copy)]
pub struct Offer {
    /// No request is due after it.
    pub time: Duration,
    /// One more than the highest class of the catalogue.
    pub classes: usize,
}

/// What [`Connections::saturate`] saw.
pub struct Saturated {
    /// All replies, errors among them.
    pub replies: u64,
    /// Replies that are errors.
    pub errors: u64,
    /// Until the last reply.
    pub seconds: f64,
    /// From the moment at which a pipeline was rendered to each of its replies, in µs.
    pub latency_us: Histogram<u64>,
}

impl Saturated {
    /// Replies per second.
    pub fn per_second(&self) -> f64 {
        self.replies as f64 / self.seconds
    }
}

/// Groups of connections, one group for each place that requests are routed to.
pub struct Connections {
    connections: Vec<Connection>,
    groups: Vec<Range<usize>>,
    stop: Stop,
}

impl Connections {
    /// Opens `count` connections to each of `ports` of 127.0.0.1. Route `i` is the group of `ports[i]`.
    ///
    /// # Errors
    /// [`LoadError::Io`].
    pub fn open(ports: &[u16], count: usize, stop: &Stop) -> Result<Self, LoadError> {
        let mut connections = Vec::with_capacity(ports.len() * count);
        for port in ports {
            for _ in 0..count {
                stop.check()?;
                connections.push(Connection::open(*port)?);
            }
        }
        let groups = (0..ports.len()).map(|route| route * count..(route + 1) * count).collect();
        Ok(Self { connections, groups, stop: stop.clone() })
    }

    /// Offers `arrivals` until one is due after the time, then stops without waiting for what is still unanswered.
    ///
    /// # Errors
    /// Every [`LoadError`] but `Silent`.
    pub fn offer(
        &mut self,
        catalogue: &Catalogue,
        arrivals: impl Iterator<Item = Arrival>,
        offer: Offer,
    ) -> Result<Outcome, LoadError> {
        self.offer_by_seconds(catalogue, arrivals, offer, |_| {})
    }

    /// As [`Connections::offer`]; `on_second` gets the outcome of each whole second when it is over.
    ///
    /// # Errors
    /// Those of [`Connections::offer`].
    pub fn offer_by_seconds(
        &mut self,
        catalogue: &Catalogue,
        mut arrivals: impl Iterator<Item = Arrival>,
        offer: Offer,
        mut on_second: impl FnMut(&Outcome),
    ) -> Result<Outcome, LoadError> {
        let end_us = offer.time.as_micros() as u32;
        let mut total = Outcome::new(offer);
        let mut second = Outcome::new(offer);
        let mut second_end_us = 1_000_000;
        let mut next = arrivals.next();
        let start = Instant::now();
        for tick in 0.. {
            self.stop.check()?;
            let now_us = (start.elapsed().as_micros() as u32).min(end_us);
            while let Some(arrival) = next.filter(|arrival| arrival.due_us < now_us) {
                let rendered = catalogue.get(arrival.request);
                second.offered(rendered.class);
                let group = &self.groups[rendered.route];
                if !self.connections[group.start + tick % group.len()].push(arrival) {
                    second.unanswered(rendered.class, end_us - arrival.due_us);
                }
                next = arrivals.next();
            }
            for connection in &mut self.connections {
                connection.send(catalogue)?;
                connection.receive(|arrival, is_error| {
                    let latency_us = (start.elapsed().as_micros() as u32).saturating_sub(arrival.due_us);
                    second.replied(catalogue.get(arrival.request).class, latency_us, is_error);
                })?;
            }
            if now_us >= second_end_us || now_us == end_us {
                on_second(&second);
                total.add(&second);
                second.clear();
                second_end_us = (now_us / 1_000_000 + 1) * 1_000_000;
            }
            if now_us == end_us {
                break;
            }
            let tick_end = TICK * (start.elapsed().as_micros() / TICK.as_micros() + 1) as u32;
            thread::park_timeout(tick_end.saturating_sub(start.elapsed()));
            second.late(start.elapsed().saturating_sub(tick_end));
        }
        for arrival in self.connections.iter().flat_map(Connection::waiting) {
            total.unanswered(catalogue.get(arrival.request).class, end_us - arrival.due_us);
        }
        Ok(total)
    }

    /// Keeps `depth` of one request going on each connection: as soon as the last of them is answered, the next go.
    ///
    /// # Errors
    /// Every [`LoadError`].
    pub fn saturate(
        &mut self,
        catalogue: &Catalogue,
        request: u32,
        depth: usize,
        time: Duration,
    ) -> Result<Saturated, LoadError> {
        self.saturate_with(catalogue, &[request], depth, time)
    }

    /// As [`Connections::saturate`] with several requests that take turns; each connection begins at another of them.
    ///
    /// # Errors
    /// Every [`LoadError`].
    pub fn saturate_with(
        &mut self,
        catalogue: &Catalogue,
        requests: &[u32],
        depth: usize,
        time: Duration,
    ) -> Result<Saturated, LoadError> {
        let mut seen = Saturated { replies: 0, errors: 0, seconds: 0.0, latency_us: new_histogram() };
        let mut turns: Vec<usize> = (0..self.connections.len()).collect();
        let start = Instant::now();
        loop {
            self.stop.check()?;
            let goes_on = start.elapsed() < time;
            let mut idle = 0;
            for (connection, turn) in self.connections.iter_mut().zip(&mut turns) {
                if connection.is_idle() && goes_on {
                    let due_us = start.elapsed().as_micros() as u32;
                    for _ in 0..depth {
                        connection.push(Arrival { due_us, request: requests[*turn % requests.len()] });
                        *turn += 1;
                    }
                }
                connection.send(catalogue)?;
                let mut now_us = None;
                connection.receive(|arrival, is_error| {
                    let now_us = *now_us.get_or_insert_with(|| start.elapsed().as_micros() as u32);
                    seen.latency_us
                        .saturating_record(u64::from(now_us.saturating_sub(arrival.due_us)).max(1));
                    seen.replies += 1;
                    seen.errors += u64::from(is_error);
                })?;
                idle += usize::from(connection.is_idle());
            }
            if !goes_on && idle == self.connections.len() {
                seen.seconds = start.elapsed().as_secs_f64();
                return Ok(seen);
            }
            if start.elapsed() > time + DRAIN_TIME_MAX {
                return Err(LoadError::Silent);
            }
        }
    }
}
