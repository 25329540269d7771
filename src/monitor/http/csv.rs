//! What is asked for with `?format=csv` is given as comma-separated values (RFC 4180), whatever path it is.
//!
//! A list becomes a row for each of its entries, with the names of their members at the head; where an answer has several lists, `&table=NAME`
//! chooses one, otherwise it is the first by name. Columns of a history become a row for each point. An answer without a list becomes two
//! columns: names and values. What is nested stands as JSON in its cell.
//!
//! Names of keys and of clients are anybody's: a text that a spreadsheet would take for a formula gets a `'` before it.

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use super::error;

/// Of a longer answer no table is made; the longest, of a thousand clients, has some 600 KiB.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Passes a request on, and gives its answer in the form that it asks for.
pub async fn where_asked_for(request: Request, next: Next) -> Response {
    let query = request.uri().query().unwrap_or_default();
    let word = |name: &str| {
        query
            .split('&')
            .find_map(|part| part.split_once('=').filter(|(key, _)| *key == name))
            .map(|(_, value)| value)
    };
    let table = word("table").map(str::to_owned);
    match word("format") {
        None | Some("json") => next.run(request).await,
        Some("csv") => converted(next.run(request).await, table.as_deref()).await,
        Some(_) => error(StatusCode::BAD_REQUEST, "format is json or csv"),
    }
}

async fn converted(response: Response, table: Option<&str>) -> Response {
    let is_json = response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if response.status() != StatusCode::OK || !is_json {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let body = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    let Ok(Value::Object(answer)) = serde_json::from_slice(&body) else {
        return error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "there is no table of this answer; ask without format=csv",
        );
    };
    let Some(text) = text_of(&answer, table) else {
        return error(StatusCode::BAD_REQUEST, "the answer has no list of this name; ask without table=");
    };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8"));
    (parts, Body::from(text)).into_response()
}

/// The table of an answer; nothing if it has no list of that name.
fn text_of(answer: &Map<String, Value>, table: Option<&str>) -> Option<String> {
    let mut out = String::new();
    let mut lists = answer.iter().filter_map(|(name, value)| value.as_array().map(|list| (name, list)));
    match (answer.get("end_ms"), answer.get("step_ms"), table) {
        (Some(end_ms), Some(step_ms), None) => points(&mut out, answer, end_ms.as_u64()?, step_ms.as_u64()?),
        (_, _, Some(table)) => rows(&mut out, answer.get(table)?.as_array()?),
        _ => match lists.next() {
            Some((_, list)) => rows(&mut out, list),
            None => pairs(&mut out, answer),
        },
    }
    Some(out)
}

/// A row for each point of columns that end together.
fn points(out: &mut String, answer: &Map<String, Value>, end_ms: u64, step_ms: u64) {
    let columns: Vec<_> =
        answer.iter().filter_map(|(name, value)| value.as_array().map(|column| (name, column))).collect();
    let head = std::iter::once("at_ms".to_owned()).chain(columns.iter().map(|(name, _)| (*name).clone()));
    line(out, head);
    let count = columns.iter().map(|(_, column)| column.len()).max().unwrap_or(0);
    for place in 0..count {
        let at_ms = end_ms.saturating_sub((count - 1 - place) as u64 * step_ms).to_string();
        let cells = columns.iter().map(|(_, column)| column.get(place).map_or_else(String::new, cell));
        line(out, std::iter::once(at_ms).chain(cells));
    }
}

fn rows(out: &mut String, list: &[Value]) {
    let mut names: Vec<&String> = Vec::new();
    for name in list.iter().filter_map(Value::as_object).flat_map(Map::keys) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.is_empty() {
        line(out, std::iter::once("value".to_owned()));
        list.iter().for_each(|value| line(out, std::iter::once(cell(value))));
        return;
    }
    line(out, names.iter().map(|name| (*name).clone()));
    for row in list {
        line(out, names.iter().map(|name| row.get(*name).map_or_else(String::new, cell)));
    }
}

/// Names and values; those of nested objects behind the names of these.
fn pairs(out: &mut String, answer: &Map<String, Value>) {
    line(out, ["name".to_owned(), "value".to_owned()].into_iter());
    let mut waiting: Vec<(String, &Value)> =
        answer.iter().rev().map(|(name, value)| (name.clone(), value)).collect();
    while let Some((name, value)) = waiting.pop() {
        match value.as_object() {
            Some(inner) => {
                waiting.extend(inner.iter().rev().map(|(key, value)| (format!("{name}.{key}"), value)));
            }
            None => line(out, [name, cell(value)].into_iter()),
        }
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) if text.starts_with(['=', '+', '-', '@', '\t', '\r']) => format!("'{text}"),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn line(out: &mut String, cells: impl Iterator<Item = String>) {
    for (place, cell) in cells.enumerate() {
        if place > 0 {
            out.push(',');
        }
        if cell.contains([',', '"', '\r', '\n']) {
            out.push_str(&format!("\"{}\"", cell.replace('"', "\"\"")));
        } else {
            out.push_str(&cell);
        }
    }
    out.push_str("\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check(answer: Value, table: Option<&str>, expect: &[&str]) {
        let text = text_of(answer.as_object().unwrap(), table);
        assert_eq!(text.unwrap_or_default().lines().collect::<Vec<_>>(), expect);
    }

    #[test]
    fn lists_histories_and_figures_are_tables() {
        let list = json!({ "at_ms": 5, "keys": [{ "key": "a,b", "n": 1.5 }, { "key": "\"x\"", "more": [1, {"z": 2}] }, { "key": "=cmd|' /C calc'!A0", "n": -3 }] });
        check(
            list,
            None,
            &[
                "key,n,more",
                "\"a,b\",1.5,",
                "\"\"\"x\"\"\",,\"[1,{\"\"z\"\":2}]\"",
                "'=cmd|' /C calc'!A0,-3,",
            ],
        );
        let two = json!({ "a": [{ "x": 1 }], "b": [{ "y": null }, { "y": true }] });
        check(two.clone(), None, &["x", "1"]);
        check(two.clone(), Some("b"), &["y", "", "true"]);
        check(two, Some("c"), &[]);
        let history =
            json!({ "end_ms": 10_000, "step_ms": 1_000, "p99_us": [1.0, null, 3.0], "rate": [7, 8, 9] });
        check(history, None, &["at_ms,p99_us,rate", "8000,1.0,7", "9000,,8", "10000,3.0,9"]);
        check(
            json!({ "b": { "d": 1, "c": { "e": "x" } }, "a": 2 }),
            None,
            &["name,value", "a,2", "b.c.e,x", "b.d,1"],
        );
        check(json!({ "names": ["-x", "y"] }), None, &["value", "'-x", "y"]);
        check(json!({ "none": [] }), None, &["value"]);
    }
}
