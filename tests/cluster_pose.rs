//! Towards its clients the gateway poses as a cluster all of whose nodes are at its own address, so that cluster-mode
//! clients work and never bypass it.

mod support;

use support::text::elements;
use support::{BOTH_VERSIONS, Gateway, shared};

fn both() -> [(&'static Gateway, Vec<u16>); 2] {
    let (server, single) = shared::single();
    let (cluster, before_cluster) = shared::cluster();
    [
        (single, vec![server.port()]),
        (before_cluster, (0..cluster.len()).map(|node| cluster.port(node)).collect()),
    ]
}

/// No port of a real server may occur in what a client is told.
fn assert_hidden(line: &str, words: &[String], servers: &[u16]) {
    for port in servers {
        let port = port.to_string();
        let shown = words.iter().any(|word| *word == port || word.contains(&format!(":{port}")));
        assert!(!shown, "{line} shows a server's own port {port}: {words:?}");
    }
}

#[test]
fn cluster_slots_covers_all_slots_with_the_gateways_address() {
    for (gateway, servers) in both() {
        for version in BOTH_VERSIONS {
            let words = gateway.speaking(version).list("CLUSTER SLOTS");
            assert_hidden("CLUSTER SLOTS", &words, &servers);
            // start, end, then ip, port and id of each node of the range
            let port = gateway.address.port().to_string();
            let mut ranges: Vec<(u16, u16)> = words
                .windows(4)
                .filter(|four| four[2] == "127.0.0.1" && four[3] == port)
                .filter_map(|four| Some((four[0].parse().ok()?, four[1].parse().ok()?)))
                .collect();
            ranges.sort_unstable();
            assert!(ranges.len() >= 2, "at least two masters: {words:?}");
            let mut next = 0;
            for (start, end) in &ranges {
                assert_eq!(*start, next, "a gap or an overlap: {ranges:?}");
                next = end + 1;
            }
            assert_eq!(next, 16_384);
        }
    }
}

#[test]
fn cluster_shards_names_only_the_gateway() {
    for (gateway, servers) in both() {
        for version in BOTH_VERSIONS {
            let words = gateway.speaking(version).list("CLUSTER SHARDS");
            assert_hidden("CLUSTER SHARDS", &words, &servers);
            let port = gateway.address.port().to_string();
            assert!(words.iter().filter(|word| **word == port).count() >= 2, "{words:?}");
            assert!(words.iter().filter(|word| *word == "master").count() >= 2, "{words:?}");
            for key in ["slots", "nodes", "id", "endpoint", "ip", "port", "role", "health"] {
                assert!(words.iter().any(|word| word == key), "{key} is missing: {words:?}");
            }
        }
    }
}

#[test]
fn cluster_nodes_names_only_the_gateway() {
    for (gateway, servers) in both() {
        for version in BOTH_VERSIONS {
            let mut client = gateway.speaking(version);
            let text = client.text("CLUSTER NODES");
            let words: Vec<String> = text.split([' ', '\n', ',']).map(str::to_string).collect();
            assert_hidden("CLUSTER NODES", &words, &servers);
            let masters: Vec<&str> = text.lines().filter(|line| line.contains("master")).collect();
            assert!(masters.len() >= 2, "{text}");
            assert!(text.lines().all(|line| line.contains(&format!(" {}@", gateway.address))), "{text}");
            assert_eq!(text.lines().filter(|line| line.contains("myself,")).count(), 1, "{text}");
            let id = client.text("CLUSTER MYID");
            assert!(
                text.lines().any(|line| line.starts_with(&id) && line.contains("myself")),
                "{id}: {text}"
            );
            for line in masters {
                let fields: Vec<&str> = line.split(' ').collect();
                assert!(fields.len() >= 9 && fields[0].len() == 40 && fields[7] == "connected", "{line}");
            }
        }
    }
}

#[test]
fn as_many_masters_are_listed_as_the_cluster_has() {
    let (_, gateway) = shared::cluster();
    let text = gateway.client().text("CLUSTER NODES");
    assert_eq!(text.lines().filter(|line| line.contains("master")).count(), 3, "{text}");
}

#[test]
fn the_rest_of_cluster_is_answered() {
    for (gateway, _) in both() {
        for version in BOTH_VERSIONS {
            let mut client = gateway.speaking(version);
            let info = client.text("CLUSTER INFO");
            for line in ["cluster_state:ok", "cluster_slots_assigned:16384", "cluster_size:"] {
                assert!(info.contains(line), "{line} is missing: {info}");
            }
            client.check("CLUSTER KEYSLOT foo", ":12182");
            client.check("CLUSTER KEYSLOT foo{hash_tag}", ":2515");
            client.check("CLUSTER COUNTKEYSINSLOT 100000", "-ERR Invalid slot");
            client.check("CLUSTER NOSUCH", "-ERR unknown subcommand 'NOSUCH'. Try CLUSTER HELP.");
        }
    }
}

/// What a slot holds only Redis Cluster can tell.
#[test]
fn the_keys_of_a_slot_are_counted_by_its_master() {
    let (_, gateway) = shared::cluster();
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        client.check("SET {counted}a 1", "+OK");
        client.check("SET {counted}b 1", "+OK");
        let slot = client.integer("CLUSTER KEYSLOT {counted}a");
        client.check(&format!("CLUSTER COUNTKEYSINSLOT {slot}"), ":2");
        let mut keys = client.list(&format!("CLUSTER GETKEYSINSLOT {slot} 10"));
        keys.sort();
        assert_eq!(keys, ["{counted}a", "{counted}b"]);
    }
}

#[test]
fn an_announced_address_replaces_the_one_dialled() {
    let (server, _) = shared::single();
    let gateway = Gateway::before(&server.address().to_string())
        .config("[gateway]\nannounce = \"gateway.example:7000\"\n")
        .start();
    let mut client = gateway.client();
    let slots = elements(&client.call_line("CLUSTER SLOTS"));
    assert!(slots.windows(2).any(|pair| pair == ["gateway.example", "7000"]), "{slots:?}");
    let nodes = client.text("CLUSTER NODES");
    assert!(nodes.contains("gateway.example") && nodes.contains("7000@"), "{nodes}");
    assert!(!nodes.contains(&gateway.address.port().to_string()), "{nodes}");
}
