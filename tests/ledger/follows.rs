//! What happens in sales comes into the database while it happens, and Redis is not asked about sales in which nothing does.

use crate::books::{check_equal, in_sql, last_entry, position, wait_until_read};
use crate::process::Place;
use crate::support::figures::calls;
use crate::support::{Gateway, Server, wait_until};

#[test]
fn once_brings_all_that_there_is_and_a_second_time_changes_nothing() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    let place = Place::before(&server);
    client.check("RESERVE.OPEN mask LIMIT 5000 PERUSER 3 HOLD 500000", "+OK");
    for user in 0..600 {
        client.check(&format!("RESERVE.ADD mask user{user} COUNT {}", 1 + user % 3), "*4 $4 held...");
        match user % 4 {
            0 => client.check(&format!("RESERVE.CONFIRM mask user{user}"), "*4 $9 confirmed..."),
            1 => client.check(&format!("RESERVE.CANCEL mask user{user}"), "*4 $9 cancelled..."),
            _ => {}
        }
    }
    client.check("RESERVE.CANCEL mask user2 COUNT 1", "*4 $4 held...");
    // A name that is no text, and one that looks like the escape of another.
    assert!(client.call(&[&b"RESERVE.ADD"[..], b"mask", b"a\xff\\x00"]).starts_with(b"*4"));
    place.catch_up();
    check_equal(&place, &mut client, &mut direct, "mask");
    let database = place.database();
    let one = |query: &str| database.query_row(query, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(one("SELECT count(*) FROM reservation WHERE state = 'cancelled' AND count = 0"), 150);
    assert_eq!(one("SELECT held FROM reservation WHERE user_id = 'user2'"), 2);
    assert_eq!(one("SELECT count(*) FROM reservation WHERE user_id = 'a\\xff\\\\x00'"), 1);
    assert_eq!(one("SELECT places FROM ledger_sale WHERE per_user = 3 AND hold_ms = 500000"), 5000);
    // Redis has little more than the entry of the position.
    let left = direct.integer(&format!("XLEN {}", stream("mask")));
    assert!((1..=200).contains(&left), "{left} entries are left");
    let before = position(&place, "mask");
    place.catch_up();
    assert_eq!(position(&place, "mask"), before);
    check_equal(&place, &mut client, &mut direct, "mask");
}

fn stream(sku: &str) -> String {
    String::from_utf8(hotgate::reserve::ledger_key(sku.as_bytes()).to_vec()).unwrap()
}

#[test]
fn it_follows_what_changes_and_asks_about_nothing_else() {
    const SALES: usize = 2000;
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    for sale in 0..SALES {
        client.send_line(&format!("RESERVE.OPEN sku{sale} LIMIT 100"));
        client.send_line(&format!("RESERVE.ADD sku{sale} early"));
    }
    for _ in 0..SALES {
        assert_eq!(client.reply(), b"+OK\r\n");
        assert!(client.reply().starts_with(b"*4"));
    }
    let place = Place::before(&server);
    let mut ledger = place.start();
    wait_until("all are there", || {
        place.query("SELECT count(*) FROM ledger_position WHERE entry = 2") == [[SALES.to_string()]]
    });
    let before = calls(&mut direct, "xrange");
    for user in 0..50 {
        client.check(&format!("RESERVE.ADD sku7 {user}"), "*4...");
    }
    wait_until_read(&place, &mut direct, "sku7");
    check_equal(&place, &mut client, &mut direct, "sku7");
    let asked = calls(&mut direct, "xrange") - before;
    assert!(asked < 400, "{asked} reads for 50 entries of one sale among {SALES}");
    // A sale that is only now opened, and one that is dropped and opened anew.
    client.check("RESERVE.OPEN new LIMIT 9", "+OK");
    client.check("RESERVE.ADD new ann", "*4...");
    wait_until("a new sale is found", || position(&place, "new") == 2);
    client.check("RESERVE.CLOSE new", "+OK");
    wait_until("its end is read, so it may go", || client.ask("RESERVE.DROP new") == ":0");
    client.check("RESERVE.OPEN new LIMIT 9", "+OK");
    client.check("RESERVE.ADD new bob", "*4...");
    wait_until("the sale that has the name now", || {
        let rows = in_sql(&place, "new");
        rows.len() == 1 && rows[0].1 == "bob"
    });
    let all = "SELECT count(*) FROM reservation WHERE sku = 'new'";
    assert_eq!(place.database().query_row(all, [], |row| row.get::<_, i64>(0)), Ok(2));
    assert!(ledger.terminate().success(), "{}", ledger.log());
}

#[test]
fn a_hold_that_ends_and_a_sale_that_moves_are_followed() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config("[reserve]\nsweep_interval = '100ms'\n").start();
    let (mut client, mut direct) = (gateway.client(), server.client());
    let place = Place::before(&server);
    let _ledger = place.start();
    client.check("RESERVE.OPEN old LIMIT 50 HOLD 300", "+OK");
    client.check("RESERVE.OPEN new LIMIT 50", "+OK");
    for user in 0..20 {
        client.check(&format!("RESERVE.ADD old {user}"), "*4...");
    }
    for user in 0..10 {
        client.ask(&format!("RESERVE.CONFIRM old {user}"));
    }
    wait_until("holds end", || client.ask("RESERVE.LIST old STATE held") == "*0");
    client.check("RESERVE.MOVE old new", ":0");
    for sku in ["old", "new"] {
        wait_until_read(&place, &mut direct, sku);
        check_equal(&place, &mut client, &mut direct, sku);
    }
    assert!(in_sql(&place, "old").iter().all(|row| row.3 == "moved"));
}

#[test]
fn of_two_processes_one_works_and_the_other_takes_over() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 5000", "+OK");
    let place = Place::before(&server);
    let mut first = place.start();
    client.check("RESERVE.ADD mask ann", "*4...");
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

#[test]
fn a_sale_beyond_the_lag_gives_no_places_where_the_ledger_is_required() {
    let server = Server::start();
    let place = Place::before(&server).config("lag_max = 20\nrequired = true\n");
    let config =
        format!("[ledger]\nurl = 'sqlite:{}'\nlag_max = 20\nrequired = true\n", place.path().display());
    let gateway = Gateway::before(&server).config(&config).start();
    let mut client = gateway.client();
    client.check("RESERVE.OPEN mask LIMIT 5000", "+OK");
    for user in 0..19 {
        client.check(&format!("RESERVE.ADD mask {user}"), "*4...");
    }
    client.check("RESERVE.ADD mask late", "-LEDGERFULL 20 entries of the ledger were not read...");
    client.check("RESERVE.ADD mask 7", "*4 $9 confirmed :8...");
    let _ledger = place.start();
    wait_until("places are given again", || client.ask("RESERVE.ADD mask late").starts_with('*'));
}
