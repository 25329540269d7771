//! Tenants get their rate and no more, whichever worker their connections come to, and nobody else is told to wait for them.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::text::{one_line, request};
use crate::support::{Client, Gateway, Server, wait_for, wait_until};

/// A gateway of two workers before one server.
fn start(tenants: &str) -> (Server, Gateway) {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(tenants).flag("--workers", "2").start();
    (server, gateway)
}

/// The replies to requests that are sent in one burst.
fn pipeline(client: &mut Client, lines: &[String]) -> Vec<String> {
    let mut other_end = client.stream();
    std::thread::scope(|scope| {
        scope.spawn(move || lines.iter().for_each(|line| other_end.write_all(&request(line)).unwrap()));
        lines.iter().map(|_| one_line(&client.reply())).collect()
    })
}

/// Sends `count` requests in one burst. How many were taken, and how many refused by a limit.
fn burst(client: &mut Client, command: &str, count: usize) -> (usize, usize) {
    let replies = pipeline(client, &vec![command.to_owned(); count]);
    let refused = replies.iter().filter(|reply| reply.starts_with("-THROTTLED")).count();
    (count - refused, refused)
}

fn tenant(gateway: &Gateway, name: &str) -> Value {
    // Who asks too often is turned away.
    let told =
        wait_for("figures", || Some(gateway.get("/api/tenants")).filter(|(status, _)| *status == 200)).1;
    let told: Value = serde_json::from_str(&told).unwrap();
    let tenants = told["tenants"].as_array().unwrap();
    tenants
        .iter()
        .find(|tenant| tenant["tenant"] == name)
        .unwrap_or_else(|| panic!("no {name} in {told}"))
        .clone()
}

/// Sends a command until its tenant's limit refuses it. Whatever is taken makes that sooner.
fn until_refused(client: &mut Client, line: &str) -> String {
    wait_for("it is over its limit", || {
        Some(client.ask(line)).filter(|reply| reply.starts_with("-THROTTLED"))
    })
}

#[test]
fn over_its_rate_a_tenant_gets_a_clear_error_and_nobody_else_does() {
    let (_server, gateway) = start("[[tenant]]\nname = \"seven\"\nmatch = \"t:7:*\"\nrate = 20\n");
    let mut client = gateway.client();
    let (taken, refused) = burst(&mut client, "GET t:7:x", 200);
    assert!(taken >= 20 && refused >= 100, "{taken} taken, {refused} refused");
    let told = until_refused(&mut client, "SET t:7:x 1");
    let expected = "-THROTTLED hotgate: tenant 'seven' is over its rate of 20 requests per second at this gateway; try again in ";
    assert!(told.starts_with(expected) && told.ends_with(" ms"), "{told}");
    assert_eq!(burst(&mut client, "GET t:8:x", 500), (500, 0));
    // A command that names its keys among others is its own too.
    until_refused(&mut client, "MGET t:8:x t:7:x");
    // What would be queued and is refused makes a transaction abort.
    wait_until("a queued command is refused", || {
        client.check("MULTI", "+OK");
        let is_refused = client.ask("GET t:7:x").starts_with("-THROTTLED");
        client.check(
            if is_refused { "EXEC" } else { "DISCARD" },
            if is_refused { "-EXECABORT ..." } else { "+OK" },
        );
        is_refused
    });
    // It is let in again.
    wait_until("the tenant may go on", || !client.ask("GET t:7:x").starts_with("-THROTTLED"));
    wait_until("its figures are told", || {
        tenant(&gateway, "seven")["refused"]["rate"].as_u64().unwrap() >= 100
    });
    let told = tenant(&gateway, "seven");
    assert_eq!((&told["by"], &told["of"], &told["rate_max"]), (&"match".into(), &"t:7:*".into(), &20.into()));
    let metrics = gateway.get("/metrics").1;
    assert!(metrics.contains("hotgate_tenant_refused_total{tenant=\"seven\",limit=\"rate\"} "), "{metrics}");
    assert!(metrics.contains("hotgate_cluster_requests_total{cluster=\"default\"} "), "{metrics}");
    let info = client.text("INFO upstreams");
    assert!(info.contains("cluster0:name=default,kind=server,ready=1,masters=1,qps="), "{info}");
}

/// Ten connections that are spread over two workers as the kernel has it, and one connection at one of them, get the same.
#[test]
fn a_rate_is_one_of_the_gateway_whatever_the_workers() {
    let rate = 2000;
    let tenants =
        format!("[[tenant]]\nmatch = \"a:*\"\nrate = {rate}\n[[tenant]]\nmatch = \"b:*\"\nrate = {rate}\n");
    let (_server, gateway) = start(&tenants);
    let taken_in = |key: &'static str, connections: usize| {
        let started = Instant::now();
        let counts: Vec<usize> = std::thread::scope(|scope| {
            let run = || {
                let mut client = gateway.client();
                let mut taken = 0;
                while started.elapsed() < Duration::from_secs(3) {
                    taken += burst(&mut client, key, 100).0;
                }
                taken
            };
            let threads: Vec<_> = (0..connections).map(|_| scope.spawn(run)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        (counts.iter().sum::<usize>() as f64, started.elapsed().as_secs_f64())
    };
    for (key, connections) in [("GET a:x", 10), ("GET b:x", 1)] {
        let (taken, seconds) = taken_in(key, connections);
        // The burst is a second's worth, and a hundredth of a second's may lie with the workers.
        let most = f64::from(rate) * (seconds + 1.0) * 1.02;
        assert!(taken <= most, "{connections} connections: {taken} in {seconds} s, at most {most}");
        // What the machine was too busy to ask for is not missed.
        assert!(taken >= f64::from(rate) * 1.5, "{connections} connections: {taken} in {seconds} s");
    }
}

#[test]
fn with_a_delay_its_client_is_held_back_and_loses_nothing() {
    let tenants = "[[tenant]]\nname = \"slow\"\nmatch = \"t:7:*\"\nrate = 500\nburst = \"20ms\"\nover = { delay = \"30s\" }\n";
    let (_server, gateway) = start(tenants);
    let mut client = gateway.client();
    client.check("SET t:7:x 0", "+OK");
    let commands: Vec<String> = (0..600).map(|_| "INCR t:7:x".to_owned()).collect();
    let mut other = gateway.client();
    let replies = std::thread::scope(|scope| {
        let held = scope.spawn(|| pipeline(&mut client, &commands));
        // Others go on meanwhile.
        for _ in 0..200 {
            other.check("SET u:x 1", "+OK");
        }
        held.join().unwrap()
    });
    let expected: Vec<String> = (1..=600).map(|number| format!(":{number}")).collect();
    assert_eq!(replies, expected);
    wait_until("that it was held back is told", || {
        tenant(&gateway, "slow")["tenant"] == "slow" && {
            let metrics = gateway.get("/metrics").1;
            let line = metrics
                .lines()
                .find(|line| line.starts_with("hotgate_tenant_delayed_total{tenant=\"slow\"} "));
            line.is_some_and(|line| !line.ends_with(" 0"))
        }
    });
}

#[test]
fn a_delay_that_does_not_suffice_ends_with_the_error() {
    let tenants = "[[tenant]]\nmatch = \"t:7:*\"\nrate = 1\nover = { delay = \"50ms\" }\n";
    let (_server, gateway) = start(tenants);
    let mut client = gateway.client();
    client.check("SET t:7:x 0", "+OK");
    until_refused(&mut client, "SET t:7:x 0");
}

#[test]
fn bytes_count_both_ways() {
    let (_server, gateway) = start("[[tenant]]\nmatch = \"t:7:*\"\nbytes_rate = \"64kb\"\n");
    let mut client = gateway.client();
    client.check(&format!("SET t:7:x {}", "v".repeat(40_000)), "+OK");
    // The reply has used up what the request left.
    assert!(client.ask("GET t:7:x").starts_with("$40000 "));
    client.check(
        "GET t:7:x",
        "-THROTTLED hotgate: tenant 't:7:*' is over its bytes_rate of 65536 bytes per second ...",
    );
    wait_until("there is room again", || client.ask("EXISTS t:7:x") == ":1");
}

#[test]
fn a_user_has_so_many_connections_at_all_workers_together() {
    let config = "[[auth.user]]\nname = \"shop\"\npassword = \"p\"\n[[auth.user]]\nname = \"other\"\npassword = \"p\"\n\
                  [[tenant]]\nuser = \"shop\"\nclients_max = 3\nrate = 1000\n";
    let (_server, gateway) = start(config);
    let login = |user: &str| {
        let mut client = gateway.client();
        client.check(&format!("AUTH {user} p"), "+OK");
        client
    };
    let mut inside: Vec<Client> = (0..3).map(|_| login("shop")).collect();
    inside.iter_mut().for_each(|client| client.check("SET x 1", "+OK"));
    let mut fourth = login("shop");
    let told = one_line(&fourth.reply());
    assert_eq!(
        told,
        "-ERR hotgate: tenant 'shop' has as many connections as it may (clients_max = 3); close some, or raise it"
    );
    login("other").check("SET x 1", "+OK");
    // One that leaves makes room, and so does one that becomes somebody else.
    inside[0].check("AUTH other p", "+OK");
    inside[0].check("SET x 1", "+OK");
    login("shop").check("SET x 1", "+OK");
    drop(inside);
    wait_until("places are free again", || tenant(&gateway, "shop")["clients"].as_u64() < Some(3));
    wait_until("its requests are told", || tenant(&gateway, "shop")["requests"].as_u64().unwrap() >= 3);
}

#[test]
fn what_no_server_answers_is_counted_too() {
    let config = "[[tenant]]\nmatch = \"t:7:*\"\n[[rule]]\nmatch = \"t:7:*\"\nread = { ttl = \"1h\" }\n";
    let (_server, gateway) = start(config);
    let mut client = gateway.client();
    client.check("SET t:7:x v", "+OK");
    for _ in 0..100 {
        client.check("GET t:7:x", "$1 v");
    }
    wait_until("all are told", || tenant(&gateway, "t:7:*")["requests"].as_u64() == Some(101));
}

#[test]
fn a_reload_takes_other_tenants() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config("").flag("--workers", "2").start();
    let mut client = gateway.client();
    assert_eq!(burst(&mut client, "GET t:7:x", 200), (200, 0));
    gateway.reload("[[tenant]]\nmatch = \"t:7:*\"\nrate = 1\n");
    wait_until("the limit holds", || client.ask("GET t:7:x").starts_with("-THROTTLED"));
    gateway.reload("");
    wait_until("the limit is gone", || client.ask("GET t:7:x") == "$-1");
    assert_eq!(burst(&mut client, "GET t:7:x", 200), (200, 0));
}
