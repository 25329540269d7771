//! What stands between `MULTI` and `EXEC` is queued, done or refused as Redis does it, and the reply of `EXEC` is Redis's own:
//! each script below runs against a plain Redis and through the gateway, and every reply is compared.

use crate::support::migration::Migration;
use crate::support::text::one_line;
use crate::support::{BOTH_VERSIONS, Client, Cluster, Gateway, Server, Turn, Version, shared};

/// Held while scripts run, since each begins with an empty database.
static ALONE: Turn = Turn::new();

/// Who sends a line of a script: `a:` or `b:` before it, of which `a` is meant where nothing is said.
fn sender(line: &str) -> (usize, &str) {
    match line.split_once(": ") {
        Some(("a", line)) => (0, line),
        Some(("b", line)) => (1, line),
        _ => (0, line),
    }
}

/// The replies to the lines of a script.
fn replies(address: std::net::SocketAddr, version: Version, script: &[&str]) -> Vec<String> {
    let mut clients = [Client::speaking(address, version), Client::speaking(address, version)];
    clients[0].check("FLUSHALL", "+OK");
    let reply_of = |line: &&str| {
        let (who, line) = sender(line);
        one_line(&clients[who].call_line(line))
    };
    script.iter().map(reply_of).collect()
}

/// Runs the scripts against a plain Redis and through gateways before one server and before a cluster. All keys share a tag,
/// so that a cluster takes them.
fn check(scripts: &[&[&str]]) {
    let _alone = ALONE.take();
    let plain = Server::start();
    let mut differences = Vec::new();
    for (gateway, place) in
        [(&shared::single(module_path!()).1, "single"), (&shared::cluster(module_path!()).1, "cluster")]
    {
        for version in BOTH_VERSIONS {
            for script in scripts {
                let expected = replies(plain.address(), version, script);
                let got = replies(gateway.address, version, script);
                if got != expected {
                    differences.push(format!(
                        "{place}, {version:?}, {script:?}\n  hotgate {got:?}\n  redis   {expected:?}"
                    ));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

#[test]
fn an_empty_transaction_fails_when_a_watched_key_changed() {
    check(&[
        &["WATCH {w}k", "b: SET {w}k 1", "MULTI", "EXEC", "MULTI", "EXEC"],
        &["WATCH {w}k", "MULTI", "b: SET {w}k 2", "EXEC", "EXEC"],
        &["WATCH {w}k", "MULTI", "EXEC", "b: SET {w}k 2", "MULTI", "EXEC"],
        &["WATCH {w}k", "SET {w}k own", "MULTI", "EXEC"],
        &["WATCH {w}k", "b: SET {w}k 1", "UNWATCH", "MULTI", "EXEC"],
        &["WATCH {w}k", "b: SET {w}k 1", "MULTI", "DISCARD", "MULTI", "EXEC"],
        &["WATCH {w}k", "b: SET {w}k 1", "MULTI", "UNWATCH", "EXEC", "MULTI", "EXEC"],
        &["WATCH {w}k", "WATCH {w}l", "b: DEL {w}l", "b: SET {w}k 1", "MULTI", "EXEC"],
        &["WATCH {w}k {w}l", "b: GET {w}k", "MULTI", "EXEC"],
        &["WATCH {w}k", "b: SET {w}k 1", "MULTI", "NOSUCH", "EXEC", "MULTI", "EXEC"],
        &["WATCH {w}k", "b: SET {w}k 1", "EXEC", "DISCARD", "MULTI", "EXEC"],
        &["WATCH {w}k", "b: SET {w}k 1", "MULTI", "MULTI", "WATCH {w}l", "EXEC"],
        &["WATCH {w}k", "b: SET {w}k 1", "MULTI", "GET {w}k", "EXEC", "GET {w}k"],
        &["WATCH {w}k", "MULTI", "EXEC {w}k", "EXEC", "b: SET {w}k 1", "MULTI", "EXEC", "EXEC {w}k"],
        &["WATCH {w}k", "b: DEL {w}k", "b: SET {w}k 1", "MULTI", "PING", "EXEC"],
    ]);
}

/// What concerns the connection is queued, done when `EXEC` comes, and answered in its place.
#[test]
fn commands_about_the_connection_are_queued_and_done() {
    check(&[
        &[
            "MULTI",
            "CLIENT SETNAME one",
            "CLIENT GETNAME",
            "SET {q}k 1",
            "CLIENT SETNAME two",
            "EXEC",
            "CLIENT GETNAME",
        ],
        &["MULTI", "CLIENT SETNAME one", "DISCARD", "CLIENT GETNAME"],
        &["MULTI", "CLIENT SETNAME \"a b\"", "CLIENT GETNAME", "PING", "EXEC", "CLIENT GETNAME"],
        &["WATCH {q}k", "b: SET {q}k 1", "MULTI", "CLIENT SETNAME one", "EXEC", "CLIENT GETNAME"],
        &["WATCH {q}k", "MULTI", "CLIENT SETNAME one", "INCR {q}k", "EXEC", "CLIENT GETNAME", "b: GET {q}k"],
        &["MULTI", "CLIENT SETNAME one", "NOSUCH", "EXEC", "CLIENT GETNAME"],
        &["MULTI", "AUTH x y", "AUTH default y", "AUTH a b c d", "ACL WHOAMI", "EXEC"],
        &["MULTI", "PING", "PING a", "PING a b", "ECHO e", "EXEC"],
        &[
            "MULTI",
            "CLIENT NO-EVICT on",
            "CLIENT NO-EVICT x",
            "CLIENT GETREDIR",
            "CLIENT TRACKINGINFO",
            "EXEC",
        ],
        &["MULTI", "CLIENT CACHING YES", "CLIENT CACHING x", "GET {q}k", "EXEC"],
        &["MULTI", "COMMAND COUNT x", "EXEC", "PING"],
        &[
            "MULTI",
            "COMMAND GETKEYS GET a",
            "COMMAND GETKEYS PING",
            "CLIENT KILL ID 0",
            "CLIENT UNBLOCK x",
            "EXEC",
        ],
        &["MULTI", "SET {q}k 1", "RESET"],
        &["MULTI", "SET {q}k 1", "QUIT"],
        &[
            "MULTI",
            "SAVE",
            "EXEC",
            "MULTI",
            "SYNC",
            "EXEC",
            "MULTI",
            "PSYNC 0 0",
            "EXEC",
            "MULTI",
            "SHUTDOWN",
            "EXEC",
        ],
        &["MULTI", "MONITOR", "SSUBSCRIBE {q}c", "EXEC", "GET {q}k"],
        &["MULTI", "WAIT 0 0", "BLPOP {q}l 0", "BZPOPMIN {q}z 0", "XREAD BLOCK 0 STREAMS {q}x $", "EXEC"],
        &["MULTI", "UNSUBSCRIBE", "UNSUBSCRIBE a", "PUNSUBSCRIBE", "SUNSUBSCRIBE", "EXEC"],
        &["MULTI", "SET {q}k 1", "DBSIZE", "EXEC", "DBSIZE", "MULTI", "RANDOMKEY", "KEYS *", "EXEC"],
        &[
            "SET {q}k 1",
            "MULTI",
            "FLUSHALL",
            "FLUSHDB",
            "DBSIZE",
            "SCRIPT FLUSH",
            "FUNCTION FLUSH",
            "EXEC",
            "EXISTS {q}k",
        ],
        &["MULTI", "PUBLISH a b", "PUBSUB CHANNELS", "PUBSUB NUMPAT", "PUBSUB NUMSUB a", "EXEC"],
        &["MULTI", "MULTI", "WATCH {q}k", "EXEC", "EXEC"],
        &["MULTI", "GET", "CLIENT", "CLIENT NOSUCH", "EXEC"],
    ]);
}

/// `SELECT` moves what comes behind it, and the connection when the transaction ran.
#[test]
fn a_transaction_selects_databases() {
    let _alone = ALONE.take();
    let plain = Server::start();
    for version in BOTH_VERSIONS {
        for script in [
            &[
                "MULTI",
                "SET k 0",
                "SELECT 5",
                "SET k 5",
                "GET k",
                "SELECT 99",
                "SELECT x",
                "EXEC",
                "GET k",
                "SELECT 0",
                "GET k",
            ][..],
            &["MULTI", "SELECT 5", "DISCARD", "SET k 0", "SELECT 5", "GET k"],
            &["WATCH k", "MULTI", "SELECT 5", "SET k 5", "b: SET k other", "EXEC", "GET k"],
            &[
                "WATCH k", "MULTI", "SELECT 5", "SET k 5", "EXEC", "GET k", "b: GET k", "WATCH k", "MULTI",
                "GET k", "EXEC",
            ],
            &["MULTI", "SELECT 5", "NOSUCH", "EXEC", "SET k 0", "b: GET k"],
            &[
                "MULTI",
                "SELECT 3",
                "SELECT 4",
                "CLIENT SETNAME n",
                "SELECT 0",
                "SET k zero",
                "EXEC",
                "GET k",
                "CLIENT GETNAME",
            ],
            &[
                "SELECT 7", "SET k 7", "MULTI", "SELECT 6", "SET k 6", "EXEC", "MULTI", "SELECT 7", "GET k",
                "EXEC", "GET k",
            ],
        ] {
            let expected = replies(plain.address(), version, script);
            let got = replies(shared::single(module_path!()).1.address, version, script);
            assert_eq!(got, expected, "{version:?}: {script:?}");
        }
    }
}

/// `HELLO` changes what the replies behind it look like. What it says of the server differs, so that is left out.
#[test]
fn a_transaction_changes_the_version() {
    let _alone = ALONE.take();
    let plain = Server::start();
    for gateway in [&shared::single(module_path!()).1, &shared::cluster(module_path!()).1] {
        let run = |address| {
            let mut client = Client::speaking(address, Version::Resp2);
            client.check("HSET {v}h f v", ":...");
            for line in [
                "MULTI",
                "HGETALL {v}h",
                "HELLO 3",
                "HGETALL {v}h",
                "HELLO 9",
                "HELLO 2",
                "HGETALL {v}h",
                "HELLO 3 SETNAME n",
                "CLIENT GETNAME",
                "GET {v}none",
            ] {
                client.send_line(line);
                client.reply();
            }
            client.read_as(Version::Resp3);
            client.send_line("EXEC");
            let whole = one_line(&client.reply());
            let after = one_line(&client.call_line("HGETALL {v}h"));
            let mut pieces: Vec<String> = whole
                .split("$6 server ")
                .map(|piece| piece.split_once("$7 modules *0 ").map_or(piece, |(_, after)| after).to_owned())
                .collect();
            pieces.push(after);
            client.check("DEL {v}h", ":1");
            pieces
        };
        assert_eq!(run(gateway.address), run(plain.address()));
    }
}

/// Subscriptions made inside a transaction stand when it has run, in RESP2 as well; other commands of it are still done.
#[test]
fn a_transaction_subscribes() {
    let plain = Server::start();
    let run = |address, version| {
        let (mut client, mut other) =
            (Client::speaking(address, version), Client::speaking(address, version));
        let mut seen = Vec::new();
        for line in [
            "MULTI",
            "SUBSCRIBE ta tb",
            "SET {ts}k 1",
            "PSUBSCRIBE tp*",
            "PING",
            "CLIENT GETNAME",
            "UNSUBSCRIBE ta",
        ] {
            seen.push(one_line(&client.call_line(line)));
        }
        // The head of the array announces six; `SUBSCRIBE` of two names is answered with two.
        seen.push(one_line(&client.call_line("EXEC")));
        seen.push(one_line(&client.reply()));
        seen.push(one_line(&client.call_line("PING")));
        other.send_line("PUBLISH tb hello");
        other.reply();
        seen.push(one_line(&client.reply()));
        seen
    };
    for gateway in [&shared::single(module_path!()).1, &shared::cluster(module_path!()).1] {
        for version in BOTH_VERSIONS {
            assert_eq!(run(gateway.address, version), run(plain.address(), version), "{version:?}");
        }
    }
}

/// Silenced replies are those that Redis silences.
#[test]
fn a_transaction_under_client_reply() {
    let _alone = ALONE.take();
    let plain = Server::start();
    for gateway in [&shared::single(module_path!()).1, &shared::cluster(module_path!()).1] {
        for version in BOTH_VERSIONS {
            for lines in [
                &[
                    "MULTI",
                    "GET {r}k",
                    "CLIENT REPLY SKIP",
                    "CLIENT GETNAME",
                    "EXEC",
                    "ECHO skipped",
                    "ECHO shown",
                ][..],
                &["MULTI", "GET {r}k", "CLIENT REPLY OFF", "GET {r}k", "EXEC", "ECHO a", "CLIENT REPLY ON"],
                &["MULTI", "GET {r}k", "CLIENT GETNAME", "CLIENT REPLY ON", "EXEC", "ECHO a"],
                &[
                    "CLIENT REPLY OFF",
                    "MULTI",
                    "GET {r}k",
                    "CLIENT GETNAME",
                    "EXEC",
                    "ECHO a",
                    "CLIENT REPLY ON",
                ],
                &[
                    "MULTI",
                    "CLIENT GETNAME",
                    "GET {r}k",
                    "CLIENT REPLY SKIP",
                    "CLIENT REPLY SKIP",
                    "EXEC",
                    "PING",
                    "ECHO b",
                ],
            ] {
                let run = |address| {
                    let mut client = Client::speaking(address, version);
                    lines.iter().for_each(|line| client.send_line(line));
                    client.send_line("QUIT");
                    one_line(&client.rest())
                };
                assert_eq!(run(gateway.address), run(plain.address()), "{version:?}: {lines:?}");
            }
        }
    }
}

/// These speak of the process or of time, or run and would do harm.
const NOT_COMPARED: &[&str] = &[
    "asking",
    "client|help",
    "client|id",
    "client|info",
    "client|kill",
    "client|list",
    "client|unblock",
    "cluster",
    "command",
    "config",
    "hello",
    "info",
    "lastsave",
    "latency",
    "lolwut",
    "memory",
    "module",
    "move",
    "object|help",
    "quit",
    "readonly",
    "readwrite",
    "role",
    "slowlog",
    "swapdb",
    "time",
];

/// The words of a request for `command`, as many as it takes at least, and one that it takes too much or too little.
fn requests_of(command: &str, arity: i64) -> Vec<Vec<String>> {
    let name: Vec<String> = command.split('|').map(str::to_uppercase).collect();
    let least = arity.unsigned_abs() as usize;
    let filled = |count: usize| {
        let argument =
            |place: usize| if place < name.len() { name[place].clone() } else { "{q}k".to_owned() };
        (0..count).map(argument).collect::<Vec<_>>()
    };
    let wrong = if arity < 0 { least - 1 } else { least + 1 };
    let mut requests = vec![filled(least), filled(wrong.max(name.len()))];
    if arity < 0 {
        requests.push(filled(least + 1));
    }
    requests
}

/// Every command that Redis has: what it is answered inside `MULTI`, and as the only one of a transaction.
#[test]
fn every_command_is_queued_or_refused_as_by_redis() {
    let _alone = ALONE.take();
    let plain = Server::start();
    let mut asked = plain.client();
    let mut commands = Vec::new();
    for name in asked.list("COMMAND LIST") {
        let arity = one_line(&asked.call_line(&format!("COMMAND INFO {name}")));
        let arity = arity.split(" :").nth(1).and_then(|rest| rest.split(' ').next()).unwrap().parse::<i64>();
        commands.push((name, arity.unwrap()));
    }
    assert!(commands.len() > 200, "{commands:?}");
    let mut differences = Vec::new();
    for (gateway, version) in [
        (&shared::single(module_path!()).1, Version::Resp2),
        (&shared::cluster(module_path!()).1, Version::Resp3),
    ] {
        for (name, arity) in &commands {
            for request in requests_of(name, *arity) {
                let (got, expected) = (
                    in_a_transaction(gateway.address, version, &request),
                    in_a_transaction(plain.address(), version, &request),
                );
                let container = name.split('|').next().unwrap();
                let compared = !NOT_COMPARED.contains(&container) && !NOT_COMPARED.contains(&&**name);
                let refused = got[0].starts_with("-ERR hotgate: ") && got[0].contains("is not passed on");
                let same = if compared { got == expected } else { got[0] == expected[0] };
                if !same && !refused {
                    differences
                        .push(format!("{version:?}, {request:?}\n  hotgate {got:?}\n  redis   {expected:?}"));
                }
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// What a request is answered inside `MULTI`, and then `EXEC`, and then `PING`. Nothing is run that stops or changes the server.
fn in_a_transaction(address: std::net::SocketAddr, version: Version, request: &[String]) -> Vec<String> {
    let harmful = [
        "ACL",
        "CONFIG",
        "DEBUG",
        "FAILOVER",
        "REPLICAOF",
        "SLAVEOF",
        "SHUTDOWN",
        "CLUSTER",
        "BGSAVE",
        "BGREWRITEAOF",
        "MIGRATE",
        "PFDEBUG",
        "PFSELFTEST",
        "COMMAND",
        "QUIT",
    ];
    let mut client = Client::speaking(address, version);
    client.check("FLUSHALL", "+OK");
    client.check("MULTI", "+OK");
    let mut replies = vec![one_line(&client.call(request))];
    if harmful.contains(&&*request[0]) {
        return replies;
    }
    replies.push(one_line(&client.call_line("EXEC")));
    if request[0] == "RESET" {
        client.read_as(Version::Resp2);
    }
    replies.push(one_line(&client.call_line("PING")));
    replies
}

/// A slot that has moved sends the whole transaction on, also one that goes over a connection of its own or that the gateway
/// has a part in.
#[test]
fn a_transaction_follows_its_slot() {
    let cluster = Cluster::start();
    let gateway = Gateway::before_cluster(&cluster);
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        let (other, number) =
            if version == Version::Resp2 { (Version::Resp3, 3) } else { (Version::Resp2, 2) };
        for lines in [&["CLIENT SETNAME mover"][..], &[&*format!("HELLO {number}"), "CLIENT GETNAME"]] {
            client.check("SET {moved}k v", "+OK");
            client.check("MULTI", "+OK");
            client.check("GET {moved}k", "+QUEUED");
            lines.iter().for_each(|line| client.check(line, "+QUEUED"));
            client.check("GET {moved}k", "+QUEUED");
            Migration::begin(&cluster, "{moved}k").end();
            client.read_as(Version::Resp3);
            let reply = client.ask("EXEC");
            assert_eq!(reply.matches("$1 v").count(), 2, "{reply}");
        }
        client.read_as(other);
        client.check("CLIENT GETNAME", "$5 mover");
        client.check("GET {moved}k", "$1 v");
    }
}
