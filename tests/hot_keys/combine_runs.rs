//! Equal requests one behind the other on one connection are combined as one: their replies are Redis's own all the same,
//! byte for byte and one for each.
//!
//! Random pipelines that are mostly runs go to a plain Redis and, through hotgate, to a second one. A failing seed is
//! printed; `HOTGATE_SEED` repeats it.

use crate::support::figures::figure;
use crate::support::text::{one_line, request, shown};
use crate::support::{BOTH_VERSIONS, Client, Gateway, Server, seed, wait_until};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const RULES: &str = "[[rule]]\nmatch = 'hot:*'\nmode = 'combine'\n";
const ROUNDS: usize = 400;
const RUN_MAX: usize = 40;

/// Mostly what folds, in every kind of run, among what does not; some of it fails, and some of it part-way.
const LINES: &[&str] = &[
    "INCR hot:a",
    "INCR hot:a",
    "INCR hot:a",
    "DECR hot:a",
    "INCRBY hot:a 7",
    "INCRBY hot:a 4611686018427387904",
    "INCRBY hot:a -4611686018427387904",
    "INCR hot:b",
    "INCR hot:list",
    "GET hot:a",
    "GET hot:b",
    "SET hot:b 5",
    "SET hot:b nonsense",
    "HINCRBY hot:h f 2",
    "HINCRBY hot:h f 9223372036854775807",
    "HGET hot:h f",
    "HGETALL hot:h",
    "STRLEN hot:a",
    "EXISTS hot:a",
    "APPEND hot:b 1",
    "DEL hot:a",
    "INCR cold:a",
    "PING",
    "incr hot:a wrong",
];

/// How the run is cut into writes does not matter, nor that it ends within a request.
fn converse(plain: &mut Client, through: &mut Client, rng: &mut SmallRng, context: &str) {
    for round in 0..ROUNDS {
        let mut lines = Vec::new();
        for _ in 0..rng.random_range(1..5) {
            let line = LINES[rng.random_range(0..LINES.len())];
            let run = if rng.random_ratio(2, 3) { rng.random_range(1..RUN_MAX) } else { 1 };
            lines.extend(std::iter::repeat_n(line, run));
        }
        let bytes: Vec<u8> = lines.iter().flat_map(|line| request(line)).collect();
        let cut = rng.random_range(0..=bytes.len());
        for client in [&mut *plain, &mut *through] {
            client.send(&bytes[..cut]);
            client.send(&bytes[cut..]);
        }
        for (place, line) in lines.iter().enumerate() {
            let (expected, reply) = (plain.reply(), through.reply());
            assert!(
                reply == expected,
                "{context}, round {round}, {place}: {line}\n  hotgate {}\n  redis   {}",
                shown(&reply),
                shown(&expected)
            );
        }
    }
}

#[test]
fn replies_are_those_of_one_by_one() {
    let seed = seed();
    let configs = [
        "",
        "[combine]\nexactly_once = true\n",
        "[gateway]\nworkers = 2\n[combine]\nflush_interval = '0s'\n",
        "[limits]\nclient_inflight_max = 16\n",
    ];
    for config in configs {
        let (plain, behind) = (Server::start(), Server::start());
        let gateway = Gateway::before(&behind).config(&format!("{config}{RULES}")).start();
        for version in BOTH_VERSIONS {
            let mut to_redis = Client::speaking(plain.address(), version);
            let mut to_hotgate = gateway.speaking(version);
            for client in [&mut to_redis, &mut to_hotgate] {
                client.check("FLUSHALL", "+OK");
                client.check("RPUSH hot:list x", ":1");
            }
            let mut rng = SmallRng::seed_from_u64(seed);
            let context = format!("seed {seed}, {config:?}, {version:?}");
            converse(&mut to_redis, &mut to_hotgate, &mut rng, &context);
        }
    }
}

#[test]
fn a_muted_client_hears_of_no_run() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(RULES).start();
    let mut client = gateway.client();
    let runs: [(&str, usize); 7] = [
        ("CLIENT REPLY SKIP", 1),
        ("INCR hot:a", 5),
        ("CLIENT REPLY OFF", 1),
        ("INCR hot:a", 100),
        ("CLIENT REPLY ON", 1),
        ("INCR hot:a", 3),
        ("GET hot:a", 2),
    ];
    let lines = runs.iter().flat_map(|(line, times)| std::iter::repeat_n(line, *times));
    client.send(&lines.flat_map(|line| request(line)).collect::<Vec<u8>>());
    let expected = [":2", ":3", ":4", ":5", "+OK", ":106", ":107", ":108", "$3\r\n108", "$3\r\n108"];
    for expected in expected {
        assert_eq!(shown(&client.reply()), shown(format!("{expected}\r\n").as_bytes()));
    }
}

/// With one worker and with several, each of which has a share of the bound.
#[test]
fn who_finds_the_queue_full_is_held_back_and_gets_no_error() {
    ["1", "2"].into_iter().for_each(fill_the_queue);
}

fn fill_the_queue(workers: &str) {
    const REQUESTS: usize = 3000;
    const PENDING_MAX: u64 = 100;
    let server = Server::start();
    let config = format!(
        "[combine]\npending_max = {PENDING_MAX}\nearly_flush_min = 100\n[limits]\nclient_inflight_max = 40\n{RULES}"
    );
    let gateway = Gateway::before(&server).config(&config).flag("--workers", workers).start();
    // So many that each worker has several, however the kernel deals them out.
    const CLIENTS: usize = 20;
    let mut clients: Vec<Client> = (0..CLIENTS).map(|_| gateway.client()).collect();
    // Warm, so that nothing but the pause holds up a flush.
    clients[0].check("INCR hot:a", ":1");
    clients.iter_mut().for_each(|client| client.widen_window(80));
    server.pause();
    for client in &mut clients {
        client.send(&request("INCR hot:a").repeat(REQUESTS / CLIENTS));
    }
    let mut admin = gateway.client();
    // 800 would be under way if only the clients' own bounds held.
    wait_until("the queue is full", || figure(&mut admin, "combine_offered") == 1 + PENDING_MAX);
    server.resume();
    let mut values = vec![1];
    for client in &mut clients {
        for _ in 0..REQUESTS / CLIENTS {
            let reply = one_line(&client.reply());
            let value = reply.strip_prefix(':').and_then(|digits| digits.parse::<usize>().ok());
            values.push(value.unwrap_or_else(|| panic!("{reply}")));
        }
    }
    values.sort_unstable();
    assert!(values.iter().copied().eq(1..=values.len()), "unique and without gaps");
    assert_eq!(values.len(), 1 + REQUESTS);
    assert_eq!(clients[0].text("GET hot:a"), values.len().to_string());
}

#[test]
fn each_of_a_run_is_counted() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(RULES).start();
    let mut client = gateway.client();
    for _ in 0..50 {
        client.send(&request("INCR hot:a").repeat(200));
        (0..200).for_each(|_| assert_eq!(client.reply()[0], b':'));
    }
    let figure = |client: &mut Client, name: &str| {
        let info = client.text("INFO everything");
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|digits| digits.parse::<u64>().ok()).unwrap_or_else(|| panic!("no {name} in {info}"))
    };
    wait_until("every increment is among those offered", || figure(&mut client, "combine_offered") == 10_000);
    // Counted by the client's worker, which need not be the key's home and publishes what it counts when it is its turn.
    wait_until("each is counted", || figure(&mut client, "total_commands_processed") >= 10_000);
}

#[test]
fn a_quota_judges_a_run_one_by_one() {
    for workers in [1, 2] {
        let mut server = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
        let config = format!(
            "[gateway]\nworkers = {workers}\n[upstream]\nunavailable_wait = '50ms'\nbackoff_max = '100ms'\n\
             [[quota]]\nmatch = 'sku:*'\nlimit = 100\nrecheck = '10s'\non_unavailable = 'allow'\n"
        );
        let gateway = Gateway::before(&server).config(&config).start();
        let mut client = gateway.client();
        let mut check = |line: &str, times: usize, expected: &mut dyn FnMut(usize) -> String| {
            client.send(&request(line).repeat(times));
            for place in 0..times {
                let reply = shown(&client.reply());
                let expected = expected(place);
                assert!(reply.starts_with(&expected), "{workers} workers, {line}, {place}: {reply}");
            }
        };
        let refused = |_: usize| "-QUOTA limit of 100 reached".to_owned();
        let counted = |place: usize| format!(":{}\\r", place + 1);
        check("INCR sku:1", 300, &mut |place| if place < 100 { counted(place) } else { refused(place) });
        // Known to be sold out: refused without Redis.
        check("INCR sku:1", 200, &mut |place| refused(place));
        check("DECRBY sku:1 2", 5, &mut |place| format!(":{}\\r", 98 - 2 * place));
        check("INCR sku:1", 8, &mut |place| counted(90 + place));
        server.kill();
        wait_until("the gateway notices", || gateway.log().contains("lost a connection"));
        check("INCR sku:1", 6, &mut |place| if place < 2 { counted(98 + place) } else { refused(place) });
        server.restart();
        wait_until("what was let through is paid in", || server.client().text("GET sku:1") == "100");
    }
}

#[test]
fn a_quota_that_comes_holds_what_waits_and_not_what_is_on_its_way() {
    for workers in [1, 2] {
        let server = Server::start();
        let config = format!("[gateway]\nworkers = {workers}\n[[rule]]\nmatch = 'sku:*'\nmode = 'combine'\n");
        let gateway = Gateway::before(&server).config(&config).start();
        let mut clients = [gateway.client(), gateway.client()];
        clients[0].check("INCR sku:1", ":1");
        clients.iter_mut().for_each(|client| client.widen_window(80));
        server.pause();
        let mut admin = gateway.client();
        for (place, client) in clients.iter_mut().enumerate() {
            client.send(&request("INCR sku:1").repeat(40));
            wait_until("they are in the queue", || {
                admin.text("INFO hotgate").contains(&format!("combine_offered:{}\r", 41 + 40 * place))
            });
        }
        gateway.reload(&format!("{config}[[quota]]\nmatch = 'sku:*'\nlimit = 60\n"));
        // Whether a worker knows shows without Redis: what would pass by a quota is refused when it is queued.
        let mut witnesses: Vec<Client> = (0..16).map(|_| gateway.client()).collect();
        wait_until("all workers know the quota", || {
            witnesses.iter_mut().all(|client| {
                client.check("MULTI", "+OK");
                let knows = client.ask("SET sku:2 1").starts_with("-QUOTA");
                client.check("DISCARD", "+OK");
                knows
            })
        });
        server.resume();
        for (place, expected) in (2..=81).enumerate() {
            let reply = shown(&clients[place / 40].reply());
            let expected =
                if expected <= 60 { format!(":{expected}\\r") } else { "-QUOTA limit of 60".to_owned() };
            assert!(reply.starts_with(&expected), "{workers} workers, {place}: {reply}");
        }
    }
}
