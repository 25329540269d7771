//! Several clusters behind a gateway are one Redis to its clients: random histories are held against a plain server, increments are counted
//! while servers and routes change, and a cluster that hangs delays no keys of others.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::routes::{Clusters, config};
use crate::support::increments::Increments;
use crate::support::migration::Migration;
use crate::support::seeds::seeds;
use crate::support::{Client, Server};

/// Commands in one history.
const COMMANDS: usize = 400;

/// A key of any of the clusters. Those of one tenant, or with one tag, are in one slot.
fn key(random: &mut SmallRng) -> String {
    let number = random.random_range(0..4);
    match random.random_range(0..3) {
        0 => format!("plain:{number}"),
        1 => format!("w:{{{number}}}"),
        _ => format!("t:{number}:x"),
    }
}

/// One history, the same for both.
fn command(random: &mut SmallRng) -> Vec<String> {
    let (one, value) = (key(random), random.random_range(0..100));
    let keys: Vec<String> = (0..random.random_range(1..6)).map(|_| key(random)).collect();
    let keys = keys.join(" ");
    let line = match random.random_range(0..15) {
        0 | 1 => format!("SET {one} {value}"),
        2 => format!("GET {one}"),
        3 => format!("INCRBY {one} {value}"),
        4 => format!("APPEND {one} {value}"),
        5 => format!("GETSET {one} {value}"),
        6 => format!("DEL {keys}"),
        7 => format!("MGET {keys}"),
        8 => format!("EXISTS {keys}"),
        9 => format!("UNLINK {keys}"),
        10 => {
            let pairs: Vec<String> = keys.split(' ').map(|key| format!("{key} {value}")).collect();
            format!("MSET {}", pairs.join(" "))
        }
        11 => "DBSIZE".to_owned(),
        12 => format!("EVAL redis.call('incr',KEYS[1]) 1 {one}"),
        13 => {
            let body = [format!("SET {one} {value}"), format!("INCR {one}"), format!("STRLEN {one}")];
            return [vec!["MULTI".to_owned()], body.to_vec(), vec!["EXEC".to_owned()]].concat();
        }
        _ => format!("RENAME {one} {one}"),
    };
    vec![line]
}

fn all_keys(client: &mut Client) -> BTreeSet<String> {
    client.list("KEYS *").into_iter().collect()
}

#[test]
fn clusters_answer_as_one_server_would() {
    let (clusters, plain) = (Clusters::start(""), Server::start());
    for seed in seeds(8) {
        let mut random = SmallRng::seed_from_u64(seed);
        let (mut routed, mut direct) = (clusters.gateway.client(), plain.client());
        routed.check("FLUSHALL", "+OK");
        direct.check("FLUSHALL", "+OK");
        for number in 0..COMMANDS {
            for line in command(&mut random) {
                let (reply, expected) = (routed.ask(&line), direct.ask(&line));
                assert_eq!(reply, expected, "HOTGATE_SEED={seed}, command {number}: {line}");
            }
        }
        let keys = all_keys(&mut direct);
        assert_eq!(all_keys(&mut routed), keys, "HOTGATE_SEED={seed}");
        for key in keys {
            assert_eq!(clusters.where_is(&key).len(), 1, "HOTGATE_SEED={seed}: {key}");
        }
    }
}

#[test]
fn each_acknowledged_increment_is_at_one_place_whatever_changes() {
    let clusters = Clusters::start("");
    let base = config(&clusters.wide.seeds(), &clusters.left.seed(), &clusters.right.seed());
    let gateway = [Arc::new(Mutex::new(clusters.gateway.address))];
    let names = ["plain", "w:{count}", "t:1:count", "t:2:count", "t:3:count"];
    let counters: Vec<Increments> =
        names.iter().map(|name| Increments::start(name, 2, &gateway, 1)).collect();
    let all_go_on = || counters.iter().for_each(|counter| counter.wait_for_replies(50));
    all_go_on();
    clusters.wide.fail_over("w:{count}");
    all_go_on();
    // Routes that move none of these keys, taken by a reload while they are counted.
    let more = "[[route]]\nmatch = \"other:*\"\nclusters = [\"left\"]\nforce = true\n";
    clusters.gateway.reload(&format!("{base}{more}"));
    all_go_on();
    let migration = Migration::begin(&clusters.wide, "w:{count}");
    all_go_on();
    migration.end();
    all_go_on();
    let mut client = clusters.gateway.client();
    for (name, counter) in names.iter().zip(counters) {
        counter.finish().check(client.integer(&format!("INCRBY {name} 0")), 1);
        assert_eq!(clusters.where_is(name).len(), 1, "{name}");
    }
}

#[test]
fn a_cluster_that_hangs_delays_no_keys_of_others() {
    let clusters = Clusters::start("");
    let mut others = clusters.gateway.client();
    let mut waiting: Vec<Client> = (0..50).map(|_| clusters.gateway.client()).collect();
    let tenants: Vec<u32> = (0..100)
        .filter(|tenant| {
            others.check(&format!("SET t:{tenant}:x 1"), "+OK");
            clusters.where_is(&format!("t:{tenant}:x")) == ["left"]
        })
        .collect();
    clusters.left.pause();
    for (number, client) in waiting.iter_mut().enumerate() {
        client.send_line(&format!("INCR t:{}:x", tenants[number % tenants.len()]));
    }
    // Nobody waits for what hangs: each reply comes while it does.
    for number in 0..500 {
        for key in ["plain", "w:x"] {
            others.check(&format!("SET {key} {number}"), "+OK");
            others.check(&format!("GET {key}"), &format!("${} {number}", number.to_string().len()));
        }
    }
    others.check("MGET plain w:x", "*2 $3 499 $3 499");
    clusters.left.resume();
    // An increment, or the error that its outcome is not known, if the pause was long.
    waiting.iter_mut().for_each(|client| drop(client.reply()));
}
