//! With `auth.upstream_identity = "same"` a user that may not do everything runs scripts, functions and commands of modules at Redis as itself: it
//! wins no right by the gateway and loses none. Everything else goes as ever.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::support::client::Client;
use crate::support::migration::Migration;
use crate::support::{BOTH_VERSIONS, Cluster, Gateway, Server, Version, seed, wait_until};

const SAME: &str = "auth.upstream_identity = \"same\"\n";
const PASSWORD: &str = "pw-very-secret";
const RULES: &str = "~app:* &app:* +@all -@admin -@dangerous";
const SET: &str = "EVAL \"return redis.call('SET',KEYS[1],ARGV[1])\" 1";
const READ_OTHERS: &str = "EVAL \"return redis.call('GET','other:k')\" 0";

/// Makes the user `name` at a server or at the gateway.
fn make(mut admin: Client, name: &str) {
    admin.check(&format!("ACL SETUSER {name} reset on >{PASSWORD} {RULES}"), "+OK");
}

fn logged_in(gateway: &Gateway, name: &str, version: Version) -> Client {
    let mut client = gateway.client();
    match version {
        Version::Resp2 => client.check(&format!("AUTH {name} {PASSWORD}"), "+OK"),
        Version::Resp3 => drop(client.hello3(&format!("HELLO 3 AUTH {name} {PASSWORD}"))),
    }
    client
}

/// A server and a gateway that both know the user `app`.
fn setting(config: &str) -> (Server, Gateway) {
    let server = Server::start();
    server.client().check("SET other:k topsecret", "+OK");
    let gateway = Gateway::before(&server).config(&format!("{SAME}{config}")).start();
    make(server.client(), "app");
    make(gateway.client(), "app");
    (server, gateway)
}

/// How many connections a user has at a server.
fn connections_of(server: &mut Client, name: &str) -> usize {
    server.text("CLIENT LIST").matches(&format!(" user={name} ")).count()
}

#[test]
fn scripts_and_functions_run_as_the_user_itself() {
    let (server, gateway) = setting("");
    let library = "#!lua name=l\nredis.register_function('f', function(k,a) return redis.call('GET', k[1] or a[1]) end)";
    assert_eq!(gateway.client().call(&["FUNCTION", "LOAD", library]), b"$1\r\nl\r\n");
    for version in BOTH_VERSIONS {
        let mut client = logged_in(&gateway, "app", version);
        client.check(&format!("{SET} app:k v"), "+OK");
        client.check("EVAL_RO \"return redis.call('GET',KEYS[1])\" 1 app:k", "$1 v");
        client.check("FCALL f 1 app:k", "$1 v");
        let digest = client.text("SCRIPT LOAD \"return redis.call('GET',KEYS[1])\"");
        client.check(&format!("EVALSHA {digest} 1 app:k"), "$1 v");
        client.check(&format!("EVALSHA {} 0", "0".repeat(40)), "-NOSCRIPT...");
        // The gateway looks at the keys that are named, Redis at those that are not.
        client.check(&format!("{SET} other:k v"), "-NOPERM No permissions to access a key");
        for line in [READ_OTHERS, "FCALL f 0 other:k", "EVAL \"return redis.call('CONFIG','GET','*')\" 0"] {
            let said = client.ask(line);
            assert!(said.starts_with('-') && !said.contains("topsecret"), "{line}: {said}");
        }
        client.check("EVAL \"return redis.pcall('GET','other:k')['err']\" 0", "$...");
        client.check("SELECT 1", "+OK");
        client.check("EVAL \"return redis.call('EXISTS','app:k')\" 0", ":0");
        // One for each database; those of the client before have gone with it.
        wait_until("two are open", || connections_of(&mut server.client(), "app") == 2);
        assert!(connections_of(&mut server.client(), "default") > 0, "all else goes as the gateway");
    }
    server.client().check("GET other:k", "$9 topsecret");
}

#[test]
fn without_it_or_without_a_password_scripts_are_refused() {
    let (server, gateway) = setting("");
    let own =
        "NOPERM User app has no permissions to run the 'eval' command: scripts run with the gateway's rights";
    gateway.client().check(&format!("ACL DRYRUN app {READ_OTHERS}"), "+OK");
    gateway.client().check(&format!("ACL DRYRUN app {SET} other:k v"), "$...");
    // One that may not run scripts is told so in Redis's words.
    gateway.client().check("ACL SETUSER app -eval", "+OK");
    let mut client = logged_in(&gateway, "app", Version::Resp2);
    client.check(READ_OTHERS, "-NOPERM User app has no permissions to run the 'eval' command");
    gateway.client().check("ACL SETUSER app +eval", "+OK");
    // A change of its rules keeps it itself.
    client.check(&format!("{SET} app:k v"), "+OK");
    let gateway = Gateway::before(&server).config("auth.upstream_identity = \"gateway\"\n").start();
    make(gateway.client(), "app");
    let mut client = logged_in(&gateway, "app", Version::Resp2);
    client.check(READ_OTHERS, &format!("-{own}..."));
}

#[test]
fn what_is_pipelined_takes_effect_and_is_answered_in_order() {
    let (_server, gateway) = setting("[[rule]]\nmatch = \"app:n*\"\nmode = \"combine\"\n");
    let seed = seed();
    println!("HOTGATE_SEED={seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    for version in BOTH_VERSIONS {
        let mut client = logged_in(&gateway, "app", version);
        let mut counts = [0_i64; 3];
        for key in 0..counts.len() {
            client.ask(&format!("DEL app:n{key}"));
        }
        for _ in 0..40 {
            let mut expected = Vec::new();
            for _ in 0..random.random_range(1..60) {
                let key = random.random_range(0..counts.len());
                let by = if random.random_bool(0.5) { 1 } else { 10 };
                counts[key] += by;
                let line = match random.random_range(0..4) {
                    0 => format!("EVAL \"return redis.call('INCRBY',KEYS[1],ARGV[1])\" 1 app:n{key} {by}"),
                    1 => format!("EVAL \"return redis.call('INCRBY','app:n{key}',ARGV[1])\" 0 {by}"),
                    2 => {
                        counts[key] -= by;
                        format!("GET app:n{key}")
                    }
                    _ => format!("INCRBY app:n{key} {by}"),
                };
                client.send_line(&line);
                let count = counts[key];
                expected.push(match line.starts_with("GET") {
                    true if count == 0 => (line, "".to_owned()),
                    true => (line, format!("${} {count}", count.to_string().len())),
                    false => (line, format!(":{count}")),
                });
            }
            for (line, expected) in expected {
                client.expect(&line, if expected.is_empty() { "..." } else { &expected });
            }
        }
    }
}

#[test]
fn a_transaction_with_a_script_runs_as_the_user_itself() {
    let (server, gateway) = setting("");
    for version in BOTH_VERSIONS {
        let mut client = logged_in(&gateway, "app", version);
        for (before, database) in [("SET app:m 1", 0), ("SELECT 1", 1)] {
            client.check("SELECT 0", "+OK");
            client.check("MULTI", "+OK");
            client.check(before, "+QUEUED");
            client.check(&format!("{SET} app:m v{database}"), "+QUEUED");
            client.check(READ_OTHERS, "+QUEUED");
            client.check("GET app:m", "+QUEUED");
            client.check("CLIENT GETNAME", "+QUEUED");
            let said = client.ask("EXEC");
            assert!(said.contains(&format!("v{database}")) && !said.contains("topsecret"), "{said}");
            assert!(said.contains("can't access at least one of the keys"), "{said}");
            client.check("GET app:m", &format!("$2 v{database}"));
        }
        client.check("SELECT 0", "+OK");
        client.check("MULTI", "+OK");
        client.check(&format!("{SET} other:k v"), "-NOPERM No permissions to access a key");
        client.check("EXEC", "-EXECABORT...");
        // What watches goes as the gateway, so no script can stand behind it.
        client.check("WATCH app:m", "+OK");
        client.check("MULTI", "+OK");
        client.check(&format!("{SET} app:m w"), "-ERR hotgate: scripts...");
        client.check("EXEC", "-EXECABORT...");
        client.check("GET app:m", "$2 v0");
    }
    server.client().check("GET other:k", "$9 topsecret");
}

#[test]
fn what_is_tracked_is_not_read_as_somebody_else() {
    let (_server, gateway) = setting("");
    let mut client = logged_in(&gateway, "app", Version::Resp3);
    client.check(&format!("{SET} app:k v"), "+OK");
    client.check("CLIENT TRACKING ON", "+OK");
    client.check("GET app:k", "$1 v");
    client.check("EVAL \"return 1\" 0", "-ERR hotgate: with CLIENT TRACKING on...");
    client.check("CLIENT TRACKING OFF", "+OK");
    client.check("EVAL \"return 1\" 0", ":1");
}

#[test]
fn who_redis_does_not_let_in_is_told_so_and_all_else_goes_on() {
    let (server, gateway) = setting("");
    let mut admin = server.client();
    let mut client = logged_in(&gateway, "app", Version::Resp2);
    client.check("EVAL \"return 1\" 0", ":1");
    // Its password changes at Redis: the connection that there is goes on, as Redis has it. Then it is deleted, which closes that one.
    admin.check("ACL SETUSER app resetpass >another", "+OK");
    client.check("EVAL \"return 1\" 0", ":1");
    admin.check("ACL DELUSER app", ":1");
    wait_until("the gateway has seen that its connection is closed", || {
        client.ask("EVAL \"return 1\" 0").starts_with("-NOPERM hotgate: ")
    });
    for _ in 0..3 {
        client.send_line("EVAL \"return 1\" 0");
        client.send_line("SET app:k v");
        client.send_line("EVAL \"return 2\" 0");
        client.expect("EVAL", "-NOPERM hotgate: scripts, functions and commands of modules run at Redis as the user 'app' itself...");
        client.expect("SET", "+OK");
        client.expect("EVAL", "-NOPERM hotgate:...");
        client.check("MULTI", "+OK");
        client.check("EVAL \"return 1\" 0", "+QUEUED");
        client.check("EXEC", "-NOPERM hotgate:...");
    }
    gateway.client().check("EVAL \"return redis.call('GET','other:k')\" 0", "$9 topsecret");
    assert!(!gateway.log().contains("is down"), "the node is not held to be down");
    make(server.client(), "app");
    wait_until("the user is let in again", || client.ask("EVAL \"return 1\" 0") == ":1");
    // Rights at Redis that are smaller than those here.
    admin.check("ACL SETUSER app -set", "+OK");
    client.check("SET app:k v", "+OK");
    assert!(client.ask(&format!("{SET} app:k v")).starts_with('-'));
}

#[test]
fn clients_of_one_user_share_a_connection_that_is_closed_behind_the_last() {
    let (server, gateway) = setting("gateway.workers = 1\nupstream.session_connections_max = 1\n");
    let mut admin = server.client();
    make(server.client(), "web");
    make(gateway.client(), "web");
    let mut clients: Vec<Client> = (0..5).map(|_| logged_in(&gateway, "app", Version::Resp2)).collect();
    for client in &mut clients {
        client.check("EVAL \"return 1\" 0", ":1");
    }
    assert_eq!(connections_of(&mut admin, "app"), 1);
    let mut web = logged_in(&gateway, "web", Version::Resp2);
    web.check("EVAL \"return 1\" 0", "-ERR hotgate: the table of session connections is full...");
    web.check("MULTI", "+OK");
    web.check("EVAL \"return 1\" 0", "+QUEUED");
    web.check("EXEC", "-ERR hotgate: the table of session connections is full...");
    web.check("SET app:k v", "+OK");
    // Whoever becomes another takes nothing along.
    for client in &mut clients[..2] {
        client.check("RESET", "+RESET");
    }
    clients[2].check(&format!("AUTH web {PASSWORD}"), "+OK");
    drop(clients);
    wait_until("the connection is closed", || connections_of(&mut admin, "app") == 0);
    wait_until("another may have it", || web.ask("EVAL \"return 1\" 0") == ":1");
    assert_eq!(connections_of(&mut admin, "web"), 1);
}

#[test]
fn who_becomes_another_user_is_that_one_at_redis_too() {
    let (server, gateway) = setting("");
    make(server.client(), "web");
    make(gateway.client(), "web");
    server.client().check("ACL SETUSER web resetkeys ~web:*", "+OK");
    gateway.client().check("ACL SETUSER web resetkeys ~web:*", "+OK");
    let write = |key: &str| format!("EVAL \"return redis.call('SET','{key}','v')\" 0");
    let mut client = logged_in(&gateway, "app", Version::Resp2);
    // In one pipeline.
    for line in
        [write("app:k"), write("web:k"), format!("AUTH web {PASSWORD}"), write("web:k"), write("app:k")]
    {
        client.send_line(&line);
    }
    for expected in ["+OK", "-...", "+OK", "+OK", "-..."] {
        client.expect("a pipeline", expected);
    }
}

#[test]
fn new_credentials_of_the_gateway_are_not_told_to_connections_of_users() {
    let (server, gateway) = setting("");
    let mut client = logged_in(&gateway, "app", Version::Resp2);
    client.check("EVAL \"return 1\" 0", ":1");
    server.client().check("ACL SETUSER own on >own ~* &* +@all", "+OK");
    // Users of ACL SETUSER would be gone with a reload that changes auth.
    gateway.reload(&format!("{SAME}upstream.user = \"own\"\nupstream.password = \"own\"\n"));
    let mut admin = server.client();
    wait_until("the gateway has logged in anew", || connections_of(&mut admin, "own") > 0);
    let said = client.ask(READ_OTHERS);
    assert!(said.starts_with('-') && !said.contains("topsecret"), "{said}");
}

#[test]
fn each_node_of_a_cluster_has_a_connection_and_redirections_keep_the_user() {
    let cluster = Cluster::start();
    let gateway = Gateway::before(&cluster).config(SAME).start();
    for node in 0..cluster.len() {
        make(cluster.client(node), "app");
    }
    make(gateway.client(), "app");
    let mut client = logged_in(&gateway, "app", Version::Resp2);
    let increment = |key: &str| format!("EVAL \"return redis.call('INCR',KEYS[1])\" 1 {key}");
    for key in 0..50 {
        client.check(&increment(&format!("app:{key}")), ":1");
    }
    let key = "app:{moved}";
    client.check(&increment(key), ":1");
    client.check(&increment("app:{moved}2"), ":1");
    let migration = Migration::begin(&cluster, key);
    migration.move_key(key);
    // One is there (ASK), the other here.
    for round in 2..6 {
        client.send_line(&increment(key));
        client.send_line(&increment("app:{moved}2"));
        client.expect(key, &format!(":{round}"));
        client.expect("app:{moved}2", &format!(":{round}"));
    }
    migration.end();
    for round in 6..9 {
        client.check(&increment(key), &format!(":{round}"));
        client.check("EVAL \"return redis.call('GET','other:{moved}')\" 1 app:{moved}", "-...");
    }
    client.check("MULTI", "+OK");
    client.check(&increment(key), "+QUEUED");
    client.check("EXEC", "*1 :9");
}

#[test]
fn a_password_is_never_shown() {
    let (_server, gateway) = setting("log.level = \"debug\"\n");
    let mut client = logged_in(&gateway, "app", Version::Resp2);
    client.check("EVAL \"return 1\" 0", ":1");
    let mut admin = gateway.client();
    let mut told = gateway.log();
    for line in [
        "INFO everything",
        "CLIENT LIST",
        "ACL LIST",
        "ACL GETUSER app",
        "ACL LOG",
        "HOTGATE AUDIT",
        "HOTGATE EVENTS",
        "CONFIG GET *",
    ] {
        told += &admin.ask(line);
    }
    for line in ["CLIENT LIST", "CLIENT INFO", "EVAL \"return redis.call('ACL','WHOAMI')\" 0"] {
        told += &client.ask(line);
    }
    assert!(!told.contains(PASSWORD), "{told}");
}
