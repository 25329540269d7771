//! The first line that operators read names the true cause: each case makes a real fault with real servers, waits until the
//! status sentence and `/readyz` tell of it, ends it, and waits until they do not any more.
//!
//! How long each takes is printed and never asserted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is not as it must be"
)]

mod support;

use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Cluster, Gateway, Server, wait_for, wait_until};

/// What an operator sees at first sight.
#[derive(Debug)]
struct Sight {
    level: String,
    sentence: String,
    /// `/readyz` answers 200.
    ready: bool,
    /// What else it says.
    readiness: String,
}

fn sight(gateway: &Gateway) -> Sight {
    let (_, stats) = gateway.get("/api/stats");
    let stats: Value = serde_json::from_str(&stats).unwrap();
    let (code, readiness) = gateway.get("/readyz");
    Sight {
        level: stats["status"]["level"].as_str().unwrap().to_owned(),
        sentence: stats["status"]["sentence"].as_str().unwrap().to_owned(),
        ready: code == 200,
        readiness,
    }
}

/// Waits until the sentence holds all of `words`, and prints how long that took.
fn wait_for_words(gateway: &Gateway, words: &[&str]) -> Sight {
    let began = Instant::now();
    let mut last = String::new();
    let found = wait_for(&format!("a sentence with {words:?}"), || {
        let seen = sight(gateway);
        if seen.sentence != last {
            eprintln!("{:>6} ms: {}", began.elapsed().as_millis(), seen.sentence);
            last.clone_from(&seen.sentence);
        }
        words.iter().all(|word| seen.sentence.contains(word)).then_some(seen)
    });
    eprintln!("told after {} ms", began.elapsed().as_millis());
    found
}

fn wait_until_quiet(gateway: &Gateway) {
    wait_until("nothing is wrong any more", || {
        let seen = sight(gateway);
        seen.ready && (seen.level == "ok" || seen.level == "notice")
    });
}

#[test]
fn a_hung_server_is_named_with_what_waits_for_it() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut clients: Vec<_> = (0..3).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.check("SET k v", "+OK"));
    server.pause();
    clients.iter_mut().for_each(|client| client.send(b"GET k\r\n"));
    let name = server.address().to_string();
    let seen = wait_for_words(&gateway, &[&format!("{name} has not answered for"), "3 requests wait"]);
    assert_eq!(seen.level, "critical");
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
    wait_until_quiet(&gateway);
}

#[test]
fn a_dead_server_is_named() {
    let mut server = Server::start();
    let gateway = Gateway::before_server(&server);
    gateway.client().check("SET k v", "+OK");
    server.kill();
    let seen = wait_for_words(&gateway, &[&server.address().to_string()]);
    assert_eq!(seen.level, "critical");
    wait_until("it is not ready", || !sight(&gateway).ready);
    server.restart();
    wait_until_quiet(&gateway);
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
    let seen = wait_for_words(&gateway, &[&format!("{name} has not answered for")]);
    assert!(seen.ready, "{seen:?}");
    cluster.resume(master);
    wait_until_quiet(&gateway);
}

/// Starts a gateway before something that can't serve, and looks what it says of that everywhere.
fn check_unusable(upstream: &str, config: &str, words: &[&str]) {
    let gateway = Gateway::before(upstream).config(config).start();
    let seen = wait_for_words(&gateway, words);
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
    let seen = wait_for_words(&gateway, &[&address, "this gateway itself"]);
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
    let seen = wait_for_words(&gateway, &[&name, "is a replica of", &master.address().to_string()]);
    assert!(seen.level == "critical" && !seen.ready, "{seen:?}");
    replica.client().check("REPLICAOF NO ONE", "+OK");
    wait_until_quiet(&gateway);
}
