//! What is at rest holds no memory of its largest burst: neither a counter nor a client.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test ends where something is not as it should be"
)]

mod support;

use support::{Client, Gateway, Server};

/// What each of many may take beside what all of them share. The burst of one took 336 KiB, and more.
const EACH_BYTES_MAX: u64 = 32 * 1024;

/// Lets many have their burst, one after the other, and checks that the memory does not grow with them: what one gives back
/// serves the next.
fn check(gateway: &Gateway, count: u64, mut burst: impl FnMut(u64)) {
    let warm = count / 5;
    (0..warm).for_each(&mut burst);
    let before = gateway.resident_bytes();
    (warm..count).for_each(burst);
    let each = gateway.resident_bytes().saturating_sub(before) / (count - warm);
    assert!(each < EACH_BYTES_MAX, "each of {count} keeps {each} bytes");
}

#[test]
fn a_counter_at_rest_keeps_nothing_of_its_burst() {
    let server = Server::start();
    let gateway = Gateway::before(&server.address().to_string())
        .config("[gateway]\nworkers = 1\n[[quota]]\nmatch = 'c:*'\nlimit = 1000000000\n")
        .start();
    let mut clients: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.widen_window(250));
    check(&gateway, 150, |counter| {
        // Nothing goes before Redis has answered the first, so the others come together.
        let burst: String = (0..250).map(|turn| format!("INCRBY c:{counter} {}\r\n", 1 + turn % 2)).collect();
        server.pause();
        clients.iter_mut().for_each(|client| client.send(burst.as_bytes()));
        server.resume();
        for client in &mut clients {
            (0..250).for_each(|_| assert_eq!(client.reply()[0], b':'));
        }
    });
    assert_eq!(server.client().integer("INCRBY c:149 0"), 1500);
}

#[test]
fn a_client_at_rest_keeps_nothing_of_its_pipeline() {
    let server = Server::start();
    let gateway = Gateway::before(&server.address().to_string()).config("[gateway]\nworkers = 1\n").start();
    let mut connected = Vec::new();
    check(&gateway, 60, |_| {
        let mut client = gateway.client();
        client.widen_window(4000);
        server.pause();
        client.send("GET nothing\r\n".repeat(4000).as_bytes());
        server.resume();
        (0..4000).for_each(|_| assert_eq!(client.reply(), b"$-1\r\n"));
        connected.push(client);
    });
}
