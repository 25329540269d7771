//! What the table, the search for keys and the replies to `COMMAND` say, held against Redis 7.0 itself.

use std::collections::BTreeSet;

use redis_protocol::resp2;
use redis_protocol::resp2::types::Resp2Frame;

use super::oracle::{Arguments, Oracle};
use super::{Class, CommandTable, KeyPositions, UpstreamCommand, render, upstream};
use crate::resp::RespVersion;

fn answer(table: &CommandTable, arguments: &Arguments, version: RespVersion) -> Vec<u8> {
    let mut reply = Vec::new();
    let style = render::Style { version, policies: true };
    render::command(table, &arguments.request(), style, &mut reply);
    reply
}

fn decode(reply: &[u8]) -> resp2::types::OwnedFrame {
    resp2::decode::decode(reply).unwrap().unwrap().0
}

fn array(frame: resp2::types::OwnedFrame) -> Vec<resp2::types::OwnedFrame> {
    if let resp2::types::OwnedFrame::Array(items) = frame { items } else { panic!("no array: {frame:?}") }
}

fn texts(reply: &[u8]) -> BTreeSet<String> {
    let text = |frame: &resp2::types::OwnedFrame| frame.to_string().unwrap();
    array(decode(reply)).iter().map(text).collect()
}

/// The reply to `COMMAND INFO` about one command, without what the gateway leaves out on purpose (tips and notes)
/// and without subcommands, whose order is a matter of hashing.
fn without_tips(reply: &[u8]) -> Vec<resp2::types::OwnedFrame> {
    let mut command = array(array(decode(reply)).remove(0));
    command[7] = resp2::types::OwnedFrame::Null;
    command[9] = resp2::types::OwnedFrame::Null;
    let mut specs = array(command[8].clone());
    for spec in &mut specs {
        if let resp2::types::OwnedFrame::Array(fields) = spec
            && fields[0].as_str() == Some("notes")
        {
            fields.drain(..2);
        }
    }
    command[8] = resp2::types::OwnedFrame::Array(specs);
    command
}

#[test]
fn says_of_every_command_what_redis_says() {
    let (mut redis, table) = (Oracle::start(RespVersion::Resp2), CommandTable::builtin());
    let names = texts(&redis.ask(&Arguments::of_line("COMMAND LIST")));
    assert!(names.len() > 360, "{}", names.len());
    for name in names {
        let info = Arguments::new(&["COMMAND", "INFO", &name]);
        let (ours, theirs) = (answer(&table, &info, RespVersion::Resp2), redis.ask(&info));
        assert!(table.lookup_full_name(name.as_bytes()).is_some(), "{name} is not in the table");
        assert_eq!(without_tips(&ours), without_tips(&theirs), "{name}");
    }
}

#[test]
fn filters_by_category_as_redis_does() {
    let (mut redis, table) = (Oracle::start(RespVersion::Resp2), CommandTable::builtin());
    let known = texts(&redis.ask(&Arguments::of_line("COMMAND LIST")));
    for filter in
        ["ACLCAT read", "aclcat DANGEROUS", "ACLCAT none", "PATTERN *SCAN", "PATTERN c*|*set*", "MODULE x"]
    {
        let list = Arguments::of_line(&format!("COMMAND LIST FILTERBY {filter}"));
        let ours = texts(&answer(&table, &list, RespVersion::Resp2));
        let ours: BTreeSet<_> = ours.intersection(&known).cloned().collect();
        assert_eq!(ours, texts(&redis.ask(&list)), "{filter}");
    }
}

#[test]
fn answers_byte_for_byte_as_redis() {
    let table = CommandTable::builtin();
    for version in [RespVersion::Resp2, RespVersion::Resp3] {
        let mut redis = Oracle::start(version);
        for line in [
            "COMMAND INFO get nonesuch zunionstore georadius xread",
            "COMMAND INFO config|get CONFIG|nonesuch",
            "COMMAND HELP",
            "COMMAND LIST FILTERBY",
            "COMMAND LIST FILTERBY NONE x",
            "COMMAND LIST FILTERBY ACLCAT none",
            "COMMAND DOCS nonesuch",
        ] {
            let arguments = Arguments::of_line(line);
            let (ours, theirs) = (answer(&table, &arguments, version), redis.ask(&arguments));
            assert_eq!(String::from_utf8_lossy(&ours), String::from_utf8_lossy(&theirs), "{line}");
        }
    }
}

/// Requests of every shape of keys, right and wrong.
const KEYED: &[&str] = &[
    "GET a",
    "get",
    "get a b",
    "nonesuch a",
    "PING",
    "MGET a b c",
    "MSET a 1 b 2",
    "MSET a 1 b",
    "DEL a b",
    "SET a 1",
    "SET a 1 PX 5 GET",
    "BITFIELD a GET u8 0",
    "BITFIELD a SET u8 0 1",
    "BITOP AND d a b",
    "BLPOP a b 0",
    "BLMOVE a b LEFT RIGHT 0",
    "LMOVE a b LEFT RIGHT",
    "LMPOP 2 a b LEFT",
    "LMPOP 0 a LEFT",
    "LMPOP 3 a LEFT",
    "LMPOP x a LEFT",
    "BLMPOP 0 2 a b LEFT",
    "BZMPOP 0 1 a MIN",
    "ZUNION 2 a b WITHSCORES",
    "ZUNIONSTORE d 2 a b WEIGHTS 1 2",
    "ZINTERSTORE d 9 a b",
    "ZDIFF 2 a b",
    "SINTERCARD 2 a b LIMIT 1",
    "SINTERCARD 9223372036854775807 a b",
    "EVAL s 2 a b c",
    "EVAL s 0",
    "EVAL s 0 a",
    "EVAL s -1",
    "EVAL s 3 a",
    "EVALSHA_RO s 1 a",
    "FCALL f 1 a x",
    "XREAD COUNT 1 STREAMS a b 0 0",
    "XREAD BLOCK 0 STREAMS streams 0",
    "XREAD COUNT 1 BLOCK 0",
    "XREADGROUP GROUP STREAMS c STREAMS a >",
    "XREADGROUP GROUP g c COUNT 1 NOACK STREAMS a b > >",
    "SORT a",
    "SORT a BY store GET x LIMIT 0 1 STORE d",
    "SORT a STORE d STORE e",
    "SORT a STORE",
    "SORT a LIMIT store 1 get STORE by store",
    "SORT_RO a BY x",
    "GEORADIUS a 0 0 1 m STORE d",
    "GEORADIUS a 0 0 1 m STOREDIST d",
    "GEORADIUSBYMEMBER a m 1 m ASC STORE d",
    "GEORADIUSBYMEMBER a m 1 m STORE",
    "GEOSEARCHSTORE d a FROMMEMBER m BYRADIUS 1 m",
    "MIGRATE h 1 a 0 1",
    "MIGRATE h 1 a 0 1 COPY AUTH KEYS",
    "MIGRATE h 1 a 0 1 KEYS b",
    "MIGRATE h 1 \"\" 0 1 KEYS",
    "MIGRATE h 1 \"\" 0 1 AUTH KEYS REPLACE KEYS b c",
    "MIGRATE h 1 \"\" 0 1 AUTH2 KEYS x keys b",
    "OBJECT ENCODING a",
    "OBJECT HELP",
    "OBJECT nonesuch a",
    "OBJECT",
    "MEMORY USAGE a SAMPLES 5",
    "XINFO STREAM a FULL",
    "XGROUP CREATE a g $",
    "COPY a b DB 1",
    "LCS a b LEN",
    "PFMERGE d a b",
    "PFDEBUG GETREG a",
    "SPUBLISH c m",
    "SUBSCRIBE c",
    "WATCH a b",
    "RENAME a b",
    "CONFIG GET x",
];

#[test]
fn finds_the_keys_that_redis_finds() {
    let table = CommandTable::builtin();
    for version in [RespVersion::Resp2, RespVersion::Resp3] {
        let mut redis = Oracle::start(version);
        for (line, subcommand) in KEYED.iter().flat_map(|line| [(line, "GETKEYS"), (line, "GETKEYSANDFLAGS")])
        {
            let arguments = Arguments::of_line(&format!("COMMAND {subcommand} {line}"));
            // Redis wants two words of the request at least.
            if arguments.request().len() < 4 {
                continue;
            }
            let (ours, theirs) = (answer(&table, &arguments, version), redis.ask(&arguments));
            assert_eq!(
                String::from_utf8_lossy(&ours),
                String::from_utf8_lossy(&theirs),
                "{subcommand} {line}"
            );
        }
    }
}

#[test]
fn words_errors_as_redis_does() {
    let (mut redis, table) = (Oracle::start(RespVersion::Resp2), CommandTable::builtin());
    let long = "x".repeat(300);
    for line in [
        "nonesuch",
        "NoneSuch a b",
        &format!("nonesuch {} {}", &long[..100], &long[..100]),
        &format!("nonesuch {long} b"),
        &format!("{long} b"),
        "config|get maxmemory",
        "GET",
        "get a b",
        "OBJECT",
        "object nonesuch",
        &format!("CoNfIg {long}"),
        "OBJECT ENCODING",
        "object Encoding a b",
        "CLIENT nonesuch a b",
    ] {
        let arguments = Arguments::of_line(line);
        let error = table.resolve(&arguments.request()).unwrap_err().message(&arguments.request());
        assert_eq!([b"-", &error[..], b"\r\n"].concat(), redis.ask(&arguments), "{line}");
    }
}

/// What the table itself would read from a reply that it wrote.
fn as_upstream(table: &CommandTable, name: &str) -> UpstreamCommand {
    let command = table.get(table.lookup_full_name(name.as_bytes()).unwrap());
    UpstreamCommand {
        name: command.name.to_string(),
        arity: command.arity,
        flags: command.flags,
        key_range: command.key_range,
        categories: command.categories,
        tips: Vec::new(),
        notes: Vec::new(),
        subcommands: Vec::new(),
        key_specs: command.key_specs.to_vec(),
    }
}

#[test]
fn reads_the_upstream_s_own_commands() {
    let table = CommandTable::builtin();
    let command = Arguments::of_line("COMMAND");
    let mut commands = upstream::parse_resp2(&decode(&Oracle::start(RespVersion::Resp2).ask(&command)));
    assert_eq!(commands.iter().find(|command| command.name == "config").unwrap().subcommands.len(), 5);
    let subcommands = commands.iter_mut().flat_map(|command| std::mem::take(&mut command.subcommands));
    let subcommands: Vec<_> = subcommands.collect();
    assert!(commands.len() + subcommands.len() > 360);
    for theirs in commands.into_iter().chain(subcommands) {
        let mut ours = as_upstream(&table, &theirs.name);
        (ours.tips, ours.notes) = (theirs.tips.clone(), theirs.notes.clone());
        // Redis does not tell where SORT looks for STORE.
        if theirs.name == "sort" {
            ours.key_specs = theirs.key_specs.clone();
        }
        assert_eq!(ours, theirs);
    }
}

#[test]
fn knows_nothing_new_of_an_upstream_it_knows() {
    let table = CommandTable::builtin();
    let reply = decode(&Oracle::start(RespVersion::Resp2).ask(&Arguments::of_line("COMMAND")));
    let with_upstream = table.with_upstream(upstream::parse_resp2(&reply));
    assert_eq!(with_upstream.len(), table.len());
    for ((_, before), (_, after)) in table.iter().zip(with_upstream.iter()) {
        assert_eq!((&before.name, before.arity, before.class), (&after.name, after.arity, after.class));
    }
}

#[test]
fn finds_keys_by_what_the_upstream_says_alone() {
    let builtin = CommandTable::builtin();
    let reply = decode(&Oracle::start(RespVersion::Resp2).ask(&Arguments::of_line("COMMAND")));
    let told = CommandTable::empty().with_upstream(upstream::parse_resp2(&reply));
    for line in KEYED.iter().filter(|line| !line.starts_with("SORT")) {
        let arguments = Arguments::of_line(line);
        let request = arguments.request();
        let find = |table: &CommandTable| {
            let id = table.resolve(&request).ok()?;
            let mut keys = KeyPositions::new();
            Some(table.get(id).keys(&request, &mut keys).map(|()| keys))
        };
        assert_eq!(find(&builtin), find(&told), "{line}");
        if let Ok(id) = told.resolve(&request) {
            let has_keys = matches!(find(&told), Some(Ok(keys)) if !keys.is_empty());
            assert!(!has_keys || !matches!(told.get(id).class, Class::AnyNode | Class::Refuse(_)), "{line}");
        }
    }
}
