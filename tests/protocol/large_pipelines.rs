//! A client that keeps reading gets every reply, however large and many they are and however slowly it reads. Only one that
//! takes nothing for `limits.output_stall_timeout` is closed, and the log and a metric say so.

#![allow(clippy::disallowed_methods, reason = "a slow reader is one that sleeps between its reads")]

use std::io::Read;
use std::time::{Duration, Instant};

use crate::support::figures::info;
use crate::support::redis::signal;
use crate::support::text::encode;
use crate::support::{BOTH_VERSIONS, Client, Cluster, Gateway, Server, Version, shared, wait_until};

const MB: usize = 1_000_000;
const BOUND: &str = "[limits]\nclient_output_buffer_max = '4mb'\n";

/// A request, and how long its reply is.
type Asked = (Vec<u8>, usize);

fn set_up(gateway: &Gateway) {
    let mut client = gateway.client();
    for (key, bytes) in [("{large}1", MB), ("{large}5", 5 * MB), ("{large}k", 100_000)] {
        assert_eq!(client.call(&[b"SET", key.as_bytes(), &vec![b'x'; bytes]]), b"+OK\r\n");
    }
    client.call(&["DEL", "{large}list", "{large}hash"]);
    let element = "e".repeat(MB / 10);
    for field in 0..10 {
        client.call(&["RPUSH", "{large}list", &element]);
        client.call(&["HSET", "{large}hash", &field.to_string(), &element]);
    }
}

fn small(count: usize) -> Vec<Asked> {
    vec![(encode(&["SET", "{large}small", "v"]), 5); count]
}

fn large(request: &[&str], reply_bytes: usize, count: usize) -> Vec<Asked> {
    vec![(encode(request), reply_bytes); count]
}

fn bulk(bytes: usize) -> usize {
    format!("${bytes}\r\n").len() + bytes + 2
}

fn pipelines() -> Vec<Vec<Asked>> {
    let get = large(&["GET", "{large}1"], bulk(MB), 40);
    let list = large(&["LRANGE", "{large}list", "0", "-1"], 5 + 10 * bulk(MB / 10), 40);
    let hash = large(&["HGETALL", "{large}hash"], 5 + 10 * (bulk(MB / 10) + 7), 40);
    let several = large(&["MGET", "{large}1", "{large}k", "{large}1"], 4 + 2 * bulk(MB) + bulk(100_000), 20);
    let five = large(&["GET", "{large}5"], bulk(5 * MB), 8);
    let transaction =
        [large(&["MULTI"], 5, 1), large(&["GET", "{large}1"], 9, 40), large(&["EXEC"], 5 + 40 * bulk(MB), 1)]
            .concat();
    let alternating = (0..40).flat_map(|_| [small(10), large(&["GET", "{large}1"], bulk(MB), 1)].concat());
    vec![
        [small(100), get.clone()].concat(),
        [small(100), list].concat(),
        [small(100), hash].concat(),
        [small(100), several].concat(),
        five,
        transaction,
        alternating.collect(),
        [small(1000), get.clone(), small(300), get].concat(),
    ]
}

fn send(client: &mut Client, asked: &[Asked]) {
    client.send(&asked.iter().flat_map(|(request, _)| request).copied().collect::<Vec<u8>>());
}

fn receive(client: &mut Client, asked: &[Asked], what: &str) {
    for (number, (_, expected)) in asked.iter().enumerate() {
        let reply = client.try_reply().map(|reply| reply.len());
        assert_eq!(
            reply.as_ref().ok(),
            Some(expected),
            "reply {number} of {}, {what}: {reply:?}",
            asked.len()
        );
    }
}

fn check_every_reply(gateway: &Gateway) {
    set_up(gateway);
    for version in BOTH_VERSIONS {
        for (number, asked) in pipelines().iter().enumerate() {
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        let mut client = gateway.speaking(version);
                        send(&mut client, asked);
                        receive(&mut client, asked, &format!("pipeline {number}"));
                        client.check("PING", "+PONG");
                    });
                }
            });
        }
    }
}

#[test]
fn who_reads_gets_every_reply_before_one_server() {
    check_every_reply(&shared::single(module_path!()).1);
}

#[test]
fn who_reads_gets_every_reply_before_a_cluster() {
    check_every_reply(&shared::cluster(module_path!()).1);
}

/// Bytes that a slow reader takes from its socket at a time.
const CRUMB_BYTES: usize = 16 * 1024;

/// What was asked before the first large reply (a hundred small ones let eight and a hundred go), the bound, and what the
/// allocator and the connection to Redis hold.
const GROWTH_BYTES_MAX: u64 = 108 * MB as u64 + (4 << 20) + (32 << 20);

fn check_slow_reader(gateway: &Gateway) {
    set_up(gateway);
    let before = gateway.resident_bytes();
    let asked = [small(100), large(&["GET", "{large}1"], bulk(MB), 400)].concat();
    let mut client = gateway.client();
    send(&mut client, &asked);
    let mut stream = client.stream();
    let mut left: usize = asked.iter().map(|(_, bytes)| bytes).sum();
    let mut crumb = vec![0; CRUMB_BYTES];
    let mut grown = 0;
    for read in 0.. {
        let count = stream.read(&mut crumb[..CRUMB_BYTES.min(left)]).unwrap();
        assert!(count > 0, "closed with {left} bytes to come");
        left -= count;
        if left == 0 {
            break;
        }
        if read % 16 == 0 {
            std::thread::sleep(Duration::from_millis(1));
            grown = grown.max(gateway.resident_bytes().saturating_sub(before));
        }
    }
    client.check("PING", "+PONG");
    assert!(grown < GROWTH_BYTES_MAX, "the gateway grew by {grown}");
}

#[test]
fn a_slow_reader_gets_everything_before_one_server() {
    let server = Server::start();
    check_slow_reader(&Gateway::before(&server).config(BOUND).start());
}

#[test]
fn a_slow_reader_gets_everything_before_a_cluster() {
    let cluster = Cluster::start();
    check_slow_reader(&Gateway::before(&cluster).config(BOUND).start());
}

/// The kernel reports late that a slow reader has taken something, and a client that only reads is not idle.
#[test]
fn a_slow_reader_is_neither_stalled_nor_idle() {
    let server = Server::start();
    let config =
        "[limits]\nclient_output_buffer_max = '4mb'\noutput_stall_timeout = '4s'\nidle_timeout = '1s'\n";
    let gateway = Gateway::before(&server).config(config).start();
    set_up(&gateway);
    let asked = [large(&["GET", "{large}5"], bulk(5 * MB), 3), small(3)].concat();
    let mut client = gateway.client();
    send(&mut client, &asked);
    let (mut stream, mut left) = (client.stream(), asked.iter().map(|(_, bytes)| bytes).sum::<usize>());
    let mut crumb = vec![0; 2 * CRUMB_BYTES];
    // Some megabytes at 300 KB a second, and then at once.
    for read in 0.. {
        if read < 80 {
            std::thread::sleep(Duration::from_millis(100));
        }
        let length = left.min(crumb.len());
        let count = stream.read(&mut crumb[..length]).unwrap();
        assert!(count > 0, "closed with {left} bytes to come");
        left -= count;
        if left == 0 {
            break;
        }
    }
    client.check("PING", "+PONG");
}

/// A tracking client is told of a change while what it asked for is beyond the bound.
#[test]
fn a_push_does_not_close_who_reads() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(BOUND).start();
    set_up(&gateway);
    let mut client = gateway.speaking(Version::Resp3);
    client.check("CLIENT TRACKING ON BCAST", "+OK");
    let asked = [small(100), large(&["GET", "{large}1"], bulk(MB), 40)].concat();
    send(&mut client, &asked);
    let mut witness = gateway.client();
    wait_until("replies are beyond the bound", || buffered(&mut witness) > 4 << 20);
    witness.check("SET {large}changed v", "+OK");
    let mut replies = asked.len();
    while replies > 0 {
        let reply = client.try_reply().unwrap();
        replies -= usize::from(reply[0] != b'>');
    }
}

fn buffered(witness: &mut Client) -> usize {
    info(witness, "clients", "client_buffered_output_bytes") as usize
}

fn stalled(gateway: &Gateway) -> u64 {
    let (_, metrics) = gateway.get("/metrics");
    let name = "hotgate_clients_closed_total{reason=\"output_stalled\"} ";
    // Who asks too often is turned away, and asks again.
    metrics.lines().find_map(|line| line.strip_prefix(name)).map_or(0, |count| count.parse().unwrap())
}

/// Whether what is in flight is beyond the bound or below it.
#[test]
fn who_takes_nothing_is_closed() {
    let server = Server::start();
    let config = "[limits]\nclient_output_buffer_max = '32mb'\noutput_stall_timeout = '300ms'\n";
    let gateway = Gateway::before(&server).config(config).start();
    set_up(&gateway);
    let mut reading = gateway.client();
    let below = large(&["GET", "{large}5"], bulk(5 * MB), 4);
    let beyond = [small(200), large(&["GET", "{large}1"], bulk(MB), 100)].concat();
    for (round, asked) in [below, beyond].iter().enumerate() {
        let mut silent = gateway.client();
        send(&mut silent, asked);
        wait_until("the silent client is closed", || {
            reading.check("PING", "+PONG");
            stalled(&gateway) == round as u64 + 1
        });
        let log = gateway.log();
        assert!(log.contains("limits.output_stall_timeout"), "{log}");
        assert!(log.contains(&format!("127.0.0.1:{}", silent.local_port())), "{log}");
        wait_until("its memory is given back", || buffered(&mut reading) == 0);
        assert!(silent.rest().len() < 100 * MB);
    }
    // Who has nothing to take may be silent, and who reads is served.
    let five = large(&["GET", "{large}5"], bulk(5 * MB), 16);
    send(&mut reading, &five);
    receive(&mut reading, &five, "after others were closed");
    assert_eq!(stalled(&gateway), 2);
}

/// The time of a stop is not held against a client.
#[test]
fn a_stop_of_the_process_is_no_stall() {
    let server = Server::start();
    let config = "[limits]\noutput_stall_timeout = '3s'\n";
    let gateway = Gateway::before(&server).config(config).start();
    set_up(&gateway);
    let mut client = gateway.client();
    let mut witness = gateway.client();
    let asked = large(&["GET", "{large}5"], bulk(5 * MB), 8);
    send(&mut client, &asked);
    wait_until("replies wait", || buffered(&mut witness) > MB);
    signal(gateway.pid(), "STOP");
    let begun = Instant::now();
    wait_until("time has passed", || begun.elapsed() > Duration::from_secs(4));
    signal(gateway.pid(), "CONT");
    receive(&mut client, &asked, "after a stop");
}
