//! The controller of pace, before a simulated Redis: it folds when work queues at the node, not otherwise, and finds back.
//!
//! Each story is played with several seeds; one that fails is printed.

mod world;

use hotgate::pace::Course;

use crate::support::seeds::seeds;
use world::{CAPACITY_PER_S, Load, MS, NODE, Node, SECOND, US, World};

const SEEDS: u64 = 2;

fn each_seed(story: impl Fn(u64)) {
    for seed in seeds(SEEDS) {
        // Shown where the story fails.
        println!("HOTGATE_SEED={seed}");
        story(seed);
    }
}

#[test]
fn half_of_what_redis_takes_never_folds() {
    each_seed(|seed| {
        for load in [
            Load::Open(CAPACITY_PER_S / 10),
            Load::Open(CAPACITY_PER_S / 2),
            Load::Closed(10),
            Load::Closed(2),
        ] {
            let seen = World::new(seed, 1, 1, load).run(5 * SECOND);
            assert_eq!((seen.folded, seen.flushes), (0, 0), "{seen:?}");
        }
    });
}

#[test]
fn few_clients_on_a_long_way_never_fold() {
    each_seed(|seed| {
        let mut world = World::new(seed, 1, 1, Load::Closed(2));
        world.node = Node { service_ns: 20 * US, round_trip_ns: 500 * US, jitter_ns: 400 * US };
        assert_eq!(world.run(5 * SECOND).folded, 0);
    });
}

#[test]
fn three_times_what_redis_takes_folds_and_few_commands_reach_it() {
    each_seed(|seed| {
        let mut world = World::new(seed, 1, 1, Load::Open(3 * CAPACITY_PER_S));
        let start = world.run(100 * MS);
        assert!(start.longest_ns < 60 * MS, "{start:?}");
        // Until the pauses between probes have grown.
        world.run(3 * SECOND);
        let seen = world.run(10 * SECOND);
        assert!(seen.folded_share() > 0.99, "{seen:?}");
        let passed = seen.commands - seen.flushes;
        assert!(passed < 3 * CAPACITY_PER_S * 10 * 15 / 10_000, "probes let {passed} through");
        assert!(seen.longest_ns < 10 * MS, "{seen:?}");
    });
}

/// A key that leaps up has its backlog before detection has seen it twice.
#[test]
fn a_key_that_detection_has_not_seen_folds_by_its_crowd() {
    each_seed(|seed| {
        let mut world = World::new(seed, 1, 1, Load::Open(CAPACITY_PER_S / 10)).with_nothing_hot();
        assert_eq!(world.run(SECOND).folded, 0);
        world.set_load(Load::Open(7 * CAPACITY_PER_S));
        let leap = world.run(200 * MS);
        // Until detection would have seen it the backlog would be that of 1.2 seconds.
        assert!(leap.longest_ns < 200 * MS, "{leap:?}");
        world.run(3 * SECOND);
        let seen = world.run(SECOND);
        assert!(seen.longest_ns < 20 * MS && seen.folded_share() > 0.9, "{seen:?}");
        // Many keys of which none has a crowd are nobody's to fold.
        let mut world = World::new(seed, 1, 400, Load::Open(CAPACITY_PER_S / 300)).with_nothing_hot();
        assert_eq!(world.run(100 * MS).folded, 0);
    });
}

#[test]
fn load_around_the_capacity_settles_from_both_sides() {
    each_seed(|seed| {
        let mut world = World::new(seed, 1, 1, Load::Open(CAPACITY_PER_S * 9 / 10));
        let below = world.run(10 * SECOND);
        assert!(below.folded_share() < 0.1, "{below:?}");
        world.set_load(Load::Open(CAPACITY_PER_S * 11 / 10));
        let above = world.run(10 * SECOND);
        assert!(above.folded_share() > 0.8, "{above:?}");
        world.set_load(Load::Open(CAPACITY_PER_S * 7 / 10));
        world.run(5 * SECOND);
        let again = world.run(5 * SECOND);
        assert_eq!(again.folded, 0, "{again:?}");
    });
}

#[test]
fn a_slow_script_of_somebody_else_folds_for_a_moment_only() {
    each_seed(|seed| {
        let mut world = World::new(seed, 1, 1, Load::Open(CAPACITY_PER_S / 3));
        world.run(SECOND);
        world.stall(100 * MS);
        let during = world.run(300 * MS);
        assert!(during.folded > 0, "{during:?}");
        world.run(SECOND);
        assert_eq!(world.run(5 * SECOND).folded, 0);
    });
}

#[test]
fn a_gateway_short_of_processor_does_not_take_its_own_lateness_for_a_queue() {
    each_seed(|seed| {
        let mut world = World::new(seed, 1, 1, Load::Open(CAPACITY_PER_S / 5));
        world.workers[0].turn_ns = 5 * MS;
        assert_eq!(world.run(5 * SECOND).folded, 0);
        // Time stolen from the whole machine.
        world.workers[0].turn_ns = 20 * US;
        world.workers[0].next_turn_ns = world.now_ns + 80 * MS;
        world.stall(80 * MS);
        assert!(world.run(5 * SECOND).folded_share() < 0.1);
    });
}

#[test]
fn a_gateway_that_starts_under_load_does_not_take_the_queue_for_the_distance() {
    each_seed(|seed| {
        let mut world = World::new(seed, 1, 1, Load::Open(2 * CAPACITY_PER_S));
        world.stall(5 * MS);
        world.run(200 * MS);
        assert!(world.run(5 * SECOND).folded_share() > 0.9);
    });
}

/// Gateways with many keys each, all of which are folded.
fn crowd(seed: u64, gateways: usize, keys: usize, node: Node) -> World {
    let capacity_per_s = SECOND / node.service_ns;
    let mut world =
        World::new(seed, gateways, keys, Load::Open(3 * capacity_per_s / (gateways * keys) as u64));
    world.node = node;
    world.workers.iter_mut().for_each(|worker| worker.turn_ns = 200 * US);
    world.run(2 * SECOND);
    world
}

/// Folding alone would leave as much work as there are keys, at each moment.
#[test]
fn many_gateways_with_many_keys_do_not_overload_the_node() {
    let crowds = [(16, 128, US), (8, 64, 20 * US), (4, 200, 5 * US)];
    for ((gateways, keys, service_ns), seed) in crowds.into_iter().zip(seeds(crowds.len() as u64).cycle()) {
        println!("HOTGATE_SEED={seed}");
        let seen = crowd(seed, gateways, keys, Node { service_ns, ..NODE }).run(SECOND);
        let each_once_ns = (gateways * keys) as u64 * service_ns;
        assert!(seen.longest_backlog_ns < each_once_ns / 2, "{seen:?}");
        assert!(seen.longest_wait_ns < 30 * MS, "{seen:?}");
    }
}

/// A node that does not answer at all, and then does.
#[test]
fn an_outage_ends_without_a_herd() {
    const KEYS: usize = 32;
    each_seed(|seed| {
        let mut world = World::new(seed, 1, KEYS, Load::Open(CAPACITY_PER_S / 2 / KEYS as u64));
        world.run(SECOND);
        world.stall(500 * MS);
        let first = world.run(50 * MS);
        assert!(first.commands < CAPACITY_PER_S / 2 / 20, "{first:?}");
        let during = world.run(449 * MS);
        assert_eq!(during.commands, 0, "{during:?}");
        let after = world.run(5 * MS);
        assert!(after.longest_backlog_ns < 2 * MS, "{after:?}");
        world.run(5 * SECOND);
        assert!(world.run(SECOND).folded_share() < 0.1);
    });
}

#[test]
fn clients_that_come_and_go_find_it_as_it_must_be() {
    each_seed(|seed| {
        let mut world = World::new(seed, 1, 1, Load::Closed(10));
        assert_eq!(world.run(2 * SECOND).folded, 0);
        world.set_load(Load::Closed(5000));
        world.run(2 * SECOND);
        world.set_load(Load::Closed(10));
        world.run(8 * SECOND);
        assert_eq!(world.run(2 * SECOND).folded, 0);
    });
}

#[test]
fn a_way_that_becomes_longer_is_learned() {
    each_seed(|seed| {
        let mut world = World::new(seed, 1, 1, Load::Open(CAPACITY_PER_S / 3));
        world.run(SECOND);
        world.node = Node { round_trip_ns: 5 * MS, ..NODE };
        world.run(6 * SECOND);
        assert_eq!(world.run(5 * SECOND).folded, 0);
    });
}

#[test]
fn a_failover_in_a_probe_ends_as_any_outage() {
    each_seed(|seed| {
        let mut world = World::new(seed, 1, 1, Load::Open(2 * CAPACITY_PER_S));
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
    });
}
