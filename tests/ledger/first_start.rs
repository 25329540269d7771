//! A first ledger that is set up wrongly: what is wrong is said in one line, with what to do about it, and never with the address, which may hold a password.

use std::path::Path;

use crate::books::wait_until_read;
use crate::process::Place;
use crate::servers::{Kind, SqlServer};
use crate::support::{Gateway, Server, wait_until};

/// An address that no database can have: the process ends, and says why.
#[test]
fn an_address_that_can_never_work_ends_the_process() {
    let server = Server::start();
    for (url, words) in [
        ("", "no database is configured; set ledger.url"),
        ("sqlite::memory:", "names no file: what is in memory ends with the process"),
        ("reservations.db", "sqlite:FILE, postgres://USER:PASSWORD@HOST/DATABASE or"),
        ("mariadb://shop:secret@127.0.0.1/shop", "names no database that is known here"),
        ("postgres://shop:secret@127.0.0.1:port/shop", "ledger.url is no address of PostgreSQL: "),
        ("postgres://shop:secret@127.0.0.1/shop?nonsense=1", "ledger.url is no address of PostgreSQL: "),
        ("mysql://shop:secret@127.0.0.1:port/shop", "ledger.url is no address of MariaDB: "),
        ("mysql://shop:secret@127.0.0.1/shop?nonsense=1", "ledger.url is no address of MariaDB: "),
    ] {
        let place = Place::before(&server).at(url);
        let mut ledger = place.start();
        let code = ledger.wait().code();
        let log = ledger.log();
        assert!(code == Some(1) && log.contains(words), "{url}: {log}");
        assert!(!log.contains("secret"), "{log}");
    }
}

/// One user has a password, one has to use TLS, one may not make tables.
fn postgres() -> SqlServer {
    let server = SqlServer::start_with(Kind::Postgres, |directory: &Path| {
        let rules = "host all hotgate 127.0.0.1/32 trust\nhost all poor 127.0.0.1/32 trust\n\
            host all locked 127.0.0.1/32 scram-sha-256\nhostssl all tls 127.0.0.1/32 trust\n";
        let file = directory.join("hba.conf");
        std::fs::write(&file, rules).unwrap();
        vec!["-c".to_owned(), format!("hba_file={}", file.display())]
    });
    for statement in [
        "CREATE ROLE poor LOGIN",
        "CREATE ROLE locked LOGIN PASSWORD 'right'",
        "CREATE ROLE tls LOGIN",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    ] {
        server.query(statement);
    }
    server
}

fn maria() -> SqlServer {
    let server = SqlServer::start(Kind::Maria);
    for statement in [
        "CREATE USER poor@'%'; GRANT SELECT ON shop.* TO poor@'%'",
        "CREATE USER stranger@'%'",
        "CREATE USER locked@'%' IDENTIFIED BY 'right'; GRANT ALL ON shop.* TO locked@'%'",
        "CREATE USER tls@'%' REQUIRE SSL; GRANT ALL ON shop.* TO tls@'%'",
    ] {
        server.query(statement);
    }
    server
}

/// What is said with each address; the last one works, without a further start.
fn check(database: SqlServer, wrong: &[(String, &str)]) {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    gateway.client().check("RESERVE.OPEN mask LIMIT 5", "+OK");
    let mut place = Place::before(&server).on(database);
    let right = place.url();
    for (url, words) in wrong {
        place = place.at(url);
        let ledger = place.start();
        wait_until(&format!("with {url} it says '{words}'"), || ledger.log().contains(words));
        let log = ledger.log();
        assert!(log.lines().filter(|line| line.contains(words)).count() == 1, "{log}");
        assert!(!log.contains("://") && !log.contains("secret"), "an address may hold a password: {log}");
    }
    place = place.at(&right);
    let _ledger = place.start();
    wait_until_read(&place, &mut server.client(), "mask");
}

#[test]
fn postgres_is_set_up_wrongly() {
    let database = postgres();
    let rights = "docs/ledger.md lists the rights that the user needs (42501)";
    let port = crate::support::free_port();
    let refused = format!("PostgreSQL at 127.0.0.1:{port}: error connecting to server: Connection refused");
    let wrong = [
        (database.url_of("locked:secret"), "; see the user and the password in ledger.url (28P01)"),
        (
            database.url().replace("/postgres", "/nowhere"),
            "does not exist; create it, or name another in ledger.url (3D000)",
        ),
        (database.url_of("poor"), rights),
        (
            database.url_of("tls"),
            "no encryption; add ?sslmode=require or sslmode=verify-full to ledger.url (28000)",
        ),
        (format!("postgres://hotgate@127.0.0.1:{port}/postgres"), refused.as_str()),
        (format!("{}?sslmode=require", database.url()), "server does not support TLS"),
    ];
    check(database, &wrong);
}

#[test]
fn mariadb_is_set_up_wrongly() {
    let database = maria();
    let user = "; see the user and the password in ledger.url, and whether the user needs ?sslmode=require there (1045)";
    let rights = "docs/ledger.md lists the rights that the user needs (1142)";
    let port = crate::support::free_port();
    let refused = format!("MariaDB at 127.0.0.1:{port}: Connection refused");
    let wrong = [
        (database.url_of("locked:secret"), user),
        (database.url_of("tls"), user),
        (database.url().replace("/shop", "/nowhere"), "; create it, or name another in ledger.url (1049)"),
        (database.url().replace("/shop", "/"), "ledger.url names no database"),
        (database.url_of("stranger"), "docs/ledger.md lists the rights that the user needs (1044)"),
        (database.url_of("poor"), rights),
        (format!("mysql://root@127.0.0.1:{port}/shop"), refused.as_str()),
    ];
    check(database, &wrong);
}

/// A directory that is not there, and one that may not be written.
#[test]
fn a_file_that_can_not_be_made() {
    let server = Server::start();
    for (url, words) in [
        ("sqlite:/nowhere/reservations.db", "/nowhere/reservations.db: unable to open database file"),
        ("sqlite:/proc/reservations.db", "/proc/reservations.db: unable to open database file"),
    ] {
        let place = Place::before(&server).at(url);
        let ledger = place.start();
        wait_until("it says so", || ledger.log().contains(words));
    }
}

/// A table of that name that is another program's, and a version that a hand has set back.
#[test]
fn a_table_of_another_program_is_told_in_one_line() {
    let server = Server::start();
    let foreign = "; a table of this name is there that this program did not make";
    for statement in ["CREATE TABLE reservation (room TEXT)", "UPDATE ledger_schema SET version = 0"] {
        for place in [Place::before(&server), Place::before(&server).on(SqlServer::start(Kind::Postgres))] {
            if statement.starts_with("UPDATE") {
                place.catch_up();
            }
            place.change(statement);
            let (code, log) = place.once();
            let last = log.lines().last().unwrap_or_default();
            assert!(code == Some(1) && last.contains(foreign) && !log.contains("CREATE TABLE"), "{log}");
        }
    }
}
