//! Reads go to the gateway's own zone, where somebody of it has the slot, and else to whoever has.

use crate::support::{Cluster, Gateway, wait_for, wait_until};

/// Keys of the master with this number.
fn keys_of(cluster: &Cluster, master: usize) -> Vec<String> {
    let keys = (0..100).map(|number| format!("near:{number}"));
    keys.filter(|key| cluster.master_of(key) == master).take(3).collect()
}

/// How many `GET`s a node has run.
fn gets(cluster: &Cluster, node: usize) -> u64 {
    let text = cluster.client(node).text("INFO commandstats");
    let line = text.lines().find(|line| line.starts_with("cmdstat_get:calls="));
    line.map_or(0, |line| line[18..].split(',').next().unwrap().parse().unwrap())
}

fn counted(gateway: &Gateway, zone: &str) -> u64 {
    let name = format!("hotgate_reads_by_zone_total{{zone=\"{zone}\"}} ");
    // Who asks too often is turned away.
    let metrics =
        wait_for("figures", || Some(gateway.get("/metrics")).filter(|(status, _)| *status == 200)).1;
    metrics.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}

#[test]
fn reads_find_the_nearest_and_fall_back() {
    let cluster = Cluster::with(&["--bind", "127.0.0.1", "127.0.0.2", "127.0.0.3"]);
    let masters = cluster.masters();
    // Of the first the replica is near, of the second the master, of the third nobody.
    let (near_replica, near_master) = (cluster.replica_of(masters[0]), masters[1]);
    for node in [near_replica, near_master] {
        cluster.client(node).check("CONFIG SET cluster-announce-ip 127.0.0.2", "+OK");
    }
    let config = "[gateway]\nzone = \"own\"\n[[zone]]\nname = \"own\"\nnetworks = [\"127.0.0.2\"]\n\
                  [[zone]]\nname = \"other\"\nnetworks = [\"127.0.0.1\", \"127.0.0.3\"]\n\
                  [upstream]\nread_from = \"nearest\"\ntopology_refresh = \"200ms\"\n";
    let known = || {
        let nodes = cluster.client(masters[2]).text("CLUSTER NODES");
        nodes.matches(" 127.0.0.2:").count() == 2
    };
    wait_until("all nodes know the new addresses", known);
    let gateway = Gateway::before(&cluster).config(config).start();
    let mut client = gateway.client();
    let fallback = cluster.replica_of(masters[2]);
    for (master, expected) in [(masters[0], near_replica), (near_master, near_master), (masters[2], fallback)]
    {
        let keys = keys_of(&cluster, master);
        keys.iter().for_each(|key| client.check(&format!("SET {key} 1"), "+OK"));
        let read = |client: &mut crate::support::Client| {
            keys.iter().all(|key| client.ask(&format!("GET {key}")) == "$1 1")
        };
        wait_until("its replica has them, and the gateway knows it", || {
            let before = gets(&cluster, expected);
            read(&mut client) && gets(&cluster, expected) == before + 3
        });
        let before: Vec<u64> = (0..cluster.len()).map(|node| gets(&cluster, node)).collect();
        (0..10).for_each(|_| assert!(read(&mut client)));
        for (node, before) in before.into_iter().enumerate() {
            let more = if node == expected { 30 } else { 0 };
            assert_eq!(gets(&cluster, node), before + more, "node {node}, where {expected} is the nearest");
        }
    }
    wait_until("it is told how often", || counted(&gateway, "own") >= 60 && counted(&gateway, "other") >= 30);
    assert!(client.text("INFO hotgate").contains("reads_own_zone:"));
}
