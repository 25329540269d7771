//! What lives in a connection to Redis ends with it, as for a client of Redis itself: who waits in a blocking command, is
//! subscribed or monitors sees the end of its own connection, never an error on one that stays open. A write of unknown
//! outcome is an error, or the end of the connection where `upstream.lost_reply` says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::relay::Relay;
use crate::support::text::{one_line, request};
use crate::support::{BOTH_VERSIONS, Client, Cluster, Gateway, Server, Version, wait_until};

const BLOCKING: &[&str] = &[
    "BLPOP lost:none 0",
    "BRPOP lost:none lost:none2 0",
    "BRPOPLPUSH lost:none lost:to 0",
    "BLMOVE lost:none lost:to LEFT RIGHT 0",
    "BLMPOP 0 1 lost:none LEFT",
    "BZPOPMIN lost:none 0",
    "BZPOPMAX lost:none 0",
    "BZMPOP 0 1 lost:none MIN",
    "WAIT 1 0",
    "XREAD BLOCK 0 STREAMS lost:none $",
    "XREADGROUP GROUP g c BLOCK 0 STREAMS lost:stream >",
];

const LISTENING: &[&str] =
    &["SUBSCRIBE lost:channel", "PSUBSCRIBE lost:*", "SSUBSCRIBE lost:shard", "MONITOR"];

fn behind_relay(config: &str) -> (Server, Relay, Gateway) {
    let (server, relay, gateway) = Relay::between(config);
    gateway.client().check("XGROUP CREATE lost:stream g $ MKSTREAM", "+OK");
    (server, relay, gateway)
}

/// Nothing more comes, not even an error.
fn check_ended(name: &str, mut client: Client) {
    let rest = client.rest();
    assert!(rest.is_empty(), "{name}: {}", rest.escape_ascii());
}

#[test]
fn a_lost_connection_ends_the_clients_that_wait_or_listen_on_it() {
    let (_server, relay, gateway) = behind_relay("");
    for version in BOTH_VERSIONS {
        let mut waiting = Vec::new();
        for line in BLOCKING {
            let mut client = gateway.speaking(version);
            let before = relay.times_sent(&request(line));
            client.send_line(line);
            wait_until(line, || relay.times_sent(&request(line)) > before);
            waiting.push((line, client));
        }
        for line in LISTENING {
            let mut client = gateway.speaking(version);
            client.send_line(line);
            client.reply();
            waiting.push((line, client));
        }
        relay.cut();
        for (line, client) in waiting {
            check_ended(line, client);
        }
        wait_until("the gateway is back", || gateway.client().ask("SET lost:k v") == "+OK");
    }
}

/// A worker's loop: it waits, and begins anew when its connection ends. It never sees an error of the gateway, however long
/// Redis is away, and gets what comes afterwards.
#[test]
fn who_waits_sees_no_error_while_redis_restarts() {
    let mut server = Server::start();
    let gateway = Gateway::before(&server)
        .config("[upstream]\nunavailable_wait = '300ms'\nbackoff_max = '100ms'\n")
        .start();
    let mut waiting = gateway.client();
    waiting.check("PING", "+PONG");
    waiting.send_line("BRPOP restart:list 0");
    let mut admin = server.client();
    wait_until("it waits at Redis", || admin.text("INFO clients").contains("blocked_clients:1"));
    drop(admin);
    server.kill();
    check_ended("the one that waited", waiting);
    // While Redis is away, whoever waits anew is ended after `unavailable_wait`.
    for _ in 0..3 {
        let mut again = gateway.client();
        again.send_line("BRPOP restart:list 0");
        check_ended("one that came while Redis was away", again);
    }
    let mut early = gateway.client();
    early.send_line("BRPOP restart:list 0");
    server.restart();
    let mut served = false;
    wait_until("the gateway is back", || gateway.client().ask("LPUSH restart:list v") == ":1");
    while !served {
        match early.try_reply() {
            Ok(reply) => {
                assert_eq!(one_line(&reply), "*2 $12 restart:list $1 v");
                served = true;
            }
            Err(_) => {
                early = gateway.client();
                early.send_line("BRPOP restart:list 0");
            }
        }
    }
}

/// A blocked connection that an operator kills, on one server and on a cluster.
#[test]
fn a_killed_connection_ends_who_waits_on_it() {
    let cluster = Cluster::start();
    let gateway = Gateway::before_cluster(&cluster);
    for version in BOTH_VERSIONS {
        let mut waiting = gateway.speaking(version);
        waiting.send_line("BLMOVE {lost}:a {lost}:b LEFT LEFT 0");
        let mut node = cluster.client(cluster.master_of("{lost}:a"));
        wait_until("it waits", || node.text("INFO clients").contains("blocked_clients:1"));
        let list = node.text("CLIENT LIST TYPE NORMAL");
        let blocked = list.lines().find(|line| line.contains("cmd=blmove")).unwrap();
        let id = blocked.split([' ', '=']).nth(1).unwrap();
        node.check(&format!("CLIENT KILL ID {id}"), ":1");
        check_ended("BLMOVE", waiting);
    }
    assert_eq!(gateway.client().ask("SET {lost}:a v"), "+OK");
}

/// `upstream.lost_reply = "close"`: a write of unknown outcome ends its client's connection, after what was ready.
#[test]
fn a_write_of_unknown_outcome_may_end_the_connection() {
    let config = "[upstream]\nlost_reply = 'close'\n[combine]\nexactly_once = false\n[[rule]]\nmatch = 'lost:hot:*'\nmode = 'combine'\n";
    let (_server, relay, gateway) = behind_relay(config);
    for lines in [
        &["INCR lost:n"][..],
        &["PING", "ECHO first", "RPUSH lost:l v"],
        &["MULTI", "INCR lost:n", "EXEC"],
        &["INCR lost:hot:n"],
    ] {
        let mut client = gateway.client();
        relay.hold_replies(true);
        // What is combined may go out in other words.
        let last = lines[lines.len() - 1];
        let write = if last.contains("hot") { b"lost:hot:n".to_vec() } else { request(last) };
        let before = relay.times_sent(&write);
        client.send(&lines.iter().flat_map(|line| request(line)).collect::<Vec<u8>>());
        wait_until("the write is at the server", || relay.times_sent(&write) > before);
        relay.cut();
        relay.hold_replies(false);
        let rest = client.rest();
        assert!(!rest.contains(&b'-'), "{lines:?}: {}", rest.escape_ascii());
        let answered =
            if lines.len() == 3 && lines[0] == "PING" { &b"+PONG\r\n$5\r\nfirst\r\n"[..] } else { b"" };
        assert!(rest.starts_with(answered), "{lines:?}: {}", rest.escape_ascii());
        wait_until("the gateway is back", || gateway.client().ask("GET lost:none") == "$-1");
    }
    // A read is sent again all the same.
    let mut client = gateway.client();
    relay.hold_replies(true);
    let read = request("GET lost:read");
    client.send(&read);
    wait_until("the read is at the server", || relay.times_sent(&read) == 1);
    relay.cut();
    relay.hold_replies(false);
    client.expect("GET", "$-1");
}

/// While keys change without pause, invalidations come right behind the log-in of a connection that listens for them.
#[test]
fn a_listener_comes_back_while_keys_change() {
    let (server, relay, gateway) = behind_relay("");
    let mut listening = gateway.speaking(Version::Resp3);
    listening.check("CLIENT TRACKING ON BCAST", "+OK");
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let mut writer = server.client();
    let writing = std::thread::spawn(move || {
        for number in 0.. {
            if stopped.load(Ordering::SeqCst) {
                break;
            }
            let sets: Vec<u8> =
                (0..50).flat_map(|key| request(&format!("SET early:{key} {number}"))).collect();
            writer.send(&sets);
            (0..50).for_each(|_| assert_eq!(writer.reply(), b"+OK\r\n"));
        }
    });
    for _ in 0..10 {
        relay.cut();
        while one_line(&listening.reply()) != ">2 $10 invalidate _" {}
        wait_until("invalidations come again", || one_line(&listening.reply()).contains("early:"));
    }
    stop.store(true, Ordering::SeqCst);
    writing.join().unwrap();
    assert!(!gateway.log().contains("does not speak"), "{}", gateway.log());
}
