//! `/api/sales`: how sales of reservations stand; and with `POST`, an operator's change of one, as the `RESERVE` command of the same effect.
//!
//! Who may: as with quotas (`quotas`), who has a token that may change.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::asked::Changing;
use super::{Shared, error, json_bytes};
use crate::resp::{first_error, parse_integer};
use crate::shared::keys;

/// The body: `{"key": "mask", "action": "open", "limit": 1000000}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The sale as `/api/sales` writes it.
    key: String,
    /// `open`, `close`, `reopen` or `move`.
    action: String,
    /// With `open`: what is to hold. What is left out stays; a new sale needs a limit.
    limit: Option<i64>,
    per_user: Option<i64>,
    start_ms: Option<i64>,
    end_ms: Option<i64>,
    hold_ms: Option<i64>,
    /// With `move`: the sale that gets the holders, as clients name it.
    to: Option<String>,
}

/// The sales, at whichever gateway they are used.
pub async fn list(State(shared): State<Arc<Shared>>) -> Response {
    (shared.sources.sales_looked_at)();
    json_bytes(shared.board.latest().sales())
}

/// The handler.
pub async fn change(
    State(shared): State<Arc<Shared>>,
    Changing { by, change }: Changing<Change>,
) -> Response {
    let Some(sku) = sku(&shared, &change.key) else {
        return error(StatusCode::BAD_REQUEST, "the sale is not written as /api/sales writes it");
    };
    let words = match words(&change, sku) {
        Ok(words) => words,
        Err(sentence) => return error(StatusCode::BAD_REQUEST, sentence),
    };
    let reply = (shared.sources.sale_command)(words, by).await;
    match first_error(&reply) {
        Some(text) => error(StatusCode::CONFLICT, &String::from_utf8_lossy(text)),
        None => {
            let left = reply.strip_prefix(b":").and_then(|digits| parse_integer(digits.trim_ascii_end()));
            Json(json!({ "left": left.unwrap_or(0) })).into_response()
        }
    }
}

/// The command of the same effect.
fn words(change: &Change, sku: Bytes) -> Result<Vec<Bytes>, &'static str> {
    let terms = [
        ("LIMIT", change.limit),
        ("PERUSER", change.per_user),
        ("START", change.start_ms),
        ("END", change.end_ms),
        ("HOLD", change.hold_ms),
    ];
    let is_open = change.action == "open";
    if !is_open && terms.iter().any(|(_, value)| value.is_some()) {
        return Err("only the action open takes limit, per_user, start_ms, end_ms and hold_ms");
    }
    if (change.action == "move") != change.to.is_some() {
        return Err("the action move, and no other, takes to: the sale that gets the holders");
    }
    let verb = match change.action.as_str() {
        "open" => "RESERVE.OPEN",
        "close" => "RESERVE.CLOSE",
        "reopen" => "RESERVE.REOPEN",
        "move" => "RESERVE.MOVE",
        _ => return Err("the action is one of open, close, reopen, move"),
    };
    let mut words = vec![Bytes::from(verb), sku];
    for (name, value) in terms {
        if let Some(value) = value {
            words.extend([Bytes::from(name), value.to_string().into()]);
        }
    }
    words.extend(change.to.as_ref().map(|to| Bytes::copy_from_slice(to.as_bytes())));
    Ok(words)
}

/// The sale that a written form stands for: names that are cut short or hashed are looked for among those that show.
fn sku(shared: &Shared, written: &str) -> Option<Bytes> {
    let names = &shared.sources.key_names;
    let read = keys::parse(written);
    if let Some(sku) = read.as_ref().filter(|sku| names.label(sku) == written) {
        return Some(Bytes::copy_from_slice(sku));
    }
    let frame = shared.board.latest();
    let found = frame.view.sales.iter().find(|sale| sale.key == written);
    found.map(|sale| Bytes::copy_from_slice(&sale.sku)).or(read.map(Bytes::from))
}
