//! Commands without a key see the whole keyspace of a cluster as if it were one server's.
//!
//! These tests flush and count, so they share one cluster but run one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::MutexGuard;

use crate::support::text::elements;
use crate::support::{BOTH_VERSIONS, Client, Gateway, Turn, Version, shared};

static KEYSPACE: Turn = Turn::new();

/// The gateway before an empty cluster that nobody else uses meanwhile.
fn empty_cluster() -> (MutexGuard<'static, ()>, &'static Gateway) {
    let alone = KEYSPACE.take();
    let (_, gateway) = shared::cluster(module_path!());
    gateway.client().check("FLUSHALL", "+OK");
    (alone, gateway)
}

fn fill(client: &mut Client, prefix: &str, count: usize) -> BTreeSet<String> {
    let keys: BTreeSet<String> = (0..count).map(|number| format!("{prefix}{number}")).collect();
    for key in &keys {
        client.send_line(&format!("SET {key} v"));
    }
    for _ in &keys {
        assert_eq!(client.reply(), b"+OK\r\n");
    }
    keys
}

/// All keys that a walk with `SCAN` returns, with how often, and the number of its steps.
fn scan(client: &mut Client, options: &str) -> (BTreeMap<String, usize>, usize) {
    let mut found = BTreeMap::new();
    let mut cursor = "0".to_string();
    let mut steps = 0;
    loop {
        let mut reply = elements(&client.call_line(&format!("SCAN {cursor} {options}"))).into_iter();
        cursor = reply.next().unwrap();
        assert!(
            cursor.parse::<u64>().is_ok(),
            "clients parse a cursor as an unsigned 64-bit integer, got {cursor}"
        );
        for key in reply {
            *found.entry(key).or_default() += 1;
        }
        steps += 1;
        if cursor == "0" {
            return (found, steps);
        }
    }
}

#[test]
fn every_key_is_counted_and_listed_once() {
    let (_alone, gateway) = empty_cluster();
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        client.check("FLUSHALL", "+OK");
        client.check("DBSIZE", ":0");
        client.check("KEYS *", "*0");
        client.check("RANDOMKEY", if version == Version::Resp2 { "$-1" } else { "_" });
        let mut keys = fill(&mut client, "a:", 1_000);
        keys.extend(fill(&mut client, "b:", 500));
        client.check("DBSIZE", ":1500");
        let listed = client.list("KEYS *");
        assert_eq!(listed.len(), 1_500);
        assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), keys);
        assert_eq!(client.list("KEYS b:*").len(), 500);
    }
}

#[test]
fn a_scan_returns_every_key_exactly_once_while_nothing_changes() {
    let (_alone, gateway) = empty_cluster();
    let mut client = gateway.client();
    let keys = fill(&mut client, "scan:", 2_000);
    fill(&mut client, "other:", 200);
    client.check("SADD set 1", ":1");
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        let (found, steps) = scan(&mut client, "MATCH scan:* COUNT 50");
        assert_eq!(found.keys().cloned().collect::<BTreeSet<_>>(), keys);
        assert!(found.values().all(|&times| times == 1), "a key came twice");
        assert!(steps > 10, "COUNT was not passed on: {steps} steps");
        assert_eq!(scan(&mut client, "TYPE set").0.into_keys().collect::<Vec<_>>(), ["set"]);
        client.check("SCAN nonsense", "-ERR invalid cursor");
        client.check("SCAN 0 COUNT 0", "-ERR syntax error");
    }
}

/// A scan may be begun on one connection and continued on another, as pooled clients do.
#[test]
fn a_cursor_belongs_to_no_connection() {
    let (_alone, gateway) = empty_cluster();
    let keys = fill(&mut gateway.client(), "pooled:", 600);
    let mut cursor = "0".to_string();
    let mut found = BTreeSet::new();
    loop {
        let mut reply = elements(&gateway.client().call_line(&format!("SCAN {cursor} COUNT 40"))).into_iter();
        cursor = reply.next().unwrap();
        found.extend(reply);
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found, keys);
}

#[test]
fn a_random_key_comes_from_any_node() {
    let (_alone, gateway) = empty_cluster();
    let mut client = gateway.client();
    client.check("SET only v", "+OK");
    for _ in 0..20 {
        client.check("RANDOMKEY", "$4 only");
    }
    let keys = fill(&mut client, "random:", 300);
    let (cluster, _) = shared::cluster(module_path!());
    let mut slots = [false; 3];
    for _ in 0..300 {
        let key = client.text("RANDOMKEY");
        assert!(key == "only" || keys.contains(&key));
        slots[client.integer(&format!("CLUSTER KEYSLOT {key}")) as usize * 3 / 16_384] = true;
    }
    assert_eq!(slots, [true; 3], "keys of {} masters came", cluster.masters().len());
}

#[test]
fn a_flush_empties_every_node() {
    let (_alone, gateway) = empty_cluster();
    let (cluster, _) = shared::cluster(module_path!());
    for line in ["FLUSHALL", "FLUSHDB", "FLUSHALL SYNC", "FLUSHDB ASYNC"] {
        let mut client = gateway.client();
        fill(&mut client, "flush:", 300);
        client.check(line, "+OK");
        client.check("DBSIZE", ":0");
        for node in cluster.masters() {
            cluster.client(node).check("DBSIZE", ":0");
        }
    }
    gateway.client().check("FLUSHALL NOW", "-ERR syntax error");
}

#[test]
fn scripts_are_loaded_listed_and_flushed_on_every_master() {
    let (_alone, gateway) = empty_cluster();
    let (cluster, _) = shared::cluster(module_path!());
    let mut client = gateway.client();
    let sha = client.text("SCRIPT LOAD \"return 'everywhere'\"");
    for node in cluster.masters() {
        cluster.client(node).check(&format!("SCRIPT EXISTS {sha}"), "*1 :1");
    }
    client.check("SCRIPT FLUSH", "+OK");
    client.check(&format!("SCRIPT EXISTS {sha}"), "*1 :0");
    for node in cluster.masters() {
        cluster.client(node).check(&format!("SCRIPT EXISTS {sha}"), "*1 :0");
    }
    client.check(
        "FUNCTION LOAD \"#!lua name=whole\\nredis.register_function('whole', function() return 1 end)\"",
        "$5 whole",
    );
    for node in cluster.masters() {
        cluster.client(node).check("FCALL whole 0", ":1");
    }
    client.check("FUNCTION FLUSH", "+OK");
    for node in cluster.masters() {
        cluster.client(node).check("FUNCTION LIST", "*0");
    }
}

/// A script that came to one node only (its first call was an EVAL there) must not surprise a client that calls it by its
/// digest for a key of another node, after SCRIPT EXISTS said that it is there.
#[test]
fn a_digest_that_exists_can_be_called_on_every_node() {
    let (_alone, gateway) = empty_cluster();
    let (cluster, _) = shared::cluster(module_path!());
    let mut client = gateway.client();
    let sha = client.text("SCRIPT LOAD \"return redis.call('INCR', KEYS[1])\"");
    // One node forgets, as after a restart.
    cluster.client(cluster.masters()[0]).check("SCRIPT FLUSH", "+OK");
    for number in 0..60 {
        client.check(&format!("EVALSHA {sha} 1 digest:{number}"), ":1");
    }
}

#[test]
fn wait_answers_for_the_writes_of_this_connection() {
    let (_alone, gateway) = empty_cluster();
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        client.check("SET waited v", "+OK");
        let acknowledged = client.integer("WAIT 1 30000");
        assert_eq!(acknowledged, 1, "every master has one replica");
    }
}
