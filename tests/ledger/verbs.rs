//! What an operator does: compare, give back, take Redis's word.

use hotgate::reserve::ledger_key;

use crate::books::{check_equal, in_redis, in_sql};
use crate::process::Place;
use crate::support::{Client, Gateway, Server, wait_until};

fn filled(gateway: &Gateway, place: &Place) -> Client {
    let mut client = gateway.client();
    client.check("RESERVE.OPEN mask LIMIT 900 PERUSER 4 HOLD 500000", "+OK");
    client.check("RESERVE.OPEN other LIMIT 500", "+OK");
    client.check("RESERVE.ADD other zoe", "*4...");
    for user in 0..300 {
        client.check(&format!("RESERVE.ADD mask {user} COUNT 2"), "*4...");
        match user % 3 {
            0 => client.check(&format!("RESERVE.CONFIRM mask {user}"), "*4..."),
            1 if (100..240).contains(&user) => client.check(&format!("RESERVE.CANCEL mask {user}"), "*4..."),
            _ => {}
        }
    }
    // Confirmed and held places of one user.
    client.check("RESERVE.ADD mask 0 COUNT 1 IDMP more", "*4 $4 held...");
    place.catch_up();
    client
}

#[test]
fn verify_names_each_difference() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let place = Place::before(&server);
    let mut client = filled(&gateway, &place);
    assert_eq!(place.verb(&["verify"]), (Some(0), "0 differences\n".to_owned()));
    assert_eq!(place.verb(&["verify", "mask"]).0, Some(0));
    let database = place.database();
    database.execute("UPDATE reservation SET count = 1 WHERE user_id = '5'", []).unwrap();
    database.execute("DELETE FROM reservation WHERE user_id = '8'", []).unwrap();
    database.execute("UPDATE reservation SET user_id = 'eve' WHERE user_id = '299'", []).unwrap();
    let (code, told) = place.verb(&["verify"]);
    assert_eq!(code, Some(1));
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 4, "{told}");
    assert!(lines[0].starts_with("mask: place 6: Redis has '5', 2 held, since 1"), "{told}");
    assert!(lines[0].contains("the database '5', 1 held"), "{told}");
    assert!(lines[1].starts_with("mask: place 9: Redis has '8', 2 held"), "{told}");
    assert!(lines[1].ends_with("the database nobody"), "{told}");
    assert!(
        lines[2].contains("place 300: Redis has '299'") && lines[2].contains("the database 'eve'"),
        "{told}"
    );
    assert_eq!(place.verb(&["verify", "nothing"]).0, Some(1));
    assert_eq!(place.verb(&["verify", "other"]).0, Some(0));
    // One that has moved does not say any more whether it was closed.
    client.check("RESERVE.OPEN new LIMIT 500", "+OK");
    client.check("RESERVE.CLOSE other", "+OK");
    client.check("RESERVE.MOVE other new", ":0");
    place.catch_up();
    assert_eq!(place.verb(&["verify", "other"]), (Some(0), "0 differences\n".to_owned()));
    database.execute("UPDATE ledger_sale SET places = 7 WHERE sku = 'other'", []).unwrap();
    let told = "other: places: Redis has 500, the database 7\nother: hold_ms: Redis has 0, the database 5\n2 differences\n";
    database.execute("UPDATE ledger_sale SET hold_ms = 5 WHERE sku = 'other'", []).unwrap();
    assert_eq!(place.verb(&["verify", "other"]), (Some(1), told.to_owned()));
    database.execute("DELETE FROM ledger_sale WHERE sku = 'other'", []).unwrap();
    let told = "other: the database does not have its terms\n1 differences\n";
    assert_eq!(place.verb(&["verify", "other"]), (Some(1), told.to_owned()));
}

/// However many there are, each is named.
#[test]
fn verify_names_thousands_of_differences() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let place = Place::before(&server);
    let mut client = gateway.client();
    client.check("RESERVE.OPEN mask LIMIT 90000", "+OK");
    (0..5000).for_each(|user| client.send_line(&format!("RESERVE.ADD mask {user}")));
    (0..5000).for_each(|_| assert!(client.reply().starts_with(b"*4")));
    place.catch_up();
    place.change("UPDATE reservation SET count = 7 WHERE seq % 2 = 0");
    let (code, told) = place.verb(&["verify", "mask"]);
    assert_eq!(code, Some(1));
    let named: Vec<&str> = told.lines().filter(|line| line.starts_with("mask: place ")).collect();
    assert_eq!(named.len(), 2500, "{}", named.len());
    assert!(told.ends_with("\n2500 differences\n"));
    // Where the database is behind, that is what there is to say.
    (5000..9000).for_each(|user| client.send_line(&format!("RESERVE.ADD mask {user}")));
    (5000..9000).for_each(|_| assert!(client.reply().starts_with(b"*4")));
    let (code, told) = place.verb(&["verify", "mask"]);
    assert!(
        code == Some(1) && told.contains("and more behind these: the database does not have all entries yet")
    );
}

/// As with `hotgate ledger verify | head`.
#[test]
fn a_reader_that_has_gone_ends_a_verb_without_a_word() {
    let server = Server::start();
    let place = Place::before(&server);
    let (code, said) = place.verb_without_a_reader(&["verify"]);
    assert_eq!(code, Some(hotgate::console::READER_GONE), "{said}");
    assert!(!said.contains("panicked") && !said.contains("pipe"), "{said}");
}

#[test]
fn verify_waits_for_a_ledger_that_is_behind() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let place = Place::before(&server);
    let mut client = filled(&gateway, &place);
    client.check("RESERVE.ADD mask late", "*4...");
    let (code, told) = place.verb(&["verify"]);
    assert!(code == Some(1) && told.contains("place 301: Redis has 'late'"), "{told}");
    let _ledger = place.start();
    wait_until("it has caught up", || place.verb(&["verify"]).0 == Some(0));
}

#[test]
fn a_sale_is_given_back_to_an_empty_redis_and_to_no_other() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let place = Place::before(&server);
    let mut client = filled(&gateway, &place);
    let before = in_redis(&mut client, "mask");
    let (code, told) = place.verb(&["restore", "mask"]);
    assert_eq!(code, Some(1), "{told}");
    assert_eq!(in_redis(&mut client, "mask"), before);
    server.client().check("FLUSHALL", "+OK");
    let (code, told) = place.verb(&["verify"]);
    assert!(code == Some(1) && told.contains("to be given back by `hotgate ledger restore`"), "{told}");
    assert_eq!(
        place.verb(&["restore", "mask"]),
        (Some(0), format!("{} holders were given back\n", before.len()))
    );
    assert_eq!(in_redis(&mut client, "mask"), before);
    assert_eq!(place.verb(&["verify", "mask"]).0, Some(0));
    assert_eq!(place.verb(&["restore", "nothing"]).0, Some(1));
    // It goes on as if nothing had been.
    client.check("RESERVE.CONFIRM mask 2", "*4 $9 confirmed :3 :2 :0");
    client.check("RESERVE.ADD mask new", "*4 $4 held :301 ...");
    client.check("RESERVE.SKUS", "*1 $4 mask");
    // The other one is gone for good.
    assert_eq!(place.once().0, Some(1));
    let (code, told) = place.verb(&["resync", "other"]);
    assert!(code == Some(0) && told.ends_with("1 holdings were lost\n"), "{told}");
    place.catch_up();
    check_equal(&place, &mut client, &mut server.client(), "mask");
}

#[test]
fn a_halted_sale_goes_on_behind_what_redis_has() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let place = Place::before(&server);
    let mut client = filled(&gateway, &place);
    client.check("RESERVE.ADD mask unread", "*4...");
    client.check("RESERVE.CANCEL mask 5", "*4...");
    let stream = String::from_utf8(ledger_key(b"mask").to_vec()).unwrap();
    server.client().check(&format!("XTRIM {stream} MAXLEN 0"), ":...");
    assert_eq!(place.once().0, Some(1));
    let (code, told) = place.verb(&["verify", "mask"]);
    assert!(code == Some(1) && told.contains("mask: halted: "), "{told}");
    let (code, told) = place.verb(&["resync", "mask"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("place 6: '5' had 2 held, and Redis has nothing of it"), "{told}");
    assert!(told.ends_with("1 holdings were lost\n"), "{told}");
    assert_eq!(place.verb(&["verify", "mask"]).0, Some(0));
    client.check("RESERVE.ADD mask later", "*4...");
    place.catch_up();
    check_equal(&place, &mut client, &mut server.client(), "mask");
    assert!(in_sql(&place, "mask").iter().any(|row| row.1 == "unread"));
    let lost = "SELECT user_id FROM reservation WHERE state = 'lost'";
    assert_eq!(place.database().query_row(lost, [], |row| row.get::<_, String>(0)), Ok("5".to_owned()));
}
