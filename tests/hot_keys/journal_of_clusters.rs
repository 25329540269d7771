//! One journal for several clusters: what was acknowledged for each is flushed there and nowhere else, whatever dies and comes back.

use std::path::Path;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tempfile::TempDir;

use crate::support::{Gateway, Server, wait_until};

fn config(directory: &Path, flush_interval: &str, others: &[&Server]) -> String {
    let mut toml = format!(
        "[upstream]\nunavailable_wait = \"200ms\"\nbackoff_max = \"50ms\"\n\
         [write_behind]\nflush_interval = \"{flush_interval}\"\njournal = true\njournal_path = \"{}\"\n\
         [[rule]]\nmatch = \"*wb\"\nmode = \"write-behind\"\n",
        directory.display()
    );
    for (name, server) in ["left", "right"].iter().zip(others) {
        toml += &format!(
            "[[cluster]]\nname = \"{name}\"\nservers = [\"{}\"]\nunavailable_wait = \"200ms\"\nbackoff_max = \"50ms\"\n",
            server.seed()
        );
    }
    toml + "[[route]]\nmatch = \"t:*:*\"\nclusters = [\"left\", \"right\"]\nby = \"$1\"\n"
}

fn start(default: &Server, config: &str) -> Gateway {
    Gateway::before(default).config(config).flag("--workers", "2").start()
}

#[test]
fn every_acknowledged_increment_is_in_its_cluster_once() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = SmallRng::seed_from_u64(seed);
    let (default, mut left, right) = (Server::start(), Server::start(), Server::start());
    let directory = TempDir::new().unwrap();
    let place = directory.path().join("journal");
    let keys: Vec<String> =
        (0..8).map(|tenant| format!("t:{tenant}:wb")).chain(["plain:wb".to_owned()]).collect();
    let mut sums = vec![0_i64; keys.len()];
    // A server keeps nothing beyond its life; the cluster that is paused for a while keeps all.
    for life in 0..4 {
        let interval = ["1m", "5ms"][life % 2];
        let mut gateway = start(&default, &config(&place, interval, &[&left, &right]));
        let mut client = gateway.client();
        wait_until("every cluster is known", || {
            keys.iter().all(|key| client.ask(&format!("EXISTS {key}")).starts_with(':'))
        });
        for _ in 0..60 {
            let at = random.random_range(0..keys.len());
            let by = random.random_range(1..10);
            let reply = client.ask(&format!("INCRBY {} {by}", keys[at]));
            assert!(reply.starts_with(':'), "{reply}");
            sums[at] += by;
        }
        if life == 1 {
            left.pause();
            // What others acknowledge meanwhile is flushed to them.
            let reply = client.ask(&format!("INCRBY {} 1", keys[8]));
            assert!(reply.starts_with(':'), "{reply}");
            sums[8] += 1;
            wait_until("the default has it", || {
                default.client().ask(&format!("GET {}", keys[8])).ends_with(&format!(" {}", sums[8]))
            });
        }
        gateway.kill();
        if life == 1 {
            left.resume();
        }
    }
    let _last = start(&default, &config(&place, "5ms", &[&left, &right]));
    let servers = [&default, &left, &right];
    for (key, sum) in keys.iter().zip(&sums) {
        // At one place, and all of it.
        let whole = format!("${} {sum}", sum.to_string().len());
        let found = || -> Vec<String> {
            let ask = |server: &&Server| server.client().ask(&format!("GET {key}"));
            servers.iter().map(ask).filter(|reply| reply != "$-1").collect()
        };
        wait_until(&format!("{key} is {sum} at one place, seed {seed}"), || match *sum {
            0 => found().is_empty(),
            _ => found() == [whole.clone()],
        });
    }
    left.kill();
}
