//! Several homes (one per gateway process) that share one counter, in simulated time.
//!
//! Each home takes what its clients send, folds it into one flush at a time, and gets the report after a random delay.
//! Checked all along: what clients were granted is what the counter holds, it is never beyond its limit, and no home
//! asks more than once per recheck.

use std::{collections::VecDeque, sync::Arc};

use hotgate::{
    admission::{Admission, Decision, KeyQuota},
    combine::ClampReport,
};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::script::{Counter, Outcome};
use super::{MS, quota};
use crate::support::seeds::seeds;

/// From one moment of the simulation to the next.
const STEP_NS: u64 = MS / 4;

struct Flight {
    deltas: Vec<i64>,
    /// When Redis runs it, and when the home learns of it.
    runs_ns: u64,
    settles_ns: u64,
    ran: Option<(Vec<Outcome>, ClampReport)>,
}

/// One gateway's home of the key.
struct Home {
    admission: Admission,
    waiting: Vec<i64>,
    flight: Option<Flight>,
    /// What its clients hold and may give back.
    held: VecDeque<i64>,
    asked_ns: Vec<u64>,
    flushes: u64,
    locally_refused: u64,
}

struct World {
    rng: SmallRng,
    now_ns: u64,
    recheck_ns: u64,
    delay_ns: u64,
    counter: Counter,
    homes: Vec<Home>,
    /// The sum of what clients were told is theirs.
    granted: i64,
}

/// What clients do in a stretch of time.
#[derive(Clone, Copy)]
struct Demand {
    /// Operations of each home per step, at most.
    burst: u32,
    /// Increments are at most this large.
    delta_max: i64,
    /// One in so many operations gives something back; 0: none.
    release_every: u32,
}

impl World {
    fn new(seed: u64, homes: usize, quota: &Arc<KeyQuota>, delay_ns: u64) -> Self {
        let home = || Home {
            admission: Admission::new(quota.clone()),
            waiting: Vec::new(),
            flight: None,
            held: VecDeque::new(),
            asked_ns: Vec::new(),
            flushes: 0,
            locally_refused: 0,
        };
        Self {
            rng: SmallRng::seed_from_u64(seed),
            now_ns: 0,
            recheck_ns: quota.recheck_ns(),
            delay_ns,
            counter: Counter::default(),
            homes: (0..homes).map(|_| home()).collect(),
            granted: 0,
        }
    }

    fn run(&mut self, span_ns: u64, demand: Demand) {
        let end_ns = self.now_ns + span_ns;
        while self.now_ns < end_ns {
            self.step(demand);
        }
    }

    /// Lets what is on its way arrive.
    fn settle(&mut self) {
        let still = Demand { burst: 0, delta_max: 1, release_every: 0 };
        while self.homes.iter().any(|home| home.flight.is_some() || !home.waiting.is_empty()) {
            self.step(still);
        }
    }

    fn step(&mut self, demand: Demand) {
        self.now_ns += STEP_NS;
        for index in 0..self.homes.len() {
            self.arrive(index, demand);
            self.move_flight(index);
        }
    }

    fn arrive(&mut self, index: usize, demand: Demand) {
        let home = &mut self.homes[index];
        for _ in 0..self.rng.random_range(0..=demand.burst) {
            let release = demand.release_every > 0 && self.rng.random_ratio(1, demand.release_every);
            let delta = match if release { home.held.pop_front() } else { None } {
                Some(held) => -held,
                None => self.rng.random_range(1..=demand.delta_max),
            };
            match home.admission.decide(self.now_ns, delta) {
                Decision::Admit => home.waiting.push(delta),
                Decision::Ask => {
                    let last = home.asked_ns.last().copied();
                    assert!(last.is_none_or(|last| self.now_ns >= last + self.recheck_ns), "asked too often");
                    home.asked_ns.push(self.now_ns);
                    home.waiting.push(delta);
                }
                Decision::Refuse(_) => {
                    home.locally_refused += 1;
                    if delta < 0 {
                        home.held.push_front(-delta);
                    }
                }
                Decision::LetThrough(_) => panic!("Redis is there"),
            }
        }
    }

    fn move_flight(&mut self, index: usize) {
        let (now_ns, delay) = (self.now_ns, 1..self.delay_ns);
        let home = &mut self.homes[index];
        if home.flight.is_none() && !home.waiting.is_empty() {
            let runs_ns = now_ns + self.rng.random_range(delay.clone());
            let settles_ns = runs_ns + self.rng.random_range(delay);
            let deltas = std::mem::take(&mut home.waiting);
            home.admission.on_flush(false);
            home.flushes += 1;
            home.flight = Some(Flight { deltas, runs_ns, settles_ns, ran: None });
        }
        let Some(flight) = &mut home.flight else { return };
        if flight.ran.is_none() && flight.runs_ns <= now_ns {
            let clamp = home.admission.clamp().unwrap();
            let before = self.counter.value;
            flight.ran = Some(self.counter.run(now_ns, clamp, &flight.deltas));
            let ceiling = self.counter.ceiling(clamp).unwrap_or(i64::MAX);
            assert!(self.counter.value <= ceiling.max(before), "oversold: {:?}", self.counter);
        }
        if flight.settles_ns > now_ns {
            return;
        }
        let Some(Flight { deltas, ran: Some((outcomes, report)), .. }) = home.flight.take() else { return };
        for (delta, outcome) in deltas.into_iter().zip(outcomes) {
            match outcome {
                Ok(_) => {
                    self.granted += delta;
                    if delta > 0 {
                        home.held.push_back(delta);
                    }
                }
                Err(_) if delta < 0 => home.held.push_front(-delta),
                Err(_) => {}
            }
        }
        home.admission.on_report(now_ns, &report);
    }

    fn flushes(&self) -> u64 {
        self.homes.iter().map(|home| home.flushes).sum()
    }
}

const BY_ONE: Demand = Demand { burst: 8, delta_max: 1, release_every: 0 };
const MIXED: Demand = Demand { burst: 8, delta_max: 9, release_every: 6 };
const RECHECK_NS: u64 = 50 * MS;

fn worlds(count: u64, directives: &str, mut play: impl FnMut(u64, World)) {
    for seed in seeds(count) {
        println!("HOTGATE_SEED={seed}");
        let mut rng = SmallRng::seed_from_u64(!seed);
        let delay_ns = rng.random_range(STEP_NS..20 * MS);
        play(seed, World::new(seed, rng.random_range(1..6), &quota(directives), delay_ns));
    }
}

#[test]
fn never_oversold_and_never_undersold() {
    worlds(60, "limit=2000", |seed, mut world| {
        world.run(400 * MS, MIXED);
        world.run(400 * MS, BY_ONE);
        world.settle();
        assert_eq!((world.counter.value, world.granted), (2000, 2000), "seed {seed}");
        assert!(world.homes.iter().all(|home| home.locally_refused > 0), "seed {seed}");
    });
}

#[test]
fn a_sold_out_counter_costs_one_flush_per_recheck_and_process() {
    worlds(30, "limit=500", |seed, mut world| {
        world.run(500 * MS, BY_ONE);
        let before = world.flushes();
        world.run(1000 * MS, MIXED_WITHOUT_RELEASES);
        let homes = world.homes.len() as u64;
        assert!(world.flushes() - before <= 21 * homes, "seed {seed}: {} flushes", world.flushes() - before);
        assert!(world.flushes() - before >= 10 * homes, "seed {seed}: it has to ask");
    });
}

const MIXED_WITHOUT_RELEASES: Demand = Demand { release_every: 0, ..MIXED };

#[test]
fn a_raised_limit_and_a_pause_are_seen_within_a_recheck() {
    worlds(30, "limit=500", |seed, mut world| {
        // A home that has just asked asks again after a recheck, and its flush may wait for one that is under way.
        let news_ns = RECHECK_NS + 4 * world.delay_ns + 4 * STEP_NS;
        world.run(500 * MS, BY_ONE);
        world.counter.limit = Some(i64::from(u32::MAX));
        let before: Vec<_> = world.homes.iter().map(|home| home.held.len()).collect();
        world.run(news_ns, BY_ONE);
        for (home, before) in world.homes.iter().zip(before) {
            assert!(home.held.len() > before, "seed {seed}: the raised limit is not seen");
        }
        world.counter.paused = true;
        let value = world.counter.value;
        world.run(300 * MS, MIXED);
        assert_eq!(world.counter.value, value, "seed {seed}: paused");
        let before: Vec<_> = world.homes.iter().map(|home| home.flushes).collect();
        world.run(500 * MS, MIXED);
        for (home, before) in world.homes.iter().zip(before) {
            assert!(home.flushes - before <= 11, "seed {seed}");
        }
        world.counter.paused = false;
        world.run(news_ns, MIXED);
        assert!(world.counter.value > value, "seed {seed}: resumed");
        world.settle();
        assert_eq!(world.counter.value, world.granted, "seed {seed}");
    });
}

#[test]
fn windows_reopen_without_a_question() {
    worlds(30, "limit=100;window='100ms';recheck='1m'", |seed, mut world| {
        world.run(1000 * MS, BY_ONE);
        world.settle();
        assert_eq!(world.counter.value, world.granted, "seed {seed}");
        // Every window is used up, and the next begins when the first home has seen the end of the last.
        let period_ns = 100 * MS + 4 * world.delay_ns + 4 * MS;
        let windows = i64::try_from(1000 * MS / period_ns).unwrap();
        let bounds = windows * 100..=11 * 100;
        assert!(
            bounds.contains(&world.counter.value),
            "seed {seed}: {} not in {bounds:?}",
            world.counter.value
        );
        assert!(world.homes.iter().all(|home| home.asked_ns.is_empty()), "seed {seed}");
    });
}

#[test]
fn stock_is_counted_down_to_its_floor() {
    worlds(30, "floor=0", |seed, mut world| {
        world.counter.value = 700;
        let take = Demand { burst: 4, delta_max: 3, release_every: 0 };
        for home in &mut world.homes {
            // A client that gives back what it "holds" decrements.
            home.held = std::iter::repeat_n(1, 10_000).collect();
        }
        world.run(800 * MS, Demand { release_every: 1, ..take });
        world.settle();
        assert_eq!((world.counter.value, world.granted), (0, -700), "seed {seed}");
    });
}
