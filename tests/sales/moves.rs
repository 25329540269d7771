//! Holders are listed page by page, go over to another sale in order while both are in use, and a sale that is over leaves nothing behind;
//! whoever breaks off, gateway or client, goes on with the same command.

use crate::support::text::one_line;
use crate::support::{Client, Cluster, Gateway, Server};

fn fill(client: &mut Client, sku: &str, users: usize) {
    for user in 0..users {
        client.send_line(&format!("RESERVE.ADD {sku} user{user}"));
    }
    (0..users).for_each(|_| assert!(one_line(&client.reply()).starts_with("*4 $9 confirmed")));
}

/// All rows of a sale, read in pages: place in line, user, places, state.
fn rows(client: &mut Client, sku: &str, page: usize, state: &str) -> Vec<[String; 4]> {
    let (mut rows, mut after) = (Vec::new(), "0".to_owned());
    loop {
        let words = client.list(&format!("RESERVE.LIST {sku} AFTER {after} COUNT {page} {state}"));
        if words.is_empty() {
            return rows;
        }
        assert!(words.len() <= 5 * page);
        let found = words.chunks_exact(5).map(|row| [&row[0], &row[1], &row[2], &row[3]].map(Clone::clone));
        rows.extend(found);
        after = rows.last().unwrap()[0].clone();
    }
}

#[test]
fn pages_are_in_line_and_end_with_an_empty_one() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, "");
    let mut client = gateway.client();
    client.check("RESERVE.LIST sku", "-NOSKU...");
    client.check("RESERVE.OPEN sku LIMIT 9000", "+OK");
    client.check("RESERVE.LIST sku", "*0");
    fill(&mut client, "sku", 700);
    for user in (0..700).filter(|user| user % 3 > 0) {
        client.check(&format!("RESERVE.CANCEL sku user{user}"), "*4 $9 cancelled...");
    }
    for page in [1, 7, 100, 1000] {
        let rows = rows(&mut client, "sku", page, "");
        let users: Vec<&str> = rows.iter().map(|row| row[1].as_str()).collect();
        let expected: Vec<String> = (0..700).step_by(3).map(|user| format!("user{user}")).collect();
        assert_eq!(users, expected);
    }
    assert!(rows(&mut client, "sku", 50, "STATE held").is_empty());
    client.check("RESERVE.LIST sku COUNT 0", "-ERR COUNT takes an integer...");
}

#[test]
fn holders_move_in_steps_that_any_gateway_goes_on_with() {
    let cluster = Cluster::start();
    let mut gateways = [Gateway::of_two_workers(&cluster, ""), Gateway::of_two_workers(&cluster, "")];
    let mut client = gateways[1].client();
    client.check("RESERVE.MOVE spring autumn", "-NOSKU there is no sale 'autumn'...");
    client.check("RESERVE.OPEN autumn LIMIT 10", "+OK");
    client.check("RESERVE.MOVE spring autumn", "-NOSKU...");
    client.check("RESERVE.OPEN spring LIMIT 900", "+OK");
    fill(&mut client, "spring", 300);
    client.check("RESERVE.MOVE spring autumn", "-SOLDOUT the sale to move to has 290 places too few...");
    client.check("RESERVE.OPEN autumn LIMIT 900", "+OK");
    client.check("RESERVE.ADD autumn user7", "*4 $9 confirmed :1 :899 :0");
    let mut first = gateways[0].client();
    first.check("RESERVE.MOVE spring autumn COUNT 50", ":250");
    // Both are read meanwhile, and the old one gives no more.
    client.check("RESERVE.CHECK spring user3", "*4 $5 moved :4 :1 :0");
    client.check("RESERVE.CHECK autumn user3", "*4 $9 confirmed ...");
    client.check("RESERVE.CHECK spring user200", "*4 $9 confirmed :201 :1 :0");
    client.check("RESERVE.ADD spring late", "-GONE this sale went on as 'autumn'");
    client.check("RESERVE.CANCEL spring user3", "-GONE...");
    client.check("RESERVE.MOVE spring elsewhere", "-...");
    // The gateway dies in the middle of a step, and another goes on.
    first.send_line("RESERVE.MOVE spring autumn");
    gateways[0].kill();
    client.check("RESERVE.MOVE spring autumn", ":0");
    client.check("RESERVE.MOVE spring autumn", ":0");
    let rows = rows(&mut client, "autumn", 100, "");
    assert_eq!(rows.len(), 300, "nobody is lost, and nobody is there twice");
    let came: Vec<usize> = rows.iter().skip(1).map(|row| row[1][4..].parse().unwrap()).collect();
    assert!(came.is_sorted(), "{came:?}");
}

#[test]
fn a_sale_that_is_dropped_leaves_nothing_behind() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, "");
    let mut client = gateway.client();
    client.check("RESERVE.DROP sku", "-NOSKU...");
    client.check("RESERVE.OPEN sku LIMIT 9000 HOLD 100000", "+OK");
    for user in 0..500 {
        client.check(&format!("RESERVE.ADD sku user{user} IDMP 1"), "*4 $4 held...");
    }
    client.check("RESERVE.DROP sku", "-...");
    client.check("RESERVE.CLOSE sku", "+OK");
    let left = client.integer("RESERVE.DROP sku COUNT 4");
    assert!(left > 10, "{left}");
    client.check("RESERVE.ADD sku user1", "-...");
    client.check("RESERVE.DROP sku", ":0");
    client.check("RESERVE.ADD sku user1", "-NOSKU...");
    client.check("RESERVE.SKUS", "*0");
    let keys = server.client().list("KEYS *");
    // Two that end by themselves, and are of no sale.
    assert!(keys.iter().all(|key| key.ends_with(":swept") || key.ends_with(".0:any")), "{keys:?}");
    client.check("RESERVE.OPEN sku LIMIT 5", "+OK");
    client.check("RESERVE.ADD sku user1", "*4 $9 confirmed :1 :4 :0");
}
