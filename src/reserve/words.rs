//! The words of a command, read one by one.
//!
//! Owns how a value is found and what is said of one that is wrong. Deliberately knows no command.

use crate::resp::parse_integer;

/// The words behind the fixed arguments.
pub(super) struct Words<'w, 'a>(std::slice::Iter<'w, &'a [u8]>);

impl<'w, 'a> Words<'w, 'a> {
    pub fn new(words: &'w [&'a [u8]]) -> Self {
        Self(words.iter())
    }

    pub fn next(&mut self) -> Option<&'a [u8]> {
        self.0.next().copied()
    }

    /// The word behind `name`.
    pub fn value(&mut self, name: &[u8]) -> Result<&'a [u8], String> {
        self.next().ok_or_else(|| format!("ERR {} needs a value behind it", name.escape_ascii()))
    }
}

pub(super) fn integer(name: &[u8], value: &[u8], least: i64, most: i64) -> Result<i64, String> {
    let number = parse_integer(value).filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| {
        let (name, value) = (name.escape_ascii(), value[..value.len().min(64)].escape_ascii());
        format!("ERR {name} takes an integer from {least} to {most}, not '{value}'")
    })
}

pub(super) fn unknown_word(command: &str, word: &[u8]) -> String {
    format!("ERR {command} has no word '{}'", word[..word.len().min(64)].escape_ascii())
}
