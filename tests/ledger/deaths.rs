//! Whatever dies, and wherever in a round: the database has each entry once.

use crate::books::{check_equal, wait_until_read};
use crate::process::Place;
use crate::support::{Gateway, Server, wait_until};

/// A server that has all its data after `kill -9`.
fn durable() -> Server {
    Server::with(&["--appendonly", "yes", "--appendfsync", "always"])
}

#[test]
fn the_ledger_dies_between_any_two_steps() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000 PERUSER 50", "+OK");
    let place = Place::before(&server);
    let mut user = 0;
    for point in ["after_read", "before_commit", "after_commit", "after_tell"] {
        for times in 1..=2 {
            let mut ledger = place.start_with(&[], &[("HOTGATE_LEDGER_DIES", &format!("{point}:{times}"))]);
            wait_until("it dies", || {
                user += 1;
                client.check(&format!("RESERVE.ADD mask {user} COUNT 2"), "*4...");
                client.check(&format!("RESERVE.CANCEL mask {user} COUNT 1"), "*4...");
                !ledger.runs()
            });
        }
    }
    place.catch_up();
    check_equal(&place, &mut client, &mut direct, "mask");
    client.check("RESERVE.CLOSE mask", "+OK");
    // Its last words may be missing: the next process says them.
    place.start_with(&[], &[("HOTGATE_LEDGER_DIES", "after_commit:1")]).wait();
    place.catch_up();
    client.check("RESERVE.DROP mask", ":0");
}

#[test]
fn the_ledger_is_killed_at_any_time() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    for sale in 0..5 {
        client.check(&format!("RESERVE.OPEN sku{sale} LIMIT 100000"), "+OK");
    }
    let place = Place::before(&server);
    let mut user = 0;
    for _ in 0..12 {
        let mut ledger = place.start();
        for _ in 0..200 {
            user += 1;
            client.check(&format!("RESERVE.ADD sku{} {user}", user % 5), "*4...");
            if user % 3 == 0 {
                client.check(&format!("RESERVE.CANCEL sku{} {user}", user % 5), "*4...");
            }
        }
        ledger.kill();
    }
    place.catch_up();
    for sale in 0..5 {
        check_equal(&place, &mut client, &mut direct, &format!("sku{sale}"));
    }
}

#[test]
fn redis_is_killed_and_comes_back() {
    let mut server = durable();
    let gateway = Gateway::before(&server)
        .config("[upstream]\nunavailable_wait = '50s'\nbackoff_max = '100ms'\n")
        .start();
    let mut client = gateway.client();
    client.check("RESERVE.OPEN mask LIMIT 100000", "+OK");
    let place = Place::before(&server);
    let ledger = place.start();
    for round in 0..3 {
        for user in 0..50 {
            client.check(&format!("RESERVE.ADD mask {round}.{user}"), "*4...");
        }
        server.kill();
        server.restart();
    }
    client.check("RESERVE.ADD mask last", "*4...");
    wait_until_read(&place, &mut server.client(), "mask");
    check_equal(&place, &mut client, &mut server.client(), "mask");
    assert!(!ledger.log().contains("halted"), "{}", ledger.log());
}

#[test]
fn a_database_that_is_locked_is_waited_for() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000", "+OK");
    let place = Place::before(&server);
    let ledger = place.start();
    wait_until_read(&place, &mut direct, "mask");
    let other = place.database();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    for user in 0..50 {
        client.check(&format!("RESERVE.ADD mask {user}"), "*4...");
    }
    wait_until("it says why it waits", || ledger.log().contains("database is locked"));
    other.execute_batch("ROLLBACK").unwrap();
    wait_until_read(&place, &mut direct, "mask");
    check_equal(&place, &mut client, &mut direct, "mask");
    wait_until("it says that it goes on", || ledger.log().contains("the database takes rows again"));
}
