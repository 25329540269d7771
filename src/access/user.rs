//! A user: whether it may come in, by which passwords, and what it may do.

use sha2::{Digest, Sha256};

use super::commands::ALL_COMMANDS;
use super::error::RuleError;
use super::selector::Selector;
use crate::command::CommandTable;

/// The letters of a password's SHA-256 in hexadecimal.
const HASH_LETTERS: usize = 64;

/// A user of the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its name.
    pub name: Vec<u8>,
    enabled: bool,
    /// Any password will do.
    takes_any_password: bool,
    /// It has all commands by `+@all`. By `allcommands`, or because nobody said who may, it has all but the administration of servers.
    all_are_given: bool,
    /// `RESTORE` need not look at what it restores. The servers decide that by the gateway's user; here it is kept for those who ask.
    skips_sanitizing: bool,
    /// SHA-256, in lower case hexadecimal.
    passwords: Vec<String>,
    /// The rules outside parentheses.
    root: Selector,
    /// Those in parentheses.
    selectors: Vec<Selector>,
}

impl User {
    /// A user as `ACL SETUSER` makes it: off, without passwords, with no right.
    pub fn new(name: &[u8], table: &CommandTable) -> Self {
        let mut root = Selector::default();
        root.commands.set_all(false, table);
        Self {
            name: name.to_vec(),
            enabled: false,
            takes_any_password: false,
            all_are_given: false,
            skips_sanitizing: false,
            passwords: Vec::new(),
            root,
            selectors: Vec::new(),
        }
    }

    /// A user who may do all, with one of these passwords or, without any, with whatever password.
    pub fn unrestricted(name: &[u8], passwords: &[&[u8]], table: &CommandTable) -> Self {
        let mut user = Self::new(name, table);
        user.enabled = true;
        user.takes_any_password = true;
        passwords.iter().for_each(|password| user.add_password(hash_of(password)));
        user.root.commands.set_all(true, table);
        user.root.keys.set_all(true);
        user.root.channels.set_all(true);
        user
    }

    /// Applies one rule.
    ///
    /// # Errors
    /// It is none, or contradicts what was said before. The user is as it was.
    pub fn apply(&mut self, rule: &[u8], table: &CommandTable) -> Result<(), RuleError> {
        match rule.to_ascii_lowercase().as_slice() {
            b"" => {}
            b"on" => self.enabled = true,
            b"off" => self.enabled = false,
            b"skip-sanitize-payload" => self.skips_sanitizing = true,
            b"sanitize-payload" => self.skips_sanitizing = false,
            b"nopass" => {
                self.takes_any_password = true;
                self.passwords.clear();
            }
            b"resetpass" => {
                self.takes_any_password = false;
                self.passwords.clear();
            }
            b"clearselectors" => self.selectors.clear(),
            b"reset" => *self = Self::new(&self.name, table),
            lower => {
                self.apply_particular(rule, table)?;
                self.all_are_given = match lower {
                    b"+@all" => true,
                    b"-@all" | b"allcommands" | b"nocommands" => false,
                    _ => self.all_are_given,
                };
            }
        }
        Ok(())
    }

    fn apply_particular(&mut self, rule: &[u8], table: &CommandTable) -> Result<(), RuleError> {
        match rule {
            [b'>', password @ ..] => self.add_password(hash_of(password)),
            [b'#', hash @ ..] => self.add_password(hash_from(hash)?),
            [b'<', password @ ..] => return self.remove_password(&hash_of(password)),
            [b'!', hash @ ..] => return self.remove_password(&hash_from(hash)?),
            [b'(', .., b')'] => self.selectors.push(Selector::parse(rule, table)?),
            _ => return self.root.apply(rule, table),
        }
        Ok(())
    }

    fn add_password(&mut self, hash: String) {
        self.takes_any_password = false;
        if !self.passwords.contains(&hash) {
            self.passwords.push(hash);
        }
    }

    fn remove_password(&mut self, hash: &str) -> Result<(), RuleError> {
        let place = self.passwords.iter().position(|known| known == hash).ok_or(RuleError::NoSuchPassword)?;
        self.passwords.remove(place);
        Ok(())
    }

    /// Whether it may come in with this password. How long that takes does not tell how much of it was right.
    pub fn admits(&self, password: &[u8]) -> bool {
        let hash = hash_of(password);
        // Both are 64 letters, and all of them are looked at.
        let same = |known: &String| known.bytes().zip(hash.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0;
        let known = self.passwords.iter().fold(false, |found, known| found | same(known));
        self.enabled && (self.takes_any_password || known)
    }

    /// Whether it may log in at all.
    pub fn is_enabled(&self) -> bool {
        self.enabled
    }

    /// Whether anybody is this user without saying so, if it is the default user.
    pub fn needs_no_password(&self) -> bool {
        self.enabled && self.takes_any_password
    }

    /// Whether it takes any password.
    pub fn takes_any_password(&self) -> bool {
        self.takes_any_password
    }

    /// Whether commands were given to it by a rule that begins with `+`, so that servers may be administered by it: nobody does so just
    /// because nobody said who may.
    pub fn has_given_commands(&self) -> bool {
        self.all_are_given || !self.selectors.is_empty() || self.root.commands.any_is_given()
    }

    /// The rule that gives it all commands, if it began with them, for a file that is read as the same user.
    pub(super) fn word_for_all(&self) -> &'static str {
        if self.all_are_given { ALL_COMMANDS } else { "allcommands" }
    }

    /// Whether it may do everything, so that nothing has to be asked.
    pub fn is_unrestricted(&self) -> bool {
        self.all_selectors().any(Selector::is_all)
    }

    /// The selectors, the one outside parentheses first.
    pub(super) fn all_selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// The hashes of its passwords.
    pub(super) fn passwords(&self) -> &[String] {
        &self.passwords
    }

    /// Whether another of this name has the same passwords.
    pub fn has_passwords_of(&self, other: &Self) -> bool {
        self.passwords == other.passwords
    }

    /// Redis's words for its flags, in Redis's order.
    pub(super) fn flags(&self) -> impl Iterator<Item = &'static str> {
        let enabled = if self.enabled { "on" } else { "off" };
        let sanitizing = if self.skips_sanitizing { "skip-sanitize-payload" } else { "sanitize-payload" };
        [Some(enabled), self.takes_any_password.then_some("nopass"), Some(sanitizing)].into_iter().flatten()
    }

    /// The same user, for a table that knows other commands.
    pub(super) fn for_table(&self, table: &CommandTable) -> Self {
        let mut user = self.clone();
        for selector in std::iter::once(&mut user.root).chain(&mut user.selectors) {
            selector.commands = selector.commands.for_table(table);
        }
        user
    }

    /// Whether it may be subscribed to a channel, or to a pattern of channels.
    pub fn may_subscribe(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.all_selectors().any(|selector| selector.channels.allow(channel, is_pattern))
    }
}

fn hash_of(password: &[u8]) -> String {
    Sha256::digest(password).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash_from(text: &[u8]) -> Result<String, RuleError> {
    let is_hash =
        text.len() == HASH_LETTERS && text.iter().all(|letter| matches!(letter, b'0'..=b'9' | b'a'..=b'f'));
    let hash = std::str::from_utf8(text).ok().filter(|_| is_hash);
    hash.map(str::to_owned).ok_or(RuleError::Hash)
}
