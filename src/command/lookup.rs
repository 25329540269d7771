//! The table of commands: from the bytes of a name to what is known of it.
//!
//! Owns: the commands, by number, and the map from names. A table never changes; one that knows the upstream's own
//! commands as well is a new table in which every number means what it meant before.
//!
//! Deliberately does not: decide what to do with a request.

use ahash::AHashMap;

use super::class::{Class, Local};
use super::command::{Command, CommandId};
use super::error::CommandError;
use super::table::{GROUPS, Group};
use super::upstream::UpstreamCommand;
use crate::resp::Request;

/// The longest name that is looked up, `container|subcommand` included. Redis' own have at most 28 bytes, those of
/// its modules are not much longer; a longer name is unknown.
const NAME_BYTES_MAX: usize = 64;

/// More commands than this in one table are not taken from an upstream. Redis 8 has about 550 with subcommands and
/// all its modules; ids are 16 bits wide.
const COMMANDS_MAX: usize = 8192;

/// The words behind `HOTGATE QUOTA` and `HOTGATE QUOTAS` that change nothing.
const READING_WORDS: [&[u8]; 4] = [b"list", b"count", b"get", b"help"];

/// All commands, by number and by name.
#[derive(Clone, Debug)]
pub struct CommandTable {
    commands: Vec<Command>,
    /// Commands and containers by name.
    names: AHashMap<Box<[u8]>, CommandId>,
    /// Subcommands by `container|subcommand`.
    subcommands: AHashMap<Box<[u8]>, CommandId>,
}

impl CommandTable {
    /// The commands that the gateway knows by itself.
    pub fn builtin() -> Self {
        let mut table = Self::empty();
        for (group, category, entries) in GROUPS {
            for entry in *entries {
                let container =
                    entry.name.split_once('|').and_then(|(name, _)| table.lookup(name.as_bytes()));
                table.insert(Command::from_entry(entry, *group, *category), container);
            }
        }
        table
    }

    /// The table that knows nothing.
    pub(super) fn empty() -> Self {
        Self { commands: Vec::new(), names: AHashMap::new(), subcommands: AHashMap::new() }
    }

    /// This table and what the upstream has beyond it, subcommands of known containers included. Of a command that
    /// is known, the tips and the arity are taken over, since other versions allow more or less; it is left alone where the
    /// gateway itself answers, but for `COMMAND`, which is about what the upstream has. What does not fit the bounds of a table is left out. What the upstream lacks
    /// and only it could run is absent: a request for it is passed on all the same, and refused there.
    pub fn with_upstream(&self, upstream: Vec<UpstreamCommand>) -> Self {
        let mut table = self.clone();
        for command in &mut table.commands {
            command.absent = command.class.is_run_upstream() && !upstream.is_empty();
        }
        for command in upstream {
            table.add_upstream(command, None);
        }
        table
    }

    fn add_upstream(&mut self, mut upstream: UpstreamCommand, container: Option<CommandId>) {
        let name = upstream.name.as_bytes();
        let known = if container.is_some() { self.subcommands.get(name) } else { self.names.get(name) };
        let subcommands = std::mem::take(&mut upstream.subcommands);
        let id = match known.copied() {
            Some(id) => {
                let known = &mut self.commands[usize::from(id.0)];
                let answers = matches!(known.class, Class::Local(local) if !matches!(local, Local::Command | Local::Administer | Local::ResetLog));
                if !answers {
                    known.arity = upstream.arity;
                }
                known.absent = false;
                known.tips = std::mem::take(&mut upstream.tips);
                known.notes = std::mem::take(&mut upstream.notes);
                id
            }
            None if name.len() > NAME_BYTES_MAX || self.commands.len() >= COMMANDS_MAX => return,
            None => {
                let known_container =
                    container.map(|id| self.get(id)).filter(|known| known.group != Group::Module);
                let class = upstream.class(known_container.map(|known| known.class));
                self.insert(upstream.into_command(class), container)
            }
        };
        // A subcommand has none of its own.
        if container.is_none() {
            subcommands.into_iter().for_each(|subcommand| self.add_upstream(subcommand, Some(id)));
        }
    }

    fn insert(&mut self, mut command: Command, container: Option<CommandId>) -> CommandId {
        let id = CommandId(self.commands.len() as u16);
        command.container = container;
        let name = command.name.as_bytes().into();
        match container {
            None => self.names.insert(name, id),
            Some(container) => {
                self.commands[usize::from(container.0)].subcommands.push(id);
                self.subcommands.insert(name, id)
            }
        };
        self.commands.push(command);
        id
    }

    /// The number of commands, subcommands included.
    #[allow(clippy::len_without_is_empty, reason = "the table is never empty")]
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// All commands and subcommands with their numbers, containers before their subcommands.
    pub fn iter(&self) -> impl Iterator<Item = (CommandId, &Command)> {
        self.commands.iter().enumerate().map(|(index, command)| (CommandId(index as u16), command))
    }

    /// The command or subcommand at a place of the table.
    pub fn at(&self, place: usize) -> Option<&Command> {
        self.commands.get(place)
    }

    /// The commands that are no subcommands and that there are.
    pub fn top_level(&self) -> impl Iterator<Item = &Command> {
        self.commands.iter().filter(|command| command.container.is_none() && !command.absent)
    }

    /// The command or subcommand that a client calls by its full name, if there is one.
    pub fn offered(&self, name: &[u8]) -> Option<&Command> {
        let command = self.get(self.lookup_full_name(name)?);
        (!command.absent).then_some(command)
    }

    /// The number of the command or container with this name, in any case.
    pub fn lookup(&self, name: &[u8]) -> Option<CommandId> {
        let mut buffer = [0; NAME_BYTES_MAX];
        self.names.get(fold(&mut buffer, name)?).copied()
    }

    /// The number of a container's subcommand with this name, in any case.
    pub fn subcommand(&self, container: CommandId, name: &[u8]) -> Option<CommandId> {
        let mut buffer = [0; NAME_BYTES_MAX];
        let container = self.get(container).name.as_bytes();
        let (head, rest) = buffer.split_at_mut_checked(container.len() + 1)?;
        head[..container.len()].copy_from_slice(container);
        head[container.len()] = b'|';
        let len = head.len() + fold(rest, name)?.len();
        self.subcommands.get(&buffer[..len]).copied()
    }

    /// The number of the command called `name`, or of the subcommand called `container|subcommand`, which is how
    /// What `COMMAND INFO` and its kin show of one command.
    pub fn lookup_full_name(&self, name: &[u8]) -> Option<CommandId> {
        let mut buffer = [0; NAME_BYTES_MAX];
        let name = fold(&mut buffer, name)?;
        self.names.get(name).or_else(|| self.subcommands.get(name)).copied()
    }

    /// The command with this number.
    ///
    /// # Panics
    /// When the number is of another table that has more commands.
    pub fn get(&self, id: CommandId) -> &Command {
        &self.commands[usize::from(id.0)]
    }

    /// The command that a request calls: the subcommand where the name is a container's, the container itself only
    /// where it stands alone and may (`COMMAND`).
    ///
    /// # Errors
    /// As Redis would say for an unknown command or subcommand, or a wrong number of arguments.
    pub fn resolve(&self, request: &Request) -> Result<CommandId, CommandError> {
        let mut id = self.lookup(request.name()).ok_or(CommandError::Unknown)?;
        let mut command = self.get(id);
        if command.is_container()
            && let Some(name) = request.arg(1)
        {
            id = self.subcommand(id, name).ok_or(CommandError::UnknownSubcommand)?;
            id = self.reading_form(id, request).unwrap_or(id);
            command = self.get(id);
        }
        if !command.accepts(request.len()) {
            return Err(CommandError::Arity { of_subcommand: command.container.is_some() });
        }
        Ok(id)
    }
}

impl CommandTable {
    /// `HOTGATE QUOTA` with a word that only reads is the command `hotgate|quotas`: who may look need not be able to change.
    fn reading_form(&self, id: CommandId, request: &Request) -> Option<CommandId> {
        if self.get(id).class != Class::Local(Local::Hotgate) || &*self.get(id).name != "hotgate|quota" {
            return None;
        }
        let word = request.arg(2)?;
        let reads = READING_WORDS.iter().any(|reading| word.eq_ignore_ascii_case(reading));
        reads.then(|| self.lookup_full_name(b"hotgate|quotas"))?
    }
}

/// Writes `name` in lower case to the front of `buffer`; `None` when it does not fit.
fn fold<'b>(buffer: &'b mut [u8], name: &[u8]) -> Option<&'b [u8]> {
    let folded = buffer.get_mut(..name.len())?;
    folded.copy_from_slice(name);
    folded.make_ascii_lowercase();
    Some(folded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::oracle::Arguments;
    use crate::command::{CommandFlags, Fan, KeyPositions, KeyRange, Local, Session, Split};

    /// Resolves a line and gives the command's name and class.
    fn carried(table: &CommandTable, line: &str) -> (String, Class) {
        let arguments = Arguments::of_line(line);
        let command = table.get(table.resolve(&arguments.request()).unwrap());
        (command.name.to_string(), command.class_of(&arguments.request()))
    }

    #[test]
    fn carries_each_request_by_its_class() {
        let table = CommandTable::builtin();
        for (line, expect) in [
            ("GeT a", Class::Key),
            ("mget a b", Class::Split(Split::Mget)),
            ("EVAL s 0 x", Class::AnyNode),
            ("EVAL s 1 a", Class::Key),
            ("EVAL s nonsense a", Class::Key),
            ("XREAD STREAMS a 0", Class::Key),
            ("XREAD block 0 STREAMS a 0", Class::Session(Session::Blocking)),
            ("XREAD STREAMS block 0", Class::Key),
            ("XREADGROUP GROUP BLOCK c STREAMS a 0", Class::Key),
            ("XREADGROUP GROUP g c BLOCK 5 STREAMS a 0", Class::Session(Session::Blocking)),
            ("BLPOP a 0", Class::Session(Session::Blocking)),
            ("SCRIPT kill", Class::Fan(Fan::AnyOk)),
            ("CONFIG get x", Class::Local(Local::Config)),
            ("COMMAND", Class::Local(Local::Command)),
            ("CLIENT TRACKING on", Class::Session(Session::Tracking)),
            ("HOTGATE quota set k limit 5", Class::Local(Local::Hotgate)),
            ("OBJECT ENCODING a", Class::Key),
            ("OBJECT HELP", Class::AnyNode),
        ] {
            assert_eq!(carried(&table, line).1, expect, "{line}");
        }
        for line in ["CONFIG SET a b", "DEBUG SLEEP 1", "CLIENT PAUSE 1", "SAVE", "MODULE LOAD x"] {
            assert_eq!(carried(&table, line).1, Class::Local(Local::Administer), "{line}");
        }
        for line in ["REPLICAOF a 1", "SHUTDOWN", "CLUSTER MEET a 1", "SYNC"] {
            assert!(matches!(carried(&table, line).1, Class::Refuse(_)), "{line}");
        }
    }

    #[test]
    fn reading_of_quotas_is_a_command_of_its_own() {
        let table = CommandTable::builtin();
        for (line, expect) in [
            ("HOTGATE QUOTA SET k LIMIT 5", "hotgate|quota"),
            ("HOTGATE quota pause get", "hotgate|quota"),
            ("HOTGATE QUOTA GET k", "hotgate|quotas"),
            ("hotgate quota LIST MATCH x", "hotgate|quotas"),
            ("HOTGATE QUOTAS", "hotgate|quotas"),
            ("HOTGATE QUOTAS SET k LIMIT 5", "hotgate|quotas"),
        ] {
            assert_eq!(carried(&table, line).0, expect, "{line}");
        }
        let error = |line: &str| table.resolve(&Arguments::of_line(line).request()).unwrap_err();
        assert_eq!(error("HOTGATE QUOTA PAUSE"), CommandError::Arity { of_subcommand: true });
        assert_eq!(error("HOTGATE anything at all"), CommandError::UnknownSubcommand);
    }

    #[test]
    fn every_line_of_the_table_makes_sense() {
        let table = CommandTable::builtin();
        for (id, command) in table.iter() {
            assert_eq!(
                table.lookup_full_name(command.name.as_bytes()),
                Some(id),
                "{} is there twice",
                command.name
            );
            assert!(!command.summary.is_empty() && !command.since.is_empty(), "{}", command.name);
            let by_keys =
                matches!(command.class, Class::Key | Class::Split(_) | Class::Session(Session::Blocking));
            let has_keys = !command.key_specs.is_empty();
            assert!(
                !by_keys || has_keys || command.is_container(),
                "{} is carried by keys it has not",
                command.name
            );
            assert!(has_keys <= !matches!(command.class, Class::AnyNode | Class::Fan(_)), "{}", command.name);
            assert!(!(command.is_write() && command.is_readonly()), "{}", command.name);
        }
    }

    #[test]
    fn a_name_too_long_or_of_a_subcommand_is_no_command() {
        let table = CommandTable::builtin();
        for name in
            [&b"config|get"[..], b"", &[b'g'; NAME_BYTES_MAX], &[b'g'; 10 * NAME_BYTES_MAX], b"ge\xff"]
        {
            assert_eq!(table.lookup(name), None);
        }
        let config = table.lookup(b"CONFIG").unwrap();
        assert_eq!(table.subcommand(config, &[b'g'; 10 * NAME_BYTES_MAX]), None);
        assert_eq!(table.get(table.subcommand(config, b"gEt").unwrap()).name, "config|get");
    }

    #[test]
    fn an_upstream_adds_what_is_new() {
        let table = CommandTable::builtin();
        let command = |name: &str, flags, first, subcommands| UpstreamCommand {
            name: name.to_owned(),
            arity: -2,
            flags,
            key_range: KeyRange { first, last: first, step: first.min(1) },
            categories: Default::default(),
            tips: Vec::new(),
            notes: Vec::new(),
            subcommands,
            key_specs: (first > 0)
                .then(|| KeyRange { first, last: first, step: 1 }.into())
                .into_iter()
                .collect(),
        };
        let new = table.with_upstream(vec![
            command("json.get", CommandFlags::READONLY, 1, vec![]),
            command("ft.search", CommandFlags::READONLY, 0, vec![]),
            command("get", CommandFlags::READONLY, 1, vec![]),
            command(
                "config",
                CommandFlags::NONE,
                0,
                vec![command("config|new", CommandFlags::NONE, 0, vec![])],
            ),
            command(
                "object",
                CommandFlags::NONE,
                0,
                vec![command("object|new", CommandFlags::NONE, 2, vec![])],
            ),
            command("box", CommandFlags::NONE, 0, vec![command("box|open", CommandFlags::ADMIN, 0, vec![])]),
            command(&"x".repeat(NAME_BYTES_MAX + 1), CommandFlags::NONE, 0, vec![]),
            command(
                "command",
                CommandFlags::NONE,
                0,
                vec![command("command|getkeys", CommandFlags::NONE, 0, vec![])],
            ),
            command("select", CommandFlags::NONE, 0, vec![]),
        ]);
        assert_eq!(new.len(), table.len() + 6);
        let arity = |name: &[u8]| new.get(new.lookup_full_name(name).unwrap()).arity;
        assert_eq!([&b"get"[..], b"command|getkeys", b"select"].map(arity), [-2, -2, 2]);
        for (line, expect) in
            [("JSON.GET a $", Class::Key), ("ft.search i q", Class::AnyNode), ("OBJECT NEW a", Class::Key)]
        {
            assert_eq!(carried(&new, line).1, expect, "{line}");
        }
        assert!(matches!(carried(&new, "CONFIG NEW"), (name, Class::Refuse(_)) if name == "config|new"));
        assert!(matches!(carried(&new, "box open"), (_, Class::Refuse(_))));
        let arguments = Arguments::of_line("OBJECT NEW a");
        let mut keys = KeyPositions::new();
        new.get(new.resolve(&arguments.request()).unwrap()).keys(&arguments.request(), &mut keys).unwrap();
        assert_eq!(keys.as_slice(), [2]);
    }
}
