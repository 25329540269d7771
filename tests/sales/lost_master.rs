//! A master dies in the middle of a sale, and its replica goes on. Redis may have lost what it had acknowledged last, as any write; but the sale's count,
//! its holders and its ledger are one, and nothing is oversold.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::books::{places_by_ledger, taken};
use crate::support::text::{one_line, request};
use crate::support::{Client, Cluster, Gateway, seed, wait_until};

const LIMIT: i64 = 60;
const HANDS: u64 = 6;
const USERS_EACH: u32 = 20;

#[test]
fn the_books_agree_behind_it() {
    let seed = seed();
    let mut cluster = Cluster::start();
    let config = "[gateway]\nworkers = 2\n[upstream]\nunavailable_wait = '20s'\nbackoff_max = '50ms'\n\
                  [reserve]\nrecheck = '5ms'\nsweep_interval = '200ms'\n";
    let gateways = [(), ()].map(|()| Gateway::before(&cluster).config(config).start());
    let addresses = gateways.each_ref().map(|gateway| gateway.address);
    let mut client = gateways[0].client();
    client.check(&format!("RESERVE.OPEN sku LIMIT {LIMIT}"), "+OK");
    let dying = cluster.master_of("sku");
    let heir = cluster.replica_of(dying);
    let (replies, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for hand in 0..HANDS {
            let (replies, is_over) = (&replies, &is_over);
            scope.spawn(move || {
                let mut rng = SmallRng::seed_from_u64(seed ^ hand);
                let mut client = Client::connect(addresses[hand as usize % addresses.len()]);
                while !is_over.load(SeqCst) {
                    let verb = if rng.random_ratio(2, 3) { "ADD" } else { "CANCEL" };
                    let line = format!("RESERVE.{verb} sku user{hand}-{}", rng.random_range(0..USERS_EACH));
                    let sent = client.try_send(&request(&line)).and_then(|()| client.try_reply());
                    let reply = one_line(&sent.expect("the gateway stays"));
                    let known = ["*4 ", "*-1", "-SOLDOUT", "-ERR hotgate"];
                    let is_known = known.iter().any(|start| reply.starts_with(start));
                    // Whatever else it says, it is said before the threads are waited for.
                    is_over.fetch_or(!is_known, SeqCst);
                    assert!(is_known, "{line} -> {reply} (seed {seed})");
                    replies.fetch_add(1, SeqCst);
                }
            });
        }
        let go_on = |replies: &AtomicUsize| {
            let wanted = replies.load(SeqCst) + 500;
            wait_until("users go on", || is_over.load(SeqCst) || replies.load(SeqCst) >= wanted);
        };
        go_on(&replies);
        cluster.kill(dying);
        wait_until("the replica is the master", || cluster.client(heir).list("ROLE")[0] == "master");
        go_on(&replies);
        is_over.store(true, SeqCst);
    });
    let words = client.list("RESERVE.LIST sku COUNT 1000");
    let held: i64 = words.chunks_exact(5).map(|row| row[2].parse::<i64>().unwrap()).sum();
    let mut owner = cluster.client(heir);
    let (by_count, by_ledger) = taken(&mut owner, "sku");
    assert_eq!((by_count, by_ledger), (held, held), "seed {seed}");
    assert_eq!(places_by_ledger(&mut owner, "sku"), held, "seed {seed}");
    assert!((1..=LIMIT).contains(&held), "{held} are held, seed {seed}");
}
