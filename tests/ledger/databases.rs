//! The same promises with a database server, and what only a server does: it goes away and comes back.

use crate::books::{check_equal, in_redis, last_entry, position, wait_until_read};
use crate::process::Place;
use crate::servers::{Kind, SqlServer};
use crate::support::{Gateway, Server, wait_until};

#[test]
fn postgres_has_each_entry_once_whatever_dies() {
    check_each_entry_once_whatever_dies(Kind::Postgres, "PostgreSQL");
}

#[test]
fn mariadb_has_each_entry_once_whatever_dies() {
    check_each_entry_once_whatever_dies(Kind::Maria, "MariaDB");
}

#[test]
fn of_two_processes_on_postgres_one_works_and_the_other_takes_over() {
    check_that_one_of_two_works(Kind::Postgres);
}

#[test]
fn of_two_processes_on_mariadb_one_works_and_the_other_takes_over() {
    check_that_one_of_two_works(Kind::Maria);
}

fn check_each_entry_once_whatever_dies(kind: Kind, name: &str) {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000 PERUSER 50 HOLD 500000", "+OK");
    let mut place = Place::before(&server).on(SqlServer::start(kind));
    let mut user = 0;
    let mut sell = || {
        user += 1;
        client.check(&format!("RESERVE.ADD mask {user} COUNT 2"), "*4...");
        client.check(&format!("RESERVE.CANCEL mask {user} COUNT 1"), "*4...");
    };
    for point in ["after_read", "before_commit", "after_commit", "after_tell"] {
        let mut ledger = place.start_with(&[], &[("HOTGATE_LEDGER_DIES", &format!("{point}:2"))]);
        wait_until("it dies", || {
            sell();
            !ledger.runs()
        });
    }
    let ledger = place.start();
    (0..50).for_each(|_| sell());
    place.server().kill();
    (0..50).for_each(|_| sell());
    wait_until("it says why it waits", || {
        ledger.log().contains(&format!("the database does not take rows: {name}"))
    });
    place.server().restart();
    wait_until_read(&place, &mut direct, "mask");
    let mut client = gateway.client();
    check_equal(&place, &mut client, &mut direct, "mask");
    drop(ledger);
    assert_eq!(place.verb(&["verify"]), (Some(0), "0 differences\n".to_owned()));
    let before = in_redis(&mut client, "mask");
    direct.check("FLUSHALL", "+OK");
    assert_eq!(place.verb(&["restore", "mask"]).0, Some(0));
    assert_eq!(in_redis(&mut client, "mask"), before);
    client.check("RESERVE.ADD mask new", "*4...");
    place.catch_up();
    check_equal(&place, &mut client, &mut direct, "mask");
}

fn check_that_one_of_two_works(kind: Kind) {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 5000", "+OK");
    let place = Place::before(&server).on(SqlServer::start(kind));
    let mut first = place.start();
    wait_until_read(&place, &mut direct, "mask");
    let second = place.start();
    wait_until("the second says that it waits", || second.log().contains("another ledger process"));
    for user in 0..100 {
        client.check(&format!("RESERVE.ADD mask {user}"), "*4...");
    }
    first.kill();
    let last = last_entry(&mut direct, "mask");
    wait_until("the second goes on", || position(&place, "mask") == last);
    check_equal(&place, &mut client, &mut direct, "mask");
}

/// Names that a database may take for others: the same but for a blank at the end, or for upper case, or in another alphabet; and the longest.
fn check_names(kind: Kind) {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    let place = Place::before(&server).on(SqlServer::start(kind));
    let long = "\u{1f3ab}".repeat(128);
    for sku in ["mask", "Mask", "mask ", "b\u{fc}cher", "bucher", &long] {
        let open: [&[u8]; 4] = [b"RESERVE.OPEN", sku.as_bytes(), b"LIMIT", b"9000"];
        assert_eq!(client.call(&open), b"+OK\r\n");
        let no_text = [0xff; 512];
        for user in [&b"ann"[..], b"Ann", b"ann ", b"'; DROP TABLE reservation; --", b"a\0b\\", &no_text] {
            let add: [&[u8]; 3] = [b"RESERVE.ADD", sku.as_bytes(), user];
            assert!(client.call(&add).starts_with(b"*4"));
        }
    }
    // More rows than one statement takes.
    (0..1500).for_each(|user| client.send_line(&format!("RESERVE.ADD mask {user}")));
    (0..1500).for_each(|_| assert!(client.reply().starts_with(b"*4")));
    place.catch_up();
    assert_eq!(place.verb(&["verify"]), (Some(0), "0 differences\n".to_owned()));
    assert_eq!(place.query("SELECT count(*) FROM reservation"), [["1536"]]);
    check_equal(&place, &mut client, &mut direct, "mask");
    assert_eq!(place.query("SELECT count(*) FROM reservation WHERE user_id = 'Ann'"), [["6"]]);
    assert_eq!(place.query("SELECT places, is_closed FROM ledger_sale WHERE sku = 'Mask'")[0][0], "9000");
}

#[test]
fn postgres_keeps_names_apart() {
    check_names(Kind::Postgres);
}

#[test]
fn mariadb_keeps_names_apart() {
    check_names(Kind::Maria);
}
