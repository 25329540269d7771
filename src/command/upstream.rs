//! What the upstream's own `COMMAND` reply says, so that a command is not unknown just because it is new or a
//! module's.
//!
//! Owns: reading the reply, of Redis 2.8 to 8 and of its relatives (six elements a command at first, seven with
//! ACL categories, ten with key specifications and subcommands), and the class of commands the table lacks.
//!
//! Deliberately does not: ask. Elements that it does not understand are passed over, not refused.

use std::borrow::Cow;

use redis_protocol::{resp2, resp3};

use super::class::{Class, Session};
use super::command::Command;
use super::flags::{Categories, CommandFlags, KeyFlags};
use super::keys::{Begin, Find, KeyRange, KeySpec};
use super::table::Group;

/// How deep a reply is looked into. A key specification of a subcommand is nested nine deep.
const DEPTH_MAX: usize = 12;

/// A command as the upstream describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamCommand {
    /// In lower case; `container|subcommand` for a subcommand.
    pub name: String,
    /// As in [`Command::arity`].
    pub arity: i16,
    /// Those that this version knows.
    pub flags: CommandFlags,
    /// Where its keys are, as far as a plain range can tell.
    pub key_range: KeyRange,
    /// Those that this version knows.
    pub categories: Categories,
    /// Its subcommands, without any of their own.
    pub subcommands: Vec<UpstreamCommand>,
    pub(super) key_specs: Vec<KeySpec>,
}

/// Reads the reply to `COMMAND` on a RESP2 connection. Anything but an array of commands gives none.
pub fn parse_resp2(reply: &resp2::types::OwnedFrame) -> Vec<UpstreamCommand> {
    commands(&Value::from_resp2(reply, DEPTH_MAX))
}

/// Reads the reply to `COMMAND` on a RESP3 connection. Anything but an array of commands gives none.
pub fn parse_resp3(reply: &resp3::types::OwnedFrame) -> Vec<UpstreamCommand> {
    commands(&Value::from_resp3(reply, DEPTH_MAX))
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
            key_specs: Cow::Owned(self.key_specs),
            subcommands: Vec::new(),
            container: None,
        }
    }

    fn parse(value: &Value) -> Option<Self> {
        let [name, arity, flags, first, last, step, rest @ ..] = value.array() else { return None };
        let categories = rest.first().map(Value::array).unwrap_or_default();
        let named =
            categories.iter().filter_map(|name| Categories::by_name(name.text()?.strip_prefix(b"@")?));
        let key_range = KeyRange { first: first.number()?, last: last.number()?, step: step.number()? };
        let mut key_specs: Vec<_> =
            rest.get(2).map(Value::array).unwrap_or_default().iter().map(key_spec).collect();
        if key_specs.is_empty() && key_range.first > 0 {
            key_specs.push(key_range.into());
        }
        Some(Self {
            name: String::from_utf8(name.text()?.to_ascii_lowercase()).ok()?,
            arity: arity.number()?,
            flags: flags.names(CommandFlags::by_name).fold(CommandFlags::NONE, CommandFlags::with),
            key_range,
            categories: named.fold(Categories::NONE, Categories::with),
            subcommands: rest.get(3).map(commands).unwrap_or_default(),
            key_specs,
        })
    }
}

impl From<KeyRange> for KeySpec {
    fn from(range: KeyRange) -> Self {
        let (first, last) = (i32::from(range.first), i32::from(range.last));
        let last = if last < 0 { last } else { last - first };
        let find = Find::Range { last, step: range.step.into(), limit: 0 };
        Self { begin: Begin::Index(first), find, flags: KeyFlags::NONE }
    }
}

fn commands(value: &Value) -> Vec<UpstreamCommand> {
    value.array().iter().filter_map(UpstreamCommand::parse).collect()
}

/// A specification of a kind that is not known finds no keys.
fn key_spec(value: &Value) -> KeySpec {
    KeySpec {
        begin: value.field(b"begin_search").and_then(begin).unwrap_or(Begin::Unknown),
        find: value.field(b"find_keys").and_then(find).unwrap_or(Find::Unknown),
        flags: value
            .field(b"flags")
            .map(|flags| flags.names(KeyFlags::by_name).fold(KeyFlags::NONE, KeyFlags::with))
            .unwrap_or_default(),
    }
}

fn begin(value: &Value) -> Option<Begin> {
    let spec = value.field(b"spec")?;
    match value.field(b"type")?.text()? {
        b"index" => Some(Begin::Index(spec.number_of(b"index")?)),
        b"keyword" => {
            let word = String::from_utf8(spec.field(b"keyword")?.text()?.to_vec()).ok()?;
            Some(Begin::Keyword(Cow::Owned(word), spec.number_of(b"startfrom")?))
        }
        _ => None,
    }
}

fn find(value: &Value) -> Option<Find> {
    let spec = value.field(b"spec")?;
    match value.field(b"type")?.text()? {
        b"range" => Some(Find::Range {
            last: spec.number_of(b"lastkey")?,
            step: spec.number_of(b"keystep")?,
            limit: spec.number_of(b"limit")?,
        }),
        b"keynum" => Some(Find::Counted {
            count: spec.number_of(b"keynumidx")?,
            first: spec.number_of(b"firstkey")?,
            step: spec.number_of(b"keystep")?,
        }),
        _ => None,
    }
}

/// A reply in which the versions of the protocol no longer differ: a set is an array, a map a flat one.
enum Value {
    Text(Vec<u8>),
    Number(i64),
    Array(Vec<Value>),
    Other,
}

impl Value {
    fn from_resp2(frame: &resp2::types::OwnedFrame, depth: usize) -> Self {
        use resp2::types::OwnedFrame::*;
        match frame {
            SimpleString(text) | BulkString(text) => Self::Text(text.clone()),
            Integer(number) => Self::Number(*number),
            Array(items) if depth > 0 => {
                Self::Array(items.iter().map(|item| Self::from_resp2(item, depth - 1)).collect())
            }
            _ => Self::Other,
        }
    }

    fn from_resp3(frame: &resp3::types::OwnedFrame, depth: usize) -> Self {
        use resp3::types::OwnedFrame::*;
        let Some(below) = depth.checked_sub(1) else { return Self::Other };
        let inner = |item| Self::from_resp3(item, below);
        match frame {
            SimpleString { data, .. } | BlobString { data, .. } => Self::Text(data.clone()),
            Number { data, .. } => Self::Number(*data),
            Array { data, .. } => Self::Array(data.iter().map(inner).collect()),
            Set { data, .. } => Self::Array(data.iter().map(inner).collect()),
            Map { data, .. } => {
                Self::Array(data.iter().flat_map(|(key, value)| [inner(key), inner(value)]).collect())
            }
            _ => Self::Other,
        }
    }

    /// The elements; none for what is no array.
    fn array(&self) -> &[Self] {
        if let Self::Array(items) = self { items } else { &[] }
    }

    fn text(&self) -> Option<&[u8]> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    /// The number, when it is one of the type that is wanted.
    fn number<N: TryFrom<i64>>(&self) -> Option<N> {
        if let Self::Number(number) = self { N::try_from(*number).ok() } else { None }
    }

    fn number_of(&self, key: &[u8]) -> Option<i32> {
        self.field(key)?.number::<i16>().map(i32::from)
    }

    /// The value of this key in a map.
    fn field(&self, key: &[u8]) -> Option<&Self> {
        self.array().chunks_exact(2).find(|pair| pair[0].text() == Some(key)).map(|pair| &pair[1])
    }

    /// What `by_name` makes of the elements' texts.
    fn names<F>(&self, by_name: impl Fn(&[u8]) -> Option<F>) -> impl Iterator<Item = F> {
        self.array().iter().filter_map(move |name| by_name(name.text()?))
    }
}
