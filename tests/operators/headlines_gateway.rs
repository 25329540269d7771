//! The gateway itself and its clients in the first line: what it turns away, closes, runs out of. As in `headlines`, each row of the table makes
//! the real fault.

use std::net::TcpStream;

use crate::sight::{Traffic, quiet_again, told};
use crate::support::text::request;
use crate::support::{Gateway, Server, wait_until};

#[test]
fn a_client_that_does_not_read_is_told_of_when_it_is_closed() {
    let server = Server::start();
    server.client().check(&format!("SET big {}", "x".repeat(1_000_000)), "+OK");
    let gateway = Gateway::before(&server).config("[limits]\noutput_stall_timeout = '1s'\n").start();
    let mut slow = gateway.client();
    for _ in 0..30 {
        if slow.try_send(&request("GET big")).is_err() {
            break;
        }
    }
    let seen = told(&gateway, "slow reader closed", &["Clients that do not read are closed"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("warning", true), "{seen:?}");
    quiet_again(&gateway, "slow reader closed");
}

#[test]
fn descriptors_that_run_out_are_told_of() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut clients: Vec<_> = (0..100).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.check("PING", "+PONG"));
    let open = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count();
    let limit = |max: usize| {
        let pid = gateway.pid().to_string();
        let status =
            std::process::Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={max}:")]).status();
        assert!(status.unwrap().success(), "prlimit");
    };
    limit(open + 4);
    let seen = told(&gateway, "descriptors", &["File descriptors run out"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("critical", true), "{seen:?}");
    limit(4096);
    quiet_again(&gateway, "descriptors");
}

#[test]
fn a_worker_that_is_busy_all_the_time_is_told_of() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config("[gateway]\nworkers = 1\n").start();
    // Answered here, so that Redis is not what is busy.
    let traffic = Traffic::pipelined(&gateway, 8, "PING");
    let seen = told(&gateway, "busy worker", &["worker-0 is busy all the time"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("warning", true), "{seen:?}");
    drop(traffic);
    quiet_again(&gateway, "busy worker");
}

#[test]
fn askers_that_the_admin_side_turns_away_are_told_of() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let flood = Traffic::of(1, || {
        let address = gateway.admin.unwrap();
        move || {
            use std::io::{Read, Write};
            let mut stream = TcpStream::connect(address).unwrap();
            stream
                .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .unwrap();
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    let seen = told(&gateway, "admin flood", &["The HTTP side turns", "ask more often"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("notice", true), "{seen:?}");
    drop(flood);
    wait_until("nothing is told", || crate::sight::sight(&gateway).level == "ok");
}
