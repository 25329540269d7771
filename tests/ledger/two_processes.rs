//! Two processes that both work: the lock is lost, or a process that has it stands still. Each entry is there once all the same, because the position decides
//! and not the lock; and nobody halts a sale on the word of one that is behind.

use hotgate::reserve::ledger_key;

use crate::books::{check_equal, last_entry, position, wait_until_read};
use crate::process::{Ledger, Place};
use crate::servers::{Kind, SqlServer};
use crate::support::{Client, Gateway, Server, wait_until};

/// What a process says that finds another at work.
const COLLISION: &str = "another process writes into the same tables";

/// Has a process work whoever has the lock.
const WITHOUT_LOCK: (&str, &str) = ("HOTGATE_LEDGER_WITHOUT_LOCK", "1");

const SALES: [&str; 3] = ["mask", "vase", "lamp"];

/// Users take places, and every third gives his back.
fn sell(client: &mut Client, users: std::ops::Range<usize>) {
    for user in users.clone() {
        let sku = SALES[user % SALES.len()];
        client.send_line(&format!("RESERVE.ADD {sku} {user}"));
        client.send_line(&format!("RESERVE.CANCEL {sku} {}", user - user % 9));
    }
    users.for_each(|_| (0..2).for_each(|_| drop(client.reply())));
}

fn check(kind: Option<Kind>) {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    let place = Place::before(&server);
    let place = &match kind {
        Some(kind) => place.on(SqlServer::start(kind)),
        None => place,
    };
    SALES.iter().for_each(|sku| client.check(&format!("RESERVE.OPEN {sku} LIMIT 1000000"), "+OK"));
    // The tables are made before both look for them.
    place.catch_up();
    let ledgers = [place.start_with(&[], &[WITHOUT_LOCK]), place.start_with(&[], &[WITHOUT_LOCK])];
    let mut user = 0;
    wait_until("each comes across the other", || {
        sell(&mut client, user..user + 30);
        user += 30;
        ledgers.iter().all(|ledger| ledger.log().contains(COLLISION))
    });
    for sku in SALES {
        wait_until_read(place, &mut direct, sku);
        check_equal(place, &mut client, &mut direct, sku);
    }
    assert_eq!(place.query("SELECT count(*) FROM reservation"), [[user.to_string()]]);
    for ledger in &ledgers {
        assert!(!ledger.log().contains("halted"), "{}", ledger.log());
        let (said, over) =
            (ledger.log().matches(COLLISION).count(), ledger.log().matches("takes rows again").count());
        assert!(said <= over + 1, "it is said once, until it is over: {}", ledger.log());
    }
    drop(ledgers);
    assert_eq!(place.verb(&["verify"]), (Some(0), "0 differences\n".to_owned()));
    check_one_behind_halts_nothing(place, &mut client, &mut direct);
}

/// One that stood still finds entries gone that the other has read and Redis has trimmed.
fn check_one_behind_halts_nothing(place: &Place, client: &mut Client, direct: &mut Client) {
    let behind = place.start_with(&[], &[WITHOUT_LOCK]);
    client.check("RESERVE.ADD mask before", "*4...");
    wait_until_read(place, direct, "mask");
    behind.signal("STOP");
    let ahead = place.start_with(&[], &[WITHOUT_LOCK]);
    (0..2000).for_each(|user| client.send_line(&format!("RESERVE.ADD mask further{user}")));
    (0..2000).for_each(|_| assert!(client.reply().starts_with(b"*4")));
    wait_until_read(place, direct, "mask");
    let stream = String::from_utf8(ledger_key(b"mask").to_vec()).unwrap();
    wait_until("Redis trims", || direct.integer(&format!("XLEN {stream}")) < 500);
    behind.signal("CONT");
    wait_until("it comes across the other", || {
        client.check("RESERVE.CANCEL mask before", "*4...");
        client.check("RESERVE.ADD mask before", "*4...");
        behind.log().contains(COLLISION)
    });
    wait_until_read(place, direct, "mask");
    check_equal(place, client, direct, "mask");
    assert_eq!(place.query("SELECT count(*) FROM ledger_position WHERE halted IS NOT NULL"), [["0"]]);
    assert!(!behind.log().contains("halted") && !ahead.log().contains("halted"), "{}", behind.log());
}

#[test]
fn both_work_on_sqlite() {
    check(None);
}

#[test]
fn both_work_on_postgres() {
    check(Some(Kind::Postgres));
}

#[test]
fn both_work_on_mariadb() {
    check(Some(Kind::Maria));
}

/// Somebody tidies up beside the database.
#[test]
fn a_lock_file_that_is_removed_changes_nothing() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    let place = Place::before(&server);
    SALES.iter().for_each(|sku| client.check(&format!("RESERVE.OPEN {sku} LIMIT 1000000"), "+OK"));
    let first = place.start();
    wait_until_read(&place, &mut direct, "mask");
    std::fs::remove_file(place.path().with_extension("db.lock")).unwrap();
    let second = place.start();
    let mut user = 0;
    wait_until("both work", || {
        sell(&mut client, user..user + 30);
        user += 30;
        [&first, &second].iter().any(|ledger| ledger.log().contains(COLLISION))
    });
    for sku in SALES {
        wait_until_read(&place, &mut direct, sku);
        check_equal(&place, &mut client, &mut direct, sku);
    }
    assert!(!second.log().contains("waits for its end"), "{}", second.log());
}

/// A process that stands still, or whose machine is gone, does not keep the lock for ever; one that goes on afterwards waits in its turn.
fn check_takes_over(kind: Kind) {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 5000", "+OK");
    let place = Place::before(&server).on(SqlServer::start(kind));
    let in_haste = || place.start_with(&[], &[("HOTGATE_LEDGER_HASTE", "1")]);
    let first = in_haste();
    wait_until_read(&place, &mut direct, "mask");
    let second = in_haste();
    let waits = |ledger: &Ledger| ledger.log().contains("another ledger process works on this database");
    wait_until("the second waits", || waits(&second));
    first.signal("STOP");
    (0..50).for_each(|user| client.check(&format!("RESERVE.ADD mask {user}"), "*4..."));
    let last = last_entry(&mut direct, "mask");
    wait_until("the second takes over", || position(&place, "mask") == last);
    assert!(second.log().contains("this one works now"), "{}", second.log());
    first.signal("CONT");
    (50..100).for_each(|user| client.check(&format!("RESERVE.ADD mask {user}"), "*4..."));
    wait_until("the first waits now", || waits(&first));
    wait_until_read(&place, &mut direct, "mask");
    check_equal(&place, &mut client, &mut direct, "mask");
    drop(second);
    client.check("RESERVE.ADD mask last", "*4...");
    wait_until_read(&place, &mut direct, "mask");
    check_equal(&place, &mut client, &mut direct, "mask");
    assert!(first.log().contains("this one works now"), "{}", first.log());
}

#[test]
fn a_process_that_stands_still_loses_the_lock_of_postgres() {
    check_takes_over(Kind::Postgres);
}

#[test]
fn a_process_that_stands_still_loses_the_lock_of_mariadb() {
    check_takes_over(Kind::Maria);
}

/// The lock of one that runs and has nothing to do stays.
#[test]
fn a_process_that_has_nothing_to_do_keeps_the_lock() {
    for kind in Kind::ALL {
        let server = Server::start();
        let gateway = Gateway::before_server(&server);
        let (mut client, mut direct) = (gateway.client(), server.client());
        client.check("RESERVE.OPEN mask LIMIT 5000", "+OK");
        let place = Place::before(&server).on(SqlServer::start(kind));
        let first = place.start_with(&[], &[("HOTGATE_LEDGER_HASTE", "1")]);
        wait_until_read(&place, &mut direct, "mask");
        let (session, clock) = match kind {
            Kind::Postgres => (
                "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()",
                "SELECT extract(epoch FROM now())::bigint",
            ),
            Kind::Maria => (
                "SELECT id FROM information_schema.processlist WHERE db = 'shop' AND id <> connection_id()",
                "SELECT unix_timestamp()",
            ),
        };
        let (before, now) = (place.query(session), || place.query(clock)[0][0].parse::<i64>().unwrap());
        assert_eq!(before.len(), 1, "{before:?}");
        // Longer than a session may be silent that is hasty.
        let later = now() + 15;
        wait_until("it is later", || now() >= later);
        assert_eq!(place.query(session), before);
        assert!(!first.log().contains("does not take rows"), "{}", first.log());
        client.check("RESERVE.ADD mask ann", "*4...");
        wait_until_read(&place, &mut direct, "mask");
    }
}
