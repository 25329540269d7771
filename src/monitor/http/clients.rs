//! `/api/clients`: who is connected, at most a thousand rows, and by `POST` the end of one's connection.
//!
//! `?sort=id|requests|bytes|errors|slow|idle` says which come first (the oldest unless told otherwise), `&search=TEXT` which are shown: those
//! that have it in their name, user, library, address or last command, or whose id it is. `&limit=N` says how many. Workers are asked one
//! question at a time, and the same one at most once a second.
//!
//! `POST {"action": "kill", "id": 7, "reason": "..."}` needs a token that may change, as a change of a quota does.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::asked::{Asked, Changing};
use super::{Shared, error, json_bytes};
use crate::shared::client_rows::{ClientQuery, ClientRow, ClientSort};
use crate::shared::keys;

/// Rows in an answer; a worker spends about a microsecond on each.
const ROWS_MAX: usize = 1_000;
/// How long workers may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// An answer younger than this is given again.
const FRESH: Duration = Duration::from_secs(1);

/// The longest text that is searched for, in bytes.
const SEARCH_BYTES_MAX: usize = 200;

/// The latest answer. The lock is held while workers are asked, so that all who come meanwhile with the same question share one, and
/// others come one after the other.
#[derive(Default)]
pub struct ClientsCache {
    latest: Mutex<Option<(Instant, ClientQuery, Bytes)>>,
}

/// What is asked for.
#[derive(Deserialize)]
pub struct Wanted {
    sort: Option<String>,
    search: Option<String>,
    limit: Option<usize>,
}

impl Wanted {
    fn query(self) -> Result<ClientQuery, &'static str> {
        let sort = ClientSort::parse(self.sort.as_deref().unwrap_or(ClientSort::Id.word()));
        let sort = sort.ok_or("sort is one of id, requests, bytes, errors, slow, idle")?;
        let search = self.search.unwrap_or_default().to_ascii_lowercase().into_bytes();
        if search.len() > SEARCH_BYTES_MAX {
            return Err("search has more than 200 bytes");
        }
        Ok(ClientQuery { sort, search, rows_max: self.limit.unwrap_or(ROWS_MAX).min(ROWS_MAX) })
    }
}

/// The handler.
pub async fn list(State(shared): State<Arc<Shared>>, Asked(wanted): Asked<Wanted>) -> Response {
    let query = match wanted.query() {
        Ok(query) => query,
        Err(sentence) => return error(StatusCode::BAD_REQUEST, sentence),
    };
    let mut latest = shared.clients.latest.lock().await;
    let is_it =
        |(asked, known, _): &&(Instant, ClientQuery, Bytes)| *known == query && asked.elapsed() < FRESH;
    if let Some((_, _, answer)) = latest.as_ref().filter(is_it) {
        return json_bytes(answer.clone());
    }
    let rows = shared.sources.clients.find(&query, PATIENCE).await;
    let view = &shared.board.latest().view;
    let answer = json!({
        "at_ms": view.at_ms,
        "connected": view.stats.totals.clients,
        "found": rows.found,
        "sort": query.sort.word(),
        "rows_max": query.rows_max,
        "workers_missing": rows.workers_missing,
        "clients": rows.rows.iter().map(row).collect::<Vec<_>>(),
    });
    let answer = Bytes::from(answer.to_string());
    *latest = Some((Instant::now(), query, answer.clone()));
    json_bytes(answer)
}

/// The body: `{"action": "kill", "id": 7}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    action: String,
    id: u64,
    /// Why, for [`super::audit`].
    #[serde(default)]
    reason: String,
}

/// Ends a client's connection.
pub async fn kill(State(shared): State<Arc<Shared>>, Changing { by, change }: Changing<Change>) -> Response {
    if change.action != "kill" {
        return error(StatusCode::BAD_REQUEST, "the action is kill");
    }
    match (shared.sources.client_kill)(change.id, by, change.reason).await {
        true => Json(json!({ "done": format!("client {} is closed", change.id) })).into_response(),
        false => error(StatusCode::NOT_FOUND, "no client has this id; it may have gone"),
    }
}

fn row(row: &ClientRow) -> Value {
    json!({
        "id": row.id,
        "worker": row.worker,
        "address": row.address.to_string(),
        "name": keys::text(&row.name),
        "library": keys::text(&[&row.library_name[..], &row.library_version[..]].join(&b' ')).trim(),
        "user": keys::text(&row.user),
        "age_s": row.age_s,
        "idle_s": row.idle_s,
        "flags": row.flags,
        "resp": row.resp,
        "last_command": row.last_command,
        "requests": row.requests,
        "errors": row.errors,
        "slow_replies": row.slow_replies,
        "bytes_in": row.bytes_in,
        "bytes_out": row.bytes_out,
        "inflight": row.inflight,
        "buffered_in_bytes": row.buffered_in_bytes,
        "buffered_out_bytes": row.buffered_out_bytes,
    })
}
