//! The replies to `COMMAND` and its subcommands, from the gateway's own table and in the shape of Redis 7:
//! <https://redis.io/docs/latest/commands/command/>.
//!
//! Tips are the upstream's. Where clients see a cluster, those on policies are left out: they tell clients to send a command
//! to all shards and to merge the replies (`request_policy`, `response_policy`), which is what the gateway does; a client
//! that did so as well would count twice.
//!
//! Deliberately does not: hold the documentation of commands. `COMMAND DOCS` is the upstream's; [`docs`] has what is known
//! here, summary, version, group and arguments, for the gateway's own commands and while no upstream answers.

use bytes::BufMut;

use super::arguments;
use super::command::Command;
use super::flags::{Categories, CommandFlags, KeyFlags};
use super::glob;
use super::keys::{Begin, Find, KeyError, KeyPositions, KeySpec};
use super::lookup::CommandTable;
use crate::resp::{Request, RespVersion, Span, encode};

/// How commands are described.
#[derive(Clone, Copy, Debug)]
pub struct Style {
    /// The protocol.
    pub version: RespVersion,
    /// Whether tips on policies are given.
    pub policies: bool,
}

/// Writes the reply to a request that [`CommandTable::resolve`] found to be `COMMAND` or one of its subcommands.
pub fn command(table: &CommandTable, request: &Request, style: Style, out: &mut impl BufMut) {
    let names = || request.args().skip(2);
    let version = style.version;
    match request.arg(1).map(<[u8]>::to_ascii_lowercase).as_deref() {
        None => infos(table, style, out),
        Some(b"info") if request.len() == 2 => infos(table, style, out),
        Some(b"info") => {
            encode::array(out, request.len() - 2);
            names().for_each(|name| info_of_name(table, name, style, out));
        }
        Some(b"docs") if request.len() == 2 => docs_of(table, table.top_level().collect(), version, out),
        Some(b"docs") => {
            let found = names().filter_map(|name| table.offered(name));
            docs_of(table, found.collect(), version, out);
        }
        Some(b"count") => encode::integer(out, table.top_level().count() as i64),
        Some(b"list") => list(table, request, out),
        Some(b"getkeys") => get_keys(table, request, |key, _, out| encode::bulk(out, key), out),
        Some(b"getkeysandflags") => {
            let key_and_flags = |key: &[u8], flags: KeyFlags, out: &mut _| {
                encode::array(out, 2);
                encode::bulk(out, key);
                names_of(flags.names(), "", version, out);
            };
            get_keys(table, request, key_and_flags, out);
        }
        Some(_) => help(out),
    }
}

fn infos(table: &CommandTable, style: Style, out: &mut impl BufMut) {
    encode::array(out, table.top_level().count());
    table.top_level().for_each(|command| info(table, command, style, out));
}

fn info_of_name(table: &CommandTable, name: &[u8], style: Style, out: &mut impl BufMut) {
    match table.offered(name) {
        Some(command) => info(table, command, style, out),
        None => encode::null(out, style.version),
    }
}

fn info<B: BufMut>(table: &CommandTable, command: &Command, style: Style, out: &mut B) {
    let version = style.version;
    encode::array(out, 10);
    encode::bulk(out, command.name.as_bytes());
    encode::integer(out, command.arity.into());
    names_of(command.flags.names(), "", version, out);
    encode::integer(out, command.key_range.first.into());
    encode::integer(out, command.key_range.last.into());
    encode::integer(out, command.key_range.step.into());
    names_of(command.categories.names(), "@", version, out);
    let is_policy = |tip: &str| tip.starts_with("request_policy:") || tip.starts_with("response_policy:");
    let tips: Vec<_> = command.tips.iter().filter(|tip| style.policies || !is_policy(tip)).collect();
    encode::set(out, version, tips.len());
    tips.iter().for_each(|tip| encode::bulk(out, tip.as_bytes()));
    encode::set(out, version, command.key_specs.len());
    let mut notes = command.notes.iter();
    for spec in command.key_specs.iter() {
        key_spec(spec, notes.next().map_or("", |note| note), version, out);
    }
    if command.is_container() {
        let subcommands = subcommands(table, command);
        encode::array(out, subcommands.len());
        subcommands.iter().for_each(|subcommand| info(table, subcommand, style, out));
    } else {
        encode::set(out, version, 0);
    }
}

fn subcommands<'t>(table: &'t CommandTable, command: &Command) -> Vec<&'t Command> {
    command.subcommands.iter().map(|id| table.get(*id)).filter(|subcommand| !subcommand.absent).collect()
}

/// A set of simple strings.
fn names_of(
    names: impl Iterator<Item = &'static str>,
    prefix: &str,
    version: RespVersion,
    out: &mut impl BufMut,
) {
    let names: Vec<_> = names.collect();
    encode::set(out, version, names.len());
    names.iter().for_each(|name| encode::simple(out, format!("{prefix}{name}")));
}

fn key_spec(spec: &KeySpec, note: &str, version: RespVersion, out: &mut impl BufMut) {
    encode::map(out, version, 3 + usize::from(!note.is_empty()));
    if !note.is_empty() {
        encode::bulk(out, b"notes");
        encode::bulk(out, note.as_bytes());
    }
    encode::bulk(out, b"flags");
    names_of(spec.flags.names(), "", version, out);
    encode::bulk(out, b"begin_search");
    match &spec.begin {
        Begin::Index(index) => typed(out, version, "index", &[("index", *index)]),
        Begin::Keyword(word, from) => {
            typed_header(out, version, "keyword", 2);
            encode::bulk(out, b"keyword");
            encode::bulk(out, word.as_bytes());
            encode::bulk(out, b"startfrom");
            encode::integer(out, (*from).into());
        }
        Begin::SortStore | Begin::Unknown => typed(out, version, "unknown", &[]),
    }
    encode::bulk(out, b"find_keys");
    match (&spec.begin, spec.find) {
        (Begin::SortStore, _) | (_, Find::Unknown) => typed(out, version, "unknown", &[]),
        (_, Find::Range { last, step, limit }) => {
            typed(out, version, "range", &[("lastkey", last), ("keystep", step), ("limit", limit)]);
        }
        (_, Find::Counted { count, first, step }) => {
            typed(out, version, "keynum", &[("keynumidx", count), ("firstkey", first), ("keystep", step)]);
        }
    }
}

fn typed_header(out: &mut impl BufMut, version: RespVersion, kind: &str, fields: usize) {
    encode::map(out, version, 2);
    encode::bulk(out, b"type");
    encode::bulk(out, kind.as_bytes());
    encode::bulk(out, b"spec");
    encode::map(out, version, fields);
}

fn typed(out: &mut impl BufMut, version: RespVersion, kind: &str, fields: &[(&str, i32)]) {
    typed_header(out, version, kind, fields.len());
    for (name, value) in fields {
        encode::bulk(out, name.as_bytes());
        encode::integer(out, (*value).into());
    }
}

fn docs_of<B: BufMut>(table: &CommandTable, commands: Vec<&Command>, version: RespVersion, out: &mut B) {
    encode::map(out, version, commands.len());
    for command in commands {
        encode::bulk(out, command.name.as_bytes());
        docs(table, command, version, out);
    }
}

/// Writes what the table itself can tell of a command.
pub fn docs<B: BufMut>(table: &CommandTable, command: &Command, version: RespVersion, out: &mut B) {
    let texts = [("summary", command.summary), ("since", command.since), ("group", command.group.name())];
    let texts = texts.iter().filter(|(_, text)| !text.is_empty());
    let (is_container, has_arguments) = (command.is_container(), !command.arguments.is_empty());
    encode::map(out, version, texts.clone().count() + usize::from(is_container) + usize::from(has_arguments));
    for (name, text) in texts {
        encode::bulk(out, name.as_bytes());
        encode::bulk(out, text.as_bytes());
    }
    if has_arguments {
        encode::bulk(out, b"arguments");
        arguments::write(command.arguments, version, out);
    }
    if is_container {
        encode::bulk(out, b"subcommands");
        let subcommands = subcommands(table, command);
        encode::map(out, version, subcommands.len());
        for subcommand in subcommands {
            encode::bulk(out, subcommand.name.as_bytes());
            docs(table, subcommand, version, out);
        }
    }
}

/// `COMMAND LIST [FILTERBY MODULE name | ACLCAT category | PATTERN pattern]`. What module a command is of, an upstream
/// does not tell, so a filter by module finds none.
fn list(table: &CommandTable, request: &Request, out: &mut impl BufMut) {
    let argument = |i| request.arg(i).unwrap_or_default();
    let filter: Box<dyn Fn(&Command) -> bool> =
        match (request.len(), argument(3).to_ascii_lowercase().as_slice()) {
            (2, _) => Box::new(|_| true),
            (5, filter) if argument(2).eq_ignore_ascii_case(b"FILTERBY") => match filter {
                b"module" => Box::new(|_| false),
                b"aclcat" => {
                    let category = Categories::by_name(argument(4));
                    Box::new(move |command| {
                        category.is_some_and(|category| command.categories.contains(category))
                    })
                }
                b"pattern" => {
                    Box::new(|command| glob::matches_ignoring_case(argument(4), command.name.as_bytes()))
                }
                _ => return encode::error(out, "ERR syntax error"),
            },
            _ => return encode::error(out, "ERR syntax error"),
        };
    let names: Vec<_> = table
        .iter()
        .map(|(_, command)| command)
        .filter(|command| !command.absent && filter(command))
        .collect();
    encode::array(out, names.len());
    names.iter().for_each(|command| encode::bulk(out, command.name.as_bytes()));
}

/// `COMMAND GETKEYS` and `COMMAND GETKEYSANDFLAGS`: writes the keys of the request that begins at argument 2, each by
/// `write`. Channels of sharded publish/subscribe are no keys here.
fn get_keys<B: BufMut>(
    table: &CommandTable,
    request: &Request,
    mut write: impl FnMut(&[u8], KeyFlags, &mut B),
    out: &mut B,
) {
    let spans: &[Span] = request.spans().get(2..).unwrap_or_default();
    let inner = Request::new(request.bytes(), spans);
    let id = table.lookup(inner.name()).and_then(|id| match (table.get(id).is_container(), inner.arg(1)) {
        (true, Some(name)) => table.subcommand(id, name),
        _ => Some(id),
    });
    let Some(command) = id.map(|id| table.get(id)).filter(|command| !command.absent) else {
        return encode::error(out, "ERR Invalid command specified");
    };
    if !command.key_specs.iter().any(KeySpec::names_keys) {
        return encode::error(out, "ERR The command has no key arguments");
    }
    if !command.accepts(inner.len()) {
        return encode::error(out, "ERR Invalid number of arguments specified for command");
    }
    match keys_and_flags(command, &inner) {
        Err(_) if command.flags.contains(CommandFlags::NO_MANDATORY_KEYS) => encode::array(out, 0),
        Err(error) => encode::error(out, error.message()),
        Ok(keys) => {
            encode::array(out, keys.len());
            keys.iter()
                .for_each(|(position, flags)| write(inner.arg(*position).unwrap_or_default(), *flags, out));
        }
    }
}

fn keys_and_flags(command: &Command, request: &Request) -> Result<Vec<(usize, KeyFlags)>, KeyError> {
    let (mut keys, mut positions) = (Vec::new(), KeyPositions::new());
    // Finds scripts without keys, and arguments that do not tell.
    command.keys(request, &mut positions)?;
    if positions.is_empty() {
        return Ok(keys);
    }
    if &*command.name == "migrate" {
        let flags = KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE);
        return Ok(positions.iter().map(|position| (*position as usize, flags)).collect());
    }
    for spec in command.key_specs.iter().filter(|spec| spec.names_keys()) {
        positions.clear();
        spec.find(request, &mut positions)?;
        let flags = variable_flags(&command.name, request).unwrap_or(spec.flags);
        keys.extend(positions.iter().map(|position| (*position as usize, flags)));
    }
    Ok(keys)
}

/// The flags of the key of `SET` and `BITFIELD`, which depend on their options.
fn variable_flags(name: &str, request: &Request) -> Option<KeyFlags> {
    let has = |words: &[&[u8]], from| {
        request.args().skip(from).any(|arg| words.iter().any(|word| arg.eq_ignore_ascii_case(word)))
    };
    let update = KeyFlags::ACCESS.with(KeyFlags::UPDATE);
    match name {
        "set" if has(&[b"GET"], 3) => Some(KeyFlags::RW.with(update)),
        "set" => Some(KeyFlags::OW.with(KeyFlags::UPDATE)),
        "bitfield" if has(&[b"SET", b"INCRBY"], 2) => Some(KeyFlags::RW.with(update)),
        "bitfield" => Some(KeyFlags::RO.with(KeyFlags::ACCESS)),
        _ => None,
    }
}

const HELP: &[&str] = &[
    "COMMAND <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "(no subcommand)",
    "    Return details about all Redis commands.",
    "COUNT",
    "    Return the total number of commands in this Redis server.",
    "LIST",
    "    Return a list of all commands in this Redis server.",
    "INFO [<command-name> ...]",
    "    Return details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "DOCS [<command-name> ...]",
    "    Return documentation details about multiple Redis commands.",
    "    If no command names are given, documentation details for all",
    "    commands are returned.",
    "GETKEYS <full-command>",
    "    Return the keys from a full Redis command.",
    "GETKEYSANDFLAGS <full-command>",
    "    Return the keys and the access flags from a full Redis command.",
    "HELP",
    "    Prints this help.",
];

fn help(out: &mut impl BufMut) {
    encode::array(out, HELP.len());
    HELP.iter().for_each(|line| encode::simple(out, line));
}
