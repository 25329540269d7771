//! `/api/key?key=NAME`: all that is known of one key, hot or not: its figures and its last ten minutes, who uses it and with which commands,
//! what holds it, requests on it that stood out, what happened to it and who changed what. `&cluster=NAME` chooses where a name
//! lives in several.
//!
//! `POST /api/key` with `{"key": NAME, "action": "fold" | "never" | "auto", "reason": "..."}` says whether it is folded, at this gateway and until
//! that is taken back or the gateway ends; with a token that may change.
//!
//! Names are as everywhere: with `admin.hash_key_names` their hashes.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::asked::{Asked, Changing};
use super::quotas::views;
use super::{Shared, error};
use crate::monitor::logged_requests::shown;
use crate::monitor::quota_page::{QuotaQuery, QuotaSort};
use crate::monitor::sources::Sources;
use crate::monitor::view::QuotaView;
use crate::shared::key_modes::KeyMode;
use crate::shared::keys;
use crate::shared::labels::Standout;

/// Entries of each list in an answer.
const LISTED_MAX: usize = 20;

/// What is asked for.
#[derive(Deserialize)]
pub struct Wanted {
    key: String,
    cluster: Option<String>,
}

/// The handler.
pub async fn show(State(shared): State<Arc<Shared>>, Asked(wanted): Asked<Wanted>) -> Response {
    let Wanted { key, cluster } = wanted;
    let (sources, frame) = (&shared.sources, shared.board.latest());
    let view = &frame.view;
    let in_cluster = |name: &str| cluster.as_deref().is_none_or(|cluster| cluster == name);
    let hot = view.hot_keys.iter().find(|hot| hot.key == key && in_cluster(&hot.cluster));
    let events: Vec<_> =
        sources.events.latest(usize::MAX).into_iter().filter(|event| event.subject == key).collect();
    let changes: Vec<_> =
        (sources.audit)(usize::MAX).into_iter().filter(|change| change.object == key).collect();
    let first = |count: usize| count.min(LISTED_MAX);
    Json(json!({
        "at_ms": view.at_ms,
        "key": key,
        "mode": mode_of(sources, &key).word(),
        "hot": hot,
        "used_by": hot.map(|hot| &hot.used_by),
        "history": sources.key_histories.of(&key, cluster.as_deref()),
        "quotas": quotas_of(&shared, &key),
        "requests": requests_on(sources, &key),
        "events": events[..first(events.len())],
        "changes": changes[..first(changes.len())],
    }))
    .into_response()
}

/// What an operator said of it.
fn mode_of(sources: &Sources, key: &str) -> KeyMode {
    let modes = sources.key_modes.all();
    modes
        .iter()
        .find(|(name, _)| sources.key_names.label(name) == key)
        .map_or(KeyMode::Auto, |(_, mode)| *mode)
}

/// The counters under quotas of this name.
fn quotas_of(shared: &Shared, key: &str) -> Vec<QuotaView> {
    let (sources, frame) = (&shared.sources, shared.board.latest());
    let mut page = (sources.quota_page)(&QuotaQuery {
        // Where names are hashed, none holds what is asked for.
        search: bytes_of(sources, key).unwrap_or_default(),
        sort: QuotaSort::Key,
        count: usize::MAX,
        ..QuotaQuery::default()
    });
    page.rows.retain(|row| sources.key_names.label(&row.facts.key) == key);
    views(&sources.key_names, &frame.view, &page)
}

/// The key that a name stands for, if that is known: names that are hashed or cut short are looked for among keys that are hot or that
/// something is said of.
fn bytes_of(sources: &Sources, name: &str) -> Option<Vec<u8>> {
    let names = &sources.key_names;
    let read = keys::parse(name).filter(|key| names.label(key) == name);
    let hot = (sources.hot)();
    let known = || {
        hot.entries.iter().map(|hot| hot.key.bytes()).find(|key| names.label(key) == name).map(<[u8]>::to_vec)
    };
    let said = || {
        sources.key_modes.all().iter().find(|(key, _)| names.label(key) == name).map(|(key, _)| key.clone())
    };
    read.or_else(known).or_else(said)
}

/// Requests that stood out and name it, the latest first.
fn requests_on(sources: &Sources, key: &str) -> Vec<Value> {
    let mut found: Vec<_> = Standout::ALL
        .iter()
        .flat_map(|kind| {
            sources.command_log.latest(*kind, usize::MAX).into_iter().map(|entry| (*kind, entry))
        })
        .filter(|(_, entry)| entry.arguments.iter().skip(1).any(|argument| keys::text(argument) == key))
        .collect();
    found.sort_by_key(|(_, entry)| std::cmp::Reverse(entry.at_ms));
    found.truncate(LISTED_MAX);
    let row = |(kind, entry): &(Standout, _)| {
        let mut row = shown(entry);
        row["kind"] = json!(kind.label());
        row
    };
    found.iter().map(row).collect()
}

/// The body of a change.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    key: String,
    /// `fold`, `never` or `auto`.
    action: String,
    /// Why, for [`super::audit`].
    #[serde(default)]
    reason: String,
}

/// Says whether a key is folded.
pub async fn change(
    State(shared): State<Arc<Shared>>,
    Changing { by, change }: Changing<Change>,
) -> Response {
    let Some(mode) = KeyMode::parse(&change.action) else {
        return error(StatusCode::BAD_REQUEST, "the action is one of fold, never, auto");
    };
    let Some(key) = bytes_of(&shared.sources, &change.key) else {
        let sentence = "no hot key has this name: write it as /api/hotkeys does, while the key is hot";
        return error(StatusCode::CONFLICT, sentence);
    };
    match shared.sources.key_modes.change(key, mode, by, change.reason).await {
        Ok(done) => Json(json!({ "done": done })).into_response(),
        Err(why) => error(StatusCode::CONFLICT, &why),
    }
}
