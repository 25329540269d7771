//! Several clusters, in the first line: what is said of one is true of that one, and names its own settings. As in `headlines`, each row of
//! the table makes the real fault with real servers.

use crate::sight::{quiet_again, stats, told};
use crate::support::{Gateway, Server, wait_until};

/// A gateway before one server, with a second one as the cluster `orders`, which has the keys `o:*`.
fn before(server: &Server, orders: &Server, config: &str) -> Gateway {
    let orders = orders.address().to_string();
    let routes = "[[route]]\nmatch = 'o:*'\nclusters = ['orders']\n";
    let cluster = format!("[[cluster]]\nname = 'orders'\nservers = ['{orders}']\n{config}");
    Gateway::before(&server.address().to_string()).config(&format!("{cluster}{routes}")).start()
}

#[test]
fn a_sentence_about_a_cluster_names_its_own_settings() {
    let (server, orders) = (Server::start(), Server::with(&["--requirepass", "sesame"]));
    let gateway = before(&server, &orders, "");
    let words = ["cluster orders", "wants a password", "set password of [[cluster]] orders"];
    let seen = told(&gateway, "password of a cluster", &words);
    assert_eq!((seen.level.as_str(), seen.ready), ("critical", true), "{seen:?}");
    let mut admin = orders.client();
    admin.check("AUTH sesame", "+OK");
    admin.check("ACL SETUSER default nopass", "+OK");
    quiet_again(&gateway, "password of a cluster");
    admin.check("REPLICAOF 127.0.0.1 1", "+OK");
    let words = ["cluster orders", "is a replica of", "name the master in servers of [[cluster]] orders"];
    told(&gateway, "replica as a cluster", &words);
    admin.check("REPLICAOF NO ONE", "+OK");
    quiet_again(&gateway, "replica as a cluster");
}

#[test]
fn a_replica_that_one_cluster_has_lost_is_none_that_others_lack() {
    let (server, orders) = (Server::start(), Server::start());
    let port = orders.port().to_string();
    let mut replica = Server::with(&["--replicaof", "127.0.0.1", &port]);
    let gateway = before(&server, &orders, "");
    let (name, lone) = (orders.address().to_string(), server.address().to_string());
    let nodes = || stats(&gateway)["status"].to_string();
    wait_until("the replica follows", || {
        orders.client().text("INFO replication").contains("state=online") && !nodes().contains("replica")
    });
    assert!(!nodes().contains("has lost"), "{}", nodes());
    replica.kill();
    let seen = told(&gateway, "replica of a cluster dead", &[&format!("{name} has lost its replica")]);
    assert!(!seen.sentence.contains(&lone), "{seen:?}");
    assert!(!nodes().contains(&lone), "{}", nodes());
}
