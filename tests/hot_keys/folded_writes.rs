//! Writes of many connections on one key become a few commands, and each connection gets the reply that Redis would have given
//! it one by one: the limiter of `INCR` and `EXPIRE`, `SET` with options, fields, lists, sets.
//!
//! Random pipelines go to a plain Redis and, through hotgate, to a second one. A failing seed is printed; `HOTGATE_SEED`
//! repeats it. And forty connections at once wait for a Redis that is held up, so that all they sent is in one or two flushes.

use crate::support::text::{one_line, request, shown};
use crate::support::{BOTH_VERSIONS, Client, Gateway, Server, seed, wait_until};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

const RULES: &str = "[[rule]]\nmatch = 'hot:*'\nmode = 'combine'\n";
const ROUNDS: usize = 300;
const CONNECTIONS: usize = 40;

/// What folds, and what does not, in times that are not over before the test is.
const LINES: &[&str] = &[
    "INCR hot:a",
    "EXPIRE hot:a 1000",
    "EXPIRE hot:a 2000 NX",
    "EXPIRE hot:a 3000 XX",
    "EXPIREAT hot:a 4000000000 GT",
    "PEXPIREAT hot:a 4000000000000 LT",
    "EXPIREAT hot:a 4000000000",
    "EXPIREAT hot:a 5",
    "EXPIRE hot:a -1",
    "EXPIRE hot:a nonsense",
    "PERSIST hot:a",
    "GET hot:a",
    "EXPIRETIME hot:b",
    "SET hot:a 5 EX 100",
    "SET hot:a 6 PXAT 4000000000000",
    "SET hot:a 7 KEEPTTL",
    "SET hot:a 8 NX",
    "SET hot:a 9 XX",
    "SET hot:a 10 GET",
    "SET hot:a 11",
    "SETNX hot:a 12",
    "SETEX hot:a 100 13",
    "SETEX hot:a 0 13",
    "DEL hot:a",
    "HSET hot:h f 1",
    "HSET hot:h f 2 g 3",
    "HSET hot:h g 3 f",
    "HMSET hot:h f 4",
    "HSETNX hot:h g 5",
    "HDEL hot:h f g",
    "HINCRBY hot:h f 1",
    "HINCRBY hot:h g 2",
    "HMGET hot:h f g",
    "HGETALL hot:h",
    "LPUSH hot:l a",
    "RPUSH hot:l b c",
    "RPUSHX hot:l d",
    "LPOP hot:l",
    "LLEN hot:l",
    "LPUSHX hot:none x",
    "RPUSH hot:a x",
    "SADD hot:s a b",
    "SADD hot:s a",
    "SREM hot:s a",
    "SCARD hot:s",
    "ZADD hot:z 1 a",
    "ZADD hot:z 2 a",
    "ZADD hot:z nan a",
    "ZADD hot:z INCR 1 a",
    "ZSCORE hot:z a",
    "PFADD hot:p a",
    "PFADD hot:p b",
];

#[test]
fn one_connection_gets_the_replies_of_redis() {
    let seed = seed();
    println!("HOTGATE_SEED={seed}");
    for config in ["", "[combine]\nexactly_once = true\n", "[gateway]\nworkers = 2\n"] {
        let (plain, behind) = (Server::start(), Server::start());
        let gateway = Gateway::before(&behind.seed()).config(&format!("{config}{RULES}")).start();
        for version in BOTH_VERSIONS {
            let mut clients = [Client::speaking(plain.address(), version), gateway.speaking(version)];
            clients.iter_mut().for_each(|client| client.check("FLUSHALL", "+OK"));
            let mut rng = SmallRng::seed_from_u64(seed);
            for round in 0..ROUNDS {
                let mut lines = Vec::new();
                for _ in 0..rng.random_range(1..8) {
                    let line = LINES[rng.random_range(0..LINES.len())];
                    let run = if rng.random_ratio(1, 4) { rng.random_range(2..6) } else { 1 };
                    lines.extend(std::iter::repeat_n(line, run));
                }
                let bytes: Vec<u8> = lines.iter().flat_map(|line| request(line)).collect();
                clients.iter_mut().for_each(|client| client.send(&bytes));
                for line in &lines {
                    let [expected, reply] = clients.each_mut().map(|client| client.reply());
                    assert!(
                        reply == expected,
                        "seed {seed}, {config:?}, {version:?}, round {round}: {line} of {lines:?}\n  hotgate {}\n  redis   {}",
                        shown(&reply),
                        shown(&expected)
                    );
                }
            }
        }
    }
}

/// What all connections are told that send these lines at once, line by line, and how many commands Redis had for it.
fn pile_up(server: &Server, gateway: &Gateway, lines: &[&str]) -> (Vec<Vec<String>>, u64) {
    let mut direct = server.client();
    direct.check("FLUSHALL", "+OK");
    let mut admin = gateway.client();
    let offered = |admin: &mut Client| {
        let info = admin.text("INFO everything");
        let line = info.lines().find_map(|line| line.strip_prefix("combine_offered:"));
        line.and_then(|digits| digits.parse::<usize>().ok()).unwrap_or_else(|| panic!("{info}"))
    };
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(|_| gateway.client()).collect();
    clients.iter_mut().for_each(|client| client.check("PING", "+PONG"));
    // The figures are published ten times a second.
    wait_until("what came before is counted", || {
        let before = offered(&mut admin);
        let frame = admin.text("INFO everything");
        frame.contains(&format!("combine_offered:{before}")) && before.is_multiple_of(lines.len())
    });
    let before = offered(&mut admin);
    direct.check("CONFIG RESETSTAT", "+OK");
    server.pause();
    let bytes: Vec<u8> = lines.iter().flat_map(|line| request(line)).collect();
    clients.iter_mut().for_each(|client| client.send(&bytes));
    wait_until("all wait", || offered(&mut admin) >= before + CONNECTIONS * lines.len());
    server.resume();
    let mut told = vec![Vec::new(); lines.len()];
    for client in &mut clients {
        told.iter_mut().for_each(|told| told.push(one_line(&client.reply())));
    }
    let stats = direct.text("INFO commandstats");
    let names: Vec<String> =
        lines.iter().map(|line| line.split(' ').next().unwrap().to_lowercase()).collect();
    let calls = stats.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let is_ours = names.iter().any(|ours| ours == name) || name == "incrby";
        is_ours.then(|| rest.split(',').next()?.parse::<u64>().ok())?
    });
    (told, calls.sum())
}

/// The numbers among replies, in order.
fn numbers(told: &[String]) -> Vec<i64> {
    let mut numbers: Vec<i64> = told
        .iter()
        .map(|reply| reply.strip_prefix(':').unwrap_or_else(|| panic!("{reply}")).parse().unwrap())
        .collect();
    numbers.sort_unstable();
    numbers
}

#[test]
fn many_connections_are_a_few_commands_and_each_has_its_own_reply() {
    let server = Server::start();
    let gateway = Gateway::before(&server.address().to_string()).config(RULES).start();
    let all = CONNECTIONS as i64;
    let count = |told: &[String], reply: &str| told.iter().filter(|told| *told == reply).count() as i64;
    let check = |lines: &[&str], calls_max: u64, expect: &dyn Fn(&[Vec<String>]) -> bool| {
        let (told, calls) = pile_up(&server, &gateway, lines);
        assert!(expect(&told), "{lines:?}: {told:?}");
        assert!(calls <= calls_max, "{lines:?} of {CONNECTIONS} connections were {calls} commands");
    };
    let in_turn = |told: &[String]| numbers(told).into_iter().eq(1..=all);
    check(&["INCR hot:k", "EXPIRE hot:k 100"], 8, &|told| in_turn(&told[0]) && count(&told[1], ":1") == all);
    check(&["INCR hot:k", "EXPIRE hot:k 100 NX"], 8, &|told| {
        in_turn(&told[0]) && count(&told[1], ":1") == 1 && count(&told[1], ":0") == all - 1
    });
    check(&["INCR hot:k", "EXPIRE hot:k 100", "INCR hot:k", "EXPIRE hot:k 100"], 16, &|told| {
        let both = numbers(&[&told[0][..], &told[2]].concat());
        both.into_iter().eq(1..=2 * all) && count(&told[3], ":1") == all
    });
    check(&["SET hot:k v NX PX 100000"], 3, &|told| {
        count(&told[0], "+OK") == 1 && count(&told[0], "$-1") == all - 1
    });
    check(&["SET hot:k v EX 100"], 3, &|told| count(&told[0], "+OK") == all);
    check(&["HSET hot:k f v g w"], 3, &|told| numbers(&told[0]).iter().sum::<i64>() == 2);
    check(&["HINCRBY hot:k f 1", "HINCRBY hot:k g 1"], 8, &|told| in_turn(&told[0]) && in_turn(&told[1]));
    check(&["RPUSH hot:k a b"], 3, &|told| {
        numbers(&told[0]).into_iter().eq((1..=all).map(|place| 2 * place))
    });
    check(&["LPUSH hot:k a"], 3, &|told| in_turn(&told[0]));
    for line in ["SADD hot:k a", "PFADD hot:k a", "ZADD hot:k 1 a"] {
        check(&[line], 3, &|told| numbers(&told[0]).iter().sum::<i64>() == 1);
    }
}

#[test]
fn the_commands_of_a_hot_key_that_do_not_fold_are_named() {
    let server = Server::start();
    let config =
        format!("[detect]\nenter_rate = 50\nenter_share = 0.0\nleave_rate = 0\nleave_share = 0.0\n{RULES}");
    let gateway = Gateway::before(&server.address().to_string()).config(&config).start();
    let mut client = gateway.client();
    wait_until("the key is hot, and what does not fold is shown", || {
        for line in ["INCR hot:k", "EXPIRE hot:k 100", "APPEND hot:k 1", "GETDEL hot:k"] {
            client.send(&request(line).repeat(20));
            (0..20).for_each(|_| drop(client.reply()));
        }
        let said = client.list("HOTGATE HOTKEYS").join(" ");
        said.contains("hot:k")
            && said.contains("append")
            && said.contains("getdel")
            && !said.contains("expire")
    });
}
