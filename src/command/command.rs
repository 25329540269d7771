//! One command: what the table, or the upstream, says of it, and what that means for one request.
//!
//! Owns the answers that follow from a line of the table: class of a request, keys, arity. Deliberately holds no request.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::arguments::Argument;
use super::class::{Class, Session};
use super::flags::{Categories, CommandFlags, KeyFlags};
use super::keys::{
    Begin, KeyError, KeyPositions, KeyRange, KeySpec, has_sort_pattern, legacy_range, migrate_keys,
};
use super::table::{Entry, Group, reservation_arguments};
use crate::resp::Request;

/// Keys of a request as argument indexes, with what the command does with each.
pub type KeyUses = SmallVec<[(u32, KeyFlags); 4]>;

/// The number of a command in its [`super::CommandTable`]; what it names never changes, also not when the upstream's
/// own commands are added.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct CommandId(pub(super) u16);

impl CommandId {
    /// The number itself, from 0 to [`super::CommandTable::len`] exclusive: an index for tables by command.
    pub fn index(self) -> usize {
        self.0.into()
    }
}

/// A command or subcommand.
#[derive(Clone, Debug)]
pub struct Command {
    /// In lower case; `config|get` for a subcommand.
    pub name: Cow<'static, str>,
    /// How many arguments it takes, its name included; negative for "at least".
    pub arity: i16,
    /// Redis's flags.
    pub flags: CommandFlags,
    /// Where its keys are, as far as a plain range can tell.
    pub key_range: KeyRange,
    /// The class of the command. [`Command::class_of`] gives the class of one request.
    pub class: Class,
    /// Its ACL categories.
    pub categories: Categories,
    /// The chapter of the manual it is in.
    pub group: Group,
    /// The version of Redis (of the gateway, for `HOTGATE`) that brought it; empty when unknown.
    pub since: &'static str,
    /// One line on what it does; empty when unknown.
    pub summary: &'static str,
    /// Its arguments, for the gateway's own commands that have any; the upstream tells of its own.
    pub arguments: &'static [Argument],
    /// The upstream has no such command, and only it could run it: clients are not told of it.
    pub absent: bool,
    /// The upstream's tips, as in `COMMAND`; none while no upstream has been asked.
    pub tips: Vec<Box<str>>,
    /// The upstream's notes on each key specification.
    pub notes: Vec<Box<str>>,
    pub(super) key_specs: Cow<'static, [KeySpec]>,
    pub(super) subcommands: Vec<CommandId>,
    pub(super) container: Option<CommandId>,
}

impl Command {
    pub(super) fn from_entry(entry: &'static Entry, group: Group, category: Categories) -> Self {
        let (key_range, movable) = legacy_range(entry.keys);
        let movable = if movable { CommandFlags::MOVABLEKEYS } else { CommandFlags::NONE };
        Self {
            name: Cow::Borrowed(entry.name),
            arity: entry.arity,
            flags: entry.flags.with(movable),
            key_range,
            class: entry.class,
            categories: Categories::implied_by(entry.flags, entry.categories.unwrap_or(category)),
            group,
            since: entry.since,
            summary: entry.summary,
            arguments: reservation_arguments(entry.name),
            absent: false,
            tips: Vec::new(),
            notes: Vec::new(),
            key_specs: Cow::Borrowed(entry.keys),
            subcommands: Vec::new(),
            container: None,
        }
    }

    /// Whether it has subcommands.
    pub fn is_container(&self) -> bool {
        !self.subcommands.is_empty()
    }

    /// The numbers of its subcommands.
    pub fn subcommand_ids(&self) -> &[CommandId] {
        &self.subcommands
    }

    /// Whether it is one.
    pub fn is_subcommand(&self) -> bool {
        self.container.is_some()
    }

    /// Whether its requests may name keys.
    pub fn has_keys(&self) -> bool {
        self.key_specs.iter().any(KeySpec::names_keys)
    }

    /// Whether it changes data by itself. A script (`EVAL`, `FCALL`) may and is neither this nor [`Self::is_readonly`].
    pub fn is_write(&self) -> bool {
        self.flags.contains(CommandFlags::WRITE)
    }

    /// Whether it surely changes nothing, so that it may be repeated or asked of a replica.
    pub fn is_readonly(&self) -> bool {
        self.flags.contains(CommandFlags::READONLY)
    }

    /// Whether a request of `arguments` arguments, the name (and a subcommand's name) included, is long enough and
    /// not too long.
    pub fn accepts(&self, arguments: usize) -> bool {
        let wanted = usize::from(self.arity.unsigned_abs());
        if self.arity < 0 { arguments >= wanted } else { arguments == wanted }
    }

    /// Where its one key is and what it does with that, if it has one at a fixed place.
    #[inline]
    pub fn only_key(&self) -> Option<(usize, KeyFlags)> {
        let range = self.key_range;
        match &*self.key_specs {
            [spec]
                if range.first > 0
                    && range.first == range.last
                    && spec.names_keys()
                    && !self.flags.contains(CommandFlags::MOVABLEKEYS) =>
            {
                Some((range.first as usize, spec.flags))
            }
            _ => None,
        }
    }

    /// Appends the positions of the keys to `out`. The channels of `SPUBLISH` and its kin count as keys here, since they
    /// too decide the slot. None found is `Ok` for a command without keys and for a script that names none.
    ///
    /// # Errors
    /// [`KeyError`] when the arguments do not tell; `out` is then as it was. Forward the request to any node, which
    /// words the error.
    pub fn keys(&self, request: &Request, out: &mut KeyPositions) -> Result<(), KeyError> {
        if self.key_range.first > 0 && !self.flags.contains(CommandFlags::MOVABLEKEYS) {
            return self.key_range.find(request, out);
        }
        let before = out.len();
        let found = self.find_movable_keys(request, out);
        if found.is_err() {
            out.truncate(before);
        }
        found
    }

    /// Appends the positions of the keys and what the command does with each. The channels of `SPUBLISH` and its kin are no keys here.
    ///
    /// # Errors
    /// As for [`Self::keys`].
    pub fn key_uses(&self, request: &Request, out: &mut KeyUses) -> Result<(), KeyError> {
        if !self.has_keys() || self.names_no_keys(request) {
            return Ok(());
        }
        let mut positions = KeyPositions::new();
        if &*self.name == "migrate" {
            migrate_keys(request, &mut positions)?;
            let flags = self.key_specs.first().map_or(KeyFlags::NONE, |spec| spec.flags);
            out.extend(positions.into_iter().map(|position| (position, flags)));
            return Ok(());
        }
        for spec in self.key_specs.iter().filter(|spec| spec.names_keys()) {
            positions.clear();
            spec.find(request, &mut positions)?;
            out.extend(positions.iter().map(|position| (*position, spec.flags)));
        }
        if out.is_empty() && self.flags.contains(CommandFlags::MOVABLEKEYS) { Err(KeyError) } else { Ok(()) }
    }

    fn find_movable_keys(&self, request: &Request, out: &mut KeyPositions) -> Result<(), KeyError> {
        if self.names_no_keys(request) {
            return Ok(());
        }
        if &*self.name == "migrate" {
            return migrate_keys(request, out);
        }
        let before = out.len();
        for spec in self.key_specs.iter() {
            spec.find(request, out)?;
        }
        let none = out.len() == before;
        if none && self.flags.contains(CommandFlags::MOVABLEKEYS) { Err(KeyError) } else { Ok(()) }
    }

    /// Whether the request reads keys that [`Self::keys`] does not find, since their names follow from data: `SORT` and
    /// `SORT_RO` fill their patterns with each element of the list.
    #[inline]
    pub fn follows_patterns(&self, request: &Request) -> bool {
        self.flags.contains(CommandFlags::MOVABLEKEYS) && self.sorts_by_patterns(request)
    }

    fn sorts_by_patterns(&self, request: &Request) -> bool {
        matches!(&*self.name, "sort" | "sort_ro") && has_sort_pattern(request)
    }

    /// What the gateway does with this request: [`Command::class`], but that a command that waits only when told to
    /// (`XREAD BLOCK`) is an ordinary one when it is not told, and that a script without keys runs on any node.
    pub fn class_of(&self, request: &Request) -> Class {
        match self.class {
            Class::Session(Session::Blocking) if !self.blocks(request) => Class::Key,
            Class::Key if self.names_no_keys(request) => Class::AnyNode,
            class => class,
        }
    }

    /// Whether the command need not have keys and this request says that it has none: `EVAL script 0`.
    fn names_no_keys(&self, request: &Request) -> bool {
        self.flags.contains(CommandFlags::NO_MANDATORY_KEYS) && request.arg(2) == Some(b"0")
    }

    /// Whether a blocking command may wait here. `XREAD` and `XREADGROUP`, known by their keyword `STREAMS`, do with the
    /// option `BLOCK` before it.
    fn blocks(&self, request: &Request) -> bool {
        match self.key_specs.first().map(|spec| &spec.begin) {
            Some(Begin::Keyword(streams, from)) => {
                let options = request.args().skip(*from as usize);
                let mut words = options.take_while(|arg| !arg.eq_ignore_ascii_case(streams.as_bytes()));
                words.any(|arg| arg.eq_ignore_ascii_case(b"BLOCK"))
            }
            _ => true,
        }
    }

    /// The error of a command that is not passed on because of `why`, the text of [`Class::Refuse`].
    pub fn refusal(&self, why: &str) -> String {
        format!("ERR hotgate: '{}' is not passed on: {why}", self.name)
    }
}
