//! A sale shows at every gateway, also at one through which nobody has used it: on the page's stream, at `/api/sales`, in INFO and in `hotgate top`;
//! and it goes everywhere when it is dropped.

use std::process::Command;

use serde_json::Value;

use crate::support::{Cluster, Gateway, wait_for, wait_until};

/// The sales of `/api/sales`; none where the answer is that too much is asked.
fn sales(gateway: &Gateway) -> Option<Vec<Value>> {
    let (status, body) = gateway.get("/api/sales");
    let answer: Value = serde_json::from_str(&body).unwrap();
    (status == 200).then(|| answer["sales"].as_array().unwrap().clone())
}

/// How many places of a sale are taken, where it shows.
fn taken(gateway: &Gateway, sku: &str) -> Option<i64> {
    sales(gateway)?.iter().find(|sale| sale["key"] == sku)?["taken"].as_i64()
}

#[test]
fn a_sale_shows_where_nobody_used_it() {
    let cluster = Cluster::start();
    let admin = "[admin]\nlisten = '127.0.0.1:0'\n";
    let (seller, other) =
        (Gateway::of_two_workers(&cluster, admin), Gateway::of_two_workers(&cluster, admin));
    let mut client = seller.client();
    client.check("RESERVE.OPEN mask LIMIT 3", "+OK");
    client.check("RESERVE.OPEN gloves LIMIT 100 HOLD 600000", "+OK");
    client.check("RESERVE.ADD mask ada", "*4 $9 confirmed :1 :2 :0");
    wait_until("both show at the other gateway", || {
        taken(&other, "mask") == Some(1) && taken(&other, "gloves") == Some(0)
    });
    client.check("RESERVE.ADD mask bob", "*4 $9 confirmed :2 :1 :0");
    client.check("RESERVE.ADD mask cyd", "*4 $9 confirmed :3 :0 :0");
    client.check("RESERVE.ADD gloves ada", "*4 $4 held...");
    wait_until("what is sold elsewhere shows", || taken(&other, "mask") == Some(3));
    let mask = wait_for("it is told", || sales(&other)?.into_iter().find(|sale| sale["key"] == "mask"));
    assert_eq!((&mask["state"], &mask["limit"]), (&Value::from("soldout"), &Value::from(3)));

    wait_until("INFO tells of them", || {
        let info = other.client().ask("INFO sales");
        info.contains("state=soldout,limit=3,taken=3,held=0,confirmed=3")
            && info.contains("taken=1,held=1,confirmed=0")
    });
    let top = Command::new(env!("CARGO_BIN_EXE_hotgate"))
        .args(["top", "--once", "--admin", &format!("http://{}", other.admin.unwrap())])
        .output()
        .unwrap();
    let screen = String::from_utf8_lossy(&top.stdout);
    assert!(screen.contains("mask") && screen.contains("sold out"), "{screen}");
    // Each sale has one row in the metrics of all gateways: where it is used.
    assert!(!other.get("/metrics").1.contains("sku=\"mask\""));
    assert!(seller.get("/metrics").1.contains("hotgate_sale_taken{sku=\"mask\"} 3"));

    // What its customers do at this gateway counts as well, and as fast.
    other.client().check("RESERVE.CANCEL mask bob", "*4 $9 cancelled :2 :0 :0");
    wait_until("it is told here", || taken(&other, "mask") == Some(2));
    wait_until("and there", || taken(&seller, "mask") == Some(2));

    client.check("RESERVE.CLOSE gloves", "+OK");
    client.check("RESERVE.DROP gloves", ":0");
    wait_until("a sale that is gone goes", || {
        sales(&other).is_some_and(|sales| sales.iter().all(|sale| sale["key"] != "gloves"))
    });
}
