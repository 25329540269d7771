//! What clients ask of a sale gets the same answers before one server and before a cluster, in both protocol versions, from whatever worker.

use std::collections::BTreeSet;

use crate::support::text::one_line;
use crate::support::{BOTH_VERSIONS, Cluster, Gateway, Server, Version};

fn walk_through(gateway: &Gateway) {
    for version in BOTH_VERSIONS {
        let sku = format!("{{{version:?}}}:mask");
        let mut client = gateway.speaking(version);
        let holding = |state: &str, seq, name: &str, number| {
            let len = state.len();
            match version {
                Version::Resp2 => format!("*4 ${len} {state} :{seq} :{number} :0"),
                Version::Resp3 => format!(
                    "%4 $5 state ${len} {state} $3 seq :{seq} ${} {name} :{number} $7 expires :0",
                    name.len()
                ),
            }
        };
        let nothing = if version == Version::Resp2 { "*-1" } else { "_" };
        let confirmed = |seq, name: &str, number| holding("confirmed", seq, name, number);
        client.check(&format!("RESERVE.ADD {sku} ada"), "-NOSKU...");
        client.check(&format!("RESERVE.OPEN {sku} LIMIT 4 PERUSER 2"), "+OK");
        client.check(&format!("RESERVE.ADD {sku} ada"), &confirmed(1, "remaining", 3));
        client.check(&format!("RESERVE.ADD {sku} ada"), &confirmed(1, "remaining", 3));
        client.check(&format!("RESERVE.ADD {sku} bob COUNT 2"), &confirmed(2, "remaining", 1));
        client.check(&format!("RESERVE.ADD {sku} cyd COUNT 3"), "-PERUSER...");
        client.check(&format!("RESERVE.CHECK {sku} bob"), &confirmed(2, "count", 2));
        client.check(&format!("RESERVE.CHECK {sku} eve"), nothing);
        let (ada, bob) = (confirmed(1, "count", 1), confirmed(2, "count", 2));
        client.check(&format!("RESERVE.MCHECK {sku} ada eve bob"), &format!("*3 {ada} {nothing} {bob}"));
        client.check(&format!("RESERVE.CONFIRM {sku} eve"), "-NOTHELD...");
        client.check(&format!("RESERVE.CANCEL {sku} bob COUNT 1"), &confirmed(2, "count", 1));
        client.check(&format!("RESERVE.CANCEL {sku} bob"), &holding("cancelled", 2, "count", 0));
        client.check(&format!("RESERVE.CANCEL {sku} bob"), nothing);
        client.check(&format!("RESERVE.CLOSE {sku}"), "+OK");
        client.check(&format!("RESERVE.ADD {sku} dan"), "-CLOSED...");
        client.check(&format!("RESERVE.ADD {sku} ada"), &confirmed(1, "remaining", 3));
        client.check(&format!("RESERVE.REOPEN {sku}"), "+OK");
        client.check(&format!("RESERVE.ADD {sku} dan"), &confirmed(3, "remaining", 2));
        let info = client.ask(&format!("RESERVE.INFO {sku}"));
        let start = if version == Version::Resp2 { "*36 " } else { "%18 " };
        assert!(info.starts_with(&format!("{start}$5 state $4 open $5 limit :4 $5 taken :2 ")), "{info}");
        client.check(&format!("RESERVE.OPEN {sku} LIMIT 1"), "-ERR LIMIT is below the 2 places...");
    }
    let mut client = gateway.client();
    client.check("RESERVE.SKUS", "*2 $12 {Resp2}:mask $12 {Resp3}:mask");
    client.check("RESERVE.SKUS AFTER {Resp2}:mask COUNT 5", "*1 $12 {Resp3}:mask");
    client.check("RESERVE.SKUS COUNT 1", "*1 $12 {Resp2}:mask");
}

#[test]
fn before_one_server() {
    let server = Server::start();
    walk_through(&Gateway::of_two_workers(&server, ""));
}

#[test]
fn before_a_cluster() {
    let cluster = Cluster::start();
    walk_through(&Gateway::of_two_workers(&cluster, ""));
}

#[test]
fn a_hold_ends_unless_it_is_confirmed() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut client = gateway.client();
    client.check("RESERVE.OPEN sku LIMIT 1 HOLD 300", "+OK");
    let held = client.list("RESERVE.ADD sku ada");
    assert_eq!(held[..3], ["held", "1", "0"]);
    assert!(held[3].parse::<u64>().unwrap() > 0);
    client.check("RESERVE.ADD sku bob", "-SOLDOUT...");
    crate::support::wait_until("the place comes back in the flush that needs it", || {
        client.ask("RESERVE.ADD sku bob").starts_with("*4 $4 held :2 ")
    });
    client.check("RESERVE.CONFIRM sku bob", "*4 $9 confirmed :2 :1 :0");
    client.check("RESERVE.CHECK sku ada", "*-1");
    client.check("RESERVE.CONFIRM sku ada", "-NOTHELD...");
}

#[test]
fn who_holds_a_booking_may_purchase() {
    let cluster = Cluster::start();
    let gateway = Gateway::of_two_workers(&cluster, "");
    let mut client = gateway.client();
    client.check("RESERVE.OPEN {8}:purchase LIMIT 9 HOLDERSOF {8}:booking", "-NOSKU...");
    client.check("RESERVE.OPEN {8}:booking LIMIT 9", "+OK");
    client.check("RESERVE.OPEN {8}:purchase LIMIT 9 HOLDERSOF {8}:booking", "+OK");
    client.check("RESERVE.OPEN purchase LIMIT 9 HOLDERSOF {8}:booking", "-CROSSSLOT...");
    client.check("RESERVE.ADD {8}:purchase ada", "-NOTHOLDER...");
    client.check("RESERVE.ADD {8}:booking ada", "*4 $9 confirmed :1 :8 :0");
    client.check("RESERVE.ADD {8}:purchase ada", "*4 $9 confirmed :1 :8 :0");
}

/// Pipelines of many clients at once: every answer goes to who asked, in order, and each number in line is given once.
#[test]
fn what_travels_together_is_answered_apart() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, "[combine]\npending_max = 100000\n");
    gateway.client().check("RESERVE.OPEN sku LIMIT 3000", "+OK");
    let (clients, users) = (20, 200);
    let mut clients: Vec<_> = (0..clients).map(|_| gateway.client()).collect();
    for (number, client) in clients.iter_mut().enumerate() {
        for user in 0..users {
            client.send_line(&format!("RESERVE.ADD sku {number}-{user}"));
            client.send_line(&format!("RESERVE.CHECK sku {number}-{user}"));
        }
    }
    let mut seqs = BTreeSet::new();
    let mut refused = 0;
    for (number, client) in clients.iter_mut().enumerate() {
        for user in 0..users {
            let (added, checked) = (one_line(&client.reply()), one_line(&client.reply()));
            match added.strip_prefix("*4 $9 confirmed :") {
                Some(rest) => {
                    let seq: u64 = rest.split(' ').next().unwrap().parse().unwrap();
                    assert!(seqs.insert(seq), "{seq} was given twice");
                    assert_eq!(checked, format!("*4 $9 confirmed :{seq} :1 :0"), "{number}-{user}");
                }
                None => {
                    assert_eq!((added.as_str(), checked.as_str()), ("-SOLDOUT no place is left", "*-1"));
                    refused += 1;
                }
            }
        }
    }
    assert_eq!((seqs.len(), refused), (3000, 1000));
    assert_eq!(seqs.last(), Some(&3000));
    let calls = crate::support::figures::calls(&mut server.client(), "evalsha");
    assert!(calls < 4000, "{calls} calls for 8000 operations");
    let mut client = gateway.client();
    let many: Vec<String> = (0..300).map(|user| format!("0-{}", user % 250)).collect();
    let reply = client.call_line(&format!("RESERVE.MCHECK sku {}", many.join(" ")));
    assert!(one_line(&reply).starts_with("*300 *4 $9 confirmed "));
}
