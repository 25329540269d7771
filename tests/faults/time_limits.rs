//! A time limit is held against a peer only for what it has not sent: after a stop of the whole process (a suspended machine,
//! a starved container) clients that had sent something are served, and replies that lie in the socket are not missing.

use std::time::{Duration, Instant};

use crate::support::redis::signal;
use crate::support::relay::Relay;
use crate::support::text::request;
use crate::support::{BOTH_VERSIONS, Client, Gateway, Server, wait_until};

/// All limits are far below it.
const STOP: Duration = Duration::from_millis(3500);

/// Stops the gateway, does something, lets the time pass, and lets it go on.
fn through_a_stop(gateway: &Gateway, meanwhile: impl FnOnce()) {
    signal(gateway.pid(), "STOP");
    let begun = Instant::now();
    meanwhile();
    wait_until("time has passed", || begun.elapsed() > STOP);
    signal(gateway.pid(), "CONT");
}

#[test]
fn after_a_stop_of_the_process_what_has_arrived_counts() {
    let server = Server::start();
    let relay = Relay::before(server.address());
    let config = "[upstream]\nrequest_timeout = '1s'\n[limits]\nidle_timeout = '2s'\n";
    let gateway = Gateway::before(&relay).flag("--workers", "1").config(config).start();
    for round in 1..=2 {
        let mut asking: Vec<Client> = BOTH_VERSIONS.map(|version| gateway.speaking(version)).into();
        asking.push(gateway.client());
        asking[2].check("MULTI", "+OK");
        let mut writing = gateway.client();
        writing.check("SET stop:warm v", "+OK");
        relay.hold_replies(true);
        let before = relay.times_sent(&request("INCR stop:n"));
        writing.send_line("INCR stop:n");
        wait_until("INCR is at the server", || relay.times_sent(&request("INCR stop:n")) == before + 1);
        // However long it took to get here, nobody is idle yet.
        for (client, reply) in asking.iter_mut().zip(["+PONG", "+PONG", "+QUEUED"]) {
            client.check("PING", reply);
        }
        through_a_stop(&gateway, || {
            // The reply comes while nobody reads it, and so do the clients' requests.
            relay.hold_replies(false);
            for client in &mut asking {
                client.send_line("SET stop:k v");
            }
        });
        writing.expect("INCR", &format!(":{round}"));
        for (client, reply) in asking.iter_mut().zip(["+OK", "+OK", "+QUEUED"]) {
            client.expect("SET", reply);
        }
        asking[2].check("EXEC", "*2 +PONG +OK");
    }
    assert!(!gateway.log().contains("lost a connection"), "{}", gateway.log());
}

/// A stop is no reason to keep who is silent.
#[test]
fn after_a_stop_who_has_sent_nothing_is_idle() {
    let server = Server::start();
    let config = "[limits]\nidle_timeout = '2s'\n";
    let gateway = Gateway::before(&server).config(config).start();
    let mut silent = gateway.client();
    silent.check("PING", "+PONG");
    through_a_stop(&gateway, || {});
    assert!(silent.rest().is_empty());
}
