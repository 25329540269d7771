//! Users and their rules: what Redis's own users may do and may not do is what the gateway's may.

use std::collections::HashMap;

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::support::client::Client;
use crate::support::{Gateway, Server, Version, seed, shared, wait_until};

const NO_KEY: &str = "-NOPERM No permissions to access a key";
const NO_CHANNEL: &str = "-NOPERM No permissions to access a channel";

/// A client that has logged in as a user with these rules.
fn user(gateway: &Gateway, name: &str, rules: &str) -> Client {
    gateway.client().check(&format!("ACL SETUSER {name} reset on >pw {rules}"), "+OK");
    let mut client = gateway.client();
    client.check(&format!("AUTH {name} pw"), "+OK");
    client
}

const RULES: &[&str] = &[
    "~*",
    "~a:*",
    "~b:1",
    "%R~a:*",
    "%W~b:*",
    "%RW~c:*",
    "%R~*",
    "%W~*",
    "resetkeys",
    "allkeys",
    "&*",
    "&ch:*",
    "&p*",
    "resetchannels",
    "allchannels",
    "+@all",
    "-@all",
    "+@read",
    "-@write",
    "+@string",
    "-@string",
    "+@pubsub",
    "+@dangerous",
    "-@dangerous",
    "+@fast",
    "-@slow",
    "+@admin",
    "+@connection",
    "-@keyspace",
    "+@transaction",
    "+get",
    "-get",
    "+set",
    "+mset",
    "+incr",
    "-incrby",
    "+client",
    "-client",
    "+client|id",
    "-client|kill",
    "+config|get",
    "-config|set",
    "+object",
    "+object|encoding",
    "+select|0",
    "+select|1",
    "+sort",
    "+publish",
    "+subscribe",
    "+psubscribe",
    "+eval",
    "nocommands",
    "allcommands",
    "clearselectors",
    "(+get ~c:*)",
    "(+@write %W~a:*)",
    "(+@all ~b:* &ch:*)",
    "(+publish &x ~*)",
    "+nosuch",
    "+@nosuch",
    "%X~a",
    "%~a",
    "+client|nosuch",
    "-select|0",
    "+client|id|x",
    "+get|",
    "reset",
];

const COMMANDS: &[&str] = &[
    "GET a:1",
    "GET b:1",
    "SET b:1 v",
    "SET c:1 v GET",
    "SET a:1 v",
    "MGET a:1 b:1",
    "MSET a:1 v b:2 v",
    "INCR b:1",
    "INCRBY a:1 2",
    "COPY a:1 b:1",
    "RENAME b:1 c:1",
    "SMOVE a:1 b:1 m",
    "BITFIELD a:1 GET u8 0",
    "BITFIELD a:1 SET u8 0 1",
    "BITOP AND b:1 a:1 a:2",
    "ZRANGESTORE b:1 a:1 0 1",
    "ZUNIONSTORE c:1 2 a:1 b:1",
    "ZUNION 2 a:1 b:1",
    "SORT a:1",
    "SORT a:1 STORE b:1",
    "GEORADIUS a:1 1 1 1 m STORE b:1",
    "XREAD STREAMS a:1 b:1 0 0",
    "XADD a:1 * f v",
    "LMPOP 2 a:1 b:1 LEFT",
    "LMOVE a:1 b:1 LEFT LEFT",
    "BLPOP a:1 b:1 0",
    "STRLEN b:1",
    "TYPE b:1",
    "EXISTS a:1 b:1",
    "DEL a:1 b:1",
    "OBJECT ENCODING a:1",
    "OBJECT HELP",
    "TTL b:1",
    "EXPIRE a:1 1",
    "APPEND b:1 v",
    "GETSET a:1 v",
    "GETDEL b:1",
    "PFADD a:1 v",
    "PFCOUNT a:1 b:1",
    "PFMERGE a:1 b:1",
    "DUMP a:1",
    "CLIENT ID",
    "CLIENT KILL ID 1",
    "CLIENT GETNAME",
    "CONFIG GET x",
    "CONFIG SET x y",
    "SELECT 0",
    "SELECT 1",
    "PUBLISH ch:1 v",
    "PUBLISH x v",
    "SUBSCRIBE ch:1 x",
    "SUBSCRIBE ch:1",
    "PSUBSCRIBE ch:*",
    "PSUBSCRIBE p*",
    "PSUBSCRIBE ch:1",
    "SSUBSCRIBE ch:1",
    "SPUBLISH ch:1 v",
    "UNSUBSCRIBE x",
    "PING",
    "AUTH x",
    "HELLO",
    "RESET",
    "MULTI",
    "EXEC",
    "KEYS *",
    "SCAN 0",
    "FLUSHALL",
    "DBSIZE",
    "RANDOMKEY",
    "ACL WHOAMI",
    "ACL LIST",
    "WATCH a:1",
    "MIGRATE h 1 a:1 0 1",
    "HSET b:1 f v",
    "HGETALL a:1",
    "LPUSH a:1 v",
    "SINTERSTORE a:1 b:1 c:1",
    "GETEX a:1",
    "LCS a:1 b:1",
    "MEMORY USAGE a:1",
];

/// Which part of a request a verdict of `ACL DRYRUN` is about.
fn kind(verdict: &str) -> &'static str {
    if verdict.starts_with("+OK") {
        "allowed"
    } else if verdict.contains("permissions to run") {
        "command"
    } else if verdict.contains("key") {
        "key"
    } else if verdict.contains("channel") {
        "channel"
    } else {
        panic!("no verdict: {verdict}")
    }
}

#[test]
fn verdicts_are_those_of_redis() {
    let (server, gateway) = shared::single(module_path!());
    let (mut redis, mut client) = (server.client(), gateway.client());
    let mut random = SmallRng::seed_from_u64(seed());
    let mut seen: HashMap<&'static str, u32> = HashMap::new();
    for round in 0..150 {
        let name = format!("u{round}");
        redis.check(&format!("ACL SETUSER {name} reset on nopass"), "+OK");
        client.check(&format!("ACL SETUSER {name} reset on nopass"), "+OK");
        let mut rules = Vec::new();
        for _ in 0..random.random_range(1..8) {
            let rule = *RULES.choose(&mut random).unwrap();
            rules.push(rule);
            let line = format!("ACL SETUSER {name} {rule}");
            // Redis 7.0 words some errors otherwise than later versions; whether there is one is the same.
            assert_eq!(redis.ask(&line).starts_with('+'), client.ask(&line).starts_with('+'), "{rules:?}");
        }
        check_verdicts(&name, &rules, (&mut redis, &mut client), &mut seen);
        // What ACL LIST shows makes the same user at Redis.
        let list = client.list("ACL LIST");
        let line = list.iter().find(|line| line.split(' ').nth(1) == Some(&name)).unwrap();
        let shown = line.split_once(&format!("user {name} ")).unwrap().1;
        redis.check(&format!("ACL SETUSER {name} reset {shown}"), "+OK");
        check_verdicts(&name, &rules, (&mut redis, &mut client), &mut seen);
        redis.check(&format!("ACL DELUSER {name}"), ":1");
        client.check(&format!("ACL DELUSER {name}"), ":1");
    }
    for verdict in ["allowed", "command", "key", "channel"] {
        assert!(seen.get(verdict).is_some_and(|times| *times > 50), "{verdict}: {seen:?}");
    }
}

fn check_verdicts(
    name: &str,
    rules: &[&str],
    (redis, client): (&mut Client, &mut Client),
    seen: &mut HashMap<&'static str, u32>,
) {
    for command in COMMANDS {
        let line = format!("ACL DRYRUN {name} {command}");
        let (expected, found) = (redis.ask(&line), client.ask(&line));
        assert_eq!(kind(&expected), kind(&found), "{command} by {rules:?}: {expected} here, {found} there");
        *seen.entry(kind(&found)).or_default() += 1;
    }
}

#[test]
fn what_a_user_may_not_do_is_denied_wherever_it_is_tried() {
    for gateway in shared::both(module_path!()) {
        let mut admin = gateway.client();
        admin.check("SET acl:other secret", "+OK");
        let mut client = user(gateway, "app", "~app:* &app:* +@all -flushall -@scripting +eval");
        client.check("SET app:k v", "+OK");
        client.check("GET app:k", "$1 v");
        for line in [
            "GET acl:other",
            "MGET app:k acl:other",
            "COPY acl:other app:k2",
            "RENAME app:k acl:other",
            "SORT acl:other",
            "OBJECT ENCODING acl:other",
            "BLPOP acl:other 0",
            "XREAD STREAMS acl:other 0",
            "WATCH acl:other",
            "SORT app:l BY *",
            "INCR acl:other",
            "EXPIRE acl:other 1",
            "DUMP acl:other",
            "MEMORY USAGE acl:other",
        ] {
            client.check(line, NO_KEY);
        }
        client.check("PUBLISH acl:ch v", NO_CHANNEL);
        client.check("SUBSCRIBE acl:ch", NO_CHANNEL);
        client.check("PSUBSCRIBE app:*x", NO_CHANNEL);
        client.check("FLUSHALL", "-NOPERM User app has no permissions to run the 'flushall' command");
        client.check("EVAL return 0", "-NOPERM...");
        client.check("MULTI", "+OK");
        client.check("GET acl:other", NO_KEY);
        client.check("EXEC", "-EXECABORT Transaction discarded because of previous errors.");
        client.check("SUBSCRIBE app:ch", ">3 $9 subscribe $6 app:ch :1".replace('>', "*").as_str());
    }
}

#[test]
fn a_change_holds_from_the_next_command_on() {
    let (_, gateway) = shared::single(module_path!());
    let mut admin = gateway.client();
    let mut client = user(gateway, "changed", "~a:* +@all -@scripting");
    client.check("SET a:1 v", "+OK");
    client.check("MULTI", "+OK");
    client.check("GET a:1", "+QUEUED");
    admin.check("ACL SETUSER changed resetkeys ~b:*", "+OK");
    client.check("EXEC", "-EXECABORT Transaction discarded because of previous errors.");
    client.check("GET a:1", NO_KEY);
    client.check("SET b:1 v", "+OK");
    admin.check("ACL SETUSER changed -set", "+OK");
    client.check("SET b:1 v", "-NOPERM User changed has no permissions to run the 'set' command");
    admin.check("ACL SETUSER changed allkeys allchannels allcommands", "+OK");
    client.check("GET a:1", "$1 v");
    admin.check("ACL DELUSER changed nobody", ":1");
    assert_eq!(client.rest(), b"", "who is deleted is disconnected");
}

#[test]
fn who_may_not_hear_a_channel_any_more_is_disconnected() {
    let (_, gateway) = shared::single(module_path!());
    let mut admin = gateway.client();
    let mut kept = user(gateway, "hears", "+@all ~* &a:* &b:*");
    kept.check("SUBSCRIBE a:1", "*3 $9 subscribe $3 a:1 :1");
    let mut lost = gateway.client();
    lost.check("AUTH hears pw", "+OK");
    lost.check("PSUBSCRIBE b:*", "*3 $10 psubscribe $3 b:* :1");
    admin.check("ACL SETUSER hears resetchannels &a:*", "+OK");
    assert_eq!(lost.rest(), b"");
    admin.check("PUBLISH a:1 v", ":1");
    assert_eq!(crate::support::text::one_line(&kept.reply()), "*3 $7 message $3 a:1 $1 v");
}

#[test]
fn denials_are_counted_and_logged() {
    let server = Server::start();
    let gateway = Gateway::before(&server).start();
    let mut admin = gateway.client();
    let mut client = user(&gateway, "denied", "~a:* +get");
    for _ in 0..3 {
        client.check("GET b:1", NO_KEY);
    }
    client.check("SET a:1 v", "-NOPERM...");
    client.check("AUTH denied wrong", "-WRONGPASS...");
    wait_until("the log has all", || admin.list("ACL LOG").len() >= 3);
    let log = admin.ask("ACL LOG");
    for part in ["$3 key", "$3 b:1", "$7 command", "$3 set", "$4 auth", "$6 denied", "$5 count :3"] {
        assert!(log.contains(part), "{part}: {log}");
    }
    admin.check("ACL LOG RESET", "+OK");
    admin.check("ACL LOG", "*0");
    let counted = || gateway.get("/metrics").1.contains("hotgate_errors_total{kind=\"client_auth\"} 5");
    wait_until("denials are counted", counted);
    assert!(gateway.log().contains("wrong password"), "{}", gateway.log());
}

#[test]
fn users_come_from_the_configuration_and_a_reload_changes_them() {
    let server = Server::start();
    let toml = |rules: &str| format!("[[auth.user]]\nname = \"app\"\nrules = \"{rules}\"\n");
    let gateway = Gateway::before(&server).config(&toml("on >pw >second ~app:* +@all -@admin")).start();
    let mut client = gateway.client();
    client.check("PING", "-NOAUTH Authentication required.");
    client.check("AUTH app second", "+OK");
    client.check("SET app:1 v", "+OK");
    client.check("GET other", NO_KEY);
    client.check("HOTGATE QUOTA LIST", "-NOPERM...");
    gateway.reload(&toml("on >pw ~other +@all"));
    wait_until("the reload holds", || client.ask("GET other") == "$-1");
    client.check("GET app:1", NO_KEY);
    let mut fresh = gateway.client();
    fresh.check("AUTH app second", "-WRONGPASS...");
}

#[test]
fn users_come_from_a_file_and_go_back_to_it() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users.acl");
    std::fs::write(
        &file,
        "user default on >root ~* &* +@all\n\nuser app on nopass ~app:* +get (+set ~w:*)\n",
    )
    .unwrap();
    let gateway =
        Gateway::before(&server).config(&format!("auth.acl_file = \"{}\"\n", file.display())).start();
    let mut admin = gateway.client();
    admin.check("AUTH root", "+OK");
    let mut client = gateway.client();
    client.check("AUTH app any", "+OK");
    client.check("SET w:1 v", "+OK");
    client.check("GET w:1", NO_KEY);
    admin.check("ACL SETUSER app +del", "+OK");
    admin.check("ACL SAVE", "+OK");
    let saved = std::fs::read_to_string(&file).unwrap();
    assert!(saved.contains("+del") && saved.contains("(~w:*"), "{saved}");
    std::fs::write(&file, format!("{saved}user wrong +nosuch\n")).unwrap();
    admin.check("ACL LOAD", "-ERR...");
    client.check("GET w:1", NO_KEY);
    std::fs::write(&file, saved.replace("~app:*", "~*")).unwrap();
    admin.check("ACL LOAD", "+OK");
    client.check("GET w:1", "$1 v");
    assert_eq!(admin.list("ACL USERS"), ["app", "default"]);
}

/// Who may have servers administered because a rule said so, and who may not because nobody said anything, stay so over a file.
#[test]
fn saving_and_loading_gives_nobody_the_administration_of_servers() {
    let server = Server::start();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users.acl");
    std::fs::write(
        &file,
        "user root on nopass ~* &* +@all\nuser all on nopass allkeys allchannels allcommands\n",
    )
    .unwrap();
    let gateway =
        Gateway::before(&server).config(&format!("auth.acl_file = \"{}\"\n", file.display())).start();
    let mut client = gateway.client();
    for command in ["ACL SAVE", "ACL LOAD", "ACL LOAD"] {
        for (user, answer) in
            [("default", "-ERR hotgate: ..."), ("all", "-ERR hotgate: ..."), ("root", "+OK")]
        {
            client.check(&format!("AUTH {user} any"), "+OK");
            client.check("CONFIG SET maxmemory-samples 5", answer);
        }
        client.check(command, "+OK");
    }
}

#[test]
fn shapes_are_those_of_redis() {
    let (server, gateway) = shared::single(module_path!());
    for version in [Version::Resp2, Version::Resp3] {
        let (mut redis, mut client) =
            (Client::speaking(server.address(), version), gateway.speaking(version));
        for both in [&mut redis, &mut client] {
            both.check("ACL SETUSER shape reset on #9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 ~a %R~b &c +get", "+OK");
        }
        for line in [
            "ACL GETUSER shape",
            "ACL GETUSER nobody",
            "ACL WHOAMI",
            "ACL CAT",
            "ACL CAT nosuch",
            "ACL DELUSER default",
            "ACL DELUSER nobody",
            "ACL GENPASS 0",
            "ACL GENPASS x",
            "ACL LOG x",
            "ACL DRYRUN nobody get k",
            "ACL DRYRUN shape nosuch",
            "ACL SETUSER 'a b' on",
            "ACL SETUSER x +nosuch",
            "ACL SETUSER x '(+get'",
            "ACL SETUSER x <none",
            "ACL SETUSER x #none",
            "ACL SETUSER x allkeys ~a",
        ] {
            assert_eq!(client.ask(line), redis.ask(line), "{line}");
        }
        assert_eq!(client.bulk("ACL GENPASS 5").len(), 2);
        assert_eq!(client.bulk("ACL GENPASS").len(), 64);
    }
}

/// As at Redis 7.0: rules are looked at when a command comes, and who is deleted is disconnected.
#[test]
fn who_is_blocked_gets_what_it_waits_for_unless_it_is_deleted() {
    let (_, gateway) = shared::single(module_path!());
    let mut admin = gateway.client();
    let mut client = user(gateway, "waits", "~acl:* +@all -@scripting");
    client.send_line("BLPOP acl:waits 0");
    let is_blocked = |admin: &mut Client| admin.text("INFO clients").contains("blocked_clients:1");
    wait_until("it is blocked", || is_blocked(&mut admin));
    admin.check("ACL SETUSER waits resetkeys ~b:*", "+OK");
    admin.check("LPUSH acl:waits v", ":1");
    client.expect("BLPOP", "*2 $9 acl:waits $1 v");
    client.check("BLPOP acl:waits 0", NO_KEY);
    client.send_line("BLPOP b:waits 0");
    wait_until("it is blocked again", || is_blocked(&mut admin));
    admin.check("ACL DELUSER waits", ":1");
    assert_eq!(client.rest(), b"");
}
