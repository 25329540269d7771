//! Tables of an earlier version become those of now, with all that is in them; those of a later one are left alone.

use crate::books::check_equal;
use crate::process::Place;
use crate::servers::{Kind, SqlServer};
use crate::support::{Gateway, Server};

fn check(kind: Option<Kind>) {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let (mut client, mut direct) = (gateway.client(), server.client());
    let place = Place::before(&server);
    let place = match kind {
        Some(kind) => place.on(SqlServer::start(kind)),
        None => place,
    };
    client.check("RESERVE.OPEN mask LIMIT 50", "+OK");
    for user in 0..9 {
        client.check(&format!("RESERVE.ADD mask {user}"), "*4...");
    }
    place.catch_up();
    // As a program of version 1 left it.
    for statement in ["DROP VIEW reservation_now", "UPDATE ledger_schema SET version = 1"] {
        place.change(statement);
    }
    client.check("RESERVE.ADD mask new", "*4...");
    place.catch_up();
    check_equal(&place, &mut client, &mut direct, "mask");
    assert_eq!(place.query("SELECT version FROM ledger_schema"), [["2"]]);
    place.change("UPDATE ledger_schema SET version = 99");
    client.check("RESERVE.ADD mask later", "*4...");
    let (code, log) = place.once();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("the tables are of version 99, and this program knows 2"), "{log}");
    assert_eq!(place.query("SELECT count(*) FROM reservation"), [["10"]]);
    assert_eq!(place.query("SELECT version FROM ledger_schema"), [["99"]]);
}

#[test]
fn in_sqlite() {
    check(None);
}

#[test]
fn in_postgres() {
    check(Some(Kind::Postgres));
}

#[test]
fn in_mariadb() {
    check(Some(Kind::Maria));
}
