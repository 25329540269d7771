//! A selector: commands, keys and channels that are allowed together.

use super::commands::CommandRules;
use super::error::RuleError;
use super::patterns::{ChannelPatterns, KeyPatterns};
use crate::command::CommandTable;

/// What one selector allows. A request has to be allowed by one of them as a whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector {
    /// The commands.
    pub(super) commands: CommandRules,
    /// The keys.
    pub(super) keys: KeyPatterns,
    /// The channels.
    pub(super) channels: ChannelPatterns,
}

impl Selector {
    /// Reads `(rule rule ...)`.
    ///
    /// # Errors
    /// One of the rules is none.
    pub(super) fn parse(text: &[u8], table: &CommandTable) -> Result<Self, RuleError> {
        let inner =
            text.strip_prefix(b"(").and_then(|text| text.strip_suffix(b")")).ok_or(RuleError::Syntax)?;
        let mut selector = Self::default();
        selector.commands.set_all(false, table);
        inner
            .split(u8::is_ascii_whitespace)
            .filter(|rule| !rule.is_empty())
            // Written into a file, such a rule would end the selector.
            .try_for_each(|rule| match rule.ends_with(b")") {
                true => Err(RuleError::Syntax),
                false => selector.apply(rule, table),
            })?;
        Ok(selector)
    }

    /// Applies a rule about commands, keys or channels.
    ///
    /// # Errors
    /// It is none, or contradicts what was said before.
    pub(super) fn apply(&mut self, rule: &[u8], table: &CommandTable) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => self.keys.set_all(true),
            b"resetkeys" => self.keys.set_all(false),
            b"allchannels" | b"&*" => self.channels.set_all(true),
            b"resetchannels" => self.channels.set_all(false),
            b"allcommands" | b"+@all" => self.commands.set_all(true, table),
            b"nocommands" | b"-@all" => self.commands.set_all(false, table),
            _ => return self.apply_particular(rule, table),
        }
        Ok(())
    }

    fn apply_particular(&mut self, rule: &[u8], table: &CommandTable) -> Result<(), RuleError> {
        match rule {
            [b'~' | b'%', ..] if self.keys.are_all() => Err(RuleError::KeysAreAll),
            [b'~' | b'%', ..] => self.keys.add(rule).ok_or(RuleError::Syntax),
            [b'&', ..] if self.channels.are_all() => Err(RuleError::ChannelsAreAll),
            [b'&', pattern @ ..] => self.channels.add(pattern).ok_or(RuleError::Syntax),
            [b'+', text @ ..] => self.commands.apply(true, text, table),
            [b'-', text @ ..] => self.commands.apply(false, text, table),
            _ => Err(RuleError::Syntax),
        }
    }

    /// Whether it allows everything.
    pub(super) fn is_all(&self) -> bool {
        self.commands.are_all() && self.keys.are_all() && self.channels.are_all()
    }

    /// As one line of rules: keys, channels, commands. `all` is the rule for all commands.
    pub(super) fn describe(&self, all: &str, out: &mut Vec<u8>) {
        let mut part = Vec::new();
        self.keys.describe(&mut part);
        if !part.is_empty() {
            out.extend_from_slice(&part);
            out.push(b' ');
        }
        part.clear();
        self.channels.describe(&mut part);
        if !self.channels.are_all() {
            out.extend_from_slice(b"resetchannels ");
        }
        if !part.is_empty() {
            out.extend_from_slice(&part);
            out.push(b' ');
        }
        self.commands.describe(all, out);
    }
}
