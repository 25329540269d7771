//! `COMMAND DOCS`: the server's documentation, plus the gateway's own for commands that the server lacks.
//!
//! The server is asked in RESP2. For a RESP3 client its flat arrays become maps and sets again, by the names of the fields
//! (<https://redis.io/docs/latest/commands/command-docs/>).

use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;

use super::upstream_questions::{Targets, UpstreamQuestions};
use crate::command::{CommandTable, render};
use crate::resp::{RespVersion, encode};

/// Answers `COMMAND DOCS [name ...]`.
pub async fn answer(
    table: &CommandTable,
    servers: &UpstreamQuestions,
    names: &[&[u8]],
    version: RespVersion,
    out: &mut Vec<u8>,
) {
    let words: Vec<&[u8]> = [&b"COMMAND"[..], b"DOCS"].into_iter().chain(names.iter().copied()).collect();
    let answers = servers.ask(Targets::OneMaster, &words).await;
    // A server before 7.0 has no such command: its reply is an error.
    let frame = answers.replies.first().and_then(|reply| decode(reply).ok().flatten());
    let theirs = frame.as_ref().map(|(frame, _)| pairs(frame)).unwrap_or_default();
    let of_server = |name: &str| theirs.iter().find(|(known, _)| text(known) == Some(name.as_bytes()));
    let mut shown: Vec<Vec<u8>> = Vec::new();
    let mut show = |name: &str, from_table: bool| {
        let mut entry = Vec::new();
        if let Some((name, docs)) = of_server(name) {
            plain(name, version, &mut entry);
            command(docs, version, &mut entry);
        } else if let Some(command) = table.offered(name.as_bytes()).filter(|_| from_table) {
            encode::bulk(&mut entry, name.as_bytes());
            render::docs(table, command, version, &mut entry);
        }
        shown.extend((!entry.is_empty()).then_some(entry));
    };
    if names.is_empty() {
        for (name, _) in &theirs {
            text(name)
                .and_then(|name| std::str::from_utf8(name).ok())
                .into_iter()
                .for_each(|name| show(name, false));
        }
        let others = table.top_level().filter(|command| of_server(&command.name).is_none());
        others.for_each(|command| show(&command.name, true));
    } else {
        names.iter().for_each(|name| show(&String::from_utf8_lossy(name).to_lowercase(), true));
    }
    encode::map(out, version, shown.len());
    shown.iter().for_each(|entry| out.extend_from_slice(entry));
}

/// A map, which RESP2 gives as a flat array.
fn pairs(frame: &OwnedFrame) -> Vec<(&OwnedFrame, &OwnedFrame)> {
    array(frame).chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect()
}

fn array(frame: &OwnedFrame) -> &[OwnedFrame] {
    if let OwnedFrame::Array(items) = frame { items } else { &[] }
}

fn text(frame: &OwnedFrame) -> Option<&[u8]> {
    if let OwnedFrame::SimpleString(text) | OwnedFrame::BulkString(text) = frame { Some(text) } else { None }
}

/// The documentation of one command, or of one argument.
fn command(docs: &OwnedFrame, version: RespVersion, out: &mut Vec<u8>) {
    let fields = pairs(docs);
    encode::map(out, version, fields.len());
    for (name, value) in fields {
        plain(name, version, out);
        match text(name).unwrap_or_default() {
            b"subcommands" => {
                let subcommands = pairs(value);
                encode::map(out, version, subcommands.len());
                for (name, docs) in subcommands {
                    plain(name, version, out);
                    command(docs, version, out);
                }
            }
            b"arguments" => {
                encode::array(out, array(value).len());
                array(value).iter().for_each(|argument| command(argument, version, out));
            }
            b"doc_flags" | b"flags" | b"history" => {
                encode::set(out, version, array(value).len());
                array(value).iter().for_each(|item| plain(item, version, out));
            }
            _ => plain(value, version, out),
        }
    }
}

/// As it came.
fn plain(frame: &OwnedFrame, version: RespVersion, out: &mut Vec<u8>) {
    match frame {
        OwnedFrame::SimpleString(text) => encode::simple(out, text),
        OwnedFrame::BulkString(text) => encode::bulk(out, text),
        OwnedFrame::Integer(number) => encode::integer(out, *number),
        OwnedFrame::Error(text) => encode::error(out, text),
        OwnedFrame::Null => encode::null(out, version),
        OwnedFrame::Array(items) => {
            encode::array(out, items.len());
            items.iter().for_each(|item| plain(item, version, out));
        }
    }
}
