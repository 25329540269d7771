//! What operators see of the ledger: how far it is behind, what keeps it from going on, and that it is not there. Every gateway says the same.

use serde_json::Value;

use crate::process::Place;
use crate::servers::{Kind, SqlServer};
use crate::support::{Gateway, Server, wait_for, wait_until};
use hotgate::reserve::ledger_key;

fn gateway(server: &Server, further: &str) -> Gateway {
    let config = format!(
        "[admin]\nlisten = '127.0.0.1:0'\n[ledger]\nurl = 'sqlite:not-opened-by-gateways.db'\n{further}"
    );
    Gateway::before(server).config(&config).start()
}

/// What is answered, by a side that bounds how often it may be asked.
fn body_of(gateway: &Gateway, path: &str) -> String {
    wait_for("the admin side answers", || {
        let (code, body) = gateway.get(path);
        (code == 200).then_some(body)
    })
}

fn ledger_of(gateway: &Gateway) -> Value {
    serde_json::from_str::<Value>(&body_of(gateway, "/api/ledger")).unwrap()["ledger"].clone()
}

/// The sentences at the top of the page.
fn headlines(gateway: &Gateway) -> String {
    let stats: Value = serde_json::from_str(&body_of(gateway, "/api/stats")).unwrap();
    let others = stats["status"]["others"].as_array().into_iter().flatten();
    let sentences = others.map(|other| &other["sentence"]).chain([&stats["status"]["sentence"]]);
    sentences.filter_map(Value::as_str).collect::<Vec<_>>().join("\n")
}

fn metric(gateway: &Gateway, name: &str) -> Option<f64> {
    let text = body_of(gateway, "/metrics");
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn a_database_that_is_away_is_seen_at_every_gateway_and_stops_sales_where_it_is_required() {
    let server = Server::start();
    let bound = "lag_max = 20\nrequired = true\n";
    let mut place = Place::before(&server).on(SqlServer::start(Kind::Postgres)).config(bound);
    let gateways = [gateway(&server, bound), gateway(&server, bound)];
    let mut client = gateways[0].client();
    client.check("RESERVE.OPEN mask LIMIT 100000", "+OK");
    for user in 0..15 {
        client.check(&format!("RESERVE.ADD mask {user}"), "*4...");
    }
    let ledger = place.start();
    for gateway in &gateways {
        wait_until("it is heard of", || {
            let seen = ledger_of(gateway);
            seen["state"] == "following" && seen["entries"] == 16 && seen["lag_entries"] == 0
        });
    }
    place.server().kill();
    for user in 0..20 {
        client.check(&format!("RESERVE.ADD mask late.{user}"), "*4...");
    }
    let refusal = "-LEDGERFULL 20 entries of the ledger were not read...";
    gateways[1].client().check("RESERVE.ADD mask eve", refusal);
    // Who has a place keeps it, and may give it back.
    gateways[1].client().check("RESERVE.CHECK mask 3", "*4 $9 confirmed...");
    client.check("RESERVE.CANCEL mask late.1", "*4 $9 cancelled...");
    for gateway in &gateways {
        wait_until("the lag is seen", || {
            let seen = ledger_of(gateway);
            seen["state"] == "waiting" && seen["lag_entries"] == 21 && seen["late"] == 1
        });
        let seen = ledger_of(gateway);
        assert!(seen["fault"].as_str().unwrap().starts_with("PostgreSQL at 127.0.0.1:"), "{seen}");
        assert!(seen["latest"] == "mask" && seen["errors"][0][0] == "database", "{seen}");
        wait_until("it is said", || {
            let said = headlines(gateway);
            said.contains("The ledger can't write into its database: PostgreSQL")
                && said.contains("behind, most of all mask: beyond ledger.lag_max no places are given.")
        });
        assert_eq!(metric(gateway, "hotgate_ledger_database_up"), Some(0.0));
        assert_eq!(metric(gateway, "hotgate_ledger_lag_entries"), Some(21.0));
        assert!(metric(gateway, "hotgate_ledger_lag_seconds").unwrap() > 0.0);
    }
    wait_until("it is in its log", || {
        ledger.log().contains("1 sales are more than ledger.lag_max entries behind, most of all mask")
    });
    place.server().restart();
    for gateway in &gateways {
        wait_until("it has caught up", || {
            let seen = ledger_of(gateway);
            seen["state"] == "following" && seen["lag_entries"] == 0 && seen["entries"] == 37
        });
        assert_eq!(metric(gateway, "hotgate_ledger_up"), Some(1.0));
        assert_eq!(metric(gateway, "hotgate_ledger_database_up"), Some(1.0));
    }
    wait_until("places are given again", || client.ask("RESERVE.ADD mask eve").starts_with('*'));
    wait_until("it is in its log", || {
        ledger.log().contains("no sale is more than ledger.lag_max entries behind")
    });
}

/// Again and again something is sold while the database is away, also by a ledger that has never seen it.
#[test]
fn the_lag_grows_while_the_database_is_away() {
    let server = Server::start();
    let mut place = Place::before(&server).on(SqlServer::start(Kind::Postgres)).config("lag_max = 100\n");
    let gateway = gateway(&server, "");
    let mut client = gateway.client();
    client.check("RESERVE.OPEN mask LIMIT 100000", "+OK");
    let mut ledger = place.start();
    wait_until("it is heard of", || ledger_of(&gateway)["entries"] == 1);
    place.server().kill();
    wait_until("the database is away", || ledger_of(&gateway)["state"] == "waiting");
    for wave in 1..=4 {
        for user in 0..30 {
            client.check(&format!("RESERVE.ADD mask {wave}.{user}"), "*4...");
        }
        wait_until("the lag is seen", || ledger_of(&gateway)["lag_entries"] == wave * 30);
    }
    wait_until("it is in its log", || {
        ledger.log().contains("1 sales are more than ledger.lag_max entries behind")
    });
    ledger.kill();
    client.check("RESERVE.OPEN other LIMIT 10", "+OK");
    let _another = place.start();
    wait_until("another one knows it too", || {
        let seen = ledger_of(&gateway);
        seen["sales"] == 2 && seen["lag_entries"] == 121 && seen["late"] == 1
    });
    place.server().restart();
    wait_until("it catches up", || ledger_of(&gateway)["lag_entries"] == 0);
}

#[test]
fn a_gap_and_a_ledger_that_ended_are_seen() {
    let server = Server::start();
    let gateway = gateway(&server, "");
    let mut client = gateway.client();
    let place = Place::before(&server);
    assert_eq!(ledger_of(&gateway)["state"], "unknown");
    client.check("RESERVE.OPEN mask LIMIT 50", "+OK");
    client.check("RESERVE.ADD mask ann", "*4...");
    let stream = String::from_utf8(ledger_key(b"mask").to_vec()).unwrap();
    server.client().check(&format!("XDEL {stream} 1-0"), ":1");
    let mut ledger = place.start();
    wait_until("it is seen", || ledger_of(&gateway)["halted_named"][0]["key"] == "mask");
    let sentence = "A gap in the ledger halts mask: entry 1 is missing in Redis.";
    wait_until("it is said", || headlines(&gateway).contains(sentence));
    wait_until("so do the metrics", || metric(&gateway, "hotgate_ledger_halted_sales") == Some(1.0));
    assert_eq!(metric(&gateway, "hotgate_ledger_errors_total{cause=\"gap\"}"), Some(1.0));
    ledger.kill();
    wait_until("its end is seen", || ledger_of(&gateway)["state"] == "silent");
    wait_until("it is said", || headlines(&gateway).contains("The ledger has not been heard of for"));
    assert_eq!(metric(&gateway, "hotgate_ledger_up"), Some(0.0));
}

#[test]
fn without_a_ledger_nobody_asks_for_one() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config("[admin]\nlisten = '127.0.0.1:0'\n").start();
    assert_eq!(ledger_of(&gateway), Value::Null);
    assert!(!body_of(&gateway, "/metrics").contains("\nhotgate_ledger_up "));
}
