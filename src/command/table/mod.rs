//! The commands of Redis 7.0, those that later versions added, and the gateway's own: one line each.
//!
//! Owns: the data, in files by group. The columns are
//! `name arity [flags @ categories] [keys] class, since summary`:
//!
//! - the name in lower case, `container|subcommand` for a subcommand;
//! - the arity as Redis counts it: the name included, negative for "at least";
//! - the flags of [`CommandFlags`]. `movablekeys` is derived from the keys. The ACL categories are derived from the
//!   flags and the group; those after `@`, or none, stand in for the group's;
//! - the keys as key specifications, by the functions below;
//! - the class. A container's own class is that of subcommands that an upstream has and the table has not.
//!
//! Deliberately does not: hold what `COMMAND DOCS` tells beyond group, version and summary, but for the arguments of commands that no server has.

use super::class::{Class, Class::*, Fan, Local, Reserve as By, Session, Split};
use super::flags::{Categories, CommandFlags, KeyFlags};
use super::keys::{Begin, Find, KeySpec};
use std::borrow::Cow;

/// One line of the table.
pub(super) struct Entry {
    pub(super) name: &'static str,
    pub(super) arity: i16,
    pub(super) flags: CommandFlags,
    /// The explicit ACL categories when they are not the group's.
    pub(super) categories: Option<Categories>,
    pub(super) keys: &'static [KeySpec],
    pub(super) class: Class,
    pub(super) since: &'static str,
    pub(super) summary: &'static str,
}

/// The chapter of the Redis manual that a command is in, as `COMMAND DOCS` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Group {
    Generic,
    String,
    List,
    Set,
    SortedSet,
    Hash,
    Pubsub,
    Transactions,
    Connection,
    Server,
    Scripting,
    HyperLogLog,
    Cluster,
    Geo,
    Stream,
    Bitmap,
    /// `RESERVE.*`, which the gateway adds to Redis as a module would.
    Reservations,
    Module,
}

impl Group {
    /// The name in `COMMAND DOCS`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Generic => "generic",
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Hash => "hash",
            Self::Pubsub => "pubsub",
            Self::Transactions => "transactions",
            Self::Connection => "connection",
            Self::Server => "server",
            Self::Scripting => "scripting",
            Self::HyperLogLog => "hyperloglog",
            Self::Cluster => "cluster",
            Self::Geo => "geo",
            Self::Stream => "stream",
            Self::Bitmap => "bitmap",
            Self::Reservations | Self::Module => "module",
        }
    }
}

/// All lines, by group. A subcommand stands after its container.
pub(super) const GROUPS: &[(Group, Categories, &[Entry])] = &[
    strings::STRINGS,
    strings::BITMAPS,
    strings::HYPERLOGLOGS,
    hashes::HASHES,
    lists_and_sets::LISTS,
    lists_and_sets::SETS,
    sorted_sets::SORTED_SETS,
    sorted_sets::GEO,
    streams::STREAMS,
    keyspace::KEYSPACE,
    messaging::PUBSUB,
    messaging::TRANSACTIONS,
    messaging::SCRIPTING,
    connection::CONNECTION,
    connection::CLUSTER,
    server::SERVER,
    reservations::RESERVATIONS,
];

/// Declares the lines of one group; the bracket after its name holds the category of its commands.
macro_rules! commands {
    ($list:ident: $group:ident [$($category:ident)?]
     $($name:literal $arity:literal [$($flag:ident)* $(@ $($own:ident)*)?] [$($key:expr),*] $class:expr,
       $since:literal $summary:literal;)*) => {
        pub(super) const $list: (Group, Categories, &[Entry]) =
            (Group::$group, Categories::NONE$(.with(Categories::$category))?, &[$(Entry {
                name: $name,
                arity: $arity,
                flags: CommandFlags::NONE$(.with(CommandFlags::$flag))*,
                categories: own_categories!($(@ $($own)*)?),
                keys: &[$($key),*],
                class: $class,
                since: $since,
                summary: $summary,
            }),*]);
    };
}

/// The categories after `@`, if there is one.
macro_rules! own_categories {
    () => { None };
    (@ $($own:ident)*) => { Some(Categories::NONE$(.with(Categories::$own))*) };
}

// The macros are seen by modules that follow them only.
mod connection;
mod hashes;
mod keyspace;
mod lists_and_sets;
mod messaging;
mod reservations;
mod server;
mod sorted_sets;
mod streams;
mod strings;

pub(super) use reservations::arguments as reservation_arguments;

/// Why a command is refused, and what to do instead.
const CHANGES_ONE_NODE: &str = "it would cut the gateway off from the server, or change what it is to it; send it to the server directly";
const SPEAKS_OF_ONE_NODE: &str = "it speaks of one server of many; HOTGATE NODE host:port asks one";
const BETWEEN_SERVERS: &str = "it is for the traffic between servers; send it to the server directly";
const TOPOLOGY: &str = "it changes or inspects the cluster behind the gateway; send it to a node directly";
const SHARED_CONNECTION: &str = "clients of the gateway share its connections to the server";

// The flags of keys as plain numbers, because `|` on a type of one's own is not for constants.
const RO: u16 = KeyFlags::RO.bits();
const RW: u16 = KeyFlags::RW.bits();
const OW: u16 = KeyFlags::OW.bits();
const RM: u16 = KeyFlags::RM.bits();
const ACCESS: u16 = KeyFlags::ACCESS.bits();
const UPDATE: u16 = KeyFlags::UPDATE.bits();
const INSERT: u16 = KeyFlags::INSERT.bits();
const DELETE: u16 = KeyFlags::DELETE.bits();
const NOT_KEY: u16 = KeyFlags::NOT_KEY.bits();
const INCOMPLETE: u16 = KeyFlags::INCOMPLETE.bits();
const VARIABLE_FLAGS: u16 = KeyFlags::VARIABLE_FLAGS.bits();

const fn range(begin: Begin, last: i32, step: i32, limit: i32, flags: u16) -> KeySpec {
    KeySpec { begin, find: Find::Range { last, step, limit }, flags: KeyFlags::from_bits(flags) }
}

/// One key, at this argument.
const fn at(index: i32, flags: u16) -> KeySpec {
    range(Begin::Index(index), 0, 1, 0, flags)
}

/// Two keys, from this argument on.
const fn two(index: i32, flags: u16) -> KeySpec {
    range(Begin::Index(index), 1, 1, 0, flags)
}

/// All arguments from this one on.
const fn all(index: i32, flags: u16) -> KeySpec {
    range(Begin::Index(index), -1, 1, 0, flags)
}

/// All arguments from this one on but for the last, a timeout.
const fn all_but_last(index: i32, flags: u16) -> KeySpec {
    range(Begin::Index(index), -2, 1, 0, flags)
}

/// Every second argument from this one on; values are between them.
const fn pairs(index: i32, flags: u16) -> KeySpec {
    range(Begin::Index(index), -1, 2, 0, flags)
}

/// As many keys as this argument says, right after it.
const fn counted(index: i32, flags: u16) -> KeySpec {
    let find = Find::Counted { count: 0, first: 1, step: 1 };
    KeySpec { begin: Begin::Index(index), find, flags: KeyFlags::from_bits(flags) }
}

/// As many keys as this argument says, right after it, each followed by its value.
const fn counted_pairs(index: i32, flags: u16) -> KeySpec {
    let find = Find::Counted { count: 0, first: 1, step: 2 };
    KeySpec { begin: Begin::Index(index), find, flags: KeyFlags::from_bits(flags) }
}

/// The one key after a word that stands at or after this argument.
const fn after(word: &'static str, from: i32, flags: u16) -> KeySpec {
    range(Begin::Keyword(Cow::Borrowed(word), from), 0, 1, 0, flags)
}

/// All arguments after a word that stands at or after this argument.
const fn all_after(word: &'static str, from: i32, flags: u16) -> KeySpec {
    range(Begin::Keyword(Cow::Borrowed(word), from), -1, 1, 0, flags)
}

/// The first half of what follows `STREAMS`, which stands at or after this argument; the other half are ids.
const fn streams(from: i32, flags: u16) -> KeySpec {
    range(Begin::Keyword(Cow::Borrowed("STREAMS"), from), -1, 1, 2, flags)
}

/// The key after `SORT`'s option `STORE`.
const fn sort_store(flags: u16) -> KeySpec {
    range(Begin::SortStore, 0, 1, 0, flags)
}

/// Keys whose names follow from data that the gateway does not see.
const fn unknown(flags: u16) -> KeySpec {
    KeySpec { begin: Begin::Unknown, find: Find::Unknown, flags: KeyFlags::from_bits(flags) }
}
