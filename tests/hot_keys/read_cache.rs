//! The read cache: what it saves Redis, and that it serves nothing older than it promises.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::copies::{RULES, Witness, value_of, warm};
use crate::support::figures::{calls, figure};
use crate::support::relay::Relay;
use crate::support::text::{one_line, request};
use crate::support::{BOTH_VERSIONS, Client, Gateway, Server, Version, seed, wait_until};

#[test]
fn a_read_that_was_made_before_does_not_reach_redis() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, RULES);
    let mut direct = server.client();
    direct.check("MSET t:1 one a:1 one t:2 two", "+OK");
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        for key in ["t:1", "a:1"] {
            warm(&mut client, &mut direct, &format!("GET {key}"));
            let before = calls(&mut direct, "get");
            for _ in 0..100 {
                client.check(&format!("GET {key}"), "$3 one");
            }
            assert_eq!(calls(&mut direct, "get"), before, "GET {key} in {version:?}");
        }
        // Copies keep their place between other replies.
        let batch = [request("GET t:1"), request("SET other 5"), request("GET t:1"), request("GET other")];
        client.send(&batch.concat());
        for expected in ["$3 one", "+OK", "$3 one", "$1 5"] {
            client.expect("a batch", expected);
        }
    }
    let mut client = gateway.client();
    wait_until("hits are counted", || figure(&mut client, "read_cache_hits") >= 400);
    wait_until("stores are counted", || figure(&mut client, "read_cache_stores") >= 2);
    // One database more, and nothing of the copies of the first.
    client.check("SELECT 1", "+OK");
    client.check("GET t:1", "$-1");
}

/// Spelled in another way it is the same read, and so it is in another version of the protocol.
#[test]
fn a_read_asked_in_another_way_does_not_go_back() {
    let server = Server::start();
    let config = format!("[gateway]\nworkers = 1\n{RULES}");
    let gateway = Gateway::before(&server).config(&config).start();
    let mut direct = server.client();
    for version in BOTH_VERSIONS {
        warm(&mut gateway.speaking(version), &mut direct, "GET a:warm");
    }
    for name in ["get", "Get", "GET"] {
        for other in ["get", "Get", "GET"] {
            let key = format!("a:{name}:{other}");
            direct.check(&format!("SET {key} old"), "+OK");
            gateway.client().check(&format!("{other} {key}"), "$3 old");
            direct.check(&format!("SET {key} new"), "+OK");
            let mut client = gateway.client();
            let first = client.ask(&format!("{name} {key}"));
            client.check(&format!("{other} {key}"), &first);
            client.send(format!("{other} {key}\r\n").as_bytes());
            client.expect("the same without a header", &first);
        }
    }
    let (second, third) = (Version::Resp2, Version::Resp3);
    for (number, (from, to, change)) in
        [(second, third, "HELLO 3"), (third, second, "HELLO 2"), (third, second, "RESET")].iter().enumerate()
    {
        let read = format!("GET a:version:{number}");
        direct.check(&format!("SET a:version:{number} old"), "+OK");
        gateway.speaking(*to).check(&read, "$3 old");
        direct.check(&format!("SET a:version:{number} new"), "+OK");
        let mut client = gateway.speaking(*from);
        client.check(&read, "$3 new");
        client.read_as(*to);
        client.call_line(change);
        client.check(&read, "$3 new");
    }
}

/// Most connections begin with it.
#[test]
fn a_change_of_version_before_any_read_costs_nothing() {
    let server = Server::start();
    let config = format!("[gateway]\nworkers = 1\n{RULES}");
    let gateway = Gateway::before(&server).config(&config).start();
    let mut direct = server.client();
    direct.check("SET a:1 x", "+OK");
    warm(&mut gateway.speaking(Version::Resp3), &mut direct, "GET a:1");
    let before = calls(&mut direct, "get");
    for name in ["GET", "get"] {
        gateway.speaking(Version::Resp3).check(&format!("{name} a:1"), "$1 x");
    }
    assert_eq!(calls(&mut direct, "get"), before);
}

/// Each kind of value and the reads of it.
const VALUES: &[&str] = &[
    "SET %str value",
    "SET %int 17",
    "HSET %hash f1 v1 f2 17",
    "RPUSH %list a b c a",
    "SADD %set m1 m2 3",
    "ZADD %zset 1 a 2.5 b inf c",
    "XADD %stream 1-1 f v",
    "GEOADD %geo 13.361389 38.115556 Palermo 15.087269 37.502669 Catania",
];

const READS: &[&str] = &[
    "GET %str",
    "GET %none",
    "GET %list",
    "STRLEN %str",
    "GETRANGE %str 1 3",
    "BITCOUNT %str",
    "TYPE %hash",
    "HGET %hash f1",
    "HGET %hash none",
    "HGETALL %hash",
    "HGETALL %none",
    "HMGET %hash f1 none f2",
    "HVALS %hash",
    "LRANGE %list 0 -1",
    "LINDEX %list 9",
    "LPOS %list a COUNT 0",
    "LPOS %list z",
    "SMEMBERS %set",
    "SISMEMBER %set m1",
    "SMISMEMBER %set m1 none",
    "ZSCORE %zset b",
    "ZSCORE %zset none",
    "ZMSCORE %zset a none c",
    "ZRANGE %zset 0 -1",
    "ZRANGE %zset 0 -1 WITHSCORES",
    "ZRANGEBYSCORE %zset 1 3 WITHSCORES LIMIT 0 1",
    "ZREVRANGE %zset 0 -1 WITHSCORES",
    "ZRANK %zset b",
    "ZRANK %zset none",
    "XRANGE %stream - +",
    "GEOPOS %geo Palermo none",
    "GEODIST %geo Palermo Catania",
    "GEOHASH %geo Palermo none",
    "GEOSEARCH %geo FROMMEMBER Palermo BYRADIUS 200 km WITHCOORD",
    "EXPIRETIME %str",
    "TTL %str",
];

#[test]
fn a_copy_is_the_very_reply_in_each_version() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, RULES);
    for prefix in ["t:", "a:"] {
        for line in VALUES {
            server.client().call_line(&line.replace('%', prefix));
        }
        for version in BOTH_VERSIONS {
            let mut direct = Client::speaking(server.address(), version);
            let mut client = gateway.speaking(version);
            warm(&mut client, &mut server.client(), &format!("GET {prefix}str"));
            for line in READS {
                let line = line.replace('%', prefix);
                let expected = one_line(&direct.call_line(&line));
                // The first makes a copy, the others are one.
                for _ in 0..3 {
                    client.check(&line, &expected);
                }
            }
        }
    }
}

#[test]
fn what_changes_by_itself_is_read_from_redis() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, RULES);
    let (mut client, mut direct) = (gateway.client(), server.client());
    direct.check("SET t:1 x EX 1000", "+OK");
    warm(&mut client, &mut direct, "GET t:1");
    let before = calls(&mut direct, "ttl");
    for _ in 0..10 {
        client.ask("TTL t:1");
    }
    assert_eq!(calls(&mut direct, "ttl"), before + 10);
}

/// A counter is a witness: whoever has seen a value must never see a lower one.
#[test]
fn another_clients_writes_are_seen_and_never_undone() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, RULES);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for connection in 0..6 {
            let (gateway, server, done) = (&gateway, &server, &done);
            scope.spawn(move || {
                let mut client = gateway.speaking(BOTH_VERSIONS[connection % 2]);
                warm(&mut client, &mut server.client(), "GET t:warm");
                let mut seen = 0;
                while !done.load(Ordering::SeqCst) {
                    let value = value_of(&client.call_line("GET t:n"));
                    assert!(value >= seen, "{value} after {seen}");
                    seen = value;
                }
                wait_until("the last value is seen", || value_of(&client.call_line("GET t:n")) == 3000);
            });
        }
        let mut direct = server.client();
        for _ in 0..3000 {
            direct.ask("INCR t:n");
        }
        done.store(true, Ordering::SeqCst);
    });
    let mut client = gateway.client();
    wait_until("invalidations are counted", || figure(&mut client, "read_cache_invalidations") > 0);
}

#[test]
fn a_connection_never_goes_back_behind_what_it_wrote_or_saw() {
    let seed = seed();
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, RULES);
    std::thread::scope(|scope| {
        for connection in 0..8 {
            let (gateway, server) = (&gateway, &server);
            scope.spawn(move || {
                let version = BOTH_VERSIONS[connection % 2];
                let mut witness = Witness::new(gateway, version, seed.wrapping_add(connection as u64));
                warm(&mut witness.client, &mut server.client(), "GET t:warm");
                for _ in 0..2000 {
                    witness.step();
                }
            });
        }
    });
    let mut client = gateway.client();
    wait_until("copies were served", || figure(&mut client, "read_cache_hits") > 1000);
}

/// `SORT` shows what is in keys that its patterns lead to.
#[test]
fn a_sort_by_patterns_shows_keys_that_it_does_not_name() {
    let server = Server::start();
    let config = format!("[gateway]\nworkers = 1\n{RULES}");
    let gateway = Gateway::before(&server).config(&config).start();
    let mut direct = server.client();
    direct.check("RPUSH list 1", ":1");
    for (line, expected) in [
        ("SORT list BY nosort GET a:*", "*1 $3 new"),
        ("SORT_RO list BY nosort GET a:*", "*1 $3 new"),
        ("sort_ro list get a:* alpha", "*1 $3 new"),
        ("SORT list BY nosort GET a:* STORE sorted", ":1"),
    ] {
        direct.check("SET a:1 old", "+OK");
        gateway.client().ask("DEL a:1");
        direct.check("SET a:1 old", "+OK");
        warm(&mut gateway.client(), &mut direct, "GET a:1");
        direct.check("SET a:1 new", "+OK");
        let mut client = gateway.client();
        client.check(line, expected);
        client.check("GET a:1", "$3 new");
    }
}

/// A transaction that watches a key rests on what it reads after the watch.
#[test]
fn a_watching_client_reads_from_redis() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, RULES);
    let (mut client, mut direct) = (gateway.client(), server.client());
    direct.check("SET a:1 old", "+OK");
    warm(&mut client, &mut direct, "GET a:1");
    direct.check("SET a:1 new", "+OK");
    client.check("GET a:1", "$3 old");
    client.check("WATCH a:1", "+OK");
    client.check("GET a:1", "$3 new");
    client.check("MULTI", "+OK");
    client.check("SET a:1 newer", "+QUEUED");
    client.check("EXEC", "*1 +OK");
    client.check("GET a:1", "$5 newer");
}

#[test]
fn a_copy_goes_with_its_age() {
    let server = Server::start();
    let config = "[read_cache]\ntracked_age_max = '20ms'\n[[rule]]\nmatch = 't:*'\nread = 'tracked'\n\
                  [[rule]]\nmatch = 'a:*'\nread = { ttl = '20ms' }\n";
    let gateway = Gateway::of_two_workers(&server, config);
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("GET a:1", "$-1");
    direct.check("SET a:1 new", "+OK");
    wait_until("the new value is seen", || client.ask("GET a:1") == "$3 new");
    let mut info = gateway.client();
    wait_until("some reads are hits", || {
        (0..100).for_each(|_| drop(client.ask("GET t:1")));
        figure(&mut info, "read_cache_hits") > 0
    });
    let before = calls(&mut direct, "get");
    wait_until("a tracked copy is read again", || {
        client.ask("GET t:1");
        calls(&mut direct, "get") >= before + 3
    });
}

/// What one connection writes is not hidden from others on its worker by copies.
#[test]
fn a_write_through_the_same_worker_takes_the_copies_away() {
    let server = Server::start();
    let config = format!("[gateway]\nworkers = 1\n{RULES}");
    let gateway = Gateway::before(&server).config(&config).start();
    let (mut writer, mut reader, mut direct) = (gateway.client(), gateway.client(), server.client());
    for write in [
        "SET a:1 y",
        "MSET other 1 a:1 y",
        "GETSET a:1 y",
        "RENAME a:2 a:1",
        "DEL a:1",
        "FLUSHALL",
        "FLUSHDB",
    ] {
        direct.check("MSET a:1 x a:2 y", "+OK");
        writer.ask("DEL a:1");
        direct.check("SET a:1 x", "+OK");
        warm(&mut reader, &mut direct, "GET a:1");
        reader.check("GET a:1", "$1 x");
        writer.ask(write);
        let expected = direct.ask("GET a:1");
        assert_ne!(expected, "$1 x", "{write}");
        reader.check("GET a:1", &expected);
    }
}

/// Redis tells nobody of it who tracks keys.
#[test]
fn a_swap_of_databases_takes_the_copies_of_all_workers_away() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, RULES);
    let mut direct = server.client();
    let mut other = server.client();
    other.check("SELECT 1", "+OK");
    let mut readers: Vec<Client> = (0..8).map(|_| gateway.client()).collect();
    let mut swapper = gateway.client();
    let transaction = [request("MULTI"), request("SWAPDB 0 1"), request("EXEC")].concat();
    for (swap, replies) in [(request("SWAPDB 0 1"), 1), (transaction, 3)] {
        direct.check("SET t:1 here", "+OK");
        other.check("SET t:1 there", "+OK");
        let here = direct.ask("GET t:1");
        for reader in &mut readers {
            warm(reader, &mut direct, "GET t:1");
            reader.check("GET t:1", &here);
        }
        swapper.send(&swap);
        (0..replies).for_each(|_| assert_ne!(swapper.reply()[0], b'-'));
        // The swapper itself sees it at once.
        swapper.check("GET t:1", "$5 there");
        for reader in &mut readers {
            wait_until("nobody sees what is in the other database", || reader.ask("GET t:1") == "$5 there");
        }
    }
}

/// What is swapped past the gateway shows once copies are too old, if the gateway may not ask how often that was.
#[test]
fn a_swap_of_somebody_else_shows_within_the_age_of_copies() {
    let server = Server::start();
    server.client().check("ACL SETUSER gate on >secret ~* &* +@all -info", "+OK");
    let user = "[upstream]\nuser = 'gate'\npassword = 'secret'\n";
    let config = format!("{user}{}", RULES.replacen("1h", "1s", 1));
    let gateway = Gateway::of_two_workers(&server, &config);
    let mut direct = server.client();
    direct.check("SET t:1 here", "+OK");
    let mut reader = gateway.client();
    warm(&mut reader, &mut direct, "GET t:1");
    direct.check("SWAPDB 0 1", "+OK");
    wait_until("the copy is too old", || reader.ask("GET t:1") == "$-1");
}

/// The reply of a read that ran before a write may come after the write's.
#[test]
fn a_read_on_its_way_does_not_hide_a_write() {
    let server = Server::start();
    let relay = Relay::before(server.address());
    let config = format!("[gateway]\nworkers = 1\n{RULES}");
    let gateway = Gateway::before(&relay).config(&config).start();
    let (mut writer, mut reader, mut direct) = (gateway.client(), gateway.client(), server.client());
    warm(&mut reader, &mut direct, "GET t:warm");
    for round in 1..=300 {
        // Nothing is copied now: the reader's read is under way when the write overtakes it.
        relay.hold_replies(true);
        let before = calls(&mut direct, "get");
        reader.send_line("GET t:n");
        wait_until("the read has run", || calls(&mut direct, "get") > before);
        writer.send_line("INCR t:n");
        wait_until("the write has run", || calls(&mut direct, "incr") >= round);
        relay.hold_replies(false);
        assert_eq!(value_of(&writer.reply()), round as i64);
        assert_eq!(value_of(&writer.call_line("GET t:n")), round as i64);
        reader.reply();
        writer.check("INCRBY t:n 0", &format!(":{round}"));
    }
}

#[test]
fn bounds_hold() {
    let server = Server::start();
    let config = "[gateway]\nworkers = 1\n[read_cache]\nentries_max = 10\nvalue_bytes_max = '1kb'\nbytes_max = '64kb'\n\
                  [[rule]]\nmatch = '*'\nread = 'tracked'\n";
    let gateway = Gateway::before(&server).config(config).start();
    let (mut client, mut direct) = (gateway.client(), server.client());
    warm(&mut client, &mut direct, "GET warm");
    direct.call(&["SET", "large", &"x".repeat(2000)]);
    for round in 0..100 {
        client.ask(&format!("GET k:{round}"));
    }
    let stores = 101;
    wait_until("all are counted", || figure(&mut client, "read_cache_stores") >= stores);
    assert_eq!(figure(&mut client, "read_cache_entries"), 10);
    let before = calls(&mut direct, "get");
    for _ in 0..10 {
        client.ask("GET k:99");
    }
    assert_eq!(calls(&mut direct, "get"), before, "what was used last is kept");
    for _ in 0..10 {
        client.ask("GET large");
    }
    assert_eq!(calls(&mut direct, "get"), before + 10, "what is too large is not");
}

/// A reply that no copy can be made of is newer than the copy all the same.
#[test]
fn a_read_does_not_go_back_behind_a_reply_that_was_not_kept() {
    let server = Server::start();
    let config = "[gateway]\nworkers = 1\n[read_cache]\nvalue_bytes_max = '1kb'\n\
                  [[rule]]\nmatch = 'a:*'\nread = { ttl = '1h' }\n";
    let gateway = Gateway::before(&server).config(config).start();
    let mut direct = server.client();
    let large = format!("SET % {}", "x".repeat(3000));
    for (number, changes) in [&[&large[..]][..], &["DEL %", "RPUSH % x"]].into_iter().enumerate() {
        for version in BOTH_VERSIONS {
            let key = format!("a:{number}:{version:?}");
            let read = format!("GET {key}");
            direct.check(&format!("SET {key} old"), "+OK");
            warm(&mut gateway.speaking(version), &mut direct, &read);
            for change in changes {
                direct.ask(&change.replace('%', &key));
            }
            // The first of the two keeps the second from the copy.
            let mut client = gateway.speaking(version);
            client.send(&[request(&format!("GETRANGE {key} 0 4")), request(&read)].concat());
            client.reply();
            let expected = one_line(&client.reply());
            assert_ne!(expected, "$3 old", "{changes:?}");
            client.check(&read, &expected);
        }
    }
}

#[test]
fn a_password_is_given_on_tracking_connections_too() {
    let server = Server::with(&["--requirepass", "secret"]);
    let gateway = Gateway::of_two_workers(&server, &format!("[upstream]\npassword = 'secret'\n{RULES}"));
    let (mut client, mut direct) = (gateway.client(), server.client());
    direct.check("AUTH secret", "+OK");
    direct.check("SET t:1 old", "+OK");
    warm(&mut client, &mut direct, "GET t:1");
    direct.check("SET t:1 new", "+OK");
    wait_until("the new value is seen", || client.ask("GET t:1") == "$3 new");
}

#[test]
fn hits_show_with_the_hot_key() {
    let server = Server::start();
    let config = format!("{RULES}[detect]\nenter_rate = 50\nleave_rate = 10\n");
    let gateway = Gateway::of_two_workers(&server, &config);
    let (mut client, mut direct) = (gateway.client(), server.client());
    warm(&mut client, &mut direct, "GET t:hot");
    let pipeline = request("GET t:hot").repeat(100);
    wait_until("its hits are counted apart", || {
        client.send(&pipeline);
        (0..100).for_each(|_| drop(client.reply()));
        let mut scraper = Client::connect(gateway.admin.unwrap());
        scraper.send(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        let metrics = String::from_utf8(scraper.rest()).unwrap();
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("hotgate_hot_key_cache_hits_total{key=\"t:hot\"} "));
        line.is_some_and(|hits| hits.parse::<f64>().unwrap() > 0.0)
    });
}
