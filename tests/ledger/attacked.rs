//! What people do to a ledger: databases that may only be read, wrong passwords, clocks that are wrong, comparing while everything moves, giving back twice.

use crate::books::{check_equal, in_redis, last_entry, wait_until_read};
use crate::process::Place;
use crate::servers::{Kind, SqlServer};
use crate::support::{Client, Gateway, Server, wait_until};
use hotgate::reserve::{ledger_key, registry_key, registry_shard};

/// What `faketime` preloads; tests/setup installs it.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";

fn stream(sku: &str) -> String {
    String::from_utf8(ledger_key(sku.as_bytes()).to_vec()).unwrap()
}

fn sell(client: &mut Client, users: std::ops::Range<usize>) {
    for user in users {
        client.check(&format!("RESERVE.ADD mask {user}"), "*4...");
    }
}

/// As a database is that was failed over to a standby, for the while in which that takes no writes.
#[test]
fn a_database_that_may_only_be_read_is_waited_for() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000", "+OK");
    let place = Place::before(&server).on(SqlServer::start(Kind::Postgres));
    let ledger = place.start();
    wait_until_read(&place, &mut direct, "mask");
    let all_end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    place.query("ALTER ROLE hotgate SET default_transaction_read_only = on");
    place.query(all_end);
    sell(&mut client, 0..50);
    wait_until("it says so", || ledger.log().contains("in a read-only transaction; it takes no writes"));
    // It tries again and again, and says no more of it.
    let tries = "SELECT xact_rollback FROM pg_stat_database WHERE datname = 'postgres'";
    let before: i64 = place.query(tries)[0][0].parse().unwrap();
    wait_until("it tries again", || place.query(tries)[0][0].parse::<i64>().unwrap() >= before + 3);
    assert!(!ledger.log().contains("takes rows again"), "{}", ledger.log());
    place.query("BEGIN READ WRITE; ALTER ROLE hotgate RESET default_transaction_read_only; COMMIT");
    wait_until_read(&place, &mut direct, "mask");
    check_equal(&place, &mut client, &mut direct, "mask");
    wait_until("it says that it goes on", || ledger.log().contains("the database takes rows again"));
}

#[test]
fn who_the_database_does_not_let_in_is_told_why() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    gateway.client().check("RESERVE.OPEN mask LIMIT 100000", "+OK");
    for (kind, words) in
        [(Kind::Postgres, "role \"nobody\" does not exist"), (Kind::Maria, "Access denied for user 'nobody'")]
    {
        let place = Place::before(&server).on(SqlServer::start(kind));
        let url = place.url_of("nobody");
        let place = place.at(&url);
        let ledger = place.start();
        wait_until("it says why", || ledger.log().contains(words));
        assert!(!ledger.log().contains("://"), "an address may hold a password: {}", ledger.log());
    }
}

/// Holds end by Redis's clock, whatever the clock is where somebody compares.
#[test]
fn clocks_that_are_wrong_make_no_differences() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000 HOLD 600000", "+OK");
    let place = Place::before(&server);
    for clock in ["+3h", "-3h"] {
        let wrong = [("LD_PRELOAD", LIBRARY), ("FAKETIME", clock)];
        let ledger = place.start_with(&[], &wrong);
        sell(&mut client, 0..20);
        wait_until_read(&place, &mut direct, "mask");
        check_equal(&place, &mut client, &mut direct, "mask");
        drop(ledger);
        let (code, told) = place.verb_with(&["verify"], &wrong);
        assert_eq!((code, &told[..]), (Some(0), "0 differences\n"), "with a clock of {clock}");
        client.check("RESERVE.CANCEL mask 3", "*4...");
    }
}

#[test]
fn comparing_while_sales_run_finds_nothing() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000 HOLD 600000", "+OK");
    let place = Place::before(&server);
    let _ledger = place.start();
    sell(&mut client, 0..500);
    wait_until_read(&place, &mut direct, "mask");
    std::thread::scope(|scope| {
        let verify = scope.spawn(|| (0..3).map(|_| place.verb(&["verify"])).collect::<Vec<_>>());
        let mut user = 500;
        while !verify.is_finished() {
            client.check(&format!("RESERVE.ADD mask {user}"), "*4...");
            client.check(&format!("RESERVE.CONFIRM mask {}", user - 250), "*4...");
            client.check(&format!("RESERVE.CANCEL mask {}", user - 500), "*4...");
            user += 1;
        }
        for said in verify.join().unwrap() {
            assert_eq!(said, (Some(0), "0 differences\n".to_owned()));
        }
    });
}

/// A restoration that breaks off leaves a sale that takes nobody; begun again, it goes on.
#[test]
fn a_restoration_that_breaks_off_is_begun_again() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000 HOLD 600000", "+OK");
    sell(&mut client, 0..300);
    let place = Place::before(&server);
    place.catch_up();
    let before = in_redis(&mut client, "mask");
    direct.check("FLUSHALL", "+OK");
    for times in [1, 2, 4] {
        let dies = [("HOTGATE_LEDGER_DIES", &*format!("restoring:{times}"))];
        assert_eq!(place.verb_with(&["restore", "mask"], &dies).0, None);
        client.check("RESERVE.OPEN other LIMIT 9000", "+OK");
        client.check("RESERVE.ADD mask eve", "-CLOSED...");
        // Places that were given now would not be in the database.
        for command in ["RESERVE.REOPEN mask", "RESERVE.OPEN mask LIMIT 7", "RESERVE.MOVE mask other"] {
            client.check(command, "-ERR the sale is being given back, and has not all its holders yet...");
        }
    }
    assert_eq!(place.verb(&["restore", "mask"]).0, Some(0));
    assert_eq!(in_redis(&mut client, "mask"), before);
    client.check("RESERVE.ADD mask eve", "*4 $4 held :301...");
    place.catch_up();
    check_equal(&place, &mut client, &mut direct, "mask");
    // Somebody began another sale of the name before it was given back.
    direct.check("FLUSHALL", "+OK");
    client.check("RESERVE.OPEN mask LIMIT 5", "+OK");
    client.check("RESERVE.ADD mask first", "*4...");
    assert_eq!(place.verb(&["restore", "mask"]).0, Some(1));
    assert_eq!(in_redis(&mut client, "mask").len(), 1);
}

/// Names that no gateway lets in, but a hand may write.
#[test]
fn a_registry_with_names_of_any_length_stops_nothing() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000", "+OK");
    sell(&mut client, 0..20);
    let registry = registry_key(registry_shard(b"mask"));
    for name in [&[0xff; 1_000_000][..], &[0; 500], b"", b"a\r\n*1\r\n", &[b'x'; 513]] {
        let add: [&[u8]; 4] = [b"ZADD", &registry, b"0", name];
        assert_eq!(direct.call(&add), b":1\r\n");
    }
    let place = Place::before(&server);
    let (code, log) = place.once();
    assert_eq!(code, Some(0), "{}", &log[..log.len().min(5000)]);
    assert!(log.len() < 5000, "{} bytes of log", log.len());
    assert_eq!(log.matches("its name has more than 512 characters").count(), 3, "{log}");
    check_equal(&place, &mut client, &mut direct, "mask");
    assert_eq!(last_entry(&mut direct, "mask"), 21);
}

/// Entries that nobody read fill Redis, which then takes no writes. What makes room is the ledger, and it may.
#[test]
fn a_redis_that_entries_have_filled_is_emptied() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 1000000", "+OK");
    sell(&mut client, 0..20);
    let place = Place::before(&server);
    let mut ledger = place.start();
    wait_until_read(&place, &mut direct, "mask");
    ledger.kill();
    let used: u64 = direct
        .text("INFO memory")
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:")?.parse().ok())
        .unwrap();
    direct.check(&format!("CONFIG SET maxmemory {}", used + 2_000_000), "+OK");
    let mut user = 20;
    wait_until("Redis is full", || {
        let users = user..user + 500;
        users.clone().for_each(|user| client.send_line(&format!("RESERVE.ADD mask {user}")));
        user = users.end;
        users.filter(|_| client.reply().starts_with(b"-OOM")).count() > 0
    });
    let ledger = place.start();
    wait_until_read(&place, &mut direct, "mask");
    wait_until("what was read goes", || direct.integer(&format!("XLEN {}", stream("mask"))) < 500);
    client.check(&format!("RESERVE.ADD mask {user}"), "*4...");
    wait_until_read(&place, &mut direct, "mask");
    check_equal(&place, &mut client, &mut direct, "mask");
    assert!(!ledger.log().contains("can't be told"), "{}", ledger.log());
}

/// A server whose packets are bounded, as old ones are, and names of users that are as long as they may be.
#[test]
fn a_batch_fits_into_the_packets_of_the_server() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000", "+OK");
    for user in 0..1000 {
        // Each byte is written as four letters.
        let name = [&[0xff; 509][..], format!("{user:03}").as_bytes()].concat();
        let add: [&[u8]; 3] = [b"RESERVE.ADD", b"mask", &name];
        assert!(client.call(&add).starts_with(b"*4"));
    }
    let packets = |_: &std::path::Path| vec!["--max-allowed-packet=1M".to_owned()];
    let place = Place::before(&server).on(SqlServer::start_with(Kind::Maria, packets));
    place.catch_up();
    check_equal(&place, &mut client, &mut direct, "mask");
}
