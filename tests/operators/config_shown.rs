//! `/api/config`: the configuration in force, where each value comes from, how many keys each rule and quota holds, what waits for a restart.

use serde_json::Value;

use crate::support::{Gateway, Server, wait_for, wait_until};

const CONFIG: &str = "detect.top_k = 50\ndetect.enter_rate = 1\ndetect.leave_rate = 1\nupstream.password = \"hunter2\"\n\
    [[rule]]\nmatch = \"hot:*\"\nmode = \"combine\"\n[[quota]]\nmatch = \"none:*\"\nlimit = 1\n[[quota]]\nmatch = \"sku:*\"\nlimit = 9\n";

fn shown(gateway: &Gateway) -> Value {
    let (status, body) = gateway.get("/api/config");
    assert_eq!(status, 200, "{body}");
    assert!(!body.contains("hunter2"), "{body}");
    serde_json::from_str(&body).unwrap()
}

fn directive(shown: &Value, path: &str) -> Value {
    let all = shown["directives"].as_array().unwrap();
    all.iter().find(|row| row["path"] == path).unwrap_or_else(|| panic!("{path} is not shown")).clone()
}

fn tables(shown: &Value, kind: &str) -> Vec<Value> {
    shown["tables"].as_array().unwrap().iter().filter(|row| row["kind"] == kind).cloned().collect()
}

#[test]
fn each_value_tells_where_it_comes_from_and_each_table_what_it_holds() {
    let server = Server::with(&["--requirepass", "hunter2"]);
    let gateway = Gateway::before(&server).config(CONFIG).start();
    let mut client = gateway.client();
    for number in 0..3 {
        client.check(&format!("INCR sku:{number}"), ":1");
    }
    let told = shown(&gateway);
    let top_k = directive(&told, "detect.top_k");
    assert_eq!(
        (&top_k["value"], &top_k["from"], &top_k["default"]),
        (&"50".into(), &"file".into(), &"128".into())
    );
    assert!(top_k["line"].as_u64().is_some_and(|line| line > 0), "{top_k}");
    let hold = directive(&told, "detect.hold");
    assert_eq!(
        (&hold["from"], &hold["line"], &hold["is_default"]),
        (&"default".into(), &Value::Null, &true.into())
    );
    assert_eq!(directive(&told, "upstream.password")["from"], "file");
    wait_until("the quota's counters are known", || {
        tables(&shown(&gateway), "quota").iter().map(|row| row["keys"].as_u64().unwrap()).eq([0, 3])
    });
    let rule = wait_for("the rule holds a hot key", || {
        client.ask("INCR hot:k");
        tables(&shown(&gateway), "rule").into_iter().find(|row| row["hot_keys"] == 1)
    });
    assert!(rule["text"].as_str().unwrap().contains("hot:*") && rule["line"].is_u64(), "{rule}");
}

#[test]
fn what_waits_for_a_restart_is_told_with_the_value_in_force() {
    let server = Server::with(&["--requirepass", "hunter2"]);
    let gateway = Gateway::before(&server).config(CONFIG).start();
    assert_eq!(shown(&gateway)["restart_needed"], serde_json::json!([]));
    let changed = CONFIG
        .replace("top_k = 50", "top_k = 60")
        .replace("detect.enter_rate", "detect.window = \"500ms\"\ndetect.enter_rate");
    gateway.reload(&changed);
    wait_until("the reload is taken", || directive(&shown(&gateway), "detect.top_k")["value"] == "60");
    let told = shown(&gateway);
    assert_eq!(told["restart_needed"], serde_json::json!(["detect.window"]));
    let window = directive(&told, "detect.window");
    assert_eq!((&window["value"], &window["waits_for_restart"]), (&"\"1s\"".into(), &true.into()));
    gateway.reload(&changed.replace("top_k = 60", "top_k = 0"));
    wait_until("the refusal is told", || !shown(&gateway)["refused"].as_array().unwrap().is_empty());
    assert_eq!(directive(&shown(&gateway), "detect.top_k")["value"], "60");
}
