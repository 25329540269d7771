//! `SLOWLOG` and `COMMANDLOG`: the requests of this gateway that stood out, in the shapes of Redis and of Valkey
//! (<https://redis.io/docs/latest/commands/slowlog-get/>, <https://valkey.io/commands/commandlog-get/>).
//!
//! The time of an entry is what its client waited for: queues, folding and Redis together. Where it went is shown over HTTP, since
//! libraries read just six fields here. The servers' own logs are asked for with `HOTGATE NODE host:port SLOWLOG GET`.

use crate::resp::{encode, parse_integer};
use crate::shared::audit::AuditEntry;
use crate::shared::command_log::{CommandLog, LoggedRequest};
use crate::shared::gateway::Gateway;
use crate::shared::labels::Standout;
use crate::shared::mailbox::ControlRequest;

/// What `SLOWLOG GET` shows without a number.
const SHOWN_USUALLY: usize = 10;

const SLOWLOG_HELP: [&str; 12] = [
    "SLOWLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET [<count>]",
    "    Return top <count> entries from the slowlog (default: 10, -1 mean all).",
    "    Entries are made of:",
    "    id, timestamp, time in microseconds, arguments array, client IP and port,",
    "    client name",
    "LEN",
    "    Return the length of the slowlog.",
    "RESET",
    "    Reset the slowlog.",
    "HELP",
    "    Prints this help.",
];

const COMMANDLOG_HELP: [&str; 16] = [
    "COMMANDLOG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "GET <count> <type>",
    "    Return top <count> entries of the specified <type> from the commandlog (-1 mean all).",
    "    Entries are made of:",
    "    id, timestamp,",
    "        time in microseconds for type of slow,",
    "        or size in bytes for type of large-request,",
    "        or size in bytes for type of large-reply",
    "    arguments array, client IP and port,",
    "    client name",
    "LEN <type>",
    "    Return the length of the specified type of commandlog.",
    "RESET <type>",
    "    Reset the specified type of commandlog.",
    "HELP",
    "    Print this help.",
];

/// Answers one command.
pub fn answer(gateway: &Gateway, question: &ControlRequest) -> Vec<u8> {
    let words: Vec<&[u8]> = question.arguments.iter().map(|argument| &argument[..]).collect();
    let mut out = Vec::new();
    let [name, subcommand, rest @ ..] = words.as_slice() else { return out };
    let is_slowlog = name.eq_ignore_ascii_case(b"slowlog");
    let subcommand = subcommand.to_ascii_lowercase();
    if subcommand == b"help" {
        let lines = if is_slowlog { &SLOWLOG_HELP[..] } else { &COMMANDLOG_HELP[..] };
        list_of_help(&mut out, lines);
        return out;
    }
    // The kind is the last argument of each subcommand of `COMMANDLOG`.
    let kind = match (is_slowlog, rest.last()) {
        (true, _) => Some(Standout::Slow),
        (false, last) => last.and_then(|word| Standout::parse(word)),
    };
    let Some(kind) = kind else {
        encode::error(&mut out, "ERR type should be one of the following: slow, large-request, large-reply");
        return out;
    };
    let log = &gateway.command_log;
    match subcommand.as_slice() {
        b"len" => encode::integer(&mut out, log.len(kind) as i64),
        b"reset" => {
            let entries = log.len(kind);
            log.reset(kind);
            let entry = AuditEntry::new(&question.asker.author(), change_of(is_slowlog, kind), "");
            gateway.audit.record(entry.from_to(format!("{entries} entries"), ""));
            encode::simple(&mut out, "OK");
        }
        _ if is_slowlog && rest.len() > 1 => {
            let said = String::from_utf8_lossy(words.get(1).copied().unwrap_or_default()).into_owned();
            let why = "unknown subcommand or wrong number of arguments for";
            encode::error(&mut out, format!("ERR {why} '{said}'. Try SLOWLOG HELP."));
        }
        _ => get(&mut out, log, kind, rest.first().copied()),
    }
    out
}

fn change_of(is_slowlog: bool, kind: Standout) -> String {
    match is_slowlog {
        true => "slowlog reset".to_owned(),
        false => format!("commandlog reset {}", kind.label()),
    }
}

fn get(out: &mut Vec<u8>, log: &CommandLog, kind: Standout, count: Option<&[u8]>) {
    let count = match count.map(parse_integer) {
        None => SHOWN_USUALLY,
        Some(Some(-1)) => usize::MAX,
        Some(Some(count)) if count >= 0 => usize::try_from(count).unwrap_or(usize::MAX),
        Some(_) => return encode::error(out, "ERR count should be greater than or equal to -1"),
    };
    let entries = log.latest(kind, count);
    encode::array(out, entries.len());
    for entry in &entries {
        write(out, kind, entry);
    }
}

fn write(out: &mut Vec<u8>, kind: Standout, entry: &LoggedRequest) {
    encode::array(out, 6);
    encode::integer(out, entry.id as i64);
    encode::integer(out, (entry.at_ms / 1000) as i64);
    encode::integer(out, entry.measure(kind) as i64);
    encode::array(out, entry.arguments.len());
    for argument in &entry.arguments {
        encode::bulk(out, argument);
    }
    encode::bulk(out, entry.address.as_bytes());
    encode::bulk(out, &entry.name);
}

fn list_of_help(out: &mut Vec<u8>, lines: &[&str]) {
    encode::array(out, lines.len());
    for line in lines {
        encode::simple(out, line);
    }
}
