//! Redis that works, but not as it should, in the first line: slow, failing over, moving slots, loading, a right short. As in `headlines`,
//! each row of the table makes the real fault with real servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::sight::{Traffic, gone, quiet_again, sight, told};
use crate::support::migration::Migration;
use crate::support::{Cluster, Gateway, Server, wait_until};

#[test]
fn a_slow_server_is_told_of() {
    let server = Server::with(&["--enable-debug-command", "yes"]);
    let gateway = Gateway::before_server(&server);
    let traffic = Traffic::start(&gateway, 2, &["GET a"]);
    let (stop, mut direct) = (Arc::new(AtomicBool::new(false)), server.client());
    let slow = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            while !stop.load(Ordering::Relaxed) {
                direct.check("DEBUG SLEEP 0.3", "+OK");
            }
        }
    });
    let seen = told(&gateway, "slow", &[&server.address().to_string(), "is slow"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("warning", true), "{seen:?}");
    stop.store(true, Ordering::Relaxed);
    slow.join().unwrap();
    quiet_again(&gateway, "slow");
    drop(traffic);
}

#[test]
fn a_master_that_dies_is_told_of_until_its_replica_takes_over() {
    let mut cluster = Cluster::with(&["--cluster-node-timeout", "3000"]);
    cluster.wait_until_whole();
    let gateway = Gateway::before_cluster(&cluster);
    let traffic = Traffic::start(&gateway, 2, &["SET {k}1 v", "SET b v", "SET c v"]);
    let (dead, heir) = (cluster.master_of("{k}1"), cluster.replica_of(cluster.master_of("{k}1")));
    cluster.kill(dead);
    let name = format!("127.0.0.1:{}", cluster.port(dead));
    let seen = told(&gateway, "failing over", &[&format!("Master {name} is down"), "slots are not served"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("critical", true), "{seen:?}");
    wait_until("the replica takes over", || cluster.client(heir).list("ROLE")[0] == "master");
    quiet_again(&gateway, "failing over");
    drop(traffic);
}

#[test]
fn slots_on_their_way_are_told_of() {
    let cluster = Cluster::start();
    cluster.wait_until_whole();
    let gateway = Gateway::before_cluster(&cluster);
    gateway.client().check("SET {s}1 v", "+OK");
    let traffic = Traffic::start(&gateway, 2, &["GET {s}1", "GET {s}2"]);
    let moving = Migration::begin(&cluster, "{s}1");
    let seen = told(&gateway, "migrating", &["Slots are on their way", "ASK"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("notice", true), "{seen:?}");
    moving.end();
    gone(&gateway, "migrating", "on their way");
    drop(traffic);
}

#[test]
fn a_server_that_loads_its_data_is_told_of() {
    let mut server = Server::slow_to_load();
    let mut direct = server.client();
    let value = "x".repeat(100);
    (0..3000).for_each(|n| direct.check(&format!("SET k{n} {value}"), "+OK"));
    direct.check("SAVE", "+OK");
    let gateway = Gateway::before_server(&server);
    let traffic = Traffic::start(&gateway, 2, &["GET k1"]);
    let name = server.address().to_string();
    server.kill();
    std::thread::scope(|scope| {
        scope.spawn(|| server.restart());
        let seen = told(&gateway, "loading", &[&name, "is loading its data"]);
        assert_eq!(seen.level, "critical", "{seen:?}");
        wait_until("it is not ready", || !sight(&gateway).ready);
    });
    wait_until("it has loaded", || server.client().text("INFO persistence").contains("loading:0"));
    quiet_again(&gateway, "loading");
    drop(traffic);
}

#[test]
fn a_right_that_is_short_is_told_of() {
    let server = Server::start();
    let allow = |rights: &str| {
        let user = format!("ACL SETUSER gate reset on >secret ~* {rights}");
        server.client().check(&user, "+OK");
    };
    allow("+@all");
    let gateway = Gateway::before(&server)
        .config(
            "[upstream]\nuser = 'gate'\npassword = 'secret'\n[[quota]]\nmatch = 'sku:*'\nlimit = 1000000\n",
        )
        .start();
    gateway.client().check("SET a 1", "+OK");
    // Nobody uses it.
    allow("+@all -evalsha");
    let seen = told(&gateway, "missing right, unused", &["lacks rights for quota of sku:*", "+evalsha"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("warning", true), "{seen:?}");
    allow("+@all");
    quiet_again(&gateway, "missing right, unused");
    // Clients do.
    let traffic = Traffic::start(&gateway, 2, &["GET a"]);
    allow("+@all -get");
    let seen = told(&gateway, "missing right, used", &[&server.address().to_string(), "lacks a right"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("critical", true), "{seen:?}");
    allow("+@all");
    quiet_again(&gateway, "missing right, used");
    drop(traffic);
    assert!(sight(&gateway).ready);
}

/// What hot counters are folded into may be refused although clients may count.
#[test]
fn a_right_that_only_folding_needs_is_told_of_until_it_is_given() {
    let server = Server::start();
    let gateway = Gateway::before(&server)
        .config("[gateway]\nworkers = 1\n[[rule]]\nmatch = 'folded'\nmode = 'combine'\n")
        .start();
    quiet_again(&gateway, "missing right of folding");
    server.client().check("ACL SETUSER default -incrby", "+OK");
    let traffic = Traffic::start(&gateway, 20, &["INCR folded"]);
    let seen = told(&gateway, "missing right of folding", &["may not say INCRBY", "+incrby"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("warning", true), "{seen:?}");
    drop(traffic);
    server.client().check("ACL SETUSER default +incrby", "+OK");
    quiet_again(&gateway, "missing right of folding");
}

/// So may what calls of a declared script are folded into, although clients may call it.
#[test]
fn a_right_that_only_folding_scripts_needs_is_told_of_until_it_is_given() {
    let server = Server::start();
    let body = "return redis.call('INCR', KEYS[1])";
    let reply = String::from_utf8(server.client().call(&["SCRIPT", "LOAD", body])).unwrap();
    let sha1 = reply.lines().nth(1).unwrap();
    let config = format!(
        "[gateway]\nworkers = 1\n[[rule]]\nmatch = 'folded'\nmode = 'combine'\n[[counter_script]]\nsha1 = '{sha1}'\n"
    );
    let gateway = Gateway::before(&server).config(&config).start();
    quiet_again(&gateway, "missing right of folding scripts");
    server.client().check("ACL SETUSER default -pttl -eval", "+OK");
    let call = format!("EVALSHA {sha1} 1 folded");
    let traffic = Traffic::pipelined(&gateway, 20, &call);
    let words = ["folding counter scripts", "+eval", "+pttl"];
    let seen = told(&gateway, "missing right of folding scripts", &words);
    assert_eq!((seen.level.as_str(), seen.ready), ("warning", true), "{seen:?}");
    let missing = gateway.get("/metrics").1;
    assert!(missing.contains("\nhotgate_upstream_missing_rights 1\n"), "{missing}");
    drop(traffic);
    server.client().check("ACL SETUSER default +pttl +eval", "+OK");
    quiet_again(&gateway, "missing right of folding scripts");
}

#[test]
fn what_a_server_says_to_requests_that_fail_is_told() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    server.client().check("SET text words", "+OK");
    let traffic = Traffic::start(&gateway, 2, &["INCR text"]);
    let name = server.address().to_string();
    let words = ["of all requests fail", &name, "\"ERR value is not an integer or out of range\""];
    let seen = told(&gateway, "failing requests", &words);
    assert_eq!((seen.level.as_str(), seen.ready), ("critical", true), "{seen:?}");
    drop(traffic);
    gone(&gateway, "failing requests", "requests fail");
}

/// With requests that wait for it, one that refuses connections is not said to be silent.
#[test]
fn a_dead_server_with_traffic_stays_named_as_dead() {
    let mut server = Server::start();
    let gateway = Gateway::before_server(&server);
    let traffic = Traffic::start(&gateway, 3, &["SET k v", "GET k"]);
    wait_until("it goes on", || sight(&gateway).ready);
    server.kill();
    told(&gateway, "dead with traffic", &[&server.address().to_string(), "cannot connect"]);
    let until = Instant::now() + Duration::from_secs(4);
    wait_until("four seconds of it", || {
        let seen = sight(&gateway);
        assert!(seen.sentence.contains("cannot connect") && !seen.ready, "{seen:?}");
        Instant::now() >= until
    });
    server.restart();
    quiet_again(&gateway, "dead with traffic");
    drop(traffic);
}
