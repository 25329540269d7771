//! `/api/audit`: the last changes that operators made, the latest first; `?count=N` says how many, 50 unless told otherwise.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Shared;
use super::asked::Asked;
use crate::shared::kept::ENTRIES_MAX;

/// Entries in an answer when nobody says how many.
const COUNT_DEFAULT: usize = 50;

/// What is asked of a list.
#[derive(Deserialize)]
pub struct Wanted {
    count: Option<usize>,
}

/// A list with the time, as far as it is asked for; `entries` gives at most so many.
pub fn listed<T: Serialize>(
    shared: &Shared,
    name: &str,
    wanted: Wanted,
    entries: impl FnOnce(usize) -> T,
) -> Response {
    let count = wanted.count.unwrap_or(COUNT_DEFAULT).min(ENTRIES_MAX);
    Json(json!({ "at_ms": shared.board.latest().view.at_ms, name: entries(count) })).into_response()
}

/// The handler.
pub async fn list(State(shared): State<Arc<Shared>>, Asked(wanted): Asked<Wanted>) -> Response {
    listed(&shared, "changes", wanted, |count| (shared.sources.audit)(count))
}
