//! Every request ends once, whoever answers it: a node, a hot key, a copy, the gateway itself, a refusal. `hotgate_requests_total`
//! tells of each, under its class and outcome.

use std::collections::BTreeMap;

use crate::sight::answered;
use crate::support::relay::Relay;
use crate::support::{Client, Gateway, Server, Version, wait_until};

const CONFIG: &str = "
[upstream]
unavailable_wait = '200ms'
[combine]
exactly_once = false
[[rule]]
match = 'hot:*'
mode = 'combine'
[[rule]]
match = 'seen:*'
read = { ttl = '1h' }
[[quota]]
match = 'sku:*'
limit = 1
";

/// What the gateway has counted by class and outcome, and its errors by kind.
fn counted(gateway: &Gateway) -> BTreeMap<String, u64> {
    let (code, text) = answered(gateway, "/metrics");
    assert_eq!(code, 200, "{text}");
    let samples = text.lines().filter_map(|line| line.rsplit_once(' '));
    let ended = samples.filter_map(|(series, value)| {
        let labels = series.strip_prefix("hotgate_requests_total{class=\"");
        let name = match labels {
            Some(labels) => labels.replace("\",outcome=\"", " "),
            None => series.strip_prefix("hotgate_errors_total{kind=\"")?.to_owned(),
        };
        Some((name.trim_end_matches("\"}").to_owned(), value.parse().unwrap()))
    });
    ended.filter(|(_, value)| *value > 0).collect()
}

/// Does something; then exactly these have been counted.
fn check(gateway: &Gateway, what: &str, expected: &[&str], act: impl FnOnce()) {
    let before = counted(gateway);
    act();
    let mut grown = BTreeMap::new();
    wait_until(&format!("{what} is counted as {expected:?}"), || {
        let now = counted(gateway);
        grown = now
            .into_iter()
            .map(|(name, value)| (name.clone(), value - before.get(&name).unwrap_or(&0)))
            .collect();
        grown.retain(|_, grown| *grown > 0);
        grown.values().sum::<u64>() >= expected.len() as u64
    });
    let mut expected_counts = BTreeMap::new();
    expected.iter().for_each(|name| *expected_counts.entry((*name).to_owned()).or_insert(0) += 1);
    assert_eq!(grown, expected_counts, "{what}");
}

#[test]
fn a_request_counts_once_under_its_class_and_outcome() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(CONFIG).start();
    let mut client = gateway.speaking(Version::Resp3);
    // A `HELLO` comes first.
    wait_until("it is counted", || counted(&gateway).contains_key("local answered"));
    let mut check_line = |lines: &str, expected: &[&str]| {
        check(&gateway, lines, expected, || lines.split("; ").for_each(|line| drop(client.ask(line))));
    };
    check_line("GET plain", &["read forwarded"]);
    check_line("SET plain 1", &["write forwarded"]);
    check_line("INCR plain", &["counter forwarded"]);
    check_line("INCR hot:a", &["counter combined"]);
    check_line("GET hot:a", &["read combined"]);
    check_line("GET seen:a", &["read forwarded"]);
    check_line("GET seen:a", &["read cached"]);
    check_line("PING", &["local answered"]);
    check_line("SELECT 1", &["local forwarded"]);
    check_line("SELECT 0", &["local forwarded"]);
    check_line("CLIENT TRACKING ON", &["local answered"]);
    check_line("CLIENT TRACKING OFF", &["local answered"]);
    check_line("NOSUCH x", &["local failed", "client_request"]);
    check_line("MULTI; INCR plain; GET plain; EXEC", &["transaction forwarded"]);
    check_line("MULTI; EXEC", &["transaction answered"]);
    check_line("INCR sku:1", &["counter combined"]);
    check_line("INCR sku:1", &["counter refused"]);
    check(&gateway, "a silenced command", &["local answered"; 3], || {
        ["CLIENT REPLY SKIP", "PING", "ECHO x"].iter().for_each(|line| client.send_line(line));
        assert_eq!(client.reply(), b"$1\r\nx\r\n");
    });
}

#[test]
fn what_nobody_knows_the_outcome_of_has_failed_whoever_carried_it() {
    let server = Server::start();
    let relay = Relay::before(server.address());
    let gateway = Gateway::before(&relay).config(CONFIG).start();
    for (line, class) in [("INCR plain", "counter"), ("INCR hot:a", "counter")] {
        let lose = |client: &mut Client| {
            client.check(line, ":1");
            relay.hold_replies(true);
            client.send_line(line);
            let key = line.split(' ').nth(1).unwrap();
            wait_until("it has taken effect", || server.client().ask(&format!("GET {key}")) == "$1 2");
            relay.cut();
            relay.hold_replies(false);
            assert!(client.reply().starts_with(b"-ERR hotgate: "));
        };
        let mut client = gateway.client();
        let failed = format!("{class} failed");
        let before = counted(&gateway);
        lose(&mut client);
        for name in [&failed[..], "unknown_outcome"] {
            wait_until(&format!("{line} counts as {name}"), || {
                counted(&gateway).get(name).copied().unwrap_or(0)
                    == before.get(name).copied().unwrap_or(0) + 1
            });
        }
    }
}
