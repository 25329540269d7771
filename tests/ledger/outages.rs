//! The database is away for longer than every timeout and every pause between attempts: it is silent, it closes what it accepts, it stands still in the middle of a
//! transaction. The ledger says each cause in one line, keeps nothing of it in memory, and goes on by itself.

use crate::books::{check_equal, position, wait_until_read};
use crate::process::{Ledger, Place};
use crate::servers::{Kind, SqlServer};
use crate::support::relay::Relay;
use crate::support::{Client, Gateway, Server, wait_until};

/// Connections after which the pause between two is the longest.
const ATTEMPTS: usize = 7;

/// What an outage may cost the ledger: it must not grow with what Redis has to tell meanwhile.
const GROWTH_MAX: u64 = 4 << 20;

fn sell(client: &mut Client, part: &str) {
    for user in 0..40 {
        client.check(&format!("RESERVE.ADD mask {part}{user}"), "*4...");
    }
}

/// Much more than the ledger may keep of it.
fn sell_much(client: &mut Client) {
    let name = "x".repeat(500);
    for round in 0..40 {
        (0..500).for_each(|user| client.send_line(&format!("RESERVE.ADD mask {round}.{user}.{name}")));
        (0..500).for_each(|_| assert!(client.reply().starts_with(b"*4")));
    }
}

fn complaints(ledger: &Ledger) -> Vec<String> {
    let log = ledger.log();
    log.lines().filter(|line| line.contains("the database does not take rows")).map(str::to_owned).collect()
}

fn attempts_from_now(relay: &Relay, what: &str) {
    let before = relay.accepted();
    wait_until(what, || relay.accepted() >= before + ATTEMPTS);
}

fn check(kind: Kind) {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000", "+OK");
    let place = Place::before(&server).on(SqlServer::start(kind));
    let relay = Relay::before(place.sql_address());
    let url = place.url_at(relay.address().port());
    let place = place.at(&url);
    let ledger = place.start_with(&[], &[("HOTGATE_LEDGER_HASTE", "1")]);
    sell(&mut client, "before");
    wait_until_read(&place, &mut direct, "mask");

    // Connections are accepted, and nothing is said on them.
    let read = position(&place, "mask");
    relay.hold_replies(true);
    sell(&mut client, "silent");
    attempts_from_now(&relay, "it tries again and again, in silence");
    let memory = ledger.memory();
    sell_much(&mut client);
    attempts_from_now(&relay, "it tries on");
    assert_eq!(position(&place, "mask"), read);
    let grown = ledger.memory().saturating_sub(memory);
    assert!(grown < GROWTH_MAX, "it grew by {grown} bytes");
    let said = complaints(&ledger);
    assert!(said.len() == 1 && said[0].contains("does not answer in time"), "{said:?}");

    // They are closed at once.
    relay.refuse(true);
    relay.cut();
    relay.hold_replies(false);
    attempts_from_now(&relay, "it tries again and again, and is let in nowhere");
    assert!(complaints(&ledger).len() <= 4, "{:?}", complaints(&ledger));

    relay.refuse(false);
    wait_until_read(&place, &mut direct, "mask");
    check_equal(&place, &mut client, &mut direct, "mask");
    wait_until("it says that it goes on", || ledger.log().contains("the database takes rows again"));
    assert_eq!(ledger.log().matches("the database takes rows again").count(), 1, "{}", ledger.log());
    assert_eq!(place.query("SELECT count(*) FROM reservation"), [["20080"]]);
}

#[test]
fn postgres_is_away_for_long() {
    check(Kind::Postgres);
}

#[test]
fn mariadb_is_away_for_long() {
    check(Kind::Maria);
}

/// In a file, it is another program that has it locked.
#[test]
fn sqlite_is_locked_for_long() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000", "+OK");
    let place = Place::before(&server).config("lag_max = 20\n");
    let ledger = place.start();
    sell(&mut client, "before");
    wait_until_read(&place, &mut direct, "mask");
    let (other, read) = (place.database(), position(&place, "mask"));
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    sell(&mut client, "locked");
    wait_until("it says so", || complaints(&ledger).len() == 1);
    let memory = ledger.memory();
    sell_much(&mut client);
    wait_until("the lag is seen", || ledger.log().contains("more than ledger.lag_max entries behind"));
    let grown = ledger.memory().saturating_sub(memory);
    assert!(grown < GROWTH_MAX, "it grew by {grown} bytes");
    assert_eq!(position(&place, "mask"), read);
    assert_eq!(complaints(&ledger).len(), 1, "{}", ledger.log());
    other.execute_batch("ROLLBACK").unwrap();
    wait_until_read(&place, &mut direct, "mask");
    check_equal(&place, &mut client, &mut direct, "mask");
    assert_eq!(place.query("SELECT count(*) FROM reservation"), [["20080"]]);
}

/// A server that stands still while a transaction waits in it, and goes on when nobody waits for that any more.
fn check_hangs(kind: Kind) {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000", "+OK");
    let mut place = Place::before(&server).on(SqlServer::start(kind));
    let relay = Relay::before(place.sql_address());
    let url = place.url_at(relay.address().port());
    place = place.at(&url);
    let ledger = place.start_with(&[], &[("HOTGATE_LEDGER_HASTE", "1")]);
    sell(&mut client, "before");
    wait_until_read(&place, &mut direct, "mask");
    let read = position(&place, "mask");
    let held = place.server().hold_rows();
    sell(&mut client, "hanging");
    wait_until("a transaction is in the middle", || place.server().waits_for_rows() > 0);
    place.server().pause();
    sell(&mut client, "paused");
    attempts_from_now(&relay, "it tries again and again");
    let said = complaints(&ledger);
    assert!(said.len() == 1 && said[0].contains("does not answer in time"), "{said:?}");
    place.server().resume();
    place.server().release_rows(held);
    wait_until_read(&place, &mut direct, "mask");
    assert!(position(&place, "mask") > read);
    check_equal(&place, &mut client, &mut direct, "mask");
    assert_eq!(place.query("SELECT count(*) FROM reservation"), [["120"]]);
    wait_until("it says that it goes on", || ledger.log().contains("the database takes rows again"));
    drop(ledger);
    assert_eq!(place.verb(&["verify"]), (Some(0), "0 differences\n".to_owned()));
}

#[test]
fn postgres_stands_still_in_the_middle_of_a_transaction() {
    check_hangs(Kind::Postgres);
}

#[test]
fn mariadb_stands_still_in_the_middle_of_a_transaction() {
    check_hangs(Kind::Maria);
}

/// A database that has no time, or no room, for as much as a transaction usually has gets smaller ones.
#[test]
fn a_database_that_takes_only_small_transactions_gets_small_ones() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000", "+OK");
    let place = Place::before(&server).on(SqlServer::start(Kind::Postgres));
    place.catch_up();
    place.query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF (SELECT count(*) FROM rows) > 1500 THEN RAISE EXCEPTION 'that is too much'; END IF; RETURN NULL; END $$;
        CREATE TRIGGER refuse AFTER INSERT ON reservation REFERENCING NEW TABLE AS rows
            FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
    );
    sell_much(&mut client);
    let ledger = place.start();
    wait_until_read(&place, &mut direct, "mask");
    check_equal(&place, &mut client, &mut direct, "mask");
    assert!(ledger.log().contains("that is too much (P0001)"), "{}", ledger.log());
}

/// Nothing happens in any sale: that the database is away is known all the same, and so is its return.
#[test]
fn an_outage_is_seen_while_nothing_is_sold() {
    for kind in Kind::ALL {
        let server = Server::start();
        let gateway = Gateway::before_server(&server);
        gateway.client().check("RESERVE.OPEN mask LIMIT 100000", "+OK");
        let mut place = Place::before(&server).on(SqlServer::start(kind));
        let ledger = place.start_with(&[], &[("HOTGATE_LEDGER_HASTE", "1")]);
        wait_until_read(&place, &mut server.client(), "mask");
        place.server().kill();
        wait_until("it is seen", || !complaints(&ledger).is_empty());
        place.server().restart();
        wait_until("its return is seen", || ledger.log().contains("the database takes rows again"));
    }
}
