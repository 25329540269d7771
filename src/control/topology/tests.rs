//! The keeper against real servers.

use std::slice;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use super::*;
use crate::control::upstream_client::{Credentials, Timeouts, UpstreamClient};
use crate::demo::private_redis::{PrivateCluster, PrivateServer};
use crate::route::{ClusterId, SlotAt};
use crate::shared::refresh::{RefreshReason, RefreshRequester, refresh_mailboxes};
use crate::shared::topology::{Address, NodeIndex, Role, SLOTS, Topology, TopologyCell, UpstreamKind};
use crate::shared::upstream_facts::UpstreamFactsCell;

/// How long a condition may take to come true on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

const HERE: ClusterId = ClusterId::DEFAULT;

const TIMEOUTS: Timeouts = Timeouts { connect: Duration::from_secs(2), reply: Duration::from_secs(2) };

struct Kept {
    topology: Arc<TopologyCell>,
    facts: Arc<UpstreamFactsCell>,
    requester: RefreshRequester,
    _settings: watch::Sender<KeeperSettings>,
}

/// Runs a keeper that looks by itself only once an hour, so that what the tests see is due to what they do.
fn keep(seeds: &[Address], kind: Option<UpstreamKind>) -> Kept {
    keep_with(KeeperSettings {
        name: "default".to_owned(),
        sentinels: None,
        seeds: seeds.to_vec(),
        kind,
        credentials: Credentials::default(),
        timeouts: TIMEOUTS,
        refresh_interval: Duration::from_secs(3600),
    })
}

fn keep_with(settings: KeeperSettings) -> Kept {
    let (settings, receiver) = watch::channel(settings);
    let (requester, mut requests) = refresh_mailboxes(1);
    let registry = SharedRegistry::new(1);
    let topology = Arc::new(TopologyCell::new(registry.topology()));
    let facts = Arc::new(UpstreamFactsCell::default());
    tokio::spawn(
        TopologyKeeper::new(
            HERE,
            receiver,
            requests.remove(0),
            Published { registry, topology: Arc::clone(&topology), facts: Arc::clone(&facts) },
            "own id".to_owned(),
        )
        .run(),
    );
    Kept { topology, facts, requester, _settings: settings }
}

impl Kept {
    async fn wait_for(&self, what: &str, condition: impl Fn(&Topology) -> bool) -> Arc<Topology> {
        let mut changes = self.topology.changes();
        let wait = async {
            loop {
                let topology = self.topology.load();
                if condition(&topology) {
                    return topology;
                }
                changes.changed().await.unwrap();
            }
        };
        timeout(PATIENCE, wait).await.unwrap_or_else(|_| panic!("waited in vain for: {what}"))
    }

    /// As a worker does while its requests fail: asks again and again.
    async fn wait_asking(
        &self,
        reason: &RefreshReason,
        what: &str,
        condition: impl Fn(&Topology) -> bool,
    ) -> Arc<Topology> {
        let ask = async {
            loop {
                self.requester.request(HERE, reason.clone(), self.topology.load().version);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            topology = self.wait_for(what, condition) => topology,
            () = ask => unreachable!("it never ends"),
        }
    }
}

fn whole(topology: &Topology) -> bool {
    topology.cluster(HERE).assigned_slots() == SLOTS && topology.is_ready()
}

fn owner(topology: &Topology, slot: u16) -> Option<Address> {
    topology
        .master_of(SlotAt { cluster: HERE, slot })
        .and_then(|index| topology.node(index))
        .map(|node| node.address.clone())
}

async fn command(cluster: &PrivateCluster, node: usize, arguments: &[&str]) -> String {
    let arguments: Vec<&[u8]> = arguments.iter().map(|argument| argument.as_bytes()).collect();
    cluster.client(node).await.unwrap().text(&arguments).await.unwrap()
}

#[tokio::test]
async fn a_cluster_is_found_from_the_one_seed_that_lives() {
    let cluster = PrivateCluster::start(3, 1, &[]).await.unwrap();
    let addresses = cluster.addresses();
    let dead = Address::new("127.0.0.1", 1);
    let kept = keep(&[dead, addresses[4].clone()], None);
    // The one that is asked may hear of the replicas' part a moment after the slots'.
    let followed = |master: &NodeIndex, topology: &Topology| topology.replicas_of(*master).len() == 1;
    let complete = |topology: &Topology| {
        whole(topology) && topology.cluster(HERE).masters.iter().all(|master| followed(master, topology))
    };
    let topology = kept.wait_for("the whole cluster", complete).await;
    assert_eq!(topology.cluster(HERE).kind, UpstreamKind::Cluster);
    assert_eq!(topology.cluster(HERE).masters.len(), 3);
    for (number, slot) in [(0, 0), (1, 8000), (2, 16383)] {
        assert_eq!(owner(&topology, slot), Some(addresses[number].clone()));
        let replicas = topology.replicas_of(topology.master_of(SlotAt { cluster: HERE, slot }).unwrap());
        let replicas: Vec<&Address> =
            replicas.iter().map(|index| &topology.node(*index).unwrap().address).collect();
        assert_eq!(replicas, [&addresses[number + 3]]);
    }
    let mut changes = kept.facts.changes();
    timeout(PATIENCE, changes.wait_for(|count| *count > 0)).await.unwrap().unwrap();
    let facts = kept.facts.load();
    assert_eq!(facts.mode.as_deref(), Some("cluster"));
    assert!(facts.version.is_some() && facts.commands.as_ref().is_some_and(|raw| raw.starts_with(b"*")));
}

#[tokio::test]
async fn a_promotion_is_followed_and_the_old_master_returns_as_a_replica() {
    let mut cluster = PrivateCluster::start(3, 1, &["--cluster-node-timeout", "1000"]).await.unwrap();
    let addresses = cluster.addresses();
    let kept = keep(&addresses[..1], None);
    kept.wait_for("the whole cluster", whole).await;
    // The only seed dies: the other nodes are known by now.
    cluster.kill(0);
    let failed = RefreshReason::ConnectionFailed(addresses[0].clone());
    let promoted = |topology: &Topology| owner(topology, 0) == Some(addresses[3].clone()) && whole(topology);
    kept.wait_asking(&failed, "the replica to be master", promoted).await;
    cluster.restart(0).await.unwrap();
    let returned = |topology: &Topology| {
        let node = topology
            .cluster(HERE)
            .find(&addresses[0].host, addresses[0].port)
            .and_then(|index| topology.node(index));
        node.is_some_and(|node| node.present && node.healthy && node.role == Role::Replica)
    };
    kept.wait_asking(&RefreshReason::Unassigned, "the old master to be a replica", returned).await;
}

#[tokio::test]
async fn migrated_slots_and_changed_addresses_are_followed() {
    let mut cluster = PrivateCluster::start(3, 0, &["--cluster-node-timeout", "2000"]).await.unwrap();
    let addresses = cluster.addresses();
    let kept = keep(&addresses[..2], Some(UpstreamKind::Cluster));
    let before = kept.wait_for("the whole cluster", whole).await;

    let target = command(&cluster, 1, &["CLUSTER", "MYID"]).await;
    for node in [1, 0, 2] {
        command(&cluster, node, &["CLUSTER", "SETSLOT", "0", "NODE", &target]).await;
    }
    let moved = RefreshReason::Redirected(addresses[1].clone());
    kept.wait_asking(&moved, "slot 0 at its new master", |t| owner(t, 0) == Some(addresses[1].clone())).await;

    cluster.restart_elsewhere(2).await.unwrap();
    let at = cluster.addresses()[2].clone();
    command(&cluster, 2, &["CLUSTER", "MEET", "127.0.0.1", &addresses[0].port.to_string()]).await;
    let failed = RefreshReason::ConnectionFailed(addresses[2].clone());
    let after =
        kept.wait_asking(&failed, "the node at its new port", |t| owner(t, 16383) == Some(at.clone())).await;
    let old_index = before.cluster(HERE).master_of(16383).unwrap();
    assert_ne!(after.cluster(HERE).master_of(16383), Some(old_index));
    let old = after.node(old_index).unwrap();
    assert!(!old.present && old.address == addresses[2]);
}

#[tokio::test]
async fn a_cluster_that_refuses_shards_is_read_by_slots() {
    let acl = [
        "--user",
        "slots",
        "on",
        "nopass",
        "+@all",
        "-cluster|shards",
        "~*",
        "--user",
        "default",
        "on",
        "nopass",
        "+@all",
        "~*",
    ];
    let cluster = PrivateCluster::start(3, 0, &acl).await.unwrap();
    let kept = keep_with(KeeperSettings {
        name: "default".to_owned(),
        sentinels: None,
        seeds: cluster.addresses(),
        kind: None,
        credentials: Credentials {
            user: Some("slots".to_owned()),
            password: Some(crate::config::Secret::new("x")),
            ..Credentials::default()
        },
        timeouts: TIMEOUTS,
        refresh_interval: Duration::from_secs(3600),
    });
    let topology = kept.wait_for("the whole cluster", whole).await;
    assert_eq!(topology.cluster(HERE).masters.len(), 3);
}

#[tokio::test]
async fn one_server_is_found_with_its_replica_and_may_come_late() {
    let mut master = PrivateServer::start(&[]).await.unwrap();
    let address = master.address();
    let port = address.port.to_string();
    let replica =
        PrivateServer::start(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"])
            .await
            .unwrap();
    master.kill();
    // Asked what it is, a server that is down says nothing; called a single one, it is published at once.
    let asking = keep(slice::from_ref(&address), None);
    let forced = keep(slice::from_ref(&address), Some(UpstreamKind::Single));
    let unconfirmed = forced.wait_for("the seed as master", |t| t.version > 0).await;
    assert!(!unconfirmed.is_ready() && unconfirmed.cluster(HERE).master_of(0).is_some());
    assert_eq!(asking.topology.load().version, 0);
    master.restart().await.unwrap();
    for kept in [&asking, &forced] {
        let with_replica = |t: &Topology| {
            let replicas = t.cluster(HERE).masters.first().map_or(&[][..], |master| t.replicas_of(*master));
            whole(t) && replicas.iter().any(|r| t.node(*r).unwrap().address == replica.address())
        };
        let topology =
            kept.wait_asking(&RefreshReason::Unassigned, "the server and its replica", with_replica).await;
        assert_eq!(
            (topology.cluster(HERE).kind, topology.cluster(HERE).masters.len()),
            (UpstreamKind::Single, 1)
        );
        assert_eq!(owner(&topology, 16383), Some(address.clone()));
    }
    master.kill();
    let failed = RefreshReason::ConnectionFailed(address);
    forced
        .wait_asking(&failed, "the server to be unhealthy", |t| {
            !t.is_ready() && t.cluster(HERE).master_of(0).is_some()
        })
        .await;
}

#[tokio::test]
async fn of_two_servers_the_one_that_takes_writes_is_the_master() {
    let first = PrivateServer::start(&[]).await.unwrap();
    let port = first.address().port.to_string();
    let second = PrivateServer::start(&["--replicaof", "127.0.0.1", &port]).await.unwrap();
    let kept = keep(&[second.address(), first.address()], None);
    kept.wait_for("the master", |t| owner(t, 0) == Some(first.address())).await;
    // Promoted by an operator or by Sentinel.
    for (server, arguments) in [
        (&second, [&b"REPLICAOF"[..], b"NO", b"ONE"]),
        (&first, [&b"REPLICAOF"[..], b"127.0.0.1", second.address().port.to_string().as_bytes()]),
    ] {
        let mut client =
            UpstreamClient::connect(&server.address(), &Credentials::default(), TIMEOUTS).await.unwrap();
        client.command(&arguments).await.unwrap();
    }
    let refused = RefreshReason::ReadOnly(first.address());
    kept.wait_asking(&refused, "the promoted server", |t| owner(t, 0) == Some(second.address())).await;
}

#[tokio::test]
async fn a_paused_node_does_not_hold_up_the_look() {
    let cluster = PrivateCluster::start(3, 0, &["--cluster-node-timeout", "60000"]).await.unwrap();
    let addresses = cluster.addresses();
    cluster.pause(0).unwrap();
    cluster.pause(1).unwrap();
    let kept = keep(&addresses, None);
    let topology = kept.wait_for("the whole cluster", whole).await;
    assert_eq!(topology.cluster(HERE).masters.len(), 3);
}

#[tokio::test]
async fn many_requests_cost_few_looks() {
    let server = PrivateServer::start(&[]).await.unwrap();
    let kept = keep(&[server.address()], None);
    let version = kept.wait_for("the server", whole).await.version;
    let mut client =
        UpstreamClient::connect(&server.address(), &Credentials::default(), TIMEOUTS).await.unwrap();
    let connections = async |client: &mut UpstreamClient| {
        let stats = client.text(&[b"INFO", b"stats"]).await.unwrap();
        info::field(&stats, "total_connections_received").unwrap().parse::<u64>().unwrap()
    };
    let before = connections(&mut client).await;
    let started = tokio::time::Instant::now();
    while connections(&mut client).await < before + 3 {
        for _ in 0..50 {
            kept.requester.request(HERE, RefreshReason::Unassigned, version);
        }
        // Noticed under an older topology: not worth a look.
        kept.requester.request(HERE, RefreshReason::Unassigned, version - 1);
        assert!(started.elapsed() < PATIENCE);
        tokio::task::yield_now().await;
    }
    let looks = connections(&mut client).await - before;
    let possible = started.elapsed().as_millis() as u64 / 100 + 2;
    assert!(looks <= possible, "{looks} looks in {:?}", started.elapsed());
}
