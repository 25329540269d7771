//! State that Redis keeps for a connection holds through the gateway for as long as it lasts, and no longer:
//! transactions, blocking commands, MONITOR, tracking, reply modes and the selected database.

use crate::support::figures::info;
use crate::support::{self, BOTH_VERSIONS, Client, Gateway, Turn, Version, shared, wait_until};

fn null(version: Version) -> &'static str {
    if version == Version::Resp2 { "$-1" } else { "_" }
}

fn null_array(version: Version) -> &'static str {
    if version == Version::Resp2 { "*-1" } else { "_" }
}

/// Held by the tests that count blocked clients, since those of another test would be counted too.
static BLOCKING: Turn = Turn::new();

/// Waits until as many clients as wished block, by what Redis itself says.
fn wait_until_blocked(clients: &mut [Client], wished: u64) {
    wait_until("clients block at Redis", || {
        clients.iter_mut().map(|client| info(client, "clients", "blocked_clients")).sum::<u64>() >= wished
    });
}

/// Direct clients of every server behind `gateway`.
fn servers_behind(gateway: &Gateway) -> Vec<Client> {
    if std::ptr::eq(gateway, &shared::single(module_path!()).1) {
        vec![shared::single(module_path!()).0.client()]
    } else {
        let cluster = &shared::cluster(module_path!()).0;
        (0..cluster.len()).map(|node| cluster.client(node)).collect()
    }
}

#[test]
fn a_transaction_runs_as_one() {
    shared::everywhere(module_path!(), |gateway, version, name| {
        let mut client = gateway.speaking(version);
        let key = format!("multi:{name}");
        let (a, b) = (format!("{{{key}}}a"), format!("{{{key}}}b"));
        for (line, reply) in [
            (format!("DEL {a} {b}"), ":...".to_string()),
            ("MULTI".into(), "+OK".into()),
            ("MULTI".into(), "-ERR MULTI calls can not be nested".into()),
            (format!("SET {a} 1"), "+QUEUED".into()),
            (format!("INCR {a}"), "+QUEUED".into()),
            (format!("LPUSH {a} x"), "+QUEUED".into()),
            (format!("MGET {a} {b}"), "+QUEUED".into()),
            ("PING".into(), "+QUEUED".into()),
            ("ECHO in".into(), "+QUEUED".into()),
            (
                "EXEC".into(),
                format!(
                    "*6 +OK :2 -WRONGTYPE Operation against a key holding the wrong kind of value *2 $1 2 {} +PONG $2 in",
                    null(version)
                ),
            ),
            ("EXEC".into(), "-ERR EXEC without MULTI".into()),
            ("DISCARD".into(), "-ERR DISCARD without MULTI".into()),
            ("MULTI".into(), "+OK".into()),
            (format!("SET {a} 9"), "+QUEUED".into()),
            ("DISCARD".into(), "+OK".into()),
            (format!("GET {a}"), "$1 2".into()),
            ("MULTI".into(), "+OK".into()),
            ("EXEC".into(), "*0".into()),
        ] {
            client.check(&line, &reply);
        }
    });
}

#[test]
fn an_error_while_queueing_aborts_the_transaction() {
    shared::everywhere(module_path!(), |gateway, version, name| {
        let mut client = gateway.speaking(version);
        let key = format!("abort:{name}");
        for (line, reply) in [
            ("MULTI", "+OK"),
            (&*format!("SET {key} 1"), "+QUEUED"),
            ("NOSUCH", "-ERR unknown command 'NOSUCH', with args beginning with: "),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
            ("MULTI", "+OK"),
            ("GET", "-ERR wrong number of arguments for 'get' command"),
            (&*format!("SET {key} 1"), "+QUEUED"),
            ("EXEC", "-EXECABORT Transaction discarded because of previous errors."),
            ("MULTI", "+OK"),
            ("WATCH k", "-ERR WATCH inside MULTI is not allowed"),
            ("DISCARD", "+OK"),
            (&*format!("EXISTS {key}"), ":0"),
        ] {
            client.check(line, reply);
        }
    });
}

#[test]
fn a_watched_key_that_changed_fails_the_transaction() {
    shared::everywhere(module_path!(), |gateway, version, name| {
        let key = format!("watch:{name}");
        let (mut client, mut other) = (gateway.speaking(version), gateway.client());
        client.check(&format!("WATCH {key}"), "+OK");
        client.check("MULTI", "+OK");
        client.check(&format!("SET {key} mine"), "+QUEUED");
        other.check(&format!("SET {key} theirs"), "+OK");
        client.check("EXEC", null_array(version));
        client.check(&format!("GET {key}"), "$6 theirs");

        client.check(&format!("WATCH {key}"), "+OK");
        client.check(&format!("GET {key}"), "$6 theirs");
        client.check("UNWATCH", "+OK");
        other.check(&format!("SET {key} again"), "+OK");
        client.check("MULTI", "+OK");
        client.check(&format!("SET {key} mine"), "+QUEUED");
        client.check("EXEC", "*1 +OK");

        client.check(&format!("WATCH {key}"), "+OK");
        client.check(&format!("SET {key} own"), "+OK");
        client.check("MULTI", "+OK");
        client.check(&format!("GET {key}"), "+QUEUED");
        client.check("EXEC", null_array(version));
    });
}

#[test]
fn a_transaction_in_a_cluster_stays_in_one_slot() {
    let gateway = &shared::cluster(module_path!()).1;
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        client.check("MULTI", "+OK");
        client.check("SET {first}k 1", "+QUEUED");
        client.check("SET {elsewhere}k 1", "-CROSSSLOT ...");
        client.check("EXEC", "-EXECABORT Transaction discarded because of previous errors.");
        client.check("EXISTS {first}k {elsewhere}k", ":0");

        client.check("WATCH {first}k", "+OK");
        client.check("MULTI", "+OK");
        client.check("SET {elsewhere}k 1", "-CROSSSLOT ...");
        client.check("EXEC", "-EXECABORT ...");
        client.check("WATCH {first}k {elsewhere}k", "-CROSSSLOT ...");
        client.check("EXISTS {first}k {elsewhere}k", ":0");
    }
}

/// A client that leaves in the middle of a transaction, or with a watch, leaves nothing behind for the next one.
#[test]
fn an_abandoned_session_does_not_leak_into_another() {
    shared::everywhere(module_path!(), |gateway, version, name| {
        let key = format!("abandoned:{name}");
        for _ in 0..20 {
            let mut client = gateway.speaking(version);
            client.check(&format!("WATCH {key}"), "+OK");
            client.check("MULTI", "+OK");
            client.check(&format!("SET {key} 1"), "+QUEUED");
            drop(client);
            let mut next = gateway.speaking(version);
            next.check(&format!("EXISTS {key}"), ":0");
            next.check("MULTI", "+OK");
            next.check(&format!("EXISTS {key}"), "+QUEUED");
            next.check("EXEC", "*1 :0");
        }
    });
}

#[test]
fn a_blocking_command_waits_and_holds_up_nobody_else() {
    shared::everywhere(module_path!(), |gateway, version, name| {
        let key = format!("{{block:{name}}}");
        let _alone = BLOCKING.take();
        let mut servers = servers_behind(gateway);
        let mut other = gateway.client();
        for (line, push, reply) in [
            (format!("BLPOP {key}l 0"), format!("RPUSH {key}l v"), "*2 $... v".to_string()),
            (format!("BRPOP {key}none {key}l 0"), format!("RPUSH {key}l v"), "*2 $... v".into()),
            (format!("BLMOVE {key}l {key}m LEFT RIGHT 0"), format!("RPUSH {key}l v"), "$1 v".into()),
            (format!("BZPOPMIN {key}z 0"), format!("ZADD {key}z 1 v"), "*3 $... v $1 1".into()),
            (format!("XREAD BLOCK 0 STREAMS {key}x $"), format!("XADD {key}x 1-* f v"), "...".into()),
        ] {
            let mut client = gateway.speaking(version);
            client.send_line(&line);
            wait_until_blocked(&mut servers, 1);
            other.check(&format!("SET {key}other v"), "+OK");
            other.send_line(&push);
            other.reply();
            let got = support::text::one_line(&client.reply());
            assert!(got.contains("$1 v") && !got.starts_with('-'), "{line} -> {got}, expected like {reply}");
            client.check("PING", "+PONG");
            other.send_line(&format!("DEL {key}l {key}m {key}z {key}x"));
            other.reply();
        }
        let mut client = gateway.speaking(version);
        client.check(&format!("BLPOP {key}nothing 0.05"), null_array(version));
        client.check(&format!("SET {key}l text"), "+OK");
        client.check(&format!("BLPOP {key}l 0"), "-WRONGTYPE ...");
        client.check(&format!("DEL {key}l"), ":1");
    });
}

#[test]
fn a_client_that_leaves_while_it_blocks_takes_no_element_with_it() {
    shared::everywhere(module_path!(), |gateway, version, name| {
        let key = format!("left:{name}");
        let _alone = BLOCKING.take();
        let mut servers = servers_behind(gateway);
        let mut client = gateway.speaking(version);
        client.send_line(&format!("BLPOP {key} 0"));
        wait_until_blocked(&mut servers, 1);
        drop(client);
        wait_until("nobody blocks any more", || {
            servers.iter_mut().all(|server| info(server, "clients", "blocked_clients") == 0)
        });
        let mut other = gateway.client();
        other.check(&format!("RPUSH {key} v"), ":1");
        other.check(&format!("LPOP {key}"), "$1 v");
    });
}

/// Redis refuses all the names with one error.
/// Messages come while the subscriber is silent and while it pipelines; each once, in the order of publishing.
#[test]
fn monitor_shows_what_happens() {
    let gateway = &shared::single(module_path!()).1;
    let mut watcher = gateway.client();
    watcher.check("MONITOR", "+OK");
    let mut other = gateway.client();
    other.check("SET monitored v", "+OK");
    wait_until("MONITOR shows the command", || {
        let line = support::text::one_line(&watcher.reply());
        line.starts_with('+') && line.contains("\"monitored\" \"v\"")
    });
}

#[test]
fn tracking_tells_of_changes() {
    shared::everywhere(module_path!(), |gateway, version, name| {
        if version == Version::Resp2 {
            return;
        }
        let key = format!("tracked:{name}");
        let (mut client, mut other) = (gateway.speaking(version), gateway.client());
        client.check("CLIENT TRACKING ON", "+OK");
        client.check(&format!("SET {key} 1"), "+OK");
        client.check(&format!("GET {key}"), "$1 1");
        other.check(&format!("SET {key} 2"), "+OK");
        client.expect("an invalidation", &format!(">2 $10 invalidate *1 ${} {key}", key.len()));
        client.check(&format!("GET {key}"), "$1 2");
        client.check("CLIENT TRACKING OFF", "+OK");
        other.check(&format!("SET {key} 3"), "+OK");
        client.check(&format!("GET {key}"), "$1 3");
    });
}

/// What a client watches and tracks stays so when it chooses another database, and its commands go to that one.
#[test]
fn connections_of_a_session_follow_it_into_another_database() {
    let (server, gateway) = shared::single(module_path!());
    let mut other = server.client();
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        for (line, reply) in [
            ("WATCH follow:a", "+OK"),
            ("SELECT 7", "+OK"),
            ("SET follow:b 1", "+OK"),
            ("MULTI", "+OK"),
            ("INCR follow:b", "+QUEUED"),
            ("EXEC", "*1 :2"),
            ("DEL follow:b", ":1"),
            ("SELECT 0", "+OK"),
            ("EXISTS follow:b", ":0"),
            ("WATCH follow:a", "+OK"),
            ("SELECT 7", "+OK"),
            ("WATCH follow:b", "+OK"),
        ] {
            client.check(line, reply);
        }
        other.check("SELECT 7", "+OK");
        other.check("SET follow:b 5", "+OK");
        client.check("MULTI", "+OK");
        client.check("INCR follow:b", "+QUEUED");
        client.check("EXEC", null_array(version));
        client.check("DEL follow:b", ":1");
    }
    let mut client = gateway.speaking(Version::Resp3);
    for (line, reply) in [
        ("SELECT 7", "+OK"),
        ("CLIENT TRACKING ON", "+OK"),
        ("SET follow:c seven", "+OK"),
        ("GET follow:c", "$5 seven"),
        ("SELECT 0", "+OK"),
        ("GET follow:c", "_"),
        ("SELECT 99999", "-ERR DB index is out of range"),
        ("GET follow:c", "_"),
        ("SELECT 7", "+OK"),
        ("GET follow:c", "$5 seven"),
    ] {
        client.check(line, reply);
    }
    other.check("DEL follow:c", ":1");
    client.expect("an invalidation", ">2 $10 invalidate *1 $8 follow:c");
}

/// The same in another version of the protocol. In RESP2 Redis has no way to tell of changes.
#[test]
fn connections_of_a_session_follow_it_into_another_version() {
    shared::everywhere(module_path!(), |gateway, version, name| {
        if version == Version::Resp2 {
            return;
        }
        let key = format!("version:{name}");
        let (mut client, mut other) = (gateway.client(), gateway.client());
        let length = key.len();
        client.check(&format!("HSET {key} f v"), ":1");
        client.check(&format!("WATCH {key}"), "+OK");
        client.hello3("HELLO 3");
        client.check("MULTI", "+OK");
        client.check(&format!("HGETALL {key}"), "+QUEUED");
        client.check("EXEC", "*1 %1 $1 f $1 v");

        client.check("CLIENT TRACKING ON", "+OK");
        client.check(&format!("HGETALL {key}"), "%1 $1 f $1 v");
        client.read_as(Version::Resp2);
        client.check("HELLO 2", "*14 ...");
        client.check(&format!("HGETALL {key}"), "*2 $1 f $1 v");
        other.check(&format!("HSET {key} f w"), ":0");
        client.check(&format!("HGETALL {key}"), "*2 $1 f $1 w");
        client.hello3("HELLO 3");
        client.check(&format!("HGETALL {key}"), "%1 $1 f $1 w");
        other.check(&format!("DEL {key}"), ":1");
        client.expect("an invalidation", &format!(">2 $10 invalidate *1 ${length} {key}"));
    });
}

#[test]
fn client_reply_silences_what_it_says() {
    shared::everywhere(module_path!(), |gateway, version, name| {
        let key = format!("quiet:{name}");
        let mut client = gateway.speaking(version);
        client.send_line("CLIENT REPLY SKIP");
        client.send_line(&format!("SET {key} 1"));
        client.check(&format!("INCR {key}"), ":2");
        client.send_line("CLIENT REPLY OFF");
        client.send_line(&format!("INCR {key}"));
        client.send_line("PING");
        client.send_line("NOSUCH");
        client.check("CLIENT REPLY ON", "+OK");
        client.check(&format!("GET {key}"), "$1 3");
    });
}

/// Confirmations are no replies: they come whatever `CLIENT REPLY` says, which still hides an error (Redis 7.0).
#[test]
fn the_selected_database_belongs_to_its_connection() {
    let gateway = &shared::single(module_path!()).1;
    for version in BOTH_VERSIONS {
        let (mut zero, mut five) = (gateway.speaking(version), gateway.speaking(version));
        five.check("SELECT 5", "+OK");
        five.check("SET selected five", "+OK");
        zero.check("SET selected zero", "+OK");
        five.check("GET selected", "$4 five");
        zero.check("GET selected", "$4 zero");
        five.check("MULTI", "+OK");
        five.check("GET selected", "+QUEUED");
        five.check("EXEC", "*1 $4 five");
        five.check("SELECT 99999", "-ERR DB index is out of range");
        five.check("SELECT five", "-ERR value is not an integer or out of range");
        five.check("GET selected", "$4 five");
        five.check("DEL selected", ":1");
        five.check("SELECT 0", "+OK");
        five.check("GET selected", "$4 zero");
        five.check("SELECT 5", "+OK");
        five.check("RESET", "+RESET");
        drop(five);
        let mut next = gateway.speaking(version);
        next.check("GET selected", "$4 zero");
    }
}

#[test]
fn reset_ends_every_session() {
    shared::everywhere(module_path!(), |gateway, version, name| {
        let key = format!("reset:{name}");
        let mut client = gateway.speaking(version);
        client.check("MULTI", "+OK");
        client.check(&format!("SET {key} 1"), "+QUEUED");
        client.check("RESET", "+RESET");
        client.read_as(Version::Resp2);
        client.check("EXEC", "-ERR EXEC without MULTI");
        client.check(&format!("EXISTS {key}"), ":0");
        client.send_line(&format!("SUBSCRIBE {key}"));
        client.reply();
        client.check("RESET", "+RESET");
        client.check(&format!("GET {key}"), "$-1");
        client.send_line("MONITOR");
        client.reply();
        client.send_line("RESET");
        wait_until("MONITOR ends", || support::text::one_line(&client.reply()) == "+RESET");
        client.check(&format!("GET {key}"), "$-1");
    });
}
