//! Users whose rules restrict them meet sales as Redis's rules say: by command, by category, by the name of the sale, to read or to write. A denied
//! command changes nothing, and is denied also where the sale refuses without a question to Redis.

use crate::support::{Client, Gateway, Server};

const CONFIG: &str = r#"
[gateway]
workers = 2
[auth]
password = "boss"
[[auth.user]]
name = "shop"
rules = ">pw ~sku:1 ~{tag}:* +reserve.add +reserve.check +reserve.mcheck"
[[auth.user]]
name = "reader"
rules = ">pw %R~sku:* +@read"
[[auth.user]]
name = "writer"
rules = ">pw %W~sku:* +@write -@admin"
[[auth.user]]
name = "operator"
rules = ">pw ~* +@all -@dangerous +reserve.close +reserve.reopen"
"#;

const NO_COMMAND: &str = "-NOPERM User ...";
const NO_KEY: &str = "-NOPERM No permissions to access a key...";

fn as_user(gateway: &Gateway, name: &str) -> Client {
    let mut client = gateway.client();
    client.check(&format!("AUTH {name} pw"), "+OK");
    client
}

fn stage() -> (Server, Gateway) {
    let server = Server::start();
    let gateway = Gateway::before(&server).config(CONFIG).start();
    let mut boss = gateway.client();
    boss.check("AUTH boss", "+OK");
    for sku in ["sku:1", "sku:2", "{tag}:booking"] {
        boss.check(&format!("RESERVE.OPEN {sku} LIMIT 3"), "+OK");
        boss.check(&format!("RESERVE.ADD {sku} ada"), "*4 $9 confirmed :1 :2 :0");
    }
    boss.check("RESERVE.OPEN {tag}:purchase LIMIT 3 HOLDERSOF {tag}:booking", "+OK");
    (server, gateway)
}

#[test]
fn each_may_what_the_rules_say() {
    let (_server, gateway) = stage();
    for (name, line, expected) in [
        ("shop", "RESERVE.ADD sku:1 bob", "*4 $9 confirmed :2 :1 :0"),
        ("shop", "RESERVE.CHECK sku:1 bob", "*4 $9 confirmed :2 :1 :0"),
        ("shop", "RESERVE.MCHECK sku:1 bob eve", "*2 *4..."),
        ("shop", "RESERVE.ADD {tag}:purchase ada", "*4 $9 confirmed :1 :2 :0"),
        ("shop", "RESERVE.ADD sku:2 bob", NO_KEY),
        ("shop", "RESERVE.ADD nowhere bob", NO_KEY),
        ("shop", "RESERVE.CHECK sku:2 ada", NO_KEY),
        ("shop", "RESERVE.CANCEL sku:1 ada", NO_COMMAND),
        ("shop", "RESERVE.CONFIRM sku:1 ada", NO_COMMAND),
        ("shop", "RESERVE.INFO sku:1", NO_COMMAND),
        ("shop", "RESERVE.LIST sku:1", NO_COMMAND),
        ("shop", "RESERVE.OPEN sku:1 LIMIT 9", NO_COMMAND),
        ("shop", "RESERVE.SKUS", NO_COMMAND),
        ("reader", "RESERVE.CHECK sku:2 ada", "*4 $9 confirmed :1 :1 :0"),
        ("reader", "RESERVE.LIST sku:2", "*1..."),
        ("reader", "RESERVE.INFO sku:2", "*36..."),
        ("reader", "RESERVE.SKUS COUNT 1", NO_KEY),
        ("reader", "RESERVE.LIST {tag}:booking", NO_KEY),
        ("reader", "RESERVE.ADD sku:2 cyd", NO_COMMAND),
        ("reader", "RESERVE.CLOSE sku:2", NO_COMMAND),
        // Who adds is told what he holds: he reads as well.
        ("writer", "RESERVE.ADD sku:2 cyd", NO_KEY),
        ("writer", "RESERVE.CANCEL sku:2 ada", NO_KEY),
        ("writer", "RESERVE.CHECK sku:2 ada", NO_COMMAND),
        ("operator", "RESERVE.OPEN sku:2 LIMIT 9", NO_COMMAND),
        ("operator", "RESERVE.MOVE sku:2 sku:1", NO_COMMAND),
        ("operator", "RESERVE.DROP sku:2", NO_COMMAND),
        ("operator", "RESERVE.CLOSE sku:2", "+OK"),
        ("operator", "RESERVE.ADD sku:2 cyd", "-CLOSED..."),
        ("operator", "RESERVE.REOPEN sku:2", "+OK"),
        ("operator", "RESERVE.CANCEL sku:2 ada", "*4 $9 cancelled :1 :0 :0"),
    ] {
        as_user(&gateway, name).check(line, expected);
    }
}

#[test]
fn what_is_refused_here_is_denied_here_too() {
    let (server, gateway) = stage();
    let mut boss = gateway.client();
    boss.check("AUTH boss", "+OK");
    boss.check("RESERVE.CLOSE sku:2", "+OK");
    boss.check("RESERVE.ADD sku:2 eve", "-CLOSED...");
    for _ in 0..20 {
        as_user(&gateway, "shop").check("RESERVE.ADD sku:2 eve", NO_KEY);
        boss.check("RESERVE.ADD sku:2 eve", "-CLOSED...");
    }
    let log = boss.ask("ACL LOG");
    assert!(log.contains("sku:2") && log.contains("shop"), "{log}");
    // Moving needs both sales, and HOLDERSOF the other.
    boss.check("ACL SETUSER mover on >pw ~{tag}:* +reserve.move +reserve.open", "+OK");
    let mut mover = as_user(&gateway, "mover");
    mover.check("RESERVE.MOVE {tag}:booking sku:1", NO_KEY);
    mover.check("RESERVE.OPEN {tag}:more LIMIT 1 HOLDERSOF sku:1", NO_KEY);
    mover.check("RESERVE.MOVE {tag}:booking {tag}:purchase", ":0");
    let taken = crate::books::places_by_ledger(&mut server.client(), "sku:1");
    assert_eq!(taken, 1, "what was denied changed nothing");
}
