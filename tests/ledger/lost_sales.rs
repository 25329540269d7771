//! A Redis that lost whole sales, or only the list of them: that is no silence in the ledger. It says so, goes on when they are there again, and takes no
//! sale that was dropped for a lost one.

use hotgate::reserve::{registry_key, registry_shard};

use crate::books::{check_equal, in_redis, in_sql, wait_until_read};
use crate::process::Place;
use crate::support::{Client, Gateway, Server, wait_until};

const PAGE: &str = include_str!("../../docs/ledger.md");

const LOST: &str = "Redis does not have the sale any more, nobody closed it, and the database has 20 holders";

fn sell(client: &mut Client, sku: &str) {
    client.check(&format!("RESERVE.OPEN {sku} LIMIT 500"), "+OK");
    for user in 0..20 {
        client.check(&format!("RESERVE.ADD {sku} {user}"), "*4...");
    }
}

#[test]
fn all_is_flushed_while_sales_run_and_given_back_while_the_ledger_runs() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    let place = Place::before(&server);
    let ledger = place.start();
    for sku in ["mask", "other", "ended"] {
        sell(&mut client, sku);
        wait_until_read(&place, &mut direct, sku);
    }
    client.check("RESERVE.CLOSE ended", "+OK");
    wait_until_read(&place, &mut direct, "ended");
    let before = in_redis(&mut client, "mask");
    direct.check("FLUSHALL", "+OK");
    wait_until("it says what is lost", || ledger.log().matches(LOST).count() == 2);
    assert!(!ledger.log().contains("ended"), "who closes a sale may drop it: {}", ledger.log());
    assert_eq!(place.verb(&["restore", "mask"]).0, Some(0));
    assert_eq!(in_redis(&mut client, "mask"), before);
    client.check("RESERVE.ADD mask new", "*4 $9 confirmed :21...");
    wait_until_read(&place, &mut direct, "mask");
    check_equal(&place, &mut client, &mut direct, "mask");
    // Of the other one another sale is begun.
    sell(&mut client, "other");
    wait_until("it says that the one before is lost", || {
        ledger.log().contains("was opened anew, and Redis has lost the one of unix-ms")
    });
    wait_until_read(&place, &mut direct, "other");
    check_equal(&place, &mut client, &mut direct, "other");
    assert_eq!(place.query("SELECT count(*) FROM reservation WHERE sku = 'other'"), [["40"]]);
    drop(ledger);
    let (code, told) = place.verb(&["verify"]);
    assert!(
        code == Some(1) && told.lines().count() == 2 && told.contains("ended: Redis does not have it"),
        "{told}"
    );
}

#[test]
fn a_sale_that_was_lost_while_nobody_looked_is_told_until_it_is_given_up() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut client = gateway.client();
    let place = Place::before(&server);
    for sku in ["mask", "dropped"] {
        sell(&mut client, sku);
    }
    client.check("RESERVE.CLOSE dropped", "+OK");
    place.catch_up();
    client.check("RESERVE.DROP dropped", ":0");
    place.catch_up();
    server.client().check("FLUSHALL", "+OK");
    for _ in 0..2 {
        let (code, log) = place.once();
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(LOST) && log.contains("1 sales are halted"), "{log}");
    }
    let (code, told) = place.verb(&["resync", "mask"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("mask: place 7: '6' had 1 confirmed, and Redis has nothing of it"), "{told}");
    assert!(told.ends_with("20 holdings were lost\n"), "{told}");
    place.catch_up();
    let lost = "SELECT count(*) FROM reservation WHERE sku = 'mask' AND state = 'lost' AND count = 0";
    assert_eq!(place.query(lost), [["20"]]);
    assert_eq!(place.verb(&["verify", "mask"]), (Some(0), "0 differences\n".to_owned()));
}

/// What is refused writes nothing: half a sale would take places that no ledger sees, and hide that the others are lost.
#[test]
fn a_sale_that_was_on_its_way_is_not_given_back_by_half() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    let place = Place::before(&server);
    sell(&mut client, "gone");
    sell(&mut client, "left");
    client.check("RESERVE.OPEN new LIMIT 500", "+OK");
    client.check("RESERVE.MOVE gone new", ":0");
    client.check("RESERVE.MOVE left new COUNT 1", ":19");
    place.catch_up();
    direct.check("FLUSHALL", "+OK");
    for sku in ["gone", "left"] {
        assert_eq!(place.verb(&["restore", sku]), (Some(1), String::new()));
    }
    direct.check("DBSIZE", ":0");
    assert_eq!(place.verb(&["restore", "new"]).0, Some(0));
    let (code, log) = place.once();
    assert!(code == Some(1) && log.contains("has 19 holders"), "{log}");
    // As docs/ledger.md says.
    let (_, behind) = PAGE.split_once("## A sale that was on its way").unwrap();
    let query = behind
        .split("```")
        .nth(1)
        .unwrap()
        .trim_start_matches("sql")
        .replace("june", "left")
        .replace("july", "new");
    let left = place.query(query.trim().trim_end_matches(';'));
    assert_eq!(left.len(), 19, "{left:?}");
    for row in &left {
        client.check(&format!("RESERVE.ADD new {} COUNT {}", row[0], row[1]), "*4...");
    }
    assert_eq!(place.verb(&["resync", "left"]).0, Some(0));
    place.catch_up();
    check_equal(&place, &mut client, &mut direct, "new");
}

/// As where the master of a part of the registry came back empty.
#[test]
fn a_sale_that_the_registry_has_lost_is_followed() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    let place = Place::before(&server);
    sell(&mut client, "mask");
    let mut ledger = place.start();
    wait_until_read(&place, &mut direct, "mask");
    let registry = String::from_utf8(registry_key(registry_shard(b"mask")).to_vec()).unwrap();
    direct.check(&format!("DEL {registry}"), ":1");
    wait_until("it says so", || ledger.log().contains("the registry of sales does not have 'mask' any more"));
    client.check("RESERVE.ADD mask late", "*4...");
    wait_until_read(&place, &mut direct, "mask");
    ledger.kill();
    client.check("RESERVE.ADD mask later", "*4...");
    place.catch_up();
    check_equal(&place, &mut client, &mut direct, "mask");
    assert_eq!(in_sql(&place, "mask").len(), 22);
    client.check("RESERVE.OPEN mask LIMIT 600", "+OK");
    client.check("RESERVE.SKUS", "*1 $4 mask");
    let (_, log) = place.once();
    assert!(!log.contains("the registry of sales"), "{log}");
}
