//! Administration of the servers goes through the gateway for a user who was given that by a rule: to the server, to every master, to one
//! node. What would take the server away is refused to everybody, by name.

use std::collections::BTreeSet;

use hotgate::command::{Class, CommandTable, Local};

use crate::support::client::Client;
use crate::support::{BOTH_VERSIONS, Gateway, Server, Version, shared};

/// A client of a user who was given these commands by a rule.
fn given(gateway: &Gateway, name: &str, rules: &str, version: Version) -> Client {
    gateway.client().check(&format!("ACL SETUSER {name} reset on >pw {rules}"), "+OK");
    let mut client = gateway.client();
    match version {
        Version::Resp2 => client.check(&format!("AUTH {name} pw"), "+OK"),
        Version::Resp3 => drop(client.hello3(&format!("HELLO 3 AUTH {name} pw"))),
    }
    client
}

#[test]
fn nobody_administers_because_nobody_said_who_may() {
    let (server, gateway) = shared::single(module_path!());
    let by_password = shared::gateway(module_path!(), "[[auth.user]]\nname = \"app\"\npassword = \"pw\"\n");
    let mut app = by_password.client();
    app.check("AUTH app pw", "+OK");
    let hz = server.client().list("CONFIG GET hz");
    for client in [&mut gateway.client(), &mut app] {
        for (line, name) in [
            ("CONFIG SET hz 77", "config|set"),
            ("CLIENT PAUSE 1", "client|pause"),
            ("BGSAVE", "bgsave"),
            ("DEBUG SLEEP 0", "debug"),
        ] {
            let words = format!("-ERR hotgate: '{name}' is not passed on: it administers the servers...");
            client.check(line, &words);
        }
        client.check(
            &format!("HOTGATE NODE {} PING", server.address()),
            "-ERR hotgate: 'hotgate|node' is not done...",
        );
        client.check("MULTI", "+OK");
        client.check("CONFIG SET hz 77", "-ERR hotgate: 'config|set'...");
        client.check("EXEC", "-EXECABORT Transaction discarded because of previous errors.");
    }
    assert_eq!(server.client().list("CONFIG GET hz"), hz);
}

#[test]
fn one_server_is_administered_by_who_was_given_that() {
    let server = Server::with(&["--enable-debug-command", "yes"]);
    let gateway = Gateway::before_server(&server);
    for version in BOTH_VERSIONS {
        let mut client = given(&gateway, "root", "~* &* +@all", version);
        client.check("CONFIG SET hz 33 maxmemory 111mb", "+OK");
        assert_eq!(server.client().list("CONFIG GET hz"), ["hz", "33"]);
        client.check("CONFIG SET hz nonsense", "-ERR CONFIG SET failed...");
        client.check("CONFIG RESETSTAT", "+OK");
        client.check("SAVE", "+OK");
        assert!(client.integer("LASTSAVE") > 0);
        client.check("SELECT 3", "+OK");
        client.check("SET admin:k v", "+OK");
        client.check("DEBUG OBJECT admin:k", "+Value at:...");
        client.check("SELECT 0", "+OK");
        client.ask("DEL admin:k");
        client.check("DEBUG OBJECT admin:k", "-ERR no such key");
        client.check("CLIENT PAUSE 1 WRITE", "+OK");
        client.check("CLIENT UNPAUSE", "+OK");
        client.check("MULTI", "+OK");
        client.check("SET admin:k w", "+QUEUED");
        client.check("CONFIG SET hz 10", "+QUEUED");
        client.check("EXEC", "*2 +OK +OK");
        assert_eq!(server.client().list("CONFIG GET hz"), ["hz", "10"]);
        for line in [
            "CONFIG SET hz 10 RequirePass x",
            "CONFIG SET port 1",
            "CONFIG SET hz 10 timeout 70",
            "DEBUG SEGFAULT",
            "SHUTDOWN NOSAVE",
            "REPLICAOF 127.0.0.1 1",
            "SCRIPT DEBUG YES",
            "FAILOVER",
            "PSYNC ? -1",
        ] {
            assert!(client.ask(line).starts_with("-ERR hotgate: "), "{line}: {}", client.ask(line));
        }
        client.check("GET admin:k", "$1 w");
    }
}

#[test]
fn a_rule_gives_as_much_as_it_says() {
    let (_, gateway) = shared::single(module_path!());
    let mut client = given(
        gateway,
        "some",
        "~a:* +@all -@admin +config|resetstat +hotgate|node +ping +get",
        Version::Resp2,
    );
    client.check("CONFIG RESETSTAT", "+OK");
    client.check("CONFIG SET hz 10", "-NOPERM User some has no permissions to run the 'config|set' command");
    let node = shared::single(module_path!()).0.address();
    client.check(&format!("HOTGATE NODE {node} PING"), "+PONG");
    client.check(&format!("HOTGATE NODE {node} CONFIG SET hz 10"), "-NOPERM...");
    client.check(&format!("HOTGATE NODE {node} GET a:1"), "$-1");
    client.check(&format!("HOTGATE NODE {node} GET b:1"), "-NOPERM No permissions to access a key");
}

#[test]
fn every_master_is_administered_and_one_node_is_asked() {
    let (cluster, gateway) = shared::cluster(module_path!());
    let address = |node: usize| format!("127.0.0.1:{}", cluster.port(node));
    let own = String::from_utf8(hotgate::combine::override_key(b"y").to_vec()).unwrap();
    for version in BOTH_VERSIONS {
        let mut client = given(gateway, "root", "~* &* +@all", version);
        client.check("CONFIG SET hz 44", "+OK");
        for node in cluster.masters() {
            assert_eq!(cluster.client(node).list("CONFIG GET hz"), ["hz", "44"]);
        }
        assert!(client.integer("LASTSAVE") > 0);
        let last = *cluster.masters().last().unwrap();
        cluster.client(last).check("ACL SETUSER default -config|set", "+OK");
        let said = client.ask("CONFIG SET hz 45");
        cluster.client(last).check("ACL SETUSER default +config|set", "+OK");
        let expected = format!("1 of 3 masters did not do it, the others did. {}: NOPERM", address(last));
        assert!(said.contains(&expected), "{said}");
        // One node, a replica too.
        let replica = cluster.replica_of(cluster.masters()[0]);
        client.check(&format!("HOTGATE NODE {} CONFIG SET hz 66", address(replica)), "+OK");
        assert!(client.ask(&format!("HOTGATE NODE {} CONFIG GET hz", address(replica))).contains("$2 66"));
        assert!(client.ask(&format!("HOTGATE NODE {} ROLE", address(replica))).contains("slave"));
        assert!(
            client.ask(&format!("HOTGATE NODE {} MEMORY STATS", address(last))).contains("peak.allocated")
        );
        assert!(client.ask(&format!("HOTGATE NODE {} CLUSTER MYID", address(last))).starts_with("$40 "));
        for (line, word) in [
            ("HOTGATE NODE 127.0.0.1:1 PING", "no node is at 127.0.0.1:1; known are "),
            ("HOTGATE NODE nonsense PING", "no node is at nonsense"),
            ("HOTGATE NODE ADDRESS NOSUCH", "unknown command 'NOSUCH'"),
            ("HOTGATE NODE ADDRESS SET k v", "a node is asked about itself"),
            ("HOTGATE NODE ADDRESS FLUSHALL", "a node is asked about itself"),
            ("HOTGATE NODE ADDRESS EVAL x 0", "a node is asked about itself"),
            ("HOTGATE NODE ADDRESS BLPOP k 0", "state of a connection"),
            ("HOTGATE NODE ADDRESS MONITOR", "state of a connection"),
            ("HOTGATE NODE ADDRESS SELECT 1", "state of a connection"),
            ("HOTGATE NODE ADDRESS KEYS *", "keys of the gateway's own"),
            ("HOTGATE NODE ADDRESS TYPE <own>", "gateway's own"),
            ("HOTGATE NODE ADDRESS HOTGATE HELP", "gateway's own"),
            ("HOTGATE NODE ADDRESS SHUTDOWN", "is not passed on"),
            ("HOTGATE NODE ADDRESS CLUSTER RESET", "is not passed on"),
            ("HOTGATE NODE ADDRESS REPLICAOF NO ONE", "is not passed on"),
            ("HOTGATE NODE ADDRESS CONFIG SET port 1", "is not passed on"),
            ("HOTGATE NODE ADDRESS DEBUG SEGFAULT", "is not passed on"),
        ] {
            let said = client.ask(&line.replace("ADDRESS", &address(last)).replace("<own>", &own));
            assert!(said.starts_with('-') && said.contains(word), "{line}: {said}");
        }
    }
}

#[test]
fn what_is_administered_is_noted_and_passwords_of_servers_are_not_told() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut client = given(&gateway, "root", "~* &* +@all", Version::Resp2);
    server.client().check("CONFIG SET hz 10", "+OK");
    client.check("CONFIG SET hz 55 masterauth hunter2", "+OK");
    let node = server.address();
    client.check(&format!("HOTGATE NODE {node} ACL SETUSER made on >hunter3 +get"), "+OK");
    client.check("CONFIG SET hz nonsense", "-ERR...");
    // Whoever may empties a log, and that is noted too.
    gateway.client().check("SLOWLOG RESET", "+OK");
    gateway.client().check("LATENCY RESET", ":0");
    let noted = client.ask("HOTGATE AUDIT 5");
    for part in [
        "slowlog reset",
        "latency reset",
        "config set",
        "hz 10",
        "hz 55, masterauth (hidden)",
        "acl setuser",
        "hz nonsense",
    ] {
        assert!(noted.contains(part), "{part}: {noted}");
    }
    let all = client.ask(&format!("HOTGATE NODE {node} CONFIG GET *"));
    assert!(all.contains("maxmemory-policy"), "{all}");
    client.check(&format!("HOTGATE NODE {node} CONFIG GET masterauth"), "*0");
    for text in [noted, all, gateway.log()] {
        assert!(!text.contains("hunter"), "{text}");
    }
}

/// What the command table says is refused, administration, ...: their names, with a space before a subcommand.
fn named(wanted: fn(Class) -> bool) -> BTreeSet<String> {
    let table = CommandTable::builtin();
    let found = table.iter().filter(|(_, command)| wanted(command.class) && !command.is_container());
    found.map(|(_, command)| command.name.replace('|', " ")).collect()
}

/// README.md names every command that is refused; a container stands once before its subcommands.
#[test]
fn the_readme_names_every_refused_command() {
    const README: &str = include_str!("../../README.md");
    let paragraph = README.split("- Refused, whoever asks: ").nth(1).unwrap().split(".\n").next().unwrap();
    let listed = paragraph.split('`').skip(1).step_by(2).flat_map(|span| {
        let (container, names) = match span.split_once(' ') {
            Some((container @ ("CLUSTER" | "SCRIPT"), names)) => (format!("{container} "), names),
            _ => (String::new(), span),
        };
        let whole = names.split(' ').map(|name| format!("{container}{name}").to_lowercase());
        whole.collect::<Vec<_>>()
    });
    let refused = named(|class| matches!(class, Class::Refuse(_)));
    assert_eq!(listed.collect::<BTreeSet<_>>(), refused);
}

/// docs/commands.md names every command that is refused, and every one that is administration.
#[test]
fn the_manual_names_what_is_refused_and_what_is_administration() {
    const PAGE: &str = include_str!("../../docs/commands.md");
    let listed = |heading: &str| -> BTreeSet<String> {
        let section = PAGE.split(heading).nth(1).unwrap().split("\n## ").next().unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        rows.flat_map(|row| row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2))
            .map(str::to_lowercase)
            .collect()
    };
    assert_eq!(listed("## Refused\n"), named(|class| matches!(class, Class::Refuse(_))));
    assert_eq!(listed("## Administration\n"), named(|class| class == Class::Local(Local::Administer)));
    assert_eq!(listed("## Of one server\n"), named(|class| matches!(class, Class::OneServer(_))));
}
