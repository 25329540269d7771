//! `/api/events`: what happened last, the latest first; `?count=N` says how many, 50 unless told otherwise.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::Shared;
use super::asked::Asked;
use super::audit::{Wanted, listed};

/// The handler.
pub async fn list(State(shared): State<Arc<Shared>>, Asked(wanted): Asked<Wanted>) -> Response {
    listed(&shared, "events", wanted, |count| shared.sources.events.latest(count))
}
