//! What waits for a node that does not take it is bounded by `upstream.output_buffer_max`, by whatever command it comes: one
//! client cannot make the gateway hold more, and is served when the node goes on.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::text::{encode, one_line};
use crate::support::{self, Cluster, Gateway, Server, wait_until};

const BOUND: &str =
    "[upstream]\noutput_buffer_max = \"4mb\"\nrequest_timeout = \"60s\"\nunavailable_wait = \"30s\"\n";
const VALUE_BYTES: usize = 900_000;
const REQUESTS: usize = 120;

/// The bound, one request more and copies of it on each of several connections, and what an allocator keeps: far less than
/// the 108 MB that are sent.
const GROWTH_BYTES_MAX: u64 = 48 << 20;

/// Sends from a thread of its own, so that it can be held up.
fn send_all(gateway: &Gateway, requests: Vec<Vec<u8>>) -> (support::Client, Arc<AtomicUsize>) {
    let client = gateway.client();
    let mut writer = client.stream();
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    std::thread::spawn(move || {
        writer.set_write_timeout(Some(Duration::from_secs(120))).unwrap();
        for request in requests {
            if writer.write_all(&request).is_err() {
                return;
            }
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    (client, sent)
}

/// While the node does not run, a client sends `requests`: the gateway grows by no more than its bound, and goes on serving
/// others. Then the node goes on, and each request is answered as `expected`.
fn check(
    (cluster, node): (&Cluster, usize),
    gateway: &Gateway,
    name: &str,
    requests: Vec<Vec<u8>>,
    expected: &[&str],
) {
    let before = gateway.resident_bytes();
    let mut witness = gateway.client();
    cluster.pause(node);
    let count = requests.len();
    let (mut client, sent) = send_all(gateway, requests);
    let (mut last, mut still) = (0, 0);
    wait_until("the sender is held up, or done", || {
        let now = sent.load(Ordering::Relaxed);
        still = if now == last { still + 1 } else { 0 };
        last = now;
        witness.check("PING", "+PONG");
        still > 60 || now == count
    });
    let grown = gateway.resident_bytes().saturating_sub(before);
    cluster.resume(node);
    assert!(
        grown < GROWTH_BYTES_MAX,
        "{name}: {grown} bytes more are held; {last} of {count} requests were sent"
    );
    for number in 0..count {
        for reply in expected {
            client.expect(&format!("{name} {number}"), reply);
        }
    }
}

fn repeat(request: impl Fn(usize) -> Vec<u8>) -> Vec<Vec<u8>> {
    (0..REQUESTS).map(request).collect()
}

fn value() -> Vec<u8> {
    vec![b'v'; VALUE_BYTES]
}

#[test]
fn a_node_of_a_cluster_that_stands_still() {
    let cluster = Cluster::with(&["--cluster-node-timeout", "600000"]);
    let gateway = Gateway::before(&cluster).config(BOUND).start();
    let mut warm = gateway.client();
    for key in ["a", "b", "c"] {
        warm.check(&format!("SET {key} 1"), "+OK");
    }
    let node = cluster.master_of("a");
    assert_ne!(node, cluster.master_of("b"), "the keys should be at two nodes");
    let place = (&cluster, node);
    let value = value();
    let set = encode(&[b"SET", &b"a"[..], &value]);
    check(place, &gateway, "SET", repeat(|_| set.clone()), &["+OK"]);
    let mset = encode(&[b"MSET", &b"a"[..], &value, b"b", b"1"]);
    check(place, &gateway, "MSET", repeat(|_| mset.clone()), &["+OK"]);
    let long = [&b"{a}"[..], &value].concat();
    let del = encode(&[b"DEL", &b"{b}absent"[..], &long]);
    check(place, &gateway, "DEL", repeat(|_| del.clone()), &[":0"]);
    let mget = encode(&[b"MGET", &b"{b}absent"[..], &long]);
    check(place, &gateway, "MGET", repeat(|_| mget.clone()), &["*2 $-1 $-1"]);
    let load = encode(&[b"SCRIPT", &b"LOAD"[..], &[&b"return '"[..], &value, b"'"].concat()]);
    warm.send(&load);
    let sha = one_line(&warm.reply());
    check(place, &gateway, "SCRIPT LOAD", repeat(|_| load.clone()), &[&sha]);
    let transaction = [encode(&["MULTI"]), set, encode(&["EXEC"])].concat();
    check(place, &gateway, "MULTI", repeat(|_| transaction.clone()), &["+OK", "+QUEUED", "*1 +OK"]);
}

/// What a client tells its own connection without waiting for an answer is bounded as well: `HELLO` is answered by the gateway.
#[test]
fn words_for_connections_of_a_session() {
    let server = Server::start();
    let config = "[upstream]\ninflight_max = 100\nrequest_timeout = \"60s\"\n";
    let gateway = Gateway::before(&server).config(config).start();
    let mut client = gateway.client();
    client.check("WATCH a", "+OK");
    let before = gateway.resident_bytes();
    server.pause();
    const CHANGES: usize = 100_000;
    let mut writer = client.stream();
    let mut reader = client.stream();
    reader.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let sender = std::thread::spawn(move || {
        let both = [encode(&["HELLO", "3"]), encode(&["HELLO", "2"])].concat();
        // It is cut off in the end.
        let _ = writer.write_all(&both.repeat(CHANGES));
    });
    // What is answered is read, until no more is.
    let (mut answered_bytes, mut silences) = (0, 0);
    let mut chunk = vec![0; 1 << 20];
    while silences < 3 && answered_bytes < 20 << 20 {
        match reader.read(&mut chunk) {
            Ok(count) => answered_bytes += count,
            Err(_) => silences += 1,
        }
    }
    let grown = gateway.resident_bytes().saturating_sub(before);
    server.resume();
    assert!(grown < 8 << 20, "{grown} bytes more are held after {answered_bytes} bytes of answers");
    reader.shutdown(std::net::Shutdown::Both).unwrap();
    sender.join().unwrap();
}
