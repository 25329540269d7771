//! Nothing is oversold, nothing acknowledged is lost and nothing is left over while gateways are killed and Redis fails over.
//!
//! Four gateways hold one counter for two hundred connections that reserve and release. What each was told bounds the counter
//! from both sides, at every look: it is never below what was acknowledged, less the releases that may have taken effect,
//! and never above what was sent and not refused. `HOTGATE_SEED` repeats the requests of each connection and the order of the
//! faults; how they interleave is the machine's.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::SeqCst};

use crate::support::text::{one_line, request};
use crate::support::{Client, Cluster, Gateway, seed, wait_for, wait_until};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

const GATEWAYS: usize = 4;
const CONNECTIONS: usize = 200;
const LIMIT: i64 = 100_000;
const KEY: &str = "sku:8421:reserved";

const CONFIG: &str = "[gateway]\nworkers = 2\n[upstream]\nbackoff_max = '100ms'\n\
    [[quota]]\nmatch = 'sku:*:reserved'\nlimit = 100000\nrecheck = '5ms'\nwait_replicas = 1\nwait_timeout = '500ms'\n";

/// What the connections have done, in units. Every figure only grows, so that a look at the counter can be held against what
/// was known before it and what is known after it.
#[derive(Default)]
struct Sums {
    reserving: AtomicI64,
    reserved: AtomicI64,
    /// Of the reserving: surely without effect.
    refused: AtomicI64,
    releasing: AtomicI64,
    released: AtomicI64,
    /// Of the releasing: surely without effect.
    kept: AtomicI64,
    replies: AtomicI64,
    unknown: AtomicI64,
}

struct Sale {
    sums: Sums,
    /// Where the gateways listen at present.
    addresses: Mutex<Vec<SocketAddr>>,
    /// Above this many units connections rather release, so that the sale lasts until all faults are over.
    target: AtomicI64,
    closing: AtomicBool,
    /// The test has failed: nobody goes on.
    failed: AtomicBool,
}

/// Lets the connections end when the test fails, since they are waited for.
struct EndWhenFailed<'a>(&'a Sale);

impl Drop for EndWhenFailed<'_> {
    fn drop(&mut self) {
        self.0.failed.store(std::thread::panicking(), SeqCst);
    }
}

enum Told {
    Done,
    WithoutEffect,
    SoldOut,
    Unknown,
}

fn told(reply: &str) -> Told {
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| reply.starts_with(prefix));
    if let Some(value) = reply.strip_prefix(':') {
        assert!(value.parse::<i64>().unwrap() <= LIMIT, "oversold to {value}");
        return Told::Done;
    }
    if starts(&["-QUOTA limit of 100000 reached for"]) {
        return Told::SoldOut;
    }
    if starts(&["-QUOTA cannot be checked", "-CLUSTERDOWN", "-LOADING", "-READONLY", "-MASTERDOWN"]) {
        return Told::WithoutEffect;
    }
    assert!(starts(&["-QUOTA grant not confirmed"]) || reply.contains("outcome unknown"), "{reply}");
    Told::Unknown
}

impl Sale {
    /// One connection's buyers, one after the other, until the sale closes and it is told that nothing is left.
    fn buy(&self, connection: usize, mut rng: SmallRng) {
        let (sums, mut held, mut client) = (&self.sums, 0, None);
        while !self.failed.load(SeqCst) {
            let closing = self.closing.load(SeqCst);
            let net = sums.reserved.load(SeqCst) - sums.released.load(SeqCst);
            let many = net > self.target.load(SeqCst);
            let release = held > 0 && !closing && rng.random_ratio(if many { 3 } else { 1 }, 4);
            let units = if release { rng.random_range(1..=held.min(9)) } else { rng.random_range(1..=9) };
            let (sending, done, undone, command) = match release {
                true => (&sums.releasing, &sums.released, &sums.kept, "DECRBY"),
                false => (&sums.reserving, &sums.reserved, &sums.refused, "INCRBY"),
            };
            let client_now = client.get_or_insert_with(|| self.connect(connection));
            sending.fetch_add(units, SeqCst);
            let reply = client_now
                .try_send(&request(&format!("{command} {KEY} {units}")))
                .and_then(|()| client_now.try_reply());
            let outcome = reply.as_ref().map_or(Told::Unknown, |reply| told(&one_line(reply)));
            sums.replies.fetch_add(1, SeqCst);
            if reply.is_err() {
                client = None;
            }
            match outcome {
                Told::Done => {
                    done.fetch_add(units, SeqCst);
                    held += if release { -units } else { units };
                }
                Told::WithoutEffect | Told::SoldOut => _ = undone.fetch_add(units, SeqCst),
                Told::Unknown => {
                    sums.unknown.fetch_add(units, SeqCst);
                    held -= if release { units } else { 0 };
                }
            }
            if closing && matches!(outcome, Told::SoldOut) {
                return;
            }
        }
    }

    fn connect(&self, connection: usize) -> Client {
        wait_for("a gateway takes the connection", || {
            let address = self.addresses.lock().unwrap()[connection % GATEWAYS];
            Client::try_connect(address).ok()
        })
    }

    /// Holds the counter against what the connections were told.
    fn look(&self, cluster: &Cluster) {
        let sums = &self.sums;
        let at_least = sums.reserved.load(SeqCst) + sums.kept.load(SeqCst);
        let not_there = sums.refused.load(SeqCst) + sums.released.load(SeqCst);
        let Some(counter) = counter(cluster) else { return };
        let at_least = at_least - sums.releasing.load(SeqCst);
        let at_most = sums.reserving.load(SeqCst) - not_there;
        assert!(counter >= at_least, "lost: the counter is {counter}, acknowledged are {at_least}");
        assert!(counter <= at_most, "the counter is {counter}, asked for were {at_most}");
        assert!(counter <= LIMIT, "oversold to {counter}");
    }

    /// Looks again and again until so many more units are confirmed.
    fn sell(&self, cluster: &Cluster, units: i64) {
        self.target.fetch_add(units, SeqCst);
        let goal = self.sums.reserved.load(SeqCst) + units / 4;
        wait_until("reservations are confirmed", || {
            self.look(cluster);
            self.sums.reserved.load(SeqCst) >= goal
        });
    }
}

/// The counter as its master has it; nothing while there is none.
fn counter(cluster: &Cluster) -> Option<i64> {
    cluster.masters().into_iter().find_map(|node| {
        let reply = cluster.client(node).ask(&format!("GET {KEY}"));
        reply.strip_prefix('$')?.split(' ').nth(1)?.parse().ok()
    })
}

fn start(cluster: &Cluster) -> Gateway {
    Gateway::before(&cluster).config(CONFIG).start()
}

/// Every node that runs takes this long to hold another for dead.
fn set_node_timeout(cluster: &Cluster, nodes: &[usize], timeout_ms: u64) {
    for &node in nodes {
        cluster.client(node).check(&format!("CONFIG SET cluster-node-timeout {timeout_ms}"), "+OK");
    }
}

/// The counter's master dies with what its replica has not got, since that was down. The replica comes back with what it has
/// acknowledged and is elected, and the old master becomes its replica.
fn kill_master(cluster: &mut Cluster, sale: &Sale) {
    cluster.wait_until_whole();
    let victim = cluster.master_of(KEY);
    let replica = cluster.replica_of(victim);
    cluster.kill(replica);
    let replies = sale.sums.replies.load(SeqCst) + CONNECTIONS as i64;
    wait_until("there are writes that the replica has not got", || sale.sums.replies.load(SeqCst) >= replies);
    cluster.kill(victim);
    cluster.restart(replica);
    let others: Vec<usize> = (0..cluster.len()).filter(|&node| node != victim).collect();
    set_node_timeout(cluster, &others, 500);
    wait_until("another master has the counter", || {
        sale.look(cluster);
        counter(cluster).is_some()
    });
    set_node_timeout(cluster, &others, 15_000);
    cluster.restart(victim);
}

#[test]
fn faults_neither_oversell_nor_lose_nor_leave_anything() {
    let seed = seed();
    let mut rng = SmallRng::seed_from_u64(seed);
    let mut cluster = Cluster::with(&[
        "--cluster-node-timeout",
        "15000",
        // What a replica has acknowledged outlives it.
        "--appendonly",
        "yes",
        "--appendfsync",
        "always",
    ]);
    let mut gateways: Vec<Gateway> = (0..GATEWAYS).map(|_| start(&cluster)).collect();
    let sale = Sale {
        sums: Sums::default(),
        addresses: Mutex::new(gateways.iter().map(|gateway| gateway.address).collect()),
        target: AtomicI64::new(0),
        closing: AtomicBool::new(false),
        failed: AtomicBool::new(false),
    };
    #[derive(Clone, Copy, Debug)]
    enum Fault {
        KillGateway(usize),
        FailOver,
        KillMaster,
    }
    let mut faults: Vec<Fault> = (0..GATEWAYS).map(Fault::KillGateway).collect();
    faults.extend([Fault::FailOver, Fault::KillMaster, Fault::KillGateway(rng.random_range(0..GATEWAYS))]);
    faults.shuffle(&mut rng);
    std::thread::scope(|scope| {
        let _end = EndWhenFailed(&sale);
        for connection in 0..CONNECTIONS {
            let (sale, rng) = (&sale, SmallRng::seed_from_u64(seed.wrapping_add(1 + connection as u64)));
            scope.spawn(move || sale.buy(connection, rng));
        }
        sale.sell(&cluster, 8_000);
        for fault in faults {
            println!("{fault:?}");
            match fault {
                Fault::KillGateway(index) => {
                    // What is replaced is killed as it stands (SIGKILL).
                    gateways[index] = start(&cluster);
                    sale.addresses.lock().unwrap()[index] = gateways[index].address;
                }
                Fault::FailOver => cluster.fail_over_watching(KEY, || sale.look(&cluster)),
                Fault::KillMaster => kill_master(&mut cluster, &sale),
            }
            sale.sell(&cluster, 8_000);
        }
        cluster.wait_until_whole();
        sale.closing.store(true, SeqCst);
    });
    sale.look(&cluster);
    let unknown = sale.sums.unknown.load(SeqCst);
    println!("{} units were left unknown by {} replies", unknown, sale.sums.replies.load(SeqCst));
    // To the last unit, and not one beyond.
    let mut clients: Vec<Client> = gateways.iter().map(Gateway::client).collect();
    wait_until("the last unit is sold", || {
        for client in &mut clients {
            client.ask(&format!("INCR {KEY}"));
        }
        counter(&cluster) == Some(LIMIT)
    });
    for client in &mut clients {
        client.check(&format!("INCR {KEY}"), "-QUOTA limit of 100000 reached for...");
    }
    assert_eq!(counter(&cluster), Some(LIMIT));
}
