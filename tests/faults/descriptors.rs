//! File descriptors that run short cost new clients their place, and nobody else anything.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;

use crate::support::text::{one_line, request};
use crate::support::{self, Client, Gateway, Server, wait_until};

const REFUSED: &str = "-ERR max number of clients reached";

/// The soft and the hard limit of a process.
fn limits(gateway: &Gateway) -> (String, String) {
    let text = std::fs::read_to_string(format!("/proc/{}/limits", gateway.pid())).unwrap();
    let line = text.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    (words[3].to_owned(), words[4].to_owned())
}

fn max_clients(client: &mut Client) -> usize {
    let info = client.text("INFO clients");
    let line = info.lines().find_map(|line| line.strip_prefix("maxclients:")).expect("it is told");
    line.parse().expect("a number")
}

/// Whether the HTTP side says that it lives.
fn is_healthy(admin: SocketAddr) -> bool {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    let _ = stream.read_to_string(&mut reply);
    reply.starts_with("HTTP/1.1 200")
}

/// Connections that are made and left alone. Those that are refused have been closed by the other side.
fn crowd(address: SocketAddr, size: usize) -> Vec<TcpStream> {
    (0..size)
        .map(|_| {
            let mut stream = TcpStream::connect(address).unwrap();
            let _ = stream.write_all(&request("PING"));
            stream
        })
        .collect()
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one() {
    let server = Server::start();
    let few = "[gateway]\nclients_max = 50\nworkers = 1\n[upstream]\nsession_connections_max = 10\n";
    let gateway = Gateway::before(&server).config(few).descriptors("-Sn 64").start();
    let (soft, hard) = limits(&gateway);
    assert_eq!(soft, hard);
    assert_eq!(max_clients(&mut gateway.client()), 50);
    assert!(!gateway.log().contains("fitted"), "{}", gateway.log());
}

#[test]
fn a_crowd_at_the_door_takes_nothing_from_those_who_are_served() {
    let server = Server::start();
    let config = "[gateway]\nworkers = 2\n[upstream]\nbackoff_max = \"50ms\"\n";
    let gateway = Gateway::before(&server).config(config).descriptors("-n 84").start();
    let log = gateway.log();
    for directive in ["gateway.clients_max", "upstream.session_connections_max", "admin.connections_max"] {
        let line = log.lines().find(|line| line.contains(&format!("directive=\"{directive}\"")));
        assert!(
            line.is_some_and(|line| line.contains("fitted=") && line.contains("descriptors=84")),
            "{log}"
        );
    }
    let admin = gateway.admin.expect("it has an HTTP side");
    let mut served: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    served.iter_mut().for_each(|client| client.check("SET served yes", "+OK"));
    let places = max_clients(&mut served[0]);
    assert!((6..40).contains(&places), "{places} of 84");
    let crowd = crowd(gateway.address, 300);
    for round in 0..5 {
        server.client().ask("CLIENT KILL TYPE normal");
        for client in &mut served {
            wait_until("a served client has Redis again", || client.ask("GET served") == "$3 yes");
        }
        assert_eq!(one_line(&gateway.client().rest()), REFUSED, "round {round}");
        assert!(is_healthy(admin), "round {round}");
    }
    // A crowd at the other door, and all sessions in use.
    let askers: Vec<TcpStream> = (0..20).map(|_| TcpStream::connect(admin).unwrap()).collect();
    served.iter_mut().for_each(|client| client.check("GET served", "$3 yes"));
    drop(askers);
    wait_until("the HTTP side answers", || is_healthy(admin));
    for client in &mut served[1..] {
        client.send_line("BLPOP nothing 0");
    }
    served[0].check("GET served", "$3 yes");
    drop(crowd);
    wait_until("a place is free", || {
        let mut next = gateway.client();
        next.send_line("GET served");
        next.try_reply().is_ok_and(|reply| one_line(&reply) == "$3 yes")
    });
    let complaints = gateway.log().matches("can't accept").count();
    assert_eq!(complaints, 0, "{}", gateway.log());
}

/// Nothing foresees everything: the limit is lowered below what the gateway reckons with.
#[test]
fn clients_are_told_when_no_descriptor_is_left() {
    let server = Server::start();
    let config = "[gateway]\nworkers = 1\n[upstream]\nbackoff_max = \"50ms\"\n";
    let gateway = Gateway::before(&server).config(config).start();
    let mut served: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    served.iter_mut().for_each(|client| client.check("SET served yes", "+OK"));
    let limit = |limits: &str| {
        let status = Command::new("prlimit")
            .args(["--pid", &gateway.pid().to_string(), &format!("--nofile={limits}")])
            .status();
        assert!(status.unwrap().success());
    };
    let former = limits(&gateway).0;
    // What the test itself was started with may stand far above what the gateway opened.
    let open = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap();
    let open: BTreeSet<u64> =
        open.map(|entry| entry.unwrap().file_name().to_string_lossy().parse().unwrap()).collect();
    let highest = open.iter().copied().take_while(|number| *number < 64).last();
    limit(&format!("{}:{former}", highest.unwrap() + 1));
    let waiting = crowd(gateway.address, 100);
    let mut refused = 0;
    for mut stream in &waiting {
        let mut reply = [0; 64];
        stream.set_read_timeout(Some(support::PATIENCE)).unwrap();
        let length = stream.read(&mut reply).unwrap_or(0);
        refused += usize::from(reply[..length].starts_with(REFUSED.as_bytes()));
    }
    assert!(refused > 50, "{refused} were told");
    server.client().ask("CLIENT KILL TYPE normal");
    for client in &mut served {
        wait_until("a served client has Redis again", || client.ask("GET served") == "$3 yes");
    }
    let log = gateway.log();
    assert_eq!(log.matches("can't accept clients").count(), 1, "{log}");
    limit(&format!("{former}:{former}"));
    wait_until("clients are accepted again", || {
        let mut next = gateway.client();
        next.send_line("GET served");
        next.try_reply().is_ok_and(|reply| one_line(&reply) == "$3 yes")
    });
}

#[test]
fn a_limit_that_serves_nobody_is_an_error_at_the_start() {
    let output = Command::new("sh")
        .args(["-c", "ulimit -n 32; exec \"$0\" --listen 127.0.0.1:0 --admin 127.0.0.1:0 --workers 4"])
        .arg(env!("CARGO_BIN_EXE_hotgate"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the system grants 32 file descriptors and"), "{said}");
}

#[test]
fn a_reload_fits_as_the_start_does() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config("[gateway]\nworkers = 2\n").descriptors("-n 64").start();
    let mut client = gateway.client();
    let fitted = max_clients(&mut client);
    gateway.reload("[gateway]\nworkers = 2\nclients_max = 5000\n");
    wait_until("it is reloaded", || gateway.log().contains("configuration reloaded"));
    assert_eq!(max_clients(&mut client), fitted);
    assert!(gateway.log().contains("reloaded directive=gateway.clients_max"), "{}", gateway.log());
    gateway.reload("[gateway]\nworkers = 2\nclients_max = 4\n");
    wait_until("what fits is taken as it is", || max_clients(&mut client) == 4);
}
