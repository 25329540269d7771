//! What combining a key must not make worse: large values, requests that mean nothing, a node that is away or in trouble, and
//! the wish of an operator that it should end.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::support::figures::{calls, figure};
use crate::support::relay::Relay;
use crate::support::text::{encode, one_line, request};
use crate::support::{Client, Gateway, Server, wait_until};

const RULES: &str = "[[rule]]\nmatch = 'hot:*'\nmode = 'combine'\n";

fn start(upstream: &str, workers: usize, config: &str) -> Gateway {
    let workers = workers.to_string();
    Gateway::before(upstream).config(&format!("{config}{RULES}")).flag("--workers", &workers).start()
}

/// More arguments than a call of Lua takes must not end the script that carries the increments beside it.
#[test]
fn a_read_with_thousands_of_arguments_harms_nobody_else() {
    let server = Server::start();
    let gateway = start(&server.address().to_string(), 1, "");
    let mut client = gateway.client();
    for (name, error) in [("BITCOUNT", "-ERR syntax error"), ("BITPOS", "-ERR syntax error")] {
        let key = format!("hot:{name}");
        let mut odd = vec![name.to_owned(), key.clone()];
        odd.extend((0..9000).map(|_| "1".to_owned()));
        let increment = request(&format!("INCR {key}"));
        client.send(&[&increment[..], &encode(&odd), &increment].concat());
        client.expect("INCR", ":1");
        client.expect(name, error);
        client.expect("INCR", ":2");
    }
}

#[test]
fn a_value_larger_than_the_queue_is_set_all_the_same() {
    let server = Server::start();
    let gateway = start(&server.address().to_string(), 1, "");
    let mut client = gateway.client();
    let value = vec![b'x'; 65 << 20];
    for _ in 0..2 {
        assert_eq!(client.call(&[b"SET", &b"hot:large"[..], &value]), b"+OK\r\n");
        client.check("STRLEN hot:large", &format!(":{}", value.len()));
        client.check("SET hot:large small", "+OK");
        client.check("GET hot:large", "$5 small");
    }
}

/// Whether the reader's worker is the home of the key or not.
#[test]
fn many_reads_of_a_large_value_do_not_take_many_times_its_memory() {
    const VALUE_BYTES: usize = 1 << 20;
    const READS: usize = 600;
    for workers in [1, 2] {
        let server = Server::start();
        let impatient = "[limits]\noutput_stall_timeout = '300ms'\n";
        let gateway = start(&server.address().to_string(), workers, impatient);
        let mut setup = gateway.client();
        assert_eq!(setup.call(&[b"SET", &b"hot:large"[..], &vec![b'x'; VALUE_BYTES]]), b"+OK\r\n");
        let before = gateway.resident_bytes();
        let mut readers: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
        readers.iter_mut().for_each(|reader| reader.widen_window(READS));
        for reader in &mut readers {
            reader.stream().write_all(&request("GET hot:large").repeat(READS)).unwrap();
        }
        // One that does not read is closed after that time; others are served on.
        wait_until("all were answered or closed", || {
            setup.text("INFO clients").contains("connected_clients:1\r")
        });
        let grown = gateway.peak_resident_bytes().saturating_sub(before);
        assert!(grown < 100 * VALUE_BYTES as u64, "{workers} workers: {grown} bytes for {READS} reads");
        // One that reads has them all, each whole and in its place.
        setup.send(&[request("GET hot:large").repeat(8), request("STRLEN hot:large")].concat());
        for _ in 0..8 {
            let reply = setup.reply();
            assert!(reply.starts_with(b"$1048576\r\nxx") && reply.len() == VALUE_BYTES + 12);
        }
        setup.expect("STRLEN", &format!(":{VALUE_BYTES}"));
    }
}

#[test]
fn a_write_of_unknown_outcome_costs_no_later_one() {
    let server = Server::start();
    let relay = Relay::before(server.address());
    let config = "[upstream]\nunavailable_wait = '50ms'\nbackoff_max = '20ms'\n";
    let gateway = start(&relay.address().to_string(), 1, config);
    let (mut client, mut other) = (gateway.client(), gateway.client());
    client.check("INCR hot:a", ":1");
    relay.hold_replies(true);
    client.send_line("INCR hot:a");
    wait_until("it has taken effect", || server.client().ask("GET hot:a") == "$1 2");
    relay.cut();
    relay.hold_replies(false);
    client.expect("INCR hot:a", "-ERR hotgate: outcome unknown...");
    let lost = Instant::now();
    // Long enough for any patience with that flush to be over.
    wait_until("Redis is back for a while", || {
        other.ask("SET other 1") == "+OK" && lost.elapsed() > Duration::from_millis(300)
    });
    client.check("INCR hot:a", ":3");
}

/// Only a write that may have taken effect has to be waited for.
#[test]
fn a_read_on_its_way_to_a_node_that_dies_is_given_up_in_time() {
    let server = Server::start();
    let relay = Relay::before(server.address());
    let config = "[upstream]\nunavailable_wait = '300ms'\nbackoff_max = '20ms'\n";
    let gateway = start(&relay.address().to_string(), 1, config);
    let mut client = gateway.client();
    client.check("SET hot:a 1", "+OK");
    relay.hold_replies(true);
    client.send_line("GET hot:a");
    wait_until("it is on its way", || relay.times_sent(&request("GET hot:a")) == 1);
    relay.refuse(true);
    relay.cut();
    client.expect("GET hot:a", "-ERR hotgate: the key's node can't be reached...");
}

/// A node that cannot serve is asked again now and then, and not once for every client that comes.
#[test]
fn a_node_in_trouble_is_not_flooded_with_retries() {
    const REQUESTS: usize = 2000;
    const CLIENTS: usize = 20;
    let server = Server::with(&["--cluster-enabled", "yes"]);
    let mut direct = server.client();
    direct.check("CLUSTER ADDSLOTSRANGE 0 16383", "+OK");
    wait_until("the cluster serves", || direct.text("CLUSTER INFO").contains("cluster_state:ok"));
    let gateway = start(&server.address().to_string(), 1, "[upstream]\nunavailable_wait = '1s'\n");
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gateway.client()).collect();
    clients[0].check("INCR hot:a", ":1");
    clients[0].check("INCR cold:a", ":1");
    direct.check("CLUSTER DELSLOTS 1", "+OK");
    wait_until("the cluster is down", || direct.ask("GET hot:a").starts_with("-CLUSTERDOWN"));
    let began = Instant::now();
    for key in ["hot:a", "cold:a"] {
        for _ in 0..REQUESTS / CLIENTS {
            clients.iter_mut().for_each(|client| client.send_line(&format!("INCR {key}")));
        }
        for client in &mut clients {
            (0..REQUESTS / CLIENTS).for_each(|_| assert!(client.reply().starts_with(b"-")));
        }
    }
    let pauses = began.elapsed().as_millis() / 10;
    let rejected = |command: &str| {
        let stats = server.client().text("INFO commandstats");
        let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:"))).unwrap_or("");
        line.split(',')
            .find_map(|field| field.strip_prefix("rejected_calls=")?.parse::<u128>().ok())
            .unwrap_or(0)
    };
    assert!(rejected("evalsha") <= pauses + 2, "{} in {pauses} pauses", rejected("evalsha"));
    assert!(rejected("incr") <= 20 * REQUESTS as u128, "{}", rejected("incr"));
}

#[test]
fn combining_ends_when_a_reload_says_so() {
    let server = Server::start();
    let mut direct = server.client();
    let gateway = start(&server.address().to_string(), 2, "");
    let mut clients: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    let mut is_combined = || {
        let before = calls(&mut direct, "incr");
        for client in &mut clients {
            client.send(&request("INCR hot:stock").repeat(50));
        }
        for client in &mut clients {
            (0..50).for_each(|_| assert_eq!(client.reply()[0], b':'));
        }
        calls(&mut direct, "incr") - before < 200
    };
    assert!(is_combined());
    gateway.reload("[[rule]]\nmatch = 'hot:*'\nmode = 'off'\n");
    wait_until("it ends", || !is_combined() && !is_combined() && !is_combined());
    gateway.reload(RULES);
    wait_until("the key is combined again", &mut is_combined);
}

#[test]
fn a_reload_changes_the_bound_of_a_queue_that_is_there() {
    let server = Server::start();
    let gateway = start(&server.address().to_string(), 1, "");
    let mut client = gateway.client();
    client.check("INCR hot:a", ":1");
    gateway.reload(&format!("[combine]\npending_max = 2\nearly_flush_min = 2\n{RULES}"));
    let commands = || calls(&mut server.client(), "incrby") + calls(&mut server.client(), "incr");
    let mut sent = 1;
    wait_until("the bound is taken over", || {
        let mut others: Vec<Client> = (0..50).map(|_| gateway.client()).collect();
        let before = (figure(&mut client, "combine_offered"), commands());
        others.iter_mut().for_each(|other| other.send(&request("INCR hot:a").repeat(100)));
        for other in &mut others {
            (0..100).for_each(|_| assert_eq!(other.reply()[0], b':'));
        }
        sent += 5000;
        // At most two operations to a command.
        figure(&mut client, "combine_offered") - before.0 <= 2 * (commands() - before.1)
    });
    assert_eq!(client.text("GET hot:a"), sent.to_string());
}

/// What waits is bounded in bytes too. What a client has sent beyond it waits in its socket.
#[test]
fn clients_with_large_values_are_held_back_and_get_no_error() {
    const VALUE_BYTES: usize = 1 << 19;
    const CLIENTS: usize = 60;
    const EACH: usize = 16;
    const QUEUE_BYTES_MAX: usize = 64 << 20;
    for workers in [1, 2] {
        let server = Server::start();
        let gateway = start(&server.address().to_string(), workers, "");
        let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gateway.client()).collect();
        let mut admin = gateway.client();
        clients[0].check("RPUSH hot:list first", ":1");
        let before = gateway.resident_bytes();
        server.pause();
        let push = encode(&["RPUSH", "hot:list", &"x".repeat(VALUE_BYTES)].map(str::to_owned));
        let mut lengths = vec![1];
        std::thread::scope(|scope| {
            let push = &push;
            let pushing: Vec<_> = clients
                .iter_mut()
                .map(|client| {
                    scope.spawn(move || {
                        (0..EACH).for_each(|_| client.send(push));
                        (0..EACH).map(|_| one_line(&client.reply())).collect::<Vec<_>>()
                    })
                })
                .collect();
            let mut offered = 0;
            wait_until("no more is taken", || {
                let former = std::mem::replace(&mut offered, figure(&mut admin, "combine_offered"));
                offered > 64 && offered == former
            });
            server.resume();
            for client in pushing {
                let replies = client.join().unwrap();
                lengths.extend(replies.iter().map(|reply| reply[1..].parse::<usize>().unwrap()));
            }
        });
        lengths.sort_unstable();
        assert!(lengths.iter().copied().eq(1..=1 + CLIENTS * EACH), "each has its own length");
        let grown = gateway.peak_resident_bytes().saturating_sub(before) as usize;
        let (sent, waiting) = (CLIENTS * EACH * VALUE_BYTES, CLIENTS * VALUE_BYTES);
        // A flush of the whole queue is made beside it, in a buffer that doubles, and goes onto the wire.
        assert!(grown < 4 * QUEUE_BYTES_MAX + waiting, "{workers} workers: {grown} bytes for {sent}");
    }
}
