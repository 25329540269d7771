//! `/api/audit`: the last changes that operators made, the latest first; `?count=N` says how many, 50 unless told otherwise.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::{Shared, error};
use crate::shared::kept::ENTRIES_MAX;

/// Entries in an answer when nobody says how many.
const COUNT_DEFAULT: usize = 50;

/// What is asked of a list.
#[derive(Deserialize)]
pub struct Wanted {
    count: Option<usize>,
}

impl Wanted {
    /// How many entries are asked for.
    pub fn count(&self) -> usize {
        self.count.unwrap_or(COUNT_DEFAULT).min(ENTRIES_MAX)
    }
}

/// The handler.
pub async fn list(
    State(shared): State<Arc<Shared>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let count = match wanted {
        Ok(Query(wanted)) => wanted.count(),
        Err(rejection) => return error(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let changes = (shared.sources.audit)(count);
    Json(json!({ "at_ms": shared.board.latest().view.at_ms, "changes": changes })).into_response()
}
