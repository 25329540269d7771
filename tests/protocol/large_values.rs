//! A large value passes whole, and others who share the gateway's connection to Redis are not held up by it.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::text::{encode, one_line};
use crate::support::{BOTH_VERSIONS, Gateway, shared};

const LARGE_BYTES: usize = 64 << 20;

/// Bytes that differ along the value, so that a piece lost, doubled or swapped is seen.
fn value() -> Vec<u8> {
    (0..LARGE_BYTES as u32 / 4).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect()
}

fn check_whole(gateway: &Gateway) {
    let value = value();
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        assert_eq!(client.call(&[b"SET", &b"large:whole"[..], &value]), b"+OK\r\n");
        assert_eq!(client.integer("STRLEN large:whole"), LARGE_BYTES as i64);
        client.send_line("GET large:whole");
        client.send_line("PING");
        let reply = client.reply();
        assert!(
            reply.len() == LARGE_BYTES + 13 && reply[11..reply.len() - 2] == value[..],
            "the value came back changed"
        );
        client.expect("PING", "+PONG");
        client.check("DEL large:whole", ":1");
    }
}

#[test]
fn a_large_value_passes_whole_before_one_server() {
    check_whole(&shared::single(module_path!()).1);
}

#[test]
fn a_large_value_passes_whole_before_a_cluster() {
    check_whole(&shared::cluster(module_path!()).1);
}

/// One client is sent a value of 64 MiB and does not read it; another has sent half of such a value. Neither may hold up a
/// third client whose requests go to the same node.
fn check_others(gateway: &Gateway) {
    let value = value();
    let key = "{large}value";
    let mut setup = gateway.client();
    assert_eq!(setup.call(&[b"SET", key.as_bytes(), &value]), b"+OK\r\n");
    let mut reader = gateway.client();
    reader.send_line(&format!("GET {key}"));
    let mut writer = gateway.client();
    let request = encode(&[b"SET", &b"{large}other"[..], &value]);
    writer.send(&request[..LARGE_BYTES / 2]);
    let mut others: Vec<_> = (0..4).map(|_| gateway.client()).collect();
    for number in 0..200 {
        for (index, client) in others.iter_mut().enumerate() {
            client.check(&format!("SET {{large}}small:{index} {number}"), "+OK");
            client.check(
                &format!("GET {{large}}small:{index}"),
                &format!("${} {number}", number.to_string().len()),
            );
        }
    }
    writer.send(&request[LARGE_BYTES / 2..]);
    writer.expect("SET", "+OK");
    assert_eq!(reader.reply().len(), LARGE_BYTES + 13);
    setup.check(&format!("DEL {key} {{large}}other"), ":2");
}

#[test]
fn a_large_value_stalls_nobody_else_before_one_server() {
    check_others(&shared::single(module_path!()).1);
}

#[test]
fn a_large_value_stalls_nobody_else_before_a_cluster() {
    check_others(&shared::cluster(module_path!()).1);
}

/// While large values stream without pause, small requests of others go on: counted in requests, not in time.
#[test]
fn small_requests_go_on_while_large_values_stream() {
    let (_, gateway) = shared::single(module_path!());
    let value = vec![b'v'; 8 << 20];
    let mut setup = gateway.client();
    assert_eq!(setup.call(&[b"SET", &b"stream"[..], &value]), b"+OK\r\n");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let streamer = scope.spawn(|| {
            let mut client = gateway.client();
            let mut writer = client.stream();
            let mut streamed = 0;
            while !stop.load(Ordering::Relaxed) {
                writer.write_all(&encode(&["GET", "stream"])).unwrap();
                assert_eq!(client.reply().len(), value.len() + 12);
                streamed += 1;
            }
            streamed
        });
        let mut client = gateway.client();
        for number in 1..=500 {
            assert_eq!(one_line(&client.call(&["INCR", "stream:small"])), format!(":{number}"));
        }
        stop.store(true, Ordering::Relaxed);
        let streamed = streamed_at_least_once(streamer.join().unwrap());
        assert!(streamed < 500, "each small request waited for a large value: {streamed} of them");
    });
    setup.check("DEL stream stream:small", ":2");
}

fn streamed_at_least_once(streamed: usize) -> usize {
    assert!(streamed > 0);
    streamed
}

/// A client that reads as fast as it can is served whatever it asks for at once, as by Redis itself.
fn check_pipelines(gateway: &Gateway) {
    const KIB: usize = 1024;
    let mut setup = gateway.client();
    for (reads, bytes) in [(40, 1024 * KIB), (300, 1024 * KIB), (1000, 64 * KIB), (16, 4096 * KIB)] {
        for key in ["pipe:a", "pipe:b", "pipe:c"] {
            assert_eq!(setup.call(&[b"SET", key.as_bytes(), &vec![b'x'; bytes]]), b"+OK\r\n");
        }
        // One that has just come, and one that has asked for small things so far.
        for before in [0, 2000] {
            let mut client = gateway.client();
            (0..before).for_each(|_| client.check("PING", "+PONG"));
            let asked =
                (0..reads).flat_map(|read| encode(&["GET", ["pipe:a", "pipe:b", "pipe:c"][read % 3]]));
            client.send(&asked.collect::<Vec<u8>>());
            for read in 0..reads {
                let reply = client.try_reply();
                let length = reply.map(|reply| reply.len());
                let expected = bytes + bytes.to_string().len() + 5;
                assert_eq!(length.ok(), Some(expected), "{read} of {reads} of {bytes} bytes behind {before}");
            }
        }
    }
}

#[test]
fn long_pipelines_of_large_values_pass_before_one_server() {
    check_pipelines(&shared::single(module_path!()).1);
}

#[test]
fn long_pipelines_of_large_values_pass_before_a_cluster() {
    check_pipelines(&shared::cluster(module_path!()).1);
}
