//! Somebody removes the file of the database, or puts a former copy in its place, while the ledger runs. Rows that go into a file that nobody finds again are lost,
//! and Redis forgets what was committed; so it is seen, and what is missing in the other file is told as a gap.

use hotgate::reserve::ledger_key;

use crate::books::{check_equal, last_entry, wait_until_read};
use crate::process::Place;
use crate::support::{Client, Gateway, Server, wait_until};

fn sell(client: &mut Client, users: std::ops::Range<usize>) {
    users.clone().for_each(|user| client.send_line(&format!("RESERVE.ADD mask {user}")));
    users.for_each(|_| assert!(client.reply().starts_with(b"*4")));
}

fn remove(place: &Place) {
    for suffix in ["db", "db-wal", "db-shm"] {
        let _ = std::fs::remove_file(place.path().with_extension(suffix));
    }
}

/// What a hand does to the file; what the log says then.
fn check(hand: impl FnOnce(&Place), words: &str) {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("RESERVE.OPEN mask LIMIT 100000", "+OK");
    sell(&mut client, 0..20);
    let place = Place::before(&server);
    place.catch_up();
    std::fs::copy(place.path(), place.path().with_extension("former")).unwrap();
    let ledger = place.start();
    sell(&mut client, 20..2000);
    wait_until_read(&place, &mut direct, "mask");
    let stream = String::from_utf8(ledger_key(b"mask").to_vec()).unwrap();
    wait_until("Redis trims", || direct.integer(&format!("XLEN {stream}")) < 500);
    hand(&place);
    sell(&mut client, 2000..2020);
    wait_until("it is seen", || ledger.log().contains(words));
    wait_until("what is missing is told", || ledger.log().contains("halted: entries"));
    drop(ledger);
    // What went into the other file is not forgotten by Redis on the word of the one that is gone.
    assert!(direct.integer(&format!("XLEN {stream}")) >= 20);
    assert_eq!(place.once().0, Some(1));
    let (code, told) = place.verb(&["resync", "mask"]);
    assert!(code == Some(0) && told.ends_with("0 holdings were lost\n"), "{told}");
    place.catch_up();
    check_equal(&place, &mut client, &mut direct, "mask");
    assert_eq!(last_entry(&mut direct, "mask"), 2021);
}

#[test]
fn a_file_that_is_removed() {
    check(remove, "somebody has moved it or removed it");
}

#[test]
fn a_former_copy_in_place_of_the_file() {
    let put_back = |place: &Place| {
        remove(place);
        std::fs::rename(place.path().with_extension("former"), place.path()).unwrap();
    };
    check(put_back, "it is another file than the one that was opened");
}
