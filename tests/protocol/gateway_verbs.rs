//! The gateway's own commands under rules: reading apart from changing, and nobody is shown a key that it may not read.

use crate::support::client::Client;
use crate::support::{Gateway, Server, shared, wait_until};

const NO_KEY: &str = "-NOPERM No permissions to access a key";

/// A client that has logged in as a user with these rules.
fn user(gateway: &Gateway, name: &str, rules: &str) -> Client {
    gateway.client().check(&format!("ACL SETUSER {name} reset on >pw {rules}"), "+OK");
    let mut client = gateway.client();
    client.check(&format!("AUTH {name} pw"), "+OK");
    client
}

fn denied(name: &str, command: &str) -> String {
    format!("-NOPERM User {name} has no permissions to run the '{command}' command")
}

#[test]
fn who_may_look_at_quotas_need_not_be_able_to_change_them() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config("[[quota]]\nmatch = \"sku:*\"\nlimit = 9\n").start();
    gateway.client().check("INCR sku:1", ":1");
    let changes = [
        ("HOTGATE QUOTA SET sku:1 LIMIT 5", "+limit 5"),
        ("HOTGATE QUOTA PAUSE sku:1", "+paused"),
        ("HOTGATE QUOTA RESUME sku:1", "+resumed"),
        ("HOTGATE QUOTA RESET sku:1", "+..."),
    ];
    let reads =
        ["HOTGATE QUOTA LIST", "HOTGATE QUOTAS", "HOTGATE QUOTAS GET sku:1", "HOTGATE QUOTA GET sku:1"];
    let mut looks = user(&gateway, "looks", "~* +@all -@dangerous");
    for line in reads.iter().chain(&["HOTGATE HELP", "HOTGATE STATS", "HOTGATE HOTKEYS", "HOTGATE TOP"]) {
        assert!(looks.ask(line).starts_with('*'), "{line}");
    }
    for (line, _) in changes {
        looks.check(line, &denied("looks", "hotgate|quota"));
    }
    looks
        .check("HOTGATE QUOTAS SET sku:1 LIMIT 5", "-ERR HOTGATE QUOTAS changes nothing; HOTGATE QUOTA does");
    let mut changer = user(&gateway, "changer", "~* -@all +hotgate|quota");
    for (line, reply) in changes {
        changer.check(line, reply);
    }
    for line in reads {
        changer.check(line, &denied("changer", "hotgate|quotas"));
    }
    let mut only = user(&gateway, "only", "~* +@all -hotgate|quota");
    only.check(changes[1].0, &denied("only", "hotgate|quota"));
    only.check("MULTI", "+OK");
    only.check(changes[1].0, &denied("only", "hotgate|quota"));
    only.check("EXEC", "-EXECABORT Transaction discarded because of previous errors.");
    only.check("INCR sku:1", ":2");
}

#[test]
fn a_counter_is_a_key_and_lists_show_any() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config("[[quota]]\nmatch = \"*:n\"\nlimit = 9\n").start();
    gateway.client().check("INCR other:n", ":1");
    let mut client = user(&gateway, "app", "~app:* +@all -@scripting");
    client.check("INCR app:n", ":1");
    client.check("HOTGATE QUOTA PAUSE app:n", "+paused");
    client.check("HOTGATE QUOTA PAUSE other:n", NO_KEY);
    client.check("HOTGATE QUOTA GET other:n", NO_KEY);
    assert!(client.ask("HOTGATE QUOTAS GET app:n").contains("app:n"));
    for line in ["HOTGATE QUOTAS", "HOTGATE QUOTA LIST", "HOTGATE HOTKEYS", "HOTGATE TOP", "HOTGATE STATS"] {
        client.check(line, NO_KEY);
    }
    let mut reader = user(&gateway, "reader", "%R~* +@all");
    reader.check("HOTGATE QUOTA PAUSE app:n", NO_KEY);
    wait_until("the list shows it", || reader.ask("HOTGATE QUOTAS").contains("other:n"));
    gateway.client().check("INCR other:n", ":2");
}

#[test]
fn all_that_tells_of_the_verbs_agrees() {
    let (_, gateway) = shared::single(module_path!());
    let mut client = gateway.client();
    let listed = client.list("COMMAND LIST FILTERBY PATTERN hotgate|*");
    let help = client.list("HOTGATE HELP").join("\n");
    for name in &listed {
        let verb = name.split('|').next_back().unwrap().to_uppercase();
        assert!(help.lines().any(|line| line.split([' ', '|']).next() == Some(&verb)), "{verb}: {help}");
    }
    assert!(listed.len() >= 6, "{listed:?}");
    let admin = client.list("ACL CAT admin");
    for name in &listed {
        let changes = ["hotgate|quota", "hotgate|node", "hotgate|audit", "hotgate|events", "hotgate|slowlog"]
            .contains(&name.as_str());
        assert_eq!(admin.contains(name), changes, "{name}");
        assert_eq!(client.list("ACL CAT dangerous").contains(name), changes, "{name}");
    }
    let info = client.ask("COMMAND INFO hotgate");
    assert!(listed.iter().all(|name| info.contains(name.as_str())), "{info}");
    client.check("HOTGATE nonsense", "-ERR unknown subcommand 'nonsense'. Try HOTGATE HELP.");
}
