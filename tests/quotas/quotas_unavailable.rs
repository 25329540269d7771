//! What a quota does while Redis is away: it refuses, or it lets through what fits by the last known state and pays it
//! into the counter when Redis is back.

use crate::support::figures::quota_figure;
use crate::support::relay::Relay;
use crate::support::{Client, Gateway, Server, wait_until};

/// A server that loses nothing it acknowledged when it is killed.
fn durable_server() -> Server {
    Server::with(&["--appendonly", "yes", "--appendfsync", "always"])
}

fn config(workers: usize, quota: &str) -> String {
    format!(
        "[gateway]\nworkers = {workers}\n[upstream]\nunavailable_wait = '50ms'\nbackoff_max = '100ms'\n[[quota]]\n{quota}\n"
    )
}

fn start(server: &Server, workers: usize, quota: &str) -> Gateway {
    Gateway::before(&server).config(&config(workers, quota)).start()
}

/// Ends the server and waits until the gateway has noticed that its connection is gone: what it wrote before that would be in
/// doubt, and would wait for the server to come back.
fn kill(server: &mut Server, gateway: &Gateway) {
    let losses = || gateway.log().matches("lost a connection").count();
    let before = losses();
    server.kill();
    wait_until("the gateway notices", || losses() > before);
}

/// A gateway whose server can be taken away from it while the test still reaches the server.
fn start_apart(server: &Server, quota: &str) -> (Gateway, Relay) {
    let relay = Relay::before(server.address());
    let gateway = Gateway::before(&relay).config(&config(1, quota)).start();
    (gateway, relay)
}

/// Takes the server away and waits until the gateway has noticed.
fn cut_off(relay: &Relay, gateway: &Gateway) {
    let losses = || gateway.log().matches("lost a connection").count();
    let before = losses();
    relay.refuse(true);
    relay.cut();
    wait_until("the gateway notices", || losses() > before);
}

/// Counts up by 1, 2, ... `count` and returns the sum. Whoever comes before it is noticed that Redis is away waits for
/// `unavailable_wait` and is let through then.
fn add_all(client: &mut Client, count: i64) -> i64 {
    for delta in 1..=count {
        let reply = client.ask(&format!("INCRBY sku:1 {delta}"));
        assert!(reply.starts_with(':'), "INCRBY sku:1 {delta} -> {reply}");
    }
    (1..=count).sum()
}

#[test]
fn what_was_let_through_is_in_the_counter_when_redis_is_back() {
    for workers in [1, 2] {
        let mut server = durable_server();
        let gateway = start(&server, workers, "match = 'sku:*'\nlimit = 100000\non_unavailable = 'allow'");
        let mut clients: Vec<Client> = (0..8).map(|_| gateway.client()).collect();
        let mut sum = add_all(&mut clients[0], 3);
        for outage in 1..=2 {
            kill(&mut server, &gateway);
            // At once, so that some are under way together while nobody knows yet that Redis is away.
            for client in &mut clients {
                client.send_line("INCRBY sku:1 100");
            }
            for client in &mut clients {
                client.expect("INCRBY sku:1 100", ":...");
                sum += 100;
            }
            for client in &mut clients {
                sum += add_all(client, 10);
            }
            let let_through = outage * clients.len() as u64 * 11;
            wait_until("what is let through is counted", || {
                quota_figure(&mut clients[0], "unchecked") == let_through
            });
            server.restart();
            let mut direct = server.client();
            wait_until("the counter holds everything", || {
                direct.ask("GET sku:1").ends_with(&format!(" {sum}"))
            });
            // From the next grant on the counter is Redis's again.
            for client in &mut clients {
                sum += 1;
                assert_eq!(client.integer("INCR sku:1"), sum, "{workers} workers, outage {outage}");
            }
            assert_eq!(direct.text("GET sku:1"), sum.to_string());
        }
    }
}

#[test]
fn a_single_increment_while_redis_is_away_is_paid_in_without_further_traffic() {
    let mut server = durable_server();
    let gateway = start(&server, 2, "match = 'sku:*'\nlimit = 10\non_unavailable = 'allow'");
    let mut client = gateway.client();
    client.check("INCRBY sku:1 4", ":4");
    kill(&mut server, &gateway);
    client.check("INCRBY sku:1 5", ":9");
    server.restart();
    let mut direct = server.client();
    wait_until("the counter holds it", || direct.ask("GET sku:1") == "$1 9");
}

#[test]
fn no_more_is_let_through_than_fits_by_the_last_known_state() {
    let mut server = durable_server();
    let gateway = start(&server, 2, "match = 'sku:*'\nlimit = 10\non_unavailable = 'allow'\nrecheck = '5ms'");
    let mut client = gateway.client();
    client.check("INCRBY sku:1 4", ":4");
    kill(&mut server, &gateway);
    client.check("INCRBY sku:1 5", ":9");
    client.check("INCRBY sku:1 2", "-QUOTA limit of 10 reached for 'sku:1'");
    client.check("DECR sku:1", ":8");
    client.check("INCRBY sku:1 2", ":10");
    client.check("INCR sku:1", "-QUOTA limit of 10 reached for 'sku:1'");
    server.restart();
    // Asked for all the while, so that a grant by Redis would be seen if what is owed were not in the counter by then.
    let mut direct = server.client();
    wait_until("the counter holds everything", || {
        client.check("INCR sku:1", "-QUOTA limit of 10 reached for 'sku:1'");
        direct.ask("GET sku:1") == "$2 10"
    });
    direct.check("SET sku:1 0", "+OK");
    wait_until("Redis is asked again", || client.ask("INCR sku:1") == ":1");
}

#[test]
fn a_sold_out_counter_sees_that_redis_is_back() {
    let mut server = durable_server();
    let gateway = start(&server, 2, "match = 'sku:*'\nlimit = 10\non_unavailable = 'allow'\nrecheck = '5ms'");
    let mut client = gateway.client();
    client.check("INCRBY sku:1 10", ":10");
    kill(&mut server, &gateway);
    let refused = "-QUOTA limit of 10 reached for 'sku:1'";
    // Nothing fits, so nothing is let through, and a question to Redis is the only way to learn that it is back.
    let mut operator = gateway.client();
    wait_until("Redis is asked while it is known to be away", || {
        client.check("INCR sku:1", refused);
        quota_figure(&mut operator, "rechecks") >= 2
    });
    server.restart();
    server.client().check("DEL sku:1", ":1");
    wait_until("Redis is asked again", || client.ask("INCR sku:1") == ":1");
}

#[test]
fn by_default_everything_is_refused_and_counted() {
    let mut server = durable_server();
    let gateway = start(&server, 2, "match = 'sku:*'\nlimit = 10\nrecheck = '5ms'");
    let mut client = gateway.client();
    client.check("INCR sku:1", ":1");
    kill(&mut server, &gateway);
    for _ in 0..5 {
        client.check("INCR sku:1", "-QUOTA cannot be checked for 'sku:1': Redis is not available");
    }
    client.check("DECR sku:1", "-QUOTA cannot be checked for 'sku:1'...");
    wait_until("refusals are counted", || quota_figure(&mut client, "unavailable") == 6);
    server.restart();
    wait_until("it is open again", || client.ask("INCR sku:1") == ":2");
    assert_eq!(server.client().text("GET sku:1"), "2");
    assert_eq!(quota_figure(&mut client, "unchecked"), 0);
}

#[test]
fn a_sum_that_redis_refuses_for_good_is_given_up_and_told() {
    let not_an_integer = "-ERR value is not an integer or out of range";
    let beyond = "-QUOTA cannot be applied for 'sku:1': the counter is beyond 2^52";
    for (key_becomes, expect) in [
        ("SET sku:1 text", not_an_integer),
        ("RPUSH sku:1 element", "-WRONGTYPE ..."),
        ("SET sku:1 9223372036854775806", beyond),
    ] {
        let server = Server::start();
        let (gateway, relay) = start_apart(&server, "match = 'sku:*'\nlimit = 10\non_unavailable = 'allow'");
        let mut client = gateway.client();
        let mut direct = server.client();
        client.check("INCRBY sku:1 2", ":2");
        cut_off(&relay, &gateway);
        client.check("INCRBY sku:1 3", ":5");
        direct.ask("DEL sku:1");
        direct.ask(key_becomes);
        relay.refuse(false);
        wait_until("it is given up", || quota_figure(&mut client, "debts_lost") == 1);
        client.check("INCR sku:1", expect);
        direct.check("SET sku:1 7", "+OK");
        wait_until("the counter is Redis's again", || client.ask("INCR sku:1") == ":8");
        let log = gateway.log();
        assert!(log.contains("a sum that was let through unchecked is lost"), "{log}");
    }
}

#[test]
fn a_reload_while_redis_is_away_keeps_what_was_let_through() {
    let allow = "match = 'sku:*'\nlimit = 10\non_unavailable = 'allow'\nrecheck = '5ms'";
    let first = format!("match = 'other'\nlimit = 1\n[[quota]]\n{allow}");
    // The quota's place changes; the quota changes.
    for second in [allow.to_owned(), format!("{allow}\nreply = 'nil'")] {
        let server = Server::start();
        let (gateway, relay) = start_apart(&server, &first);
        let mut client = gateway.client();
        client.check("INCRBY sku:1 2", ":2");
        cut_off(&relay, &gateway);
        client.check("INCRBY sku:1 6", ":8");
        client.check("INCRBY sku:1 3", "-QUOTA limit of 10 reached for 'sku:1'");
        gateway.reload(&config(1, &format!("{second}\n[[quota]]\nmatch = 'probe'\nlimit = 1")));
        wait_until("the configuration is taken over", || client.ask("INCR probe").starts_with("-QUOTA"));
        let refused = client.ask("INCRBY sku:1 3");
        assert!(!refused.starts_with(':'), "{refused}");
        client.check("INCRBY sku:1 2", ":10");
        relay.refuse(false);
        let mut direct = server.client();
        wait_until("the counter holds everything", || {
            let reply = client.ask("INCR sku:1");
            assert!(!reply.starts_with(':'), "{reply}");
            direct.ask("GET sku:1") == "$2 10"
        });
    }
}

#[test]
fn a_counter_that_was_never_seen_is_held_to_its_limit() {
    let server = Server::start();
    let (gateway, relay) = start_apart(&server, "match = 'sku:*'\nlimit = 5\non_unavailable = 'allow'");
    let mut client = gateway.client();
    client.check("SET other 1", "+OK");
    cut_off(&relay, &gateway);
    for value in 1..=5 {
        client.check("INCR sku:1", &format!(":{value}"));
    }
    for _ in 0..7 {
        client.check("INCR sku:1", "-QUOTA limit of 5 reached for 'sku:1'");
    }
    relay.refuse(false);
    let mut direct = server.client();
    wait_until("the counter holds it", || direct.ask("GET sku:1") == "$1 5");
}

#[test]
fn what_was_let_through_counts_in_its_window() {
    let server = Server::start();
    let quota = "match = 'sku:*'\nlimit = 5\nwindow = '1h'\non_unavailable = 'allow'\nrecheck = '5ms'";
    let (gateway, relay) = start_apart(&server, quota);
    let mut client = gateway.client();
    let refused = "-QUOTA limit of 5 per 3600s reached for 'sku:1'";
    client.check("INCRBY sku:1 2", ":2");
    cut_off(&relay, &gateway);
    client.check("INCRBY sku:1 2", ":4");
    client.check("DECR sku:1", ":3");
    client.check("INCRBY sku:1 2", refused);
    relay.refuse(false);
    let mut direct = server.client();
    wait_until("the counter holds it", || direct.ask("GET sku:1") == "$1 3");
    client.check("INCRBY sku:1 2", refused);
    client.check("INCR sku:1", ":4");
    client.check("INCR sku:1", refused);
    let window = direct.list("KEYS *hotgate:window:*").remove(0);
    direct.check(&format!("GET {window}"), "$1 5");
}

/// The tail of each key's line in the log of a stopped gateway, and how it ended.
fn told_at_stop(gateway: &mut Gateway) -> (Option<i32>, Vec<String>) {
    let code = gateway.wait().code();
    let log = gateway.log();
    let lines = log.lines().filter(|line| line.contains("could not be added to their counter"));
    (code, lines.map(str::to_owned).collect())
}

const SHORT_DRAIN: &str = "[gateway]\nworkers = 2\ndrain_timeout = '500ms'\n\
                           [upstream]\nunavailable_wait = '50ms'\nbackoff_max = '100ms'\n";
const ALLOWED: &str = "[[quota]]\nmatch = 'sku:*'\nlimit = 100\non_unavailable = 'allow'\nrecheck = '5ms'\n";

/// A gateway whose server has 1 in `sku:1`, and that has let 4 more through since it was taken away.
fn owing(server: &Server, drain: &str) -> (Gateway, Relay, Client) {
    let relay = Relay::before(server.address());
    let gateway = Gateway::before(&relay).config(drain).config(ALLOWED).start();
    let mut client = gateway.client();
    client.check("INCRBY sku:1 1", ":1");
    cut_off(&relay, &gateway);
    client.check("INCRBY sku:1 4", ":5");
    (gateway, relay, client)
}

#[test]
fn sigterm_says_what_was_let_through_and_could_not_be_added() {
    let server = Server::start();
    let (mut gateway, _relay, mut client) = owing(&server, SHORT_DRAIN);
    client.check("INCRBY sku:1 2", ":7");
    client.check("INCRBY sku:2 3", ":3");
    gateway.terminate();
    let (code, lines) = told_at_stop(&mut gateway);
    assert_eq!(code, Some(1), "{lines:?}");
    for (key, told) in [("sku:1", "sum=6 increments=2"), ("sku:2", "sum=3 increments=1")] {
        let line = lines.iter().find(|line| line.contains(&format!("key=\"{key}\"")));
        assert!(line.is_some_and(|line| line.contains(told)), "{key}: {lines:?}");
    }
    let last = "3 increments of 2 keys that quotas let through while Redis was away could not be added";
    assert!(gateway.log().contains(last), "{}", gateway.log());
    server.client().check("GET sku:1", "$1 1");
}

#[test]
fn a_server_that_hangs_at_sigterm_leaves_it_in_doubt() {
    let server = Server::start();
    let (mut gateway, relay, _client) = owing(&server, SHORT_DRAIN);
    server.pause();
    relay.refuse(false);
    gateway.terminate();
    let (code, lines) = told_at_stop(&mut gateway);
    server.resume();
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
}

#[test]
fn what_was_let_through_is_added_while_the_gateway_drains() {
    // A reload that takes the quota away does not take what it let through.
    for reloaded in [false, true] {
        let server = Server::start();
        let patient = SHORT_DRAIN.replace("500ms", "50s");
        let (mut gateway, relay, mut client) = owing(&server, &patient);
        client.check("INCRBY sku:2 5", ":5");
        if reloaded {
            gateway.reload(&format!("{patient}[[quota]]\nmatch = 'probe'\nlimit = 0\n"));
            wait_until("the configuration is taken over", || client.ask("INCR probe").starts_with("-QUOTA"));
        }
        gateway.terminate();
        wait_until("it drains", || Client::try_connect(gateway.address).is_err());
        assert!(gateway.runs(), "it owes");
        relay.refuse(false);
        assert_eq!(told_at_stop(&mut gateway), (Some(0), Vec::new()));
        server.client().check("GET sku:1", "$1 5");
        server.client().check("GET sku:2", "$1 5");
    }
}

/// The increment that finds out that Redis is away was taken into the queue first, and is let through only when it can't be sent.
#[test]
fn the_drain_waits_for_what_was_let_through_out_of_a_queue() {
    let server = Server::start();
    let (mut gateway, relay, client) = owing(&server, &SHORT_DRAIN.replace("500ms", "50s"));
    // Nobody is left but what is owed.
    drop(client);
    gateway.terminate();
    wait_until("it drains", || gateway.log().contains("draining"));
    let attempts = relay.accepted();
    wait_until("it tries again and again, or ends", || !gateway.runs() || relay.accepted() > attempts + 9);
    assert!(gateway.runs(), "it owes");
    relay.refuse(false);
    assert_eq!(told_at_stop(&mut gateway), (Some(0), Vec::new()));
    server.client().check("GET sku:1", "$1 5");
}

#[test]
fn what_was_let_through_for_a_quota_that_is_gone_is_told_at_sigterm() {
    let server = Server::start();
    let (mut gateway, _relay, mut client) = owing(&server, SHORT_DRAIN);
    gateway.reload(&format!("{SHORT_DRAIN}[[quota]]\nmatch = 'probe'\nlimit = 0\n"));
    wait_until("the configuration is taken over", || client.ask("INCR probe").starts_with("-QUOTA"));
    gateway.terminate();
    let (code, lines) = told_at_stop(&mut gateway);
    assert_eq!((code, lines.len()), (Some(1), 1), "{lines:?}");
    assert!(lines[0].contains("sum=4 increments=1"), "{lines:?}");
}
