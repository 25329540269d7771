//! What stands in which column of the tables, from which width of the screen on, and what it is sorted by.
//!
//! Everything that came from the gateway was escaped there; what could steer a terminal is dropped here too, so that a key's name
//! is only ever text.

use ratatui::style::{Color, Style};
use serde_json::Value;

use crate::monitor::status::{SILENT_MS, duration_s, duration_us, percent, rate, whole};

/// Characters for a sparkline's eight heights.
const SPARKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Characters of the bar of what is used.
const BAR_CHARS: usize = 10;

/// One column. The first one of a table takes the width that the others leave.
pub struct Column {
    /// Its head.
    pub title: &'static str,
    /// How wide it is.
    pub width: u16,
    /// The narrowest screen that has it.
    pub from: u16,
    /// Whether it stands at the right of its place.
    pub right: bool,
    /// What it shows of a row, in that width.
    pub text: fn(&Value, usize) -> String,
    /// What rows are sorted by; `None`: they are not, but by the first column, which is a name.
    pub rank: Option<fn(&Value) -> f64>,
    /// How it looks.
    pub style: fn(&Value) -> Style,
}

const fn words(title: &'static str, width: u16, from: u16, text: fn(&Value, usize) -> String) -> Column {
    Column { title, width, from, right: false, text, rank: None, style: |_| Style::new() }
}

const fn figure(
    title: &'static str,
    width: u16,
    from: u16,
    text: fn(&Value, usize) -> String,
    rank: fn(&Value) -> f64,
) -> Column {
    Column { title, width, from, right: true, text, rank: Some(rank), style: |_| Style::new() }
}

/// The hot keys.
pub const HOT_KEYS: &[Column] = &[
    words("HOT KEY", 0, 0, |row, _| text(&row["key"])),
    words("CLASS", 7, 0, |row, _| text(&row["class"])),
    figure("RATE/S", 9, 0, |row, _| rate(of(row, "requests_per_s")), |row| of(row, "requests_per_s")),
    words("LAST SECONDS", 16, 100, |row, width| sparkline(&row["history"], width)),
    figure("SHARE", 7, 0, |row, _| percent(of(row, "share")), |row| of(row, "share")),
    figure("TO REDIS", 16, 80, |row, _| to_redis(row), |row| of(row, "offered_per_s")),
    figure(
        "ADDED",
        9,
        150,
        |row, _| known(row, "added_wait_us", duration_us),
        |row| of(row, "added_wait_us"),
    ),
    figure("BYTES/S", 11, 170, |row, _| rate(of(row, "bytes_per_s")), |row| of(row, "bytes_per_s")),
    figure("CLIENTS", 8, 110, |row, _| about(of(row, "connections")), |row| of(row, "connections")),
    words("NODE", 21, 120, |row, width| fit(&text(&row["node"]), width)),
];

/// The nodes.
pub const NODES: &[Column] = &[
    words("NODE", 0, 0, |row, _| text(&row["node"])),
    words("ROLE", 8, 70, |row, _| text(&row["role"])),
    Column { style: state_style, ..words("STATE", 10, 0, |row, _| state(row)) },
    figure("RATE/S", 9, 0, |row, _| rate(of(row, "requests_per_s")), |row| of(row, "requests_per_s")),
    figure("SHARE", 7, 0, |row, _| percent(of(row, "share")), |row| of(row, "share")),
    Column {
        style: |row| alarming(row, "errors_per_s"),
        ..figure("ERRORS/S", 9, 0, |row, _| rate(of(row, "errors_per_s")), |row| of(row, "errors_per_s"))
    },
    figure("WAITING", 9, 80, |row, _| whole(of(row, "waiting") as i64), |row| of(row, "waiting")),
    figure("P50", 10, 130, |row, _| time(row, "p50_us"), |row| of(row, "p50_us")),
    figure("P99", 10, 90, |row, _| time(row, "p99_us"), |row| of(row, "p99_us")),
    figure("QUEUE", 10, 110, |row, _| time(row, "queue_us"), |row| of(row, "queue_us")),
    figure("KEYS", 11, 120, |row, _| count(row, "keys"), |row| of(row, "keys")),
    figure("SLOTS", 8, 140, |row, _| whole(of(row, "slots") as i64), |row| of(row, "slots")),
    figure("RECONNECTS", 11, 150, |row, _| whole(of(row, "reconnects") as i64), |row| of(row, "reconnects")),
];

/// The quotas.
pub const QUOTAS: &[Column] = &[
    words("QUOTA", 0, 0, |row, _| text(&row["key"])),
    Column { style: quota_style, ..words("STATE", 11, 0, |row, _| quota_state(row).to_owned()) },
    Column { right: false, ..figure("USED", 17, 90, |row, _| used(row), |row| of(row, "used_share")) },
    figure("REMAINING", 14, 70, |row, _| count(row, "remaining"), |row| -of(row, "remaining")),
    figure("LIMIT", 14, 120, |row, _| count(row, "limit"), |row| of(row, "limit")),
    figure("GRANTED/S", 10, 100, |row, _| rate(of(row, "admitted_per_s")), |row| of(row, "admitted_per_s")),
    figure("REFUSED/S", 10, 0, |row, _| rate(of(row, "refused_per_s")), |row| of(row, "refused_per_s")),
    figure(
        "ENDS IN",
        9,
        110,
        |row, _| known(row, "sold_out_in_s", duration_s),
        |row| -of(row, "sold_out_in_s"),
    ),
];

/// The sales of reservations.
pub const SALES: &[Column] = &[
    words("SALE", 0, 0, |row, _| text(&row["key"])),
    Column { style: sale_style, ..words("STATE", 9, 0, |row, _| sale_state(row).to_owned()) },
    Column { right: false, ..figure("TAKEN", 17, 90, |row, _| taken(row), |row| of(row, "taken_share")) },
    figure("LEFT", 13, 0, |row, _| whole(left(row)), |row| -(left(row) as f64)),
    figure("LIMIT", 13, 120, |row, _| count(row, "limit"), |row| of(row, "limit")),
    figure("HELD", 11, 110, |row, _| count(row, "held"), |row| of(row, "held")),
    figure("CONFIRMED", 13, 130, |row, _| count(row, "confirmed"), |row| of(row, "confirmed")),
    figure("TAKEN/S", 9, 70, |row, _| rate(of(row, "taken_per_s")), |row| of(row, "taken_per_s")),
    figure("REFUSED/S", 10, 0, |row, _| rate(of(row, "refused_per_s")), |row| of(row, "refused_per_s")),
    figure(
        "ENDS IN",
        9,
        100,
        |row, _| known(row, "sold_out_in_s", duration_s),
        |row| -of(row, "sold_out_in_s"),
    ),
];

/// The ledger, in one row.
pub const LEDGER: &[Column] = &[
    words("LEDGER", 0, 0, |row, _| database(row)),
    Column { style: ledger_style, ..words("STATE", 9, 0, |row, _| ledger_state(row).to_owned()) },
    figure("BEHIND", 11, 0, |row, _| count(row, "lag_entries"), |row| of(row, "lag_entries")),
    figure("OLDEST", 9, 70, |row, _| duration_s(of(row, "lag_s")), |row| of(row, "lag_s")),
    figure("ROWS/S", 9, 0, |row, _| rate(of(row, "rows_per_s")), |row| of(row, "rows_per_s")),
    figure("SALES", 8, 80, |row, _| count(row, "sales"), |row| of(row, "sales")),
    Column {
        style: |row| alarming(row, "late"),
        ..figure("LATE", 7, 90, |row, _| count(row, "late"), |row| of(row, "late"))
    },
    Column {
        style: |row| alarming(row, "halted"),
        ..figure("HALTED", 7, 0, |row, _| count(row, "halted"), |row| of(row, "halted"))
    },
    figure("ERRORS", 9, 100, |row, _| whole(errors(row)), |row| errors(row) as f64),
    words("HALTED BY A GAP", 30, 140, |row, width| fit(&text(&row["halted_named"][0]["key"]), width)),
];

fn of(row: &Value, field: &str) -> f64 {
    row[field].as_f64().unwrap_or(0.0)
}

fn known(row: &Value, field: &str, words: fn(f64) -> String) -> String {
    row[field].as_f64().map_or("-".to_owned(), words)
}

fn count(row: &Value, field: &str) -> String {
    row[field].as_i64().map_or("-".to_owned(), whole)
}

fn time(row: &Value, field: &str) -> String {
    Some(of(row, field)).filter(|us| *us > 0.0).map_or("-".to_owned(), duration_us)
}

/// An estimate is shown as one.
fn about(count: f64) -> String {
    if count < 1.0 { "-".to_owned() } else { format!("~{}", whole(count as i64)) }
}

fn to_redis(row: &Value) -> String {
    match (row["offered_per_s"].as_f64(), row["flushed_per_s"].as_f64()) {
        (Some(offered), Some(flushed)) => format!("{}->{}", rate(offered), rate(flushed)),
        _ => "-".to_owned(),
    }
}

/// What is wrong with a node in a word; otherwise how the workers are connected to it.
fn state(row: &Value) -> String {
    let (probe, silent_ms) = (&row["probe"], of(row, "silent_ms"));
    let says = |field: &str| probe[field].as_str().is_some_and(|word| !word.is_empty());
    match row {
        _ if silent_ms >= SILENT_MS as f64 && probe["paused"] == true => "paused".to_owned(),
        _ if silent_ms >= SILENT_MS as f64 => "silent".to_owned(),
        row if row["up"] != true && probe["unlinked"] == true && !says("unreachable") => "no link".to_owned(),
        row if row["up"] != true => "down".to_owned(),
        _ if says("refuses") => text(&probe["refuses"]),
        _ if says("turns_away") => "turns away".to_owned(),
        _ if probe["stranger"] == true => "stranger".to_owned(),
        row => text(&row["state"]),
    }
}

fn state_style(row: &Value) -> Style {
    match state(row).as_str() {
        "up" | "idle" => Style::new(),
        "connecting" => Style::new().fg(Color::Yellow),
        _ if row["role"] == "replica" => Style::new().fg(Color::Yellow),
        _ => Style::new().fg(Color::Red),
    }
}

fn quota_state(row: &Value) -> &'static str {
    let rate = row["window_ms"].is_number();
    match row {
        row if of(row, "refused_unavailable_per_s") > 0.0 => "Redis away",
        row if row["fault"].as_str().is_some_and(|fault| !fault.is_empty()) => "can't apply",
        row if row["paused"] == true => "paused",
        row if row["enforce"] == false => "shadow",
        row if row["exhausted"] == true && rate => "at its rate",
        row if row["exhausted"] == true => "sold out",
        _ => "open",
    }
}

fn quota_style(row: &Value) -> Style {
    match quota_state(row) {
        "Redis away" | "can't apply" => Style::new().fg(Color::Red),
        "paused" => Style::new().fg(Color::Yellow),
        "sold out" => Style::new().fg(Color::Blue),
        _ => Style::new(),
    }
}

fn sale_state(row: &Value) -> &'static str {
    match row["state"].as_str().unwrap_or_default() {
        "open" => "open",
        "notopen" => "later",
        "soldout" => "sold out",
        "closed" => "closed",
        "ended" => "ended",
        "moved" => "moved",
        _ => "not there",
    }
}

fn sale_style(row: &Value) -> Style {
    match sale_state(row) {
        "sold out" => Style::new().fg(Color::Blue),
        "closed" | "not there" => Style::new().fg(Color::Yellow),
        _ => Style::new(),
    }
}

/// The database that it writes to, once it has said so.
fn database(row: &Value) -> String {
    Some(text(&row["database"])).filter(|word| !word.is_empty()).unwrap_or_else(|| "-".to_owned())
}

fn ledger_state(row: &Value) -> &'static str {
    match row["state"].as_str().unwrap_or_default() {
        "following" => "follows",
        "waiting" => "waits",
        "silent" => "silent",
        _ => "not known",
    }
}

fn ledger_style(row: &Value) -> Style {
    match ledger_state(row) {
        "waits" | "silent" => Style::new().fg(Color::Red),
        _ => Style::new(),
    }
}

fn alarming(row: &Value, field: &str) -> Style {
    if of(row, field) > 0.0 { Style::new().fg(Color::Red) } else { Style::new() }
}

/// What went wrong since its start, whatever the cause.
fn errors(row: &Value) -> i64 {
    row["errors"].as_array().into_iter().flatten().filter_map(|cause| cause[1].as_i64()).sum()
}

fn left(row: &Value) -> i64 {
    let number = |field: &str| row[field].as_i64().unwrap_or(0);
    (number("limit") - number("taken")).max(0)
}

fn taken(row: &Value) -> String {
    bar(of(row, "taken_share"))
}

fn used(row: &Value) -> String {
    row["used_share"].as_f64().map_or("not known".to_owned(), bar)
}

fn bar(share: f64) -> String {
    let full = (share.clamp(0.0, 1.0) * BAR_CHARS as f64).round() as usize;
    format!("{}{} {}", "#".repeat(full), ".".repeat(BAR_CHARS - full), percent(share))
}

fn sparkline(history: &Value, width: usize) -> String {
    let values: Vec<f64> =
        history.as_array().into_iter().flatten().map(|value| value.as_f64().unwrap_or(0.0)).collect();
    let last = &values[values.len().saturating_sub(width)..];
    let max = last.iter().copied().fold(1.0, f64::max);
    last.iter().map(|value| SPARKS[((value / max * 7.0).round() as usize).min(7)]).collect()
}

/// A string without control characters, and without those that turn the direction of what follows, whatever answered.
pub fn text(value: &Value) -> String {
    let turns =
        |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    value.as_str().unwrap_or_default().chars().filter(|c| !c.is_control() && !turns(*c)).collect()
}

/// At most `width` cells, cut in the middle: names of keys often differ at their ends.
pub fn fit(line: &str, width: usize) -> String {
    let cells = |text: &str| ratatui::text::Span::raw(text).width();
    if cells(line) <= width {
        return line.to_owned();
    }
    let kept = width.saturating_sub(1);
    let (mut head, mut tail) = (String::new(), Vec::new());
    let mut buffer = [0; 4];
    for c in line.chars() {
        if cells(&head) + cells(c.encode_utf8(&mut buffer)) > kept.div_ceil(2) {
            break;
        }
        head.push(c);
    }
    let mut left = kept - cells(&head);
    for c in line.chars().rev() {
        let wide = cells(c.encode_utf8(&mut buffer));
        if wide > left {
            break;
        }
        left -= wide;
        tail.push(c);
    }
    head.push('…');
    head.extend(tail.into_iter().rev());
    head
}
