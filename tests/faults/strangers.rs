//! Strangers at the door: floods of failed log-ins, and connections that never log in, cost nobody else their service.

use std::net::TcpStream;
use std::time::Instant;

use crate::support::client::Client;
use crate::support::{Gateway, Server, shared, wait_for, wait_until};

const AUTH: &str = "auth.password = \"secret\"\n[[auth.user]]\nname = \"app\"\npassword = \"apple\"\n";

fn logged_in(gateway: &Gateway) -> Client {
    let mut client = gateway.client();
    client.check("AUTH app apple", "+OK");
    client
}

#[test]
fn failed_log_ins_of_an_address_are_slowed_and_the_right_password_is_not() {
    let gateway = shared::gateway(module_path!(), AUTH);
    let mut stranger = gateway.client();
    let began = Instant::now();
    // Five at once, then 100, 200 and 400 ms.
    for _ in 0..8 {
        stranger.check("AUTH app wrong", "-WRONGPASS...");
    }
    let pauses_ms = began.elapsed().as_millis();
    assert!(pauses_ms >= 700, "told after {pauses_ms} ms");
    // What it sends behind a failure waits, and is answered in order.
    let mut other = gateway.client();
    for line in ["AUTH app wrong", "GET k", "AUTH app apple", "PING"] {
        other.send_line(line);
    }
    // Behind the same address, in the middle of that pause: at once, which only the order of these two replies shows.
    let mut friend = logged_in(&gateway);
    friend.check("PING", "+PONG");
    for expected in ["-WRONGPASS", "-NOAUTH", "+OK", "+PONG"] {
        let reply = String::from_utf8(other.reply()).unwrap();
        assert!(reply.starts_with(expected), "{expected}: {reply}");
    }
    // Two kinds of log-in are the same at the door.
    let mut hello = gateway.client();
    hello.check("HELLO 3 AUTH app wrong", "-WRONGPASS...");
    hello.check("HELLO 2 AUTH app apple", "*...");
    let counted = || gateway.get("/metrics").1.contains("hotgate_errors_total{kind=\"client_auth\"} 10");
    wait_until("failures are counted, slowed or not", counted);
}

#[test]
fn a_flood_of_failed_log_ins_leaves_others_their_service() {
    let server = Server::start();
    let gateway = Gateway::before(&server).flag("--workers", "1").config(AUTH).start();
    let mut client = logged_in(&gateway);
    let flood: Vec<_> = (0..200)
        .map(|_| {
            let mut stranger = gateway.client();
            let lines = b"AUTH app wrong\r\n".repeat(200);
            stranger.send(&lines);
            stranger
        })
        .collect();
    for number in 1..=2000 {
        client.check("INCR flood", &format!(":{number}"));
    }
    logged_in(&gateway).check("GET flood", "$4 2000");
    // Pipelined guesses are not looked at while one is told: of 40,000 few were.
    let failures = wait_for("failures are counted", || {
        let tried = gateway.get("/metrics").1;
        let line = tried.lines().find(|line| line.contains("kind=\"client_auth\""))?;
        line.rsplit(' ').next()?.parse::<u64>().ok().filter(|failures| *failures >= 5)
    });
    assert!(failures < 10_000, "{failures}");
    drop(flood);
}

#[test]
fn connections_that_never_log_in_leave_room_for_those_who_do() {
    let server = Server::start();
    let config = format!("gateway.unauthenticated_clients_max = 300\n{AUTH}");
    let gateway = Gateway::before(&server).flag("--workers", "2").config(&config).start();
    let mut client = logged_in(&gateway);
    let mut quiet = logged_in(&gateway);
    let before = gateway.resident_bytes();
    let connect = || TcpStream::connect(gateway.address).unwrap();
    // As many as the descriptors of this process leave.
    let strangers: Vec<TcpStream> = (0..10_000).map(|_| connect()).collect();
    client.check("SET k v", "+OK");
    logged_in(&gateway).check("GET k", "$1 v");
    let open = || {
        let metrics = gateway.get("/metrics").1;
        let line = metrics
            .lines()
            .find(|line| line.starts_with("hotgate_clients{state=\"connected\"}"))
            .unwrap()
            .to_owned();
        line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    wait_until("those beyond the bound are closed", || open() <= 320.0);
    assert!(open() >= 300.0, "the bound is used: {}", open());
    let grown = gateway.resident_bytes().saturating_sub(before);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes");
    // The first strangers gave way, and who had logged in before did not, however long ago.
    quiet.check("GET k", "$1 v");
    drop(strangers);
}

/// Some 15 GB.
const SENDS_MAX: usize = 2_000_000;

#[test]
fn a_stranger_that_reads_nothing_is_closed_and_its_replies_take_no_memory() {
    let server = Server::start();
    let config = format!("limits.client_output_buffer_max = \"256mb\"\n{AUTH}");
    let gateway = Gateway::before(&server).flag("--workers", "1").config(&config).start();
    let mut client = logged_in(&gateway);
    let before = gateway.resident_bytes();
    for lines in ["RESET\r\n", "GET k\r\n", "nonsense\r\n", "HELLO 3\r\n"] {
        let mut stranger = gateway.client();
        let lines = lines.repeat(1000).into_bytes();
        // What the kernel keeps for a socket is some MiB; for a second after the end the gateway drops what still comes, at a GiB/s or so.
        let sent = (0..SENDS_MAX).take_while(|_| stranger.try_send(&lines).is_ok()).count();
        assert!(sent < SENDS_MAX, "it goes on");
        client.check("SET k v", "+OK");
    }
    let grown = gateway.peak_resident_bytes().saturating_sub(before);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes");
}
