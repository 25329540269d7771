//! The ledger needs the rights that docs/ledger.md lists, at Redis and at the database, and no others.

use hotgate::reserve::ledger_key;

use crate::books::{check_equal, wait_until_read};
use crate::process::Place;
use crate::servers::{Kind, SqlServer};
use crate::support::{Client, Gateway, Server, wait_until};

const PAGE: &str = include_str!("../../docs/ledger.md");

/// The rights at Redis that the page lists.
fn rights() -> String {
    let (_, behind) = PAGE.split_once("ACL SETUSER hotgate on >secret").expect("the page lists the rights");
    let (list, _) = behind.split_once("```").unwrap();
    list.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The user at Redis has these from now on.
fn set_rights(server: &Server, rights: &str) {
    server.client().check(&format!("ACL SETUSER books reset on >secret +info {rights}"), "+OK");
}

fn place_of_user(server: &Server) -> Place {
    Place::before(server).upstream("user = 'books'\npassword = 'secret'\n")
}

fn sell(client: &mut Client) {
    client.check("RESERVE.OPEN mask LIMIT 500 HOLD 500000", "+OK");
    for user in 0..50 {
        client.check(&format!("RESERVE.ADD mask {user}"), "*4...");
    }
}

#[test]
fn a_password_that_changes_in_its_file_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("password");
    std::fs::write(&file, "secret\n").unwrap();
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    sell(&mut client);
    set_rights(&server, &rights());
    let place = Place::before(&server).upstream(&format!("user = 'books'\npassword_file = {file:?}\n"));
    let ledger = place.start();
    wait_until_read(&place, &mut direct, "mask");
    std::fs::write(&file, "another\n").unwrap();
    wait_until("it is taken over", || ledger.log().contains("took over other passwords"));
    direct.check("ACL SETUSER books resetpass >another", "+OK");
    direct.check("CLIENT KILL USER books", ":...");
    client.check("RESERVE.OPEN other LIMIT 5", "+OK");
    client.check("RESERVE.ADD other ann", "*4...");
    wait_until_read(&place, &mut direct, "other");
}

#[test]
fn the_rights_of_the_page_are_enough_at_redis() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    sell(&mut client);
    set_rights(&server, &rights());
    let place = place_of_user(&server);
    let ledger = place.start();
    wait_until_read(&place, &mut direct, "mask");
    client.check("RESERVE.OPEN other LIMIT 5", "+OK");
    client.check("RESERVE.ADD other ann", "*4...");
    wait_until_read(&place, &mut direct, "other");
    drop(ledger);
    let stream = String::from_utf8(ledger_key(b"other").to_vec()).unwrap();
    direct.check(&format!("XTRIM {stream} MAXLEN 0"), ":...");
    place.catch_up();
    check_equal(&place, &mut client, &mut direct, "mask");
    // What it tries at the start besides, as a gateway does, is about servers.
    let log = direct.list("ACL LOG");
    let about_servers =
        ["cluster", "command", "hello", "role", "config", "select", "readonly", "client", "module"];
    let objects = log.windows(2).filter(|pair| pair[0] == "object").map(|pair| &pair[1]);
    for object in objects {
        assert!(about_servers.iter().any(|name| object.starts_with(name)), "{object}: {log:?}");
    }
}

#[test]
fn a_right_that_is_missing_at_redis_is_named() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut client = gateway.client();
    sell(&mut client);
    let all = rights();
    // What asks for these is rare: a stream that a hand has emptied, a connection that is silent.
    let rare = ["+exists", "+ping"];
    let words: Vec<&str> = all.split(' ').filter(|word| word.starts_with('+')).collect();
    assert!(words.len() > 10, "{words:?}");
    let place = place_of_user(&server);
    for missing in words.iter().filter(|word| !rare.contains(word)) {
        let others = all.split(' ').filter(|word| word != missing).collect::<Vec<_>>().join(" ");
        set_rights(&server, &others);
        // There is something new to be told to the sale.
        client.check(&format!("RESERVE.ADD mask {missing}"), "*4...");
        let ledger = place.start();
        let denied = ["NOPERM", "no permissions", "can't run this command"];
        wait_until(&format!("it says that {missing} is missing"), || {
            denied.iter().any(|words| ledger.log().contains(words))
        });
    }
}

/// The statements of the page that give a user rights at a database.
fn grants(kind: Kind) -> String {
    let heading = match kind {
        Kind::Postgres => "-- PostgreSQL",
        Kind::Maria => "-- MariaDB",
    };
    let (_, behind) = PAGE.split_once(heading).expect("the page lists the rights");
    let end = behind.find("\n-- ").into_iter().chain(behind.find("```")).min().unwrap();
    behind[behind.find('\n').unwrap()..end].replace("hotgate", "books")
}

fn check_rights_at_the_database(kind: Kind) {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    sell(&mut client);
    let place = Place::before(&server).on(SqlServer::start(kind));
    // Its owner makes the tables.
    place.catch_up();
    match kind {
        Kind::Postgres => drop(place.query("CREATE ROLE books LOGIN")),
        Kind::Maria => drop(place.query("CREATE USER books")),
    }
    place.query(&grants(kind));
    let url = place.url_of("books");
    let place = place.at(&url);
    client.check("RESERVE.OPEN mask LIMIT 600", "+OK");
    client.check("RESERVE.OPEN other LIMIT 5", "+OK");
    client.check("RESERVE.ADD other ann", "*4...");
    client.check("RESERVE.CANCEL mask 7", "*4...");
    let mut ledger = place.start();
    for sku in ["mask", "other"] {
        wait_until_read(&place, &mut direct, sku);
        check_equal(&place, &mut client, &mut direct, sku);
    }
    let stream = String::from_utf8(ledger_key(b"other").to_vec()).unwrap();
    client.check("RESERVE.ADD other bob", "*4...");
    wait_until_read(&place, &mut direct, "other");
    ledger.kill();
    client.check("RESERVE.ADD other eve", "*4...");
    direct.check(&format!("XTRIM {stream} MAXLEN 0"), ":...");
    let (code, log) = place.once();
    assert!(code == Some(1) && log.contains("halted"), "{log}");
    assert_eq!(place.verb(&["resync", "other"]).0, Some(0));
    assert_eq!(place.verb(&["verify"]).0, Some(0));
}

#[test]
fn the_rights_of_the_page_are_enough_at_postgres() {
    check_rights_at_the_database(Kind::Postgres);
}

#[test]
fn the_rights_of_the_page_are_enough_at_mariadb() {
    check_rights_at_the_database(Kind::Maria);
}
