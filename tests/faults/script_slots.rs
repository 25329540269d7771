//! A script that is declared to count fares as plain calls of it do, whatever becomes of its slot and its server: the slot moves key by
//! key, its master hands over, the server loads, it can't keep up, its connections break. No call gets an error that a plain one would
//! not get, and none is lost or counted twice.
//!
//! `HOTGATE_SEED` repeats what the clients send.

use std::sync::{Arc, Mutex};

use super::hot_slots::{ONE_AT_A_TIME, refused_while_it_loads};
use crate::support::figures::calls;
use crate::support::increments::Increments;
use crate::support::migration::Migration;
use crate::support::text::{one_line, request};
use crate::support::{BOTH_VERSIONS, Client, Cluster, Gateway, Server, seed, wait_until};

const LIMITER: &str = "local c = redis.call('INCR', KEYS[1]) if c == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end return c";
const CLIENTS: usize = 6;
const PIPELINE: usize = 8;
const MOVES: usize = 3;

/// Its calls are folded, or never.
const KINDS: [&str; 2] = ["called", "folded"];

fn key(kind: &str) -> String {
    format!("{{m}}:{kind}")
}

fn line(sha1: &str, kind: &str) -> String {
    format!("EVALSHA {sha1} 1 {} 1000", key(kind))
}

fn config(sha1: &str) -> String {
    format!(
        "[[rule]]\nmatch = '*:folded*'\nmode = 'combine'\n[[rule]]\nmatch = '*:called*'\nmode = 'off'\n\
         [[counter_script]]\nsha1 = '{sha1}'\nexpire_argument = 1\n"
    )
}

/// The name of the limiter.
fn sha1_of(server: &mut Client) -> String {
    one_line(&server.call(&["SCRIPT", "LOAD", LIMITER])).split(' ').nth(1).unwrap().to_owned()
}

/// Clients that count at the same time. All that they are told follows what was counted before, without gaps.
struct Counting {
    clients: Vec<Client>,
    burst: Vec<u8>,
    counted: i64,
}

impl Counting {
    fn new(gateway: &Gateway, line: &str) -> Counting {
        let clients = (0..CLIENTS).map(|place| gateway.speaking(BOTH_VERSIONS[place % 2])).collect();
        Counting { clients, burst: request(line).repeat(PIPELINE), counted: 0 }
    }

    fn go_on(&mut self, when: &str) {
        self.clients.iter_mut().for_each(|client| client.send(&self.burst));
        let mut told: Vec<i64> = Vec::new();
        for client in &mut self.clients {
            for _ in 0..PIPELINE {
                let reply = one_line(&client.reply());
                let number = reply.strip_prefix(':').unwrap_or_else(|| panic!("{when}: {reply}"));
                told.push(number.parse().unwrap());
            }
        }
        told.sort_unstable();
        let expected = self.counted + 1..=self.counted + told.len() as i64;
        assert!(told.iter().copied().eq(expected), "{when}: {told:?} behind {}", self.counted);
        self.counted += told.len() as i64;
    }
}

#[test]
fn a_slot_moves_key_by_key_and_calls_go_on() {
    let _alone = ONE_AT_A_TIME.take();
    let cluster = Cluster::start();
    let sha1 = sha1_of(&mut cluster.client(0));
    let gateway = Gateway::before(&cluster).config(&config(&sha1)).flag("--workers", "2").start();
    assert_eq!(sha1_of(&mut gateway.client()), sha1);
    let mut countings = KINDS.map(|kind| Counting::new(&gateway, &line(&sha1, kind)));
    let mut all =
        |when: &str| countings.iter_mut().for_each(|counting| (0..4).for_each(|_| counting.go_on(when)));
    for round in 0..MOVES {
        all("before the move");
        let migration = Migration::begin(&cluster, "{m}");
        all("still here");
        // That one of them is new, and nowhere, is tried as well.
        let mut fresh = Counting::new(&gateway, &line(&sha1, &format!("folded:{round}")));
        (0..4).for_each(|_| fresh.go_on("new in a slot that moves"));
        for name in migration.keys() {
            migration.move_key(&name);
            all(&format!("{name} is there"));
        }
        // The node that has the slot now lost the script.
        if round == 1 {
            cluster.client(migration.to).check("SCRIPT FLUSH", "+OK");
            all("there, and the script is gone");
        }
        migration.end();
        all("behind the move");
    }
    let folded: u64 =
        cluster.masters().into_iter().map(|node| calls(&mut cluster.client(node), "eval")).sum();
    assert!(folded > 0, "nothing was folded");
}

/// Clients of each kind count all the while, and each call ends with its own value.
#[test]
fn a_master_hands_over_and_calls_go_on() {
    let _alone = ONE_AT_A_TIME.take();
    let seed = seed();
    let cluster = Cluster::start();
    let sha1 = sha1_of(&mut cluster.client(0));
    // Time enough for an election.
    let patience = "[upstream]\nunavailable_wait = '50s'\nrequest_timeout = '60s'\nredirects_max = 64\n";
    let config = format!("[gateway]\nworkers = 2\n{patience}{}", config(&sha1));
    let gateway = Gateway::before(&cluster).config(&config).start();
    assert_eq!(sha1_of(&mut gateway.client()), sha1);
    let address = Arc::new(Mutex::new(gateway.address));
    let start =
        |(kind, seed)| (kind, Increments::saying(&line(&sha1, kind), 3, &[Arc::clone(&address)], seed));
    let counting: Vec<(&str, Increments)> = KINDS.into_iter().zip(seed..).map(start).collect();
    let go_on = |replies: usize| counting.iter().for_each(|(_, clients)| clients.wait_for_replies(replies));
    for _ in 0..2 {
        go_on(300);
        cluster.fail_over(&key("called"));
        go_on(300);
        cluster.wait_until_whole();
        let migration = Migration::begin(&cluster, "{m}");
        go_on(50);
        migration.move_keys(1);
        go_on(50);
        migration.end();
    }
    go_on(300);
    for (kind, clients) in counting {
        let mut account = clients.finish();
        let value = cluster.client(cluster.master_of(&key(kind))).text(&format!("GET {}", key(kind)));
        println!("{kind}: {value}, {:?}", account.errors.first());
        account.check_whole(value.parse().unwrap(), seed);
    }
}

/// Each waits its own time, as it would for a plain call, and none is told that the script is not known.
#[test]
fn a_server_loads_and_calls_wait_as_plain_ones_do() {
    let mut server = Server::slow_to_load();
    let sha1 = sha1_of(&mut server.client());
    let config = format!("[upstream]\nunavailable_wait = '2s'\n{}", config(&sha1));
    let gateway = Gateway::before(&server).config(&config).start();
    assert_eq!(sha1_of(&mut gateway.client()), sha1);
    let lines = KINDS.map(|kind| line(&sha1, kind));
    let mut client = gateway.client();
    lines.iter().for_each(|line| client.check(line, ":1"));
    let mut direct = server.client();
    let value = "x".repeat(100);
    (0..4000).for_each(|n| direct.check(&format!("SET k{n} {value}"), "+OK"));
    direct.check("SAVE", "+OK");
    let refused = refused_while_it_loads(&mut server, &gateway, &lines);
    println!("refused: {refused:?}");
    // Who comes within a few looks of the border may fall on either side of it.
    assert!(refused[1] <= refused[0] + 5, "{refused:?} of plain calls and of folded ones");
    for line in &lines {
        let reply = client.ask(line);
        assert!(reply.starts_with(':'), "{line} -> {reply}");
    }
}

/// Nothing but the load makes the calls fold; then connections break as well.
#[test]
fn calls_fold_under_overload_and_none_is_lost() {
    let seed = seed();
    let server = Server::start();
    let sha1 = sha1_of(&mut server.client());
    let declared = format!("[[counter_script]]\nsha1 = '{sha1}'\nexpire_argument = 1\n");
    let config = format!("[gateway]\nworkers = 2\n{declared}");
    let gateway = Gateway::before(&server).config(&config).start();
    let address = Arc::new(Mutex::new(gateway.address));
    let counting = Increments::saying(&line(&sha1, "called"), 40, &[address], seed);
    let (mut busy, mut direct) = (server.client(), server.client());
    let hold_up = "EVAL \"local n = 0 for i = 1, 300000 do n = n + i end return 1\" 0";
    wait_until("calls are folded", || {
        // Somebody else's work, so that a queue stands at the server.
        (0..10).for_each(|_| busy.check(hold_up, ":1"));
        folded(&mut direct)
    });
    counting.wait_for_replies(1000);
    let mut account = counting.finish();
    let value = direct.text(&format!("GET {}", key("called")));
    account.check_whole(value.parse().unwrap(), seed);

    direct.check(&format!("DEL {}", key("called")), ":1");
    let address = Arc::new(Mutex::new(gateway.address));
    let counting = Increments::saying(&line(&sha1, "called"), 40, &[address], seed);
    for _ in 0..5 {
        (0..10).for_each(|_| busy.check(hold_up, ":1"));
        counting.wait_for_replies(200);
        direct.check("CLIENT KILL TYPE normal SKIPME yes", ":...");
        busy = server.client();
        counting.wait_for_replies(200);
    }
    let mut account = counting.finish();
    let value = direct.text(&format!("GET {}", key("called")));
    println!("{} of {value} unknown", account.unknown);
    account.check(value.parse().unwrap(), seed);
}

/// Whether the server has run the script by which calls are folded: less often than calls were answered.
fn folded(direct: &mut Client) -> bool {
    let value = direct.ask(&format!("GET {}", key("called")));
    let counted: u64 = value.split(' ').nth(1).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    counted > calls(direct, "evalsha") + 100
}
