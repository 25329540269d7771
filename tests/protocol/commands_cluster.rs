//! Every class of command works in front of a Redis Cluster, in both versions of the protocol, for a client that knows
//! nothing of clusters.

use crate::support::{BOTH_VERSIONS, Version, shared};

/// Runs `cases` (line, RESP2 reply, RESP3 reply) in order on one connection, once for each version, with `keys` deleted
/// before each run.
fn check(keys: &[&str], cases: &[(&str, &str, &str)]) {
    let (_, gateway) = shared::cluster(module_path!());
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        for key in keys {
            client.check(&format!("DEL {key}"), ":...");
        }
        for (line, resp2, resp3) in cases {
            client.check(line, if version == Version::Resp2 { resp2 } else { resp3 });
        }
    }
}

/// As [`check`] where both versions have the same reply.
fn check_same(keys: &[&str], cases: &[(&str, &str)]) {
    let cases: Vec<(&str, &str, &str)> = cases.iter().map(|&(line, reply)| (line, reply, reply)).collect();
    check(keys, &cases);
}

#[test]
fn commands_of_one_key_reach_the_master_that_has_it() {
    let (_, gateway) = shared::cluster(module_path!());
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        for number in 0..300 {
            client.check(&format!("SET one:{number} {number}"), "+OK");
        }
        for number in 0..300 {
            client.check(&format!("INCR one:{number}"), &format!(":{}", number + 1));
        }
    }
    check(
        &["forms:h", "forms:z", "forms:n"],
        &[
            ("GET forms:missing", "$-1", "_"),
            ("HSET forms:h f 1", ":1", ":1"),
            ("HGETALL forms:h", "*2 $1 f $1 1", "%1 $1 f $1 1"),
            ("ZADD forms:z 1.5 a", ":1", ":1"),
            ("ZSCORE forms:z a", "$3 1.5", ",1.5"),
            ("INCR forms:h", "-WRONGTYPE ...", "-WRONGTYPE ..."),
            ("OBJECT ENCODING forms:h", "$8 listpack", "$8 listpack"),
            ("SET forms:n 1 GET", "$-1", "_"),
        ],
    );
}

#[test]
fn commands_of_keys_in_one_slot_pass_whole() {
    check(
        &["{same}a", "{same}b", "{same}s", "{same}t", "{same}u", "{same}z"],
        &[
            ("MSET {same}a 1 {same}b 2", "+OK", "+OK"),
            ("MGET {same}a {same}b {same}none", "*3 $1 1 $1 2 $-1", "*3 $1 1 $1 2 _"),
            ("MSETNX {same}b 3 {same}c 4", ":0", ":0"),
            ("RENAME {same}a {same}b", "+OK", "+OK"),
            ("SADD {same}s 1 2", ":2", ":2"),
            ("SADD {same}t 2 3", ":2", ":2"),
            ("SUNION {same}s {same}t", "*3 $1 1 $1 2 $1 3", "~3 $1 1 $1 2 $1 3"),
            ("SMOVE {same}s {same}t 1", ":1", ":1"),
            ("ZUNIONSTORE {same}z 2 {same}s {same}t", ":3", ":3"),
            ("DEL {same}a {same}b {same}s {same}t {same}z", ":4", ":4"),
        ],
    );
}

#[test]
fn commands_that_can_be_split_are_merged_in_the_order_of_their_keys() {
    check(
        &["split:a", "split:b", "split:c", "split:d"],
        &[
            ("MSET split:a 1 split:b 2 split:c 3 split:a 4", "+OK", "+OK"),
            (
                "MGET split:c split:none split:a split:b split:a",
                "*5 $1 3 $-1 $1 4 $1 2 $1 4",
                "*5 $1 3 _ $1 4 $1 2 $1 4",
            ),
            ("EXISTS split:a split:b split:none split:a", ":3", ":3"),
            ("TOUCH split:a split:b split:c", ":3", ":3"),
            ("UNLINK split:a split:none split:a", ":1", ":1"),
            ("DEL split:a split:b split:c", ":2", ":2"),
            ("LPUSH split:d x", ":1", ":1"),
            ("MGET split:d split:a", "*2 $-1 $-1", "*2 _ _"),
            (
                "MSET split:a",
                "-ERR wrong number of arguments for 'mset' command",
                "-ERR wrong number of arguments for 'mset' command",
            ),
            (
                "MSET split:a 1 split:b",
                "-ERR wrong number of arguments for 'mset' command",
                "-ERR wrong number of arguments for 'mset' command",
            ),
        ],
    );
    let (_, gateway) = shared::cluster(module_path!());
    let mut client = gateway.client();
    let mut set = vec!["MSET".to_string()];
    let mut get = vec!["MGET".to_string()];
    let mut expected = "*2000".to_string();
    for number in 0..2_000 {
        set.extend([format!("many:{number}"), number.to_string()]);
        get.push(format!("many:{number}"));
        expected.push_str(&format!(" ${} {number}", number.to_string().len()));
    }
    client.check(&set.join(" "), "+OK");
    client.check(&get.join(" "), &expected);
    get[0] = "DEL".to_string();
    client.check(&get.join(" "), ":2000");
}

#[test]
fn other_commands_across_slots_get_crossslot() {
    let refused = "-CROSSSLOT Keys in request don't hash to the same slot";
    check_same(
        &["x", "y"],
        &[
            ("MSETNX x 1 y 2", refused),
            ("RENAME x y", refused),
            ("SUNION x y", refused),
            ("SINTERSTORE x x y", refused),
            ("PFCOUNT x y", refused),
            ("LMPOP 2 x y LEFT", refused),
            ("BLPOP x y 0", refused),
            ("XREAD STREAMS x y 0 0", refused),
            ("EVAL \"return 1\" 2 x y", refused),
            ("EXISTS x y", ":0"),
        ],
    );
}

#[test]
fn scripts_are_known_to_every_node_once_loaded() {
    let (_, gateway) = shared::cluster(module_path!());
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        let body = format!("return redis.call('INCR', KEYS[1]) -- {version:?}");
        let sha = client.text(&format!("SCRIPT LOAD \"{body}\""));
        client.check(&format!("SCRIPT EXISTS {sha} {}", "0".repeat(40)), "*2 :1 :0");
        for number in 0..50 {
            client.check(&format!("DEL script:{number}"), ":...");
            client.check(&format!("EVALSHA {sha} 1 script:{number}"), ":1");
        }
        let library = "#!lua name=everywhere\\nredis.register_function('twice', function(keys) return redis.call('INCRBY', keys[1], 2) end)";
        client.check(&format!("FUNCTION LOAD REPLACE \"{library}\""), "$10 everywhere");
        for number in 0..50 {
            client.check(&format!("FCALL twice 1 script:{number}"), ":3");
        }
        client.check("EVAL \"return ARGV[1]\" 0 nokeys", "$6 nokeys");
        client.check("EVALSHA 0000000000000000000000000000000000000000 0", "-NOSCRIPT ...");
        client.check("EVALSHA 0000000000000000000000000000000000000000 1 k", "-NOSCRIPT ...");
    }
}

#[test]
fn what_needs_no_key_is_answered() {
    let (_, gateway) = shared::cluster(module_path!());
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        for (line, reply) in [
            ("PING", "+PONG"),
            ("ECHO hi", "$2 hi"),
            ("PUBLISH nobody message", ":0"),
            ("SPUBLISH nobody message", ":0"),
            ("SELECT 0", "+OK"),
            ("SELECT 1", "-ERR SELECT is not allowed in cluster mode"),
            ("CLIENT SETNAME tester", "+OK"),
            ("CLIENT GETNAME", "$6 tester"),
            ("READONLY", "+OK"),
            ("READWRITE", "+OK"),
            ("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: "),
            ("GET", "-ERR wrong number of arguments for 'get' command"),
            ("WAIT 0 100", ":..."),
            ("CLUSTER KEYSLOT {tag}x", ":8338"),
            ("CONFIG SET save \"\"", "..."),
            ("RESET", "+RESET"),
        ] {
            client.check(line, reply);
        }
    }
}

#[test]
fn commands_that_would_reach_one_node_of_many_are_refused() {
    let (_, gateway) = shared::cluster(module_path!());
    let mut client = gateway.client();
    for line in [
        "SHUTDOWN",
        "REPLICAOF NO ONE",
        "CLUSTER MEET 127.0.0.1 1",
        "CLUSTER RESET",
        "CLUSTER FORGET 0000000000000000000000000000000000000000",
        "CLUSTER SETSLOT 1 STABLE",
        "DEBUG SLEEP 0",
        "MIGRATE 127.0.0.1 1 k 0 1",
        "PSYNC ? -1",
        "FAILOVER",
    ] {
        client.check(line, "-ERR hotgate: ...");
    }
    client.check("PING", "+PONG");
}
