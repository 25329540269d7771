//! Sales need these rights of the gateway's user at Redis and no others: the list of docs/reservations.md.

use crate::support::{Gateway, Server, wait_until};

/// The rights that the page lists.
fn rights() -> String {
    let page = include_str!("../../docs/reservations.md");
    let (_, behind) = page.split_once("ACL SETUSER hotgate on >secret").expect("the page lists the rights");
    let (list, _) = behind.split_once("```").unwrap();
    list.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn gateway_with(server: &Server, rights: &str) -> Gateway {
    server.client().check(&format!("ACL SETUSER gate reset on >secret +info {rights}"), "+OK");
    let config = "[upstream]\nuser = 'gate'\npassword = 'secret'\n[reserve]\nsweep_interval = '100ms'\n";
    Gateway::before(&server).config(config).start()
}

#[test]
fn the_rights_of_the_page_are_enough() {
    let server = Server::start();
    let gateway = gateway_with(&server, &rights());
    let mut client = gateway.client();
    client.check("RESERVE.OPEN {1}old LIMIT 500 PERUSER 3 HOLD 200", "+OK");
    client.check("RESERVE.OPEN {1}new LIMIT 500 PERUSER 3 HOLDERSOF {1}old", "+OK");
    for user in 0..200 {
        client.check(&format!("RESERVE.ADD {{1}}old {user} IDMP a"), "*4 $4 held...");
        if user % 2 == 0 {
            client.check(&format!("RESERVE.CONFIRM {{1}}old {user}"), "*4 $9 confirmed...");
        }
    }
    client.check("RESERVE.ADD {1}new 2", "*4 $9 confirmed...");
    client.check("RESERVE.CANCEL {1}old 4", "*4 $9 cancelled...");
    wait_until("holds end by themselves", || client.ask("RESERVE.LIST {1}old STATE held") == "*0");
    client.check("RESERVE.MOVE {1}old {1}new", ":0");
    client.check("RESERVE.CLOSE {1}old", "-GONE...");
    client.check("RESERVE.SKUS", "*2...");
    client.check("RESERVE.CLOSE {1}new", "+OK");
    client.check("RESERVE.DROP {1}new", ":0");
    // What the gateway tries besides, and does without, is neither in a script nor on a key of a sale.
    let log = server.client().list("ACL LOG");
    let denied =
        |name: &str| log.windows(2).filter(|pair| pair[0] == name).map(|pair| &pair[1]).collect::<Vec<_>>();
    assert!(denied("context").iter().all(|context| *context == "toplevel"), "{log:?}");
    let own = ["eval", "evalsha", "zadd", "zrem", "zrangebylex", "set"];
    let is_own = |object: &&String| own.contains(&object.as_str()) || object.contains("hotgate:sale");
    assert!(!denied("object").iter().any(is_own), "{log:?}");
}

#[test]
fn each_of_them_is_needed() {
    let all = rights();
    let words: Vec<&str> = all.split(' ').collect();
    assert!(words.len() > 20, "{words:?}");
    for missing in words.iter().filter(|word| word.starts_with('+')) {
        let name = &missing[1..];
        let used = include_str!("../../src/reserve/sale.lua").to_lowercase()
            + &include_str!("../../src/reserve/reserve.lua").to_lowercase()
            + &include_str!("../../src/reserve/open.lua").to_lowercase()
            + &include_str!("../../src/reserve/list.lua").to_lowercase()
            + &include_str!("../../src/reserve/move_in.lua").to_lowercase()
            + &include_str!("../../src/reserve/drop.lua").to_lowercase()
            + "'evalsha' 'eval' 'zrangebylex' 'set'";
        assert!(used.contains(&format!("'{name}'")), "nothing runs {name}");
    }
}

/// A right that is missing shows when a sale is opened, and not in the middle of one.
#[test]
fn a_missing_right_shows_when_a_sale_is_opened() {
    let server = Server::start();
    for missing in ["+xadd", "+hset", "+ltrim", "+zadd"] {
        let rights = rights().replace(missing, "");
        let gateway = gateway_with(&server, &rights);
        let reply = gateway.client().ask("RESERVE.OPEN sku LIMIT 5");
        let command = missing.trim_start_matches('+').to_uppercase();
        // What enters the sale into the registry, before its script, is refused in the server's own words.
        let told = match missing {
            "+zadd" => "-NOPERM".to_owned(),
            _ => format!("-NOPERM the gateway's user at Redis may not run {command} "),
        };
        assert!(reply.starts_with(&told), "{missing}: {reply}");
        server.client().check("FLUSHALL", "+OK");
    }
}
