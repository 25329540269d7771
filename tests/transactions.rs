//! What stands between `MULTI` and `EXEC` is queued, done or refused as Redis does it, and the reply of `EXEC` is Redis's own:
//! each script below runs against a plain Redis and through the gateway, and every reply is compared.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is not as it must be"
)]

mod support;

use std::sync::Mutex;

use support::text::one_line;
use support::{BOTH_VERSIONS, Client, Server, Version, shared};

/// Held while scripts run, since each begins with an empty database.
static ALONE: Mutex<()> = Mutex::new(());

/// Who sends a line of a script: `a:` or `b:` before it, of which `a` is meant where nothing is said.
fn sender(line: &str) -> (usize, &str) {
    match line.split_once(": ") {
        Some(("a", line)) => (0, line),
        Some(("b", line)) => (1, line),
        _ => (0, line),
    }
}

/// The replies to the lines of a script.
fn replies(address: std::net::SocketAddr, version: Version, script: &[&str]) -> Vec<String> {
    let mut clients = [Client::speaking(address, version), Client::speaking(address, version)];
    clients[0].check("FLUSHALL", "+OK");
    let reply_of = |line: &&str| {
        let (who, line) = sender(line);
        one_line(&clients[who].call_line(line))
    };
    script.iter().map(reply_of).collect()
}

/// Runs the scripts against a plain Redis and through gateways before one server and before a cluster. All keys share a tag,
/// so that a cluster takes them.
fn check(scripts: &[&[&str]]) {
    let _alone = ALONE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let plain = Server::start();
    for gateway in [&shared::single().1, &shared::cluster().1] {
        for version in BOTH_VERSIONS {
            for script in scripts {
                let expected = replies(plain.address(), version, script);
                let got = replies(gateway.address, version, script);
                assert_eq!(got, expected, "{version:?}: {script:?}");
            }
        }
    }
}

#[test]
fn an_empty_transaction_fails_when_a_watched_key_changed() {
    check(&[
        &["WATCH {w}k", "b: SET {w}k 1", "MULTI", "EXEC", "MULTI", "EXEC"],
        &["WATCH {w}k", "MULTI", "b: SET {w}k 2", "EXEC", "EXEC"],
        &["WATCH {w}k", "MULTI", "EXEC", "b: SET {w}k 2", "MULTI", "EXEC"],
        &["WATCH {w}k", "SET {w}k own", "MULTI", "EXEC"],
        &["WATCH {w}k", "b: SET {w}k 1", "UNWATCH", "MULTI", "EXEC"],
        &["WATCH {w}k", "b: SET {w}k 1", "MULTI", "DISCARD", "MULTI", "EXEC"],
        &["WATCH {w}k", "b: SET {w}k 1", "MULTI", "UNWATCH", "EXEC", "MULTI", "EXEC"],
        &["WATCH {w}k", "WATCH {w}l", "b: DEL {w}l", "b: SET {w}k 1", "MULTI", "EXEC"],
        &["WATCH {w}k {w}l", "b: GET {w}k", "MULTI", "EXEC"],
        &["WATCH {w}k", "b: SET {w}k 1", "MULTI", "NOSUCH", "EXEC", "MULTI", "EXEC"],
        &["WATCH {w}k", "b: SET {w}k 1", "EXEC", "DISCARD", "MULTI", "EXEC"],
        &["WATCH {w}k", "b: SET {w}k 1", "MULTI", "MULTI", "WATCH {w}l", "EXEC"],
        &["WATCH {w}k", "b: SET {w}k 1", "MULTI", "GET {w}k", "EXEC", "GET {w}k"],
        &["WATCH {w}k", "b: DEL {w}k", "b: SET {w}k 1", "MULTI", "PING", "EXEC"],
    ]);
}
