//! Nodes that no client asks for anything, in the first line: they are asked by the gateway itself. As in `headlines`, each row of the
//! table makes the real fault with real servers.

use std::time::{Duration, Instant};

use crate::sight::{Traffic, answered, gone, quiet_again, sight, stats, told};
use crate::support::{Cluster, Gateway, Server, wait_for, wait_until};

/// Waits until a line, be it the first or another, holds all of `words`.
fn told_somewhere(gateway: &Gateway, row: &str, words: &[&str]) -> String {
    let began = Instant::now();
    let line = wait_for(&format!("{row}: a line with {words:?}"), || {
        std::thread::park_timeout(Duration::from_millis(30));
        let status = stats(gateway)["status"].clone();
        let others = status["others"].as_array().unwrap().iter();
        let lines = std::iter::once(&status["sentence"]).chain(others.map(|other| &other["sentence"]));
        let mut lines = lines.filter_map(serde_json::Value::as_str);
        lines.find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
    });
    eprintln!("ROW {row}: told after {} ms: {line}", began.elapsed().as_millis());
    line
}

#[test]
fn a_server_that_hangs_while_nobody_asks_is_told_of() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    quiet_again(&gateway, "hung, unasked");
    let name = server.address().to_string();
    server.pause();
    let seen =
        told(&gateway, "hung, unasked", &[&format!("{name} has not answered for"), "no client has asked it"]);
    assert_eq!(seen.level, "critical", "{seen:?}");
    wait_until("it is not ready", || !sight(&gateway).ready);
    server.resume();
    quiet_again(&gateway, "hung, unasked");
    // With a password, nothing but the pulse comes before the log-in.
    server.client().check("CONFIG SET requirepass sesame", "+OK");
    let gateway = Gateway::before(&server).config("[upstream]\npassword = 'sesame'\n").start();
    quiet_again(&gateway, "hung, unasked, password");
    server.pause();
    told(&gateway, "hung, unasked, password", &[&format!("{name} has not answered for")]);
    server.resume();
    quiet_again(&gateway, "hung, unasked, password");
}

#[test]
fn a_server_that_pauses_its_clients_is_said_to() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    quiet_again(&gateway, "CLIENT PAUSE");
    // It can't be taken back: what takes it back is held back too.
    server.client().check("CLIENT PAUSE 4000 ALL", "+OK");
    let name = server.address().to_string();
    let seen =
        told(&gateway, "CLIENT PAUSE", &[&format!("{name} has held all commands back"), "CLIENT PAUSE"]);
    assert_eq!(seen.level, "critical", "{seen:?}");
    wait_until("the pause is over", || server.client().ask("PING") == "+PONG");
    quiet_again(&gateway, "CLIENT PAUSE");
    // Writes alone wait, and whatever else is asked is answered.
    let traffic = Traffic::start(&gateway, 2, &["SET k v"]);
    server.client().check("CLIENT PAUSE 600000 WRITE", "+OK");
    let words = [&format!("{name} has held commands back for") as &str, "2 requests wait"];
    let seen = told(&gateway, "CLIENT PAUSE WRITE", &words);
    assert_eq!((seen.level.as_str(), seen.ready), ("warning", true), "{seen:?}");
    server.client().check("CLIENT UNPAUSE", "+OK");
    quiet_again(&gateway, "CLIENT PAUSE WRITE");
    drop(traffic);
}

#[test]
fn a_master_that_nobody_asks_and_its_replica_are_told_of_when_they_die() {
    let mut cluster = Cluster::with(&["--cluster-node-timeout", "60000"]);
    cluster.wait_until_whole();
    let gateway = Gateway::before_cluster(&cluster);
    quiet_again(&gateway, "dead, unasked");
    let master = cluster.master_of("k");
    let replica = cluster.replica_of(master);
    let names = [master, replica].map(|node| format!("127.0.0.1:{}", cluster.port(node)));
    cluster.kill(replica);
    let seen = told(&gateway, "replica lost", &[&names[0], "has lost its replica", "slots over if it fails"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("notice", true), "{seen:?}");
    cluster.restart(replica);
    gone(&gateway, "replica lost", "has lost its replica");
    cluster.kill(master);
    let seen = told(&gateway, "dead, unasked", &[&format!("Master {} is down", names[0]), "slots"]);
    assert_eq!(seen.level, "critical", "{seen:?}");
    cluster.restart(master);
    quiet_again(&gateway, "dead, unasked");
}

#[test]
fn a_single_server_that_loses_its_replica_is_told_of() {
    let (master, mut replica) = (Server::with(&["--repl-diskless-sync-delay", "0"]), None);
    let gateway = Gateway::before_server(&master);
    quiet_again(&gateway, "only replica lost");
    assert_eq!(sight(&gateway).level, "ok", "one that never had a replica has lost none");
    replica.replace(Server::with(&["--replicaof", &format!("127.0.0.1 {}", master.port())]));
    let known = || {
        eprintln!("{} {}", stats(&gateway)["status"], nodes(&gateway));
        sight(&gateway).level == "ok" && nodes(&gateway) == 2
    };
    wait_until("the replica is known", known);
    replica.as_mut().unwrap().kill();
    let seen =
        told(&gateway, "only replica lost", &["has lost its replica", "nobody takes over if it fails"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("notice", true), "{seen:?}");
    replica.as_mut().unwrap().restart();
    gone(&gateway, "only replica lost", "has lost its replica");
}

fn nodes(gateway: &Gateway) -> usize {
    let nodes: serde_json::Value = serde_json::from_str(&answered(gateway, "/api/nodes").1).unwrap();
    nodes["nodes"].as_array().map_or(0, Vec::len)
}

#[test]
fn a_replica_that_has_lost_its_link_is_told_of() {
    let cluster = Cluster::with(&["--cluster-node-timeout", "60000", "--repl-timeout", "3600"]);
    cluster.wait_until_whole();
    let gateway = Gateway::before_cluster(&cluster);
    quiet_again(&gateway, "replica without link");
    let master = cluster.master_of("k");
    let replica = cluster.replica_of(master);
    let names = [master, replica].map(|node| format!("127.0.0.1:{}", cluster.port(node)));
    // Its master takes no connection of its.
    cluster.client(master).check("ACL SETUSER default -psync -sync -replconf", "+OK");
    cluster.client(replica).ask("CLIENT KILL TYPE master");
    let words =
        [&format!("Replica {} has no link to its master {}", names[1], names[0]) as &str, "grows old"];
    told_somewhere(&gateway, "replica without link", &words);
    cluster.client(master).check("ACL SETUSER default +psync +sync +replconf", "+OK");
    gone(&gateway, "replica without link", "replica");
    quiet_again(&gateway, "replica without link");
}

#[test]
fn a_server_whose_clients_are_at_their_bound_is_told_of() {
    let server = Server::start();
    // While a worker is connected, that its upstream can't be looked at any more is no news.
    let gateway = Gateway::before(&server).config("[gateway]\nworkers = 1\n").start();
    gateway.client().check("SET k v", "+OK");
    quiet_again(&gateway, "node's maxclients");
    let name = server.address().to_string();
    let mut direct = server.client();
    let clients: usize = direct.text("CLIENT LIST").lines().count();
    direct.check(&format!("CONFIG SET maxclients {clients}"), "+OK");
    let seen = told(&gateway, "node's maxclients", &[&name, "maxclients"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("warning", true), "{seen:?}");
    direct.check("CONFIG SET maxclients 10000", "+OK");
    quiet_again(&gateway, "node's maxclients");
}

/// Connections that have logged in serve on; the next ones will not.
#[test]
fn a_password_that_has_changed_is_told_of_before_it_is_needed() {
    for (before, after, words) in [
        ("", "sesame", "it refuses the gateway's login (NOAUTH"),
        ("sesame", "changed", "it refuses the gateway's login (WRONGPASS"),
    ] {
        let server = Server::with(&["--requirepass", before]);
        let password = if before.is_empty() { String::new() } else { format!("password = '{before}'\n") };
        let config = format!("[gateway]\nworkers = 1\n[upstream]\ntopology_refresh = '1h'\n{password}");
        let gateway = Gateway::before(&server).config(&config).start();
        quiet_again(&gateway, "password changed");
        let mut client = gateway.client();
        client.check("SET k v", "+OK");
        let mut direct = server.client();
        if !before.is_empty() {
            direct.check(&format!("AUTH {before}"), "+OK");
        }
        direct.check(&format!("CONFIG SET requirepass {after}"), "+OK");
        let seen = told(&gateway, "password changed", &["turns the gateway's new connections away", words]);
        assert_eq!((seen.level.as_str(), seen.ready), ("warning", true), "{seen:?}");
        client.check("GET k", "$1 v");
        let back = if before.is_empty() { "\"\"" } else { before };
        direct.check(&format!("CONFIG SET requirepass {back}"), "+OK");
        quiet_again(&gateway, "password changed");
    }
}

/// A gateway whose file names these servers.
fn before(servers: &[&str], config: &str) -> Gateway {
    let addresses = "[gateway]\nlisten = ['127.0.0.1:0']\n[admin]\nlisten = '127.0.0.1:0'\n";
    Gateway::by_file(&format!("{addresses}[upstream]\nservers = {servers:?}\n{config}")).start()
}

#[test]
fn servers_that_are_named_and_no_use_are_told_of() {
    let (server, mut other) = (Server::start(), Server::start());
    let (name, dead) = ("no-such-host.invalid:6379", other.address().to_string());
    let gateway = |second: &str| before(&[&server.address().to_string(), second], "");
    let words = ["upstream.servers names what can't be used", name, "cannot resolve"];
    let seen = told(&gateway(name), "name without address", &words);
    assert_eq!((seen.level.as_str(), seen.ready), ("notice", true), "{seen:?}");
    let gateway = gateway(&dead);
    quiet_again(&gateway, "named server dead");
    other.kill();
    let words = ["upstream.servers names what can't be used", &dead, "cannot connect"];
    let seen = told(&gateway, "named server dead", &words);
    assert_eq!((seen.level.as_str(), seen.ready), ("notice", true), "{seen:?}");
    other.restart();
    gone(&gateway, "named server dead", &dead);
}

/// It is told of, and its slots are not believed, whatever elections it has seen.
#[test]
fn a_named_server_of_another_cluster_is_told_of() {
    let (cluster, mut other) = (Cluster::start(), Cluster::start());
    cluster.wait_until_whole();
    other.wait_until_whole();
    raise_epoch(&cluster, 12);
    let stray = format!("127.0.0.1:{}", other.port(0));
    let first = format!("127.0.0.1:{}", cluster.port(0));
    let gateway = before(&[&first, &stray], "topology_refresh = '200ms'\n");
    let mut client = gateway.client();
    client.check("SET k here", "+OK");
    let seen = told(&gateway, "another cluster", &[&stray, "names servers of another cluster"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("warning", true), "{seen:?}");
    raise_epoch(&other, 16);
    let until = Instant::now() + Duration::from_secs(2);
    wait_until("the topology was looked at often", || {
        client.check("GET k", "$4 here");
        Instant::now() >= until
    });
    // It joins the cluster for which it is named.
    (1..other.len()).for_each(|node| other.kill(node));
    other.client(0).check("CLUSTER RESET HARD", "+OK");
    cluster.client(0).check(&format!("CLUSTER MEET 127.0.0.1 {}", other.port(0)), "+OK");
    quiet_again(&gateway, "another cluster");
}

/// While its replica has its slots it is not a node that serves, and it is none of another cluster either.
#[test]
fn a_master_that_comes_back_is_no_stranger() {
    let mut cluster = Cluster::with(&["--cluster-node-timeout", "2000"]);
    cluster.wait_until_whole();
    let named: Vec<String> =
        (0..cluster.len()).map(|node| format!("127.0.0.1:{}", cluster.port(node))).collect();
    let gateway = before(&named.iter().map(String::as_str).collect::<Vec<_>>(), "");
    quiet_again(&gateway, "comes back");
    let dead = cluster.master_of("k");
    let heir = cluster.replica_of(dead);
    cluster.kill(dead);
    told(&gateway, "comes back", &[&named[dead]]);
    wait_until("the replica takes over", || cluster.client(heir).list("ROLE")[0] == "master");
    gone(&gateway, "comes back", "is down");
    cluster.restart(dead);
    wait_until("it is a replica, and known as one", || {
        let status = stats(&gateway)["status"].to_string();
        assert!(!status.contains("another server") && !status.contains("another cluster"), "{status}");
        cluster.client(dead).list("ROLE")[0] == "slave" && nodes(&gateway) == cluster.len()
    });
    gone(&gateway, "comes back", "lost its replica");
}

/// Has the nodes of a cluster in turn raise its epoch, until it is as high and all of them know.
fn raise_epoch(cluster: &Cluster, epoch: u64) {
    let mut masters: Vec<_> = cluster.masters().into_iter().map(|node| cluster.client(node)).collect();
    let of = |info: String| {
        info.lines().find_map(|line| line.strip_prefix("cluster_current_epoch:")?.parse().ok()).unwrap_or(0)
    };
    wait_until("the epoch is high", || {
        let lowest: u64 = masters
            .iter_mut()
            .map(|master| {
                master.ask("CLUSTER BUMPEPOCH");
                of(master.text("CLUSTER INFO"))
            })
            .min()
            .unwrap_or(0);
        lowest >= epoch
    });
}

#[test]
fn slots_without_a_master_are_told_of() {
    let cluster = Cluster::with(&["--cluster-require-full-coverage", "no"]);
    cluster.wait_until_whole();
    // What one node says differently has the others asked, however seldom they are asked otherwise.
    let gateway = Gateway::before(&cluster).config("[upstream]\ntopology_refresh = '1h'\n").start();
    quiet_again(&gateway, "slots without a master");
    let owner = cluster.master_of("k");
    let slot = cluster.client(owner).integer("CLUSTER KEYSLOT k");
    // What one node has forgotten the others tell it again, until all of them have.
    wait_until("all nodes have forgotten the owner", || {
        let forgets = |node| {
            let mut client = cluster.client(node);
            client.ask(&format!("CLUSTER DELSLOTS {slot}"));
            client.text("CLUSTER INFO").contains("cluster_slots_assigned:16383")
        };
        (0..cluster.len()).map(forgets).collect::<Vec<_>>().iter().all(|has| *has)
    });
    let seen = told(&gateway, "slots without a master", &["1 slot of the cluster has no master"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("critical", true), "{seen:?}");
    cluster.client(owner).check(&format!("CLUSTER ADDSLOTS {slot}"), "+OK");
    quiet_again(&gateway, "slots without a master");
}
