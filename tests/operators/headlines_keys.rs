//! Keys and quotas in the first line: hot ones and what becomes of them, and why an operation is refused. As in `headlines`, each row of
//! the table makes the real fault with real servers.

use crate::sight::{Traffic, answered, gone, quiet_again, sight, stats, told};
use crate::support::{Gateway, Server, wait_until};

/// A gateway for which a key becomes hot at once.
fn gateway(server: &Server, config: &str) -> Gateway {
    Gateway::before(server).config(&format!("[detect]\nenter_rate = 100\nleave_rate = 50\n{config}")).start()
}

#[test]
fn a_hot_key_is_told_of_with_what_becomes_of_it() {
    let server = Server::start();
    let folding = "[[rule]]\nmatch = 'folded'\nmode = 'combine'\n[[rule]]\nmatch = 'off'\nmode = 'off'\n";
    let gateway = gateway(&server, folding);
    for (row, commands, words) in [
        ("hot and folded", &["INCR folded"][..], &["folded takes", "combined to"][..]),
        ("hot and passing", &["INCR passing"], &["passing takes", "as it came", "keeps up"]),
        ("hot and combining off", &["INCR off"], &["off takes", "as it came", "keeps up"]),
    ] {
        let traffic = Traffic::start(&gateway, 20, commands);
        let seen = told(&gateway, row, words);
        assert_eq!((seen.level.as_str(), seen.ready), ("notice", true), "{seen:?}");
        drop(traffic);
        gone(&gateway, row, " takes ");
    }
}

#[test]
fn a_pause_is_told_of_whether_or_not_the_key_is_used() {
    let server = Server::start();
    let gateway = gateway(&server, "[[quota]]\nmatch = 'sku:*'\nlimit = 1000000\n");
    let mut client = gateway.client();
    for (row, key, used) in [("paused, used", "sku:used", true), ("paused, unused", "sku:unused", false)] {
        let traffic = used.then(|| Traffic::start(&gateway, 2, &["INCR sku:used"]));
        client.check(&format!("HOTGATE QUOTA PAUSE {key}"), "+paused");
        let seen = told(&gateway, row, &[key, "is paused by"]);
        assert_eq!((seen.level.as_str(), seen.ready), ("notice", true), "{seen:?}");
        client.check(&format!("HOTGATE QUOTA RESUME {key}"), "+resumed");
        gone(&gateway, row, "is paused");
        drop(traffic);
    }
}

#[test]
fn a_rate_that_is_reached_is_told_of_as_one() {
    let server = Server::start();
    let gateway = gateway(&server, "[[quota]]\nmatch = 'user:*'\nlimit = 5\nwindow = '1s'\n");
    let traffic = Traffic::start(&gateway, 2, &["INCR user:1"]);
    let seen = told(&gateway, "rate-limited", &["user:1 is held to 5 per 1 s", "refusing"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("notice", true), "{seen:?}");
    drop(traffic);
    gone(&gateway, "rate-limited", "is held to");
}

#[test]
fn a_limit_key_that_is_gone_is_told_of() {
    let server = Server::start();
    let gateway = gateway(&server, "[[quota]]\nmatch = 'sku:*'\nlimit_key = 'max:$1'\n");
    let mut direct = server.client();
    direct.check("SET max:1 1000000", "+OK");
    let traffic = Traffic::start(&gateway, 2, &["INCR sku:1"]);
    wait_until("it sells", || server.client().integer("INCRBY sku:1 0") > 0);
    direct.check("DEL max:1", ":1");
    let seen = told(&gateway, "limit key gone", &["sku:1", "max:1"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("critical", true), "{seen:?}");
    direct.check("SET max:1 1000000", "+OK");
    gone(&gateway, "limit key gone", "max:1");
    drop(traffic);
}

#[test]
fn a_hot_key_that_is_refused_is_told_of_as_sold_out_and_as_away() {
    let mut server = Server::start();
    let gateway = gateway(&server, "[[quota]]\nmatch = 'sku:*'\nlimit = 100\nrecheck = '100ms'\n");
    let traffic = Traffic::start(&gateway, 4, &["INCR sku:1"]);
    told(&gateway, "hot and refused", &["sku:1 is sold out, refusing"]);
    wait_until("it is hot", || answered(&gateway, "/api/hotkeys").1.contains("sku:1"));
    told(&gateway, "hot and refused", &["sku:1 is sold out, refusing"]);
    // Two at once: the graver first.
    server.kill();
    let name = server.address().to_string();
    let seen = told(&gateway, "sold out and dead", &[&name]);
    assert_eq!(seen.level, "critical");
    server.restart();
    gone(&gateway, "sold out and dead", &name);
    assert!(sight(&gateway).ready);
    drop(traffic);
    quiet_again(&gateway, "hot and refused");
}

#[test]
fn write_behind_that_is_behind_is_told_of() {
    let server = Server::start();
    let rule = "[gateway]\nworkers = 1\n[[rule]]\nmatch = 'wb:*'\nmode = 'write-behind'\n[write_behind]\nflush_interval = '1m'\nflush_max = 100\npending_max = 100\n";
    let gateway = gateway(&server, rule);
    let mut client = gateway.client();
    (0..95).for_each(|_| assert!(client.ask("INCR wb:1").starts_with(':')));
    let seen = told(&gateway, "write-behind behind", &["write-behind deltas wait"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("warning", true), "{seen:?}");
    // Whoever asks behind them has them flushed.
    assert!(client.ask("APPEND wb:1 0").starts_with(':'));
    quiet_again(&gateway, "write-behind behind");
}

#[test]
fn a_journal_that_is_full_is_told_of() {
    let (server, directory) = (Server::start(), tempfile::tempdir().unwrap());
    let path = directory.path().display();
    let config = format!(
        "[gateway]\nworkers = 1\n[[rule]]\nmatch = 'wb:*'\nmode = 'write-behind'\n\
         [write_behind]\njournal = true\njournal_path = '{path}'\n"
    );
    let gateway = Gateway::before(&server).config(&config).file_blocks_max(1_000_000).start();
    let mut client = gateway.client();
    client.check("INCR wb:1", ":1");
    let traffic = Traffic::start(&gateway, 2, &["INCR wb:1"]);
    let room = |bytes: &str| {
        let pid = gateway.pid().to_string();
        let limit = std::process::Command::new("prlimit")
            .args(["--pid", &pid, &format!("--fsize={bytes}:")])
            .status();
        assert!(limit.unwrap().success(), "prlimit");
    };
    room("4096");
    let seen = told(&gateway, "journal full", &["journal refuses increments"]);
    assert_eq!((seen.level.as_str(), seen.ready), ("critical", true), "{seen:?}");
    room("100000000");
    gone(&gateway, "journal full", "journal refuses");
    drop(traffic);
}

/// What a server refuses is told of whatever the gateway made of the command: a flush, a script, a delta that was answered before.
#[test]
fn what_a_server_refuses_is_told_of_in_every_mode_of_a_key() {
    let server = Server::start();
    let modes = "[gateway]\nworkers = 1\n[[quota]]\nmatch = 'sku:*'\nlimit = 1000000\n\
                 [[rule]]\nmatch = 'wb:*'\nmode = 'write-behind'\n[[rule]]\nmatch = 'folded'\nmode = 'combine'\n\
                 [[rule]]\nmatch = 'once'\nmode = 'combine'\nexactly_once = true\n";
    let gateway = gateway(&server, modes);
    let (mut direct, name) = (server.client(), server.address().to_string());
    for commands in [
        &["INCR sku:1"][..],
        &["INCR wb:1"],
        &["INCR folded"],
        &["INCR once"],
        &["MULTI", "SET a 1", "EXEC"],
        &["EVAL \"return redis.call('set', KEYS[1], 1)\" 1 a"],
    ] {
        let row = format!("OOM of {}", commands[0]);
        let traffic = Traffic::start(&gateway, 2, commands);
        wait_until("it goes on", || stats(&gateway)["now"]["requests_per_s"].as_f64().unwrap() > 10.0);
        direct.check("CONFIG SET maxmemory 1", "+OK");
        told(&gateway, &row, &[&name, "is out of memory"]);
        direct.check("CONFIG SET maxmemory 0", "+OK");
        gone(&gateway, &row, "out of memory");
        drop(traffic);
    }
}

/// Of two at a time the graver is told first, and the other goes on being told behind it.
#[test]
fn of_two_causes_the_graver_comes_first() {
    let server = Server::start();
    let gateway = gateway(&server, "[[quota]]\nmatch = 'sku:*'\nlimit = 1000000\n");
    let (mut client, mut direct) = (gateway.client(), server.client());
    client.check("HOTGATE QUOTA PAUSE sku:1", "+paused");
    told(&gateway, "paused", &["sku:1 is paused"]);
    let name = server.address().to_string();
    let traffic = Traffic::start(&gateway, 2, &["SET other v"]);
    direct.check("CONFIG SET maxmemory 1", "+OK");
    told(&gateway, "paused and OOM", &[&name, "is out of memory"]);
    let others = stats(&gateway)["status"]["others"].to_string();
    assert!(others.contains("sku:1 is paused"), "{others}");
    direct.check("CONFIG SET maxmemory 0", "+OK");
    gone(&gateway, "paused and OOM", "out of memory");
    server.pause();
    told(&gateway, "paused and hung", &[&name, "has not answered for"]);
    server.resume();
    gone(&gateway, "paused and hung", "has not answered");
    drop(traffic);
    told(&gateway, "paused", &["sku:1 is paused"]);
}
