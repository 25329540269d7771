//! An entry that is missing is found and told, and nothing behind it is applied; other sales go on.

use hotgate::reserve::ledger_key;

use crate::books::{check_equal, in_sql, position};
use crate::process::Place;
use crate::support::{Client, Gateway, Server};

fn stream(sku: &str) -> String {
    String::from_utf8(ledger_key(sku.as_bytes()).to_vec()).unwrap()
}

/// A sale `mask` and a sale `other` with ten holders, of which the database has `read` entries of the first; what a hand then does to Redis.
fn check_halts(is_read: bool, hand: impl FnOnce(&mut Client, &Place), expect: &str) {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    let place = Place::before(&server);
    for sku in ["mask", "other"] {
        client.check(&format!("RESERVE.OPEN {sku} LIMIT 50"), "+OK");
        for user in 0..5 {
            client.check(&format!("RESERVE.ADD {sku} {user}"), "*4...");
        }
    }
    if is_read {
        place.catch_up();
    }
    for sku in ["mask", "other"] {
        for user in 5..10 {
            client.check(&format!("RESERVE.ADD {sku} {user}"), "*4...");
        }
    }
    let before = if is_read { in_sql(&place, "mask") } else { Vec::new() };
    hand(&mut direct, &place);
    for _ in 0..2 {
        let (code, log) = place.once();
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("1 sales are halted"), "{log}");
        assert_eq!(in_sql(&place, "mask"), before, "nothing behind the gap is applied");
        check_equal(&place, &mut client, &mut direct, "other");
    }
    let halted = "SELECT halted FROM ledger_position WHERE sku = 'mask'";
    let halted: String = place.database().query_row(halted, [], |row| row.get(0)).unwrap();
    assert!(halted.contains(expect), "{halted}");
}

#[test]
fn entries_that_were_trimmed_unread() {
    let trim = |direct: &mut Client, _: &Place| {
        direct.check(&format!("XTRIM {} MINID 9", stream("mask")), ":...");
    };
    check_halts(true, trim, "entries 7 to 8 are missing");
    check_halts(false, trim, "entries 1 to 8 are missing");
}

#[test]
fn all_entries_trimmed_unread() {
    let trim = |direct: &mut Client, _: &Place| {
        direct.check(&format!("XTRIM {} MAXLEN 0", stream("mask")), ":...");
    };
    check_halts(true, trim, "entries 7 to 11 are missing");
}

#[test]
fn an_entry_deleted_in_the_middle() {
    let delete = |direct: &mut Client, _: &Place| direct.check(&format!("XDEL {} 8-0", stream("mask")), ":1");
    check_halts(true, delete, "entry 8 is missing");
}

/// As after a failover to a replica that had less: other entries under the numbers that the database has.
#[test]
fn entries_that_redis_has_otherwise() {
    let change = |_: &mut Client, place: &Place| {
        let query = "UPDATE ledger_position SET checksum = checksum + 1 WHERE sku = 'mask'";
        assert_eq!(place.database().execute(query, []), Ok(1));
    };
    check_halts(true, change, "a failover or a restore lost entries");
}

/// As after a failover to a replica that had less, before anything happened there.
#[test]
fn entries_that_redis_has_no_more() {
    let change = |_: &mut Client, place: &Place| {
        let query = "UPDATE ledger_position SET entry = 40 WHERE sku = 'mask'";
        assert_eq!(place.database().execute(query, []), Ok(1));
    };
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    let place = Place::before(&server);
    client.check("RESERVE.OPEN mask LIMIT 50", "+OK");
    place.catch_up();
    change(&mut direct, &place);
    let (code, log) = place.once();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("the database has entries up to 40"), "{log}");
}

#[test]
fn what_was_read_may_be_trimmed_by_hand() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    let place = Place::before(&server);
    client.check("RESERVE.OPEN mask LIMIT 50", "+OK");
    client.check("RESERVE.ADD mask ann", "*4...");
    place.catch_up();
    direct.check(&format!("XTRIM {} MAXLEN 0", stream("mask")), ":2");
    place.catch_up();
    client.check("RESERVE.ADD mask bob", "*4...");
    place.catch_up();
    check_equal(&place, &mut client, &mut direct, "mask");
    assert_eq!(position(&place, "mask"), 3);
}
