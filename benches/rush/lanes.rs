//! Connections that carry a load, and the two ways to drive them.
//!
//! [`Lanes::offer`] is open-loop: the arrival times are fixed before anything is sent, a request waits in its lane when
//! the server is slow, and its latency counts from the moment at which it was due. A closed loop would send less while
//! the server is slow and so leave out the very requests that suffer (Gil Tene, "How NOT to Measure Latency", 2013:
//! coordinated omission). [`Lanes::saturate`] is closed-loop on purpose: it asks how much a server can take, and what a
//! request costs it, and says nothing of latency.
//!
//! One thread, non-blocking sockets: the load shares the machine with what it measures, so it must be cheap. All requests
//! that fall due in one tick go down one lane in one write.
//!
//! Deliberately does not: look at what a reply says, beyond whether it is an error.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use hotgate::resp::{ReplyScan, ReplyScanner};

use crate::outcome::Outcome;

/// Between two rounds over the lanes of an open loop. It is the most that the load itself adds to a latency while its
/// core has time; below it the system calls of the load would cost more than the requests.
const TICK: Duration = Duration::from_micros(200);

/// One write and one read.
const CHUNK_BYTES: usize = 64 * 1024;

/// Requests that one lane remembers, sent or not: 32 MiB of memory each. Those that fall due beyond it are dropped, and
/// count as unanswered.
const LANE_REQUESTS_MAX: usize = 1 << 22;

/// How long [`Lanes::saturate`] waits at its end for the replies that are still due.
const DRAIN_TIME_MAX: Duration = Duration::from_secs(5);

/// The requests of a load, rendered once.
#[derive(Default)]
pub struct Catalogue {
    bytes: Vec<u8>,
    requests: Vec<Rendered>,
}

/// One request and where it counts.
pub struct Rendered {
    bytes: Range<usize>,
    /// The index of the group of lanes that takes it.
    pub route: usize,
    /// The index of the class in the [`Outcome`].
    pub class: usize,
}

impl Catalogue {
    /// Adds a request; returns its number.
    pub fn add(&mut self, args: &[&[u8]], route: usize, class: usize) -> u32 {
        let start = self.bytes.len();
        hotgate::resp::encode::command(&mut self.bytes, args);
        self.requests.push(Rendered { bytes: start..self.bytes.len(), route, class });
        self.requests.len() as u32 - 1
    }

    fn get(&self, request: u32) -> &Rendered {
        &self.requests[request as usize]
    }
}

/// A request that is due at a time from the start of its run.
#[derive(Clone, Copy)]
pub struct Arrival {
    pub due_us: u32,
    /// Its number in the [`Catalogue`].
    pub request: u32,
}

/// What [`Lanes::saturate`] saw.
pub struct Saturated {
    pub replies: u64,
    pub errors: u64,
    pub seconds: f64,
    /// From the moment at which a pipeline was rendered to each of its replies, in µs.
    pub latency_us: Histogram<u64>,
}

impl Saturated {
    pub fn per_second(&self) -> f64 {
        self.replies as f64 / self.seconds
    }
}

/// Groups of connections, one group for each place that requests are routed to.
pub struct Lanes {
    lanes: Vec<Lane>,
    groups: Vec<Range<usize>>,
}

impl Lanes {
    /// Connects `count` lanes to each of `ports` of 127.0.0.1. Route `i` is the group of `ports[i]`.
    pub fn connect(ports: &[u16], count: usize) -> Lanes {
        let lanes = ports.iter().flat_map(|port| (0..count).map(|_| Lane::connect(*port))).collect();
        let groups = (0..ports.len()).map(|route| route * count..(route + 1) * count).collect();
        Lanes { lanes, groups }
    }

    /// Offers `arrivals` until one is due after `time`, then stops without waiting for what is still unanswered.
    pub fn offer(
        &mut self,
        catalogue: &Catalogue,
        mut arrivals: impl Iterator<Item = Arrival>,
        time: Duration,
        classes: usize,
    ) -> Outcome {
        let end_us = time.as_micros() as u32;
        let mut outcome = Outcome::new(classes, time);
        let mut next = arrivals.next();
        let start = Instant::now();
        for tick in 0.. {
            let now_us = (start.elapsed().as_micros() as u32).min(end_us);
            while let Some(arrival) = next.filter(|arrival| arrival.due_us < now_us) {
                let rendered = catalogue.get(arrival.request);
                outcome.offered(rendered.class);
                let group = &self.groups[rendered.route];
                let lane = &mut self.lanes[group.start + tick % group.len()];
                if !lane.push(arrival) {
                    outcome.dropped(rendered.class, end_us - arrival.due_us);
                }
                next = arrivals.next();
            }
            for lane in &mut self.lanes {
                lane.send(catalogue);
                lane.receive(|arrival, is_error| {
                    let latency_us = (start.elapsed().as_micros() as u32).saturating_sub(arrival.due_us);
                    outcome.replied(catalogue.get(arrival.request).class, latency_us, is_error);
                });
            }
            if now_us == end_us {
                break;
            }
            let tick_end = TICK * (start.elapsed().as_micros() / TICK.as_micros() + 1) as u32;
            thread::park_timeout(tick_end.saturating_sub(start.elapsed()));
            outcome.late(start.elapsed().saturating_sub(tick_end));
        }
        for arrival in self.lanes.iter().flat_map(|lane| &lane.waiting) {
            outcome.unanswered(catalogue.get(arrival.request).class, end_us - arrival.due_us);
        }
        outcome
    }

    /// Keeps `depth` of one request going on each lane: as soon as the last of them is answered, the next go.
    pub fn saturate(
        &mut self,
        catalogue: &Catalogue,
        request: u32,
        depth: usize,
        time: Duration,
    ) -> Saturated {
        self.saturate_with(catalogue, &[request], depth, time)
    }

    /// As [`Lanes::saturate`] with several requests that take turns; each lane begins at another of them.
    pub fn saturate_with(
        &mut self,
        catalogue: &Catalogue,
        requests: &[u32],
        depth: usize,
        time: Duration,
    ) -> Saturated {
        let latency_us = Histogram::new_with_bounds(1, 60_000_000, 3).unwrap();
        let mut seen = Saturated { replies: 0, errors: 0, seconds: 0.0, latency_us };
        let mut turns: Vec<usize> = (0..self.lanes.len()).collect();
        let start = Instant::now();
        loop {
            let go_on = start.elapsed() < time;
            let mut idle = 0;
            for (lane, turn) in self.lanes.iter_mut().zip(&mut turns) {
                if lane.waiting.is_empty() && go_on {
                    let due_us = start.elapsed().as_micros() as u32;
                    for _ in 0..depth {
                        lane.waiting.push_back(Arrival { due_us, request: requests[*turn % requests.len()] });
                        *turn += 1;
                    }
                }
                lane.send(catalogue);
                let mut now_us = None;
                lane.receive(|arrival, is_error| {
                    let now_us = *now_us.get_or_insert_with(|| start.elapsed().as_micros() as u32);
                    seen.latency_us.saturating_record(u64::from(now_us - arrival.due_us));
                    seen.replies += 1;
                    seen.errors += u64::from(is_error);
                });
                idle += usize::from(lane.waiting.is_empty());
            }
            if !go_on && idle == self.lanes.len() {
                seen.seconds = start.elapsed().as_secs_f64();
                return seen;
            }
            assert!(start.elapsed() < time + DRAIN_TIME_MAX, "a server stopped answering");
        }
    }
}

/// One connection. Replies come in the order of the requests, so a queue of what is due tells them apart.
struct Lane {
    stream: TcpStream,
    /// Unanswered requests, oldest first.
    waiting: VecDeque<Arrival>,
    /// How many of them, from the oldest, are in the outbox or on the wire.
    rendered: usize,
    outbox: Vec<u8>,
    written: usize,
    inbox: Box<[u8]>,
    filled: usize,
    scanner: ReplyScanner,
}

impl Lane {
    fn connect(port: u16) -> Lane {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("the server accepts connections");
        stream.set_nonblocking(true).unwrap();
        stream.set_nodelay(true).unwrap();
        Lane {
            stream,
            waiting: VecDeque::new(),
            rendered: 0,
            outbox: Vec::with_capacity(2 * CHUNK_BYTES),
            written: 0,
            inbox: vec![0; CHUNK_BYTES].into(),
            filled: 0,
            scanner: ReplyScanner::new(),
        }
    }

    /// Whether there was room.
    fn push(&mut self, arrival: Arrival) -> bool {
        let has_room = self.waiting.len() < LANE_REQUESTS_MAX;
        if has_room {
            self.waiting.push_back(arrival);
        }
        has_room
    }

    fn send(&mut self, catalogue: &Catalogue) {
        loop {
            if self.written == self.outbox.len() {
                self.outbox.clear();
                self.written = 0;
                for arrival in self.waiting.range(self.rendered..) {
                    if self.outbox.len() >= CHUNK_BYTES {
                        break;
                    }
                    self.outbox
                        .extend_from_slice(&catalogue.bytes[catalogue.get(arrival.request).bytes.clone()]);
                    self.rendered += 1;
                }
            }
            if self.outbox.is_empty() {
                return;
            }
            match self.stream.write(&self.outbox[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("cannot write to the server: {error}"),
            }
        }
    }

    fn receive(&mut self, mut on_reply: impl FnMut(Arrival, bool)) {
        if self.rendered == 0 {
            return;
        }
        loop {
            match self.stream.read(&mut self.inbox[self.filled..]) {
                Ok(0) => panic!("the server closed the connection"),
                Ok(count) => self.filled += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("cannot read from the server: {error}"),
            }
            let was_full = self.filled == self.inbox.len();
            let mut at = 0;
            while let Some(kind) = self.inbox[..self.filled].get(at) {
                let is_error = *kind == b'-';
                match self.scanner.scan(&self.inbox[at..self.filled]) {
                    ReplyScan::Complete { len } => at += len,
                    ReplyScan::Incomplete { .. } => break,
                    ReplyScan::TooLong => panic!("the server sent a line without an end"),
                    ReplyScan::Malformed(expected) => {
                        panic!("the server sent something else than {expected}")
                    }
                }
                self.rendered -= 1;
                on_reply(self.waiting.pop_front().expect("a reply belongs to a request"), is_error);
            }
            self.inbox.copy_within(at..self.filled, 0);
            self.filled -= at;
            if !was_full {
                return;
            }
        }
    }
}
