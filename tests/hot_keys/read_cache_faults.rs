//! The read cache when connections break, servers fall silent or refuse, and slots move: nothing that may be outdated is served.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::support::copies::{RULES, Witness, value_of, warm};
use crate::support::figures::{calls, figure};
use crate::support::migration::Migration;
use crate::support::redis::signal;
use crate::support::relay::Relay;
use crate::support::text::request;
use crate::support::{BOTH_VERSIONS, Client, Cluster, Gateway, Server, Version, seed, wait_until};

/// Whatever ends the tracking connection ends its copies too.
fn check_loss(lose: impl Fn(&Relay, &mut Client)) {
    let server = Server::start();
    let relay = Relay::before(server.address());
    let gateway = Gateway::of_two_workers(&relay.address().to_string(), RULES);
    let mut direct = server.client();
    let mut clients =
        [gateway.client(), gateway.speaking(Version::Resp3), gateway.client(), gateway.client()];
    for round in 0..20 {
        direct.check(&format!("SET t:1 {round}"), "+OK");
        clients.iter_mut().for_each(|client| warm(client, &mut direct, "GET t:1"));
        lose(&relay, &mut direct);
        direct.check("SET t:1 new", "+OK");
        for client in &mut clients {
            wait_until("the new value is seen", || client.ask("GET t:1") == "$3 new");
        }
    }
    wait_until("the loss is counted", || figure(&mut clients[0], "read_cache_drops") > 0);
}

#[test]
fn copies_go_when_the_network_cuts_the_tracking_connection() {
    check_loss(|relay, _| relay.cut());
}

#[test]
fn copies_go_when_the_server_kills_the_tracking_connection() {
    check_loss(|_, direct| {
        let clients = direct.text("CLIENT LIST");
        let tracking = clients.lines().filter(|line| line.contains(" flags=t "));
        let ids: Vec<&str> =
            tracking.filter_map(|line| line.strip_prefix("id=")?.split(' ').next()).collect();
        assert!(!ids.is_empty(), "no connection tracks: {clients}");
        ids.iter().for_each(|id| direct.check(&format!("CLIENT KILL ID {id}"), ":1"));
    });
}

/// A connection that seems alive and says nothing is found out.
#[test]
fn copies_go_when_the_server_falls_silent() {
    let server = Server::start();
    let relay = Relay::before(server.address());
    let config = format!("[upstream]\nrequest_timeout = '1s'\n{RULES}");
    let gateway = Gateway::of_two_workers(&relay.address().to_string(), &config);
    let (mut client, mut direct) = (gateway.client(), server.client());
    direct.check("SET t:1 old", "+OK");
    warm(&mut client, &mut direct, "GET t:1");
    relay.hold_replies(true);
    direct.check("SET t:1 new", "+OK");
    client.check("GET t:1", "$3 old");
    let mut info = gateway.client();
    wait_until("the copies are dropped", || figure(&mut info, "read_cache_drops") > 0);
    relay.cut();
    relay.hold_replies(false);
    wait_until("the new value is seen", || client.ask("GET t:1") == "$3 new");
}

/// What was said while the gateway did not run is not overtaken by reads that came behind it.
#[test]
fn a_gateway_that_stood_still_serves_nothing_from_before() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, RULES);
    let mut direct = server.client();
    let mut clients = [gateway.client(), gateway.speaking(Version::Resp3), gateway.client()];
    for round in 0..3 {
        direct.check(&format!("SET t:1 {round}"), "+OK");
        clients.iter_mut().for_each(|client| warm(client, &mut direct, "GET t:1"));
        signal(gateway.pid(), "STOP");
        let stopped = Instant::now();
        // Its sockets are looked at in the order in which something came.
        clients.iter_mut().for_each(|client| client.send(&request("GET t:1")));
        direct.check(&format!("SET t:1 {}", round + 100), "+OK");
        clients.iter_mut().for_each(|client| client.send(&request("GET t:1")));
        wait_until("the stop lasts", || stopped.elapsed() > Duration::from_millis(1500));
        signal(gateway.pid(), "CONT");
        for client in &mut clients {
            client.reply();
            assert_eq!(value_of(&client.reply()), round + 100);
        }
    }
}

/// A reply that is not read to its end is refused to all who wait for it, and not asked for again; when the value is short again
/// it is served.
#[test]
fn a_value_too_long_is_refused_once() {
    let server = Server::start();
    let config =
        format!("[upstream]\nreply_bytes_max = '1mb'\n{RULES}[[rule]]\nmatch = 'c:*'\nmode = 'combine'\n");
    let gateway = Gateway::of_two_workers(&server, &config);
    let mut direct = server.client();
    let long = "x".repeat(2 << 20);
    for (key, version) in
        ["t:1", "a:1", "c:1", "n:1"].into_iter().flat_map(|key| BOTH_VERSIONS.map(|version| (key, version)))
    {
        let mut client = gateway.speaking(version);
        let read = format!("GET {key}");
        direct.check(&format!("SET {key} {long}"), "+OK");
        // Of a key with an age a copy may be left from the version before.
        client.ask(&format!("PERSIST {key}"));
        for _ in 0..3 {
            let before = calls(&mut direct, "get");
            let reply = client.ask(&read);
            assert!(reply.starts_with("-ERR") && reply.contains("reply_bytes_max"), "{read}: {reply:.200}");
            assert_eq!(calls(&mut direct, "get"), before + 1, "{read} {version:?}");
        }
        client.check(&format!("SET {key} short"), "+OK");
        client.check(&read, "$5 short");
    }
}

/// Reads that were on their way are repeated, and still nobody goes back.
#[test]
fn cuts_take_no_connection_back() {
    let seed = seed();
    let server = Server::start();
    let relay = Relay::before(server.address());
    let config = format!("[upstream]\nbackoff_min = '1ms'\nbackoff_max = '20ms'\n{RULES}");
    let gateway = Gateway::of_two_workers(&relay.address().to_string(), &config);
    let left = AtomicUsize::new(6);
    std::thread::scope(|scope| {
        for connection in 0..6 {
            let (gateway, left) = (&gateway, &left);
            scope.spawn(move || {
                let version = BOTH_VERSIONS[connection % 2];
                let mut witness = Witness::new(gateway, version, seed.wrapping_add(connection as u64));
                witness.tolerant = true;
                (0..1000).for_each(|_| witness.step());
                left.fetch_sub(1, Ordering::SeqCst);
            });
        }
        let mut direct = server.client();
        let mut run = 0;
        wait_until("all are done", || {
            let now = calls(&mut direct, "get");
            if now > run + 200 {
                run = now;
                relay.cut();
            }
            left.load(Ordering::SeqCst) == 0
        });
    });
}

/// A read that was repeated on another connection makes no copy, and leaves none behind that is older than its reply.
#[test]
fn a_repeated_read_is_not_followed_by_an_older_copy() {
    let server = Server::start();
    let relay = Relay::before(server.address());
    let config = format!("[gateway]\nworkers = 1\n{RULES}");
    let gateway = Gateway::before(&relay).config(&config).start();
    let (mut client, mut direct) = (gateway.client(), server.client());
    direct.check("SET a:1 old", "+OK");
    warm(&mut gateway.client(), &mut direct, "GET a:1");
    direct.check("SET a:1 new", "+OK");
    relay.hold_replies(true);
    let (part, whole) = (request("GETRANGE a:1 0 -1"), request("GET a:1"));
    let sent = relay.times_sent(&whole);
    client.send(&[part, whole.clone()].concat());
    wait_until("the read is sent", || relay.times_sent(&whole) > sent);
    relay.cut();
    relay.hold_replies(false);
    for line in ["GETRANGE a:1 0 -1", "GET a:1"] {
        client.expect(line, "$3 new");
    }
    client.check("GET a:1", "$3 new");
}

#[test]
fn copies_go_when_the_database_is_flushed() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, RULES);
    let (mut client, mut direct) = (gateway.client(), server.client());
    direct.check("SET t:1 x", "+OK");
    warm(&mut client, &mut direct, "GET t:1");
    direct.check("FLUSHALL", "+OK");
    wait_until("nothing is seen", || client.ask("GET t:1") == "$-1");
}

#[test]
fn a_server_that_does_not_track_is_read_every_time() {
    let server = Server::with(&["--rename-command", "CLIENT", ""]);
    let gateway = Gateway::of_two_workers(&server, RULES);
    let (mut client, mut direct) = (gateway.client(), server.client());
    for round in 0..300 {
        direct.check(&format!("SET t:1 {round}"), "+OK");
        assert_eq!(value_of(&client.call_line("GET t:1")), round);
    }
    wait_until("the log says so", || gateway.log().contains("does not track reads"));
    let said = gateway.log().matches("does not track reads").count();
    assert!(said <= 2, "each of the two workers says it once, not {said} times");
}

/// Nothing of the old owner of a slot is served once the gateway knows the new one.
#[test]
fn copies_go_when_slots_move_and_masters_fail() {
    let mut cluster = Cluster::start();
    let config = format!("[upstream]\nunavailable_wait = '30s'\n{RULES}");
    let gateway = Gateway::of_two_workers(&cluster.seeds(), &config);
    let mut clients = [gateway.client(), gateway.speaking(Version::Resp3), gateway.client()];
    let key = "t:{moving}";
    let read = format!("GET {key}");
    let warm_all = |cluster: &Cluster, clients: &mut [Client]| {
        let mut direct = cluster.client(cluster.master_of(key));
        clients.iter_mut().for_each(|client| warm(client, &mut direct, &read));
    };
    let check_all = |cluster: &Cluster, clients: &mut [Client], value: i64| {
        let mut direct = cluster.client(cluster.master_of(key));
        direct.check(&format!("SET {key} {value}"), "+OK");
        for client in clients {
            wait_until("the new value is seen", || value_of(&client.call_line(&read)) == value);
        }
    };
    for round in 1..=3 {
        warm_all(&cluster, &mut clients);
        let migration = Migration::begin(&cluster, key);
        migration.move_keys(10);
        for client in &mut clients {
            let written = client.integer(&format!("INCRBY {key} 10"));
            assert_eq!(value_of(&client.call_line(&read)), written);
        }
        migration.end();
        check_all(&cluster, &mut clients, round * 1000);
        // A copy of nothing is one too: no key is there to be moved, and the new owner gets it.
        cluster.client(cluster.master_of(key)).ask(&format!("DEL {key}"));
        warm_all(&cluster, &mut clients);
        Migration::begin(&cluster, key).end();
        check_all(&cluster, &mut clients, round * 1000 + 1);
    }
    warm_all(&cluster, &mut clients);
    let master = cluster.master_of(key);
    wait_until("the replica has it", || cluster.client(master).ask("WAIT 1 1000") == ":1");
    cluster.kill(master);
    wait_until("the replica is the master", || cluster.masters().len() == 3);
    check_all(&cluster, &mut clients, 9000);
}
