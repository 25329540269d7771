//! Whatever breaks between the gateway and Redis, an operation on a sale is done once: the call is sent again under its number until its outcome is
//! known, and waits for a node as any request does.

use crate::books::taken;
use crate::support::migration::Migration;
use crate::support::relay::Relay;
use crate::support::text::one_line;
use crate::support::{self, Client, Cluster, Gateway, Server, wait_until};

/// Patience beyond any fault of these tests.
const PATIENT: &str = "[upstream]\nunavailable_wait = '50s'\nbackoff_max = '100ms'\n";

#[test]
fn a_call_whose_connection_is_lost_is_done_once() {
    let server = Server::start();
    let relay = Relay::before(server.address());
    let config = format!("[gateway]\nworkers = 1\n{PATIENT}");
    let gateway = Gateway::before(&relay.address().to_string()).config(&config).start();
    let mut client = gateway.client();
    client.check("RESERVE.OPEN sku LIMIT 1000 PERUSER 1000", "+OK");
    client.check("RESERVE.ADD sku first", "*4 $9 confirmed :1 :999 :0");
    for round in 0..20 {
        // It runs, and nobody is told.
        relay.hold_replies(true);
        let before = relay.bytes_sent();
        let line = format!("RESERVE.ADD sku user IDMP {round}");
        client.send_line(&line);
        wait_until("it is on the wire", || relay.bytes_sent() > before);
        wait_until("it has run", || taken(&mut server.client(), "sku").0 == round + 2);
        relay.cut();
        relay.hold_replies(false);
        client.expect(&line, &format!("*4 $9 confirmed :2 :{} :0", 998 - round));
    }
    relay.hold_replies(true);
    client.send_line("RESERVE.CANCEL sku user COUNT 5");
    wait_until("it has run", || taken(&mut server.client(), "sku").0 == 16);
    relay.cut();
    relay.hold_replies(false);
    client.expect("CANCEL", "*4 $9 confirmed :2 :15 :0");
    assert_eq!(taken(&mut server.client(), "sku").0, 16, "given back once");
}

#[test]
fn a_script_that_the_server_forgot_goes_along() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut client = gateway.client();
    client.check("RESERVE.OPEN sku LIMIT 9", "+OK");
    for user in 1..=3 {
        server.client().check("SCRIPT FLUSH", "+OK");
        client
            .check(&format!("RESERVE.ADD sku {user}"), &format!("*4 $9 confirmed :{user} :{} :0", 9 - user));
        client.check("RESERVE.CLOSE sku", "+OK");
        server.client().check("SCRIPT FLUSH", "+OK");
        client.check("RESERVE.REOPEN sku", "+OK");
    }
}

#[test]
fn a_sale_goes_on_while_its_slot_moves() {
    let cluster = Cluster::start();
    let gateway = Gateway::before(&cluster).config(&format!("[gateway]\nworkers = 2\n{PATIENT}")).start();
    let mut client = gateway.client();
    client.check("RESERVE.OPEN sku LIMIT 100000 HOLD 500000", "+OK");
    for user in 0..200 {
        client.check(&format!("RESERVE.ADD sku early{user}"), "*4 $4 held...");
    }
    let migration = Migration::begin(&cluster, "sku");
    assert!(migration.keys().len() > 6, "{:?}", migration.keys());
    let mut users = 0;
    std::thread::scope(|scope| {
        let adding = scope.spawn(|| {
            let mut client = gateway.client();
            for user in 0..100 {
                client.check(&format!("RESERVE.ADD sku late{user}"), "*4 $4 held...");
            }
            100
        });
        while migration.move_keys(1) > 0 {}
        migration.end();
        users = adding.join().unwrap();
    });
    let mut owner = cluster.client(cluster.master_of("sku"));
    assert_eq!(taken(&mut owner, "sku"), (200 + users, 200 + users));
    client.check("RESERVE.CONFIRM sku early7", "*4 $9 confirmed :8 :1 :0");
}

#[test]
fn a_failover_delays_operations_and_loses_none() {
    let cluster = Cluster::start();
    let gateway = Gateway::before(&cluster).config(&format!("[gateway]\nworkers = 2\n{PATIENT}")).start();
    let mut client = gateway.client();
    client.check("RESERVE.OPEN sku LIMIT 100000", "+OK");
    let mut users = 0;
    cluster.fail_over_watching("sku", || {
        users += 1;
        client.check(&format!("RESERVE.ADD sku {users}"), &format!("*4 $9 confirmed :{users} ..."));
    });
    for _ in 0..20 {
        users += 1;
        client.check(&format!("RESERVE.ADD sku {users}"), &format!("*4 $9 confirmed :{users} ..."));
    }
    let mut owner = cluster.client(cluster.master_of("sku"));
    assert_eq!(taken(&mut owner, "sku"), (users, users));
}

#[test]
fn while_a_node_is_away_each_waits_its_time() {
    let mut server = Server::start();
    let config = "[upstream]\nunavailable_wait = '300ms'\nbackoff_max = '50ms'\n";
    let gateway = Gateway::of_two_workers(&server, config);
    let mut client = gateway.client();
    client.check("RESERVE.OPEN sku LIMIT 9", "+OK");
    client.check("RESERVE.ADD sku ada", "*4...");
    server.kill();
    client
        .check("RESERVE.ADD sku bob", "-ERR hotgate: the sale's node can't be reached; nothing was done...");
    client.check("RESERVE.MCHECK sku ada bob", "-ERR hotgate: the sale's node can't be reached...");
    client.check("RESERVE.CLOSE sku", "-ERR hotgate: Redis did not answer in time...");
    server.restart();
    wait_until("the server is used again", || client.ask("RESERVE.ADD sku bob").starts_with("-NOSKU"));
}

#[test]
fn a_client_that_leaves_and_a_gateway_that_stops_leave_nothing_behind() {
    let server = Server::start();
    let relay = Relay::before(server.address());
    let mut gateway =
        Gateway::before(&relay.address().to_string()).config(PATIENT).flag("--workers", "1").start();
    let (mut client, mut leaving) = (gateway.client(), gateway.client());
    client.check("RESERVE.OPEN sku LIMIT 9", "+OK");
    client.check("RESERVE.ADD sku ada", "*4...");
    relay.hold_replies(true);
    leaving.send_line("RESERVE.ADD sku bob");
    wait_until("it has run", || taken(&mut server.client(), "sku").0 == 2);
    drop(leaving);
    client.send_line("RESERVE.ADD sku cyd");
    gateway.terminate();
    support::wait_until("the gateway drains", || gateway.log().contains("draining"));
    relay.hold_replies(false);
    assert!(one_line(&client.reply()).starts_with("*4 $9 confirmed :3 "));
    drop(client);
    assert!(gateway.wait().success());
    assert_eq!(taken(&mut server.client(), "sku"), (3, 3));
}

/// As a hot key's clients are.
#[test]
fn who_finds_the_queue_full_is_held_back_and_gets_no_error() {
    for workers in [1, 2] {
        let server = Server::start();
        let relay = Relay::before(server.address());
        let config = format!(
            "[gateway]\nworkers = {workers}\n{PATIENT}[combine]\npending_max = 10\nearly_flush_min = 1\n"
        );
        let gateway = Gateway::before(&relay.address().to_string()).config(&config).start();
        let mut client = gateway.client();
        client.check("RESERVE.OPEN sku LIMIT 900", "+OK");
        client.check("RESERVE.ADD sku ada", "*4...");
        relay.hold_replies(true);
        let mut others: Vec<Client> = (0..20).map(|_| gateway.client()).collect();
        for (number, other) in others.iter_mut().enumerate() {
            // A pipeline: its order stays, and what is behind it waits as well.
            for place in 0..3 {
                other.send_line(&format!("RESERVE.ADD sku user{number}-{place}"));
            }
            other.send_line("PING");
        }
        let waiting = || {
            let (_, metrics) = gateway.get("/metrics");
            let line = metrics
                .lines()
                .find_map(|line| line.strip_prefix("hotgate_sale_operations_total{operation=\"add\"} "));
            line.and_then(|count| count.parse::<f64>().ok()).unwrap_or(0.0)
        };
        wait_until("the queue is full", || waiting() >= 11.0);
        // Those who are held back hold up nobody else.
        for _ in 0..20 {
            gateway.client().check("PING", "+PONG");
        }
        assert_eq!(waiting(), 11.0, "one before, and as many as the queue takes");
        relay.hold_replies(false);
        for other in &mut others {
            for _ in 0..3 {
                let reply = one_line(&other.reply());
                assert!(reply.starts_with("*4 $9 confirmed :"), "{reply}");
            }
            other.expect("PING", "+PONG");
        }
        assert_eq!(taken(&mut server.client(), "sku"), (61, 61));
    }
}
