//! The admin verb over RESP: `HOTGATE <subcommand>`, parsing and rendering.
//!
//! The control thread parses a command, answers the reading ones from the latest frame with [`answer`], and
//! hands changes of quotas to the registry. Structured answers are the JSON of the HTTP API in RESP's own
//! types, so that the two never differ.

use bytes::{Bytes, BytesMut};
use serde::Serialize;
use serde_json::Value;

use super::board::Frame;
use super::top;
use crate::admission::{QUOTA_HELP, Verb};
use crate::resp::{RespVersion, encode, parse_integer};
use crate::shared::keys;
use crate::shared::labels::Standout;

/// Keys in an answer when no COUNT is given.
const COUNT_DEFAULT: usize = 10;
/// The most that COUNT may ask for.
const COUNT_MAX: i64 = 1_000;
/// The width of a line of `HOTGATE TOP`.
const TOP_COLUMNS: u16 = 120;

/// A subcommand with its arguments.
#[derive(Debug, PartialEq, Eq)]
pub enum AdminCommand {
    /// `HOTKEYS [READ|WRITE|BYTES] [COUNT n]`
    Hotkeys {
        /// The order of the ranking.
        rank: HotRank,
        /// How many at most.
        count: usize,
    },
    /// `TOP`
    Top,
    /// `STATS`
    Stats,
    /// `QUOTA ...`
    Quota(Verb),
    /// `NODE host:port command ...`
    Node,
    /// `AUDIT [n]`: how many at most.
    Audit(usize),
    /// `EVENTS [n]`: how many at most.
    Events(usize),
    /// `BIGKEYS [n]`: how many at most.
    Bigkeys(usize),
    /// `SLOWLOG [kind] [n]`: of which kind, and how many at most.
    SlowLog(Standout, usize),
    /// `ROUTE LIST`
    Routes,
    /// `ROUTE GET key [USER user]`
    Place {
        /// The key.
        key: Bytes,
        /// For whom; nothing for who asks.
        user: Option<Bytes>,
    },
    /// `HELP`
    Help,
}

/// The orders of `HOTGATE HOTKEYS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HotRank {
    /// All accesses.
    Requests,
    /// Reads.
    Reads,
    /// Writes.
    Writes,
    /// Bytes in requests and replies.
    Bytes,
}

const HELP: [&str; 29] = [
    "HOTGATE <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "HOTKEYS [READ|WRITE|BYTES] [COUNT <n>]",
    "    Hot keys with their figures, hottest first by all accesses, reads, writes or bytes.",
    "TOP",
    "    What `hotgate top` shows, as lines of text.",
    "STATS",
    "    The status, the last second and the totals of this gateway.",
    "QUOTA SET <key> LIMIT <n>|RESET <key>|PAUSE <key>|RESUME <key>",
    "    Change the quota of a counter at every gateway.",
    "QUOTAS [LIST [<option> ...]|COUNT|GET <key>|HELP]",
    "    Look at the counters under quotas. QUOTA takes these words as well.",
    "NODE <host:port> <command> [<arg> ...]",
    "    Ask one server, or administer it, for a user who is given that by a rule.",
    "AUDIT [<n>]",
    "    The last changes that operators made: who, what, before, after. 10 unless told otherwise.",
    "EVENTS [<n>]",
    "    What happened last: hot keys, nodes, reloads, changes of quotas. 10 unless told otherwise.",
    "BIGKEYS [<n>]",
    "    Keys that showed themselves big in what passed, the largest first. 10 unless told otherwise.",
    "SLOWLOG [SLOW|LARGE-REQUEST|LARGE-REPLY] [<n>]",
    "    The last requests that stood out: whose, in which cluster, and where the time went. 10 unless told otherwise.",
    "ROUTE LIST|GET <key> [USER <user>]",
    "    Which keys go to which cluster, or where one key lives.",
    "HELP",
    "    Print this help.",
    "Commands about sales of reservations stand by themselves:",
    "RESERVE.OPEN|CLOSE|REOPEN|ADD|CONFIRM|CANCEL|CHECK|MCHECK|INFO|LIST|MOVE|DROP <sku> ...",
    "RESERVE.SKUS [AFTER <sku>] [COUNT <n>]",
    "    COMMAND DOCS RESERVE.ADD and docs/reservations.md tell of each.",
];

/// Parses what follows `HOTGATE`. The error is the text of the error reply.
pub fn parse(arguments: &[&[u8]]) -> Result<AdminCommand, String> {
    let (name, rest) =
        arguments.split_first().ok_or("ERR wrong number of arguments for 'hotgate' command")?;
    let upper: Vec<u8> = name.to_ascii_uppercase();
    match (upper.as_slice(), rest) {
        (b"HOTKEYS", rest) => hotkeys(rest),
        (b"TOP", []) => Ok(AdminCommand::Top),
        (b"STATS", []) => Ok(AdminCommand::Stats),
        (b"NODE", [_, _, ..]) => Ok(AdminCommand::Node),
        (b"AUDIT", []) => Ok(AdminCommand::Audit(COUNT_DEFAULT)),
        (b"AUDIT", [count]) => counted(count).map(AdminCommand::Audit),
        (b"EVENTS", []) => Ok(AdminCommand::Events(COUNT_DEFAULT)),
        (b"EVENTS", [count]) => counted(count).map(AdminCommand::Events),
        (b"BIGKEYS", []) => Ok(AdminCommand::Bigkeys(COUNT_DEFAULT)),
        (b"BIGKEYS", [count]) => counted(count).map(AdminCommand::Bigkeys),
        (b"SLOWLOG", rest) => slow_log(rest),
        (b"ROUTE", rest) => route(rest),
        (b"HELP", []) => Ok(AdminCommand::Help),
        (b"QUOTA", rest) => Verb::parse(rest).map(AdminCommand::Quota),
        (b"QUOTAS", rest) => reading_verb(rest).map(AdminCommand::Quota),
        (b"TOP" | b"STATS" | b"HELP" | b"AUDIT" | b"EVENTS" | b"BIGKEYS" | b"NODE", _) => {
            Err(wrong_arguments(name))
        }
        _ => Err(format!("ERR unknown subcommand '{}'. Try HOTGATE HELP.", keys::text(name))),
    }
}

/// How many entries are asked for.
fn counted(word: &[u8]) -> Result<usize, String> {
    let count = parse_integer(word).filter(|n| (1..=COUNT_MAX).contains(n));
    count.map(|count| count as usize).ok_or(format!("ERR value is not an integer from 1 to {COUNT_MAX}"))
}

fn slow_log(rest: &[&[u8]]) -> Result<AdminCommand, String> {
    let (kind, rest) = match rest.split_first() {
        Some((word, tail)) if parse_integer(word).is_none() => {
            let kind = Standout::parse(word);
            (kind.ok_or("ERR HOTGATE SLOWLOG takes SLOW, LARGE-REQUEST or LARGE-REPLY")?, tail)
        }
        _ => (Standout::Slow, rest),
    };
    match rest {
        [] => Ok(AdminCommand::SlowLog(kind, COUNT_DEFAULT)),
        [count] => counted(count).map(|count| AdminCommand::SlowLog(kind, count)),
        _ => Err(wrong_arguments(b"slowlog")),
    }
}

/// What follows `QUOTAS`: rules may allow that to who may change nothing, so nothing is changed by it.
fn reading_verb(rest: &[&[u8]]) -> Result<Verb, String> {
    match Verb::parse(if rest.is_empty() { &[b"LIST"] } else { rest })? {
        Verb::Change(..) => Err("ERR HOTGATE QUOTAS changes nothing; HOTGATE QUOTA does".into()),
        reading => Ok(reading),
    }
}

fn route(rest: &[&[u8]]) -> Result<AdminCommand, String> {
    let (word, rest) = rest.split_first().ok_or_else(|| wrong_arguments(b"route"))?;
    match (word.to_ascii_uppercase().as_slice(), rest) {
        (b"LIST", []) => Ok(AdminCommand::Routes),
        (b"GET", [key]) => Ok(AdminCommand::Place { key: Bytes::copy_from_slice(key), user: None }),
        (b"GET", [key, word, user]) if word.eq_ignore_ascii_case(b"user") => {
            let (key, user) = (Bytes::copy_from_slice(key), Some(Bytes::copy_from_slice(user)));
            Ok(AdminCommand::Place { key, user })
        }
        (b"LIST" | b"GET", _) => Err(wrong_arguments(b"route")),
        _ => Err("ERR HOTGATE ROUTE takes LIST or GET".into()),
    }
}

fn hotkeys(mut rest: &[&[u8]]) -> Result<AdminCommand, String> {
    let (mut rank, mut count) = (HotRank::Requests, COUNT_DEFAULT);
    while let Some((word, tail)) = rest.split_first() {
        rest = tail;
        match word.to_ascii_uppercase().as_slice() {
            b"READ" => rank = HotRank::Reads,
            b"WRITE" => rank = HotRank::Writes,
            b"BYTES" => rank = HotRank::Bytes,
            b"COUNT" => {
                let (value, tail) = rest.split_first().ok_or("ERR syntax error")?;
                rest = tail;
                let value = parse_integer(value).filter(|n| (1..=COUNT_MAX).contains(n));
                count = value.ok_or(format!("ERR COUNT must be between 1 and {COUNT_MAX}"))? as usize;
            }
            _ => return Err("ERR syntax error".into()),
        }
    }
    Ok(AdminCommand::Hotkeys { rank, count })
}

fn wrong_arguments(name: &[u8]) -> String {
    let name = keys::text(&name.to_ascii_lowercase());
    format!("ERR wrong number of arguments for 'hotgate|{name}' command")
}

/// Rows of quotas, of changes, of events, of requests or of routes.
pub fn listed(rows: &[impl Serialize], version: RespVersion) -> BytesMut {
    let mut out = BytesMut::new();
    put(&mut out, version, &json(&rows));
    out
}

/// One thing, by its names.
pub fn described(thing: &impl Serialize, version: RespVersion) -> BytesMut {
    let mut out = BytesMut::new();
    put(&mut out, version, &json(thing));
    out
}

/// Answers a reading command from a frame. What is asked about quotas, changes, events and routes is not answered here: `None`.
pub fn answer(command: &AdminCommand, frame: &Frame, version: RespVersion) -> Option<BytesMut> {
    let mut out = BytesMut::new();
    let view = &frame.view;
    match command {
        AdminCommand::Hotkeys { rank, count } => {
            let mut keys: Vec<_> = view.hot_keys.iter().collect();
            let by = |key: &super::view::HotKeyView| match rank {
                HotRank::Requests => key.requests_per_s,
                HotRank::Reads => key.reads_per_s,
                HotRank::Writes => key.writes_per_s,
                HotRank::Bytes => key.bytes_per_s,
            };
            keys.sort_by(|a, b| by(b).total_cmp(&by(a)));
            encode::array(&mut out, keys.len().min(*count));
            for key in keys.into_iter().take(*count) {
                put(&mut out, version, &json(key));
            }
        }
        AdminCommand::Top => {
            let shown: Value = serde_json::from_str(&frame.stream()).unwrap_or_default();
            put_lines(&mut out, &top::lines(shown, TOP_COLUMNS));
        }
        AdminCommand::Bigkeys(count) => {
            let keys = view.big_keys.keys.iter().take(*count);
            encode::array(&mut out, keys.len());
            keys.for_each(|key| put(&mut out, version, &json(key)));
        }
        AdminCommand::Stats => put(&mut out, version, &json(&view.stats)),
        AdminCommand::Help => put_lines(&mut out, &HELP),
        AdminCommand::Quota(Verb::Help) => put_lines(&mut out, QUOTA_HELP),
        AdminCommand::Quota(_) | AdminCommand::Audit(_) | AdminCommand::Events(_) | AdminCommand::Node => {
            return None;
        }
        AdminCommand::SlowLog(..) | AdminCommand::Routes | AdminCommand::Place { .. } => return None,
    }
    Some(out)
}

fn json(value: &impl serde::Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

fn put_lines(out: &mut BytesMut, lines: &[impl AsRef<str>]) {
    encode::array(out, lines.len());
    for line in lines {
        encode::simple(out, line.as_ref().trim_end());
    }
}

/// JSON in RESP's own types; numbers with a fraction are doubles, which RESP2 writes as bulk strings.
fn put(out: &mut BytesMut, version: RespVersion, value: &Value) {
    match value {
        Value::Null => encode::null(out, version),
        Value::Bool(flag) => encode::boolean(out, version, *flag),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => encode::integer(out, integer),
            None => encode::double(out, version, number.as_f64().unwrap_or(0.0)),
        },
        Value::String(text) => encode::bulk(out, text.as_bytes()),
        Value::Array(values) => {
            encode::array(out, values.len());
            values.iter().for_each(|value| put(out, version, value));
        }
        Value::Object(fields) => {
            encode::map(out, version, fields.len());
            for (name, value) in fields {
                encode::bulk(out, name.as_bytes());
                put(out, version, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<AdminCommand, String> {
        parse(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
    }

    #[test]
    fn commands() {
        let hotkeys = |rank, count| Ok(AdminCommand::Hotkeys { rank, count });
        for (line, expect) in [
            ("HOTKEYS", hotkeys(HotRank::Requests, COUNT_DEFAULT)),
            ("hotkeys write count 3", hotkeys(HotRank::Writes, 3)),
            ("hotkeys COUNT 1000 bytes", hotkeys(HotRank::Bytes, 1_000)),
            ("top", Ok(AdminCommand::Top)),
            ("audit", Ok(AdminCommand::Audit(COUNT_DEFAULT))),
            ("events 3", Ok(AdminCommand::Events(3))),
            ("bigkeys", Ok(AdminCommand::Bigkeys(COUNT_DEFAULT))),
            ("BIGKEYS 7", Ok(AdminCommand::Bigkeys(7))),
            ("slowlog", Ok(AdminCommand::SlowLog(Standout::Slow, COUNT_DEFAULT))),
            ("slowlog 3", Ok(AdminCommand::SlowLog(Standout::Slow, 3))),
            ("slowlog large-Reply 3", Ok(AdminCommand::SlowLog(Standout::LargeReply, 3))),
            ("AUDIT 1000", Ok(AdminCommand::Audit(1000))),
            ("route list", Ok(AdminCommand::Routes)),
            ("ROUTE get k", Ok(AdminCommand::Place { key: "k".into(), user: None })),
            ("ROUTE get k User eve", Ok(AdminCommand::Place { key: "k".into(), user: Some("eve".into()) })),
            ("quotas count", Ok(AdminCommand::Quota(Verb::Count))),
            ("quota count", Ok(AdminCommand::Quota(Verb::Count))),
            ("QUOTA GET k", Ok(AdminCommand::Quota(Verb::Get("k".into())))),
        ] {
            assert_eq!(parsed(line), expect, "{line}");
        }
    }

    #[test]
    fn mistakes_are_told() {
        for (line, expect) in [
            ("nonsense", "ERR unknown subcommand 'nonsense'. Try HOTGATE HELP."),
            ("hotkeys count 0", "ERR COUNT must be between 1 and 1000"),
            ("hotkeys count", "ERR syntax error"),
            ("hotkeys sideways", "ERR syntax error"),
            ("bigkeys 0", "ERR value is not an integer from 1 to 1000"),
            ("bigkeys 1 2", "ERR wrong number of arguments for 'hotgate|bigkeys' command"),
            ("audit 1001", "ERR value is not an integer from 1 to 1000"),
            ("slowlog quick", "ERR HOTGATE SLOWLOG takes SLOW, LARGE-REQUEST or LARGE-REPLY"),
            ("slowlog slow 0", "ERR value is not an integer from 1 to 1000"),
            ("slowlog 1 2", "ERR wrong number of arguments for 'hotgate|slowlog' command"),
            ("route get", "ERR wrong number of arguments for 'hotgate|route' command"),
            ("route set k", "ERR HOTGATE ROUTE takes LIST or GET"),
            ("stats now", "ERR wrong number of arguments for 'hotgate|stats' command"),
            ("quotas pause k", "ERR HOTGATE QUOTAS changes nothing; HOTGATE QUOTA does"),
            ("quota set k", "ERR wrong number of arguments for 'hotgate|quota|set' command"),
        ] {
            assert_eq!(parsed(line).unwrap_err(), expect, "{line}");
        }
        assert!(parse(&[]).is_err());
    }

    #[test]
    fn json_in_both_versions_of_resp() {
        let value = serde_json::json!({ "a": [1, 2.5, null, true, "x"] });
        for (version, expect) in [
            (RespVersion::Resp2, "*2\r\n$1\r\na\r\n*5\r\n:1\r\n$3\r\n2.5\r\n$-1\r\n:1\r\n$1\r\nx\r\n"),
            (RespVersion::Resp3, "%1\r\n$1\r\na\r\n*5\r\n:1\r\n,2.5\r\n_\r\n#t\r\n$1\r\nx\r\n"),
        ] {
            let mut out = BytesMut::new();
            put(&mut out, version, &value);
            assert_eq!(out, expect.as_bytes());
        }
    }
}
