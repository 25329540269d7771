//! `/api/bigkeys`: keys that showed themselves big, the largest first; `?count=N` says how many, 50 unless told otherwise.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::Shared;
use super::asked::Asked;

/// Rows in an answer when nobody says how many.
const COUNT_DEFAULT: usize = 50;

/// What is asked for.
#[derive(Deserialize)]
pub struct Wanted {
    count: Option<usize>,
}

/// The handler.
pub async fn list(State(shared): State<Arc<Shared>>, Asked(wanted): Asked<Wanted>) -> Response {
    let count = wanted.count.unwrap_or(COUNT_DEFAULT);
    let frame = shared.board.latest();
    let known = &frame.view.big_keys;
    let keys: Vec<_> = known.keys.iter().take(count).collect();
    Json(json!({ "at_ms": frame.view.at_ms, "total": known.keys.len(), "clusters": known.clusters, "keys": keys }))
        .into_response()
}
