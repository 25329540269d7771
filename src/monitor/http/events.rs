//! `/api/events`: what happened last, the latest first; `?count=N` says how many, 50 unless told otherwise.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::audit::Wanted;
use super::{Shared, error};

/// The handler.
pub async fn list(
    State(shared): State<Arc<Shared>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let count = match wanted {
        Ok(Query(wanted)) => wanted.count(),
        Err(rejection) => return error(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let events = shared.sources.events.latest(count);
    Json(json!({ "at_ms": shared.board.latest().view.at_ms, "events": events })).into_response()
}
