//! The database has no room any more. The ledger says so in one line, waits, and goes on by itself when there is room: nothing is lost, and
//! nothing is there twice.

use hotgate::resp::encode;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::books::{check_equal, last_entry, position, wait_until_read};
use crate::process::{Ledger, Place};
use crate::servers::{Kind, SqlServer};
use crate::support::{Client, Gateway, Server, wait_until};

/// So many users take a place, each with a name of some hundred bytes.
fn sell(client: &mut Client, users: std::ops::Range<usize>) {
    let count = users.len();
    for user in users {
        // Databases compress what repeats. None of these bytes begins a letter, so each takes four: psql leaves out some letters that it knows none for.
        let mut random = SmallRng::seed_from_u64(user as u64);
        let name: Vec<u8> = (0..500).map(|_| random.random_range(0x80..=0xbf)).collect();
        let mut bytes = Vec::new();
        encode::command(&mut bytes, &[b"RESERVE.ADD", b"mask", &name]);
        client.send(&bytes);
    }
    (0..count).for_each(|_| assert!(client.reply().starts_with(b"*4")));
}

/// Sells until the disk is full; then gives it room, and looks whether all is as it should be. Where it is full the log has `words`.
fn check(mut place: Place, server: &Server, words: &str, give_room: impl FnOnce(&mut Place)) {
    let gateway = Gateway::before_server(server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000", "+OK");
    let ledger = place.start();
    wait_until_read(&place, &mut direct, "mask");
    sell(&mut client, 0..8000);
    let complaints = |ledger: &Ledger| {
        let log = ledger.log();
        log.lines()
            .filter(|line| line.contains("the database does not take rows"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    wait_until("it says so", || complaints(&ledger).iter().any(|line| line.contains(words)));
    // Sales go on meanwhile.
    sell(&mut client, 8000..8100);
    assert!(position(&place, "mask") < last_entry(&mut direct, "mask"));
    assert!(!ledger.log().contains("takes rows again"), "it goes on without room: {}", ledger.log());
    give_room(&mut place);
    wait_until_read(&place, &mut direct, "mask");
    check_equal(&place, &mut client, &mut direct, "mask");
    assert_eq!(place.query("SELECT count(*) FROM reservation"), [["8100"]]);
    wait_until("it says that it goes on", || ledger.log().contains("the database takes rows again"));
    // A server may end over it, which is another cause; each is said once.
    let full = complaints(&ledger).into_iter().filter(|line| line.contains(words));
    assert_eq!(full.count(), 1, "{}", ledger.log());
    assert!(complaints(&ledger).len() <= 3, "{}", ledger.log());
    drop(ledger);
    assert_eq!(place.verb(&["verify"]), (Some(0), "0 differences\n".to_owned()));
}

#[test]
fn of_sqlite() {
    let server = Server::start();
    let place = Place::before(&server).on_disk(6);
    check(place, &server, "database or disk is full", |place| place.disk().resize(400));
}

/// All that the server has lies on the full disk, so it may be its log that has no room: then it ends.
#[test]
fn of_postgres() {
    let server = Server::start();
    let place = Place::before(&server).on(SqlServer::start_on_disk(44));
    // The server says "No space left on device" or that it "wrote only" a part.
    check(place, &server, "(53100)", |place| {
        place.server().disk().resize(400);
        if place.server().has_ended() {
            place.server().restart();
        }
    });
}

#[test]
fn of_mariadb() {
    let bounded = |mib: u32| {
        [
            "--innodb-file-per-table=OFF".to_owned(),
            format!("--innodb-data-file-path=ibdata1:12M:autoextend:max:{mib}M"),
        ]
    };
    let server = Server::start();
    let place = Place::before(&server).on(SqlServer::start_with(Kind::Maria, |_| bounded(20).to_vec()));
    check(place, &server, ": The table", |place| {
        place.server().kill();
        place.server().set_arguments(&bounded(200).each_ref().map(String::as_str));
        place.server().restart();
    });
}
