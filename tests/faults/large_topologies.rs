//! Nine clusters of 300 nodes in all: what sixteen gateways ask them, how soon they follow a failover, and that a storm of redirections
//! costs a look or two, in the cluster that it is about and in no other.
//!
//! The nodes are made up ([`crate::support::large_fake`]). Sixteen gateways are the keepers of sixteen, in this process; what all else in a
//! gateway asks is looked at in one that is whole.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hotgate::control::topology::{KeeperSettings, Published, SharedRegistry, TopologyKeeper};
use hotgate::control::upstream_client::{Credentials, Timeouts};
use hotgate::route::ClusterId;
use hotgate::shared::refresh::{RefreshReason, RefreshRequester, refresh_mailboxes};
use hotgate::shared::topology::{Address, TopologyCell};
use hotgate::shared::upstream_facts::UpstreamFactsCell;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::support::large_fake::{Counts, LargeFake};
use crate::support::{Gateway, PATIENCE, wait_until};

/// 300 nodes.
const SIZES: [usize; 9] = [34, 33, 33, 33, 33, 33, 33, 33, 35];
const GATEWAYS: usize = 16;
/// The cluster and the shard that fails over.
const FAILING: (usize, usize) = (4, 2);
/// Nodes that one look asks.
const ASKED_BY_A_LOOK: u64 = 3;
/// Looks that one failover may cost a gateway: one at once, when hardly a node has heard of it, one after that, and one for luck.
const LOOKS_MAX: u64 = 3;

fn start_fake() -> LargeFake {
    assert_eq!(SIZES.iter().sum::<usize>(), 300);
    LargeFake::start(&SIZES)
}

/// The topology keepers of one gateway.
struct Keepers {
    topology: Arc<TopologyCell>,
    requester: RefreshRequester,
    _settings: Vec<watch::Sender<KeeperSettings>>,
}

fn address(socket: SocketAddr) -> Address {
    Address::new(socket.ip().to_string(), socket.port())
}

impl Keepers {
    /// They look by themselves only once an hour, so that what is counted is due to what happens.
    fn start(fake: &LargeFake) -> Keepers {
        let (requester, requests) = refresh_mailboxes(SIZES.len());
        let registry = SharedRegistry::new(SIZES.len());
        let topology = Arc::new(TopologyCell::new(registry.topology()));
        let mut all_settings = Vec::new();
        for (cluster, requests) in requests.into_iter().enumerate() {
            let (settings, seen) = watch::channel(KeeperSettings {
                name: format!("c{cluster}"),
                sentinels: None,
                seeds: fake.seeds(cluster, 3).into_iter().map(address).collect(),
                kind: None,
                credentials: Credentials::default(),
                timeouts: Timeouts { connect: PATIENCE, reply: PATIENCE },
                refresh_interval: Duration::from_secs(3600),
            });
            all_settings.push(settings);
            let published = Published {
                registry: registry.clone(),
                topology: Arc::clone(&topology),
                facts: Arc::new(UpstreamFactsCell::default()),
            };
            let id = ClusterId(cluster as u16);
            tokio::spawn(TopologyKeeper::new(id, seen, requests, published, "own id".to_owned()).run());
        }
        Keepers { topology, requester, _settings: all_settings }
    }

    async fn wait_for(&self, condition: impl Fn(&TopologyCell) -> bool) {
        let mut changes = self.topology.changes();
        let all = async {
            while !condition(&self.topology) {
                changes.changed().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, all).await.expect("the topology is as it is to be");
    }

    fn knows_all(&self) -> bool {
        self.topology.load().clusters().iter().all(|map| map.assigned_slots() == 16_384)
    }

    fn master(&self, (cluster, shard): (usize, usize)) -> Option<Address> {
        let topology = self.topology.load();
        let shards = SIZES[cluster] / 3;
        let slot = (shard * 16_384).div_ceil(shards) as u16;
        let node = topology.cluster(ClusterId(cluster as u16)).master_of(slot)?;
        topology.node(node).map(|node| node.address.clone())
    }

    /// As workers do while requests are redirected and connections are refused: each asks again and again.
    async fn ask_in_a_storm(&self, dead: &Address, promoted: &Address) {
        let cluster = ClusterId(FAILING.0 as u16);
        while self.master(FAILING).as_ref() != Some(promoted) {
            let seen_version = self.topology.load().cluster(cluster).version;
            for _ in 0..20 {
                let moved = RefreshReason::Redirected(promoted.clone());
                self.requester.request(cluster, moved, seen_version);
                let failed = RefreshReason::ConnectionFailed(dead.clone());
                self.requester.request(cluster, failed, seen_version);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

/// Processor time of this thread, in nanoseconds.
fn processor_ns() -> u64 {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    told.split(' ').next().unwrap().parse().unwrap()
}

fn difference(after: &[Counts], before: &[Counts], of: fn(&Counts) -> u64) -> Vec<u64> {
    after.iter().zip(before).map(|(after, before)| of(after) - of(before)).collect()
}

#[test]
fn sixteen_gateways_find_300_nodes_and_follow_a_failover_with_few_questions() {
    let fake = start_fake();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (begun, busy_ns) = (Instant::now(), processor_ns());
        let gateways: Vec<Arc<Keepers>> = (0..GATEWAYS).map(|_| Arc::new(Keepers::start(&fake))).collect();
        for gateway in &gateways {
            gateway.wait_for(|_| gateway.knows_all()).await;
        }
        let found = fake.counts();
        let bytes: u64 = found.iter().map(|of| of.bytes).sum();
        let maps: u64 = found.iter().map(|of| of.maps).sum();
        println!(
            "found by {GATEWAYS} gateways: {:?}, {} ms of processor, {} KiB, {maps} questions for a map",
            begun.elapsed(),
            (processor_ns() - busy_ns) / 1_000_000,
            bytes >> 10
        );
        let looks = (GATEWAYS * SIZES.len()) as u64;
        assert!(maps <= looks * (ASKED_BY_A_LOOK + 1), "{maps} questions for maps");

        let dead = address(fake.master(FAILING.0, FAILING.1));
        let (begun, busy_ns, before) = (Instant::now(), processor_ns(), fake.counts());
        fake.fail_over(FAILING.0, FAILING.1);
        let promoted = address(fake.master(FAILING.0, FAILING.1));
        let mut storms = JoinSet::new();
        for gateway in &gateways {
            let (gateway, dead, promoted) = (Arc::clone(gateway), dead.clone(), promoted.clone());
            storms.spawn(async move { gateway.ask_in_a_storm(&dead, &promoted).await });
        }
        tokio::time::timeout(PATIENCE, storms.join_all()).await.expect("all follow");
        let after = fake.counts();
        let maps = difference(&after, &before, |of| of.maps);
        println!(
            "failover: {:?}, {} ms of processor, {} KiB, {} questions for a map",
            begun.elapsed(),
            (processor_ns() - busy_ns) / 1_000_000,
            difference(&after, &before, |of| of.bytes).iter().sum::<u64>() >> 10,
            maps[FAILING.0]
        );
        for (cluster, asked) in maps.iter().enumerate() {
            let bound = if cluster == FAILING.0 { GATEWAYS as u64 * ASKED_BY_A_LOOK * LOOKS_MAX } else { 0 };
            assert!(*asked <= bound, "{asked} questions in cluster {cluster}, at most {bound} expected");
        }
    });
}

/// One gateway with its workers and its probes, which hear of the failover node by node.
#[test]
fn a_failover_costs_a_whole_gateway_few_looks() {
    let fake = start_fake();
    let mut config = "[upstream]\ntopology_refresh = \"1h\"\n".to_owned();
    let servers = |cluster: usize| {
        let seeds = fake.seeds(cluster, 3).into_iter().map(|seed| format!("\"{seed}\""));
        seeds.collect::<Vec<_>>().join(", ")
    };
    config += &format!("servers = [{}]\n", servers(0));
    for cluster in 1..SIZES.len() {
        config += &format!(
            "[[cluster]]\nname = \"c{cluster}\"\nservers = [{}]\ntopology_refresh = \"1h\"\n\
             [[route]]\nmatch = \"{cluster}:*\"\nclusters = [\"c{cluster}\"]\n",
            servers(cluster)
        );
    }
    let gateway = Gateway::by_file(&config).flag("--workers", "2").start();
    let mut client = gateway.client();
    let key = |cluster: usize, shard: usize| match cluster {
        0 => fake.key_of(0, shard, 100),
        _ => fake.key_of(cluster, shard, cluster),
    };
    for cluster in 0..SIZES.len() {
        let line = format!("SET {} v", key(cluster, FAILING.1));
        wait_until("every cluster serves", || client.ask(&line) == "+OK");
    }
    // Each node has been asked how it is, twice.
    let states = || fake.counts().iter().map(|of| of.states - of.maps).collect::<Vec<u64>>();
    let asked_twice = |since: &[u64]| {
        let now = states();
        now.iter().zip(since).zip(SIZES).all(|((now, since), size)| now - since >= 2 * size as u64)
    };
    let since = states();
    wait_until("all nodes are asked how they are", || asked_twice(&since));
    let before = fake.counts();
    fake.fail_over(FAILING.0, FAILING.1);
    let mut others = gateway.client();
    let lost = key(FAILING.0, FAILING.1);
    let reads: Vec<String> =
        (0..SIZES.len()).map(|cluster| format!("GET {}", key(cluster, FAILING.1))).collect();
    wait_until("the failover is followed", || {
        for (cluster, read) in reads.iter().enumerate() {
            if cluster != FAILING.0 {
                others.check(read, "$1 v");
            }
        }
        client.ask(&format!("SET {lost} w")) == "+OK"
    });
    let since = states();
    wait_until("all nodes are asked how they are", || asked_twice(&since));
    let maps = difference(&fake.counts(), &before, |of| of.maps);
    println!("questions for maps after one failover: {maps:?}");
    for (cluster, asked) in maps.iter().enumerate() {
        let bound = if cluster == FAILING.0 { ASKED_BY_A_LOOK * LOOKS_MAX } else { 0 };
        assert!(
            *asked <= bound,
            "{asked} questions in cluster {cluster}, at most {bound} expected: {}",
            gateway.log()
        );
    }
}
