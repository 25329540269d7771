//! Sales whose names lead to several clusters: each lives whole in its own, all are listed, shown, swept and moved as if there were one, and a cluster that
//! is away stops no sale of another.

use serde_json::Value;

use crate::books::taken;
use crate::support::{BOTH_VERSIONS, Client, Cluster, Gateway, Server, wait_until};

/// The server of `[upstream]`, a server called `left` and a Redis Cluster called `wide`; two gateways.
struct Stage {
    default: Server,
    left: Server,
    wide: Cluster,
    seller: Gateway,
    other: Gateway,
}

impl Stage {
    fn start() -> Stage {
        let (default, left, wide) = (Server::start(), Server::start(), Cluster::start());
        let quoted: Vec<String> = wide.seeds().split(',').map(|seed| format!("{seed:?}")).collect();
        let config = format!(
            "[admin]\nlisten = '127.0.0.1:0'\n[reserve]\nsweep_interval = '100ms'\n[upstream]\nunavailable_wait = '1s'\n\
             [[cluster]]\nname = 'left'\nservers = [{:?}]\nunavailable_wait = '1s'\n\
             [[cluster]]\nname = 'wide'\nservers = [{}]\n\
             [[route]]\nmatch = 'l:*'\nclusters = ['left']\n[[route]]\nmatch = 'w:*'\nclusters = ['wide']\n",
            left.seed(),
            quoted.join(", ")
        );
        let gateway = || Gateway::before(&default).config(&config).flag("--workers", "2").start();
        let (seller, other) = (gateway(), gateway());
        for gateway in [&seller, &other] {
            for key in ["plain", "l:x", "w:x"] {
                let asks = || gateway.client().ask(&format!("EXISTS {key}")).starts_with(':');
                wait_until("every cluster is known", asks);
            }
        }
        Stage { default, left, wide, seller, other }
    }

    fn wide_master_of(&self, sku: &str) -> Client {
        self.wide.client(self.wide.master_of(sku))
    }
}

/// How many keys of a sale a server has.
fn keys_of(mut server: Client, sku: &str) -> usize {
    server.list(&format!("KEYS *hotgate:sale*:{sku}")).len()
}

#[test]
fn each_sale_lives_in_the_cluster_of_its_name() {
    let stage = Stage::start();
    let (mut client, mut other) = (stage.seller.client(), stage.other.client());
    let skus = ["plain", "l:mask", "w:mask"];
    for sku in skus {
        client.check(&format!("RESERVE.OPEN {sku} LIMIT 2 HOLD 2000"), "+OK");
        client.check(&format!("RESERVE.ADD {sku} ada"), "*4 $4 held :1 :1 ...");
        other.check(&format!("RESERVE.ADD {sku} bob"), "*4 $4 held :2 :0 ...");
        other.check(&format!("RESERVE.CONFIRM {sku} bob"), "*4 $9 confirmed :2 :1 :0");
    }
    let here = |sku| {
        let (default, left) = (stage.default.client(), stage.left.client());
        [keys_of(default, sku), keys_of(left, sku), keys_of(stage.wide_master_of(sku), sku)]
            .map(|keys| keys > 0)
    };
    assert_eq!(here("plain"), [true, false, false]);
    assert_eq!(here("l:mask"), [false, true, false]);
    assert_eq!(here("w:mask"), [false, false, true]);
    for version in BOTH_VERSIONS {
        stage.other.speaking(version).check("RESERVE.SKUS", "*3 $6 l:mask $5 plain $6 w:mask");
    }
    // Nobody asks for a place: the sweepers reach every cluster.
    wait_until("holds end in every cluster", || {
        taken(&mut stage.default.client(), "plain").0 == 1
            && taken(&mut stage.left.client(), "l:mask").0 == 1
            && taken(&mut stage.wide_master_of("w:mask"), "w:mask").0 == 1
    });
    wait_until("all show at a gateway, with who is left", || {
        let (status, body) = stage.other.get("/api/sales");
        let answer: Value = serde_json::from_str(&body).unwrap();
        let shown = |sku: &str| {
            let sales = answer["sales"].as_array()?;
            sales.iter().find(|sale| sale["key"] == sku)?["taken"].as_i64()
        };
        status == 200 && skus.iter().all(|sku| shown(sku) == Some(1))
    });
    wait_until("INFO has them", || {
        let info = stage.other.client().ask("INFO sales");
        skus.iter().all(|sku| info.contains(sku))
    });
}

#[test]
fn holders_go_from_one_cluster_to_another_in_order() {
    let stage = Stage::start();
    let (mut client, mut other) = (stage.seller.client(), stage.other.client());
    client.check("RESERVE.OPEN l:may LIMIT 300", "+OK");
    client.check("RESERVE.OPEN w:june LIMIT 300", "+OK");
    for user in 0..200 {
        client.check(&format!("RESERVE.ADD l:may user{user:03}"), "*4 $9 confirmed...");
    }
    assert_eq!(other.integer("RESERVE.MOVE l:may w:june COUNT 50"), 150);
    client.check("RESERVE.CHECK l:may user000", "*4 $5 moved...");
    client.check("RESERVE.CHECK w:june user000", "*4 $9 confirmed :1 :1 :0");
    client.check("RESERVE.CHECK l:may user199", "*4 $9 confirmed...");
    wait_until("nobody is left", || client.integer("RESERVE.MOVE l:may w:june") == 0);
    let rows = other.list("RESERVE.LIST w:june COUNT 1000");
    let users: Vec<&String> = rows.chunks_exact(5).map(|row| &row[1]).collect();
    assert!(users.len() == 200 && users.is_sorted(), "{users:?}");
    client.check("RESERVE.ADD l:may late", "-GONE...");
    client.check("RESERVE.DROP l:may", ":0");
    client.check("RESERVE.SKUS", "*1 $6 w:june");
    assert_eq!(keys_of(stage.left.client(), "l:may"), 0);
}

#[test]
fn holders_of_another_cluster_are_refused_in_words() {
    let stage = Stage::start();
    let mut client = stage.seller.client();
    client.check("RESERVE.OPEN l:{1}booking LIMIT 3", "+OK");
    client.check(
        "RESERVE.OPEN w:{1}purchase LIMIT 3 HOLDERSOF l:{1}booking",
        "-CROSSSLOT HOLDERSOF names a sale in the cluster 'left', and this one is in 'wide'...",
    );
    client.check("RESERVE.OPEN l:{1}purchase LIMIT 3 HOLDERSOF l:{1}booking", "+OK");
    client.check("RESERVE.ADD l:{1}purchase ada", "-NOTHOLDER...");
    client.check("RESERVE.ADD l:{1}booking ada", "*4 $9 confirmed :1 :2 :0");
    client.check("RESERVE.ADD l:{1}purchase ada", "*4 $9 confirmed :1 :2 :0");
}

#[test]
fn a_cluster_that_is_away_stops_no_sale_of_another() {
    let mut stage = Stage::start();
    let mut client = stage.seller.client();
    for sku in ["plain", "l:mask", "w:mask"] {
        client.check(&format!("RESERVE.OPEN {sku} LIMIT 1 HOLD 300"), "+OK");
    }
    stage.left.kill();
    client.check("RESERVE.ADD plain ada", "*4 $4 held :1 :0 ...");
    client.check("RESERVE.ADD w:mask ada", "*4 $4 held :1 :0 ...");
    client.check("RESERVE.ADD l:mask ada", "-ERR hotgate: ...");
    wait_until("holds end in those that are there", || {
        taken(&mut stage.default.client(), "plain").0 == 0
            && taken(&mut stage.wide_master_of("w:mask"), "w:mask").0 == 0
    });
    stage.other.client().check("RESERVE.SKUS", "*3 $6 l:mask $5 plain $6 w:mask");
}
