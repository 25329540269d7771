//! `/api/history`: how the gateway fared, evenly spaced, the oldest first; `?step=second` (unless told otherwise) has the last ten minutes,
//! `?step=minute` the last day.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::{Shared, error, json_bytes};
use crate::shared::history::Step;

/// What is asked for.
#[derive(Deserialize)]
pub struct Wanted {
    step: Option<String>,
}

/// The handler.
pub async fn list(
    State(shared): State<Arc<Shared>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    let step = match wanted {
        Ok(Query(wanted)) => wanted.step,
        Err(rejection) => return error(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    match Step::parse(step.as_deref().unwrap_or(Step::Second.word())) {
        Some(step) => json_bytes(shared.board.latest().history(step)),
        None => error(StatusCode::BAD_REQUEST, "step is second or minute"),
    }
}
