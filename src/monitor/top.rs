//! `hotgate top`: what the dashboard shows, in a terminal.
//!
//! It polls the HTTP API once a second and draws one frame with plain ANSI; everything that came from the
//! gateway was escaped there, and control characters are dropped here too, so that a key name can't steer the
//! terminal. `--once` prints a frame without any escape sequence and ends.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::http_client::exchange;
use super::status::{duration_s, duration_us, percent, rate, whole};

/// Between two frames.
const PERIOD: Duration = Duration::from_secs(1);
/// How long the gateway may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Columns when the terminal does not tell (`COLUMNS` is not exported by most shells).
const COLUMNS_DEFAULT: usize = 120;
/// Narrower than this, columns would be of no use.
const COLUMNS_MIN: usize = 60;
/// Hot keys and quotas shown.
const KEYS_MAX: usize = 20;
const QUOTAS_MAX: usize = 10;
/// Characters for a sparkline's eight heights.
const SPARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Seconds in a sparkline.
const SPARK_SECONDS: usize = 16;

/// The options of the command line.
pub struct TopOptions {
    /// Where the gateway's HTTP side is.
    pub admin: String,
    /// Its token, where one is configured.
    pub token: Option<String>,
    /// Print one frame and end.
    pub once: bool,
}

/// Runs until interrupted, or for one frame. The error is a sentence for the person at the terminal.
pub async fn run(options: &TopOptions) -> Result<(), String> {
    let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).unwrap_or(COLUMNS_DEFAULT);
    if options.once || !std::io::stdout().is_terminal() {
        let frame = fetch(options).await?;
        return print(&format!("{}\n", lines(&frame, columns).join("\n")));
    }
    loop {
        let text = match fetch(options).await {
            Ok(frame) => lines(&frame, columns).join("\x1b[K\n"),
            Err(why) => format!("{why}\x1b[K\nTrying again; Ctrl-C ends."),
        };
        // Home, the frame with each line's rest cleared, then everything below it cleared: no flicker.
        print(&format!("\x1b[H{text}\x1b[K\n\x1b[J"))?;
        tokio::select! {
            () = sleep(PERIOD) => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

/// A closed pipe ends the program quietly, as with any filter.
fn print(text: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| format!("can't write: {error}"))
}

async fn fetch(options: &TopOptions) -> Result<Value, String> {
    let base = options.admin.trim_end_matches('/');
    let mut frame = json!({});
    for (path, field, part) in [
        ("stats", "stats", None),
        ("hotkeys", "hotkeys", Some("keys")),
        ("nodes", "nodes", Some("nodes")),
        ("quotas", "quotas", Some("quotas")),
    ] {
        let url = format!("{base}/api/{path}");
        let answer = exchange(Method::GET, &url, options.token.as_deref(), None, PATIENCE).await;
        let response = answer.map_err(|why| format!("hotgate at {base}: {why}"))?;
        match response.status {
            200 => {}
            401 => return Err(format!("hotgate at {base} asks for its admin token: give it with --token")),
            status => return Err(format!("hotgate at {base} answered {status} to /api/{path}")),
        }
        let mut value: Value = serde_json::from_slice(&response.body)
            .map_err(|_| format!("what answers at {base} is not hotgate's HTTP side"))?;
        frame[field] = match part {
            Some(part) => value[part].take(),
            None => value,
        };
    }
    Ok(frame)
}

/// The lines of one frame, each at most `columns` wide; `frame` has the shape of an event of `/api/stream`.
pub fn lines(frame: &Value, columns: usize) -> Vec<String> {
    let columns = columns.max(COLUMNS_MIN);
    let mut out = head(&frame["stats"]);
    let key_width = columns.saturating_sub(89).max(18);
    hot_keys(&mut out, &frame["hotkeys"], key_width);
    nodes(&mut out, &frame["nodes"]);
    quotas(&mut out, &frame["quotas"], key_width);
    out.iter().map(|line| fit(line, columns)).collect()
}

fn head(stats: &Value) -> Vec<String> {
    let (now, totals, gateway) = (&stats["now"], &stats["totals"], &stats["gateway"]);
    let time = |part: &str, quantile: &str| duration_us(number(&now[part][quantile]));
    let mut out = vec![format!(
        "hotgate {}  up {}  {} clients  {} upstream",
        text(&gateway["version"]),
        duration_s(number(&stats["uptime_s"])),
        whole(number(&totals["clients"]) as i64),
        text(&stats["upstream_kind"]),
    )];
    out.push(format!("[{}] {}", text(&stats["status"]["level"]), text(&stats["status"]["sentence"])));
    for finding in list(&stats["status"]["others"]) {
        out.push(format!("  [{}] {}", text(&finding["level"]), text(&finding["sentence"])));
    }
    out.push(format!(
        "{}/s  p50 {}  p99 {}  Redis p99 {}  errors {}/s  refused {}/s  combined {} -> {}/s",
        rate(number(&now["requests_per_s"])),
        time("request_time", "p50_us"),
        time("request_time", "p99_us"),
        time("upstream_time", "p99_us"),
        rate(number(&now["errors_per_s"])),
        rate(number(&now["refused_per_s"])),
        rate(number(&now["offered_per_s"])),
        rate(number(&now["flushed_per_s"])),
    ));
    out
}

fn hot_keys(out: &mut Vec<String>, keys: &Value, key_width: usize) {
    out.push(String::new());
    out.push(format!(
        "{:key_width$} {:8} {:>10} {:16} {:>6} {:>17} {:>7} {}",
        "HOT KEY", "CLASS", "RATE/S", "", "SHARE", "OFFERED->REDIS", "CLIENTS", "NODE"
    ));
    for key in list(keys).iter().take(KEYS_MAX) {
        let offered = match (key["offered_per_s"].as_f64(), key["flushed_per_s"].as_f64()) {
            (Some(offered), Some(flushed)) => format!("{}->{}", rate(offered), rate(flushed)),
            _ => "-".into(),
        };
        out.push(format!(
            "{:key_width$} {:8} {:>10} {:16} {:>6} {:>17} {:>7} {}",
            fit(&text(&key["key"]), key_width),
            text(&key["class"]),
            rate(number(&key["requests_per_s"])),
            sparkline(&key["history"]),
            percent(number(&key["share"])),
            offered,
            number(&key["connections"]),
            text(&key["node"]),
        ));
    }
    if list(keys).is_empty() {
        out.push("(no key is hot)".into());
    }
}

fn nodes(out: &mut Vec<String>, nodes: &Value) {
    out.push(String::new());
    out.push(format!(
        "{:24} {:8} {:10} {:>10} {:>6} {:>9} {:>9} {:>10}",
        "NODE", "ROLE", "STATE", "RATE/S", "SHARE", "ERRORS/S", "INFLIGHT", "P99"
    ));
    for node in list(nodes) {
        let state = if node["up"] == true { text(&node["state"]) } else { "down".into() };
        out.push(format!(
            "{:24} {:8} {:10} {:>10} {:>6} {:>9} {:>9} {:>10}",
            text(&node["node"]),
            text(&node["role"]),
            state,
            rate(number(&node["requests_per_s"])),
            percent(number(&node["share"])),
            rate(number(&node["errors_per_s"])),
            number(&node["inflight"]),
            node["p99_us"].as_f64().filter(|us| *us > 0.0).map_or("-".into(), duration_us),
        ));
    }
}

fn quotas(out: &mut Vec<String>, quotas: &Value, key_width: usize) {
    if list(quotas).is_empty() {
        return;
    }
    out.push(String::new());
    out.push(format!(
        "{:key_width$} {:10} {:22} {:>14} {:>12} {:>12} {:>9}",
        "QUOTA", "STATE", "USED", "REMAINING", "GRANTED/S", "REFUSED/S", "ENDS IN"
    ));
    for quota in list(quotas).iter().take(QUOTAS_MAX) {
        let state = match quota {
            quota if quota["paused"] == true => "paused",
            quota if quota["enforce"] == false => "shadow",
            quota if quota["exhausted"] == true => "sold out",
            _ => "open",
        };
        let used = quota["used_share"].as_f64();
        out.push(format!(
            "{:key_width$} {state:10} {:22} {:>14} {:>12} {:>12} {:>9}",
            fit(&text(&quota["key"]), key_width),
            used.map_or("not known".into(), |share| format!("{} {}", bar(share), percent(share))),
            quota["remaining"].as_i64().map_or("-".into(), whole),
            rate(number(&quota["admitted_per_s"])),
            rate(number(&quota["refused_per_s"])),
            quota["sold_out_in_s"].as_f64().map_or("-".into(), duration_s),
        ));
    }
}

fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * 14.0).round() as usize;
    format!("{}{}", "#".repeat(full), ".".repeat(14 - full))
}

fn sparkline(history: &Value) -> String {
    let values: Vec<f64> = list(history).iter().map(number).collect();
    let last = &values[values.len().saturating_sub(SPARK_SECONDS)..];
    let max = last.iter().copied().fold(1.0, f64::max);
    last.iter().map(|value| SPARKS[((value / max * 7.0).round() as usize).min(7)]).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(0.0)
}

/// The string without control characters.
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().chars().filter(|c| !c.is_control()).collect()
}

/// At most `width` characters, cut with an ellipsis.
fn fit(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars().take(width - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_shows_what_matters_and_fits() {
        let frame = json!({
            "stats": {
                "gateway": { "version": "0.1.0" }, "uptime_s": 3_700, "upstream_kind": "cluster",
                "status": { "level": "notice", "sentence": "k takes 61 % of all requests.", "others": [] },
                "now": { "requests_per_s": 84_213.0, "request_time": { "p50_us": 210.0, "p99_us": 1_300.0 } },
                "totals": { "clients": 412 },
            },
            "hotkeys": [{
                "key": "sku:{8421}:reserved\u{1b}[2J", "class": "counter", "requests_per_s": 84_000.0, "share": 0.61,
                "offered_per_s": 84_000.0, "flushed_per_s": 900.0, "connections": 396, "node": "10.0.0.1:6379",
                "history": [0, 10, 20],
            }],
            "nodes": [{ "node": "10.0.0.1:6379", "role": "master", "up": false, "state": "up" }],
            "quotas": [{ "key": "k", "used_share": 0.5, "remaining": 500_000, "exhausted": false, "enforce": true }],
        });
        for columns in [COLUMNS_MIN, 120, 200] {
            let lines = lines(&frame, columns);
            assert!(lines.iter().all(|line| line.chars().count() <= columns), "{lines:#?}");
            assert!(lines.iter().all(|line| !line.chars().any(char::is_control)));
        }
        let text = lines(&frame, 140).join("\n");
        for expect in [
            "[notice] k takes 61 %",
            "84,200/s",
            "84,000->900",
            "▁▅█",
            "down",
            "500,000",
            "#######.......",
            "up 62 min",
        ] {
            assert!(text.contains(expect), "{expect:?} in\n{text}");
        }
    }

    #[test]
    fn an_answer_that_is_not_a_frame_is_drawn_empty() {
        assert!(lines(&json!({ "stats": [], "hotkeys": 7 }), 80).join("\n").contains("(no key is hot)"));
    }
}
