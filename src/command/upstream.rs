//! What the upstream's own `COMMAND` reply says, so that a command is not unknown just because it is new or a
//! module's.
//!
//! Owns: reading the reply, of Redis 2.8 to 8 and of its relatives (six elements a command at first, seven with
//! ACL categories, ten with key specifications and subcommands), and the class of commands the table lacks. A
//! subcommand's own subcommands are passed over, so that nesting in the reply leads nowhere deep.
//!
//! Deliberately does not: ask; and read the reply of a RESP3 connection, whose sets of maps redis-protocol does not
//! decode. Elements that it does not understand are passed over, not refused.

use std::borrow::Cow;

use redis_protocol::resp2::types::OwnedFrame;

use super::class::{Class, Session};
use super::command::Command;
use super::flags::{Categories, CommandFlags, KeyFlags};
use super::keys::{Begin, Find, KeyRange, KeySpec};
use super::table::Group;

/// A command as the upstream describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamCommand {
    /// In lower case; `container|subcommand` for a subcommand.
    pub name: String,
    /// As in [`Command::arity`].
    pub arity: i16,
    /// Only flags that this version knows.
    pub flags: CommandFlags,
    /// Where its keys are, as far as a plain range can tell.
    pub key_range: KeyRange,
    /// Only flags that this version knows.
    pub categories: Categories,
    /// Its tips for clients.
    pub tips: Vec<Box<str>>,
    /// Its subcommands. Their own, if there were any, are not added to a table.
    pub subcommands: Vec<UpstreamCommand>,
    /// Its notes on each key specification; empty where there is none.
    pub notes: Vec<Box<str>>,
    pub(super) key_specs: Vec<KeySpec>,
}

/// Reads the reply to `COMMAND` on a RESP2 connection. Anything but an array of commands gives none.
pub fn parse_resp2(reply: &OwnedFrame) -> Vec<UpstreamCommand> {
    commands(reply)
}

impl UpstreamCommand {
    /// How to carry a command that the table lacks: by its keys if it has any, refused if it is the server's
    /// administration, else on any node. A subcommand without keys is as the table says of its container's.
    pub(super) fn class(&self, container: Option<Class>) -> Class {
        let has = |flag| self.flags.contains(flag);
        let has_keys =
            self.key_range.first > 0 || !self.key_specs.is_empty() || has(CommandFlags::MOVABLEKEYS);
        match container {
            _ if has_keys && has(CommandFlags::BLOCKING) => Class::Session(Session::Blocking),
            _ if has_keys => Class::Key,
            _ if has(CommandFlags::BLOCKING) => Class::Session(Session::Blocking),
            Some(class) if class != Class::Key => class,
            _ if has(CommandFlags::ADMIN) => {
                Class::Refuse("hotgate does not know this administrative command")
            }
            _ if has(CommandFlags::PUBSUB) => {
                Class::Refuse("hotgate does not know this publish/subscribe command")
            }
            _ => Class::AnyNode,
        }
    }

    pub(super) fn into_command(self, class: Class) -> Command {
        Command {
            name: Cow::Owned(self.name),
            arity: self.arity,
            flags: self.flags,
            key_range: self.key_range,
            class,
            categories: self.categories,
            group: Group::Module,
            since: "",
            summary: "",
            arguments: &[],
            absent: false,
            tips: self.tips,
            notes: self.notes,
            key_specs: Cow::Owned(self.key_specs),
            subcommands: Vec::new(),
            container: None,
        }
    }

    fn parse(frame: &OwnedFrame) -> Option<Self> {
        let [name, arity, flags, first, last, step, rest @ ..] = array(frame) else { return None };
        let categories =
            rest.first().map(|names| named(names, |name| Categories::by_name(name.strip_prefix(b"@")?)));
        let key_range = KeyRange { first: number(first)?, last: number(last)?, step: number(step)? };
        let mut key_specs: Vec<_> = rest.get(2).map(array).unwrap_or_default().iter().map(key_spec).collect();
        if key_specs.is_empty() && key_range.first > 0 {
            key_specs.push(key_range.into());
        }
        Some(Self {
            name: String::from_utf8(text(name)?.to_ascii_lowercase()).ok()?,
            arity: number(arity)?,
            flags: named(flags, CommandFlags::by_name).fold(CommandFlags::NONE, CommandFlags::with),
            key_range,
            categories: categories.into_iter().flatten().fold(Categories::NONE, Categories::with),
            tips: rest.get(1).map(|tips| named(tips, tip).collect()).unwrap_or_default(),
            notes: rest.get(2).map(array).unwrap_or_default().iter().map(note).collect(),
            subcommands: rest.get(3).map(commands).unwrap_or_default(),
            key_specs,
        })
    }
}

/// A line of text without what would end it.
fn tip(text: &[u8]) -> Option<Box<str>> {
    let text = std::str::from_utf8(text).ok()?;
    (!text.contains(['\r', '\n'])).then(|| text.into())
}

fn note(spec: &OwnedFrame) -> Box<str> {
    field(spec, b"notes").and_then(text).and_then(tip).unwrap_or_default()
}

impl From<KeyRange> for KeySpec {
    fn from(range: KeyRange) -> Self {
        let (first, last) = (i32::from(range.first), i32::from(range.last));
        let last = if last < 0 { last } else { last - first };
        let find = Find::Range { last, step: range.step.into(), limit: 0 };
        Self { begin: Begin::Index(first), find, flags: KeyFlags::NONE }
    }
}

fn commands(frame: &OwnedFrame) -> Vec<UpstreamCommand> {
    array(frame).iter().filter_map(UpstreamCommand::parse).collect()
}

/// A specification of a kind that is not known finds no keys.
fn key_spec(frame: &OwnedFrame) -> KeySpec {
    let flags = field(frame, b"flags").map(|flags| named(flags, KeyFlags::by_name));
    KeySpec {
        begin: field(frame, b"begin_search").and_then(begin).unwrap_or(Begin::Unknown),
        find: field(frame, b"find_keys").and_then(find).unwrap_or(Find::Unknown),
        flags: flags.into_iter().flatten().fold(KeyFlags::NONE, KeyFlags::with),
    }
}

fn begin(frame: &OwnedFrame) -> Option<Begin> {
    let spec = field(frame, b"spec")?;
    match text(field(frame, b"type")?)? {
        b"index" => Some(Begin::Index(number_of(spec, b"index")?)),
        b"keyword" => {
            let word = String::from_utf8(text(field(spec, b"keyword")?)?.to_vec()).ok()?;
            Some(Begin::Keyword(Cow::Owned(word), number_of(spec, b"startfrom")?))
        }
        _ => None,
    }
}

fn find(frame: &OwnedFrame) -> Option<Find> {
    let spec = field(frame, b"spec")?;
    match text(field(frame, b"type")?)? {
        b"range" => Some(Find::Range {
            last: number_of(spec, b"lastkey")?,
            step: number_of(spec, b"keystep")?,
            limit: number_of(spec, b"limit")?,
        }),
        b"keynum" => Some(Find::Counted {
            count: number_of(spec, b"keynumidx")?,
            first: number_of(spec, b"firstkey")?,
            step: number_of(spec, b"keystep")?,
        }),
        _ => None,
    }
}

/// The elements; none for what is no array.
fn array(frame: &OwnedFrame) -> &[OwnedFrame] {
    if let OwnedFrame::Array(items) = frame { items } else { &[] }
}

fn text(frame: &OwnedFrame) -> Option<&[u8]> {
    if let OwnedFrame::SimpleString(text) | OwnedFrame::BulkString(text) = frame { Some(text) } else { None }
}

/// The number, when it is one of the type that is wanted.
fn number<N: TryFrom<i64>>(frame: &OwnedFrame) -> Option<N> {
    if let OwnedFrame::Integer(number) = frame { N::try_from(*number).ok() } else { None }
}

/// The value of this key in a map, which RESP2 gives as a flat array.
fn field<'f>(frame: &'f OwnedFrame, key: &[u8]) -> Option<&'f OwnedFrame> {
    array(frame).chunks_exact(2).find(|pair| text(&pair[0]) == Some(key)).map(|pair| &pair[1])
}

/// The number at this key, within the bounds of what counts arguments.
fn number_of(frame: &OwnedFrame, key: &[u8]) -> Option<i32> {
    field(frame, key).and_then(number::<i16>).map(i32::from)
}

/// What `by_name` makes of the elements' texts.
fn named<F>(frame: &OwnedFrame, by_name: impl Fn(&[u8]) -> Option<F>) -> impl Iterator<Item = F> {
    array(frame).iter().filter_map(move |name| by_name(text(name)?))
}
