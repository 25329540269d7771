//! Keys in write-behind mode, before real servers: what a client is answered, in which order things take effect, and what
//! is in Redis in the end.

use std::sync::OnceLock;

use crate::support::figures::{figure, info};
use crate::support::text::{one_line, request};
use crate::support::{self, BOTH_VERSIONS, Client, Cluster, Gateway, Server, wait_until};

/// Long enough for nothing to be flushed by itself while a test looks.
const LAZY: &str =
    "[[rule]]\nmatch = \"wb:*\"\nmode = \"write-behind\"\n[write_behind]\nflush_interval = \"1m\"\n";

/// The interval that a user would choose.
const QUICK: &str =
    "[[rule]]\nmatch = \"wb:*\"\nmode = \"write-behind\"\n[write_behind]\nflush_interval = \"20ms\"\n";

fn before(upstream: &str, config: &str, workers: usize) -> Gateway {
    Gateway::before(upstream).config(config).flag("--workers", &workers.to_string()).start()
}

/// A server with a gateway of two workers that flushes only when it must.
fn lazy() -> &'static (Server, Gateway) {
    static LAZY_GATEWAY: OnceLock<(Server, Gateway)> = OnceLock::new();
    LAZY_GATEWAY.get_or_init(|| {
        let server = Server::start();
        let gateway = before(&server.address().to_string(), LAZY, 2);
        (server, gateway)
    })
}

/// Clients of which both workers have some: the kernel deals connections out by chance.
fn clients(gateway: &Gateway, count: usize) -> Vec<Client> {
    (0..count).map(|_| gateway.client()).collect()
}

#[test]
fn answers_come_before_redis_knows_and_include_what_is_pending() {
    let (server, gateway) = lazy();
    let mut direct = server.client();
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        let key = format!("wb:plain:{version:?}");
        let none = if version == support::Version::Resp2 { "$-1" } else { "_" };
        client.check(&format!("GET {key}"), none);
        client.check(&format!("INCR {key}"), ":1");
        client.check(&format!("INCRBY {key} 41"), ":42");
        client.check(&format!("DECR {key}"), ":41");
        client.check(&format!("DECRBY {key} 50"), ":-9");
        client.check(&format!("GET {key}"), "$2 -9");
        direct.check(&format!("GET {key}"), "$-1");
        client.check(&format!("INCRBY {key} nonsense"), "-ERR value is not an integer or out of range");
        client.check(&format!("STRLEN {key}"), ":2");
        direct.check(&format!("GET {key}"), "$2 -9");
        client.check(&format!("INCR {key}"), ":-8");
    }
}

/// Clients of both workers write one key and delete another, each in its own order: none waits for another for ever.
#[test]
fn clients_with_several_keys_do_not_wait_for_each_other() {
    let server = Server::start();
    let gateway = before(&server.address().to_string(), QUICK, 2);
    let mut clients = clients(&gateway, 12);
    for round in 0..1500 {
        let key = |place: usize| format!("wb:{}", (place * 7 + round * 5) % 6);
        for (place, client) in clients.iter_mut().enumerate() {
            let (first, second) = (key(place), key(place + 1 + round % 5));
            client.send(&[request(&format!("INCR {first}")), request(&format!("DEL {second}"))].concat());
        }
        for client in &mut clients {
            (0..2).for_each(|_| assert_eq!(client.reply()[0], b':'));
        }
    }
}

/// A client whose replies wait to be read holds up no key.
#[test]
fn a_client_that_does_not_read_holds_up_no_other() {
    const VALUE_BYTES: usize = 1 << 20;
    let server = Server::start();
    let gateway = before(&server.address().to_string(), LAZY, 2);
    let (mut client, mut idler) = (gateway.client(), gateway.client());
    assert_eq!(client.call(&[b"SET", &b"large"[..], &vec![b'x'; VALUE_BYTES]]), b"+OK\r\n");
    client.check("INCR wb:idle", ":1");
    idler.send(&[request("GET large").repeat(20), request("DEL wb:idle")].concat());
    // A quarter of the bound: from there on nothing more is served to such a client.
    let buffered = || info(&mut gateway.client(), "clients", "client_buffered_output_bytes") as usize;
    wait_until("the replies are there", || buffered() > 8 * VALUE_BYTES);
    for _ in 0..100 {
        client.integer("INCR wb:idle");
    }
    (0..20).for_each(|_| assert_eq!(idler.reply().len(), VALUE_BYTES + 12));
    idler.expect("DEL wb:idle", ":1");
}

#[test]
fn any_other_command_on_the_key_finds_all_that_came_before_it() {
    let (server, gateway) = lazy();
    let mut direct = server.client();
    let script = "return redis.call('incrby',KEYS[1],100)";
    let cases: &[(&[&str], &[&str])] = &[
        (&["INCR k", "DEL k", "INCR k", "GET k"], &[":1", ":1", ":1", "$1 1"]),
        (&["INCR k", "EXPIRE k 1000", "INCR k", "PERSIST k"], &[":1", ":1", ":2", ":1"]),
        (&["INCR k", "EVAL S 1 k", "INCR k", "EXISTS k"], &[":1", ":101", ":102", ":1"]),
        (&["INCR k", "SET k 7", "DECR k", "APPEND k 5", "GET k"], &[":1", "+OK", ":6", ":2", "$2 65"]),
        (
            &["INCR k", "MGET k other", "INCR k", "MSET k 5 other 1", "INCR k"],
            &[":1", "*2 $1 1 $-1", ":2", "+OK", ":6"],
        ),
        (
            &["INCR k", "MULTI", "INCR k", "GET k", "EXEC", "INCR k"],
            &[":1", "+OK", "+QUEUED", "+QUEUED", "*2 :2 $1 2", ":3"],
        ),
        (&["INCR k", "RENAME k k2", "GET k", "GET k2", "INCR k2"], &[":1", "+OK", "$-1", "$1 1", ":2"]),
        (
            &["INCR k", "WATCH k", "INCR k", "MULTI", "PING", "EXEC", "GET k"],
            &[":1", "+OK", ":2", "+OK", "+QUEUED", "*-1", "$1 2"],
        ),
    ];
    for (number, (lines, expected)) in cases.iter().enumerate() {
        // At once, and one by one.
        for pipelined in [true, false] {
            // Both workers get their turn.
            for client in &mut clients(gateway, 4) {
                direct.ask("FLUSHALL");
                let key = format!("wb:bar:{number}:{pipelined}:{}", client.local_port());
                let line = |line: &str| {
                    let words: Vec<String> = line
                        .split(' ')
                        .map(|word| match word {
                            "k" => key.clone(),
                            "k2" => format!("{key}:2"),
                            "other" => format!("{key}:other"),
                            "S" => format!("\"{script}\""),
                            word => word.to_owned(),
                        })
                        .collect();
                    words.join(" ")
                };
                let lines: Vec<String> = lines.iter().map(|text| line(text)).collect();
                if pipelined {
                    let bytes: Vec<u8> = lines.iter().flat_map(|line| request(line)).collect();
                    client.send(&bytes);
                }
                for (line, expected) in lines.iter().zip(*expected) {
                    if !pipelined {
                        client.send_line(line);
                    }
                    client.expect(line, expected);
                }
            }
        }
    }
}

#[test]
fn a_sort_finds_what_came_before_it_in_the_keys_that_its_patterns_lead_to() {
    let server = Server::start();
    let gateway = before(&server.address().to_string(), LAZY, 2);
    let mut direct = server.client();
    let sorts: &[(&[&str], &str)] = &[
        (&["SORT list BY nosort GET wb:*"], "*1 $1 V"),
        (&["SORT_RO list BY nosort GET wb:*"], "*1 $1 V"),
        (&["sort_ro list limit 0 1 get # get wb:*"], "*2 $1 1 $1 V"),
        (&["SORT list BY nosort GET wb:* STORE sorted", "LRANGE sorted 0 -1"], "*1 $1 V"),
        (&["MULTI", "SORT list BY nosort GET wb:*", "EXEC"], "*1 *1 $1 V"),
    ];
    for client in &mut clients(&gateway, 4) {
        direct.check("FLUSHALL", "+OK");
        client.check("FLUSHALL", "+OK");
        direct.check("RPUSH list 1", ":1");
        for (value, (lines, expected)) in (1..).zip(sorts) {
            client.send_line("INCR wb:1");
            lines.iter().for_each(|line| client.send_line(line));
            client.expect("INCR wb:1", &format!(":{value}"));
            let replies: Vec<String> = lines.iter().map(|_| one_line(&client.reply())).collect();
            assert_eq!(replies.last(), Some(&expected.replace('V', &value.to_string())), "{lines:?}");
        }
        // By their weights the second comes first, which Redis learns from the flush alone.
        direct.check("DEL list", ":1");
        direct.check("RPUSH list 1 2", ":2");
        client.check("DECR wb:2", ":-1");
        client.check("SORT list BY wb:*", "*2 $1 2 $1 1");
    }
}

#[test]
fn a_command_that_names_no_keys_finds_what_its_client_did_before() {
    let server = Server::start();
    let gateway = before(&server.address().to_string(), LAZY, 2);
    for client in &mut clients(&gateway, 4) {
        let lines = [
            "INCRBY wb:a 5",
            "INCR wb:b",
            "EVAL \"return redis.call('get','wb:a')\" 0",
            "FLUSHALL",
            "INCR wb:a",
            "GET wb:b",
        ];
        let bytes: Vec<u8> = lines.iter().flat_map(|line| request(line)).collect();
        client.send(&bytes);
        for (line, expected) in lines.iter().zip([":5", ":1", "$1 5", "+OK", ":1", "$-1"]) {
            client.expect(line, expected);
        }
        client.check("FLUSHALL", "+OK");
    }
}

#[test]
fn clients_of_all_workers_count_together_and_redis_has_the_sum() {
    let server = Server::start();
    let gateway = before(&server.address().to_string(), QUICK, 2);
    let (each, keys) = (200, 3);
    let threads: Vec<_> = clients(&gateway, 8)
        .into_iter()
        .map(|mut client| {
            std::thread::spawn(move || {
                let (mut seen, mut open) = (Vec::new(), Vec::new());
                for turn in 0..each {
                    client.send_line(&format!("INCR wb:shared:{}", turn % keys));
                    open.push(turn % keys);
                    if open.len() == 16 || turn == each - 1 {
                        seen.extend(open.drain(..).map(|key| (key, one_line(&client.reply()))));
                    }
                }
                seen
            })
        })
        .collect();
    let seen = threads.into_iter().flat_map(|thread| thread.join().expect("a client"));
    let mut seen: Vec<(usize, i64)> =
        seen.map(|(key, reply)| (key, reply[1..].parse().expect(&reply))).collect();
    seen.sort_unstable();
    let answered = seen.len();
    assert_eq!(answered, 8 * each);
    // With nobody else writing, the answers of each key are 1, 2, 3, ..., each once.
    let mut expected = 0;
    for (place, (key, value)) in seen.iter().enumerate() {
        let first = place == 0 || seen[place - 1].0 != *key;
        expected = if first { 1 } else { expected + 1 };
        assert_eq!(*value, expected, "of wb:shared:{key}");
    }
    let mut direct = server.client();
    wait_until("all is in Redis", || {
        let total: i64 = (0..keys)
            .map(|key| direct.ask(&format!("GET wb:shared:{key}")))
            .filter_map(|reply| reply.split(' ').nth(1)?.parse::<i64>().ok())
            .sum();
        total == (8 * each) as i64
    });
    wait_until("the figures say so", || {
        figure(&mut gateway.client(), "write_behind_acknowledged") == 8 * each as u64
            && figure(&mut gateway.client(), "write_behind_pending") == 0
    });
    let flushes = figure(&mut gateway.client(), "write_behind_flushes");
    assert!(flushes < answered as u64 / 4, "{flushes} flushes for {answered} increments");
}

#[test]
fn what_others_write_shows_with_the_next_flush() {
    let server = Server::start();
    let gateway = before(&server.address().to_string(), QUICK, 1);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("INCR wb:other", ":1");
    direct.ask("INCRBY wb:other 1000");
    wait_until("the total is told", || client.integer("INCR wb:other") > 1000);
    let last = client.integer("INCR wb:other");
    wait_until("Redis has all", || direct.ask("GET wb:other").ends_with(&format!(" {last}")));
}

#[test]
fn a_key_that_holds_no_counter_is_left_to_redis() {
    let (server, gateway) = lazy();
    let (mut client, mut direct) = (gateway.client(), server.client());
    let wrong = "-WRONGTYPE Operation against a key holding the wrong kind of value";
    direct.ask("RPUSH wb:list x");
    direct.ask("SET wb:text x");
    let lines = ["INCR wb:list", "GET wb:list", "INCR wb:text", "GET wb:text", "LPOP wb:list", "DEL wb:text"];
    let bytes: Vec<u8> = lines.iter().flat_map(|line| request(line)).collect();
    client.send(&bytes);
    let text = "-ERR value is not an integer or out of range";
    for (line, expected) in lines.iter().zip([wrong, wrong, text, "$1 x", "$1 x", ":1"]) {
        client.expect(line, expected);
    }
    // What became a counter is one again.
    wait_until("it is absorbed again", || {
        let value = client.integer("INCR wb:list");
        direct.ask("GET wb:list") != format!("${} {value}", value.to_string().len())
    });
}

#[test]
fn increments_that_redis_refuses_later_are_reported_to_the_last_one() {
    let server = Server::start();
    let config = format!("{LAZY}[log]\nformat = \"json\"\n");
    let gateway = before(&server.address().to_string(), &config, 1);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("INCRBY wb:lost 5", ":5");
    client.check("INCRBY wb:lost 6", ":11");
    direct.check("SET wb:lost text", "+OK");
    client.check("APPEND wb:lost s", ":5");
    client.check("GET wb:lost", "$5 texts");
    client.check("INCR wb:lost", "-ERR value is not an integer or out of range");
    wait_until("the figures say so", || figure(&mut gateway.client(), "write_behind_lost_operations") == 2);
    assert_eq!(figure(&mut gateway.client(), "write_behind_pending"), 0);
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("are lost")).expect(&log);
    for part in ["\"wb:lost\"", "\"sum\":11", "\"increments\":2", "not an integer"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn other_databases_and_other_keys_go_their_ordinary_way() {
    let (server, gateway) = lazy();
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("INCR plain:1", ":1");
    direct.check("GET plain:1", "$1 1");
    client.check("SELECT 3", "+OK");
    client.check("INCR wb:third", ":1");
    direct.check("SELECT 3", "+OK");
    direct.check("GET wb:third", "$1 1");
}

#[test]
fn a_rule_that_a_reload_takes_away_leaves_nothing_pending() {
    let server = Server::start();
    let gateway = before(&server.address().to_string(), LAZY, 2);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("INCRBY wb:ruled 5", ":5");
    direct.check("GET wb:ruled", "$-1");
    gateway.reload("");
    wait_until("it is flushed", || direct.ask("GET wb:ruled") == "$1 5");
    client.check("INCR wb:ruled", ":6");
    direct.check("GET wb:ruled", "$1 6");
    gateway.reload(LAZY);
    wait_until("it is absorbed again", || {
        let value = client.integer("INCR wb:ruled");
        direct.ask("GET wb:ruled") != format!("${} {value}", value.to_string().len())
    });
}

/// Each connection finds its own increments, whatever becomes of the rule between them, and at whichever worker it is.
#[test]
fn a_rule_that_comes_and_goes_keeps_the_order_of_each_connection() {
    let server = Server::start();
    let gateway = before(&server.address().to_string(), LAZY, 2);
    let mut clients = clients(&gateway, 8);
    let mut sent = vec![0; clients.len()];
    for round in 0..30 {
        gateway.reload(if round % 2 == 0 { "" } else { LAZY });
        for _ in 0..40 {
            for (place, client) in clients.iter_mut().enumerate() {
                client.send_line(&format!("INCR wb:turn:{place}"));
                if place % 2 == 0 {
                    client.send_line(&format!("STRLEN wb:turn:{place}"));
                }
                client.send_line(&format!("GET wb:turn:{place}"));
            }
            for (place, client) in clients.iter_mut().enumerate() {
                sent[place] += 1;
                let digits = sent[place].to_string();
                client.expect("INCR", &format!(":{digits}"));
                if place % 2 == 0 {
                    client.expect("STRLEN", &format!(":{}", digits.len()));
                }
                client.expect("GET", &format!("${} {digits}", digits.len()));
            }
        }
    }
}

/// What a connection wrote before the rule came, and what Redis did only after others had been told of the counter by the home.
#[test]
fn a_write_that_was_under_way_when_the_rule_came_is_found_by_its_connection() {
    let server = Server::start();
    let gateway = before(&server.address().to_string(), "", 2);
    let mut clients = clients(&gateway, 6);
    // What homes ask is RESP2, on other connections.
    let mut writer = gateway.speaking(support::Version::Resp3);
    let mut direct = server.client();
    direct.check("CLIENT PAUSE 60000 WRITE", "+OK");
    writer.send_line("INCRBY wb:late 5");
    wait_until("it waits at the server", || direct.ask("INFO clients").contains("blocked_clients:1"));
    gateway.reload(LAZY);
    let bound = "hotgate_write_behind_pending_max 1000000";
    wait_until("both workers have the rule", || gateway.get("/metrics").1.contains(bound));
    // Redis answers reads meanwhile.
    clients.iter_mut().for_each(|client| client.check("GET wb:late", "$-1"));
    direct.check("CLIENT UNPAUSE", "+OK");
    writer.expect("INCRBY wb:late 5", ":5");
    writer.check("GET wb:late", "$1 5");
    writer.check("INCR wb:late", ":6");
    clients[0].check("INCR wb:late", ":7");
    direct.check("GET wb:late", "$1 5");
}

#[test]
fn sigterm_flushes_what_is_pending() {
    let server = Server::start();
    let mut gateway = before(&server.address().to_string(), LAZY, 2);
    for client in &mut clients(&gateway, 6) {
        client.ask("INCRBY wb:drained 7");
        client.ask("INCR wb:drained:2");
    }
    server.client().check("GET wb:drained", "$-1");
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0));
    server.client().check("GET wb:drained", "$2 42");
    server.client().check("GET wb:drained:2", "$1 6");
}

#[test]
fn sigterm_says_what_could_not_be_flushed() {
    let mut server = Server::start();
    let config = format!("{LAZY}[gateway]\ndrain_timeout = \"500ms\"\n[log]\nformat = \"json\"\n");
    let mut gateway = before(&server.address().to_string(), &config, 1);
    let mut client = gateway.client();
    client.check("INCRBY wb:stranded 7", ":7");
    client.check("INCRBY wb:stranded -2", ":5");
    server.kill();
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(1));
    let log = gateway.log();
    let line = log.lines().find(|line| line.contains("could not be flushed")).expect(&log);
    for part in ["\"wb:stranded\"", "\"sum\":5", "\"increments\":2"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(log.contains("2 acknowledged increments of 1 keys could not be flushed"), "{log}");
}

/// Gives the slot of a key that does not exist yet to another master, behind the gateway's back.
fn move_slot_of(cluster: &Cluster, key: &str) {
    let owner = cluster.master_of(key);
    let masters = cluster.masters();
    let other = *masters.iter().find(|&&node| node != owner).expect("several masters");
    let id = cluster.client(other).text("CLUSTER MYID");
    let slot = cluster.client(owner).integer(&format!("CLUSTER KEYSLOT {key}"));
    for node in [other, owner].into_iter().chain(masters) {
        cluster.client(node).check(&format!("CLUSTER SETSLOT {slot} NODE {id}"), "+OK");
    }
    assert_eq!(cluster.master_of(key), other);
}

#[test]
fn a_cluster_is_served_and_redirections_are_followed() {
    let cluster = Cluster::start();
    let lazy = before(&cluster.seeds(), LAZY, 1);
    let mut client = lazy.client();
    client.check("INCRBY wb:moved 7", ":7");
    move_slot_of(&cluster, "wb:moved");
    client.check("STRLEN wb:moved", ":1");
    cluster.client(cluster.master_of("wb:moved")).check("GET wb:moved", "$1 7");

    let gateway = before(&cluster.seeds(), QUICK, 2);
    let mut all = clients(&gateway, 4);
    for round in 0..40 {
        for client in &mut all {
            client.send_line(&format!("INCR wb:{}", round % 10));
        }
        all.iter_mut().for_each(|client| assert_eq!(client.reply()[0], b':'));
    }
    for key in 0..10 {
        let name = format!("wb:{key}");
        all[0].check(&format!("STRLEN {name}"), ":2");
        let node = cluster.master_of(&name);
        cluster.client(node).check(&format!("GET {name}"), "$2 16");
    }
    // Of several slots, with increments of each on the way.
    all[1].check("INCR wb:0", ":17");
    all[1].check("MGET wb:0 wb:1 wb:2", "*3 $2 17 $2 16 $2 16");
}
