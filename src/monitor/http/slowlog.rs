//! `/api/slowlog`: the requests that stood out last, the latest first, and where the time of each went.
//!
//! `?kind=slow|large-request|large-reply` chooses the list (slow unless told otherwise), `&count=N` how many (50). A `POST` of
//! `{"kind": "slow", "action": "reset", "reason": "..."}` empties a list, with a token that may change; it is noted as `SLOWLOG RESET` is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::asked::{Asked, Changing};
use super::{Shared, error};
use crate::monitor::logged_requests::shown;
use crate::shared::audit::AuditEntry;
use crate::shared::labels::Standout;

/// Entries in an answer when nobody says how many.
const COUNT_DEFAULT: usize = 50;

/// Said to who asks for another list.
const KINDS: &str = "kind is slow, large-request or large-reply";

/// What is asked for.
#[derive(Deserialize)]
pub struct Wanted {
    kind: Option<String>,
    count: Option<usize>,
}

/// The handler.
pub async fn list(State(shared): State<Arc<Shared>>, Asked(wanted): Asked<Wanted>) -> Response {
    let Wanted { kind, count } = wanted;
    let Some(kind) = kind.map_or(Some(Standout::Slow), |word| Standout::parse(word.as_bytes())) else {
        return error(StatusCode::BAD_REQUEST, KINDS);
    };
    let entries = shared.sources.command_log.latest(kind, count.unwrap_or(COUNT_DEFAULT));
    let rows: Vec<Value> = entries.iter().map(shown).collect();
    let at_ms = shared.board.latest().view.at_ms;
    Json(json!({ "at_ms": at_ms, "kind": kind.label(), "requests": rows })).into_response()
}

/// The body of a change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    kind: String,
    /// `reset`.
    action: String,
    /// Why, for [`super::audit`].
    #[serde(default)]
    reason: String,
}

/// Empties a list.
pub async fn change(
    State(shared): State<Arc<Shared>>,
    Changing { by, change }: Changing<Change>,
) -> Response {
    let Some(kind) = Standout::parse(change.kind.as_bytes()) else {
        return error(StatusCode::BAD_REQUEST, KINDS);
    };
    if change.action != "reset" {
        return error(StatusCode::BAD_REQUEST, "the action is reset");
    }
    let log = &shared.sources.command_log;
    let entries = log.len(kind);
    log.reset(kind);
    let entry = AuditEntry::new(&by, format!("commandlog reset {}", kind.label()), "");
    (shared.sources.note_change)(entry.from_to(format!("{entries} entries"), "").because(change.reason));
    Json(json!({ "done": format!("{entries} entries are forgotten") })).into_response()
}
