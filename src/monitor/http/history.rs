//! `/api/history`: how the gateway fared, evenly spaced, the oldest first; `?step=second` (unless told otherwise) has the last ten minutes,
//! `?step=minute` the last day.

use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;

use super::asked::Asked;
use super::{Shared, error, json_bytes};
use crate::shared::history::Step;

/// What is asked for.
#[derive(Deserialize)]
pub struct Wanted {
    step: Option<String>,
}

/// The handler.
pub async fn list(State(shared): State<Arc<Shared>>, Asked(wanted): Asked<Wanted>) -> Response {
    match Step::parse(wanted.step.as_deref().unwrap_or(Step::Second.word())) {
        Some(step) => json_bytes(shared.board.latest().history(step)),
        None => error(StatusCode::BAD_REQUEST, "step is second or minute"),
    }
}
