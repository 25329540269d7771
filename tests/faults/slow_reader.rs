//! A client that sends and does not read costs a bounded amount of memory; when it reads at last, everything is there in
//! order.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::figures::info;
use crate::support::text::{encode, one_line};
use crate::support::{Client, Cluster, Gateway, Server, Version, wait_until};

/// What the process may grow by while one client does not read: its bounds below, twice (a buffer grows by doubling), and
/// what an allocator keeps.
const GROWTH_BYTES_MAX: u64 = 64 << 20;

const BOUNDS: &str = "[limits]\nclient_output_buffer_max = \"8mb\"\nclient_inflight_max = 1024\n";

/// One client sends all of `requests` from a thread of its own while nobody reads; once the sending has stopped moving, the
/// memory is looked at; then everything is read.
fn check(
    gateway: &Gateway,
    count: usize,
    request: impl Fn(usize) -> Vec<u8> + Send + 'static,
    expected: impl Fn(usize) -> String,
) {
    static SENT: AtomicUsize = AtomicUsize::new(0);
    SENT.store(0, Ordering::Relaxed);
    let before = gateway.resident_bytes();
    let mut client = gateway.client();
    let mut writer = client.stream();
    let mut witness = gateway.client();
    let sender = std::thread::spawn(move || {
        for number in 0..count {
            writer.set_write_timeout(Some(Duration::from_secs(120))).unwrap();
            writer.write_all(&request(number)).unwrap();
            SENT.store(number + 1, Ordering::Relaxed);
        }
    });
    let (mut last, mut still) = (0, 0);
    wait_until("the sender is held up, or done", || {
        let sent = SENT.load(Ordering::Relaxed);
        still = if sent == last { still + 1 } else { 0 };
        last = sent;
        assert!(
            gateway.resident_bytes() < before + GROWTH_BYTES_MAX,
            "the gateway grew to {}",
            gateway.resident_bytes()
        );
        witness.check("PING", "+PONG");
        still > 100 || sent == count
    });
    for number in 0..count {
        let reply = match client.try_reply() {
            Ok(reply) => one_line(&reply),
            Err(error) => panic!("reply {number} of {count}: {error}"),
        };
        let expected = expected(number);
        assert!(reply == expected, "reply {number} of {count}: {:.200} instead of {expected:.200}", reply);
    }
    sender.join().unwrap();
    let after = gateway.resident_bytes();
    assert!(after < before + GROWTH_BYTES_MAX, "the gateway grew from {before} to {after}");
}

fn check_million(gateway: &Gateway) {
    gateway.client().check("DEL million", ":0");
    check(
        gateway,
        1_000_000,
        |number| {
            if number % 2 == 0 {
                encode(&["INCR", "million"])
            } else {
                encode(&["PING", "a little longer than a number"])
            }
        },
        |number| {
            if number % 2 == 0 {
                format!(":{}", number / 2 + 1)
            } else {
                "$29 a little longer than a number".to_string()
            }
        },
    );
}

#[test]
fn a_million_pipelined_commands_before_one_server() {
    let server = Server::start();
    check_million(&Gateway::before(&server).config(BOUNDS).start());
}

#[test]
fn a_million_pipelined_commands_before_a_cluster() {
    let cluster = Cluster::start();
    check_million(&Gateway::before(&cluster).config(BOUNDS).start());
}

#[test]
fn many_big_values() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(BOUNDS).start();
    let value = "v".repeat(1 << 20);
    gateway.client().check(&format!("SET big {value}"), "+OK");
    let expected = format!("${} {value}", value.len());
    check(&gateway, 200, |_| encode(&["GET", "big"]), |_| expected.clone());
}

/// What waits for the replies before it, and then for room in the output, goes on once the client reads.
#[test]
fn a_client_that_reads_late_is_served_on() {
    const VALUE_BYTES: usize = 100_000;
    const READS: usize = 500;
    let server = Server::start();
    let config = "[limits]\nclient_output_buffer_max = \"1mb\"\n";
    let gateway = Gateway::before(&server).config(config).start();
    let mut witness = gateway.client();
    witness.check(&format!("SET big {}", "v".repeat(VALUE_BYTES)), "+OK");
    for _ in 0..3 {
        let mut client = gateway.client();
        client.send(&[encode(&["GET", "big"]), encode(&["SELECT", "0"])].concat().repeat(READS));
        wait_until("it is not served further", || {
            info(&mut witness, "clients", "client_buffered_output_bytes") > (1 << 20) / 4
        });
        for _ in 0..READS {
            assert_eq!(client.reply().len(), VALUE_BYTES + 11);
            client.expect("SELECT 0", "+OK");
        }
    }
}

/// Messages cannot be held back at their source: a subscriber that does not read is closed at the bound, as Redis does
/// with `client-output-buffer-limit pubsub`.
#[test]
fn a_subscriber_that_never_reads_is_closed_at_the_bound() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(BOUNDS).start();
    let before = gateway.resident_bytes();
    let mut subscriber = gateway.client();
    subscriber.check("SUBSCRIBE flood", "*3 $9 subscribe $5 flood :1");
    let mut publisher = gateway.client();
    let message = encode(&["PUBLISH".as_bytes(), b"flood", &vec![b'm'; 1 << 20]]);
    wait_until("the subscriber is closed", || {
        publisher.send(&message);
        let heard = one_line(&publisher.reply());
        assert!(gateway.resident_bytes() < before + 2 * GROWTH_BYTES_MAX);
        heard == ":0"
    });
    loop {
        match subscriber.try_reply() {
            Ok(message) => assert!(message.starts_with(b"*3\r\n$7\r\nmessage\r\n")),
            Err(error) => {
                assert!(
                    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset),
                    "{error}"
                );
                break;
            }
        }
    }
    publisher.check("PING", "+PONG");
}

/// One client listens as `listen` makes it, and then never reads, while another makes `noise`: it is closed at the bound.
fn check_deaf(
    gateway: &Gateway,
    what: &str,
    listen: impl FnOnce(&mut Client),
    mut noise: impl FnMut(&mut Client),
) {
    let before = gateway.resident_bytes();
    let mut deaf = gateway.client();
    deaf.check("CLIENT SETNAME deaf", "+OK");
    listen(&mut deaf);
    let mut other = gateway.client();
    assert!(other.text("CLIENT LIST").contains("name=deaf"), "{what}");
    wait_until(&format!("a client is closed that does not read {what}"), || {
        noise(&mut other);
        let grown = gateway.resident_bytes().saturating_sub(before);
        assert!(grown < GROWTH_BYTES_MAX, "{what}: the gateway grew by {grown} bytes");
        !other.text("CLIENT LIST").contains("name=deaf")
    });
    let end = std::iter::repeat_with(|| deaf.try_reply()).find_map(Result::err).unwrap();
    assert!(matches!(end.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{what}: {end}");
    other.check("PING", "+PONG");
}

/// Whatever comes without having been asked for has one bound: the gateway's own notices, invalidations, what a monitor shows.
#[test]
fn a_listener_of_anything_that_never_reads_is_closed_at_the_bound() {
    let server = Server::start();
    let config = "[limits]\nclient_output_buffer_max = \"64kb\"\n\
         [detect]\nenter_rate = 20\nenter_share = 0.0\nleave_rate = 10\nleave_share = 0.0\n";
    let gateway = Gateway::before(&server).config(config).start();

    // Each notice comes once for each pattern that it matches.
    let patterns: Vec<String> = (1..=800).map(|length| "*".repeat(length)).collect();
    let mut round = 0;
    check_deaf(
        &gateway,
        "notices of hot keys",
        |deaf| {
            for some in patterns.chunks(20) {
                let words: Vec<&str> =
                    std::iter::once("PSUBSCRIBE").chain(some.iter().map(String::as_str)).collect();
                deaf.send(&encode(&words));
                some.iter().for_each(|_| assert!(deaf.reply().starts_with(b"*3\r\n$10\r\npsubscribe")));
            }
        },
        |other| {
            round += 1;
            let names: Vec<String> = (0..8).map(|place| format!("heated:{round}:{place}")).collect();
            let burst: Vec<u8> = names.iter().flat_map(|name| encode(&["INCR", name]).repeat(60)).collect();
            other.send(&burst);
            (0..names.len() * 60).for_each(|_| assert!(other.reply().starts_with(b":")));
        },
    );

    let key = "k".repeat(100_000);
    let write = |other: &mut Client| (0..20).for_each(|_| other.check(&format!("SET {key} v"), "+OK"));
    check_deaf(
        &gateway,
        "invalidations",
        |deaf| {
            deaf.read_as(Version::Resp3);
            deaf.send_line("HELLO 3");
            assert!(deaf.reply().starts_with(b"%"));
            deaf.check("CLIENT TRACKING ON BCAST", "+OK");
        },
        write,
    );
    check_deaf(&gateway, "what a monitor shows", |deaf| deaf.check("MONITOR", "+OK"), write);
}
