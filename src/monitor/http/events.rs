//! `/api/events`: what happened last, the latest first; `?count=N` says how many, 50 unless told otherwise.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;

use super::Shared;
use super::audit::{Wanted, listed};

/// The handler.
pub async fn list(
    State(shared): State<Arc<Shared>>,
    wanted: Result<Query<Wanted>, QueryRejection>,
) -> Response {
    listed(&shared, "events", wanted, |count| shared.sources.events.latest(count))
}
