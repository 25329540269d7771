//! The controller of pace, before a simulated Redis: it folds when work queues at the node, not otherwise, and finds back.
//!
//! Redis is one server with a capacity, jitter, and slow scripts of other people. Gateways are loops with a turn; clients are an
//! open loop (they come whether or not they are answered) or a closed one (each waits for its reply). Time is simulated, chance
//! comes from a seed.

use std::collections::VecDeque;

use hotgate::pace::{Course, Gauge, KeyPace, NodePace, STANDING_WINDOWS, heaviest};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const US: u64 = 1_000;
const MS: u64 = 1_000 * US;
const SECOND: u64 = 1_000 * MS;

/// Redis and the way to it.
#[derive(Clone, Copy)]
struct Node {
    /// What one command takes.
    service_ns: u64,
    round_trip_ns: u64,
    jitter_ns: u64,
}

const NODE: Node = Node { service_ns: US, round_trip_ns: 50 * US, jitter_ns: 30 * US };
const CAPACITY_PER_S: u64 = SECOND / NODE.service_ns;

#[derive(Clone, Copy)]
enum Load {
    /// So many a second on each key of each gateway.
    Open(u64),
    /// So many clients on each key of each gateway.
    Closed(usize),
}

#[derive(Clone, Copy)]
struct Key {
    load: Load,
    /// Operations that wait for a flush, and those in the flush that is under way.
    waiting: u64,
    flying: u64,
    /// Clients of a closed loop that have something to send, and those that leave when they are answered.
    ready: u64,
    leaving: u64,
    passed: u32,
}

/// Something on the wire: a reply comes at `done_ns`.
#[derive(Clone, Copy)]
struct Sent {
    key: usize,
    is_flush: bool,
    done_ns: u64,
    sent_ns: u64,
}

struct Worker {
    gauge: Gauge,
    node: NodePace,
    keys: Vec<Key>,
    paces: Vec<KeyPace>,
    wire: VecDeque<Sent>,
    written: u64,
    counted_since_ns: u64,
    turn_ns: u64,
    next_turn_ns: u64,
    last_turn_ns: u64,
}

/// What a run has shown.
#[derive(Default, Debug)]
struct Seen {
    commands: u64,
    flushes: u64,
    /// Turns of keys, and those in which they were folded.
    turns: u64,
    folded: u64,
    longest_ns: u64,
}

impl Seen {
    fn folded_share(&self) -> f64 {
        self.folded as f64 / self.turns.max(1) as f64
    }
}

struct World {
    node: Node,
    busy_until_ns: u64,
    workers: Vec<Worker>,
    now_ns: u64,
    rng: SmallRng,
}

impl World {
    fn new(gateways: usize, keys: usize, load: Load) -> Self {
        let seed = std::env::var("HOTGATE_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(8421);
        println!("HOTGATE_SEED={seed}");
        let ready = if let Load::Closed(clients) = load { clients as u64 } else { 0 };
        let key = Key { load, waiting: 0, flying: 0, ready, leaving: 0, passed: 0 };
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

    fn set_load(&mut self, load: Load) {
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
    fn stall(&mut self, time_ns: u64) {
        self.busy_until_ns = self.busy_until_ns.max(self.now_ns) + time_ns;
    }

    fn run(&mut self, time_ns: u64) -> Seen {
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
                        key.waiting += 1;
                        continue;
                    }
                }
                batch.push((index, false));
            }
            if key.waiting > 0 && key.flying == 0 {
                key.flying = std::mem::take(&mut key.waiting);
                batch.push((index, true));
                seen.flushes += 1;
            }
        }
        seen.commands += batch.len() as u64;
        if batch.is_empty() {
            return;
        }
        let arrival_ns = now_ns + node.round_trip_ns / 2 + self.rng.random_range(0..=node.jitter_ns);
        self.busy_until_ns = self.busy_until_ns.max(arrival_ns);
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
        } else if let Some(excess_ns) = queue_ns {
            if standing >= STANDING_WINDOWS {
                let passed = self.keys.iter().enumerate().map(|(index, key)| (key.passed, index as u64));
                let chosen = heaviest(passed, &window, now_ns - self.counted_since_ns);
                for index in chosen {
                    self.paces[index as usize].fold(now_ns, excess_ns, rng.random());
                }
            }
            self.keys.iter_mut().for_each(|key| key.passed = 0);
            self.counted_since_ns = now_ns;
        }
    }
}

#[test]
fn half_of_what_redis_takes_never_folds() {
    for load in
        [Load::Open(CAPACITY_PER_S / 10), Load::Open(CAPACITY_PER_S / 2), Load::Closed(10), Load::Closed(2)]
    {
        let seen = World::new(1, 1, load).run(5 * SECOND);
        assert_eq!((seen.folded, seen.flushes), (0, 0), "{seen:?}");
    }
}

#[test]
fn few_clients_on_a_long_way_never_fold() {
    let mut world = World::new(1, 1, Load::Closed(2));
    world.node = Node { service_ns: 20 * US, round_trip_ns: 500 * US, jitter_ns: 400 * US };
    assert_eq!(world.run(5 * SECOND).folded, 0);
}

#[test]
fn three_times_what_redis_takes_folds_and_few_commands_reach_it() {
    let mut world = World::new(1, 1, Load::Open(3 * CAPACITY_PER_S));
    let start = world.run(100 * MS);
    assert!(start.longest_ns < 60 * MS, "{start:?}");
    let seen = world.run(10 * SECOND);
    assert!(seen.folded_share() > 0.99, "{seen:?}");
    let passed = seen.commands - seen.flushes;
    assert!(passed < 3 * CAPACITY_PER_S * 10 * 15 / 10_000, "probes let {passed} through");
    assert!(seen.longest_ns < 10 * MS, "{seen:?}");
}

#[test]
fn load_around_the_capacity_settles_from_both_sides() {
    let mut world = World::new(1, 1, Load::Open(CAPACITY_PER_S * 9 / 10));
    let below = world.run(10 * SECOND);
    assert!(below.folded_share() < 0.1, "{below:?}");
    world.set_load(Load::Open(CAPACITY_PER_S * 11 / 10));
    let above = world.run(10 * SECOND);
    assert!(above.folded_share() > 0.8, "{above:?}");
    world.set_load(Load::Open(CAPACITY_PER_S * 7 / 10));
    world.run(5 * SECOND);
    let again = world.run(5 * SECOND);
    assert_eq!(again.folded, 0, "{again:?}");
}

#[test]
fn a_slow_script_of_somebody_else_folds_for_a_moment_only() {
    let mut world = World::new(1, 1, Load::Open(CAPACITY_PER_S / 3));
    world.run(SECOND);
    world.stall(100 * MS);
    let during = world.run(300 * MS);
    assert!(during.folded > 0, "{during:?}");
    world.run(SECOND);
    assert_eq!(world.run(5 * SECOND).folded, 0);
}

#[test]
fn a_gateway_short_of_processor_does_not_take_its_own_lateness_for_a_queue() {
    let mut world = World::new(1, 1, Load::Open(CAPACITY_PER_S / 5));
    world.workers[0].turn_ns = 5 * MS;
    assert_eq!(world.run(5 * SECOND).folded, 0);
    // Time stolen from the whole machine.
    world.workers[0].turn_ns = 20 * US;
    world.workers[0].next_turn_ns = world.now_ns + 80 * MS;
    world.stall(80 * MS);
    assert!(world.run(5 * SECOND).folded_share() < 0.1);
}

#[test]
fn a_gateway_that_starts_under_load_does_not_take_the_queue_for_the_distance() {
    let mut world = World::new(1, 1, Load::Open(2 * CAPACITY_PER_S));
    world.stall(5 * MS);
    world.run(200 * MS);
    assert!(world.run(5 * SECOND).folded_share() > 0.9);
}

#[test]
fn many_gateways_with_many_keys_do_not_overload_the_node() {
    let mut world = World::new(16, 128, Load::Open(3 * CAPACITY_PER_S / (16 * 128)));
    world.workers.iter_mut().for_each(|worker| worker.turn_ns = 200 * US);
    world.run(2 * SECOND);
    let seen = world.run(SECOND);
    assert!(seen.longest_ns < 100 * MS, "{seen:?}");
}

#[test]
fn clients_that_come_and_go_find_it_as_it_must_be() {
    let mut world = World::new(1, 1, Load::Closed(10));
    assert_eq!(world.run(2 * SECOND).folded, 0);
    world.set_load(Load::Closed(5000));
    world.run(2 * SECOND);
    world.set_load(Load::Closed(10));
    world.run(8 * SECOND);
    assert_eq!(world.run(2 * SECOND).folded, 0);
}

#[test]
fn a_way_that_becomes_longer_is_learned() {
    let mut world = World::new(1, 1, Load::Open(CAPACITY_PER_S / 3));
    world.run(SECOND);
    world.node = Node { round_trip_ns: 5 * MS, ..NODE };
    world.run(6 * SECOND);
    assert_eq!(world.run(5 * SECOND).folded, 0);
}

#[test]
fn a_failover_in_a_probe_ends_as_any_outage() {
    let mut world = World::new(1, 1, Load::Open(2 * CAPACITY_PER_S));
    world.run(SECOND);
    while world.workers[0].paces[0].course() != Course::Probing {
        world.run(20 * US);
    }
    world.stall(500 * MS);
    world.run(SECOND);
    assert!(world.run(2 * SECOND).folded_share() > 0.9);
    world.set_load(Load::Open(CAPACITY_PER_S / 3));
    world.run(5 * SECOND);
    assert_eq!(world.run(2 * SECOND).folded, 0);
}
