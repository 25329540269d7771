//! `/api/caller`: who asks, and whether they may change anything, so that a page offers no change that would be refused.

use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;

use super::guard::Caller;

/// The handler.
pub async fn show(Extension(caller): Extension<Caller>) -> Response {
    let name = caller.name().to_owned();
    let (may_change, why) = match caller.who_may_change() {
        Ok(_) => (true, String::new()),
        Err(why) => (false, why),
    };
    Json(json!({ "name": name, "may_change": may_change, "why": why })).into_response()
}
