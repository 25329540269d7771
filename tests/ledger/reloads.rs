//! SIGHUP: the ledger takes what its file says now, all of it or nothing, and goes on from what the database has.

use rusqlite::Connection;

use crate::books::{check_equal, position, wait_until_read};
use crate::process::{Ledger, Place};
use crate::support::{Client, Gateway, Server, wait_until};

fn sell(client: &mut Client, sku: &str, users: std::ops::Range<usize>) {
    users.for_each(|user| client.check(&format!("RESERVE.ADD {sku} {user}"), "*4..."));
}

/// Has the ledger read the file of `place`, and waits until it says these words once more.
fn reload(place: &Place, ledger: &Ledger, words: &str) {
    let before = ledger.log().matches(words).count();
    place.file();
    ledger.signal("HUP");
    wait_until(&format!("it says '{words}'"), || ledger.log().matches(words).count() > before);
}

#[test]
fn clusters_and_routes_are_taken() {
    let (default, far) = (Server::start(), Server::start());
    let tables = format!(
        "[[cluster]]\nname = 'far'\nservers = ['{}']\n[[route]]\nmatch = 'far:*'\nclusters = ['far']\n",
        far.seed()
    );
    let gateway = Gateway::before(&default).config(&tables).start();
    let mut client = gateway.client();
    let mut place = Place::before(&default);
    let mut ledger = place.start();
    for (sku, server) in [("mask", &default), ("far:mask", &far)] {
        client.check(&format!("RESERVE.OPEN {sku} LIMIT 9000"), "+OK");
        sell(&mut client, sku, 0..30);
        if server.seed() == default.seed() {
            wait_until_read(&place, &mut server.client(), sku);
        }
    }
    assert_eq!(position(&place, "far:mask"), 0);
    // What would be looked for elsewhere has to be meant.
    place = place.config(&tables);
    reload(&place, &ledger, "configuration not reloaded: route: keys that match \"far:*\" live in default");
    sell(&mut client, "mask", 30..40);
    wait_until_read(&place, &mut default.client(), "mask");
    place = place.config("force = true\n");
    reload(&place, &ledger, "read the configuration again (SIGHUP from process");
    assert!(ledger.log().contains("cluster, route"), "{}", ledger.log());
    wait_until_read(&place, &mut far.client(), "far:mask");
    check_equal(&place, &mut client, &mut far.client(), "far:mask");
    for sku in ["mask", "far:mask"] {
        sell(&mut client, sku, 40..80);
    }
    wait_until_read(&place, &mut far.client(), "far:mask");
    wait_until_read(&place, &mut default.client(), "mask");
    check_equal(&place, &mut client, &mut default.client(), "mask");
    reload(&place, &ledger, ": nothing has changed;");
    assert!(ledger.runs());
    assert_eq!(place.verb(&["verify"]), (Some(0), "0 differences\n".to_owned()));
}

#[test]
fn a_file_with_errors_changes_nothing() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 9000", "+OK");
    let mut place = Place::before(&server);
    let ledger = place.start();
    wait_until_read(&place, &mut direct, "mask");
    let url = place.url();
    for (wrong, words) in
        [("", "no database is configured"), ("oracle:shop", "names no database that is known here")]
    {
        place = place.at(wrong);
        reload(
            &place,
            &ledger,
            &format!("configuration not reloaded: {words}").replace(": names", ": ledger.url names"),
        );
    }
    place = place.at(&url).config("lag_max = 0\n");
    reload(&place, &ledger, "configuration not reloaded: ");
    sell(&mut client, "mask", 0..30);
    wait_until_read(&place, &mut direct, "mask");
    check_equal(&place, &mut client, &mut direct, "mask");
    assert!(!ledger.log().contains("read the configuration again"), "{}", ledger.log());
}

#[test]
fn bounds_and_another_database_are_taken() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 9000", "+OK");
    sell(&mut client, "mask", 0..30);
    let mut place = Place::before(&server);
    let ledger = place.start();
    wait_until_read(&place, &mut direct, "mask");
    place = place.config("lag_max = 20\nrequired = true\n");
    reload(&place, &ledger, "ledger.lag_max, ledger.required");
    let other = place.database();
    wait_until("the sale has the bound", || {
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        let refused = (100..130).any(|user| {
            let said = client.ask(&format!("RESERVE.ADD mask {user}"));
            let refused = said.starts_with("-LEDGERFULL 20 entries");
            client.ask(&format!("RESERVE.CANCEL mask {user}"));
            refused
        });
        other.execute_batch("ROLLBACK").unwrap();
        wait_until_read(&place, &mut direct, "mask");
        refused
    });
    drop(other);
    // Another file, into which somebody has brought what the first one had.
    let copy = place.path().with_extension("copy");
    place.database().execute("VACUUM INTO ?1", [copy.to_str().unwrap()]).unwrap();
    let former = position(&place, "mask");
    place = place.at(&format!("sqlite:{}", copy.display()));
    reload(&place, &ledger, "read the configuration again");
    // Fewer than the bound.
    sell(&mut client, "mask", 200..215);
    let copied = Connection::open(&copy).unwrap();
    copied.busy_timeout(std::time::Duration::from_secs(20)).unwrap();
    let rows = "SELECT count(*) FROM reservation WHERE length(user_id) = 3 AND user_id >= '200'";
    wait_until("the other one has them", || copied.query_row(rows, [], |row| row.get::<_, i64>(0)) == Ok(15));
    assert_eq!(position(&place, "mask"), former);
    assert_eq!(place.verb(&["verify"]), (Some(0), "0 differences\n".to_owned()));
    assert!(!ledger.log().contains("halted"), "{}", ledger.log());
}

/// Whoever waits for the lock takes over under the file of now.
#[test]
fn one_that_waits_takes_it_too() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 9000", "+OK");
    let place = Place::before(&server);
    let mut first = place.start();
    wait_until_read(&place, &mut direct, "mask");
    let second = place.start();
    wait_until("it waits", || second.log().contains("this one waits for its end"));
    reload(&place, &second, ": nothing has changed;");
    first.kill();
    sell(&mut client, "mask", 0..30);
    wait_until_read(&place, &mut direct, "mask");
    check_equal(&place, &mut client, &mut direct, "mask");
}
