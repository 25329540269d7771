//! Several homes, their keys and their barriers, against a Redis that does one thing after the other. Clients count, and take counters back
//! to 0 by commands on one key, on several or on any. Messages of one sender to one home keep their order; all else is dealt out by chance.
//!
//! Who is answered what is checked by counting: between two commands that take a counter back, the answers are 1, 2, 3, ... up to what the
//! second found, each once. A command finds all that was answered before its client asked for its barrier. And everybody comes to an end.
//!
//! A seed that fails is printed; `HOTGATE_SEED` runs it alone.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::*;

const HOMES: usize = 3;
const KEYS: u64 = 6;
const CLIENTS: usize = 5;
const POLICY: WriteBehindPolicy = WriteBehindPolicy {
    flush_interval_ns: 1_000_000,
    flush_deltas_max: 5,
    base_age_ns_max: 3_000_000,
    journal: false,
};

enum Request {
    Take(u64, usize),
    Begin { barrier: u32, client: usize, keys: Vec<u64>, any_key: bool },
    End(u32),
}

/// What a key has under way to Redis.
#[derive(Clone, Copy)]
enum Sent {
    Base,
    Flush(i64),
}

#[derive(Default)]
struct HomeModel {
    inbox: VecDeque<Request>,
    keys: BTreeMap<u64, (WriteBehindKey<usize, u32>, Option<Sent>)>,
    barriers: Barriers<u32>,
    /// Whose barriers they are.
    clients: BTreeMap<u32, usize>,
}

enum ClientModel {
    Idle,
    Counts(u64),
    /// Its barrier, the homes that are to be asked, how many have granted it, its keys, and what had been answered of each by then.
    Waits {
        barrier: u32,
        homes: Vec<usize>,
        granted: usize,
        keys: Vec<u64>,
        any_key: bool,
        answered: Vec<usize>,
    },
}

struct World {
    rng: SmallRng,
    now_ns: u64,
    homes: Vec<HomeModel>,
    clients: Vec<(ClientModel, usize)>,
    budget: PendingBudget,
    /// Clients give barriers up now and then, as those that end do. It would end a deadlock.
    gives_up: bool,
    barrier_last: u32,
    /// Redis, by key; and what commands have found there.
    values: Vec<Option<i64>>,
    found: Vec<Vec<i64>>,
    answers: Vec<Vec<i64>>,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            rng: SmallRng::seed_from_u64(seed),
            now_ns: 1,
            homes: (0..HOMES).map(|_| HomeModel::default()).collect(),
            clients: (0..CLIENTS).map(|_| (ClientModel::Idle, 60)).collect(),
            budget: PendingBudget::new(1_000),
            gives_up: seed.is_multiple_of(2),
            barrier_last: 0,
            values: vec![None; KEYS as usize],
            found: vec![Vec::new(); KEYS as usize],
            answers: vec![Vec::new(); KEYS as usize],
        }
    }

    fn step(&mut self) {
        let home = self.rng.random_range(0..HOMES);
        match self.rng.random_range(0..10) {
            0..3 => {
                let client = self.rng.random_range(0..CLIENTS);
                self.go_on(client);
            }
            3..6 => self.serve(home),
            6..8 => {
                let known: Vec<u64> = self.homes[home].keys.keys().copied().collect();
                if !known.is_empty() {
                    let key = known[self.rng.random_range(0..known.len())];
                    self.drive(home, key);
                }
            }
            8 => self.redis(home),
            _ => self.now_ns += self.rng.random_range(0..1_000_000),
        }
    }

    /// A client begins something, sends the command that may go, or gives it up.
    fn go_on(&mut self, client: usize) {
        match &self.clients[client].0 {
            ClientModel::Idle if self.clients[client].1 == 0 => {}
            ClientModel::Idle => {
                self.clients[client].1 -= 1;
                let key = self.rng.random_range(0..KEYS);
                if self.rng.random_ratio(2, 3) {
                    self.clients[client].0 = ClientModel::Counts(key);
                    self.homes[key as usize % HOMES].inbox.push_back(Request::Take(key, client));
                } else {
                    self.begin(client);
                }
            }
            ClientModel::Waits { homes, granted, .. } if *granted == homes.len() => self.execute(client),
            ClientModel::Waits { .. } if self.gives_up && self.rng.random_ratio(1, 50) => self.end(client),
            ClientModel::Waits { .. } | ClientModel::Counts(_) => {}
        }
    }

    fn begin(&mut self, client: usize) {
        self.barrier_last += 1;
        let any_key = self.rng.random_ratio(1, 10);
        let keys: Vec<u64> = match any_key {
            true => (0..KEYS).collect(),
            false => (0..KEYS).filter(|_| self.rng.random_ratio(1, 3)).collect(),
        };
        let is_asked = |home: &usize| any_key || keys.iter().any(|key| *key as usize % HOMES == *home);
        let homes = (0..HOMES).filter(is_asked).collect();
        let answered = self.answers.iter().map(Vec::len).collect();
        let barrier = self.barrier_last;
        self.clients[client].0 = ClientModel::Waits { barrier, homes, granted: 0, keys, any_key, answered };
        self.ask_next(client);
    }

    fn ask_next(&mut self, client: usize) {
        let ClientModel::Waits { barrier, homes, granted, keys, any_key, .. } = &self.clients[client].0
        else {
            return;
        };
        let Some(home) = homes.get(*granted).copied() else { return };
        let mut keys = keys.clone();
        // A command that may touch any key names none.
        keys.retain(|key| !any_key && *key as usize % HOMES == home);
        let request = Request::Begin { barrier: *barrier, client, keys, any_key: *any_key };
        self.homes[home].inbox.push_back(request);
    }

    /// Redis executes a client's command: counters go back to 0.
    fn execute(&mut self, client: usize) {
        let ClientModel::Waits { keys, answered, .. } = &self.clients[client].0 else { return };
        for key in keys {
            let key = *key as usize;
            self.found[key].push(self.values[key].replace(0).unwrap_or(0));
            let in_redis: i64 = self.found[key].iter().sum();
            assert!(in_redis >= answered[key] as i64, "it finds what was answered before");
        }
        self.end(client);
    }

    fn end(&mut self, client: usize) {
        let before = std::mem::replace(&mut self.clients[client].0, ClientModel::Idle);
        let ClientModel::Waits { barrier, homes, granted, .. } = before else { return };
        for home in homes.into_iter().take(granted + 1) {
            self.homes[home].inbox.push_back(Request::End(barrier));
        }
    }

    fn serve(&mut self, home: usize) {
        match self.homes[home].inbox.pop_front() {
            None => {}
            Some(Request::Take(key, client)) => {
                self.know(home, key);
                let Some((machine, _)) = self.homes[home].keys.get_mut(&key) else { return };
                let op = WriteBehindOp::Increment(1);
                match machine.take(op, client, self.now_ns, &POLICY, &mut self.budget) {
                    Taken::Waits => {}
                    taken => self.answer(client, taken),
                }
            }
            Some(Request::Begin { barrier, client, keys, any_key }) => {
                keys.iter().for_each(|key| self.know(home, *key));
                let home_model = &mut self.homes[home];
                let keys = if any_key { home_model.keys.keys().copied().collect() } else { keys };
                for key in &keys {
                    let Some((machine, _)) = home_model.keys.get_mut(key) else { continue };
                    assert!(machine.barrier(barrier));
                }
                home_model.clients.insert(barrier, client);
                if home_model.barriers.begin(barrier, keys.len(), any_key) {
                    self.grant(client, barrier);
                }
            }
            Some(Request::End(barrier)) => {
                let home = &mut self.homes[home];
                for key in home.barriers.end(barrier) {
                    home.keys.get_mut(&key).expect("it is held").0.end_hold();
                }
            }
        }
    }

    /// Makes a key, if it is not there.
    fn know(&mut self, home: usize, key: u64) {
        let home = &mut self.homes[home];
        if home.keys.contains_key(&key) {
            return;
        }
        let identity = WriteBehindIdentity { gateway_id: b"g", token_floor: 0 };
        let mut machine = WriteBehindKey::new(Bytes::from(key.to_string()), identity);
        (0..home.barriers.hold_new_key(key)).for_each(|_| machine.hold());
        home.keys.insert(key, (machine, None));
    }

    fn grant(&mut self, client: usize, of: u32) {
        if let ClientModel::Waits { barrier, granted, .. } = &mut self.clients[client].0
            && *barrier == of
        {
            *granted += 1;
            self.ask_next(client);
        }
    }

    fn answer(&mut self, client: usize, taken: Taken) {
        let Taken::Answer { answer: Answer::Integer(value), .. } = taken else { panic!("{taken:?}") };
        match std::mem::replace(&mut self.clients[client].0, ClientModel::Idle) {
            ClientModel::Counts(key) => self.answers[key as usize].push(value),
            _ => panic!("it has not counted"),
        }
    }

    fn drive(&mut self, home: usize, key: u64) {
        loop {
            let home_model = &mut self.homes[home];
            let Some((machine, sent)) = home_model.keys.get_mut(&key) else { return };
            if let Some((client, taken)) = machine.resume(self.now_ns, &POLICY, &mut self.budget) {
                self.answer(client, taken);
                continue;
            }
            match machine.next(self.now_ns, &POLICY, false, &mut self.budget) {
                Action::AskBase => *sent = Some(Sent::Base),
                Action::Flush(flush) => *sent = Some(Sent::Flush(flush.sum)),
                Action::Hold(barrier) => match home_model.barriers.on_turn(barrier, key) {
                    BarrierTurn::Waits => {}
                    BarrierTurn::Granted => {
                        let client = home_model.clients[&barrier];
                        self.grant(client, barrier);
                    }
                    BarrierTurn::Ended => machine.end_hold(),
                },
                Action::NotBefore(_) | Action::InFlight | Action::Idle => {
                    // A key of which nothing is left is forgotten now and then.
                    if machine.is_empty() && self.rng.random_ratio(1, 20) {
                        home_model.keys.remove(&key);
                    }
                    return;
                }
                action => panic!("{action:?}"),
            }
        }
    }

    /// Redis does one thing that a home wants of it; or the request was lost on its way.
    fn redis(&mut self, home: usize) {
        let pending = self.homes[home].keys.iter().filter(|(_, (_, sent))| sent.is_some());
        let pending: Vec<u64> = pending.map(|(key, _)| *key).collect();
        if pending.is_empty() {
            return;
        }
        let key = pending[self.rng.random_range(0..pending.len())];
        let Some((machine, sent)) = self.homes[home].keys.get_mut(&key) else { return };
        let value = &mut self.values[key as usize];
        let reply = match sent.take() {
            _ if self.rng.random_ratio(1, 10) => return machine.lost(false),
            Some(Sent::Base) => value.map_or_else(|| "$-1\r\n".to_owned(), |value| bulk(&value.to_string())),
            Some(Sent::Flush(sum)) => {
                let before = value.map_or_else(|| "_".to_owned(), |value| format!("${value}"));
                *value = Some(value.unwrap_or(0) + sum);
                format!("*2\r\n{}{}", bulk("="), bulk(&before))
            }
            None => return,
        };
        let meaning = machine.settle(reply.as_bytes(), self.now_ns, &POLICY, &mut self.budget);
        assert!(!matches!(meaning, WriteBehindReply::Again(_)), "{meaning:?}");
    }

    /// Everything has its turn, again and again: nobody has to be lucky.
    fn finish(&mut self) {
        self.gives_up = false;
        for _ in 0..20_000 {
            (0..CLIENTS).for_each(|client| self.go_on(client));
            for home in 0..HOMES {
                self.serve(home);
                (0..KEYS).for_each(|key| self.drive(home, key));
                self.redis(home);
            }
            self.now_ns += 200_000;
            let is_over = |client: &(ClientModel, usize)| matches!(client, (ClientModel::Idle, 0));
            let is_flushed =
                |home: &HomeModel| home.inbox.is_empty() && home.keys.values().all(|(key, _)| key.is_empty());
            if self.clients.iter().all(is_over) && self.homes.iter().all(is_flushed) {
                return;
            }
        }
        panic!("somebody waits for ever");
    }
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

#[test]
fn barriers_past_several_homes_are_granted_and_no_answer_is_out_of_order() {
    let seeds = match std::env::var("HOTGATE_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => (0..300).map(|_| rand::random()).collect(),
    };
    for seed in seeds {
        println!("HOTGATE_SEED={seed}");
        let mut world = World::new(seed);
        (0..8_000).for_each(|_| world.step());
        world.finish();
        for key in 0..KEYS as usize {
            let mut expected: Vec<i64> = world.found[key].iter().flat_map(|found| 1..=*found).collect();
            expected.extend(1..=world.values[key].unwrap_or(0));
            expected.sort_unstable();
            world.answers[key].sort_unstable();
            assert_eq!(world.answers[key], expected, "seed {seed}, key {key}");
        }
    }
}
