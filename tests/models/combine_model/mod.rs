//! What combining promises, checked against sequential execution: in a model of Redis, and in Redis itself.

mod counter_scripts;
mod harness;
mod histories;
mod machine;
mod model;
mod moods;
mod quota;
mod refused;
mod server;
mod token;
mod transactions;
mod writes;

use self::harness::{Backend, KEY, World, request};
use self::histories::play_all;
use self::model::Model;
use self::server::Server;
use crate::support::seeds::seeds;
use hotgate::resp::RespVersion;

#[test]
fn members_get_what_one_by_one_would_give_in_the_model() {
    play_all(seeds(4000), |_, exactly_once| {
        World::new(Model::default(), Model::default(), exactly_once, "g1")
    });
}

#[test]
fn members_get_what_one_by_one_would_give_in_redis() {
    let server = Server::start();
    play_all(seeds(400), |seed, exactly_once| {
        let mut world = World::new(server.client(0), server.client(1), exactly_once, &format!("g{seed}"));
        world.outside(&[b"DEL", KEY]);
        world
    });
}

#[test]
fn increments_are_unique_and_gapless() {
    let mut world = World::new(Model::default(), Model::default(), true, "g1");
    for round in 0..50 {
        for _ in 0..round * 7 {
            world.push(request(&[b"INCR", KEY]), RespVersion::Resp2);
        }
        let Some((flush, wire)) = world.take() else { continue };
        match round % 3 {
            0 => world.lose(&flush, &wire, true),
            1 => world.lose(&flush, &wire, false),
            _ => world.deliver(&flush, &wire),
        }
    }
    world.drain();
    let total = (0..50).map(|round| round * 7).sum::<u64>();
    let [reply] = world.subject.run(&request(&[b"GET", KEY]), RespVersion::Resp2).try_into().unwrap();
    assert_eq!(reply, request(&[total.to_string().as_bytes()])[4..]);
    let counters = world.queue.counters();
    assert_eq!((counters.offered, counters.batch_sum), (total, total));
    assert!(counters.commands < 120, "{counters:?}");
}
