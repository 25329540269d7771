//! Asks the gateway for one frame, in the shape of an event of `/api/stream`.

use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};

use super::TopOptions;
use super::looks::Looks;

/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why there is no frame, as a sentence.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// The token is missing or wrong: asking again brings nothing.
    Refused(String),
    /// Anything else, which may pass.
    Passing(String),
}

impl Fault {
    /// The sentence.
    pub fn into_sentence(self) -> String {
        match self {
            Self::Refused(why) | Self::Passing(why) => why,
        }
    }
}

/// One frame: `{"stats": ..., "hotkeys": [...], "nodes": [...], "quotas": [...], "sales": [...], "ledger": {...}}`; no ledger is `null`.
pub async fn fetch(options: &TopOptions, _looks: &Looks) -> Result<Value, Fault> {
    let mut frame = json!({ "stats": ask(options, "stats").await? });
    for part in ["hotkeys", "nodes", "quotas", "sales", "ledger"] {
        let field = if part == "hotkeys" { "keys" } else { part };
        frame[part] = ask(options, part).await?.get_mut(field).map_or(json!([]), Value::take);
    }
    Ok(frame)
}

async fn ask(options: &TopOptions, path: &str) -> Result<Value, Fault> {
    let base = options.admin.trim_end_matches('/');
    let token = options.token.as_deref().filter(|token| !token.is_empty());
    let url = format!("{base}/api/{path}");
    let answer = options.client.exchange(Method::GET, &url, token, None, PATIENCE).await;
    let response = answer.map_err(|why| Fault::Passing(format!("hotgate at {base}: {why}")))?;
    match (response.status, token) {
        (200, _) => {}
        (401, None) => {
            let how = "give it with --token or in HOTGATE_TOKEN";
            return Err(Fault::Refused(format!("hotgate at {base} asks for its admin token: {how}")));
        }
        (401, Some(_)) => {
            let what = "what --token or HOTGATE_TOKEN gives is not its admin.token";
            return Err(Fault::Refused(format!("hotgate at {base} refuses the token: {what}")));
        }
        (status, _) => {
            return Err(Fault::Passing(format!("hotgate at {base} answered {status} to /api/{path}")));
        }
    }
    serde_json::from_slice(&response.body)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| Fault::Passing(format!("what answers at {base} is not hotgate's HTTP side")))
}
