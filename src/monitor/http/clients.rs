//! `/api/clients`: who is connected, at most a thousand rows, asked of the workers at most once a second.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Shared, json_bytes};
use crate::shared::client_rows::ClientRow;
use crate::shared::keys;

/// Rows in an answer; a worker spends about a microsecond on each.
const ROWS_MAX: usize = 1_000;
/// How long workers may take to answer.
const PATIENCE: Duration = Duration::from_millis(500);
/// An answer younger than this is given again.
const FRESH: Duration = Duration::from_secs(1);

/// The latest answer. The lock is held while workers are asked, so that all who come meanwhile share one
/// question.
#[derive(Default)]
pub struct ClientsCache {
    latest: Mutex<Option<(Instant, Bytes)>>,
}

/// The handler.
pub async fn list(State(shared): State<Arc<Shared>>) -> Response {
    let mut latest = shared.clients.latest.lock().await;
    if let Some((_, answer)) = latest.as_ref().filter(|(asked, _)| asked.elapsed() < FRESH) {
        return json_bytes(answer.clone());
    }
    let rows = shared.sources.clients.list(ROWS_MAX, PATIENCE).await;
    let view = &shared.board.latest().view;
    let answer = json!({
        "at_ms": view.at_ms,
        "connected": view.stats.totals.clients,
        "rows_max": ROWS_MAX,
        "workers_missing": rows.workers_missing,
        "clients": rows.rows.iter().map(row).collect::<Vec<_>>(),
    });
    let answer = Bytes::from(answer.to_string());
    *latest = Some((Instant::now(), answer.clone()));
    json_bytes(answer)
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
        "bytes_in": row.bytes_in,
        "bytes_out": row.bytes_out,
        "inflight": row.inflight,
        "buffered_in_bytes": row.buffered_in_bytes,
        "buffered_out_bytes": row.buffered_out_bytes,
    })
}
