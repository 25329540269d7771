//! What `COMMAND DOCS` tells of a command's arguments, for the gateway's own commands: client shells show it while one types.
//!
//! Owns the shape of that reply: <https://redis.io/docs/latest/commands/command-docs/>. Deliberately does not check requests by it: each
//! command reads its own.

use bytes::BufMut;

use crate::resp::{RespVersion, encode};

/// What an argument is.
#[derive(Clone, Copy, Debug)]
pub enum ArgumentType {
    /// The key of this key specification.
    Key(i32),
    /// Any bytes.
    String,
    /// An integer.
    Integer,
    /// A time in milliseconds since 1970.
    UnixTime,
    /// A word that stands for itself.
    PureToken,
    /// One of these.
    OneOf(&'static [Argument]),
}

impl ArgumentType {
    fn name(self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::String => "string",
            Self::Integer => "integer",
            Self::UnixTime => "unix-time",
            Self::PureToken => "pure-token",
            Self::OneOf(_) => "oneof",
        }
    }
}

/// One argument.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: ArgumentType,
    /// The word that stands before it.
    pub token: Option<&'static str>,
    /// It may be left out.
    pub optional: bool,
    /// It may come several times.
    pub multiple: bool,
}

impl Argument {
    /// One that must be there.
    pub const fn of(name: &'static str, kind: ArgumentType) -> Self {
        Self { name, kind, token: None, optional: false, multiple: false }
    }

    /// The word itself, as one of several.
    pub const fn word(name: &'static str, token: &'static str) -> Self {
        Self { token: Some(token), ..Self::of(name, ArgumentType::PureToken) }
    }

    /// One behind a word, which may be left out with it.
    pub const fn option(token: &'static str, name: &'static str, kind: ArgumentType) -> Self {
        Self { token: Some(token), optional: true, ..Self::of(name, kind) }
    }

    /// One or more.
    pub const fn many(name: &'static str, kind: ArgumentType) -> Self {
        Self { multiple: true, ..Self::of(name, kind) }
    }
}

/// Writes the value of the field `arguments`.
pub(super) fn write(arguments: &[Argument], version: RespVersion, out: &mut impl BufMut) {
    encode::array(out, arguments.len());
    arguments.iter().for_each(|argument| write_one(argument, version, out));
}

fn write_one<B: BufMut>(argument: &Argument, version: RespVersion, out: &mut B) {
    let flags = [("optional", argument.optional), ("multiple", argument.multiple)];
    let flags: Vec<&str> = flags.iter().filter(|(_, is_set)| *is_set).map(|(name, _)| *name).collect();
    let has_more = matches!(argument.kind, ArgumentType::Key(_) | ArgumentType::OneOf(_));
    let fields =
        2 + usize::from(has_more) + usize::from(argument.token.is_some()) + usize::from(!flags.is_empty());
    encode::map(out, version, fields);
    let mut field = |name: &str, value: &str| {
        encode::bulk(out, name.as_bytes());
        encode::bulk(out, value.as_bytes());
    };
    field("name", argument.name);
    field("type", argument.kind.name());
    if let Some(token) = argument.token {
        field("token", token);
    }
    match argument.kind {
        ArgumentType::Key(index) => {
            encode::bulk(out, b"key_spec_index");
            encode::integer(out, index.into());
        }
        ArgumentType::OneOf(arguments) => {
            encode::bulk(out, b"arguments");
            write(arguments, version, out);
        }
        _ => {}
    }
    if !flags.is_empty() {
        encode::bulk(out, b"flags");
        encode::set(out, version, flags.len());
        flags.iter().for_each(|flag| encode::simple(out, flag));
    }
}
