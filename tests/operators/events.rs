//! What happened is told: of nodes, masters, keys, reloads, quotas, clients, starts and stops. Over RESP, over HTTP and by the webhook;
//! after a restart as well.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use crate::support::{Cluster, Gateway, Server, wait_until};

fn events(gateway: &Gateway) -> Vec<Value> {
    let (status, answer) = gateway.get_with_token("/api/events?count=1000", "sesame");
    assert_eq!(status, 200, "{answer}");
    serde_json::from_str::<Value>(&answer).unwrap()["events"].as_array().unwrap().clone()
}

/// The latest of a kind.
fn of(gateway: &Gateway, kind: &str) -> Option<Value> {
    events(gateway).into_iter().find(|event| event["kind"] == kind)
}

#[track_caller]
fn wait_for(gateway: &Gateway, kind: &str) -> Value {
    wait_until(&format!("an event: {kind}"), || of(gateway, kind).is_some());
    of(gateway, kind).unwrap()
}

/// Takes what is posted, and answers that it is well.
fn receiver() -> (String, Arc<Mutex<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(String::new()));
    let all = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, all) = (stream.unwrap(), Arc::clone(&all));
            std::thread::spawn(move || {
                let mut bytes = [0; 16 * 1024];
                while let Ok(count @ 1..) = stream.read(&mut bytes) {
                    let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
                    let is_whole = text.contains('{');
                    all.lock().unwrap().push_str(&text);
                    if is_whole && stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").is_err() {
                        return;
                    }
                }
            });
        }
    });
    (url, heard)
}

#[test]
fn what_happens_is_told_over_resp_http_and_the_webhook_and_survives_a_restart() {
    let mut server = Server::start();
    let state = tempfile::tempdir().unwrap();
    let (url, heard) = receiver();
    let toml = format!(
        "gateway.state_dir = {:?}\nadmin.token = \"sesame\"\nadmin.webhook_url = \"{url}\"\n[[quota]]\nmatch = \"sku:*\"\nlimit = 9\n",
        state.path()
    );
    let mut gateway = Gateway::before(&server).config(&toml).start();
    let mut client = gateway.client();
    assert!(wait_for(&gateway, "started")["text"].as_str().unwrap().starts_with("hotgate "));
    client.check("HOTGATE QUOTA PAUSE sku:1 REASON x", "+paused");
    let paused = wait_for(&gateway, "quota_changed");
    assert_eq!((paused["subject"].as_str(), paused["text"].as_str()), (Some("sku:1"), Some("paused")));
    assert!(paused["by"].as_str().unwrap().starts_with("127.0.0.1:"), "{paused}");
    gateway.reload(&format!("gateway.clients_max = 77\n{toml}"));
    let reloaded = wait_for(&gateway, "reloaded");
    assert_eq!(reloaded["text"], "gateway.clients_max");
    assert!(reloaded["by"].as_str().unwrap().contains("SIGHUP"), "{reloaded}");
    gateway.reload(&format!("gateway.clients_max = \"many\"\n{toml}"));
    assert!(wait_for(&gateway, "reload_refused")["text"].as_str().unwrap().contains("clients_max"));
    let node = server.address().to_string();
    server.kill();
    assert_eq!(wait_for(&gateway, "node_down")["subject"], node);
    server.restart();
    assert_eq!(wait_for(&gateway, "node_up")["subject"], node);
    let shown = client.ask("HOTGATE EVENTS");
    assert!(shown.contains("node_down") && shown.contains(&node), "{shown}");
    assert_eq!(client.list("HOTGATE EVENTS 2").iter().filter(|word| *word == "kind").count(), 2);
    client.check("HOTGATE EVENTS 0", "-ERR value is not an integer from 1 to 1000");
    wait_until("it is counted", || {
        let metrics = gateway.get_with_token("/metrics", "sesame").1;
        metrics.contains("hotgate_events_total{kind=\"node_up\"} 1")
    });
    wait_until("the webhook has heard of it", || {
        let heard = heard.lock().unwrap();
        heard.contains("\"event\":\"node_up\"") && heard.contains("\"event\":\"quota_changed\"")
    });
    let noted = events(&gateway);
    gateway.terminate();
    assert!(gateway.wait().success());
    let again = Gateway::before(&server).config(&toml).start();
    wait_for(&again, "started");
    let after = events(&again);
    let stopped = after.iter().position(|event| event["kind"] == "stopped").unwrap();
    assert_eq!(after[stopped]["text"], "it was told to end");
    assert_eq!(after[stopped + 1..], noted[..], "they survive a restart");
}

#[test]
fn a_master_that_is_replaced_is_told_once() {
    let cluster = Cluster::start();
    let gateway = Gateway::before(&cluster).config("admin.token = \"sesame\"\n").start();
    gateway.client().check("SET k v", "+OK");
    let former = cluster.port(cluster.master_of("k"));
    cluster.fail_over("k");
    let told = wait_for(&gateway, "failover");
    let now = cluster.port(cluster.master_of("k"));
    assert_eq!(told["subject"], format!("127.0.0.1:{now}"));
    assert_eq!(told["text"], format!("it has taken the place of 127.0.0.1:{former}"));
    assert_eq!(of(&gateway, "slots_moved"), None);
}

#[test]
fn clients_that_are_turned_away_are_counted_in_one_event() {
    let server = Server::start();
    let gateway =
        Gateway::before(&server).config("gateway.clients_max = 1\nadmin.token = \"sesame\"\n").start();
    let mut first = gateway.client();
    first.check("PING", "+PONG");
    let mut refused = 0;
    wait_until("it is told of", || {
        let address = gateway.address;
        refused += 1;
        let mut second = std::net::TcpStream::connect(address).unwrap();
        let mut said = String::new();
        let _ = second.read_to_string(&mut said);
        of(&gateway, "clients_refused").is_some_and(|event| event["times"].as_u64() >= Some(2))
    });
    let told: Vec<Value> =
        events(&gateway).into_iter().filter(|event| event["kind"] == "clients_refused").collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["text"], "connections of clients turned away: max clients");
}

#[test]
fn hot_keys_are_told_by_their_hash_where_that_is_asked_for() {
    let server = Server::start();
    for (hashed, shown) in [(true, "h:"), (false, "private")] {
        let toml = format!(
            "admin.token = \"sesame\"\nadmin.hash_key_names = {hashed}\n[detect]\nenter_rate = 10\nenter_share = 0.0\nleave_rate = 5\nleave_share = 0.0\n"
        );
        let gateway = Gateway::before(&server).config(&toml).start();
        let mut client = gateway.client();
        wait_until("the key is hot", || {
            client.ask("GET private");
            of(&gateway, "hot").is_some()
        });
        let told = of(&gateway, "hot").unwrap();
        assert!(told["subject"].as_str().unwrap().starts_with(shown), "{told}");
        assert!(told["text"].as_str().unwrap().contains("/s, "), "{told}");
    }
}
