//! Write-behind while things break: Redis goes away and comes back, connections are cut before, during and after a flush, the
//! gateway is killed, the disk is full. Each acknowledged increment is in Redis exactly once in the end; of those that
//! were not answered a first part may be.

use std::path::{Path, PathBuf};

use crate::support::figures::figure;
use crate::support::relay::Relay;
use crate::support::text::{one_line, request};
use crate::support::{Client, Cluster, Gateway, Server, seed, wait_for, wait_until};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

const RULE: &str = "[[rule]]\nmatch = \"wb:*\"\nmode = \"write-behind\"\n";

/// Server options under which what Redis acknowledged survives its death.
const DURABLE: &[&str] = &["--appendonly", "yes", "--appendfsync", "always"];

fn random() -> (u64, SmallRng) {
    let seed = seed();
    (seed, SmallRng::seed_from_u64(seed))
}

fn value(client: &mut Client, key: &str) -> i64 {
    let reply = client.ask(&format!("GET {key}"));
    match reply.split_once(' ') {
        Some((_, digits)) => digits.parse().expect("a number"),
        None => {
            assert_eq!(reply, "$-1");
            0
        }
    }
}

/// The counter of one client: its increments are 1, 2, 3, ... so that each total says which of them it has.
struct Counter {
    key: String,
    /// Increments that are surely in.
    sure: u64,
    /// Increments that may be in.
    sent: u64,
}

impl Counter {
    fn new(number: usize) -> Self {
        Self { key: format!("wb:counter:{number}"), sure: 0, sent: 0 }
    }

    fn total(increments: u64) -> i64 {
        (increments * (increments + 1) / 2) as i64
    }

    /// Sends this many increments at once.
    fn send(&mut self, client: &mut Client, count: u64) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        for _ in 0..count {
            self.sent += 1;
            bytes.extend(request(&format!("INCRBY {} {}", self.key, self.sent)));
        }
        client.try_send(&bytes)
    }

    /// Takes replies until they stop coming or all have come.
    fn receive(&mut self, client: &mut Client, count: u64) {
        for _ in 0..count {
            let Ok(reply) = client.try_reply() else { return };
            self.sure += 1;
            assert_eq!(one_line(&reply), format!(":{}", Self::total(self.sure)), "{}", self.key);
        }
    }

    /// Learns from what the counter holds which of the increments are in: all that were answered, and then a first part.
    fn settle(&mut self, value: i64) {
        let found = (self.sure..=self.sent).find(|increments| Self::total(*increments) == value);
        let (sure, sent) = (self.sure, self.sent);
        let found = found.unwrap_or_else(|| panic!("{}: {value} with {sure} answered of {sent}", self.key));
        (self.sure, self.sent) = (found, found);
    }
}

#[test]
fn while_redis_is_away_increments_are_taken_up_to_the_bound_and_arrive_later() {
    let mut server = Server::with(DURABLE);
    let config = format!(
        "{RULE}[write_behind]\nflush_interval = \"1ms\"\nflush_max = 10\npending_max = 100\n[upstream]\nunavailable_wait = \"100ms\"\n"
    );
    let gateway = Gateway::before(&server).config(&config).flag("--workers", "1").start();
    let mut client = gateway.client();
    client.check("INCR wb:away", ":1");
    wait_until("it is flushed", || figure(&mut gateway.client(), "write_behind_acknowledged") == 1);
    server.kill();
    for expected in 2..=101 {
        client.check("INCR wb:away", &format!(":{expected}"));
    }
    client.check("INCR wb:away", "-ERR hotgate: write_behind.pending_max...");
    // What a reload makes doubtful is better than nothing while Redis cannot be asked.
    gateway.reload(&config.replace("pending_max = 100", "pending_max = 200"));
    wait_until("the bound is taken over", || client.ask("INCR wb:away") == ":102");
    for expected in 103..=201 {
        client.check("INCR wb:away", &format!(":{expected}"));
    }
    client.check("INCR wb:away", "-ERR hotgate: write_behind.pending_max...");
    client.check("GET wb:away", "$3 201");
    client.check("DEL wb:away", "-ERR hotgate: the key's node can't be reached...");
    client.check("MULTI", "+OK");
    client.check("INCR wb:away", "+QUEUED");
    client.check("EXEC", "-ERR hotgate: the key's node can't be reached...");
    client.check("EXEC", "-ERR EXEC without MULTI");
    client.check("GET wb:unknown", "-ERR hotgate: the key's node can't be reached...");
    server.restart();
    let mut direct = server.client();
    wait_until("all has arrived", || value(&mut direct, "wb:away") == 201);
    client.check("INCR wb:away", ":202");
    client.check("DEL wb:away", ":1");
}

#[test]
fn cut_connections_lose_nothing_and_double_nothing() {
    let (_, mut random) = random();
    let server = Server::start();
    let relay = Relay::before(server.address());
    let config = format!(
        "{RULE}[write_behind]\nflush_interval = \"10ms\"\nflush_max = 20\n[upstream]\nbackoff_min = \"1ms\"\nbackoff_max = \"5ms\"\n"
    );
    let gateway = Gateway::before(&relay).config(&config).flag("--workers", "2").start();
    let mut clients: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
    let mut counters: Vec<Counter> = (0..4).map(Counter::new).collect();
    let mut direct = server.client();
    for (client, counter) in clients.iter_mut().zip(&mut counters) {
        counter.send(client, 1).expect("the gateway is there");
        counter.receive(client, 1);
    }
    for _ in 0..120 {
        for (client, counter) in clients.iter_mut().zip(&mut counters) {
            let count = random.random_range(1..40);
            counter.send(client, count).expect("the gateway is there");
            counter.receive(client, count);
        }
        match random.random_range(0..5) {
            // Before a flush, or in the middle of one.
            0 => relay.cut(),
            // Behind it: Redis has run it, and nobody learns.
            1 => {
                relay.refuse(false);
                // A command that waits for all flushes of its key: once it is answered the connection is there, and no
                // reply to a flush under way.
                let key = counters[0].key.clone();
                wait_until("no flush is under way", || clients[0].ask(&format!("EXISTS {key}")) == ":1");
                let sent = relay.times_sent(b"EVALSHA");
                counters[0].send(&mut clients[0], 15).expect("the gateway is there");
                counters[0].receive(&mut clients[0], 15);
                relay.hold_replies(true);
                wait_until("a flush is at Redis", || relay.times_sent(b"EVALSHA") > sent);
                relay.cut();
                relay.hold_replies(false);
            }
            2 => {
                relay.refuse(true);
                relay.cut();
            }
            _ => relay.refuse(false),
        }
    }
    relay.refuse(false);
    for counter in &mut counters {
        assert_eq!(counter.sure, counter.sent);
        wait_until("all is flushed", || value(&mut direct, &counter.key) >= Counter::total(counter.sure));
        let value = value(&mut direct, &counter.key);
        counter.settle(value);
    }
    assert!(figure(&mut gateway.client(), "write_behind_resends") > 0);
    assert_eq!(figure(&mut gateway.client(), "write_behind_unknown_outcomes"), 0);
}

fn journaled(directory: &Path, more: &str) -> String {
    format!("{RULE}[write_behind]\njournal = true\njournal_path = \"{}\"\n{more}", directory.display())
}

#[test]
fn a_killed_gateway_finds_in_its_journal_all_that_it_acknowledged() {
    let (_, mut random) = random();
    let mut server = Server::with(DURABLE);
    let directory = TempDir::new().expect("a directory");
    let quick = "flush_interval = \"1ms\"\nflush_max = 30\n[upstream]\nunavailable_wait = \"30s\"\nbackoff_max = \"20ms\"\nrequest_timeout = \"200ms\"\n";
    let config = journaled(&directory.path().join("journal"), quick);
    let mut counters: Vec<Counter> = (0..4).map(Counter::new).collect();
    for _ in 0..10 {
        let upstream = server.address().to_string();
        let mut gateway = Gateway::before(&upstream).config(&config).flag("--workers", "2").start();
        let mut clients: Vec<Client> = (0..4).map(|_| gateway.client()).collect();
        for (client, counter) in clients.iter_mut().zip(&mut counters) {
            let value = value(client, &counter.key);
            counter.settle(value);
        }
        for _ in 0..random.random_range(1..12) {
            for (client, counter) in clients.iter_mut().zip(&mut counters) {
                let count = random.random_range(1..60);
                counter.send(client, count).expect("the gateway is there");
                counter.receive(client, count);
            }
        }
        let fault = random.random_range(0..4);
        match fault {
            0 => server.pause(),
            1 => server.kill(),
            _ => {}
        }
        for (client, counter) in clients.iter_mut().zip(&mut counters) {
            let count = random.random_range(1..200);
            let answered = random.random_range(0..=count);
            counter.send(client, count).expect("the gateway is there");
            counter.receive(client, answered);
        }
        gateway.kill();
        for (client, counter) in clients.iter_mut().zip(&mut counters) {
            counter.receive(client, counter.sent - counter.sure);
        }
        match fault {
            0 => server.resume(),
            1 => server.restart(),
            _ => {}
        }
    }
    let upstream = server.address().to_string();
    let mut gateway = Gateway::before(&upstream).config(&config).flag("--workers", "3").start();
    let (mut client, mut direct) = (gateway.client(), server.client());
    for counter in &mut counters {
        let found = value(&mut client, &counter.key);
        counter.settle(found);
        wait_until("all is flushed", || value(&mut direct, &counter.key) == found);
    }
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(0));
    assert!(!gateway.log().contains("not known"), "{}", gateway.log());
}

#[test]
fn what_a_stop_leaves_in_the_journal_is_flushed_by_the_next_start() {
    let mut server = Server::with(DURABLE);
    let directory = TempDir::new().expect("a directory");
    let lazy = "flush_interval = \"50ms\"\n[gateway]\ndrain_timeout = \"300ms\"\n[log]\nformat = \"json\"\n";
    let config = journaled(directory.path(), lazy);
    let mut gateway = Gateway::before(&server).config(&config).start();
    let mut client = gateway.client();
    client.check("GET wb:kept", "$-1");
    server.kill();
    client.check("INCRBY wb:kept 5", ":5");
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(1));
    assert!(gateway.log().contains("the journal keeps them for the next start"), "{}", gateway.log());
    server.restart();
    let gateway = Gateway::before(&server).config(&config).start();
    // Nothing was sent, so there is no doubt, however late the next start comes.
    wait_until("it is taken over", || gateway.log().contains("taken over from the journal"));
    assert!(gateway.log().contains("\"in_doubt\":false"), "{}", gateway.log());
    // Though nobody asks for it.
    let mut direct = server.client();
    wait_until("it is flushed", || value(&mut direct, "wb:kept") == 5);
    gateway.client().check("INCR wb:kept", ":6");
}

fn segment(directory: &Path) -> PathBuf {
    let entries = std::fs::read_dir(directory).expect("the journal");
    let mut paths = entries.map(|entry| entry.expect("an entry").path());
    paths.find(|path| path.extension().is_some_and(|found| found == "segment")).expect("a segment")
}

#[test]
fn a_torn_tail_is_reported_and_a_damaged_journal_is_refused() {
    let server = Server::start();
    let directory = TempDir::new().expect("a directory");
    let config = journaled(directory.path(), "flush_interval = \"1m\"\n");
    let start = || Gateway::before(&server).config(&config).start();
    let mut gateway = start();
    let mut client = gateway.client();
    for _ in 0..20 {
        client.ask("INCR wb:torn");
    }
    gateway.kill();
    let tails: [(&[u8], &str); 2] =
        [(b"torn", "cut short by a crash"), (&[0; 600], "if the power did not fail, increments that were")];
    for (value, (tail, said)) in (21..).zip(tails) {
        let path = segment(directory.path());
        let mut bytes = std::fs::read(&path).expect("the segment");
        bytes.extend(tail);
        std::fs::write(&path, &bytes).expect("the segment");
        let mut gateway = start();
        assert!(gateway.log().contains(said), "{}", gateway.log());
        gateway.client().check("INCR wb:torn", &format!(":{value}"));
        gateway.kill();
    }
    let path = segment(directory.path());
    let whole = std::fs::read(&path).expect("the segment");
    for place in [whole.len() / 2, whole.len() - 1] {
        let mut bytes = whole.clone();
        bytes[place] ^= 0x40;
        std::fs::write(&path, &bytes).expect("the segment");
        let (code, said) = Gateway::before(&server).config(&config).refused();
        assert_eq!(code, Some(1), "byte {place}: {said}");
        assert!(
            said.contains("is damaged at byte") && said.contains("restore the file from a copy"),
            "{said}"
        );
    }
}

#[test]
fn a_full_disk_refuses_increments_and_loses_none() {
    let server = Server::start();
    let directory = TempDir::new().expect("a directory");
    let config = journaled(directory.path(), "flush_interval = \"1m\"\n");
    let mut gateway =
        Gateway::before(&server).config(&config).flag("--workers", "2").file_blocks_max(128).start();
    let mut client = gateway.client();
    let (mut acknowledged, mut acknowledged_since, mut refused) = (0, 0, 0);
    // It is refused for a moment, and then goes on in a new file.
    while acknowledged_since < 100 {
        let bytes: Vec<u8> = (0..100).flat_map(|_| request("INCR wb:full")).collect();
        client.send(&bytes);
        for _ in 0..100 {
            let reply = one_line(&client.reply());
            match reply.strip_prefix(':') {
                Some(digits) => {
                    acknowledged += 1;
                    let value: i64 = digits.parse().expect("a number");
                    assert_eq!(value, acknowledged, "refused increments do not count");
                    acknowledged_since += i64::from(refused > 0);
                }
                None => {
                    assert!(reply.starts_with("-ERR hotgate: the journal cannot be written"), "{reply}");
                    refused += 1;
                }
            }
        }
    }
    gateway.kill();
    let gateway = Gateway::before(&server).config(&config).start();
    assert_eq!(value(&mut gateway.client(), "wb:full"), acknowledged);
    let mut direct = server.client();
    wait_until("all is flushed", || value(&mut direct, "wb:full") == acknowledged);
}

/// What waits behind a flush that cannot be written down is told so, and does not wait for the disk.
#[test]
fn a_disk_that_stays_full_holds_up_no_command() {
    let server = Server::start();
    let directory = TempDir::new().expect("a directory");
    let lazy = "flush_interval = \"1m\"\n[upstream]\nunavailable_wait = \"100ms\"\n";
    let config = journaled(directory.path(), lazy);
    let gateway = Gateway::before(&server).config(&config).file_blocks_max(4).start();
    let mut client = gateway.client();
    // Each key takes its place in every file, until even an empty one has no room for more.
    let mut refused = 0;
    for number in 0.. {
        let reply = client.ask(&format!("INCR wb:{number}"));
        refused = if reply == ":1" { 0 } else { refused + 1 };
        if refused == 50 {
            break;
        }
        assert!(number < 10_000, "the disk is never full");
    }
    client.check(
        "DEL wb:0",
        "-ERR hotgate: the key has increments that can't be flushed, since the journal...",
    );
    client.check("INCR wb:0", "-ERR hotgate: the journal cannot be written...");
    client.check("GET wb:0", "$1 1");
    assert_eq!(gateway.log().matches("the journal refuses increments").count(), 1, "{}", gateway.log());
}

/// As long as replicas are read from, a master that became one does not name the new master by itself.
#[test]
fn a_master_that_became_a_replica_is_left() {
    let cluster = Cluster::start();
    let config = format!(
        "{RULE}[write_behind]\nflush_interval = \"10ms\"\n\
         [upstream]\nunavailable_wait = \"60s\"\nread_from = \"prefer-replica\"\ntopology_refresh = \"1h\"\n"
    );
    let gateway = Gateway::before(&cluster).config(&config).flag("--workers", "2").start();
    let mut client = gateway.client();
    client.check("INCR wb:moved", ":1");
    cluster.fail_over("wb:moved");
    client.check("INCR wb:moved", ":2");
    // Whoever was named as the master a moment ago may send the test on.
    wait_until("it is flushed", || {
        cluster.client(cluster.master_of("wb:moved")).ask("GET wb:moved") == "$1 2"
    });
}

#[test]
fn a_promoted_replica_gets_what_was_pending() {
    let mut cluster = Cluster::start();
    let config =
        format!("{RULE}[write_behind]\nflush_interval = \"1m\"\n[upstream]\nunavailable_wait = \"60s\"\n");
    let gateway = Gateway::before(&cluster).config(&config).flag("--workers", "2").start();
    let mut client = gateway.client();
    for round in 1..=20 {
        client.check("INCR wb:promoted", &format!(":{round}"));
    }
    let master = cluster.master_of("wb:promoted");
    cluster.kill(master);
    for round in 21..=40 {
        client.check("INCR wb:promoted", &format!(":{round}"));
    }
    client.check("STRLEN wb:promoted", ":2");
    let promoted = wait_for("a new master", || Some(cluster.master_of("wb:promoted")));
    assert_ne!(promoted, master);
    cluster.client(promoted).check("GET wb:promoted", "$2 40");
}

#[test]
fn a_journal_that_is_switched_off_is_warned_of() {
    let server = Server::start();
    let directory = TempDir::new().expect("a directory");
    let on = journaled(&directory.path().join("journal"), "");
    let start = |config: &str| Gateway::before(&server).config(config).start();
    let warned =
        |gateway: &Gateway| gateway.log().contains("write_behind.journal is off and its directory exists");
    assert!(!warned(&start(&on)));
    assert!(warned(&start(&on.replace("journal = true", "journal = false"))));
}
