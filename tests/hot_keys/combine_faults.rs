//! Whatever breaks around a combined counter, no acknowledged increment is lost and none counts twice: with
//! `exactly_once` each increment ends with its own value while its key's node comes back in time, and without it one whose
//! outcome is unknown is called so.
//!
//! Some ten thousand increments run through each kind of fault. A failing seed is printed; `HOTGATE_SEED` repeats it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use crate::support::increments::Increments;
use crate::support::relay::Relay;
use crate::support::{self, Cluster, Gateway, Server, seed};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const KEY: &str = "sku:{1}:reserved";
const CLIENTS: usize = 16;
const INCREMENTS: usize = 10_000;

/// Faults are spread over the increments.
const FAULTS: usize = 20;

/// Patience beyond any fault of these tests, so that what `exactly_once` promises is seen whole.
const PATIENT: &str =
    "[combine]\nexactly_once = true\n[upstream]\nunavailable_wait = '50s'\nbackoff_max = '100ms'\n";

fn start(upstream: &str, config: &str) -> Gateway {
    let rule = "[[rule]]\nmatch = 'sku:*'\nmode = 'combine'\n";
    Gateway::before(upstream).config(&format!("[gateway]\nworkers = 2\n{config}\n{rule}")).start()
}

fn address(gateway: &Gateway) -> Arc<Mutex<SocketAddr>> {
    Arc::new(Mutex::new(gateway.address))
}

fn announced_seed() -> (u64, SmallRng) {
    let seed = seed();
    (seed, SmallRng::seed_from_u64(seed))
}

/// A server that forgets nothing it has acknowledged when it is killed.
fn lasting_server() -> Server {
    Server::with(&["--appendonly", "yes", "--appendfsync", "always"])
}

/// Cuts all connections between the gateway and its server: before a flush, during it, or when its reply is on the way.
fn cut(relay: &Relay, rng: &mut SmallRng) {
    match rng.random_range(0..3) {
        0 => relay.cut(),
        1 => {
            // What is written from here on is executed, and nobody is told.
            let flushes = relay.bytes_sent();
            relay.hold_replies(true);
            support::wait_until("a flush is on the wire", || relay.bytes_sent() > flushes);
            relay.cut();
            relay.hold_replies(false);
        }
        _ => {
            relay.refuse(true);
            relay.cut();
            relay.refuse(false);
        }
    }
}

#[test]
fn every_increment_counts_once_when_connections_are_cut() {
    let (seed, mut rng) = announced_seed();
    let server = Server::start();
    let relay = Relay::before(server.address());
    let gateway = start(&relay.address().to_string(), PATIENT);
    let increments = Increments::start(KEY, CLIENTS, &[address(&gateway)], seed);
    for _ in 0..FAULTS {
        increments.wait_for_replies(INCREMENTS / FAULTS);
        cut(&relay, &mut rng);
    }
    increments.wait_for_replies(INCREMENTS / FAULTS);
    increments.finish().check_whole(server.client().text(&format!("GET {KEY}")).parse().unwrap(), seed);
}

#[test]
fn without_tokens_an_increment_on_a_cut_connection_is_unknown_and_never_repeated() {
    let (seed, mut rng) = announced_seed();
    let server = Server::start();
    let relay = Relay::before(server.address());
    let config = PATIENT.replace("exactly_once = true", "exactly_once = false");
    let gateway = start(&relay.address().to_string(), &config);
    let increments = Increments::start(KEY, CLIENTS, &[address(&gateway)], seed);
    for _ in 0..FAULTS {
        increments.wait_for_replies(INCREMENTS / FAULTS);
        cut(&relay, &mut rng);
    }
    increments.wait_for_replies(INCREMENTS / FAULTS);
    let mut account = increments.finish();
    account.check(server.client().text(&format!("GET {KEY}")).parse().unwrap(), seed);
    assert!(account.unknown > 0, "seed {seed}: no cut left an outcome unknown");
}

#[test]
fn every_increment_counts_once_when_the_server_stands_still_or_dies() {
    let (seed, mut rng) = announced_seed();
    let mut server = lasting_server();
    let config = format!("{PATIENT}request_timeout = '300ms'\n");
    let gateway = start(&server.address().to_string(), &config);
    let increments = Increments::start(KEY, CLIENTS, &[address(&gateway)], seed);
    for _ in 0..6 {
        increments.wait_for_replies(INCREMENTS / 6);
        if rng.random_ratio(1, 2) {
            let lost = || gateway.log().matches("lost a connection").count();
            let before = lost();
            server.pause();
            support::wait_until("the gateway gives the connection up", || lost() > before);
            server.resume();
        } else {
            server.kill();
            server.restart();
        }
    }
    increments.wait_for_replies(INCREMENTS / 6);
    increments.finish().check_whole(server.client().text(&format!("GET {KEY}")).parse().unwrap(), seed);
}

#[test]
fn every_increment_counts_once_across_failovers() {
    check_failovers("");
}

/// Then a master that became a replica runs scripts, and refuses what they write instead of naming the new master.
#[test]
fn every_increment_counts_once_across_failovers_while_replicas_are_read_from() {
    check_failovers("read_from = 'prefer-replica'\ntopology_refresh = '1h'\n");
}

fn check_failovers(upstream: &str) {
    let (seed, _) = announced_seed();
    let cluster = Cluster::start();
    let gateway = start(&cluster.seeds(), &format!("{PATIENT}redirects_max = 64\n{upstream}"));
    let increments = Increments::start(KEY, CLIENTS, &[address(&gateway)], seed);
    for _ in 0..2 {
        increments.wait_for_replies(INCREMENTS / 3);
        cluster.fail_over(KEY);
        increments.wait_for_replies(INCREMENTS / 3);
        cluster.wait_until_whole();
    }
    let mut account = increments.finish();
    let value = cluster.client(cluster.master_of(KEY)).text(&format!("GET {KEY}"));
    account.check_whole(value.parse().unwrap(), seed);
}

#[test]
fn what_was_acknowledged_survives_gateways_that_are_killed() {
    let (seed, mut rng) = announced_seed();
    let server = Server::start();
    let upstream = server.address().to_string();
    let mut gateways: Vec<Gateway> = (0..2).map(|_| start(&upstream, PATIENT)).collect();
    let addresses: Vec<_> = gateways.iter().map(address).collect();
    let increments = Increments::start(KEY, CLIENTS, &addresses, seed);
    for _ in 0..8 {
        increments.wait_for_replies(INCREMENTS / 8);
        let victim = rng.random_range(0..gateways.len());
        // A dropped gateway is killed with SIGKILL.
        drop(gateways.remove(victim));
        gateways.insert(victim, start(&upstream, PATIENT));
        *addresses[victim].lock().unwrap() = gateways[victim].address;
    }
    increments.wait_for_replies(INCREMENTS / 8);
    let mut account = increments.finish();
    account.check(server.client().text(&format!("GET {KEY}")).parse().unwrap(), seed);
    assert_eq!(account.refused, 0, "seed {seed}");
}
