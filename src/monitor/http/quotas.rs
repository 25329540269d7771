//! `POST /api/quotas`: an operator's change, handed to the control thread's registry.
//!
//! It needs the token, and a token must be configured: without one everyone who reaches the port would be an
//! operator. A browser sends no bearer token by itself, so that a foreign page can't make changes in an
//! operator's name.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::listener::Peer;
use super::{Shared, error};
use crate::admission::QuotaAction;
use crate::monitor::keys;
use crate::monitor::sources::Sources;

/// The body: `{"key": "sku:{8421}:reserved", "action": "limit", "limit": 1000000}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The key as `/api/quotas` writes it.
    key: String,
    /// `pause`, `resume`, `limit` or `reset`.
    action: String,
    /// With `limit`: 0 or more.
    limit: Option<i64>,
}

/// The handler.
pub async fn change(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(Peer(peer)): ConnectInfo<Peer>,
    body: Result<Json<Change>, JsonRejection>,
) -> Response {
    if shared.guard.token().is_none() {
        return error(
            StatusCode::FORBIDDEN,
            "changes need an admin token: set admin.token in the configuration",
        );
    }
    let change = match body {
        Ok(Json(change)) => change,
        Err(rejection) => return error(rejection.status(), &rejection.body_text()),
    };
    let action = match action(&change) {
        Ok(action) => action,
        Err(sentence) => return error(StatusCode::BAD_REQUEST, sentence),
    };
    let Some(key) = key(&shared.sources, &change.key) else {
        return error(StatusCode::BAD_REQUEST, "the key is not written as /api/quotas writes it");
    };
    match shared.sources.quota_changes.change(key, action, format!("{peer} over HTTP")).await {
        Ok(done) => Json(json!({ "done": done })).into_response(),
        Err(why) => error(StatusCode::CONFLICT, &why),
    }
}

fn action(change: &Change) -> Result<QuotaAction, &'static str> {
    match (change.action.as_str(), change.limit) {
        ("pause", None) => Ok(QuotaAction::Pause),
        ("resume", None) => Ok(QuotaAction::Resume),
        ("reset", None) => Ok(QuotaAction::Reset),
        ("limit", Some(limit)) if limit >= 0 => Ok(QuotaAction::Limit(limit)),
        ("limit", _) => Err("the action limit needs a limit of 0 or more"),
        ("pause" | "resume" | "reset", Some(_)) => Err("only the action limit takes a limit"),
        _ => Err("the action is one of pause, resume, limit, reset"),
    }
}

/// The key that a written form stands for: first among the keys that quotas hold, so that names that are cut
/// short or hashed work too; else read back.
fn key(sources: &Sources, written: &str) -> Option<Vec<u8>> {
    let held = (sources.quotas)().into_iter().find(|fact| sources.key_names.label(&fact.key) == written);
    held.map(|fact| fact.key).or_else(|| keys::parse(written))
}
