//! Places whose time is over come back though nobody asks for them, with any number of gateways; a gateway through which nobody reserves
//! leaves Redis alone.

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
fn a_gateway_through_which_nobody_reserves_asks_nothing() {
    let server = Server::start();
    let gateway = Gateway::before(&server).config("[reserve]\nsweep_interval = '100ms'\n").start();
    let mut client = gateway.client();
    client.check("SET a 1", "+OK");
    let calls = all_calls(&mut server.client());
    for command in ["zrangebylex", "evalsha", "eval"] {
        assert!(!calls.contains_key(command), "{calls:?}");
    }
    server.client().check("KEYS *", "*1 $1 a");
}
