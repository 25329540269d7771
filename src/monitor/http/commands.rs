//! `/api/commands`: calls, errors and times by command, the busiest first. `?by=node`, `cluster` or `tenant` shows them so, `?by=error` the
//! error replies that clients got.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::asked::Asked;
use super::{Shared, error};

/// What is asked for.
#[derive(Deserialize)]
pub struct Wanted {
    by: Option<String>,
}

/// The handler.
pub async fn list(State(shared): State<Arc<Shared>>, Asked(wanted): Asked<Wanted>) -> Response {
    let by = wanted.by.unwrap_or_default();
    let frame = shared.board.latest();
    let (at_ms, figures) = (frame.view.at_ms, &frame.view.commands);
    let body = match by.as_str() {
        "" | "command" => json!({ "at_ms": at_ms, "commands": figures.commands }),
        "node" => json!({ "at_ms": at_ms, "nodes": figures.nodes }),
        "cluster" => json!({ "at_ms": at_ms, "clusters": figures.clusters }),
        "tenant" => json!({ "at_ms": at_ms, "tenants": figures.tenants }),
        "error" => json!({ "at_ms": at_ms, "errors": figures.errors }),
        _ => return error(StatusCode::BAD_REQUEST, "by is command, node, cluster, tenant or error"),
    };
    Json(body).into_response()
}
