//! A transaction whose outcome nobody told: the connection is cut between COMMIT and its answer, on either side of the server, or COMMIT hangs on the way. The
//! positions say what became of it, and each entry is there once.

use crate::books::{check_equal, last_entry, position, wait_until_read};
use crate::process::Place;
use crate::servers::{Kind, SqlServer};
use crate::support::relay::{Relay, Stop};
use crate::support::{Client, Gateway, Server, wait_until};

fn sell(client: &mut Client, part: &str) {
    for user in 0..40 {
        client.check(&format!("RESERVE.ADD mask {part}{user} COUNT 2"), "*4...");
        client.check(&format!("RESERVE.CANCEL mask {part}{user} COUNT 1"), "*4...");
    }
}

fn check(kind: Kind) {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000 PERUSER 4", "+OK");
    let place = Place::before(&server).on(SqlServer::start(kind));
    let relay = Relay::before(place.sql_address());
    let url = place.url_at(relay.address().port());
    let place = place.at(&url);
    let ledger = place.start_with(&[], &[("HOTGATE_LEDGER_HASTE", "1")]);
    wait_until_read(&place, &mut direct, "mask");

    // It was done, and nobody says so.
    let before = position(&place, "mask");
    relay.stop_at(b"COMMIT", Stop::Behind);
    sell(&mut client, "done");
    wait_until("it is committed, and the answer is held", || {
        relay.is_stopped() && position(&place, "mask") > before
    });
    relay.cut();
    relay.go_on();
    wait_until_read(&place, &mut direct, "mask");
    check_equal(&place, &mut client, &mut direct, "mask");

    // It was not done, and nobody says so.
    let before = position(&place, "mask");
    relay.stop_at(b"COMMIT", Stop::Before);
    sell(&mut client, "undone");
    wait_until("it is on its way", || relay.is_stopped());
    relay.cut();
    assert_eq!(position(&place, "mask"), before);
    relay.go_on();
    wait_until_read(&place, &mut direct, "mask");
    check_equal(&place, &mut client, &mut direct, "mask");

    // It hangs on the way. The server does not know that nobody waits for it any more, and keeps the lock for it.
    relay.stop_at(b"COMMIT", Stop::Before);
    sell(&mut client, "late");
    wait_until("it is on its way", || relay.is_stopped());
    sell(&mut client, "later");
    let last = last_entry(&mut direct, "mask");
    wait_until("it goes on without the session that hangs", || position(&place, "mask") == last);
    assert!(ledger.log().contains("a session of this process whose connection was lost"), "{}", ledger.log());
    relay.go_on();
    sell(&mut client, "last");
    wait_until_read(&place, &mut direct, "mask");
    check_equal(&place, &mut client, &mut direct, "mask");
    assert_eq!(place.query("SELECT count(*), sum(count) FROM reservation"), [["200", "200"]]);
    assert!(!ledger.log().contains("halted") && !ledger.log().contains("another ledger"), "{}", ledger.log());
    drop(ledger);
    assert_eq!(place.verb(&["verify"]), (Some(0), "0 differences\n".to_owned()));
}

#[test]
fn postgres_commits_and_nobody_says_so() {
    check(Kind::Postgres);
}

#[test]
fn mariadb_commits_and_nobody_says_so() {
    check(Kind::Maria);
}
