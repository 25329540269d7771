//! `/api/quotas`: a page of the list, and by `POST` an operator's change, handed to the control thread's registry.
//!
//! `GET /api/quotas?search=TEXT&sort=used|refused|granted|key|foremost&offset=N&count=N` tells how many counters there are and how
//! many were found, and gives those of the page; without anything the first 50, most used first.
//!
//! A change needs a token that may change: without one everyone who reaches the port would be an
//! operator. A browser sends no bearer token by itself, so that a foreign page can't make changes in an
//! operator's name.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::asked::{Asked, Changing};
use super::{Shared, error};
use crate::admission::QuotaAction;
use crate::monitor::quota_page::{COUNT_DEFAULT, COUNT_MAX, QuotaPage, QuotaQuery, QuotaSort, view_of};
use crate::monitor::sources::Sources;
use crate::monitor::view::{QuotaView, View};
use crate::shared::keys::{self, KeyNames};

/// The body: `{"key": "sku:{8421}:reserved", "action": "limit", "limit": 1000000}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// The key as `/api/quotas` writes it.
    key: String,
    /// `pause`, `resume`, `limit` or `reset`.
    action: String,
    /// With `limit`: 0 or more.
    limit: Option<i64>,
    /// Why, for [`super::audit`].
    #[serde(default)]
    reason: String,
}

/// The handler.
pub async fn change(
    State(shared): State<Arc<Shared>>,
    Changing { by, change }: Changing<Change>,
) -> Response {
    let action = match action(&change) {
        Ok(action) => action,
        Err(sentence) => return error(StatusCode::BAD_REQUEST, sentence),
    };
    let Some(key) = key(&shared.sources, &change.key) else {
        return error(StatusCode::BAD_REQUEST, "the key is not written as /api/quotas writes it");
    };
    match shared.sources.quota_changes.change(key, action, by, change.reason).await {
        Ok(done) => Json(json!({ "done": done })).into_response(),
        Err(why) => error(StatusCode::CONFLICT, &why),
    }
}

fn action(change: &Change) -> Result<QuotaAction, &'static str> {
    match (change.action.as_str(), change.limit) {
        ("pause", None) => Ok(QuotaAction::Pause),
        ("resume", None) => Ok(QuotaAction::Resume),
        ("reset", None) => Ok(QuotaAction::Reset),
        ("limit", Some(limit)) if limit >= 0 => Ok(QuotaAction::Limit(limit)),
        ("limit", _) => Err("the action limit needs a limit of 0 or more"),
        ("pause" | "resume" | "reset", Some(_)) => Err("only the action limit takes a limit"),
        _ => Err("the action is one of pause, resume, limit, reset"),
    }
}

/// The key that a written form stands for: names that are cut short or hashed are looked for among those that there are.
fn key(sources: &Sources, written: &str) -> Option<Vec<u8>> {
    let names = &sources.key_names;
    let read = keys::parse(written);
    if read.as_ref().is_some_and(|key| names.label(key) == written) {
        return read;
    }
    let all = (sources.quota_page)(&QuotaQuery { count: usize::MAX, ..QuotaQuery::default() });
    let held = all.rows.into_iter().find(|row| names.label(&row.facts.key) == written);
    held.map(|row| row.facts.key).or(read)
}

/// What is asked of the list.
#[derive(Deserialize)]
pub struct Wanted {
    search: Option<String>,
    sort: Option<String>,
    offset: Option<usize>,
    count: Option<usize>,
}

/// The list.
pub async fn list(State(shared): State<Arc<Shared>>, Asked(wanted): Asked<Wanted>) -> Response {
    let Some(sort) = QuotaSort::parse(wanted.sort.as_deref().unwrap_or("used").as_bytes()) else {
        return error(StatusCode::BAD_REQUEST, "sort is one of used, refused, granted, key, foremost");
    };
    let search = wanted.search.unwrap_or_default();
    let query = QuotaQuery {
        search: keys::parse(&search).unwrap_or_else(|| search.into_bytes()),
        sort,
        offset: wanted.offset.unwrap_or(0),
        count: wanted.count.unwrap_or(COUNT_DEFAULT).min(COUNT_MAX),
    };
    let page = (shared.sources.quota_page)(&query);
    let view = &shared.board.latest().view;
    let rows = views(&shared.sources.key_names, view, &page);
    Json(json!({
        "at_ms": view.at_ms, "total": page.total, "matched": page.matched, "offset": query.offset, "quotas": rows,
    }))
    .into_response()
}

/// The rows of a page, with what the view knows of them.
pub fn views(names: &KeyNames, view: &View, page: &QuotaPage) -> Vec<QuotaView> {
    let rows = page.rows.iter().map(|row| {
        let mut new = view_of(names.label(&row.facts.key), row);
        // The view has rates over more time, and how soon it ends.
        if let Some(seen) = view.quotas.iter().find(|seen| seen.key == new.key && seen.quota == new.quota) {
            (new.units_per_s, new.admitted_per_s) = (seen.units_per_s, seen.admitted_per_s);
            (new.refused_per_s, new.refused_unavailable_per_s) =
                (seen.refused_per_s, seen.refused_unavailable_per_s);
            new.refused_fault_per_s = seen.refused_fault_per_s;
            (new.last_refused_ms, new.last_refused) = (seen.last_refused_ms, seen.last_refused);
            new.sold_out_in_s = new.remaining.filter(|left| *left > 0).and(seen.sold_out_in_s);
            new.used_share = new.used_share.or(seen.used_share);
        }
        new
    });
    rows.collect()
}
