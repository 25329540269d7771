//! A simulated Redis, gateways before it, and their clients.
//!
//! Redis is one server with a capacity, jitter, and slow scripts of other people. Gateways are loops with a turn; clients are an
//! open loop (they come whether or not they are answered) or a closed one (each waits for its reply). Time is simulated, chance
//! comes from a seed.

use std::collections::VecDeque;

use hotgate::pace::{Course, Gauge, KeyPace, NodePace, STANDING_WINDOWS, crowds, heaviest};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

pub const US: u64 = 1_000;
pub const MS: u64 = 1_000 * US;
pub const SECOND: u64 = 1_000 * MS;

/// Redis and the way to it.
#[derive(Clone, Copy)]
pub struct Node {
    /// What one command takes.
    pub service_ns: u64,
    pub round_trip_ns: u64,
    pub jitter_ns: u64,
}

pub const NODE: Node = Node { service_ns: US, round_trip_ns: 50 * US, jitter_ns: 30 * US };
pub const CAPACITY_PER_S: u64 = SECOND / NODE.service_ns;

#[derive(Clone, Copy)]
pub enum Load {
    /// So many a second on each key of each gateway.
    Open(u64),
    /// So many clients on each key of each gateway.
    Closed(usize),
}

#[derive(Clone, Copy)]
pub struct Key {
    pub load: Load,
    /// Operations that wait for a flush, since when the oldest does, and those in the flush that is under way.
    waiting: u64,
    since_ns: u64,
    flying: u64,
    /// It waits for its turn to flush.
    in_line: bool,
    /// Clients of a closed loop that have something to send, and those that leave when they are answered.
    ready: u64,
    leaving: u64,
    passed: u32,
    /// It may fold: it is in the hot set, or had a crowd.
    pub eligible: bool,
}

/// Something on the wire: a reply comes at `done_ns`.
#[derive(Clone, Copy)]
struct Sent {
    key: usize,
    is_flush: bool,
    done_ns: u64,
    sent_ns: u64,
}

pub struct Worker {
    gauge: Gauge,
    node: NodePace,
    pub keys: Vec<Key>,
    pub paces: Vec<KeyPace>,
    wire: VecDeque<Sent>,
    written: u64,
    counted_since_ns: u64,
    pub turn_ns: u64,
    pub next_turn_ns: u64,
    last_turn_ns: u64,
}

/// What a run has shown.
#[derive(Default, Debug)]
pub struct Seen {
    pub commands: u64,
    pub flushes: u64,
    /// Turns of keys, and those in which they were folded.
    turns: u64,
    pub folded: u64,
    /// The longest that a command was on its way, and that an operation waited for its flush.
    pub longest_ns: u64,
    pub longest_wait_ns: u64,
    /// The longest that Redis had work for.
    pub longest_backlog_ns: u64,
}

impl Seen {
    pub fn folded_share(&self) -> f64 {
        self.folded as f64 / self.turns.max(1) as f64
    }
}

pub struct World {
    pub node: Node,
    busy_until_ns: u64,
    pub workers: Vec<Worker>,
    pub now_ns: u64,
    rng: SmallRng,
}

impl World {
    pub fn new(seed: u64, gateways: usize, keys: usize, load: Load) -> Self {
        let ready = if let Load::Closed(clients) = load { clients as u64 } else { 0 };
        let key = Key {
            load,
            waiting: 0,
            since_ns: 0,
            flying: 0,
            in_line: false,
            ready,
            leaving: 0,
            passed: 0,
            eligible: true,
        };
        let worker = || {
            let mut node = NodePace::default();
            node.on_connect(NODE.round_trip_ns);
            Worker {
                gauge: Gauge::default(),
                node,
                keys: vec![key; keys],
                paces: vec![KeyPace::default(); keys],
                wire: VecDeque::new(),
                written: 0,
                counted_since_ns: 0,
                turn_ns: 20 * US,
                next_turn_ns: 0,
                last_turn_ns: SECOND,
            }
        };
        Self {
            node: NODE,
            busy_until_ns: 0,
            workers: (0..gateways).map(|_| worker()).collect(),
            now_ns: SECOND,
            rng: SmallRng::seed_from_u64(seed),
        }
    }

    /// Detection has not called any key hot, and will not.
    pub fn with_nothing_hot(mut self) -> Self {
        self.workers.iter_mut().flat_map(|worker| &mut worker.keys).for_each(|key| key.eligible = false);
        self
    }

    pub fn set_load(&mut self, load: Load) {
        for key in self.workers.iter_mut().flat_map(|worker| &mut worker.keys) {
            let clients = |load| if let Load::Closed(clients) = load { clients as u64 } else { 0 };
            let gone = clients(key.load).saturating_sub(clients(load));
            key.ready += clients(load).saturating_sub(clients(key.load));
            let idle = gone.min(key.ready);
            key.ready -= idle;
            key.leaving += gone - idle;
            key.load = load;
        }
    }

    /// Somebody's script keeps Redis for so long.
    pub fn stall(&mut self, time_ns: u64) {
        self.busy_until_ns = self.busy_until_ns.max(self.now_ns) + time_ns;
    }

    pub fn run(&mut self, time_ns: u64) -> Seen {
        let mut seen = Seen::default();
        let end_ns = self.now_ns + time_ns;
        while self.now_ns < end_ns {
            self.now_ns += 20 * US;
            for place in 0..self.workers.len() {
                if self.workers[place].next_turn_ns <= self.now_ns {
                    self.turn(place, &mut seen);
                }
            }
        }
        seen
    }

    fn turn(&mut self, place: usize, seen: &mut Seen) {
        let (now_ns, node) = (self.now_ns, self.node);
        let worker = &mut self.workers[place];
        let since_ns = now_ns - std::mem::replace(&mut worker.last_turn_ns, now_ns);
        worker.next_turn_ns = now_ns + worker.turn_ns;
        while worker.wire.front().is_some_and(|sent| sent.done_ns <= now_ns) {
            let sent = worker.wire.pop_front().unwrap();
            seen.longest_ns = seen.longest_ns.max(now_ns - sent.sent_ns);
            let key = &mut worker.keys[sent.key];
            let answered = if sent.is_flush { std::mem::take(&mut key.flying) } else { 1 };
            if sent.is_flush {
                worker.node.turns.end(now_ns, sent.key as u64);
            }
            if let Load::Closed(_) = key.load {
                let left = answered.min(key.leaving);
                key.leaving -= left;
                key.ready += answered - left;
            }
        }
        worker.look(now_ns, &mut self.rng);
        let mut batch = Vec::new();
        for (index, (key, pace)) in worker.keys.iter_mut().zip(&mut worker.paces).enumerate() {
            let arrivals = match key.load {
                Load::Open(per_s) => {
                    let mean = per_s as f64 * since_ns as f64 / SECOND as f64;
                    let noise: f64 = (0..4).map(|_| self.rng.random_range(-0.5..0.5)).sum();
                    (mean + noise * mean.sqrt()).max(0.0) + self.rng.random::<f64>()
                }
                Load::Closed(_) => std::mem::take(&mut key.ready) as f64,
            } as u64;
            seen.turns += 1;
            seen.folded += u64::from(pace.course() != Course::Passing);
            for _ in 0..arrivals {
                if pace.wants_probe(now_ns) {
                    match worker.node.begin_probe(now_ns, index as u64) {
                        true => pace.probe(now_ns),
                        false => pace.rest(now_ns, self.rng.random()),
                    }
                }
                match pace.course() {
                    Course::Passing => key.passed += 1,
                    Course::Probing if pace.admits() => {}
                    _ => {
                        if key.waiting == 0 {
                            key.since_ns = now_ns;
                        }
                        key.waiting += 1;
                        continue;
                    }
                }
                batch.push((index, false));
            }
        }
        worker.flush(now_ns, &mut batch, seen);
        seen.commands += batch.len() as u64;
        if batch.is_empty() {
            return;
        }
        let arrival_ns = now_ns + node.round_trip_ns / 2 + self.rng.random_range(0..=node.jitter_ns);
        self.busy_until_ns = self.busy_until_ns.max(arrival_ns);
        seen.longest_backlog_ns = seen.longest_backlog_ns.max(self.busy_until_ns - arrival_ns);
        let answered = worker.written - worker.wire.len() as u64;
        // Redis writes its replies once it has dealt with what it had read.
        for chunk in batch.chunks(500) {
            self.busy_until_ns += node.service_ns * chunk.len() as u64;
            let done_ns = self.busy_until_ns + node.round_trip_ns / 2;
            let sent = |(key, is_flush): &(usize, bool)| Sent {
                key: *key,
                is_flush: *is_flush,
                done_ns,
                sent_ns: now_ns,
            };
            worker.wire.extend(chunk.iter().map(sent));
        }
        worker.written += batch.len() as u64;
        worker.gauge.on_write(now_ns, worker.written, answered, false);
    }
}

impl Worker {
    /// Sends what waits, by turns.
    fn flush(&mut self, now_ns: u64, batch: &mut Vec<(usize, bool)>, seen: &mut Seen) {
        let called: Vec<u64> = std::iter::from_fn(|| self.node.turns.call(now_ns)).collect();
        for key in &called {
            self.keys[*key as usize].in_line = false;
        }
        let ready = (0..self.keys.len()).filter(|index| !called.contains(&(*index as u64)));
        for index in called.iter().map(|key| *key as usize).chain(ready) {
            let key = &mut self.keys[index];
            if key.waiting == 0 || key.flying > 0 || key.in_line {
                continue;
            }
            if !self.node.turns.begin(now_ns, index as u64) {
                key.in_line = true;
                self.node.turns.wait(index as u64);
                continue;
            }
            seen.longest_wait_ns = seen.longest_wait_ns.max(now_ns - key.since_ns);
            key.flying = std::mem::take(&mut key.waiting);
            batch.push((index, true));
            seen.flushes += 1;
            self.node.turns.on_sent();
        }
    }

    fn look(&mut self, now_ns: u64, rng: &mut SmallRng) {
        let answered = self.written - self.wire.len() as u64;
        let Some(window) = self.gauge.on_look(now_ns, answered, self.node.window_ns()) else { return };
        let queue_ns = self.node.on_window(now_ns, &window);
        let standing = self.gauge.count_standing(queue_ns.is_some());
        if let Some(prober) = self.node.prober() {
            let pace = &mut self.paces[prober as usize];
            match self.node.is_probe_queueing(&window) {
                true => pace.fold(now_ns, window.delay_ns.unwrap_or(0), rng.random()),
                false if pace.course() == Course::Probing => pace.on_good_round(now_ns),
                false => {}
            }
            if pace.course() != Course::Probing {
                self.node.end_probe(now_ns, pace.course() == Course::Passing);
            }
            return;
        }
        let stands = queue_ns.filter(|_| standing >= STANDING_WINDOWS);
        let flushes = if queue_ns.is_some() { self.node.turns.take_sent() } else { 0 };
        let mut is_done = true;
        if let Some(excess_ns) = stands {
            let eligible = self.keys.iter().enumerate().filter(|(_, key)| key.eligible);
            let passed = eligible.map(|(index, key)| (key.passed, index as u64));
            let chosen = heaviest(passed, &window, now_ns - self.counted_since_ns);
            let passed: u32 = self.keys.iter().filter(|key| key.eligible).map(|key| key.passed).sum();
            is_done = chosen.is_empty() && u64::from(passed) <= flushes;
            for index in chosen {
                self.paces[index as usize].fold(now_ns, excess_ns, rng.random());
            }
        }
        self.node.turns.on_window(now_ns, &window, (stands.is_some(), is_done), 1);
        if stands.is_some() && self.node.crowd_looks.is_due(now_ns) {
            let found = crowds(self.wire.iter().filter(|sent| !sent.is_flush).map(|sent| sent.key));
            let is_new = |key: &usize| !std::mem::replace(&mut self.keys[*key].eligible, true);
            let new = found.iter().copied().filter(is_new).count();
            self.node.crowd_looks.on_look(now_ns, new == 0);
        }
        if queue_ns.is_some() {
            self.keys.iter_mut().for_each(|key| key.passed = 0);
            self.counted_since_ns = now_ns;
        }
    }
}
