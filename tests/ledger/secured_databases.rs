//! TLS to database servers: it is spoken where the address asks for it, and a server that is another one gets no password.

use std::os::unix::fs::PermissionsExt;

use crate::process::Place;
use crate::servers::{Kind, SqlServer};
use crate::support::certificates::{Authority, Pair};
use crate::support::{Gateway, Server, wait_until};

/// A server that shows this certificate.
fn server(kind: Kind, pair: &Pair) -> SqlServer {
    SqlServer::start_with(kind, |directory| {
        let (cert, key) = (directory.join("cert.pem"), directory.join("key.pem"));
        std::fs::copy(&pair.cert, &cert).unwrap();
        std::fs::copy(&pair.key, &key).unwrap();
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        let (cert, key) = (cert.display(), key.display());
        match kind {
            Kind::Postgres => {
                ["ssl=on".to_owned(), format!("ssl_cert_file={cert}"), format!("ssl_key_file={key}")]
                    .into_iter()
                    .flat_map(|option| ["-c".to_owned(), option])
                    .collect()
            }
            Kind::Maria => vec![format!("--ssl-cert={cert}"), format!("--ssl-key={key}")],
        }
    })
}

fn check(kind: Kind) {
    let redis = Server::start();
    let gateway = Gateway::before_server(&redis);
    let (ours, other) = (Authority::new(), Authority::new());
    let database = server(kind, &ours.issue("database"));
    if kind == Kind::Maria {
        // Without TLS it is let in nowhere.
        database.query("CREATE USER hotgate@'%' REQUIRE SSL; GRANT ALL ON shop.* TO hotgate@'%'");
    }
    let url = database.url_of("hotgate");
    let mut place = Place::before(&redis).on(database);
    let ca = |authority: &Authority| format!("sslmode=verify-full&sslrootcert={}", authority.ca().display());
    for query in [ca(&ours), "sslmode=require".to_owned()] {
        let sku = format!("sale{}", query.len());
        let mut client = gateway.client();
        client.check(&format!("RESERVE.OPEN {sku} LIMIT 9"), "+OK");
        client.check(&format!("RESERVE.ADD {sku} ann"), "*4...");
        place = place.at(&format!("{url}?{query}"));
        let mut ledger = place.start();
        wait_until("the row is there", || {
            place.query(&format!("SELECT user_id FROM reservation WHERE sku = '{sku}'")) == [["ann"]]
        });
        if kind == Kind::Postgres {
            let encrypted = "SELECT count(*) > 0 FROM pg_stat_ssl WHERE ssl AND version LIKE 'TLS%' AND pid <> pg_backend_pid()";
            assert_eq!(place.query(encrypted), [["t"]]);
        }
        assert!(ledger.terminate().success(), "{}", ledger.log());
    }
    place = place.at(&format!("{url}?{}", ca(&other)));
    let ledger = place.start();
    wait_until("it is not trusted", || {
        let log = ledger.log();
        log.contains("the database does not take rows") && log.contains("certificate")
    });
    drop(ledger);
    drop(place);
    // Signed by the right authority, for another host.
    let place = Place::before(&redis).on(server(kind, &ours.issue_for("elsewhere", "DNS:elsewhere", 365)));
    let url = format!("{}?{}", place.url(), ca(&ours));
    let place = place.at(&url);
    let ledger = place.start();
    wait_until("it is not the host that was meant", || {
        let log = ledger.log();
        log.contains("the database does not take rows") && log.contains("certificate")
    });
}

#[test]
fn postgres_is_spoken_to_in_tls() {
    check(Kind::Postgres);
}

#[test]
fn mariadb_is_spoken_to_in_tls() {
    check(Kind::Maria);
}

#[test]
fn an_address_that_asks_for_what_is_not_known_is_refused_and_not_shown() {
    let redis = Server::start();
    let place = Place::before(&redis).at("postgres://hotgate:secret@127.0.0.1/shop?sslmode=prefer");
    let (code, log) = place.once();
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("disable, require or verify-full") && !log.contains("secret"), "{log}");
}
