//! The number of clients and their idle time are bounded, and what happens at the bound is said.

use crate::support::text::one_line;
use crate::support::{self, Client, shared, wait_until};

#[test]
fn one_client_too_many_gets_an_error_and_is_closed() {
    let gateway = shared::gateway(module_path!(), "[gateway]\nclients_max = 5\n");
    let mut clients: Vec<Client> = (0..5).map(|_| gateway.client()).collect();
    for client in &mut clients {
        client.check("PING", "+PONG");
    }
    for _ in 0..3 {
        assert_eq!(one_line(&gateway.client().rest()), "-ERR max number of clients reached");
    }
    clients[0].check("PING", "+PONG");
    drop(clients.pop());
    wait_until("the place of a client that left is free", || {
        let mut next = gateway.client();
        next.send_line("PING");
        next.try_reply().is_ok_and(|reply| reply == b"+PONG\r\n")
    });
}

/// Workers share the bound: it is the process's.
#[test]
fn the_bound_holds_over_all_workers() {
    let gateway = shared::gateway(module_path!(), "[gateway]\nclients_max = 8\nworkers = 4\n");
    let mut admitted = Vec::new();
    let mut refused = 0;
    for _ in 0..40 {
        let mut client = gateway.client();
        let _ = client.try_send(b"*1\r\n$4\r\nPING\r\n");
        match client.try_reply() {
            Ok(reply) if reply == b"+PONG\r\n" => admitted.push(client),
            Ok(reply) => {
                assert_eq!(one_line(&reply), "-ERR max number of clients reached");
                refused += 1;
            }
            Err(error) => panic!("the error must reach the client: {error}"),
        }
    }
    assert_eq!((admitted.len(), refused), (8, 32));
}

#[test]
fn a_silent_client_is_closed_and_a_subscribed_one_is_not() {
    let gateway = shared::gateway(module_path!(), "[limits]\nidle_timeout = \"1s\"\n");
    let mut subscriber = gateway.client();
    subscriber.check("SUBSCRIBE idle", "*3 $9 subscribe $4 idle :1");
    let mut blocked = gateway.client();
    blocked.send_line("BLPOP idle:list 0");
    let mut silent = gateway.client();
    silent.check("PING", "+PONG");
    assert_eq!(silent.rest(), b"");
    let mut other = gateway.client();
    other.check("PUBLISH idle still", ":1");
    subscriber.expect("a message", "*3 $7 message $4 idle $5 still");
    other.check("RPUSH idle:list v", ":1");
    blocked.expect("BLPOP", "*2 $9 idle:list $1 v");
}

#[test]
fn requests_beyond_their_size_are_refused() {
    let gateway = shared::gateway(
        module_path!(),
        "[limits]\nbulk_bytes_max = \"64kb\"\nrequest_bytes_max = \"256kb\"\narguments_max = 100\n",
    );
    let mut client = gateway.client();
    client.send(format!("*2\r\n$4\r\nECHO\r\n${}\r\n", (64 << 10) + 1).as_bytes());
    assert_eq!(one_line(&client.rest()), "-ERR Protocol error: invalid bulk length");
    let mut client = gateway.client();
    client.send(b"*101\r\n");
    assert_eq!(one_line(&client.rest()), "-ERR Protocol error: invalid multibulk length");
    let mut client = gateway.client();
    let argument = "x".repeat(60 << 10);
    let _ = client
        .try_send(&support::text::encode(&["DEL", &argument, &argument, &argument, &argument, &argument]));
    let said = one_line(&client.rest());
    assert!(said.starts_with("-ERR "), "{said}");
    gateway.client().check("PING", "+PONG");
}
