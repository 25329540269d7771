//! `--once` and its exit code: 0 says that the database has all that there is. Where it does not take it, or can't be used, the process ends and says why.

use crate::books::{check_equal, position};
use crate::process::Place;
use crate::servers::{Kind, SqlServer};
use crate::support::{Client, Gateway, Server};

const UNTAKEN: &str = "hotgate: the database does not have all that there is: ";

fn sell(client: &mut Client, part: &str) {
    for user in 0..20 {
        client.check(&format!("RESERVE.ADD mask {part}{user}"), "*4...");
    }
}

/// Ends with 1, and the last line has the cause.
fn check_gives_up(place: &Place, cause: &str) {
    let (code, log) = place.once();
    let last = log.lines().last().unwrap_or_default();
    assert!(code == Some(1) && last.starts_with(UNTAKEN) && last.contains(cause), "{cause}: {code:?} {log}");
}

#[test]
fn rows_that_the_database_refuses_are_no_success() {
    for kind in Kind::ALL {
        let server = Server::start();
        let gateway = Gateway::before_server(&server);
        let (mut client, mut direct) = (gateway.client(), server.client());
        client.check("RESERVE.OPEN mask LIMIT 100000", "+OK");
        sell(&mut client, "before");
        let mut place = Place::before(&server).on(SqlServer::start(kind));
        place.catch_up();
        let (right, read) = (place.url(), position(&place, "mask"));
        for statement in match kind {
            Kind::Postgres => {
                ["CREATE ROLE reader LOGIN", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader"]
            }
            Kind::Maria => ["CREATE USER reader@'%'", "GRANT SELECT ON shop.* TO reader@'%'"],
        } {
            place.query(statement);
        }
        sell(&mut client, "refused");
        let url = place.url_of("reader");
        place = place.at(&url);
        check_gives_up(&place, "docs/ledger.md lists the rights that the user needs");
        place = place.at(&right);
        assert_eq!(position(&place, "mask"), read);
        if kind == Kind::Postgres {
            place.query("ALTER ROLE hotgate SET default_transaction_read_only = on");
            check_gives_up(&place, "it takes no writes");
            place.server().kill();
            check_gives_up(&place, &format!("PostgreSQL at {}: ", place.sql_address()));
            place.server().restart();
            place.query("BEGIN READ WRITE; ALTER ROLE hotgate RESET default_transaction_read_only; COMMIT");
        }
        place.catch_up();
        check_equal(&place, &mut client, &mut direct, "mask");
    }
}

#[test]
fn a_database_that_can_not_be_used_is_given_up() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    gateway.client().check("RESERVE.OPEN mask LIMIT 10", "+OK");
    let nowhere = Place::before(&server).at("sqlite:/nowhere/reservations.db");
    check_gives_up(&nowhere, "/nowhere/reservations.db: unable to open database file");
    let place = Place::before(&server);
    let _works = place.start();
    crate::books::wait_until_read(&place, &mut server.client(), "mask");
    check_gives_up(&place, "another ledger process works on this database");
}
