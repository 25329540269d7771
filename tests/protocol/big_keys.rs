//! `HOTGATE BIGKEYS`, `/api/bigkeys` and `hotgate_big_keys`: keys that showed themselves big in what passed.

use serde_json::Value;

use crate::support::{BOTH_VERSIONS, Client, Gateway, Server, wait_for, wait_until};

/// Over 2 MiB.
const LONG: usize = (2 << 20) + 100;

fn big_keys(gateway: &Gateway) -> Vec<Value> {
    let (status, body) = gateway.get("/api/bigkeys?count=200");
    assert_eq!(status, 200, "{body}");
    serde_json::from_str::<Value>(&body).unwrap()["keys"].as_array().unwrap().clone()
}

fn known(gateway: &Gateway, key: &str) -> Option<Value> {
    big_keys(gateway).into_iter().find(|row| row["key"] == key)
}

fn push(client: &mut Client, key: &str, elements: usize) {
    let words: Vec<String> = (0..elements).map(|number| number.to_string()).collect();
    let request: Vec<&str> = ["RPUSH", key].into_iter().chain(words.iter().map(String::as_str)).collect();
    assert_eq!(client.call(&request)[0], b':');
}

#[test]
fn a_key_is_known_by_its_bytes_and_by_its_elements() {
    let server = Server::start();
    let gateway = Gateway::of_two_workers(&server, "");
    let mut client = gateway.client();
    client.call(&["SET", "big:request", &"v".repeat(LONG)]);
    server.client().call(&["SET", "big:reply", &"v".repeat(LONG)]);
    client.call(&["GET", "big:reply"]);
    push(&mut client, "list:5001", 5001);
    push(&mut client, "list:5000", 5000);
    for key in ["list:5001", "list:5000"] {
        client.call(&["LRANGE", key, "0", "-1"]);
    }
    client.check("GET small", "$-1");
    let row = wait_for("the list is known", || known(&gateway, "list:5001"));
    assert_eq!(
        (&row["elements"], &row["command"], &row["cluster"]),
        (&5001.into(), &"lrange".into(), &"default".into())
    );
    let row = known(&gateway, "big:request").unwrap();
    assert!(row["request_bytes"].as_u64().unwrap() > LONG as u64 && row["command"] == "set", "{row}");
    let row = known(&gateway, "big:reply").unwrap();
    assert!(row["reply_bytes"].as_u64().unwrap() > LONG as u64 && row["request_bytes"] == 0, "{row}");
    assert_eq!(big_keys(&gateway).len(), 3, "no other");
    let shown = client.list("HOTGATE BIGKEYS 2");
    assert_eq!(shown.iter().filter(|word| *word == "key").count(), 2, "{shown:?}");
    client.check("HOTGATE BIGKEYS 0", "-ERR value is not an integer from 1 to 1000");
    let metrics = gateway.get("/metrics").1;
    assert!(metrics.contains("hotgate_big_keys{cluster=\"default\"} 3\n"), "{metrics}");
    // Who may not read every key is not shown which there are.
    client.check("ACL SETUSER some reset on >pw ~app:* +@all", "+OK");
    let mut some = gateway.client();
    some.check("AUTH some pw", "+OK");
    some.check("HOTGATE BIGKEYS", "-NOPERM ...");
}

/// In RESP2 a hash lists its values beside its fields, and members their scores.
#[test]
fn elements_are_counted_alike_in_both_versions() {
    let server = Server::start();
    let gateway = Gateway::before_server(&server);
    let mut direct = server.client();
    for (command, key, elements) in
        [("HSET", "h", 3000), ("ZADD", "z", 3000), ("HSET", "hh", 5001), ("ZADD", "zz", 5001)]
    {
        let words: Vec<String> = (0..2 * elements).map(|number| number.to_string()).collect();
        let request: Vec<&str> = [command, key].into_iter().chain(words.iter().map(String::as_str)).collect();
        assert_eq!(direct.call(&request)[0], b':');
    }
    for version in BOTH_VERSIONS {
        let mut client = gateway.speaking(version);
        for key in ["h", "hh"] {
            client.call(&["HGETALL", key]);
        }
        for key in ["z", "zz"] {
            client.call(&["ZRANGE", key, "0", "-1", "WITHSCORES"]);
        }
        // As many as were asked for, whatever the key holds.
        let fields: Vec<String> = (0..6000).map(|number| number.to_string()).collect();
        let request: Vec<&str> =
            ["HMGET", "h"].into_iter().chain(fields.iter().map(String::as_str)).collect();
        client.call(&request);
    }
    wait_until("both are known from both versions", || {
        ["hh", "zz"]
            .iter()
            .all(|key| known(&gateway, key).is_some_and(|row| row["seen"] == 2 && row["elements"] == 5001))
    });
    assert_eq!(big_keys(&gateway).len(), 2, "{:?}", big_keys(&gateway));
}
