//! A move through a gateway that breaks off before or behind each of its calls, whoever breaks: another gateway goes on, nobody is lost and nobody is
//! there twice, both sales are read meanwhile, and the order stays.

use std::collections::BTreeMap;

use hotgate::reserve::Script;

use crate::books::places_by_ledger;
use crate::support::figures::calls;
use crate::support::relay::{Relay, Stop};
use crate::support::text::one_line;
use crate::support::{Client, Cluster, Gateway, Server, wait_until};

const CONFIG: &str = "[gateway]\nworkers = 1\n[upstream]\nunavailable_wait = '50s'\nbackoff_max = '50ms'\n";
/// Three steps of 64, and some.
const USERS: usize = 150;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Broken {
    Gateway,
    Connections,
    Client,
}

/// Two sales, a gateway behind a relay that moves from one to the other, and another gateway.
struct Stage {
    server: Server,
    relay: Relay,
    mover: Gateway,
    other: Gateway,
}

impl Stage {
    fn start() -> Stage {
        let server = Server::start();
        for script in Script::ALL {
            server.client().call(&["SCRIPT", "LOAD", script.source()]);
        }
        let relay = Relay::before(server.address());
        let mover = Gateway::before(&relay).config(CONFIG).start();
        let other = Gateway::before(&server).config(CONFIG).start();
        Stage { server, relay, mover, other }
    }

    /// Fills both sales. Some users are in both already, and some have given their places back.
    fn fill(&self, [from, to]: [&str; 2]) -> BTreeMap<String, i64> {
        let mut client = self.other.client();
        client.check(&format!("RESERVE.OPEN {from} LIMIT 900 PERUSER 2 HOLD 600000"), "+OK");
        client.check(&format!("RESERVE.OPEN {to} LIMIT 900 PERUSER 3"), "+OK");
        let mut owned: BTreeMap<String, i64> = BTreeMap::new();
        for user in 0..USERS {
            let count = 1 + user % 2;
            client.send_line(&format!("RESERVE.ADD {from} user{user:03} COUNT {count}"));
            owned.insert(format!("user{user:03}"), count as i64);
        }
        (0..USERS).for_each(|_| assert!(one_line(&client.reply()).starts_with("*4 $4 held")));
        for user in (0..USERS).step_by(10) {
            client.check(&format!("RESERVE.CONFIRM {from} user{user:03}"), "*4 $9 confirmed...");
            client.check(&format!("RESERVE.ADD {to} user{:03}", user + 1), "*4 $9 confirmed...");
            *owned.get_mut(&format!("user{:03}", user + 1)).unwrap() += 1;
            client.check(&format!("RESERVE.CANCEL {from} user{:03}", user + 2), "*4 $9 cancelled...");
            owned.remove(&format!("user{:03}", user + 2));
        }
        owned
    }

    /// Has a move stopped at a call, and breaks what is to break.
    fn interrupt(&mut self, [from, to]: [&str; 2], (script, stop): (Script, Stop), broken: Broken) {
        let ran = |server: &Server| calls(&mut server.client(), "evalsha");
        self.relay.stop_at(script.sha().as_bytes(), stop);
        let mut client = self.mover.client();
        let before = ran(&self.server);
        client.send_line(&format!("RESERVE.MOVE {from} {to}"));
        wait_until("the move is at the call", || self.relay.is_stopped());
        if stop == Stop::Behind {
            let calls = 2 + [Script::MoveOut, Script::MoveIn, Script::MoveDone]
                .iter()
                .position(|each| *each == script)
                .unwrap() as u64;
            wait_until("the call has run", || ran(&self.server) >= before + calls);
        }
        match broken {
            Broken::Gateway => {
                self.mover.kill();
                self.relay.cut();
                self.relay.go_on();
                self.mover = Gateway::before(&self.relay).config(CONFIG).start();
            }
            Broken::Connections => {
                self.server.client().call_line("CLIENT KILL TYPE normal SKIPME yes");
                self.relay.cut();
                self.relay.go_on();
                client.expect("MOVE", ":0");
            }
            Broken::Client => {
                drop(client);
                self.relay.go_on();
            }
        }
    }
}

/// What each user has, by the pages of a sale, in line.
fn rows(client: &mut Client, sku: &str) -> Vec<(String, i64, String)> {
    let (mut rows, mut after) = (Vec::new(), "0".to_owned());
    loop {
        let words = client.list(&format!("RESERVE.LIST {sku} AFTER {after} COUNT 1000"));
        let Some(last) = words.chunks_exact(5).next_back() else { return rows };
        after = last[0].clone();
        rows.extend(
            words.chunks_exact(5).map(|row| (row[1].clone(), row[2].parse().unwrap(), row[3].clone())),
        );
    }
}

/// Everybody is where he was, and nowhere twice.
fn audit(
    server: &Server,
    client: &mut Client,
    [from, to]: [&str; 2],
    owned: &BTreeMap<String, i64>,
    case: &str,
) {
    let arrived = rows(client, to);
    let have: BTreeMap<String, i64> =
        arrived.iter().map(|(user, places, _)| (user.clone(), *places)).collect();
    assert_eq!(have.len(), arrived.len(), "{case}: a user is there twice");
    assert_eq!(&have, owned, "{case}");
    assert!(rows(client, from).iter().all(|(_, _, state)| state == "moved"), "{case}");
    let of = |sku: &str| places_by_ledger(&mut server.client(), sku);
    let places: i64 = owned.values().sum();
    assert_eq!((of(from), of(to)), (0, places), "{case}");
    // Who came only by the move stands in the old order.
    let came = |user: &&String| user[4..].parse::<usize>().unwrap() % 10 != 1;
    let came: Vec<&String> = arrived.iter().map(|(user, ..)| user).filter(came).collect();
    assert!(came.is_sorted(), "{case}: {came:?}");
}

#[test]
fn whatever_breaks_at_whichever_call_another_gateway_goes_on() {
    let mut stage = Stage::start();
    let mut number = 0;
    for broken in [Broken::Connections, Broken::Client, Broken::Gateway] {
        for script in [Script::MoveOut, Script::MoveIn, Script::MoveDone] {
            for stop in [Stop::Before, Stop::Behind] {
                number += 1;
                let case = format!("{broken:?} {stop:?} {script:?}");
                let (from, to) = (format!("from{number}"), format!("to{number}"));
                let skus = [from.as_str(), to.as_str()];
                let owned = stage.fill(skus);
                stage.interrupt(skus, (script, stop), broken);
                let mut client = stage.other.client();
                for user in owned.keys() {
                    let there = client.ask(&format!("RESERVE.CHECK {to} {user}"));
                    let here = client.ask(&format!("RESERVE.CHECK {from} {user}"));
                    assert!(there.starts_with("*4 ") || here.starts_with("*4 "), "{case}: {user} is lost");
                }
                client.integer(&format!("RESERVE.MOVE {from} {to} COUNT 1"));
                client.check(&format!("RESERVE.ADD {from} late"), "-GONE...");
                wait_until("nobody is left to move", || {
                    client.integer(&format!("RESERVE.MOVE {from} {to} COUNT 20")) == 0
                });
                audit(&stage.server, &mut client, skus, &owned, &case);
            }
        }
    }
}

/// The two sales lie at different masters, and each of them is handed over on the way.
#[test]
fn a_move_goes_on_while_its_masters_change() {
    let cluster = Cluster::start();
    let gateways =
        [Gateway::before(&cluster).config(CONFIG).start(), Gateway::before(&cluster).config(CONFIG).start()];
    let mut client = gateways[0].client();
    let from = "spring";
    let to = (0..)
        .map(|number| format!("autumn{number}"))
        .find(|to| cluster.master_of(to) != cluster.master_of(from))
        .unwrap();
    client.check(&format!("RESERVE.OPEN {from} LIMIT 900"), "+OK");
    client.check(&format!("RESERVE.OPEN {to} LIMIT 900"), "+OK");
    for user in 0..400 {
        client.check(&format!("RESERVE.ADD {from} user{user:03}"), "*4 $9 confirmed...");
    }
    let mut movers = gateways.each_ref().map(Gateway::client);
    let mut turn = 0;
    let mut step = || {
        turn += 1;
        movers[turn % 2].integer(&format!("RESERVE.MOVE {from} {to} COUNT 5"))
    };
    assert_eq!(step(), 395);
    for sku in [from, to.as_str()] {
        cluster.fail_over_watching(sku, || {
            step();
        });
    }
    wait_until("nobody is left to move", || step() == 0);
    let users = rows(&mut client, &to);
    assert!(users.len() == 400 && users.is_sorted(), "{} are there", users.len());
}
