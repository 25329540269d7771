//! Copies at one gateway after what is done through another, or past both: once Redis has told of it, nobody is shown what was there before.
//! Flushes of a database and of all, swaps of databases (which Redis tells nobody of, so that the gateways ask), and writes between them.
//!
//! The copies live for an hour, so nothing but what is tested takes them away. A failure prints the seed; `HOTGATE_SEED` repeats it.

use crate::support::copies::{RULES, warm};
use crate::support::text::request;
use crate::support::{BOTH_VERSIONS, Client, Gateway, Server, seed, wait_until};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const KEYS: usize = 3;
const READERS: usize = 6;
const ROUNDS: usize = 40;
/// Looks at what may not be stale.
const LOOKS: usize = 20;

/// What changes many keys, in a line or in a transaction of lines.
const CHANGES: &[&str] = &[
    "FLUSHALL",
    "FLUSHALL ASYNC",
    "FLUSHDB",
    "FLUSHDB SYNC",
    "SWAPDB 0 1",
    "MULTI ; FLUSHALL ; EXEC",
    "MULTI ; SET t:0 new ; SWAPDB 0 1 ; EXEC",
    "EVAL \"return redis.call('flushall')\" 0",
    "EVAL \"return redis.call('swapdb', 0, 1)\" 0",
    "DEL t:0 t:1",
    "MSET t:0 one t:1 two t:2 three",
    "APPEND t:1 more",
];

fn do_it(client: &mut Client, change: &str) {
    for line in change.split(" ; ") {
        client.send(&request(line));
        assert_ne!(client.reply()[0], b'-', "{change}");
    }
}

#[test]
fn what_is_done_elsewhere_takes_copies_away() {
    let seed = seed();
    let server = Server::start();
    let gateways = [(); 2].map(|()| Gateway::of_two_workers(&server, RULES));
    let (mut direct, mut aside, mut writer) = (server.client(), server.client(), gateways[0].client());
    aside.check("SELECT 1", "+OK");
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut readers: Vec<Client> =
        (0..READERS).map(|place| gateways[1].speaking(BOTH_VERSIONS[place % 2])).collect();
    for round in 0..ROUNDS {
        for key in 0..KEYS {
            direct.check(&format!("SET t:{key} here{round}"), "+OK");
            aside.check(&format!("SET t:{key} there{round}"), "+OK");
        }
        for reader in &mut readers {
            (0..KEYS).for_each(|key| warm(reader, &mut direct, &format!("GET t:{key}")));
        }
        let change = CHANGES.choose(&mut rng).unwrap();
        let through = rng.random_bool(0.5);
        do_it(if through { &mut writer } else { &mut direct }, change);
        let context = format!("seed {seed}, round {round}: {change}, through the other gateway: {through}");
        let reads: Vec<(String, String)> = (0..KEYS)
            .map(|key| {
                let read = format!("GET t:{key}");
                let expected = direct.ask(&read);
                (read, expected)
            })
            .collect();
        for reader in &mut readers {
            let null = if reader.version() == BOTH_VERSIONS[0] { "$-1" } else { "_" };
            let is_fresh = |reader: &mut Client, (read, expected): &(String, String)| {
                reader.ask(read) == expected.replace("$-1", null)
            };
            for read in &reads {
                wait_until(&context, || is_fresh(reader, read));
            }
            for read in reads.iter().cycle().take(LOOKS) {
                assert!(is_fresh(reader, read), "{context}: it went back");
            }
        }
    }
}
