//! A user who may use keys of its own only tries to reach another's by every command of the table: alone, in a transaction, on folded keys
//! and on copies. Nothing is read, changed or heard.

mod requests;
mod scripts;

use std::collections::BTreeMap;

use hotgate::command::{Class, CommandTable};

use crate::support::client::Client;
use crate::support::{Cluster, Gateway, Server};
use requests::{CHANNELED, DENIED_AS_SUCH, KEYED, OTHERS, requests};

const RULES: &str = "~app:* &app:* +@all -@admin -@dangerous +keys +restore +migrate +sort +sort_ro +info";
const SECRET: &str = "topsecret";
const NO_KEY: &str = "-NOPERM No permissions to access a key";
const NO_CHANNEL: &str = "-NOPERM No permissions to access a channel";

fn contents(server: &Server) -> BTreeMap<&'static str, String> {
    let mut client = server.client();
    let all = OTHERS.iter().map(|(_, key, _)| (*key, client.ask(&format!("DUMP {key}"))));
    all.collect()
}

fn setting() -> (Server, Gateway, Client) {
    setting_of("")
}

/// The same where the user is itself at Redis.
fn setting_as_itself() -> (Server, Gateway, Client) {
    let (server, gateway, client) = setting_of("auth.upstream_identity = \"same\"\n");
    server.client().check(&format!("ACL SETUSER app reset on >pw {RULES}"), "+OK");
    (server, gateway, client)
}

fn setting_of(first: &str) -> (Server, Gateway, Client) {
    let server = Server::start();
    for (_, _, make) in OTHERS {
        server.client().ask(make);
    }
    server.client().check("XGROUP CREATE other:x g 0", "+OK");
    let gateway = Gateway::before(&server)
        .config(&format!(
            "{first}[[rule]]\nmatch = \"other:n\"\nmode = \"combine\"\n[[rule]]\nmatch = \"other:s\"\nread = {{ ttl = \"10s\" }}\n\
             [[quota]]\nmatch = \"other:limited\"\nlimit = 9\n",
        ))
        .start();
    let mut admin = gateway.client();
    admin.check(&format!("ACL SETUSER app reset on >pw {RULES}"), "+OK");
    // The counter is folded, and the string is kept as a copy.
    for _ in 0..50 {
        admin.check("INCRBY other:n 0", ":7770777");
        admin.check("GET other:s", "$9 topsecret");
    }
    let mut client = gateway.client();
    client.check("AUTH app pw", "+OK");
    (server, gateway, client)
}

#[test]
fn the_table_of_this_test_has_every_command_with_keys() {
    for (_, command) in CommandTable::builtin().iter() {
        let name = &*command.name;
        let is_known = KEYED.iter().any(|(known, _)| *known == name)
            || DENIED_AS_SUCH.contains(&name)
            || CHANNELED.contains(&name);
        assert_eq!(is_known, command.has_keys() || CHANNELED.contains(&name), "{name}");
    }
}

#[test]
fn no_command_reaches_anothers_key_alone_or_in_a_transaction() {
    check_no_command_reaches(setting());
}

#[test]
fn nor_does_one_where_the_user_is_itself_at_redis() {
    check_no_command_reaches(setting_as_itself());
}

fn check_no_command_reaches((server, gateway, mut client): (Server, Gateway, Client)) {
    let before = contents(&server);
    for (_, line) in requests() {
        client.check(&line, NO_KEY);
        client.check("MULTI", "+OK");
        client.check(&line, NO_KEY);
        client.check("EXEC", "-EXECABORT Transaction discarded because of previous errors.");
    }
    for name in DENIED_AS_SUCH {
        let said = client.ask(&format!("{} x 1 other:s 0 0 0 0", name.replace('|', " ")));
        assert!(said.starts_with("-NOPERM") || said.starts_with("-ERR"), "{name}: {said}");
        assert!(!said.contains(SECRET), "{name}: {said}");
    }
    assert_eq!(contents(&server), before, "nothing was changed");
    // The user can use its own, and others theirs: what is denied is denied because of the key.
    client.check("SET app:k v", "+OK");
    gateway.client().check("GET other:s", "$9 topsecret");
}

/// Where keys live in a cluster, or in several.
#[test]
fn no_command_reaches_anothers_key_elsewhere() {
    let (cluster, first, second) = (Cluster::start(), Server::start(), Server::start());
    let routes = format!(
        "[[cluster]]\nname = \"second\"\nservers = [\"{}\"]\n[[route]]\nmatch = \"other:*\"\nclusters = [\"second\"]\n",
        second.seed()
    );
    for gateway in [Gateway::before(&cluster).start(), Gateway::before(&first).config(&routes).start()] {
        let mut admin = gateway.client();
        for (_, _, make) in OTHERS {
            admin.ask(make);
        }
        admin.check(&format!("ACL SETUSER app reset on >pw {RULES}"), "+OK");
        let mut client = gateway.client();
        client.check("AUTH app pw", "+OK");
        for (_, line) in requests() {
            client.check(&line, NO_KEY);
        }
        let keys = client.ask("KEYS *") + &client.ask("SCAN 0 COUNT 1000");
        assert!(!keys.contains(SECRET), "{keys}");
        admin.check("GET other:s", "$9 topsecret");
    }
}

/// The same requests are right: who may do everything gets no error about their form.
#[test]
fn the_requests_of_this_test_are_well_formed() {
    let (server, gateway, _) = setting();
    let mut admin = gateway.client();
    let knows = |name: &str, server: &mut Client| server.ask(&format!("COMMAND INFO {name}")).len() > 20;
    let mut own = server.client();
    for (name, line) in requests() {
        let waits =
            name.starts_with('b') && !name.starts_with("bit") || line.contains("BLOCK") || name == "watch";
        if waits || name.starts_with("reserve") || !knows(name, &mut own) {
            continue;
        }
        let said = admin.ask(&line);
        let malformed = ["syntax error", "wrong number", "unknown"].iter().any(|word| said.contains(word));
        assert!(!malformed, "{line}: {said}");
    }
}

#[test]
fn no_command_without_keys_tells_what_is_in_anothers_key() {
    let (server, _gateway, mut client) = setting();
    let before = contents(&server);
    let table = CommandTable::builtin();
    let without = table.iter().filter(|(_, command)| !command.has_keys() && !command.is_container());
    for (_, command) in without {
        let name = &*command.name;
        // These end the connection, silence it, or wait.
        let ends = [
            "quit",
            "reset",
            "client|reply",
            "auth",
            "hello",
            "client|kill",
            "wait",
            "waitaof",
            "select",
            "multi",
            "exec",
        ];
        if ends.contains(&name) || CHANNELED.contains(&name) || matches!(command.class, Class::Session(_)) {
            continue;
        }
        for arguments in ["", " other:s", " other:s other:s", " 0 other:s", " GET other:s", " x other:s 0 0"]
        {
            let line = format!("{}{arguments}", name.replace('|', " "));
            let said = client.ask(&line);
            assert!(!said.contains(SECRET) && !said.contains("7770777"), "{line}: {said}");
        }
    }
    for line in [
        "MONITOR",
        "HOTGATE HOTKEYS",
        "HOTGATE TOP",
        "HOTGATE STATS",
        "HOTGATE QUOTAS",
        "HOTKEYS GET",
        "SLOWLOG GET",
        "ACL LIST",
        "DEBUG OBJECT other:s",
    ] {
        assert!(client.ask(line).starts_with("-NOPERM"), "{line}: {}", client.ask(line));
    }
    client.check("RESERVE.SKUS", NO_KEY);
    let hot = client.text("INFO hotkeys") + &client.text("INFO quotas");
    assert!(!hot.contains("other:"), "{hot}");
    for line in ["HOTGATE QUOTAS GET other:limited", "HOTGATE QUOTA GET other:limited"] {
        client.check(line, NO_KEY);
    }
    assert_eq!(contents(&server), before, "nothing was changed");
}

#[test]
fn nothing_of_anothers_is_heard() {
    let (server, gateway, mut client) = setting();
    server.client().check("CONFIG SET notify-keyspace-events KEA", "+OK");
    for line in [
        "SUBSCRIBE __keyspace@0__:other:s",
        "SUBSCRIBE __keyevent@0__:set",
        "PSUBSCRIBE *",
        "PSUBSCRIBE __key*",
        "SSUBSCRIBE other:ch",
        "SUBSCRIBE app:ch other:ch",
        "PUBLISH other:ch v",
        "SPUBLISH other:ch v",
        "SUBSCRIBE __hotkey_notify__",
    ] {
        client.check(line, NO_CHANNEL);
    }
    // Tracking in RESP3: what it may not read is not tracked for it.
    let mut tracked = gateway.client();
    tracked.hello3("HELLO 3 AUTH app pw");
    tracked.check("CLIENT TRACKING ON", "+OK");
    tracked.check("GET other:s", NO_KEY);
    gateway.client().check("SET other:s other", "+OK");
    tracked.check("PING", "+PONG");
    client.check("PING", "+PONG");
}
