//! The first line that operators read names the true cause: each case makes a real fault with real servers, waits until the
//! status sentence and `/readyz` tell of it, ends it, and waits until they do not any more.
//!
//! How long each takes is printed and never asserted.

use std::time::{Duration, Instant};

use crate::sight::{Traffic, answered, quiet_again, sight, stats, told};
use crate::support::{self, Cluster, Gateway, Server, wait_for, wait_until};
use serde_json::Value;

#[test]
fn a_hung_server_is_named_with_what_waits_for_it() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut clients: Vec<_> = (0..3).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.check("SET k v", "+OK"));
    server.pause();
    clients.iter_mut().for_each(|client| client.send(b"GET k\r\n"));
    let name = server.address().to_string();
    told(&gateway, "hung", &[&format!("{name} has not answered for"), "3 requests wait"]);
    // A notice at first: half a second is no fault yet.
    wait_until("it is critical", || sight(&gateway).level == "critical");
    wait_until("it is not ready", || !sight(&gateway).ready);
    // Nor is anything else said first while it lasts, be it that connections break and are made anew.
    let until = Instant::now() + Duration::from_secs(8);
    wait_until("eight seconds of it", || {
        let seen = sight(&gateway);
        assert!(seen.sentence.contains(&name), "{seen:?}");
        assert!(!seen.ready, "{seen:?}");
        Instant::now() >= until
    });
    server.resume();
    quiet_again(&gateway, "hung");
}

#[test]
fn a_dead_server_is_named() {
    let mut server = Server::start();
    let gateway = Gateway::before_server(&server);
    gateway.client().check("SET k v", "+OK");
    quiet_again(&gateway, "dead");
    server.kill();
    let seen = told(&gateway, "dead", &[&server.address().to_string(), "cannot connect"]);
    assert_eq!(seen.level, "critical");
    wait_until("it is not ready", || !sight(&gateway).ready);
    server.restart();
    quiet_again(&gateway, "dead");
}

#[test]
fn a_master_of_a_cluster_that_hangs_is_named_and_the_others_serve() {
    let cluster = Cluster::with(&["--cluster-node-timeout", "60000"]);
    cluster.wait_until_whole();
    let gateway = Gateway::before_cluster(&cluster);
    let master = cluster.master_of("k");
    let mut client = gateway.client();
    client.check("SET k v", "+OK");
    cluster.pause(master);
    client.send(b"GET k\r\n");
    let name = format!("127.0.0.1:{}", cluster.port(master));
    let seen = told(&gateway, "hung master", &[&format!("{name} has not answered for")]);
    assert!(seen.ready, "{seen:?}");
    cluster.resume(master);
    quiet_again(&gateway, "hung master");
}

/// Starts a gateway before something that can't serve, and looks what it says of that everywhere.
fn check_unusable(upstream: &str, config: &str, words: &[&str]) {
    let gateway = Gateway::before(upstream).config(config).start();
    let seen = told(&gateway, &words.join(" "), words);
    assert_eq!(seen.level, "critical");
    assert!(!seen.ready, "{seen:?}");
    let log = gateway.log();
    let mut client = gateway.client();
    let reply = client.ask("GET k");
    for word in words {
        assert!(seen.readiness.contains(word), "{word:?} is not in {}", seen.readiness);
        assert!(log.contains(word), "{word:?} is not in the log: {log}");
        assert!(reply.contains(word), "{word:?} is not in {reply}");
    }
}

const IMPATIENT: &str = "[upstream]\nunavailable_wait = \"500ms\"\n";

#[test]
fn an_upstream_that_wants_a_password_is_named() {
    let server = Server::with(&["--requirepass", "sesame"]);
    let address = server.address().to_string();
    check_unusable(&address, IMPATIENT, &[&address, "wants a password", "upstream.password"]);
    let wrong = format!("{IMPATIENT}password = \"open\"\n");
    check_unusable(&address, &wrong, &[&address, "refuses the gateway's password", "WRONGPASS"]);
}

#[test]
fn an_upstream_that_speaks_tls_is_named() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-keyout", &file("key"), "-out", &file("cert")])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let mut client = server.client();
    for (name, value) in
        [("tls-cert-file", file("cert")), ("tls-key-file", file("key")), ("tls-ca-cert-file", file("cert"))]
    {
        client.check(&format!("CONFIG SET {name} {value}"), "+OK");
    }
    let port = support::free_port();
    client.check(&format!("CONFIG SET tls-port {port}"), "+OK");
    let address = format!("127.0.0.1:{port}");
    check_unusable(&address, IMPATIENT, &[&address, "speaks TLS"]);
}

#[test]
fn a_sentinel_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("sentinel.conf");
    let port = support::free_port();
    std::fs::write(&config, format!("port {port}\nbind 127.0.0.1\n")).unwrap();
    let mut sentinel = std::process::Command::new("redis-server")
        .args([config.display().to_string().as_str(), "--sentinel"])
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    support::reaper::kill_at_end(sentinel.id());
    wait_until("the sentinel listens", || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let address = format!("127.0.0.1:{port}");
    check_unusable(&address, IMPATIENT, &[&address, "is a Sentinel", "upstream.servers"]);
    sentinel.kill().unwrap();
    sentinel.wait().unwrap();
    support::reaper::spare(sentinel.id());
}

#[test]
fn the_gateway_itself_as_its_upstream_is_named() {
    let port = support::free_port();
    let address = format!("127.0.0.1:{port}");
    let gateway = Gateway::before(&address).config(IMPATIENT).flag("--listen", &address).start();
    let seen = told(&gateway, "itself", &[&address, "this gateway itself"]);
    assert!(seen.level == "critical" && !seen.ready, "{seen:?}");
    let reply = gateway.client().ask("GET k");
    assert!(reply.contains("this gateway itself"), "{reply}");
}

#[test]
fn a_replica_as_the_upstream_is_named() {
    let master = Server::start();
    let replica = Server::with(&["--replicaof", &format!("127.0.0.1 {}", master.port())]);
    let gateway = Gateway::before_server(&replica);
    let name = replica.address().to_string();
    let seen = told(&gateway, "replica", &[&name, "is a replica of", &master.address().to_string()]);
    assert!(seen.level == "critical" && !seen.ready, "{seen:?}");
    replica.client().check("REPLICAOF NO ONE", "+OK");
    quiet_again(&gateway, "replica");
}

#[test]
fn a_server_that_refuses_writes_says_why() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let name = server.address().to_string();
    let mut admin = server.client();
    let commands: Vec<&str> = (0..40).map(|n| &*format!("SET a{n} 1").leak()).collect();
    let traffic = Traffic::start(&gateway, 2, commands.leak());
    for (fault, cure, words) in [
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "is out of memory and refuses writes"),
        ("CONFIG SET min-replicas-to-write 1", "CONFIG SET min-replicas-to-write 0", "has too few replicas"),
    ] {
        admin.check(fault, "+OK");
        let seen = told(&gateway, "refuses writes", &[&name, words]);
        assert!(seen.level == "critical" && seen.ready, "{seen:?}");
        admin.check(cure, "+OK");
        quiet_again(&gateway, "refuses writes");
    }
    drop(traffic);
}

#[test]
fn a_server_that_cannot_save_says_so() {
    let server = Server::with(&["--save", "3600 1"]);
    let gateway = Gateway::before_server(&server);
    let mut admin = server.client();
    admin.check("SET a 1", "+OK");
    // A directory stands where the file should.
    let directory = admin.list("CONFIG GET dir")[1].clone();
    std::fs::create_dir(format!("{directory}/dump.rdb")).unwrap();
    admin.ask("BGSAVE");
    wait_until("the save has failed", || {
        admin.text("INFO persistence").contains("rdb_last_bgsave_status:err")
    });
    let traffic = Traffic::start(&gateway, 2, &["SET a 1"]);
    told(&gateway, "MISCONF", &[&server.address().to_string(), "can't save its data to disk"]);
    admin.check("CONFIG SET stop-writes-on-bgsave-error no", "+OK");
    quiet_again(&gateway, "MISCONF");
    drop(traffic);
}

#[test]
fn a_server_whose_script_does_not_end_is_named() {
    let server = Server::with(&["--busy-reply-threshold", "100"]);
    let gateway = Gateway::before_server(&server);
    gateway.client().check("SET a 1", "+OK");
    let mut looping = server.client();
    looping.send(&support::text::encode(&["EVAL", "while true do end", "0"]));
    let traffic = Traffic::start(&gateway, 2, &["GET a"]);
    told(&gateway, "BUSY", &[&server.address().to_string(), "busy with a script"]);
    server.client().check("SCRIPT KILL", "+OK");
    quiet_again(&gateway, "BUSY");
    drop(traffic);
}

#[test]
fn clients_that_are_turned_away_are_told_of() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config("[gateway]\nclients_max = 3\n").start();
    let mut clients: Vec<_> = (0..3).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.check("PING", "+PONG"));
    let seen = wait_for("the sentence names the bound", || {
        let _turned_away = std::net::TcpStream::connect(gateway.address);
        let seen = sight(&gateway);
        seen.sentence.contains("gateway.clients_max").then_some(seen)
    });
    assert!(seen.sentence.contains("New clients are turned away"), "{seen:?}");
    quiet_again(&gateway, "clients_max");
}

const SALE: &str = "[[quota]]\nmatch = \"sku:*\"\nlimit = 100\nrecheck = \"100ms\"\n";

#[test]
fn a_sold_out_key_is_said_to_be_sold_out_and_not_to_reach_redis() {
    let server = Server::start();
    let gateway = Gateway::before(&server)
        .config(&format!("[detect]\nenter_rate = 100\nleave_rate = 50\n{SALE}"))
        .start();
    let traffic = Traffic::start(&gateway, 4, &["INCR sku:1"]);
    let seen = told(&gateway, "sold out", &["sku:1 is sold out, refusing"]);
    assert_eq!(seen.level, "notice");
    // It has become hot meanwhile, and goes on being sold out first of all.
    wait_until("it is hot", || answered(&gateway, "/api/hotkeys").1.contains("sku:1"));
    told(&gateway, "sold out", &["sku:1 is sold out, refusing"]);
    assert!(!answered(&gateway, "/api/stats").1.contains("not combined"));
    drop(traffic);
    quiet_again(&gateway, "sold out");
}

#[test]
fn a_master_that_holds_the_keys_of_all_is_told_of() {
    let cluster = Cluster::with(&["--enable-debug-command", "yes"]);
    cluster.wait_until_whole();
    let gateway = Gateway::before_cluster(&cluster);
    quiet_again(&gateway, "skew of keys");
    let mut direct = cluster.client(cluster.master_of("{x}:0"));
    direct.check("DEBUG POPULATE 20000 {x}", "+OK");
    let name = format!("127.0.0.1:{}", cluster.port(cluster.master_of("{x}:0")));
    let seen = told(&gateway, "skew of keys", &["Out of balance", &name, "of all keys"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("warning", true), "{seen:?}");
    direct.check("FLUSHALL", "+OK");
    quiet_again(&gateway, "skew of keys");
}

#[test]
fn a_master_that_takes_the_load_of_all_is_told_of() {
    let cluster = Cluster::start();
    cluster.wait_until_whole();
    let gateway = Gateway::before_cluster(&cluster);
    let name = format!("127.0.0.1:{}", cluster.port(cluster.master_of("{x}1")));
    let traffic = Traffic::start(
        &gateway,
        8,
        &["GET {x}1", "GET {x}2", "GET {x}3", "GET {x}4", "GET {x}5", "GET {x}6"],
    );
    let found = wait_for("the imbalance is told of", || {
        let stats = stats(&gateway);
        let status = &stats["status"];
        let others = status["others"].as_array().unwrap().iter().map(|finding| &finding["sentence"]);
        let mut all = std::iter::once(&status["sentence"]).chain(others).filter_map(Value::as_str);
        all.find(|sentence| sentence.contains("Out of balance")).map(str::to_owned)
    });
    assert!(found.contains(&name), "{found} does not name {name}");
    drop(traffic);
    quiet_again(&gateway, "skew");
}

/// The gateway asks about its upstream over connections of its own. Those that are turned away say nothing of those that serve.
#[test]
fn a_gateway_whose_clients_are_served_is_ready_though_it_gets_no_new_connection() {
    for (turn_away, let_in) in [
        ("CONFIG SET maxclients 2", "CONFIG SET maxclients 10000"),
        ("CONFIG SET requirepass changed", "CONFIG SET requirepass \"\""),
    ] {
        let server = Server::start();
        let config =
            "[gateway]\nworkers = 1\n[upstream]\ntopology_refresh = \"100ms\"\nbackoff_max = \"50ms\"\n";
        let gateway = Gateway::before(&server).config(config).start();
        let mut client = gateway.client();
        client.check("SET k v", "+OK");
        let mut direct = server.client();
        // The last of the gateway's other connections may still be open.
        direct.check(turn_away, "+OK");
        wait_until("it is turned away", || gateway.log().contains("topology: failed"));
        wait_until("what the workers have has been looked at", || {
            let seen = sight(&gateway);
            seen.ready && seen.level != "critical"
        });
        for _ in 0..20 {
            client.check("GET k", "$1 v");
            let seen = sight(&gateway);
            assert!(seen.ready && seen.level != "critical", "{turn_away}: {seen:?}");
        }
        // Once the workers are turned away as well nobody is served.
        direct.check("CONFIG SET maxclients 1", "+OK");
        direct.ask("CLIENT KILL TYPE normal SKIPME yes");
        wait_until("it is not ready", || !sight(&gateway).ready);
        direct.check("CONFIG SET maxclients 10000", "+OK");
        direct.check(let_in, "+OK");
        wait_until("it is ready", || sight(&gateway).ready);
        wait_until("its clients are served", || client.ask("GET k") == "$1 v");
    }
}
