//! A node that refuses one command of a flush and takes the next: memory is short for a moment, a snapshot fails, a script blocks it, it
//! loads, it becomes a replica or a master. Each member gets one answer, which a member by itself could have got; nothing takes
//! effect twice, or out of the order of its connection.

use hotgate::resp::RespVersion;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::harness::{Backend, World, request, requests};
use super::histories::random_request;
use super::model::Model;
use crate::support::seeds::seeds;

/// What a mood refuses.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Refuses {
    /// What may take memory.
    Growth,
    Writes,
    All,
}

/// What a node says in a mood. After some of it a command goes again.
const MOODS: [(&str, Refuses); 8] = [
    ("-OOM a mood", Refuses::Growth),
    ("-MISCONF a mood", Refuses::Writes),
    ("-READONLY a mood", Refuses::Writes),
    ("-NOREPLICAS a mood", Refuses::Writes),
    ("-BUSY a mood", Refuses::All),
    ("-LOADING a mood", Refuses::All),
    ("-CLUSTERDOWN a mood", Refuses::All),
    ("-MOVED a mood", Refuses::All),
];

/// So many of them, the first ones, only refuse: nothing of a flush is to go elsewhere.
const REFUSALS: usize = 5;

/// A server with moods, while it has any.
#[derive(Default)]
struct Moody {
    model: Model,
    moods: Option<SmallRng>,
    now: Option<(&'static str, Refuses)>,
    /// Moods that it may have.
    kinds: usize,
}

impl Moody {
    fn refusal(&mut self, name: &[u8]) -> Option<&'static str> {
        let rng = self.moods.as_mut()?;
        if rng.random_ratio(1, 4) {
            self.now = rng.random_ratio(1, 2).then(|| MOODS[rng.random_range(0..self.kinds)]);
        }
        let (text, refuses) = self.now?;
        let name = name.to_ascii_uppercase();
        let reads: [&[u8]; 11] = [
            b"GET",
            b"HGET",
            b"HMGET",
            b"HGETALL",
            b"EXISTS",
            b"STRLEN",
            b"TYPE",
            b"LLEN",
            b"SCARD",
            b"ZSCORE",
            b"EXPIRETIME",
        ];
        let shrinks: [&[u8]; 9] =
            [b"EXPIRE", b"PEXPIRE", b"EXPIREAT", b"PEXPIREAT", b"PERSIST", b"HDEL", b"SREM", b"ZREM", b"DEL"];
        let is_read = reads.contains(&&name[..]);
        let is_refused = match refuses {
            Refuses::Growth => !is_read && !shrinks.contains(&&name[..]),
            Refuses::Writes => !is_read,
            Refuses::All => true,
        };
        is_refused.then_some(text)
    }
}

impl Backend for Moody {
    const TIME_STANDS_STILL: bool = true;

    fn run(&mut self, wire: &[u8], version: RespVersion) -> Vec<Vec<u8>> {
        let run_one = |words: &Vec<Vec<u8>>| match self.refusal(&words[0]) {
            Some(text) => format!("{text}\r\n").into_bytes(),
            None => {
                let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                self.model.run(&request(&words), version).remove(0)
            }
        };
        requests(wire).iter().map(run_one).collect()
    }
}

/// Flavours of histories without transactions, which are refused as a whole.
const FLAVOURS: u32 = 11;

fn play(seed: u64, kinds: usize) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut world = World::new(Moody { kinds, ..Moody::default() }, Moody::default(), false, "g1");
    let flavour = rng.random_range(0..FLAVOURS);
    let moods = SmallRng::seed_from_u64(!seed);
    world.subject.moods = Some(moods);
    world.executes_all = kinds <= REFUSALS;
    for _ in 0..rng.random_range(1..12) {
        for _ in 0..rng.random_range(0..20) {
            let version = [RespVersion::Resp2, RespVersion::Resp3][usize::from(rng.random_ratio(1, 4))];
            let operations = if rng.random_ratio(1, 4) { rng.random_range(2..6) } else { 1 };
            world.push_run(random_request(&mut rng, flavour), version, operations, rng.random_range(0..8));
        }
        world.now_ns += rng.random_range(0..3_000_000);
        if let Some((flush, wire)) = world.take() {
            world.deliver(&flush, &wire);
        }
    }
    world.subject.moods = None;
    world.drain();
    world.check_content();
}

fn play_all(kinds: usize) {
    for seed in seeds(3000) {
        let outcome = std::panic::catch_unwind(|| play(seed, kinds));
        if let Err(panic) = outcome {
            eprintln!("HOTGATE_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn a_node_that_only_refuses_leaves_nothing_unexecuted() {
    play_all(REFUSALS);
}

#[test]
fn a_node_that_refuses_some_of_a_flush_answers_each_as_it_would_have_alone() {
    play_all(MOODS.len() - 1);
}

#[test]
fn a_node_that_loses_its_slots_in_a_flush_runs_nothing_twice_or_out_of_order() {
    play_all(MOODS.len());
}
