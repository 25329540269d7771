//! Replies through hotgate are Redis's own, byte for byte: a generated sequence of some thousands of commands goes to a
//! plain Redis and, through hotgate, to a second fresh one (or a cluster), and every reply is compared.
//!
//! Not compared, because two runs against the same Redis differ as well:
//! - by time or chance: expiry relative to now (`SETEX`, `EXPIRE` with a number), `TIME TTL PTTL LASTSAVE`,
//!   `OBJECT IDLETIME`, `XADD key *`, `RANDOMKEY SPOP SRANDMEMBER HRANDFIELD ZRANDMEMBER`;
//! - by process: `INFO CLIENT ID|INFO|LIST HELLO COMMAND CONFIG CLUSTER` (local to the gateway; `commands_*.rs` and
//!   `cluster_pose.rs` have them);
//! - the order within a hash table, which hangs on each server's hash seed: sets here hold integers, and hashes are told
//!   to stay lists ([`SMALL_ENCODINGS`]).
//!
//! That holds with folding forced on, off, and switched at random by reloads under way, and with TLS on both sides.
//!
//! A failure prints the seed; `HOTGATE_SEED=n` runs the same sequence again.

use crate::support::folding::{Folding, Switch};
use crate::support::generator::{Generator, Keys};
use crate::support::secured::Secured;
use crate::support::text::{encode, shown};
use crate::support::{self, BOTH_VERSIONS, Client, Cluster, Gateway, Server, Version};

const COMMANDS: usize = 3_000;

/// Hashes stay in the encoding that keeps the order of insertion, whatever the size of their values.
const SMALL_ENCODINGS: &[&str] = &["--hash-max-ziplist-value", "1000000"];

/// Sends the same sequence both ways and compares reply for reply. The commands go in pipelines of random length, so that
/// order is proven on the way.
fn compare(
    (plain, through): (&mut Client, &mut Client),
    keys: Keys,
    version: Version,
    seed: u64,
    switch: &mut Switch,
) {
    let mut generator = Generator::new(seed, keys);
    let older = plain.text("INFO server").contains("redis_version:6.");
    let mut sent = 0;
    while sent < COMMANDS {
        let pipeline: Vec<Vec<Vec<u8>>> = (0..1 + (sent * 7) % 13).map(|_| generator.command()).collect();
        let bytes: Vec<u8> = pipeline.iter().flat_map(|command| encode(command)).collect();
        plain.send(&bytes);
        through.send(&bytes);
        switch.perhaps(8);
        for command in &pipeline {
            let line: Vec<String> = command.iter().map(|argument| shown(argument)).collect();
            let line = line.join(" ");
            let context = format!("seed {seed}, {keys:?}, {version:?}, command {sent}: {line}");
            let expected =
                plain.try_reply().unwrap_or_else(|error| panic!("plain Redis: {error}; {context}"));
            let reply = through.try_reply().unwrap_or_else(|error| panic!("hotgate: {error}; {context}"));
            assert!(
                reply == expected
                    || (older && is_same_error(&reply, &expected))
                    || (command[0].eq_ignore_ascii_case(b"ZSCAN")
                        && is_same_in_another_order(&reply, &expected)),
                "{context}\n  hotgate {}\n  redis   {}",
                shown(&reply),
                shown(&expected)
            );
            sent += 1;
        }
    }
}

/// What the gateway refuses itself it words as Redis 7 does, whatever stands behind it: of an older server's errors the code is
/// the same.
fn is_same_error(reply: &[u8], expected: &[u8]) -> bool {
    let code = |reply: &[u8]| reply.split(|&byte| byte == b' ').next().map(<[u8]>::to_vec);
    reply.starts_with(b"-") && code(reply) == code(expected)
}

/// What `ZRANGESTORE ... BYSCORE` stores is a table from the start, which each server scans in the order of its random seed.
fn is_same_in_another_order(reply: &[u8], expected: &[u8]) -> bool {
    let sorted = |reply: &[u8]| {
        let mut lines: Vec<Vec<u8>> = reply.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort_unstable();
        lines
    };
    sorted(reply) == sorted(expected)
}

/// Runs both versions of the protocol, each with a seed of its own, from an empty database.
fn check(plain: &Server, gateway: &[Gateway; 1], keys: Keys, folding: Folding) {
    for version in BOTH_VERSIONS {
        let seed = support::seed();
        let mut switch = Switch::new(gateway, "", PATTERN, folding, seed);
        let mut to_redis = Client::speaking(plain.address(), version);
        let mut to_hotgate = gateway[0].speaking(version);
        for client in [&mut to_redis, &mut to_hotgate] {
            client.check("FLUSHALL", "+OK");
        }
        println!("{keys:?}, {version:?}, folding {folding:?}");
        compare((&mut to_redis, &mut to_hotgate), keys, version, seed, &mut switch);
        assert_eq!(switch.switched() > 0, folding == Folding::Switching);
    }
}

const PATTERN: &str = "*";

fn start(upstream: impl ToString, folding: Folding) -> [Gateway; 1] {
    [Gateway::before(&upstream.to_string()).config(&folding.rule(PATTERN)).start()]
}

#[test]
fn in_front_of_one_server() {
    let (plain, behind) = (Server::with(SMALL_ENCODINGS), Server::with(SMALL_ENCODINGS));
    for folding in Folding::ALL {
        check(&plain, &start(behind.seed(), folding), Keys::Anywhere, folding);
    }
}

#[test]
fn over_tls_in_front_of_one_server() {
    let secured = Secured::new();
    let (plain, behind) = (Server::with(SMALL_ENCODINGS), Server::secured(secured, SMALL_ENCODINGS));
    for folding in [Folding::Off, Folding::Switching] {
        let start = Gateway::before(&behind).secured(secured).config(&folding.rule(PATTERN));
        check(&plain, &[start.start()], Keys::Anywhere, folding);
    }
}

#[test]
fn over_tls_in_front_of_a_cluster() {
    let secured = Secured::new();
    let (plain, cluster) = (Server::with(SMALL_ENCODINGS), Cluster::secured(secured, SMALL_ENCODINGS));
    let folding = Folding::Switching;
    let start = Gateway::before(&cluster).secured(secured).config(&folding.rule(PATTERN));
    check(&plain, &[start.start()], Keys::AcrossSlots, folding);
}

#[test]
fn in_front_of_a_cluster() {
    let plain = Server::with(SMALL_ENCODINGS);
    let cluster = Cluster::with(SMALL_ENCODINGS);
    for (keys, foldings) in [
        (Keys::OneSlot, &[Folding::On, Folding::Switching][..]),
        (Keys::AcrossSlots, &[Folding::Off, Folding::Switching]),
    ] {
        for folding in foldings {
            check(&plain, &start(cluster.seeds(), *folding), keys, *folding);
        }
    }
}
