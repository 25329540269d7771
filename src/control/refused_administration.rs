//! What of the administration of servers is not passed on, whoever asks: what would take the server away from the gateway, or go past the
//! rules about its keys.

use bytes::Bytes;

use crate::command::{Class, Command, CommandFlags, Fan, Group, Local};

/// Parameters by which the gateway reaches the server.
const WAY_TO_THE_SERVER: [&[u8]; 5] = [b"requirepass", b"port", b"tls-port", b"bind", b"unixsocket"];

/// Parameters of which `CONFIG GET` shows the gateway's own value.
const OF_THE_GATEWAY: [&[u8]; 13] = [
    b"maxclients",
    b"timeout",
    b"tcp-keepalive",
    b"proto-max-bulk-len",
    b"client-query-buffer-limit",
    b"slowlog-log-slower-than",
    b"slowlog-max-len",
    b"commandlog-execution-slower-than",
    b"commandlog-request-larger-than",
    b"commandlog-reply-larger-than",
    b"commandlog-slow-execution-max-len",
    b"commandlog-large-request-max-len",
    b"commandlog-large-reply-max-len",
];

/// Words of `DEBUG` that end the process of the server.
const ENDS_THE_SERVER: [&[u8]; 7] =
    [b"segfault", b"panic", b"restart", b"crash-and-recover", b"oom", b"assert", b"crash-and-abort"];

/// Why this is not passed on to all masters, if it is not.
pub fn refused_at_all(name: &str, arguments: &[Bytes]) -> Option<&'static str> {
    let sets = |known: &[&[u8]]| {
        let mut names = arguments.iter().skip(2).step_by(2);
        names.any(|word| known.iter().any(|known| word.eq_ignore_ascii_case(known)))
    };
    match name {
        "config|set" if sets(&OF_THE_GATEWAY) => Some(
            "CONFIG GET shows the gateway's own value of that parameter, which its configuration sets; \
             HOTGATE NODE host:port sets a server's",
        ),
        _ => refused_anywhere(name, arguments),
    }
}

/// Why this is passed on to no server, if it is not.
pub fn refused_anywhere(name: &str, arguments: &[Bytes]) -> Option<&'static str> {
    let is_one_of =
        |word: &Bytes, words: &[&[u8]]| words.iter().any(|known| word.eq_ignore_ascii_case(known));
    match name {
        "config|set"
            if arguments.iter().skip(2).step_by(2).any(|word| is_one_of(word, &WAY_TO_THE_SERVER)) =>
        {
            Some(
                "the gateway would not reach the server any more; change it at the server, and in [upstream] by a reload",
            )
        }
        "debug" if arguments.get(1).is_some_and(|word| is_one_of(word, &ENDS_THE_SERVER)) => {
            Some("it ends the server under every client of the gateway; send it to the server directly")
        }
        _ => None,
    }
}

/// Why one node is not asked this, if it is not.
pub fn refused_at_a_node(command: &Command, arguments: &[Bytes]) -> Option<&'static str> {
    let name = &*command.name;
    let runs_code = command.group == Group::Scripting
        && ["eval", "evalsha", "fcall"].iter().any(|known| name.starts_with(known));
    let blocks = command.flags.contains(CommandFlags::BLOCKING);
    match command.class {
        Class::Refuse(why) => Some(why),
        Class::Session(_) => Some("it holds state of a connection, and this one ends with the answer"),
        Class::Local(
            Local::Auth | Local::Hello | Local::Quit | Local::Reset | Local::Select | Local::Readonly,
        ) => Some("it holds state of a connection, and this one ends with the answer"),
        Class::Local(Local::Hotgate) | Class::Local(Local::Reserve) | Class::Reserve(_) => {
            Some("it is the gateway's own; send it without HOTGATE NODE")
        }
        Class::Local(Local::Client) if name == "client|reply" => {
            Some("it holds state of a connection, and this one ends with the answer")
        }
        _ if command.is_write() || runs_code || blocks => Some(
            "a node is asked about itself; what changes data goes through the gateway, without HOTGATE NODE",
        ),
        Class::Fan(Fan::Scan | Fan::RandomKey) => {
            Some("it names keys of the gateway's own; send it without HOTGATE NODE")
        }
        Class::Fan(Fan::ConcatArrays) if name == "keys" => {
            Some("it names keys of the gateway's own; send it without HOTGATE NODE")
        }
        _ => refused_anywhere(name, arguments),
    }
}
