//! `/api/config`: the configuration in force, where each value comes from, what rules and quotas hold, and what waits for a restart.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Shared;

/// The handler.
pub async fn show(State(shared): State<Arc<Shared>>) -> Response {
    let mut body = json!((shared.sources.config)());
    body["at_ms"] = json!(shared.board.latest().view.at_ms);
    Json(body).into_response()
}
