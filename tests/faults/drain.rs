//! SIGTERM: balancers are told, then nobody new is accepted, what is in flight is finished, the process exits with 0, and within
//! `drain_timeout`.

use crate::support::text::request;
use crate::support::{self, Client, Gateway, Server, wait_until};

fn start() -> (Server, Gateway) {
    let server = Server::start();
    let gateway = Gateway::before(&server)
        .config("[upstream]\nrequest_timeout = \"60s\"\n[gateway]\ndrain_timeout = \"30s\"\n")
        .start();
    (server, gateway)
}

#[test]
fn what_is_in_flight_is_finished_and_the_exit_code_is_0() {
    let (server, mut gateway) = start();
    let mut idle = gateway.client();
    idle.check("PING", "+PONG");
    let mut client = gateway.client();
    client.check("SET drain v", "+OK");
    server.pause();
    let lines = ["INCR drained", "GET drain", "ECHO last"];
    let bytes: Vec<u8> = lines.iter().flat_map(|line| request(line)).collect();
    client.send(&bytes);
    wait_until("the requests are at the gateway", || {
        let mut witness = gateway.client();
        let list = witness.text("CLIENT LIST");
        list.lines().any(|line| line.contains(&format!(":{} ", client.local_port())))
    });
    gateway.terminate();
    wait_until("new connections are refused", || Client::try_connect(gateway.address).is_err());
    assert!(gateway.runs(), "requests are in flight");
    server.resume();
    client.expect("INCR drained", ":1");
    client.expect("GET drain", "$1 v");
    client.expect("ECHO last", "$4 last");
    assert_eq!(client.rest(), b"");
    assert_eq!(idle.rest(), b"");
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn an_idle_gateway_ends_at_once_on_either_signal() {
    for signal in ["TERM", "INT"] {
        let (_server, mut gateway) = start();
        let mut idle = gateway.client();
        idle.check("PING", "+PONG");
        let mut subscriber = gateway.client();
        subscriber.check("SUBSCRIBE drain", "*3 $9 subscribe $5 drain :1");
        support::redis::signal(gateway.pid(), signal);
        assert_eq!(gateway.wait().code(), Some(0), "{signal}");
    }
}

#[test]
fn the_drain_ends_at_its_timeout_even_if_redis_does_not_answer() {
    let server = Server::start();
    let mut gateway = Gateway::before(&server)
        .config("[upstream]\nrequest_timeout = \"9m\"\n[gateway]\ndrain_timeout = \"1s\"\n")
        .start();
    let mut client = gateway.client();
    client.check("SET stuck v", "+OK");
    server.pause();
    client.send_line("INCR stuck:counter");
    gateway.terminate();
    gateway.wait();
    server.resume();
}

#[test]
fn balancers_learn_of_it_before_clients_are_refused() {
    let server = Server::start();
    let mut gateway = Gateway::before(&server).config("[gateway]\ndrain_delay = \"1h\"\n").start();
    let mut old = gateway.client();
    old.check("SET drain v", "+OK");
    assert_eq!(gateway.get("/readyz").0, 200);
    gateway.terminate();
    wait_until("/readyz says no", || gateway.get("/readyz").0 == 503);
    let (_, answer) = gateway.get("/readyz");
    assert!(answer.contains("leaving"), "{answer}");
    assert_eq!(gateway.get("/healthz").0, 200);
    old.check("GET drain", "$1 v");
    let mut new = gateway.client();
    new.check("INCR drained", ":1");
    assert!(gateway.runs());
}

#[test]
fn after_the_delay_it_drains() {
    let server = Server::start();
    let mut gateway = Gateway::before(&server).config("[gateway]\ndrain_delay = \"300ms\"\n").start();
    let mut client = gateway.client();
    client.check("SET drain v", "+OK");
    gateway.terminate();
    assert_eq!(client.rest(), b"");
    assert_eq!(gateway.wait().code(), Some(0));
}

/// Who waits for something that may never come is closed like everybody who has not finished.
#[test]
fn blocked_clients_do_not_hold_the_exit() {
    let server = Server::start();
    let mut gateway = Gateway::before(&server).config("[gateway]\ndrain_timeout = \"500ms\"\n").start();
    let mut blocked: Vec<Client> =
        ["BLPOP nothing 0", "XREAD BLOCK 0 STREAMS nowhere $", "BLMOVE a b LEFT RIGHT 0"]
            .into_iter()
            .map(|command| {
                let mut client = gateway.client();
                client.send_line(command);
                client
            })
            .collect();
    wait_until("Redis blocks them", || server.client().text("INFO clients").contains("blocked_clients:3"));
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0));
    for client in &mut blocked {
        assert_eq!(client.rest(), b"");
    }
    wait_until("Redis has them no more", || {
        server.client().text("INFO clients").contains("blocked_clients:0")
    });
}
