//! Keys that the gateway itself keeps in Redis are not there for clients: not shown, not read, not changed.

use crate::support::text::shown;
use crate::support::{BOTH_VERSIONS, Client, Cluster, Gateway, Server, Version, wait_until};

const CONFIG: &str = "[combine]\nexactly_once = true\n[[quota]]\nmatch = 'sku:*'\nlimit = 10\nwindow = '1h'\nrecheck = '5ms'\n\
                      [[quota]]\nmatch = 'sku:*'\nlimit = 100\nrecheck = '5ms'\n";

/// Keys of clients beside the counter: so many that of the keys that are drawn at random for one `RANDOMKEY` the gateway's own, which
/// are three or four, can't be all.
const OTHERS: usize = 100;

/// An override, a window and a token beside the counter `sku:1`; and keys of the client.
fn fill(client: &mut Client, direct: &mut Client) -> Vec<String> {
    client.check("INCR sku:1", ":1");
    (1..OTHERS).for_each(|number| client.check(&format!("SET other:{number} x"), "+OK"));
    client.check("HOTGATE QUOTA SET sku:1 LIMIT 50", "+...");
    client.check("SET other {abc}hotgate:quota:other", "+OK");
    let own: Vec<String> =
        direct.list("KEYS *").into_iter().filter(|name| name.contains("hotgate:")).collect();
    for kind in ["}hotgate:quota:sku:1", "}hotgate:window:3600000:sku:1", "}hotgate:once:"] {
        assert!(own.iter().any(|name| name.contains(kind)), "{kind}: {own:?}");
    }
    own
}

fn check_hidden(client: &mut Client) {
    let mut shown_keys: Vec<String> = (1..OTHERS).map(|number| format!("other:{number}")).collect();
    shown_keys.extend(["other", "sku:1"].map(str::to_owned));
    shown_keys.sort();
    let mut keys = client.list("KEYS *");
    keys.sort();
    assert_eq!(keys, shown_keys);
    assert_eq!(client.list("KEYS *hotgate*"), [""; 0]);
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    loop {
        let page = client.call(&["SCAN", &cursor, "COUNT", "1"]);
        let text = shown(&page);
        assert!(!text.contains("hotgate"), "{text}");
        let words: Vec<&str> = std::str::from_utf8(&page).unwrap().split("\r\n").collect();
        cursor = words[2].to_owned();
        found.extend(words[4..].iter().skip(1).step_by(2).map(|name| (*name).to_owned()));
        if cursor == "0" {
            break;
        }
    }
    found.sort();
    found.dedup();
    assert_eq!(found, shown_keys);
    for _ in 0..40 {
        let name = client.text("RANDOMKEY");
        assert!(shown_keys.contains(&name), "{name}");
    }
}

fn check_refused(client: &mut Client, direct: &mut Client, own: &[String]) {
    let refused = "-ERR hotgate: keys named {...}hotgate:... are the gateway's own...";
    for name in own {
        let before = direct.call(&["DUMP", name]);
        for line in [
            "GET %",
            "HGETALL %",
            "HSET % limit 1000",
            "DEL %",
            "UNLINK other %",
            "EXPIRE % 1",
            "PERSIST %",
            "TYPE %",
            "RENAME % other",
            "COPY % other",
            "MGET other %",
            "MSET % 1",
            "OBJECT ENCODING %",
            "DUMP %",
            "WATCH %",
            "EXISTS %",
            "EVAL return 1 %",
            "BLPOP % 1",
            "SORT other STORE %",
            "ZUNIONSTORE % 1 other",
            "TOUCH %",
        ] {
            client.check(&line.replace('%', name), refused);
        }
        client.check("MULTI", "+OK");
        client.check(&format!("DEL {name}"), refused);
        client.check("EXEC", "-EXECABORT...");
        assert_eq!(direct.call(&["DUMP", name]), before, "{name}");
    }
    client.check("SET other {abc}hotgate:quota:other", "+OK");
    client.check("INCRBY sku:1 49", "-QUOTA limit of 10 per 3600s reached...");
}

#[test]
fn one_server_shows_and_lends_them_to_nobody() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(CONFIG).start();
    let mut direct = server.client();
    let own = fill(&mut gateway.client(), &mut direct);
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        check_hidden(&mut client);
        if version == Version::Resp2 {
            check_refused(&mut client, &mut direct, &own);
        }
    }
    // With nothing else there, there is nothing.
    direct.check("DEL other sku:1", ":2");
    (1..OTHERS).for_each(|number| direct.check(&format!("DEL other:{number}"), ":1"));
    gateway.client().check("RANDOMKEY", "$-1");
    gateway.speaking(Version::Resp3).check("RANDOMKEY", "_");
}

#[test]
fn a_cluster_shows_and_lends_them_to_nobody() {
    let cluster = Cluster::start();
    let gateway = Gateway::before(&cluster).config(CONFIG).start();
    let mut direct = cluster.client(cluster.master_of("sku:1"));
    let mut client = gateway.client();
    let own = fill(&mut client, &mut direct);
    check_hidden(&mut client);
    check_refused(&mut client, &mut direct, &own);
}

#[test]
fn who_watches_redis_sees_nothing_of_them() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(CONFIG).start();
    let (mut client, mut direct) = (gateway.client(), server.client());
    direct.check("CONFIG SET notify-keyspace-events KEA", "+OK");
    let (mut listener, mut monitor) = (gateway.client(), gateway.client());
    listener.check("PSUBSCRIBE __key*", "*3...");
    let mut tracker = gateway.speaking(Version::Resp3);
    tracker.check("CLIENT TRACKING ON BCAST", "+OK");
    monitor.check("MONITOR", "+OK");
    fill(&mut client, &mut direct);
    client.check("SET marker 1", "+OK");
    let until_marker = |watcher: &mut Client| {
        let mut seen = String::new();
        while !seen.contains("marker") {
            seen.push_str(&shown(&watcher.reply()));
        }
        seen
    };
    let events = until_marker(&mut listener);
    assert!(
        events.contains("sku:1") && !events.contains("}hotgate:quota:sku") && !events.contains("window"),
        "{events}"
    );
    let invalidated = until_marker(&mut tracker);
    assert!(invalidated.contains("sku:1") && !invalidated.contains("hotgate"), "{invalidated}");
    let lines = until_marker(&mut monitor);
    assert!(!lines.contains("}hotgate:window") && !lines.contains("}hotgate:once"), "{lines}");
}

#[test]
fn who_removes_all_keys_is_named() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(CONFIG).start();
    let mut client = gateway.client();
    fill(&mut client, &mut server.client());
    client.check("FLUSHALL", "+OK");
    wait_until("it is said", || gateway.log().contains("a client has all keys removed"));
    wait_until("it is shown", || gateway.get("/metrics").1.contains("hotgate_quota_flushed_total 1\n"));
}
