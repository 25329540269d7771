//! A cluster changes shape under load, and its clients notice at most errors that say what happened: no redirection, no
//! wrong reply, and no acknowledged write lost where Redis itself loses none.

use std::sync::MutexGuard;

use crate::support::load::{Acknowledged, Load};
use crate::support::migration::Migration;
use crate::support::{Client, Cluster, Gateway, Turn, wait_until};

/// One cluster at a time: nodes that get no CPU for their timeout would be failed over without a test asking for it.
static ONE_AT_A_TIME: Turn = Turn::new();

fn start() -> (MutexGuard<'static, ()>, Cluster, Gateway) {
    let alone = ONE_AT_A_TIME.take();
    let cluster = Cluster::start();
    // Time enough for an election, so that waiting for it is the gateway's business and not the client's.
    let gateway = Gateway::before(&cluster)
        .config("[upstream]\nunavailable_wait = \"30s\"\nrequest_timeout = \"60s\"\nredirects_max = 64\n")
        .start();
    (alone, cluster, gateway)
}

/// Redis itself ends the subscription to a shard channel whose slot it gives away.
#[test]
fn a_shard_channel_whose_slot_moves_leaves_its_subscriber_free() {
    let (_alone, cluster, gateway) = start();
    if cluster.client(0).ask("SPUBLISH {moving} any").starts_with("-ERR unknown command") {
        // There are no shard channels before Redis 7.
        return;
    }
    let mut client = gateway.client();
    client.check("SSUBSCRIBE {moving}", "*3 $10 ssubscribe $8 {moving} :1");
    Migration::begin(&cluster, "{moving}").end();
    client.expect("the end of the subscription", "*3 $12 sunsubscribe $8 {moving} :0");
    client.check("SET {moving}key v", "+OK");
    client.check("SSUBSCRIBE {moving}", "*3 $10 ssubscribe $8 {moving} :1");
    gateway.client().check("SPUBLISH {moving} again", ":1");
    client.expect("a message", "*3 $8 smessage $8 {moving} $5 again");
    client.check("SUNSUBSCRIBE {moving}", "*3 $12 sunsubscribe $8 {moving} :0");
    client.check("GET {moving}key", "$1 v");
}

#[test]
fn a_slot_moves_under_load_key_by_key() {
    let (_alone, cluster, gateway) = start();
    // The keys of all clients are in the slot that moves; a fifth of the indexes are elsewhere.
    let load = Load::start(&gateway, 4, 50, Acknowledged::Kept, |client, index| {
        if index % 5 == 0 {
            format!("still:{client}:{index}")
        } else {
            format!("{{moving}}:{client}:{index}")
        }
    });
    for _ in 0..3 {
        load.wait_for_replies(1_000);
        let migration = Migration::begin(&cluster, "{moving}");
        load.wait_for_replies(500);
        for _ in 0..8 {
            migration.move_keys(15);
            load.wait_for_replies(300);
        }
        migration.end();
    }
    load.wait_for_replies(1_000);
    assert_eq!(load.finish(), Vec::<String>::new(), "a migration is no reason for an error");
}

/// Two keys of one slot on different nodes: Redis says TRYAGAIN until both are on one.
#[test]
fn a_command_of_several_keys_waits_while_its_slot_moves() {
    let (_alone, cluster, gateway) = start();
    let mut client = gateway.client();
    client.check("MSET {try}a 1 {try}b 2", "+OK");
    let migration = Migration::begin(&cluster, "{try}");
    assert_eq!(migration.move_keys(1), 1);
    client.send_line("MGET {try}a {try}b");
    wait_until("a node says TRYAGAIN", || {
        [migration.from, migration.to]
            .iter()
            .any(|&node| cluster.client(node).text("INFO errorstats").contains("errorstat_TRYAGAIN"))
    });
    gateway.client().check("INCR {try}b", ":3");
    migration.end();
    client.expect("MGET {try}a {try}b", "*2 $1 1 $1 3");
}

fn role(client: &mut Client) -> String {
    client.list("ROLE")[0].clone()
}

/// A queue that is empty is nowhere while its slot moves: where it will be is where to wait.
#[test]
fn a_blocking_command_waits_where_its_slot_moves() {
    let (_alone, cluster, gateway) = start();
    let migration = Migration::begin(&cluster, "{wait}");
    let mut client = gateway.client();
    client.send_line("BLPOP {wait}queue 0");
    wait_until("it waits at the node that will have the slot", || {
        cluster.client(migration.to).text("INFO clients").contains("blocked_clients:1")
    });
    gateway.client().check("RPUSH {wait}queue v", ":1");
    client.expect("BLPOP", "*2 $11 {wait}queue $1 v");
    migration.end();
}

#[test]
fn a_planned_failover_under_load_loses_nothing() {
    let (_alone, cluster, gateway) = start();
    let load =
        Load::start(&gateway, 4, 60, Acknowledged::Kept, |client, index| format!("planned:{client}:{index}"));
    for key in ["planned:0:0", "planned:0:1", "planned:0:0"] {
        load.wait_for_replies(2_000);
        cluster.fail_over(key);
    }
    load.wait_for_replies(2_000);
    for error in load.finish() {
        assert!(error.contains("outcome is unknown"), "{error}");
    }
}

#[test]
fn a_master_that_dies_under_load_is_replaced() {
    let (_alone, mut cluster, gateway) = start();
    let load = Load::start(&gateway, 4, 60, Acknowledged::MayBeLost, |client, index| {
        format!("dies:{client}:{index}")
    });
    load.wait_for_replies(2_000);
    let victim = cluster.master_of("dies:0:0");
    cluster.kill(victim);
    wait_until("another master has the slot", || gateway.client().ask("SET {dies:0:0}probe v") == "+OK");
    load.wait_for_replies(2_000);
    let before = gateway.client().ask("GET dies:0:0");
    assert!(before.starts_with('$'), "{before}");
    cluster.restart(victim);
    cluster.wait_until_whole();
    load.wait_for_replies(2_000);
    load.finish();
}

/// A node comes back as itself under another address and is promoted there.
#[test]
fn a_changed_address_is_followed() {
    let (_alone, mut cluster, gateway) = start();
    let mut client = gateway.client();
    client.check("SET address v", "+OK");
    let master = cluster.master_of("address");
    for replica in 0..cluster.len() {
        if role(&mut cluster.client(replica)) == "slave" {
            cluster.restart_elsewhere(replica);
        }
    }
    cluster.wait_until_whole();
    client.check("WAIT 0 1", ":...");
    cluster.fail_over("address");
    cluster.kill(master);
    client.check("GET address", "$1 v");
    client.check("SET address w", "+OK");
}

#[test]
fn a_gateway_starts_while_nodes_are_down() {
    let (_alone, mut cluster, _gateway) = start();
    let seeds = cluster.seeds();
    let victim = cluster.master_of("down");
    cluster.kill(victim);
    let gateway = Gateway::before(&seeds).config("[upstream]\nunavailable_wait = \"30s\"\n").start();
    wait_until("the slot is served", || gateway.client().ask("SET down v") == "+OK");
    gateway.client().check("GET down", "$1 v");
}
