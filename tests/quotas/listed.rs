//! What the HTTP side lists of counters under a quota.

use crate::support::{Gateway, wait_for};
use serde_json::Value;

/// What the API answers. Asked too often, it says so: then it is asked again.
pub fn api(gateway: &Gateway, path: &str) -> Value {
    let (code, text) = wait_for("an answer", || Some(gateway.get(path)).filter(|(code, _)| *code != 429));
    assert_eq!(code, 200, "{path}: {text}");
    serde_json::from_str(&text).unwrap()
}

/// The row of a key, if the list has one.
pub fn row(gateway: &Gateway, key: &str) -> Option<Value> {
    let list = api(gateway, &format!("/api/quotas?search={}&count=1000", key.replace(':', "%3A")));
    list["quotas"].as_array().unwrap().iter().find(|row| row["key"] == key).cloned()
}
