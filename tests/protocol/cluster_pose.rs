//! Towards its clients the gateway before a cluster poses as one all of whose nodes are at its own address, so that
//! cluster-mode clients work and never bypass it. Before one server it says what that server says, unless it is told to pose
//! as a cluster all the same.

use crate::support::text::elements;
use std::sync::OnceLock;

use crate::support::{self, BOTH_VERSIONS, Client, Gateway, shared};

/// A gateway that poses as a cluster before the shared server.
fn posing() -> &'static Gateway {
    static POSING: OnceLock<Gateway> = OnceLock::new();
    POSING.get_or_init(|| {
        let (server, _) = shared::single(module_path!());
        let start = Gateway::before(&server);
        start.config("[gateway]\npose = \"cluster\"\n").start()
    })
}

fn both() -> [(&'static Gateway, Vec<u16>); 2] {
    let (server, _) = shared::single(module_path!());
    let (cluster, before_cluster) = shared::cluster(module_path!());
    [
        (posing(), vec![server.port()]),
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
    let (_, gateway) = shared::cluster(module_path!());
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
    let (_, gateway) = shared::cluster(module_path!());
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
    let (server, _) = shared::single(module_path!());
    let gateway = Gateway::before(&server)
        .config("[gateway]\npose = \"cluster\"\nannounce = \"gateway.example:7000\"\n")
        .start();
    let mut client = gateway.client();
    let slots = elements(&client.call_line("CLUSTER SLOTS"));
    assert!(slots.windows(2).any(|pair| pair == ["gateway.example", "7000"]), "{slots:?}");
    let nodes = client.text("CLUSTER NODES");
    assert!(nodes.contains("gateway.example") && nodes.contains("7000@"), "{nodes}");
    assert!(!nodes.contains(&gateway.address.port().to_string()), "{nodes}");
}

/// Each of these goes to the server too, and both say the same.
#[test]
fn before_one_server_everything_about_clusters_is_as_that_server_says() {
    let (server, gateway) = shared::single(module_path!());
    for version in BOTH_VERSIONS {
        let (mut through, mut direct) =
            (gateway.speaking(version), Client::speaking(server.address(), version));
        for line in [
            "CLUSTER",
            "CLUSTER NODES",
            "CLUSTER SLOTS",
            "CLUSTER SHARDS",
            "CLUSTER INFO",
            "CLUSTER MYID",
            "CLUSTER LINKS",
            "CLUSTER HELP",
            "CLUSTER KEYSLOT a",
            "CLUSTER COUNTKEYSINSLOT 1",
            "CLUSTER GETKEYSINSLOT 1 1",
            "CLUSTER REPLICAS x",
            "CLUSTER SLAVES x",
            "CLUSTER COUNT-FAILURE-REPORTS x",
            "CLUSTER MEET 127.0.0.1 1",
            "CLUSTER RESET",
            "CLUSTER ADDSLOTS 1",
            "CLUSTER FAILOVER",
            "cluster nodes",
            "CLUSTER NODES x",
            "CLUSTER MEET",
            "CLUSTER NOSUCH",
            "READONLY",
            "READWRITE",
            "ASKING",
            "READONLY 1",
            "INFO cluster",
            "CONFIG GET cluster-enabled",
        ] {
            assert_eq!(through.ask(line), direct.ask(line), "{line}");
        }
        assert!(through.text("INFO server").contains("redis_mode:standalone"));
        let mode =
            |words: &[String]| words[words.iter().position(|word| word == "mode").unwrap() + 1].clone();
        assert_eq!(mode(&through.list("HELLO")), "standalone");
        through.check("SELECT 3", "+OK");
        through.check("MSET a 1 b 2 c 3", "+OK");
    }
}

#[test]
fn where_the_gateway_poses_as_a_cluster_everything_says_so() {
    for (gateway, _) in both() {
        for version in BOTH_VERSIONS {
            let mut client = gateway.speaking(version);
            let words = client.list("HELLO");
            let mode = words.iter().position(|word| word == "mode").unwrap() + 1;
            assert_eq!(words[mode], "cluster");
            assert!(client.text("INFO server").contains("redis_mode:cluster"));
            assert!(client.text("INFO cluster").contains("cluster_enabled:1"));
            assert_eq!(client.list("CONFIG GET cluster-enabled")[1], "yes");
            client.check("SELECT 0", "+OK");
            client.check("SELECT 1", "-ERR SELECT is not allowed in cluster mode");
            for line in ["READONLY", "READWRITE", "ASKING"] {
                client.check(line, "+OK");
            }
            client.check("CLUSTER MEET 127.0.0.1 1", "-ERR hotgate: 'cluster|meet' is not passed on...");
            assert!(client.list("CLUSTER HELP").len() > 8);
            client.check("MSET a 1 b 2 c 3", "+OK");
            client.check("MGET a b c", "*3 $1 1 $1 2 $1 3");
        }
    }
}

#[test]
fn a_reload_changes_the_pose() {
    let (server, _) = shared::single(module_path!());
    let gateway = Gateway::before_server(server);
    let mut client = gateway.client();
    client.check("CLUSTER MYID", "-ERR This instance has cluster support disabled");
    gateway.reload("[gateway]\npose = \"cluster\"\n");
    support::wait_until("the gateway poses as a cluster", || client.ask("CLUSTER MYID").starts_with("$40 "));
    client.check("READONLY", "+OK");
}
