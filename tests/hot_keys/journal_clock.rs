//! A clock that was set while the gateway was down decides nothing about a flush in doubt: Redis is asked.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::{Gateway, Server, wait_until};
use bytes::Bytes;
use hotgate::journal::{Journal, JournalClient, JournalCluster, JournalKey, JournalOptions, Record};
use hotgate::route::ClusterId;
use tempfile::TempDir;

const HOUR_MS: u64 = 3_600_000;

fn options(directory: &Path, gateway_id: &str, server: &Server) -> JournalOptions {
    JournalOptions {
        directory: directory.to_owned(),
        gateway_id: gateway_id.to_owned(),
        clusters: vec![JournalCluster { name: "default".to_owned(), servers: server.address().to_string() }],
        adopt: false,
        bytes_max: 1 << 20,
        clients: 1,
    }
}

fn write(client: &mut JournalClient, record: Record) {
    let ticket = client.append(record).expect("it is taken");
    let deadline = Instant::now() + Duration::from_secs(60);
    while client.progress().durable_through < ticket {
        assert!(Instant::now() < deadline, "it is not written");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// A journal with one flush in doubt, that was begun at this moment.
fn journal_with(options: JournalOptions, token: u64, sum: i64, first_sent_unix_ms: u64) {
    let mut opened = Journal::open(options).expect("a new directory");
    let key = JournalKey { cluster: ClusterId::DEFAULT, name: Bytes::from_static(b"wb:1") };
    let client = &mut opened.clients[0];
    write(client, Record::Deltas { key: key.clone(), sum, count: 1, sequence: 1 });
    write(client, Record::FlushStarted { key, token, sum, through: 1, first_sent_unix_ms });
}

fn start(server: &Server, directory: &Path) -> Gateway {
    let config = format!(
        "[write_behind]\nflush_interval = \"1ms\"\njournal = true\njournal_path = \"{}\"\n\
         [[rule]]\nmatch = \"wb:*\"\nmode = \"write-behind\"\n",
        directory.display()
    );
    Gateway::before(&server).config(&config).start()
}

#[test]
fn redis_is_asked_about_a_flush_that_looks_too_old() {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
    // A clock that is ahead makes it look old, one that was behind begins it in the future.
    for first_sent_unix_ms in [now_ms - 13 * HOUR_MS, now_ms + 13 * HOUR_MS] {
        let (server, directory) = (Server::start(), TempDir::new().expect("a directory"));
        let mut direct = server.client();
        let place = |name: &str| directory.path().join(name);
        let mut first = start(&server, &place("first"));
        first.client().check("INCRBY wb:1 5", ":5");
        wait_until("it is flushed", || direct.ask("GET wb:1") == "$1 5");
        first.terminate();
        first.wait();
        let keys = direct.list("KEYS *hotgate*");
        assert_eq!(keys.len(), 1, "{keys:?}");
        let remembered = direct.bulk(&format!("GET {}", keys[0]));
        let digits = remembered.split(|byte| *byte == b' ').next().expect("a token");
        let token: u64 = String::from_utf8_lossy(digits).parse().expect("a number");
        let id =
            Journal::open(options(&place("first"), "", &server)).expect("it is there").recovery.gateway_id;

        // Redis has had it.
        journal_with(options(&place("had"), &id, &server), token, 5, first_sent_unix_ms);
        let gateway = start(&server, &place("had"));
        gateway.client().check("INCRBY wb:1 1", ":6");
        wait_until("it goes on", || direct.ask("GET wb:1") == "$1 6");
        assert!(!gateway.log().contains("not known"), "{}", gateway.log());
        drop(gateway);

        // It has not.
        journal_with(options(&place("not"), &id, &server), token + (1 << 32), 3, first_sent_unix_ms);
        let gateway = start(&server, &place("not"));
        wait_until("it is sent", || direct.ask("GET wb:1") == "$1 9");
        assert!(!gateway.log().contains("not known"), "{}", gateway.log());
        drop(gateway);

        // It remembers nothing.
        direct.ask(&format!("DEL {}", keys[0]));
        journal_with(options(&place("forgotten"), &id, &server), token + (2 << 32), 7, first_sent_unix_ms);
        let gateway = start(&server, &place("forgotten"));
        wait_until("the log says so", || gateway.log().contains("by this machine's clock"));
        direct.check("GET wb:1", "$1 9");
    }
}
