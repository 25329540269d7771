//! `/api/clients`: who does most over all workers, who is where, and the end of one's connection by who may.

use std::time::Duration;

use hotgate::monitor::http_client::exchange;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Client, Gateway, Server, wait_for, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

fn http(gateway: &Gateway, method: Method, path: &str, token: &str, body: Option<Value>) -> (u16, Value) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("http://{}{path}", gateway.admin.unwrap());
    let body = body.map(|body| body.to_string().into());
    let answer = runtime.block_on(exchange(method, &url, Some(token), body, PATIENCE)).unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

fn listed(gateway: &Gateway, query: &str) -> Value {
    let (status, answer) = http(gateway, Method::GET, &format!("/api/clients?{query}"), "look", None);
    assert_eq!(status, 200, "{answer}");
    answer
}

fn names(answer: &Value) -> Vec<String> {
    let rows = answer["clients"].as_array().unwrap();
    rows.iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

/// Six clients, of which each does more of everything than the one before it.
fn start(server: &Server) -> (Gateway, Vec<Client>) {
    let config = "slowlog.slower_than = \"1us\"\nadmin.token = \"sesame\"\n\
        [[admin.bearer]]\nname = \"page\"\ntoken = \"look\"\n";
    let gateway = Gateway::of_two_workers(server, config);
    let client = |number: usize| {
        let mut client = gateway.client();
        client.check(&format!("CLIENT SETNAME Shop-{number}"), "+OK");
        for _ in 0..3 * number {
            client.check("GET app:none", "$-1");
            client.check("INCR app:none x", "-ERR ...");
            client.check("LPUSH app:list x", ":...");
        }
        client
    };
    let clients = (0..6).map(client).collect();
    (gateway, clients)
}

#[test]
fn clients_are_ranked_over_all_workers_and_found() {
    let server = Server::start();
    let (gateway, _clients) = start(&server);
    for sort in ["requests", "bytes", "errors", "slow"] {
        let answer = listed(&gateway, &format!("sort={sort}&limit=3"));
        assert_eq!(names(&answer), ["Shop-5", "Shop-4", "Shop-3"], "{sort}: {answer}");
        assert_eq!((&answer["found"], &answer["sort"]), (&6.into(), &sort.into()));
    }
    assert_eq!(names(&listed(&gateway, "")).len(), 6);
    let found = listed(&gateway, "search=shop-4");
    assert_eq!((names(&found), &found["found"]), (vec!["Shop-4".to_owned()], &1.into()));
    assert_eq!(found["clients"][0]["errors"], 12);
    assert_eq!(listed(&gateway, "search=nobody")["found"], 0);
    assert_eq!(http(&gateway, Method::GET, "/api/clients?sort=looks", "look", None).0, 400);
}

#[test]
fn who_may_change_ends_a_connection_and_it_is_noted() {
    let server = Server::start();
    let (gateway, mut clients) = start(&server);
    let id = clients[3].integer("CLIENT ID");
    let body = json!({ "action": "kill", "id": id, "reason": "it floods" });
    assert_eq!(http(&gateway, Method::POST, "/api/clients", "look", Some(body.clone())).0, 403);
    let wrong = json!({ "action": "hug", "id": id });
    assert_eq!(http(&gateway, Method::POST, "/api/clients", "sesame", Some(wrong)).0, 400);
    clients[3].check("PING", "+PONG");
    let (status, answer) = http(&gateway, Method::POST, "/api/clients", "sesame", Some(body.clone()));
    assert_eq!(status, 200, "{answer}");
    wait_until("it is closed", || {
        clients[3].try_send(b"PING\r\n").is_err() || clients[3].try_reply().is_err()
    });
    clients[2].check("PING", "+PONG");
    assert_eq!(http(&gateway, Method::POST, "/api/clients", "sesame", Some(body)).0, 404);
    let noted = wait_for("it is noted", || {
        let (_, answer) = http(&gateway, Method::GET, "/api/audit?count=10", "look", None);
        answer["changes"].as_array().unwrap().iter().find(|entry| entry["reason"] == "it floods").cloned()
    });
    assert_eq!((&noted["change"], &noted["object"]), (&"client kill".into(), &format!("ID {id}").into()));
}
