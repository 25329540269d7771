//! For as long as `HOTGATE_SOAK_S` says, clients count on plain and on combined keys while masters fail over, slots move and the
//! configuration is reloaded. Every reply is one that Redis could have given, no acknowledged increment is lost and none counts
//! twice, and the gateway holds no more memory and no more descriptors at the end than after the first rounds.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::support::increments::Increments;
use crate::support::load::{Acknowledged, Load};
use crate::support::migration::Migration;
use crate::support::{Cluster, Gateway, seed};

const COMBINED: &str = "sku:{1}:reserved";
const CONFIG: &str = "[upstream]\nunavailable_wait = '50s'\nrequest_timeout = '60s'\nredirects_max = 64\n\
                      [combine]\nexactly_once = true\n[[rule]]\nmatch = 'sku:*'\nmode = 'combine'\n";

/// Rounds after which the gateway has opened what it needs.
const WARM_ROUNDS: usize = 5;
/// What a process that leaks nothing may still differ by: the allocator's, and connections that come and go.
const GROWTH_BYTES_MAX: u64 = 64 << 20;
const DESCRIPTORS_MAX: usize = 32;
/// Of each kind of client, in a round.
const REPLIES: usize = 2_000;

/// Memory and descriptors of the process.
fn holds(gateway: &Gateway) -> (u64, usize) {
    let descriptors = std::fs::read_dir(format!("/proc/{}/fd", gateway.pid())).unwrap().count();
    (gateway.resident_bytes(), descriptors)
}

fn disturb(cluster: &Cluster, gateway: &Gateway, rng: &mut SmallRng) {
    let plain = format!("soak:{}:{}", rng.random_range(0..4), rng.random_range(0..60));
    let key = if rng.random_ratio(1, 3) { COMBINED.to_owned() } else { plain };
    match rng.random_range(0..4) {
        0 => {
            cluster.fail_over(&key);
            cluster.wait_until_whole();
        }
        1 => Migration::begin(cluster, &key).end(),
        2 => gateway.reload(&format!("{CONFIG}[log]\nlevel = 'warn'\n")),
        _ => gateway.reload(CONFIG),
    }
}

#[test]
#[ignore = "takes as many seconds as HOTGATE_SOAK_S says; .ci/release runs it"]
fn nothing_is_lost_and_nothing_grows() {
    let seconds = std::env::var("HOTGATE_SOAK_S").map_or(60, |text| text.parse().expect("seconds"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let seed = seed();
    let mut rng = SmallRng::seed_from_u64(seed);
    let cluster = Cluster::start();
    let gateway = Gateway::before(&cluster).config(CONFIG).start();
    let name = |client, index| format!("soak:{client}:{index}");
    let load = Load::start(&gateway, 4, 60, Acknowledged::Kept, name);
    let increments = Increments::start(COMBINED, 16, &[Arc::new(Mutex::new(gateway.address))], seed);
    let (mut rounds, mut warm) = (0, None);
    while Instant::now() < end || warm.is_none() {
        load.wait_for_replies(REPLIES);
        increments.wait_for_replies(REPLIES);
        disturb(&cluster, &gateway, &mut rng);
        rounds += 1;
        if rounds == WARM_ROUNDS {
            warm = Some(holds(&gateway));
        }
    }
    load.wait_for_replies(REPLIES);
    increments.wait_for_replies(REPLIES);
    let (warm, last) = (warm.unwrap(), holds(&gateway));
    println!("{rounds} rounds; bytes and descriptors {warm:?}, then {last:?}");
    let mut account = increments.finish();
    let value = cluster.client(cluster.master_of(COMBINED)).text(&format!("GET {COMBINED}"));
    account.check_whole(value.parse().unwrap(), seed);
    let errors = load.finish();
    assert!(errors.iter().all(|error| error.contains("outcome is unknown")), "seed {seed}: {errors:?}");
    assert!(last.0 < warm.0 + GROWTH_BYTES_MAX, "seed {seed}: from {} to {} bytes", warm.0, last.0);
    assert!(last.1 < warm.1 + DESCRIPTORS_MAX, "seed {seed}: from {} to {} descriptors", warm.1, last.1);
}
