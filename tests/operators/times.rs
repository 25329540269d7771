//! The figures of times tell the truth: upstream time is from the write to the reply and nothing else, what the gateway adds has a
//! series of its own, and what is folded, cached, refused here or blocks counts in neither wrongly.

use std::collections::HashMap;
use std::time::Instant;

use crate::sight::answered;
use crate::support::{Gateway, Server, wait_for, wait_until};

/// What `/metrics` says.
struct Figures(HashMap<String, f64>);

impl Figures {
    /// Once the gateway's figures tell of as many requests of this outcome.
    fn with(gateway: &Gateway, outcome: &str, requests: f64) -> Figures {
        wait_for(&format!("{requests} requests are {outcome}"), || {
            let figures = Figures::of(gateway);
            (figures.requests(None, outcome) >= requests).then_some(figures)
        })
    }

    fn of(gateway: &Gateway) -> Figures {
        let (code, text) = answered(gateway, "/metrics");
        assert_eq!(code, 200, "{text}");
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| line.rsplit_once(' '));
        Figures(samples.map(|(series, value)| (series.to_owned(), value.parse().unwrap())).collect())
    }

    fn requests(&self, class: Option<&str>, outcome: &str) -> f64 {
        let of_class =
            |series: &str| class.is_none_or(|class| series.contains(&format!("class=\"{class}\"")));
        let is_its = |series: &str| {
            series.starts_with("hotgate_requests_total{")
                && series.contains(&format!("outcome=\"{outcome}\""))
                && of_class(series)
        };
        self.0.iter().filter(|(series, _)| is_its(series)).map(|(_, value)| value).sum()
    }

    fn count(&self, part: &str) -> f64 {
        self.0[&format!("hotgate_{part}_duration_seconds_count")]
    }

    fn seconds(&self, part: &str) -> f64 {
        self.0[&format!("hotgate_{part}_duration_seconds_sum")]
    }
}

const SLEEP_S: f64 = 0.3;

/// Redis is held up for [`SLEEP_S`]; the replies come afterwards.
fn hold_up(server: &Server) {
    server.client().send_line(&format!("DEBUG SLEEP {SLEEP_S}"));
    wait_until("Redis sleeps", || {
        let mut probe = std::net::TcpStream::connect(server.address()).unwrap();
        use std::io::{Read, Write};
        probe.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
        probe.write_all(b"PING\r\n").unwrap();
        probe.read(&mut [0; 16]).is_err()
    });
}

#[test]
fn what_redis_takes_is_upstream_time_and_a_wait_for_a_connection_is_not() {
    let mut server = Server::with(&["--enable-debug-command", "yes"]);
    let gateway = Gateway::before(&server).config("[upstream]\nunavailable_wait = '1m'\n").start();
    let mut client = gateway.client();
    client.check("SET k v", "+OK");
    hold_up(&server);
    client.check("GET k", "$1 v");
    let slept = Figures::with(&gateway, "forwarded", 2.0);
    assert!(slept.seconds("upstream") > SLEEP_S / 2.0, "{}", slept.seconds("upstream"));
    assert!(slept.seconds("gateway") < slept.seconds("upstream"));
    // Nobody is there to be asked for a while: that is the gateway's queue.
    server.kill();
    client.send_line("GET k");
    let since = Instant::now();
    wait_until("it has waited", || since.elapsed().as_secs_f64() > 2.0 * SLEEP_S);
    server.restart();
    assert_eq!(client.reply(), b"$-1\r\n");
    let queued = Figures::with(&gateway, "forwarded", 3.0);
    let grew = |part| queued.seconds(part) - slept.seconds(part);
    assert!(grew("gateway") > SLEEP_S, "the gateway added {} s", grew("gateway"));
    assert!(grew("upstream") < grew("gateway"), "Redis took {} s", grew("upstream"));
    assert_eq!(queued.count("request"), 3.0);
}

#[test]
fn what_is_folded_has_no_upstream_time_of_its_own_and_reads_are_no_counters() {
    let server = Server::with(&["--enable-debug-command", "yes"]);
    let gateway = Gateway::before(&server)
        .config("[gateway]\nworkers = 2\n[[rule]]\nmatch = 'hot*'\nmode = 'combine'\n")
        .start();
    let mut clients: Vec<_> = (0..20).map(|_| gateway.client()).collect();
    clients[0].check("GET hot", "$-1");
    hold_up(&server);
    for (place, client) in clients.iter_mut().enumerate() {
        client.send_line(if place % 2 == 0 { "INCR hot" } else { "GET hot:read" });
    }
    clients.iter_mut().for_each(|client| drop(client.reply()));
    let figures = Figures::with(&gateway, "combined", 21.0);
    assert_eq!(figures.requests(Some("counter"), "combined"), 10.0);
    assert_eq!(figures.requests(Some("read"), "combined"), 11.0);
    assert_eq!((figures.count("request"), figures.count("gateway")), (21.0, 21.0));
    assert!(figures.count("upstream") < 21.0, "each flush has one: {}", figures.count("upstream"));
    // All of them waited for what one flush of each key waited for.
    assert!(figures.seconds("request") > 10.0 * SLEEP_S / 2.0, "{}", figures.seconds("request"));
    assert!(figures.seconds("upstream") < figures.seconds("request") / 2.0);
}

#[test]
fn what_is_refused_here_or_blocks_has_no_upstream_time() {
    let server = Server::start();
    let gateway =
        Gateway::before(&server).config("[[quota]]\nmatch = 'sku:*'\nlimit = 1\nrecheck = '1m'\n").start();
    let mut client = gateway.client();
    client.check("INCR sku:1", ":1");
    // What is known of the counter is that it is full.
    wait_until("it is refused", || client.ask("INCR sku:1").starts_with("-QUOTA"));
    let before = wait_for("the refusals are counted", || {
        Some(Figures::of(&gateway)).filter(|figures| figures.requests(None, "refused") >= 1.0)
    });
    (0..50).for_each(|_| assert!(client.ask("INCR sku:1").starts_with("-QUOTA")));
    let refused = Figures::with(&gateway, "refused", before.requests(None, "refused") + 50.0);
    assert_eq!(refused.count("upstream"), before.count("upstream"));
    assert_eq!(refused.requests(Some("counter"), "refused"), refused.requests(None, "refused"));
    client.check("BLPOP empty 0.3", "*-1");
    let blocked = Figures::with(&gateway, "forwarded", refused.requests(None, "forwarded") + 1.0);
    assert_eq!(blocked.count("upstream"), refused.count("upstream"));
    assert_eq!(blocked.count("request"), refused.count("request"));
}
