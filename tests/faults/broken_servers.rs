//! A server that answers out of turn, refuses half a request or never ends its line costs nobody but those whom it answers:
//! the gateway goes on with a new connection, nothing that was not written counts as of unknown outcome, no reply reaches
//! a request that it is not for, and memory stays bounded.

use crate::support::relay::Relay;
use crate::support::text::{encode, one_line, request};
use crate::support::{Client, Cluster, Gateway, Server, wait_until};

/// Redis accepts no longer values, and closes a connection on which one is announced.
const SHORT_VALUES: [&str; 2] = ["--proto-max-bulk-len", "1mb"];

/// So long that no socket buffer takes it whole, so that it is refused before it was written.
const TOO_LONG: usize = 30_000_000;

/// Too long as well, but it may have been written whole before it is refused.
const A_LITTLE_TOO_LONG: usize = 1_100_000;

/// With one worker, so that every client uses the connections in question.
fn before(upstream: &str) -> Gateway {
    Gateway::before(upstream)
        .flag("--workers", "1")
        .config("[upstream]\nrequest_timeout = '60s'\nbackoff_min = '10ms'\nbackoff_max = '20ms'\n")
        .start()
}

/// Redis says that it does not take a value while the gateway still writes it.
#[test]
fn a_request_that_is_refused_before_it_was_written_is_answered_and_the_next_ones_go_on() {
    let server = Server::with(&SHORT_VALUES);
    let cluster = Cluster::with(&SHORT_VALUES);
    for (place, upstream) in [("server", server.address().to_string()), ("cluster", cluster.seeds())] {
        let gateway = before(&upstream);
        let mut bystander = gateway.client();
        let refused = |client: &mut Client, arguments: &[&[u8]]| {
            let reply = one_line(&client.call(arguments));
            assert!(
                reply.starts_with("-ERR Protocol error: invalid bulk length"),
                "{place}: {} -> {reply}",
                String::from_utf8_lossy(arguments[0])
            );
        };
        for (round, bytes) in [A_LITTLE_TOO_LONG, 5_000_000, TOO_LONG].into_iter().enumerate() {
            let long = vec![b'v'; bytes];
            let mut client = gateway.client();
            refused(&mut client, &[b"SET", b"long:a", &long]);
            refused(&mut client, &[b"MSET", b"long:a", b"1", b"long:b", &long, b"long:c", b"2"]);
            refused(&mut client, &[b"BLPOP", &long, b"0"]);
            refused(&mut client, &[b"EVAL", b"return 1", b"1", b"{long}", &long]);
            // In a transaction, replies to its first commands come before it was written whole.
            client.check("MULTI", "+OK");
            client.check("SET {long}:a 1", "+QUEUED");
            assert_eq!(one_line(&client.call(&[b"SET".as_slice(), b"{long}:b", &long])), "+QUEUED");
            refused(&mut client, &[b"EXEC"]);
            client.check("EXISTS {long}:a", ":0");
            for key in 0..20 {
                bystander.check(&format!("SET bystander:{key} {round}"), "+OK");
                client.check(&format!("GET bystander:{key}"), &format!("$1 {round}"));
            }
            client.check("BLPOP bystander:none 0.01", "*-1");
        }
        let mut admin = Client::connect(gateway.admin.unwrap());
        admin.send(b"GET /readyz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
        assert!(admin.rest().starts_with(b"HTTP/1.1 200"), "{place}: not ready");
    }
}

/// What stands behind a refused request on the same connection was not written: it goes again and is told so.
#[test]
fn what_waits_behind_a_refused_request_is_not_of_unknown_outcome() {
    let server = Server::with(&SHORT_VALUES);
    let gateway = before(&server.address().to_string());
    let long = encode(&[b"SET".as_slice(), b"long", &vec![b'v'; TOO_LONG]]);
    for _ in 0..5 {
        let mut client = gateway.client();
        client.check("SET behind:n 0", "+OK");
        let mut pipeline = long.clone();
        pipeline.extend((0..100).flat_map(|_| request("INCR behind:n")));
        client.send(&pipeline);
        client.expect("SET", "-ERR Protocol error: invalid bulk length");
        (1..=100).for_each(|n| client.expect("INCR", &format!(":{n}")));
    }
    assert!(gateway.log().contains("refused a request before it had it whole"), "{}", gateway.log());
}

/// Whatever comes without having been asked for ends the connection that it came on, and nobody takes it for an answer.
#[test]
fn a_reply_too_many_reaches_nobody() {
    let server = Server::start();
    let relay = Relay::before(server.address());
    // Half a reply swallows the next ones, until they are missed.
    let config = "[upstream]\nrequest_timeout = '200ms'\nbackoff_min = '10ms'\nbackoff_max = '20ms'\n";
    let gateway = Gateway::before(&relay).flag("--workers", "1").config(config).start();
    let mut clients: Vec<Client> = (0..10).map(|_| gateway.client()).collect();
    let unasked: [&[u8]; 6] = [
        b"+OK\r\n",
        b":7\r\n:8\r\n:9\r\n",
        b"-ERR Protocol error\r\n",
        b"$100\r\nhalf",
        b"\r\n",
        b"-MOVED 1 :1\r\n",
    ];
    let mut total = 0;
    for bytes in unasked {
        for _ in 0..5 {
            relay.say(bytes);
            for client in &mut clients {
                // The answer is the right one. Only a write that the server had may be of unknown outcome.
                let reply = client.ask("INCR unasked");
                if reply.starts_with("-ERR hotgate: ") {
                    total = server.client().text("GET unasked").parse().unwrap();
                } else {
                    total += 1;
                    assert_eq!(reply, format!(":{total}"), "after {}", bytes.escape_ascii());
                }
            }
        }
    }
    wait_until("the gateway goes on", || clients[0].ask("SET unasked:k v") == "+OK");
}

/// What never ends is given up: memory stays bounded, the one who asked is told why, and all others go on.
#[test]
fn a_reply_without_end_is_given_up() {
    let server = Server::start();
    let relay = Relay::before(server.address());
    // The topology is asked for often, so that its connection reads what is said on it.
    let config = "[upstream]\nreply_bytes_max = '2mb'\nrequest_timeout = '60s'\ntopology_refresh = '100ms'\nbackoff_min = '10ms'\nbackoff_max = '20ms'\n";
    let gateway = Gateway::before(&relay).flag("--workers", "1").config(config).start();
    let mut bystander = gateway.client();
    bystander.check("SET endless:k v", "+OK");
    bystander.check("SET endless:n 0", "+OK");
    let before = gateway.resident_bytes();
    let scripts = [
        "EVAL \"return redis.status_reply(string.rep('x', 100000000))\" 0",
        "EVAL \"return redis.error_reply(string.rep('x', 100000000))\" 0",
        "EVAL \"return string.rep('x', 100000000)\" 0",
        "EVAL \"local t = {} for i = 1, 8000000 do t[i] = i end return t\" 0",
        "EVAL \"return {1, {redis.status_reply(string.rep('x', 100000000))}}\" 0",
    ];
    for line in scripts {
        let mut client = gateway.client();
        let reply = client.ask(line);
        assert!(
            reply.starts_with("-ERR hotgate: the reply of ") && reply.ends_with("; the command has run"),
            "{line} -> {reply}"
        );
        client.check("GET endless:k", "$1 v");
        wait_until("writes go on", || bystander.ask("INCR endless:n").starts_with(':'));
    }
    // A server that only makes a noise, on all connections.
    for noise in [&b"+"[..], b"-", b":", b"$1", b"*1", b"(", b"x"] {
        let mut endless = noise.to_vec();
        endless.resize(20_000_000, b'1');
        relay.say(&endless);
        wait_until("the gateway goes on", || bystander.ask("SET endless:k v") == "+OK");
    }
    let grown = gateway.peak_resident_bytes().saturating_sub(before);
    assert!(grown < 60_000_000, "the gateway has grown by {grown} bytes");
}
