//! Which commands a selector allows: the rules as they were given, and what they come to for the commands that there are.

use super::error::RuleError;
use crate::command::{Categories, CommandId, CommandTable};
use crate::resp::Request;

/// Redis's rule for all commands.
pub(super) const ALL_COMMANDS: &str = "+@all";

/// One rule: `+name`, `-name`, `+@category`, `+name|first argument`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    allow: bool,
    /// Without its sign, in lower case.
    text: Vec<u8>,
}

/// The commands of one selector.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandRules {
    /// It began with all commands, those of the future among them.
    from_all: bool,
    /// No rule takes anything away from that.
    all: bool,
    /// In their order. A rule that a later one makes void is gone.
    rules: Vec<Rule>,
    /// One bit for each command that was known when the rules were applied.
    allowed: Vec<u64>,
    /// Commands that are allowed with this first argument only.
    first_arguments: Vec<(CommandId, Vec<u8>)>,
}

impl CommandRules {
    /// All commands, or none.
    pub fn set_all(&mut self, all: bool, table: &CommandTable) {
        let word = if all { u64::MAX } else { 0 };
        *self = Self { from_all: all, all, allowed: vec![word; table.len().div_ceil(64)], ..Self::default() };
    }

    /// Whether every command may be called.
    pub fn are_all(&self) -> bool {
        self.all
    }

    /// Applies `+name` or `-name`, without its sign.
    ///
    /// # Errors
    /// There is no such command or category, or its form is wrong.
    pub fn apply(&mut self, allow: bool, text: &[u8], table: &CommandTable) -> Result<(), RuleError> {
        let text = text.to_ascii_lowercase();
        if let Some(name) = text.strip_prefix(b"@") {
            let category = Categories::by_name(name).ok_or(RuleError::Unknown)?;
            let members = table.iter().filter(|(_, command)| command.categories.contains(category));
            members.for_each(|(id, _)| self.change(id, allow, table));
        } else if let Some(id) = table.lookup_full_name(&text) {
            self.change(id, allow, table);
        } else {
            self.allow_first_argument(allow, &text, table)?;
        }
        self.remember(allow, text);
        Ok(())
    }

    /// `+select|0`: a command that has no subcommands, with one first argument.
    fn allow_first_argument(
        &mut self,
        allow: bool,
        text: &[u8],
        table: &CommandTable,
    ) -> Result<(), RuleError> {
        let bar = text.iter().rposition(|byte| *byte == b'|').filter(|_| allow).ok_or(RuleError::Unknown)?;
        let (name, argument) = (&text[..bar], &text[bar + 1..]);
        let id = table.lookup_full_name(name).ok_or(RuleError::Unknown)?;
        let command = table.get(id);
        if command.is_subcommand() {
            return Err(RuleError::FirstArgument);
        }
        if argument.is_empty() {
            return Err(RuleError::Syntax);
        }
        if command.is_container() {
            return Err(RuleError::Unknown);
        }
        let pair = (id, argument.to_vec());
        if !self.first_arguments.contains(&pair) {
            self.first_arguments.push(pair);
        }
        Ok(())
    }

    /// Allows or forbids a command and all its subcommands.
    fn change(&mut self, id: CommandId, allow: bool, table: &CommandTable) {
        self.set(id, allow);
        self.first_arguments.retain(|(known, _)| *known != id);
        table.get(id).subcommand_ids().iter().for_each(|id| self.set(*id, allow));
    }

    fn set(&mut self, id: CommandId, allow: bool) {
        let (word, bit) = (id.index() / 64, 1 << (id.index() % 64));
        let filler = if self.from_all { u64::MAX } else { 0 };
        if word >= self.allowed.len() {
            self.allowed.resize(word + 1, filler);
        }
        if allow {
            self.allowed[word] |= bit;
        } else {
            self.allowed[word] &= !bit;
        }
    }

    /// Puts a rule behind the others, and drops those that it makes void: the same, and those of the subcommands of its command.
    fn remember(&mut self, allow: bool, text: Vec<u8>) {
        let is_void = |known: &[u8]| match known.strip_prefix(text.as_slice()) {
            Some(rest) => rest.is_empty() || rest.starts_with(b"|"),
            None => false,
        };
        self.rules.retain(|rule| !is_void(&rule.text));
        self.rules.push(Rule { allow, text });
        self.all = self.from_all && self.rules.iter().all(|rule| rule.allow);
    }

    /// Whether a request of this command may be sent.
    #[inline]
    pub fn allow(&self, id: CommandId, request: &Request<'_>) -> bool {
        if self.all {
            return true;
        }
        match self.allowed.get(id.index() / 64) {
            Some(word) if word >> (id.index() % 64) & 1 == 1 => return true,
            None if self.from_all => return true,
            _ => {}
        }
        self.allow_by_first_argument(id, request)
    }

    fn allow_by_first_argument(&self, id: CommandId, request: &Request<'_>) -> bool {
        let Some(argument) = request.arg(1) else { return false };
        self.first_arguments
            .iter()
            .any(|(known, allowed)| *known == id && allowed.eq_ignore_ascii_case(argument))
    }

    /// The same rules, for a table that knows other commands.
    pub fn for_table(&self, table: &CommandTable) -> Self {
        let mut renewed = Self::default();
        renewed.set_all(self.from_all, table);
        for rule in &self.rules {
            // The servers may have lost a module since.
            if renewed.apply(rule.allow, &rule.text, table).is_err() {
                renewed.all = false;
                renewed.rules.push(rule.clone());
            }
        }
        renewed
    }

    /// Whether a rule allows anything beside what it began with.
    pub fn any_is_given(&self) -> bool {
        self.rules.iter().any(|rule| rule.allow)
    }

    /// As rules, one space between them; `all` is the rule for all commands.
    pub fn describe(&self, all: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.from_all { all.as_bytes() } else { b"-@all" });
        for rule in &self.rules {
            out.extend_from_slice(if rule.allow { b" +" } else { b" -" });
            out.extend_from_slice(&rule.text);
        }
    }
}
