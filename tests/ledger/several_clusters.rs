//! Sales in several clusters, by `[[route]]`: one ledger reads the streams of all. What happens to one cluster is no matter to the sales of others.

use crate::books::{check_equal, in_redis, position, wait_until_read};
use crate::process::Place;
use crate::servers::{Kind, SqlServer};
use crate::support::{Client, Cluster, Gateway, Server, wait_until};
use hotgate::reserve::ledger_key;

/// The server of `[upstream]`, a Redis Cluster that has the sales `big:*`, and a server that has `far:*`.
struct Clusters {
    default: Server,
    big: Cluster,
    far: Server,
    /// As the file has them.
    tables: String,
}

impl Clusters {
    fn start() -> Clusters {
        let (default, big) = (Server::start(), Cluster::start());
        let far = Server::with(&["--appendonly", "yes", "--appendfsync", "always"]);
        let mut tables = String::new();
        for (name, servers) in [("big", big.seeds()), ("far", far.seed())] {
            let servers: Vec<String> = servers.split(',').map(|server| format!("'{server}'")).collect();
            let servers = servers.join(", ");
            tables += &format!("[[cluster]]\nname = '{name}'\nservers = [{servers}]\n");
            tables += &format!("[[route]]\nmatch = '{name}:*'\nclusters = ['{name}']\n");
        }
        Clusters { default, big, far, tables }
    }

    /// The server that has this sale.
    fn owner(&self, sku: &str) -> Client {
        match sku.split_once(':') {
            Some(("big", _)) => self.big.client(self.big.master_of(sku)),
            Some(("far", _)) => self.far.client(),
            _ => self.default.client(),
        }
    }
}

fn sell(client: &mut Client, sku: &str, users: std::ops::Range<usize>) {
    for user in users {
        client.check(&format!("RESERVE.ADD {sku} {user}"), "*4...");
    }
}

const SALES: [&str; 5] = ["mask", "big:mask", "far:mask", "big:vase", "far:vase"];

#[test]
fn the_streams_of_all_clusters_are_followed() {
    let clusters = Clusters::start();
    let config = format!("[upstream]\nunavailable_wait = '50s'\nbackoff_max = '100ms'\n{}", clusters.tables);
    let gateway = Gateway::before(&clusters.default).config(&config).start();
    let mut client = gateway.client();
    let place =
        Place::before(&clusters.default).on(SqlServer::start(Kind::Postgres)).config(&clusters.tables);
    for sku in SALES {
        client.check(&format!("RESERVE.OPEN {sku} LIMIT 9000 PERUSER 4"), "+OK");
        sell(&mut client, sku, 0..30);
        let stream = ledger_key(sku.as_bytes());
        let exists: [&[u8]; 2] = [b"EXISTS", &stream];
        assert_eq!(clusters.owner(sku).call(&exists), b":1\r\n", "{sku} is where its route says");
    }
    let ledger = place.start();
    for sku in SALES {
        let mut owner = clusters.owner(sku);
        wait_until_read(&place, &mut owner, sku);
        check_equal(&place, &mut client, &mut owner, sku);
    }
    // One cluster is silent: the others' sales are read all the same.
    clusters.far.pause();
    for sku in ["mask", "big:mask"] {
        sell(&mut client, sku, 30..60);
        wait_until_read(&place, &mut clusters.owner(sku), sku);
    }
    clusters.far.resume();
    sell(&mut client, "far:mask", 30..60);
    clusters.big.fail_over("big:mask");
    sell(&mut client, "big:mask", 60..90);
    for sku in SALES {
        let mut owner = clusters.owner(sku);
        wait_until_read(&place, &mut owner, sku);
        check_equal(&place, &mut client, &mut owner, sku);
    }
    assert!(!ledger.log().contains("halted") && !ledger.log().contains("lost: "), "{}", ledger.log());
    assert_eq!(place.verb(&["verify"]), (Some(0), "0 differences\n".to_owned()));
    // What it read is trimmed there.
    let left = clusters.far.client().call(&[&b"XLEN"[..], &ledger_key(b"far:mask")]);
    assert!(left.len() <= 5, "{left:?}");
}

#[test]
fn one_cluster_loses_all_and_gets_its_sales_back() {
    let clusters = Clusters::start();
    let gateway = Gateway::before(&clusters.default).config(&clusters.tables).start();
    let mut client = gateway.client();
    let place = Place::before(&clusters.default).config(&clusters.tables);
    for sku in SALES {
        client.check(&format!("RESERVE.OPEN {sku} LIMIT 9000"), "+OK");
        sell(&mut client, sku, 0..30);
    }
    let ledger = place.start();
    for sku in SALES {
        wait_until_read(&place, &mut clusters.owner(sku), sku);
    }
    let before = ["far:mask", "far:vase"].map(|sku| in_redis(&mut client, sku));
    clusters.far.client().check("FLUSHALL", "+OK");
    wait_until("what is lost is said", || {
        ledger.log().matches("Redis does not have the sale any more").count() == 2
    });
    sell(&mut client, "mask", 30..60);
    wait_until_read(&place, &mut clusters.owner("mask"), "mask");
    let (code, told) = place.verb(&["verify"]);
    assert!(code == Some(1) && told.ends_with("2 differences\n"), "{told}");
    for (sku, before) in ["far:mask", "far:vase"].into_iter().zip(before) {
        assert_eq!(place.verb(&["restore", sku]), (Some(0), "30 holders were given back\n".to_owned()));
        assert_eq!(in_redis(&mut client, sku), before);
        sell(&mut client, sku, 30..40);
        let mut owner = clusters.owner(sku);
        wait_until_read(&place, &mut owner, sku);
        check_equal(&place, &mut client, &mut owner, sku);
    }
    drop(ledger);
    assert_eq!(place.verb(&["verify"]), (Some(0), "0 differences\n".to_owned()));
    assert_eq!(place.verb(&["restore", "big:mask"]).0, Some(1), "it is there");
    assert_eq!(position(&place, "big:mask"), 31);
}
