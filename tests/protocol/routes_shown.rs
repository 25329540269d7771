//! An operator is told where a key lives, and by which route, as it is.

use serde_json::Value;

use super::routes::Clusters;
use crate::support::{BOTH_VERSIONS, Client};

#[test]
fn the_place_that_is_told_is_where_the_key_is() {
    let clusters = Clusters::start("");
    for version in BOTH_VERSIONS {
        let mut client = Client::speaking(clusters.gateway.address, version);
        for (key, route) in [
            ("plain", "$-1"),
            ("w:1", "$3 w:*"),
            ("t:1:x", "$5 t:*:*"),
            ("t:2:x", "$5 t:*:*"),
            ("t:3:x", "$5 t:*:*"),
        ] {
            client.check(&format!("SET {key} v"), "+OK");
            let told = client.ask(&format!("HOTGATE ROUTE GET {key}"));
            let place = clusters.where_is(key);
            assert!(told.contains(&format!("$7 cluster ${} {}", place[0].len(), place[0])), "{key}: {told}");
            assert!(told.contains("127.0.0.1:"), "{key}: {told}");
            let route = if route == "$-1" && told.starts_with('%') { "_" } else { route };
            assert!(told.contains(&format!("$5 route {route}")), "{key}: {told}");
        }
    }
    let mut client = clusters.gateway.client();
    let told = client.ask("HOTGATE ROUTE LIST");
    assert!(told.starts_with("*2 ") && told.find("w:*") < told.find("t:*:*"), "{told}");
    client.check("HOTGATE ROUTE SET t:1:x", "-ERR HOTGATE ROUTE takes LIST or GET");
    let told: Value = serde_json::from_str(&clusters.gateway.get("/api/routes").1).unwrap();
    let names: Vec<&str> =
        told["clusters"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["default", "wide", "left", "right"]);
    assert_eq!(told["clusters"][1]["masters"].as_array().unwrap().len(), 3);
    assert_eq!(told["routes"][1]["by"], "$1");
}
