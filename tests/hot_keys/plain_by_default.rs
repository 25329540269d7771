//! A hot key below what Redis takes is nobody's business: Redis sees, call for call, what it sees with combining off. When work
//! queues there the key is folded, with commands that need no more rights than the clients', and when it does not any more
//! the key passes again.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::figures::{all_calls, calls};
use crate::support::text::{one_line, request};
use crate::support::{BOTH_VERSIONS, Client, Gateway, Server, wait_until};

/// Hot at once, and for as long as the test lasts.
const HOT: &str = "[detect]\nenter_rate = 50\nenter_share = 0.0\nleave_rate = 0\nleave_share = 0.0\n";
const COMMANDS: [&str; 7] =
    ["INCR hot", "INCRBY hot 5", "GET hot", "DECR hot", "HINCRBY hash f 2", "HGET hash f", "SET text value"];

/// How often Redis has executed each command on data, those inside of scripts included.
fn statistics(server: &Server) -> BTreeMap<String, u64> {
    let data = ["incr", "incrby", "get", "decr", "hincrby", "hget", "set", "eval", "evalsha", "pexpire"];
    let figures = all_calls(&mut server.client()).into_iter();
    figures.filter(|(name, _)| data.contains(&name.as_str())).collect()
}

/// One client sends each command in turn, some in pipelines, until the keys have long been hot.
fn converse(gateway: &Gateway) {
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        for round in 0..40 {
            let pipeline = if round % 2 == 0 { 1 } else { 16 };
            for line in COMMANDS {
                client.send(&request(line).repeat(pipeline));
                (0..pipeline).for_each(|_| assert_ne!(client.reply()[0], b'-', "{line}"));
            }
        }
    }
}

fn is_hot(client: &mut Client, key: &str) -> bool {
    client.list("HOTGATE HOTKEYS").windows(2).any(|pair| pair == ["key", key])
}

/// What `HOTGATE HOTKEYS` says is done with the key.
fn course(client: &mut Client, key: &str) -> String {
    let said = client.list("HOTGATE HOTKEYS");
    // Fields are in the order of the alphabet.
    let place = said.windows(2).position(|pair| pair == ["key", key]);
    let name = place.and_then(|place| said[..place].iter().rposition(|word| word == "course"));
    name.map(|name| said[name + 1].clone()).unwrap_or_default()
}

#[test]
fn below_saturation_redis_sees_what_it_sees_without_combining() {
    for workers in ["1", "2"] {
        let seen = ["", "[combine]\nenabled = false\n"].map(|combine| {
            let server = Server::start();
            let gateway = Gateway::before(&server)
                .config(&format!("{HOT}{combine}"))
                .flag("--workers", workers)
                .start();
            let mut client = gateway.client();
            wait_until("the keys are hot", || {
                converse(&gateway);
                is_hot(&mut client, "hot") && is_hot(&mut client, "hash")
            });
            server.client().check("CONFIG RESETSTAT", "+OK");
            converse(&gateway);
            statistics(&server)
        });
        assert_eq!(seen[0], seen[1], "{workers} workers");
        assert!(!seen[0].contains_key("evalsha"));
    }
}

/// A slow command of somebody else is a queue at the node for as long as it lasts.
#[test]
fn a_queue_folds_the_key_and_its_end_lets_it_pass() {
    for workers in ["1", "2"] {
        let server = Server::with(&["--enable-debug-command", "yes"]);
        let gateway = Gateway::before(&server).config(HOT).flag("--workers", workers).start();
        let mut watcher = gateway.client();
        let mut clients: Vec<Client> = (0..40).map(|_| gateway.client()).collect();
        let mut sent = 0;
        // An open loop: the pause between two clients does not depend on replies.
        let mut burst = |clients: &mut [Client], pause: Duration| {
            for client in clients.iter_mut() {
                client.send(&request("INCR hot").repeat(8));
                std::thread::park_timeout(pause);
            }
            let mut values: Vec<i64> = Vec::new();
            for client in clients {
                for _ in 0..8 {
                    let reply = one_line(&client.reply());
                    values
                        .push(reply.strip_prefix(':').unwrap_or_else(|| panic!("{reply}")).parse().unwrap());
                }
            }
            values.sort_unstable();
            let count = values.len() as i64;
            assert!(values.iter().copied().eq(sent + 1..=sent + count), "unique and without gaps");
            sent += count;
        };
        wait_until("the key is hot", || {
            burst(&mut clients, Duration::ZERO);
            is_hot(&mut watcher, "hot")
        });
        let folded = || calls(&mut server.client(), "incrby");
        let mut shown = false;
        wait_until("the key is folded, and said to be", || {
            std::thread::scope(|scope| {
                scope.spawn(|| server.client().check("DEBUG SLEEP 0.1", "+OK"));
                burst(&mut clients, Duration::from_millis(4));
            });
            shown |= ["folding", "probing"].contains(&course(&mut watcher, "hot").as_str());
            folded() > 0 && shown
        });
        wait_until("it passes again", || {
            let before = folded();
            (0..50).for_each(|_| burst(&mut clients, Duration::ZERO));
            folded() == before
        });
        wait_until("it is said to pass", || course(&mut watcher, "hot") == "passing");
        assert_eq!(watcher.integer("DBSIZE"), 1, "no key but the clients' own");
    }
}
