//! Sales all over a cluster, whose nodes change while they are followed.

use crate::books::{check_equal, in_sql, wait_until_read};
use crate::process::Place;
use crate::support::migration::Migration;
use crate::support::{Cluster, Gateway, wait_until};

const SALES: usize = 12;

#[test]
fn a_slot_that_moves_and_a_failover_are_followed() {
    let cluster = Cluster::start();
    let config = "[upstream]\nunavailable_wait = '50s'\nbackoff_max = '100ms'\n";
    let gateway = Gateway::before(&cluster).config(config).start();
    let mut client = gateway.client();
    let place = Place::before(&cluster);
    let ledger = place.start();
    let sku = |sale: usize| format!("sku{sale}");
    for sale in 0..SALES {
        client.check(&format!("RESERVE.OPEN {} LIMIT 100000", sku(sale)), "+OK");
    }
    let mut user = 0;
    let mut add = |client: &mut crate::support::Client| {
        user += 1;
        client.check(&format!("RESERVE.ADD {} {user}", sku(user % SALES)), "*4...");
    };
    (0..200).for_each(|_| add(&mut client));
    let migration = Migration::begin(&cluster, &sku(0));
    while migration.move_keys(1) > 0 {
        // Of another sale: one whose keys are on two nodes waits.
        client.check(&format!("RESERVE.ADD {} {}", sku(1), migration.keys().len() + 10_000), "*4...");
    }
    migration.end();
    (0..100).for_each(|_| add(&mut client));
    cluster.fail_over_watching(&sku(1), || add(&mut client));
    (0..100).for_each(|_| add(&mut client));
    for sale in 0..SALES {
        let mut owner = cluster.client(cluster.master_of(&sku(sale)));
        wait_until_read(&place, &mut owner, &sku(sale));
        check_equal(&place, &mut client, &mut owner, &sku(sale));
    }
    assert!(!ledger.log().contains("halted"), "{}", ledger.log());
}

#[test]
fn a_master_that_is_killed_is_left_for_its_replica() {
    let mut cluster = Cluster::start();
    let config = "[upstream]\nunavailable_wait = '50s'\nbackoff_max = '100ms'\n";
    let gateway = Gateway::before(&cluster).config(config).start();
    let mut client = gateway.client();
    let place = Place::before(&cluster);
    let _ledger = place.start();
    client.check("RESERVE.OPEN mask LIMIT 100000", "+OK");
    client.check("RESERVE.ADD mask ann", "*4...");
    let master = cluster.master_of("mask");
    // What the replica has not got would be a gap, and rightly so.
    let mut owner = cluster.client(master);
    wait_until_read(&place, &mut owner, "mask");
    wait_until("the replica has it", || owner.ask("WAIT 1 1000") == ":1");
    cluster.kill(master);
    client.check("RESERVE.ADD mask bob", "*4...");
    wait_until("the database follows", || place.path().exists() && in_sql(&place, "mask").len() == 2);
}

/// The replica that becomes the master lacks entries that the database has. Each is named, and what the new master sells meanwhile is in no way
/// taken for them.
#[test]
fn a_failover_that_loses_entries_is_found() {
    let mut cluster = Cluster::start();
    let config = "[upstream]\nunavailable_wait = '50s'\nbackoff_max = '100ms'\n";
    let gateway = Gateway::before(&cluster).config(config).start();
    let mut client = gateway.client();
    let place = Place::before(&cluster);
    let ledger = place.start();
    client.check("RESERVE.OPEN mask LIMIT 100000", "+OK");
    for user in 0..10 {
        client.check(&format!("RESERVE.ADD mask {user}"), "*4...");
    }
    let dying = cluster.master_of("mask");
    let heir = cluster.replica_of(dying);
    let mut owner = cluster.client(dying);
    wait_until_read(&place, &mut owner, "mask");
    wait_until("the replica has it", || owner.ask("WAIT 1 1000") == ":1");
    // From here on the replica hears nothing, not even what the system holds for it.
    cluster.pause(heir);
    owner.check("CLIENT KILL TYPE replica", ":1");
    for user in 10..15 {
        client.check(&format!("RESERVE.ADD mask {user}"), "*4...");
    }
    wait_until_read(&place, &mut owner, "mask");
    assert_eq!(in_sql(&place, "mask").len(), 15);
    cluster.kill(dying);
    cluster.resume(heir);
    wait_until("the replica is the master", || cluster.client(heir).list("ROLE")[0] == "master");
    // It gives the places in line that it does not know of to others.
    for user in 0..8 {
        client.check(&format!("RESERVE.ADD mask other{user}"), "*4...");
    }
    wait_until("the gap is found", || {
        ledger
            .log()
            .contains("halted: the database has entries up to 16, and Redis does not have the last of them")
    });
    let before: Vec<String> = in_sql(&place, "mask").into_iter().map(|row| row.1).collect();
    assert_eq!(
        before,
        (0..15).map(|user| user.to_string()).collect::<Vec<_>>(),
        "nothing was applied behind it"
    );
    drop(ledger);
    let (code, told) = place.verb(&["resync", "mask"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.ends_with("5 holdings were lost\n"), "{told}");
    for place in 11..=15 {
        assert!(told.contains(&format!("place {place}: '{}' had 1 confirmed", place - 1)), "{told}");
    }
    assert_eq!(place.verb(&["verify", "mask"]), (Some(0), "0 differences\n".to_owned()));
    check_equal(&place, &mut client, &mut cluster.client(heir), "mask");
}
