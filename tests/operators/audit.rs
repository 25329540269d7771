//! Every change that an operator makes is noted: who, from where, what, before, after, why. Over RESP, over HTTP and by a reload.

use std::time::Duration;

use hotgate::monitor::http_client::exchange;
use hyper::Method;
use serde_json::{Value, json};

use crate::support::{Gateway, Server, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

const CONFIG: &str = "admin.token = \"sesame\"\n[[admin.bearer]]\nname = \"page\"\ntoken = \"look\"\n\
    [[admin.bearer]]\nname = \"anna\"\nmay = \"change\"\ntoken_hash = \"HASH\"\n\
    [[quota]]\nmatch = \"sku:*\"\nlimit = 9\n";

fn config(extra: &str, state: &std::path::Path) -> String {
    let config = CONFIG.replace("HASH", &sha256_of("change me"));
    format!("gateway.state_dir = \"{}\"\n{extra}{config}", state.display())
}

fn sha256_of(text: &str) -> String {
    use sha2::{Digest, Sha256};
    Sha256::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn http(
    gateway: &Gateway,
    method: Method,
    path: &str,
    token: Option<&str>,
    body: Option<Value>,
) -> (u16, Value) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = format!("http://{}{path}", gateway.admin.unwrap());
    let body = body.map(|body| body.to_string().into());
    let answer = runtime.block_on(exchange(method, &url, token, body, PATIENCE)).unwrap();
    (answer.status, serde_json::from_slice(&answer.body).unwrap_or_default())
}

fn changes(gateway: &Gateway) -> Vec<Value> {
    let (status, answer) = http(gateway, Method::GET, "/api/audit?count=100", Some("sesame"), None);
    assert_eq!(status, 200, "{answer}");
    answer["changes"].as_array().unwrap().clone()
}

#[track_caller]
fn check(entry: &Value, expected: &[(&str, &str)]) {
    for (field, value) in expected {
        assert_eq!(entry[field].as_str(), Some(*value), "{field} of {entry}");
    }
}

#[test]
fn changes_over_resp_are_noted_with_before_and_after_and_survive_a_restart() {
    let server = Server::start();
    let state = tempfile::tempdir().unwrap();
    let toml = config("", &state.path().join("door"));
    let mut gateway = Gateway::before(&server).config(&toml).start();
    let mut client = gateway.client();
    client.check("ACL SETUSER anna on >hunter2 ~sku:* +@all", "+OK");
    client.check("AUTH anna hunter2", "+OK");
    client.check("HOTGATE QUOTA SET sku:1 LIMIT 5 REASON \"half of it\"", "+limit 5");
    client.check("HOTGATE QUOTA PAUSE sku:1", "+paused");
    client.check("HOTGATE QUOTA PAUSE sku:none-such REASON x", "+paused");
    client.check("HOTGATE QUOTA SET sku:1 LIMIT -3", "-ERR...");
    client.check("ACL SETUSER anna >hunter3 -flushall", "+OK");
    client.check("ACL DELUSER nobody", ":0");
    client.check("CLIENT KILL ID 999999", ":0");
    let noted = changes(&gateway);
    check(&noted[0], &[("change", "client kill"), ("object", "ID 999999"), ("after", "0 clients closed")]);
    check(&noted[1], &[("change", "acl setuser"), ("user", "anna"), ("object", "anna")]);
    let (before, after) = (noted[1]["before"].as_str().unwrap(), noted[1]["after"].as_str().unwrap());
    assert!(before.starts_with("on") && !before.contains("flushall"), "{before}");
    assert!(after.contains("-flushall") && after.ends_with("with other passwords"), "{after}");
    check(&noted[2], &[("change", "quota set"), ("before", "limit 5, paused"), ("after", "")]);
    assert!(noted[2]["outcome"].as_str().unwrap().contains("limit is not an integer"), "{}", noted[2]);
    check(
        &noted[4],
        &[("change", "quota pause"), ("before", "limit 5"), ("after", "paused"), ("outcome", "done")],
    );
    check(&noted[5], &[("object", "sku:1"), ("before", "what is configured"), ("after", "limit 5")]);
    check(&noted[5], &[("user", "anna"), ("reason", "half of it")]);
    check(&noted[6], &[("change", "acl setuser"), ("user", "default"), ("before", "")]);
    assert!(noted[5]["address"].as_str().unwrap().starts_with("127.0.0.1:"), "{}", noted[5]);
    let shown = client.ask("HOTGATE AUDIT 7");
    assert!(shown.contains("half of it") && !shown.contains("hunter"), "{shown}");
    assert_eq!(client.list("HOTGATE AUDIT 2").iter().filter(|word| *word == "change").count(), 2);
    client.check("HOTGATE AUDIT 0", "-ERR value is not an integer from 1 to 1000");
    let log = gateway.log();
    assert!(log.contains("half of it") && !log.contains("hunter"), "{log}");
    gateway.terminate();
    assert!(gateway.wait().success());
    let again = Gateway::before(&server).config(&toml).start();
    assert_eq!(changes(&again), noted, "they survive a restart");
    again.client().check("ACL LOG RESET", "+OK");
    let more = changes(&again);
    assert_eq!(
        (more[0]["id"].as_u64(), more.len()),
        (noted[0]["id"].as_u64().map(|id| id + 1), noted.len() + 1)
    );
    let files = std::fs::read_dir(state.path().join("door")).unwrap();
    let all: Vec<String> = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    assert!(!all.concat().contains("hunter") && all.concat().contains("half of it"));
}

#[test]
fn tokens_have_names_and_those_that_may_only_read_change_nothing() {
    let server = Server::start();
    let state = tempfile::tempdir().unwrap();
    let gateway = Gateway::before(&server).config(&config("", state.path())).start();
    let pause = |token, key: &str| {
        let body = json!({ "key": key, "action": "pause", "reason": "sold by phone" });
        http(&gateway, Method::POST, "/api/quotas", token, Some(body))
    };
    for token in [None, Some("wrong"), Some("")] {
        assert_eq!(pause(token, "sku:1").0, 401);
        assert_eq!(http(&gateway, Method::GET, "/api/audit", token, None).0, 401);
    }
    for token in ["look", "sesame", "change me"] {
        assert_eq!(http(&gateway, Method::GET, "/api/quotas", Some(token), None).0, 200, "{token}");
    }
    let (status, said) = pause(Some("look"), "sku:1");
    assert_eq!(status, 403);
    assert!(said["error"].as_str().unwrap().contains("the token of page may only read"), "{said}");
    assert!(changes(&gateway).is_empty());
    assert_eq!(pause(Some("change me"), "sku:1").0, 200);
    assert_eq!(pause(Some("sesame"), "sku:2").0, 200);
    let noted = changes(&gateway);
    check(&noted[0], &[("user", "admin.token"), ("change", "quota pause"), ("object", "sku:2")]);
    check(&noted[1], &[("user", "anna"), ("object", "sku:1"), ("reason", "sold by phone")]);
    assert!(noted[1]["address"].as_str().unwrap().ends_with(" over HTTP"), "{}", noted[1]);
    assert!(!gateway.log().contains("sesame") && !gateway.log().contains("change me"));
}

#[test]
fn a_reload_is_noted_by_directive_and_no_secret_shows() {
    let server = Server::start();
    let state = tempfile::tempdir().unwrap();
    let gateway = Gateway::before(&server).config(&config("", state.path())).start();
    let changed = "gateway.clients_max = 77\nauth.password = \"hunter2\"\nlog.level = \"debug\"\n";
    let tables = "[[auth.user]]\nname = \"anna\"\nrules = \">hunter3 ~a:* +get\"\n[[quota]]\nmatch = \"tin:*\"\nlimit = 2\n";
    gateway.reload(&(config(changed, state.path()) + tables));
    wait_until("the reload is noted", || changes(&gateway).len() >= 6);
    let noted = changes(&gateway);
    let of = |path: &str| noted.iter().find(|entry| entry["object"] == path).unwrap();
    check(of("gateway.clients_max"), &[("before", "10000"), ("after", "77")]);
    // Who sent the signal: this test had `kill` send it.
    let of_signal = of("gateway.clients_max");
    let user = format!("uid {}", rustix::process::getuid().as_raw());
    assert_eq!(of_signal["user"].as_str(), Some(&user[..]), "{of_signal}");
    let process = of_signal["address"].as_str().and_then(|text| text.strip_prefix("SIGHUP from process "));
    assert!(process.is_some_and(|number| number.parse::<u32>().is_ok()), "{of_signal}");
    check(of("auth.password"), &[("after", "\"(hidden)\""), ("outcome", "done")]);
    check(of("log.level"), &[("outcome", "only a restart takes it")]);
    check(of("quota"), &[("before", ""), ("after", "{ match = \"tin:*\", limit = 2 }")]);
    let rights = "on sanitize-payload ~a:* resetchannels -@all +get";
    check(of("anna"), &[("change", "reload of a user"), ("before", ""), ("after", rights)]);
    assert!(of("default")["after"].as_str().unwrap().ends_with("with other passwords"), "{}", of("default"));
    assert!(!gateway.log().contains("hunter"));
}

#[test]
fn keys_are_hashed_where_that_is_asked_for() {
    let server = Server::start();
    let state = tempfile::tempdir().unwrap();
    let toml = config("admin.hash_key_names = true\n", state.path());
    let gateway = Gateway::before(&server).config(&toml).start();
    let mut client = gateway.client();
    client.check("HOTGATE QUOTA PAUSE sku:private", "+paused");
    client.check("RESERVE.OPEN sku:private LIMIT 5", "+OK");
    client.check("RESERVE.CLOSE sku:private", "+OK");
    client.check("HOTGATE QUOTA RESUME sku:private", "+resumed");
    let noted = changes(&gateway);
    let changes: Vec<&str> = noted.iter().filter_map(|entry| entry["change"].as_str()).collect();
    assert_eq!(changes, ["quota resume", "reserve.close", "reserve.open", "quota pause"]);
    assert!(noted.iter().all(|entry| entry["object"].as_str().unwrap().starts_with("h:")), "{noted:?}");
    let log = gateway.log();
    assert!(!log.contains("sku:private"), "{log}");
}
