//! A folded, an exactly-once and a limited counter fare as a cold one does in the same slot, whatever becomes of the slot: it moves
//! key by key or as a whole, its master fails over, its server comes back and loads. They wait where that waits, get no error that
//! it would not have got, count exactly, and pass no limit.
//!
//! `HOTGATE_SEED` repeats the order in which keys move.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::support::figures::calls;
use crate::support::increments::Increments;
use crate::support::migration::Migration;
use crate::support::text::{one_line, request};
use crate::support::{Client, Cluster, Gateway, Server, Turn, seed, wait_until};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;

/// One cluster at a time: nodes that get no CPU for their timeout would be failed over without a test asking for it.
pub static ONE_AT_A_TIME: Turn = Turn::new();

const RULES: &str = "[[rule]]\nmatch = '*:folded*'\nmode = 'combine'\n\
    [[rule]]\nmatch = '*:once*'\nmode = 'combine'\nexactly_once = true\n\
    [[quota]]\nmatch = '*:limited*'\nlimit = 1000\n\
    [[quota]]\nmatch = '*:raised*'\nlimit = 1\n\
    [[quota]]\nmatch = '*:paced*'\nlimit = 1000\nwindow = '1h'\n\
    [[quota]]\nmatch = '*:surely*'\nlimit = 1000\nexactly_once = true\n\
    [[quota]]\nmatch = '{*}:told*'\nlimit_key = '{$1}:limit'\n\
    [[quota]]\nmatch = '*:polled*'\nlimit_key = '{m}:limit'\n";

/// What counts in the slot that moves; the first is cold.
const KINDS: [&str; 9] = ["cold", "folded", "once", "limited", "raised", "surely", "told", "polled", "paced"];

fn key(kind: &str) -> String {
    format!("{{m}}:{kind}")
}

/// A counter, and what its next reply has to be.
struct Counter {
    name: String,
    value: i64,
}

impl Counter {
    fn new(name: String) -> Counter {
        Counter { name, value: 0 }
    }

    fn count(&mut self, client: &mut Client, when: &str) {
        self.value += 1;
        let reply = client.ask(&format!("INCR {}", self.name));
        assert_eq!(reply, format!(":{}", self.value), "INCR {} {when}", self.name);
    }
}

/// Counts everything once, with the cold one before and after: it shows that a plain command is served at this moment.
fn count_all(counters: &mut [Counter], client: &mut Client, when: &str) {
    let (cold, others) = counters.split_first_mut().unwrap();
    for counter in others {
        cold.count(client, when);
        counter.count(client, when);
        cold.count(client, when);
    }
}

#[test]
fn a_slot_moves_key_by_key_and_counters_go_on() {
    let _alone = ONE_AT_A_TIME.take();
    let seed = seed();
    let mut rng = SmallRng::seed_from_u64(seed);
    let cluster = Cluster::start();
    // Within this test nothing has to wait for anything.
    let gateway = Gateway::before(&cluster).config(RULES).start();
    let mut client = gateway.client();
    client.check("SET {m}:limit 1000", "+OK");
    let mut counters: Vec<Counter> = KINDS.iter().map(|kind| Counter::new(key(kind))).collect();
    client.check("HOTGATE QUOTA SET {m}:raised LIMIT 1000", "+limit 1000");
    for round in 0..3 {
        count_all(&mut counters, &mut client, "before the slot moves");
        let migration = Migration::begin(&cluster, "{m}");
        let mut keys = migration.keys();
        keys.shuffle(&mut rng);
        println!("round {round} moves {} keys", keys.len());
        // Those that nobody has counted under yet are nowhere.
        let fresh = |step: usize| KINDS.iter().map(move |kind| format!("{}:{round}:{step}", key(kind)));
        for step in 0..=keys.len() {
            count_all(&mut counters, &mut client, &format!("with {:?} moved", &keys[..step]));
            if step % 5 == 0 {
                let mut new: Vec<Counter> =
                    fresh(step).filter(|name| !name.contains("raised")).map(Counter::new).collect();
                count_all(&mut new, &mut client, "new in a slot that moves");
                new.iter().for_each(|counter| client.check(&format!("DEL {}", counter.name), ":1"));
            }
            keys.get(step).into_iter().for_each(|name| migration.move_key(name));
        }
        migration.end();
        count_all(&mut counters, &mut client, "behind the move");
    }
    // Limits hold all the while, and what an operator says as well.
    let migration = Migration::begin(&cluster, "{m}");
    let mut keys = migration.keys();
    keys.shuffle(&mut rng);
    let raised = &mut counters[4];
    client.check("HOTGATE QUOTA SET {m}:limited LIMIT 5", "+limit 5");
    client.check("SET {m}:limit 2", "+OK");
    client.check(&format!("HOTGATE QUOTA SET {} LIMIT {}", raised.name, raised.value + 1), "+limit ...");
    raised.count(&mut client, "up to the limit that was set");
    wait_until("the limit that is polled is noticed", || {
        client.ask("INCRBY {m}:polled 3").starts_with("-QUOTA limit of 2")
    });
    for step in 0..=keys.len() {
        for kind in ["limited", "raised", "told", "polled"] {
            client.check(&format!("INCR {}", key(kind)), "-QUOTA limit of ...");
        }
        for kind in ["told", "polled"] {
            client.check(&format!("INCR {{m}}:{kind}:{step}"), ":1");
            client.check(&format!("INCRBY {{m}}:{kind}:{step} 2"), "-QUOTA limit of 2 reached ...");
        }
        keys.get(step).into_iter().for_each(|name| migration.move_key(name));
    }
    client.check("HOTGATE QUOTA PAUSE {m}:surely", "+paused");
    client.check("INCR {m}:surely", "-QUOTA ...");
    client.check("HOTGATE QUOTA RESUME {m}:surely", "+resumed");
    migration.end();
    count_all(&mut counters[5..6], &mut client, "at the end");
}

/// Clients of each kind count all the while, and each increment ends with its own value: none is refused, unknown or lost.
#[test]
fn a_slot_moves_as_a_whole_and_its_master_hands_over() {
    let _alone = ONE_AT_A_TIME.take();
    let seed = seed();
    let cluster = Cluster::start();
    // Time enough for an election.
    let config = format!(
        "[gateway]\nworkers = 2\n[upstream]\nunavailable_wait = '50s'\nrequest_timeout = '60s'\nredirects_max = 64\n{}",
        RULES.replace("1000", "1000000000")
    );
    let gateway = Gateway::before(&cluster).config(&config).start();
    gateway.client().check("SET {m}:limit 1000000000", "+OK");
    gateway.client().check("HOTGATE QUOTA SET {m}:raised LIMIT 1000000000", "+limit 1000000000");
    let address = Arc::new(Mutex::new(gateway.address));
    let counting: Vec<(&str, Increments)> = KINDS
        .iter()
        .zip(seed..)
        .map(|(kind, seed)| (*kind, Increments::start(&key(kind), 2, &[Arc::clone(&address)], seed)))
        .collect();
    let go_on = |replies: usize| counting.iter().for_each(|(_, clients)| clients.wait_for_replies(replies));
    for _ in 0..3 {
        go_on(300);
        let migration = Migration::begin(&cluster, "{m}");
        go_on(20);
        migration.move_keys(4);
        go_on(20);
        migration.end();
    }
    go_on(300);
    cluster.fail_over(&key("cold"));
    go_on(300);
    cluster.wait_until_whole();
    for (kind, clients) in counting {
        let mut account = clients.finish();
        let value = cluster.client(cluster.master_of(&key(kind))).text(&format!("GET {}", key(kind)));
        println!("{kind}: {value}, {:?}", account.errors.first());
        account.check_whole(value.parse().unwrap(), seed);
    }
}

/// Transactions are folded all the while, also while their key is at the node that imports its slot. Each has its own count.
#[test]
fn transactions_of_a_hot_key_go_where_their_slot_goes() {
    let _alone = ONE_AT_A_TIME.take();
    let cluster = Cluster::start();
    let gateway = Gateway::before(&cluster).config(RULES).start();
    let key = key("folded");
    let limiter: Vec<u8> = ["MULTI", &format!("INCR {key}"), &format!("EXPIRE {key} 1000"), "EXEC"]
        .iter()
        .flat_map(|line| request(line))
        .collect();
    let mut clients: Vec<Client> = (0..8).map(|_| gateway.client()).collect();
    let mut counted = 0;
    let mut count = |when: &str| {
        for _ in 0..5 {
            clients.iter_mut().for_each(|client| client.send(&limiter));
            let mut told: Vec<i64> = Vec::new();
            for client in &mut clients {
                (0..3).for_each(|_| drop(client.reply()));
                let reply = one_line(&client.reply());
                let value = reply.strip_prefix("*2 :").and_then(|rest| rest.strip_suffix(" :1"));
                told.push(value.unwrap_or_else(|| panic!("{when}: {reply}")).parse().unwrap());
            }
            told.sort_unstable();
            assert!(told.iter().copied().eq(counted + 1..=counted + 8), "{when}: {told:?} behind {counted}");
            counted += 8;
        }
    };
    for _ in 0..2 {
        count("before the move");
        let migration = Migration::begin(&cluster, &key);
        count("still here");
        migration.move_key(&key);
        count("already there");
        migration.end();
        count("behind the move");
    }
    let folded = calls(&mut cluster.client(cluster.master_of(&key)), "incrby");
    assert!(folded > 0, "nothing was folded");
}

/// How many of those who came, one behind the other, while a server was away and loaded were told of it. It has loaded as soon as
/// the first was told: all who came later are in time.
pub fn refused_while_it_loads(server: &mut Server, gateway: &Gateway, lines: &[String]) -> Vec<usize> {
    let refused: Vec<AtomicUsize> = lines.iter().map(|_| AtomicUsize::new(0)).collect();
    server.kill();
    let address = server.address();
    let has_loaded = || {
        Client::try_connect(address).is_ok_and(|mut client| {
            client.try_send(&request("INFO persistence")).is_ok()
                && client
                    .try_reply()
                    .is_ok_and(|reply| String::from_utf8_lossy(&reply).contains("\nloading:0"))
        })
    };
    std::thread::scope(|scope| {
        scope.spawn(|| server.restart());
        while !has_loaded() {
            for (line, refused) in lines.iter().zip(&refused) {
                scope.spawn(move || {
                    let reply = gateway.client().ask(line);
                    refused.fetch_add(usize::from(reply.starts_with('-')), Ordering::Relaxed);
                });
            }
            std::thread::park_timeout(Duration::from_millis(50));
            if refused.iter().any(|refused| refused.load(Ordering::Relaxed) > 0)
                && let Ok(mut client) = Client::try_connect(address)
            {
                client.check("CONFIG SET key-load-delay 0", "+OK");
            }
        }
    });
    refused.into_iter().map(AtomicUsize::into_inner).collect()
}

/// Each waits its own time, and not that of who came first.
#[test]
fn a_server_loads_and_each_waits_as_long_as_it_would_for_a_cold_key() {
    const KINDS: [&str; 5] = ["cold", "folded", "once", "limited", "surely"];
    let mut server = Server::slow_to_load();
    let gateway =
        Gateway::before(&server).config(&format!("[upstream]\nunavailable_wait = '2s'\n{RULES}")).start();
    let mut client = gateway.client();
    KINDS.iter().for_each(|kind| client.check(&format!("INCR {}", key(kind)), ":1"));
    let mut direct = server.client();
    let value = "x".repeat(100);
    (0..4000).for_each(|n| direct.check(&format!("SET k{n} {value}"), "+OK"));
    direct.check("SAVE", "+OK");
    let lines = KINDS.map(|kind| format!("INCR {}", key(kind)));
    let refused = refused_while_it_loads(&mut server, &gateway, &lines);
    println!("refused: {refused:?}");
    let cold = refused[0];
    for (kind, refused) in KINDS.iter().zip(refused) {
        // Who comes within a few looks of the border may fall on either side of it.
        assert!(refused <= cold + 5, "{kind}: {refused} were refused, and {cold} of the cold counter's");
    }
}
