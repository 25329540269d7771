//! What is at rest holds no memory of its largest burst, neither a counter nor a client, and counters have a bound in bytes.

use crate::support::text::shown;
use crate::support::{Client, Gateway, Server, wait_until};

/// What each of many may take beside what all of them share. The burst of one took 336 KiB, and more.
const EACH_BYTES_MAX: u64 = 32 * 1024;

/// In how many parts the growth is measured.
const PARTS: u64 = 4;

/// Lets many have their burst, one after the other, and checks that the memory does not grow with them: what one gives back
/// serves the next. On a busy machine a burst may come before the one before it has given back, which makes the memory grow once.
/// What is kept makes it grow in every part.
fn check(gateway: &Gateway, count: u64, mut burst: impl FnMut(u64)) {
    let part = count / (PARTS + 1);
    (0..part).for_each(&mut burst);
    let mut grown = Vec::new();
    for first in (1..=PARTS).map(|number| number * part) {
        let before = gateway.resident_bytes();
        (first..first + part).for_each(&mut burst);
        grown.push(gateway.resident_bytes().saturating_sub(before) / part);
    }
    assert!(
        grown.iter().any(|each| *each < EACH_BYTES_MAX),
        "each of {count} keeps bytes, by part: {grown:?}"
    );
}

#[test]
fn a_counter_at_rest_keeps_nothing_of_its_burst() {
    let server = Server::start();
    let gateway = Gateway::before(&server)
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
    let gateway = Gateway::before(&server).config("[gateway]\nworkers = 1\n").start();
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

#[test]
fn counters_take_no_more_memory_than_their_bound() {
    let server = Server::start();
    let config = |workers: usize, bytes_max: &str| {
        format!(
            "[gateway]\nworkers = {workers}\n[admission]\nbytes_max = '{bytes_max}'\n[[quota]]\nmatch = 'c:*'\nlimit = 1000000000\n"
        )
    };
    for workers in [1, 2] {
        let gateway = Gateway::before(&server).config(&config(workers, "32mb")).start();
        let mut clients = [gateway.client(), gateway.client()];
        let before = gateway.resident_bytes();
        let name = |counter: usize| format!("c:{workers}:{counter}:{}", "x".repeat(500_000));
        let mut granted = Vec::new();
        for counter in 0..80 {
            let reply = clients[counter % 2].call(&["INCR", &name(counter)]);
            match reply[0] {
                b':' => granted.push(counter),
                _ => assert!(
                    reply.starts_with(
                        b"-QUOTA the counters in use take what admission.bytes_max = 33554432 allows"
                    ),
                    "{}",
                    shown(&reply)
                ),
            }
        }
        let grown = gateway.resident_bytes().saturating_sub(before);
        assert!((2..20).contains(&granted.len()) && grown < 96 << 20, "{granted:?}: {grown} bytes");
        for counter in granted {
            assert_eq!(clients[counter % 2].call(&["INCR", &name(counter)]), b":2\r\n");
        }
        clients[0].check("GET c:short", "$-1");
        gateway.reload(&config(workers, "1gb"));
        wait_until("there is room", || clients[0].call(&["INCR", &name(79)]) == b":1\r\n");
        let figure = |name: &str| -> f64 {
            let figures = gateway.get("/metrics").1;
            let line = figures.lines().find(|line| line.starts_with(&format!("{name} "))).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        wait_until("refusals are counted", || figure("hotgate_admission_refused_total") > 0.0);
        assert!(figure("hotgate_admission_bytes") > figure("hotgate_admission_counters") * 4.0);
    }
}

#[test]
fn a_name_too_long_to_be_kept_is_passed_through_whatever_a_rule_says() {
    let server = Server::start();
    let rules = "[[rule]]\nmatch = 'r:*'\nmode = 'combine'\n[[rule]]\nmatch = 'w:*'\nmode = 'write-behind'\n";
    let gateway = Gateway::before(&server).config(rules).start();
    let (mut client, mut direct) = (gateway.client(), server.client());
    let long = "x".repeat(5000);
    for turn in 1..=3 {
        for kind in ["r", "w"] {
            assert_eq!(client.call(&["INCR", &format!("{kind}:{long}")]), format!(":{turn}\r\n").as_bytes());
            assert_eq!(
                direct.call(&["INCRBY", &format!("{kind}:{long}"), "0"]),
                format!(":{turn}\r\n").as_bytes()
            );
        }
    }
    assert!(direct.text("INFO commandstats").contains("cmdstat_incr:calls=6,"));
}
