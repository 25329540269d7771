//! What is said where Sentinels name the master and something is wrong with them, with what they name, or with what was asked for.

use crate::sight::{quiet_again, told};
use crate::support::sentinels::{MASTER, Watched};
use crate::support::{Gateway, Server, wait_until};

#[test]
fn what_is_no_sentinel_and_a_name_that_none_knows_are_told() {
    let server = Server::start();
    let watched = Watched::start(0, &[], "");
    let config = |address: String, master: &str| {
        format!(
            "[gateway]\nlisten = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [upstream]\nservers = [\"{address}\"]\nkind = \"sentinel\"\nmaster = \"{master}\"\n"
        )
    };
    let gateway = Gateway::by_file(&config(server.address().to_string(), MASTER)).start();
    let seen =
        told(&gateway, "no sentinel", &[&server.address().to_string(), "is no Sentinel", "upstream.kind"]);
    assert!(seen.level == "critical" && !seen.ready, "{seen:?}");
    let reply = gateway.client().ask("GET k");
    assert!(reply.contains("is no Sentinel"), "{reply}");

    let sentinel = watched.sentinels[0].address.to_string();
    let gateway = Gateway::by_file(&config(sentinel.clone(), "yourmaster")).start();
    told(&gateway, "no such master", &[&sentinel, "\"yourmaster\" (but mymaster)", "upstream.master"]);
    let gateway = Gateway::by_file(&config(sentinel, MASTER)).start();
    quiet_again(&gateway, "the right name");
    gateway.client().check("SET k v", "+OK");
}

#[test]
fn sentinels_have_a_password_of_their_own() {
    let servers = ["--requirepass", "of-redis", "--masterauth", "of-redis"];
    let of_sentinels = format!(
        "requirepass of-sentinels\nsentinel sentinel-pass of-sentinels\nsentinel auth-pass {MASTER} of-redis"
    );
    let watched = Watched::start(1, &servers, &of_sentinels);
    watched.wait_until_whole("AUTH of-sentinels");
    let config = watched.config() + "password = \"of-redis\"\n";
    let gateway = Gateway::by_file(&config).start();
    told(&gateway, "no password", &["this Sentinel wants a password", "upstream.sentinel_password"]);
    gateway.reload(&format!("{config}sentinel_password = \"wrong\"\n"));
    told(
        &gateway,
        "wrong password",
        &["this Sentinel refuses the gateway's password", "upstream.sentinel_password"],
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("of-sentinels");
    std::fs::write(&file, "of-sentinels\n").unwrap();
    gateway.reload(&format!("{config}sentinel_password_file = {file:?}\n"));
    quiet_again(&gateway, "right password");
    gateway.client().check("SET k v", "+OK");
    assert!(!gateway.log().contains("of-sentinels\""), "{}", gateway.log());
}

#[test]
fn a_gateway_whose_sentinels_are_gone_serves_on_and_says_so() {
    let mut watched = Watched::start(1, &[], "");
    watched.wait_until_whole("");
    let config = watched.config() + "topology_refresh = \"200ms\"\n";
    let gateway = Gateway::by_file(&config).start();
    gateway.client().check("SET k v", "+OK");
    // One that is down is a notice.
    watched.sentinels[0].kill();
    let address = watched.sentinels[0].address.to_string();
    let seen = told(&gateway, "one down", &["upstream.servers names what can't be used", &address]);
    assert!(seen.level == "notice" && seen.ready, "{seen:?}");
    watched.sentinels[1].kill();
    watched.sentinels[2].kill();
    let seen = told(&gateway, "all down", &["No Sentinel can be asked, so a failover would go unnoticed"]);
    assert!(seen.level == "warning" && seen.ready, "{seen:?}");
    gateway.client().check("GET k", "$1 v");
    watched.sentinels.iter_mut().for_each(crate::support::sentinels::Sentinel::restart);
    quiet_again(&gateway, "all down");
}

#[test]
fn a_master_that_is_down_or_a_replica_is_told_with_who_names_it() {
    let other = Server::start();
    let mut watched = Watched::start(0, &[], "");
    wait_until("the Sentinels have looked", || watched.settled_master() == Some(0));
    let gateway = Gateway::by_file(&watched.config()).start();
    gateway.client().check("SET k v", "+OK");
    let name = watched.servers[0].address().to_string();
    watched.servers[0].kill();
    told(&gateway, "down", &[&name, "cannot connect", "the Sentinels name it as the master mymaster"]);
    watched.servers[0].restart();
    quiet_again(&gateway, "down");
    watched.sentinels.drain(1..);
    watched.servers[0].client().check(&format!("REPLICAOF 127.0.0.1 {}", other.port()), "+OK");
    watched.servers[0].client().check("CLIENT KILL TYPE normal SKIPME yes", ":...");
    let _ = gateway.client().ask("SET k w");
    told(&gateway, "a replica", &[&name, "which the Sentinels name as the master, is a replica of"]);
}
