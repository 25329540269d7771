//! The HTTP side from outside: who may ask what, what the answers look like, and what its bounds do.

use std::sync::Arc;
use std::time::Duration;

use crate::made_up::{OPENS_S, Sale, Served, Stage};
use hotgate::monitor::http_client::{Response, exchange};
use hotgate::monitor::view::Readiness;
use hyper::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PATIENCE: Duration = Duration::from_secs(20);

async fn sale(token: Option<&'static str>) -> Served {
    let stage = Arc::new(Stage::default());
    let mut sale = Sale::new(stage.clone());
    let mut served = Served::start(stage, token).await;
    for tick in 0..80 {
        sale.play(OPENS_S + f64::from(tick) * 0.25);
        served.tick();
    }
    served
}

async fn get(served: &Served, path: &str, token: Option<&str>) -> Response {
    exchange(Method::GET, &format!("{}{path}", served.url), token, None, PATIENCE).await.unwrap()
}

async fn post(served: &Served, body: &str, token: Option<&str>) -> Response {
    let body = Some(body.to_owned().into());
    exchange(Method::POST, &format!("{}/api/quotas", served.url), token, body, PATIENCE).await.unwrap()
}

fn parsed(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap()
}

async fn connect(served: &Served) -> TcpStream {
    TcpStream::connect(served.url.strip_prefix("http://").unwrap()).await.unwrap()
}

/// Sends bytes as they are and reads until `wanted` arrived or the connection ended.
async fn raw(served: &Served, request: &str, wanted: &str) -> String {
    let mut stream = connect(served).await;
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut seen = Vec::new();
    let mut buffer = [0; 4096];
    let reading = async {
        while !String::from_utf8_lossy(&seen).contains(wanted) {
            match stream.read(&mut buffer).await {
                Ok(0) | Err(_) => break,
                Ok(count) => seen.extend_from_slice(&buffer[..count]),
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an answer or an end in time");
    String::from_utf8_lossy(&seen).into_owned()
}

#[tokio::test]
async fn the_token_opens_what_it_should_and_nothing_else_does() {
    let served = sale(Some("sesame")).await;
    for (path, open) in [
        ("/", true),
        ("/dashboard.js", true),
        ("/healthz", true),
        ("/readyz", true),
        ("/metrics", false),
        ("/api/stats", false),
        ("/api/hotkeys", false),
        ("/api/nodes", false),
        ("/api/quotas", false),
        ("/api/clients", false),
        ("/api/history", false),
        ("/api/caller", false),
        ("/api/key?key=x", false),
        ("/wall", true),
        ("/api/stream", false),
    ] {
        for token in [None, Some("sesam"), Some("sesame1"), Some("")] {
            let expect = if open { 200 } else { 401 };
            assert_eq!(get(&served, path, token).await.status, expect, "{path} with {token:?}");
        }
        if path != "/api/stream" {
            assert_eq!(get(&served, path, Some("sesame")).await.status, 200, "{path}");
        }
    }
}

#[tokio::test]
async fn answers_have_their_shape() {
    let served = sale(None).await;
    let stats = parsed(&get(&served, "/api/stats?history=1", None).await);
    assert!(stats["now"]["requests_per_s"].as_f64().unwrap() > 50_000.0);
    assert!(stats["status"]["sentence"].as_str().unwrap().starts_with("sku:{8421}:reserved takes"));
    assert!(stats["history"]["p99_us"].as_array().unwrap().len() > 10);
    assert!(parsed(&get(&served, "/api/stats", None).await)["history"].is_null());
    let hot = parsed(&get(&served, "/api/hotkeys", None).await);
    let sku = &hot["keys"][0];
    assert_eq!((sku["key"].as_str(), sku["class"].as_str()), (Some("sku:{8421}:reserved"), Some("counter")));
    let (offered, flushed) = (sku["offered_per_s"].as_f64().unwrap(), sku["flushed_per_s"].as_f64().unwrap());
    assert!(flushed > 0.0 && flushed < offered / 50.0, "{offered} -> {flushed}");
    assert!(sku["node"].as_str().unwrap().starts_with("10.0.3."));
    let nodes = parsed(&get(&served, "/api/nodes", None).await);
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 6);
    let shares: f64 =
        nodes["nodes"].as_array().unwrap().iter().map(|node| node["share"].as_f64().unwrap()).sum();
    assert!((shares - 1.0).abs() < 0.01, "{shares}");
    let clients = parsed(&get(&served, "/api/clients", None).await);
    assert_eq!(
        (clients["clients"].as_array().unwrap().len(), clients["connected"].as_u64()),
        (40, Some(412))
    );
    let quotas = parsed(&get(&served, "/api/quotas", None).await);
    assert!(quotas["quotas"][0]["sold_out_in_s"].as_f64().unwrap() > 1.0);
    assert_eq!(get(&served, "/nonsense", None).await.status, 404);
}

#[tokio::test]
async fn readiness_follows_at_once() {
    let served = sale(None).await;
    assert_eq!(get(&served, "/readyz", None).await.status, 200);
    for readiness in [Readiness::Draining, Readiness::UpstreamUnreachable { why: "refused".into() }] {
        *served.stage.readiness.lock().unwrap() = readiness;
        assert_eq!(get(&served, "/readyz", None).await.status, 503);
        assert_eq!(get(&served, "/healthz", None).await.status, 200);
    }
    assert_eq!(
        parsed(&get(&served, "/readyz", None).await),
        json!({ "state": "upstream_unreachable", "why": "refused" })
    );
}

#[tokio::test]
async fn a_foreign_host_name_is_refused_on_loopback() {
    let served = sale(None).await;
    for (host, expect) in
        [("evil.example", "403"), ("localhost:9380", "200"), ("127.0.0.1", "200"), ("[::1]", "200")]
    {
        let request = format!("GET /api/stats HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = raw(&served, &request, "\r\n\r\n").await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {expect}")), "{host}: {answer}");
    }
}

#[tokio::test]
async fn browsers_are_told_to_load_nothing_from_elsewhere() {
    let served = sale(None).await;
    let answer =
        raw(&served, "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "</html>").await;
    for expect in
        ["default-src 'none'", "frame-ancestors 'none'", "x-content-type-options: nosniff", "no-store"]
    {
        assert!(answer.contains(expect), "{expect} in {answer}");
    }
    let page = String::from_utf8(get(&served, "/", None).await.body.to_vec()).unwrap();
    assert!(page.ends_with("</html>\n") && page.matches("<main").count() == 1, "the page is whole");
    for (file, _, _) in hotgate::monitor::http::FILES {
        let text = String::from_utf8(get(&served, file, None).await.body.to_vec()).unwrap();
        let foreign = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!foreign.contains("http://") && !foreign.contains("https://"), "{file} names another host");
        assert!(
            !text.contains("innerHTML") && !text.contains("insertAdjacentHTML"),
            "{file} makes markup of data"
        );
    }
}

#[tokio::test]
async fn quotas_change_with_the_token_only() {
    let open = sale(None).await;
    let refused = post(&open, "{}", None).await;
    assert_eq!(refused.status, 403, "without a configured token nobody may change anything");

    let served = sale(Some("sesame")).await;
    let body = |action: Value| json!({ "key": "sku:{8421}:reserved", "action": action }).to_string();
    assert_eq!(post(&served, &body(json!("pause")), None).await.status, 401);
    assert_eq!(post(&served, &body(json!("pause")), Some("sesame")).await.status, 200);
    assert!(served.stage.quotas.lock().unwrap()[0].paused);
    let limit = json!({ "key": "sku:{8421}:reserved", "action": "limit", "limit": 5 }).to_string();
    assert_eq!(post(&served, &limit, Some("sesame")).await.status, 200);
    assert_eq!(served.stage.quotas.lock().unwrap()[0].limit, Some(5));

    let unknown = json!({ "key": "other", "action": "pause" }).to_string();
    let answer = post(&served, &unknown, Some("sesame")).await;
    assert_eq!((answer.status, parsed(&answer)["error"].as_str()), (409, Some("no quota holds this key")));
    for bad in [
        "",
        "{",
        "[]",
        r#"{"key":"k","action":"explode"}"#,
        r#"{"key":"k","action":"limit"}"#,
        r#"{"key":"k","action":"limit","limit":-1}"#,
        r#"{"key":"k","action":"limit","limit":1e30}"#,
        r#"{"key":"k","action":"pause","limit":3}"#,
        r#"{"key":"\\q","action":"pause"}"#,
        r#"{"key":"k","action":"pause","more":1}"#,
    ] {
        let answer = post(&served, bad, Some("sesame")).await;
        assert!(
            (400..=422).contains(&answer.status) && parsed(&answer)["error"].is_string(),
            "{bad}: {answer:?}"
        );
    }
    assert_eq!(served.stage.quotas.lock().unwrap()[0].limit, Some(5), "bad input changes nothing");
}

#[tokio::test]
async fn the_stream_brings_frames_and_streams_are_bounded() {
    let served = sale(None).await;
    let request = "GET /api/stream HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let answer = raw(&served, request, "\n\n").await;
    let frame = answer.lines().find_map(|line| line.strip_prefix("data: ")).expect("an event");
    let frame: Value = serde_json::from_str(frame).unwrap();
    assert_eq!(frame["hotkeys"][0]["key"], "sku:{8421}:reserved");
    let mut open = Vec::new();
    let refused = loop {
        let mut stream = connect(&served).await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.unwrap();
        if head.ends_with(b"503") {
            break open.len();
        }
        open.push(stream);
        assert!(open.len() < 100, "streams have no bound");
    };
    assert!(refused >= 15, "only {refused} streams were allowed");
    assert_eq!(get(&served, "/healthz", None).await.status, 200, "streams do not take others' place");
}

#[tokio::test]
async fn connections_are_bounded_and_one_gives_way_to_the_next() {
    let served = sale(None).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        let mut stream = connect(&served).await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        let mut head = [0; 12];
        stream.read_exact(&mut head).await.expect("the next one is always heard");
        held.push(stream);
    }
    let mut open = 0;
    for stream in &mut held {
        let mut rest = [0; 4096];
        let more = async { while !matches!(stream.read(&mut rest).await, Ok(0) | Err(_)) {} };
        open += usize::from(tokio::time::timeout(Duration::from_millis(20), more).await.is_err());
    }
    assert_eq!(open, 64, "one address has half of the 128 that may wait");
}

#[tokio::test]
async fn a_flood_of_requests_is_turned_away_cheaply() {
    let served = sale(None).await;
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n").repeat(600);
    let answer = raw(&served, &request("/nowhere"), "HTTP/1.1 429").await;
    assert!(answer.contains("HTTP/1.1 429"), "600 requests at once were all served");
    let last = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    let answer = raw(&served, &format!("{}{last}", request("/healthz")), "connection: close").await;
    assert!(!answer.contains("HTTP/1.1 429"), "probes are always answered");
}
