//! Why a rule is refused, in the words of Redis.

use std::fmt;

/// What is wrong with one rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleError {
    /// There is no such command, subcommand or category.
    Unknown,
    /// It is no rule.
    Syntax,
    /// A key pattern after all keys were allowed.
    KeysAreAll,
    /// A channel pattern after all channels were allowed.
    ChannelsAreAll,
    /// The password to remove is none of the user's.
    NoSuchPassword,
    /// A hash that is no SHA-256 in lower case.
    Hash,
    /// A first argument of a subcommand.
    FirstArgument,
}

impl RuleError {
    /// The text that Redis has for it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown command or category name in ACL",
            Self::Syntax => "Syntax error",
            Self::KeysAreAll => {
                "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. \
                 Try 'resetkeys' to start with an empty list of patterns"
            }
            Self::ChannelsAreAll => {
                "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any \
                 effect. Try 'resetchannels' to start with an empty list of channels"
            }
            Self::NoSuchPassword => "The password you are trying to remove from the user does not exist",
            Self::Hash => {
                "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
            }
            Self::FirstArgument => "Allowing first-arg of a subcommand is not supported",
        }
    }
}

/// Why a user can't be changed as was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChangeError {
    /// Its name could not be written into a file of rules.
    Name,
    /// A parenthesis is not closed; where it was opened.
    Parenthesis(Vec<u8>),
    /// This rule is wrong.
    Rule(Vec<u8>, RuleError),
}

impl ChangeError {
    /// What is wrong, without a letter of the rule itself: it may hold a password.
    pub fn without_rule(&self) -> &'static str {
        match self {
            Self::Name => "Usernames can't contain spaces or null characters",
            Self::Parenthesis(_) => "Unmatched parenthesis in acl selector",
            Self::Rule(_, error) => error.text(),
        }
    }
}

/// In the words of Redis, which shows the rule.
impl fmt::Display for ChangeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => f.write_str(self.without_rule()),
            Self::Parenthesis(opened) => {
                let opened = String::from_utf8_lossy(opened);
                write!(f, "{} starting at '{opened}'.", self.without_rule())
            }
            Self::Rule(rule, error) => {
                write!(f, "Error in ACL SETUSER modifier '{}': {error}", String::from_utf8_lossy(rule))
            }
        }
    }
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}
