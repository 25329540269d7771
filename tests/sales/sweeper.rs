//! Places whose time is over come back though nobody asks for them, with any number of gateways, also where the one that opened the sale is gone;
//! a sale that was registered and never opened leaves the registry; a gateway through which nobody reserves writes nothing, and where there is no sale
//! it asks next to nothing.

use crate::books::taken;
use crate::support::figures::all_calls;
use crate::support::{Gateway, Server, wait_until};

#[test]
fn a_hold_that_is_over_ends_by_itself() {
    let server = Server::start();
    let config = "[reserve]\nsweep_interval = '100ms'\n";
    let gateways: Vec<Gateway> = (0..3).map(|_| Gateway::of_two_workers(&server, config)).collect();
    let mut client = gateways[0].client();
    client.check("RESERVE.OPEN sku LIMIT 5 HOLD 100", "+OK");
    client.check("RESERVE.ADD sku ada", "*4 $4 held :1 :4 ...");
    wait_until("nobody asked, and the place is back", || taken(&mut server.client(), "sku") == (0, 0));
    client.check("RESERVE.CHECK sku ada", "*-1");
}

#[test]
fn a_gateway_that_never_saw_the_sale_sweeps_when_no_other_is_left() {
    let server = Server::start();
    let config = "[reserve]\nsweep_interval = '100ms'\n";
    let mut selling = Gateway::before(&server).config("[reserve]\nsweep_interval = '10s'\n").start();
    let mut client = selling.client();
    client.check("RESERVE.OPEN sku LIMIT 5 HOLD 1", "+OK");
    client.check("RESERVE.ADD sku ada", "*4 $4 held :1 :4 ...");
    selling.kill();
    assert_eq!(taken(&mut server.client(), "sku").0, 1);
    let _left = Gateway::before(&server).config(config).start();
    wait_until("a gateway that nobody uses looks after it", || taken(&mut server.client(), "sku") == (0, 0));
}

/// Its OPEN broke off between the registry and the sale's own slot.
#[test]
fn a_sale_that_was_never_opened_leaves_the_registry_and_one_that_was_stays() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config("[reserve]\nsweep_interval = '100ms'\n").start();
    let mut client = gateway.client();
    client.check("RESERVE.OPEN sku LIMIT 5", "+OK");
    let registries = server.client().list("KEYS *hotgate:sales.*:");
    assert_eq!(registries.len(), 1, "{registries:?}");
    server.client().check(&format!("ZADD {} 0 ghost", registries[0]), ":1");
    client.check("RESERVE.SKUS", "*2 $5 ghost $3 sku");
    wait_until("the ghost is gone", || client.ask("RESERVE.SKUS") == "*1 $3 sku");
    client.check("RESERVE.OPEN ghost LIMIT 5", "+OK");
    client.check("RESERVE.SKUS", "*2 $5 ghost $3 sku");
}

#[test]
fn a_gateway_through_which_nobody_reserves_writes_nothing() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config("[reserve]\nsweep_interval = '100ms'\n").start();
    let mut client = gateway.client();
    client.check("SET a 1", "+OK");
    let calls = all_calls(&mut server.client());
    for command in ["evalsha", "eval", "zadd", "zrem"] {
        assert!(!calls.contains_key(command), "{calls:?}");
    }
    server.client().check("KEYS *", "*1 $1 a");
}

#[test]
fn where_no_sale_was_opened_the_registry_is_read_once() {
    let server = Server::start();
    let _gateway = Gateway::before(&server).config("[reserve]\nsweep_interval = '100ms'\n").start();
    let asked = |name| all_calls(&mut server.client()).get(name).copied().unwrap_or(0);
    wait_until("whether there is a sale is asked again and again", || asked("exists") >= 3);
    assert_eq!(asked("zrangebylex"), 16, "one look at each part, when the gateway has started");
}

/// Who watches finds the sale by the registry, and the mark comes back.
#[test]
fn a_mark_that_was_lost_hides_no_sale() {
    let server = Server::start();
    let config = "[reserve]\nsweep_interval = '100ms'\n";
    let mut selling = Gateway::before(&server).config("[reserve]\nsweep_interval = '10s'\n").start();
    selling.client().check("RESERVE.OPEN sku LIMIT 5 HOLD 1", "+OK");
    selling.client().check("RESERVE.ADD sku ada", "*4 $4 held :1 :4 ...");
    selling.kill();
    let marks = server.client().list("KEYS *hotgate:sales.0:any");
    assert_eq!(marks.len(), 1, "{marks:?}");
    server.client().check(&format!("DEL {}", marks[0]), ":1");
    let _left = Gateway::before(&server).config(config).start();
    wait_until("a gateway that has just started looks after it", || {
        taken(&mut server.client(), "sku") == (0, 0)
    });
    wait_until("and says that there is one", || server.client().ask(&format!("EXISTS {}", marks[0])) == ":1");
}
