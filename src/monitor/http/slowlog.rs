//! `/api/slowlog`: the requests that stood out last, the latest first, and where the time of each went.
//!
//! `?kind=slow|large-request|large-reply` chooses the list (slow unless told otherwise), `&count=N` how many (50).

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Shared, error};
use crate::shared::command_log::LoggedRequest;
use crate::shared::keys;
use crate::shared::labels::Standout;

/// Entries in an answer when nobody says how many.
const COUNT_DEFAULT: usize = 50;

/// What is asked for.
#[derive(Deserialize)]
pub struct Wanted {
    kind: Option<String>,
    count: Option<usize>,
}

/// The handler.
pub async fn list(
    State(shared): State<Arc<Shared>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let Wanted { kind, count } = match wanted {
        Ok(Query(wanted)) => wanted,
        Err(rejection) => return error(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let Some(kind) = kind.map_or(Some(Standout::Slow), |word| Standout::parse(word.as_bytes())) else {
        return error(StatusCode::BAD_REQUEST, "kind is slow, large-request or large-reply");
    };
    let entries = shared.sources.command_log.latest(kind, count.unwrap_or(COUNT_DEFAULT));
    let rows: Vec<Value> = entries.iter().map(row).collect();
    let at_ms = shared.board.latest().view.at_ms;
    Json(json!({ "at_ms": at_ms, "kind": kind.label(), "requests": rows })).into_response()
}

fn row(entry: &LoggedRequest) -> Value {
    let arguments: Vec<String> = entry.arguments.iter().map(|argument| keys::text(argument)).collect();
    json!({
        "id": entry.id,
        "at_ms": entry.at_ms,
        "arguments": arguments,
        "address": entry.address,
        "name": keys::text(&entry.name),
        "user": keys::text(&entry.user),
        "node": entry.node,
        "folded": entry.folded,
        "whole_us": entry.spent.whole_us,
        "waiting_us": entry.spent.waiting_us,
        "upstream_us": entry.spent.upstream_us,
        "client_stalled_us": entry.spent.stalled_us,
        "request_bytes": entry.request_bytes,
        "reply_bytes": entry.reply_bytes,
    })
}
