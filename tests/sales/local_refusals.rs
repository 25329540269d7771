//! A sale that refuses costs Redis one question per recheck; a holder gets its holding all the same; and what changes elsewhere is seen within
//! a recheck.

use crate::support::figures::calls;
use crate::support::text::one_line;
use crate::support::{Gateway, Server, wait_until};

/// Longer than the test: what is asked of Redis is counted, and what the sweeper asks is not meant.
const SELDOM: &str = "[reserve]\nrecheck = '50s'\nsweep_interval = '1h'\n";

/// The first looks of two gateways at a sale, which may fall among requests that ask nothing, and are far fewer.
const LOOKS_MAX: u64 = 4;

fn all_calls(server: &Server) -> u64 {
    let mut direct = server.client();
    calls(&mut direct, "evalsha") + calls(&mut direct, "eval")
}

#[test]
fn a_sale_that_refuses_is_asked_about_once_per_recheck() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, SELDOM);
    let mut client = gateway.client();
    client.check("RESERVE.OPEN closed LIMIT 9", "+OK");
    client.check("RESERVE.CLOSE closed", "+OK");
    client.check("RESERVE.OPEN later LIMIT 9 START 9999999999999", "+OK");
    client.check("RESERVE.OPEN none LIMIT 0", "+OK");
    for (sku, word) in [
        ("closed", "-CLOSED..."),
        ("later", "-NOTOPEN this sale opens at unix-ms 9999999999999"),
        ("none", "-SOLDOUT..."),
        ("missing", "-NOSKU..."),
    ] {
        client.check(&format!("RESERVE.ADD {sku} first"), word);
        let before = all_calls(&server);
        for user in 0..50 {
            gateway.client().check(&format!("RESERVE.ADD {sku} user{user}"), word);
        }
        assert!(all_calls(&server) <= before + LOOKS_MAX, "{sku}");
    }
}

#[test]
fn who_holds_a_place_gets_it_again_when_the_sale_is_sold_out_or_closed() {
    let server = Server::start();
    let (here, there) = (Gateway::of_two_workers(&server, SELDOM), Gateway::of_two_workers(&server, SELDOM));
    let mut client = here.client();
    client.check("RESERVE.OPEN sku LIMIT 2", "+OK");
    client.check("RESERVE.ADD sku ada", "*4 $9 confirmed :1 :1 :0");
    there.client().check("RESERVE.ADD sku bob", "*4 $9 confirmed :2 :0 :0");
    client.check("RESERVE.ADD sku eve", "-SOLDOUT...");
    for word in ["-SOLDOUT...", "-CLOSED..."] {
        for gateway in [&here, &there] {
            let mut client = gateway.client();
            // A stranger is asked about once.
            client.check("RESERVE.ADD sku eve", word);
            let before = all_calls(&server);
            (0..20).for_each(|_| client.check("RESERVE.ADD sku eve", word));
            assert!(all_calls(&server) <= before + LOOKS_MAX);
            client.check("RESERVE.ADD sku ada", "*4 $9 confirmed :1 :0 :0");
            client.check("RESERVE.ADD sku bob", "*4 $9 confirmed :2 :0 :0");
            client.check("RESERVE.ADD sku eve", word);
        }
        for gateway in [&here, &there] {
            // The second is told what is known there: it asks anew.
            gateway.client().check("RESERVE.CLOSE sku", "+OK");
        }
    }
}

/// Whoever holds nothing is refused without a question once the buckets of the holders have been read: strangers cost Redis a few calls, however
/// many come, and every holder is still found.
#[test]
fn a_sold_out_sale_is_not_asked_about_each_stranger() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, SELDOM);
    let mut client = gateway.client();
    client.check("RESERVE.OPEN sku LIMIT 200", "+OK");
    for user in 0..200 {
        client.check(&format!("RESERVE.ADD sku holder{user}"), "*4 $9 confirmed...");
    }
    for stranger in 0..100 {
        client.check(&format!("RESERVE.ADD sku early{stranger}"), "-SOLDOUT...");
    }
    let before = all_calls(&server);
    for stranger in 0..1000 {
        client.check(&format!("RESERVE.ADD sku stranger{stranger}"), "-SOLDOUT...");
    }
    // The sweeper of the gateway looks at the sale now and then.
    let asked = all_calls(&server) - before;
    assert!(asked < 20, "a thousand strangers cost next to nothing, and not {asked} calls");
    for user in 0..200 {
        client
            .check(&format!("RESERVE.ADD sku holder{user}"), &format!("*4 $9 confirmed :{} :0 :0", user + 1));
    }
    // A place that is given ends what was read: the new holder is found.
    client.check("RESERVE.CANCEL sku holder7", "*4 $9 cancelled...");
    client.check("RESERVE.ADD sku stranger7", "*4 $9 confirmed :201 :0 :0");
    client.check("RESERVE.ADD sku stranger8", "-SOLDOUT...");
    client.check("RESERVE.ADD sku stranger7", "*4 $9 confirmed :201 :0 :0");
}

#[test]
fn a_place_that_is_given_back_is_known_at_once_where_it_was() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, SELDOM);
    let mut client = gateway.client();
    client.check("RESERVE.OPEN sku LIMIT 1", "+OK");
    client.check("RESERVE.ADD sku ada", "*4 $9 confirmed :1 :0 :0");
    client.check("RESERVE.ADD sku bob", "-SOLDOUT...");
    client.check("RESERVE.ADD sku bob", "-SOLDOUT...");
    client.check("RESERVE.CANCEL sku ada", "*4 $9 cancelled :1 :0 :0");
    client.check("RESERVE.ADD sku bob", "*4 $9 confirmed :2 :0 :0");
}

#[test]
fn what_another_gateway_changes_is_seen_within_a_recheck() {
    let server = Server::start();
    let config = "[reserve]\nrecheck = '20ms'\n";
    let (here, there) = (Gateway::of_two_workers(&server, config), Gateway::of_two_workers(&server, config));
    let (mut operator, mut client) = (there.client(), here.client());
    operator.check("RESERVE.OPEN sku LIMIT 1", "+OK");
    client.check("RESERVE.ADD sku ada", "*4 $9 confirmed :1 :0 :0");
    client.check("RESERVE.ADD sku bob", "-SOLDOUT...");
    operator.check("RESERVE.OPEN sku LIMIT 3", "+OK");
    wait_until("the limit is raised here too", || !client.ask("RESERVE.ADD sku bob").starts_with("-SOLDOUT"));
    operator.check("RESERVE.CLOSE sku", "+OK");
    wait_until("it is closed here too", || client.ask("RESERVE.ADD sku cyd").starts_with("-CLOSED"));
    operator.check("RESERVE.REOPEN sku", "+OK");
    wait_until("it is open here too", || client.ask("RESERVE.ADD sku cyd").starts_with("*4"));
    let holds = one_line(&client.call_line("RESERVE.CHECK sku bob"));
    assert_eq!(holds, "*4 $9 confirmed :2 :1 :0");
}
