//! Key patterns and channel patterns of one selector.

use crate::command::glob;

/// What a pattern allows, and what a command does, with a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyUse {
    /// What is in it may become known.
    pub reads: bool,
    /// It may change.
    pub writes: bool,
}

impl KeyUse {
    const ALL: Self = Self { reads: true, writes: true };

    fn covers(self, wanted: Self) -> bool {
        (self.reads || !wanted.reads) && (self.writes || !wanted.writes)
    }
}

/// Keys that match this may be used so.
#[derive(Clone, Debug, PartialEq, Eq)]
struct KeyPattern {
    pattern: Vec<u8>,
    shape: Shape,
    allows: KeyUse,
}

/// What a pattern is made of. Most need not be walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// The name of one key.
    Name,
    /// What names begin with, and a star.
    Prefix,
    /// Anything else.
    Glob,
}

impl Shape {
    fn of(pattern: &[u8]) -> Self {
        match pattern.iter().position(|byte| b"*?[\\".contains(byte)) {
            None => Self::Name,
            Some(wildcard) if pattern[wildcard..] == *b"*" => Self::Prefix,
            Some(_) => Self::Glob,
        }
    }
}

impl KeyPattern {
    fn new(pattern: &[u8], allows: KeyUse) -> Self {
        Self { pattern: pattern.to_vec(), shape: Shape::of(pattern), allows }
    }

    #[inline]
    fn matches(&self, key: &[u8]) -> bool {
        match (self.shape, self.pattern.as_slice()) {
            (Shape::Name, name) => key == name,
            (Shape::Prefix, [prefix @ .., _]) => begins_with(key, prefix),
            (_, pattern) => glob::matches(pattern, key),
        }
    }
}

/// Whether a key begins so. Most patterns of a user differ from a key in their first byte, which spares a call.
#[inline]
fn begins_with(key: &[u8], prefix: &[u8]) -> bool {
    match (key, prefix) {
        (_, []) => true,
        ([first, ..], [wanted, ..]) => first == wanted && key.starts_with(prefix),
        ([], _) => false,
    }
}

/// Which keys may be used, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyPatterns {
    all: bool,
    patterns: Vec<KeyPattern>,
}

impl KeyPatterns {
    /// All keys, or none.
    pub fn set_all(&mut self, all: bool) {
        *self = Self { all, patterns: Vec::new() };
    }

    /// Whether every key may be used in every way.
    pub fn are_all(&self) -> bool {
        self.all
    }

    /// Whether every key may be read.
    pub fn all_readable(&self) -> bool {
        self.all || self.patterns.iter().any(|known| known.allows.reads && known.pattern == b"*")
    }

    /// Adds a pattern as a rule spells it: `~pattern`, `%R~pattern`, `%W~pattern`, `%RW~pattern`. Nothing if that is no such rule.
    pub fn add(&mut self, rule: &[u8]) -> Option<()> {
        let (allows, pattern) = match rule {
            [b'~', pattern @ ..] => (KeyUse::ALL, pattern),
            [b'%', rest @ ..] => {
                let end = rest.iter().position(|byte| *byte == b'~').filter(|end| *end > 0)?;
                let mut allows = KeyUse::default();
                for letter in &rest[..end] {
                    let allowed = match letter.to_ascii_uppercase() {
                        b'R' => &mut allows.reads,
                        b'W' => &mut allows.writes,
                        _ => return None,
                    };
                    if std::mem::replace(allowed, true) {
                        return None;
                    }
                }
                (allows, &rest[end + 1..])
            }
            _ => return None,
        };
        if has_spaces(pattern) {
            return None;
        }
        match self.patterns.iter_mut().find(|known| known.pattern == pattern) {
            Some(known) => {
                known.allows.reads |= allows.reads;
                known.allows.writes |= allows.writes;
            }
            None => self.patterns.push(KeyPattern::new(pattern, allows)),
        }
        Some(())
    }

    /// Whether a key may be used so: one pattern has to allow all of it.
    #[inline]
    pub fn allow(&self, key: &[u8], wanted: KeyUse) -> bool {
        self.all || self.patterns.iter().any(|known| known.allows.covers(wanted) && known.matches(key))
    }

    /// As rules, one space between them.
    pub fn describe(&self, out: &mut Vec<u8>) {
        if self.all {
            return out.extend_from_slice(b"~*");
        }
        for (index, known) in self.patterns.iter().enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(match known.allows {
                KeyUse { reads: true, writes: false } => b"%R~",
                KeyUse { reads: false, writes: true } => b"%W~",
                // `~*` would be the rule for all keys, behind which no pattern may stand.
                _ if known.pattern == b"*" => b"%RW~",
                _ => b"~",
            });
            out.extend_from_slice(&known.pattern);
        }
    }
}

/// Which channels may be named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelPatterns {
    all: bool,
    patterns: Vec<Vec<u8>>,
}

impl ChannelPatterns {
    /// All channels, or none.
    pub fn set_all(&mut self, all: bool) {
        *self = Self { all, patterns: Vec::new() };
    }

    /// Whether every channel may be named.
    pub fn are_all(&self) -> bool {
        self.all
    }

    /// Adds a pattern. Nothing if it has spaces.
    pub fn add(&mut self, pattern: &[u8]) -> Option<()> {
        if has_spaces(pattern) {
            return None;
        }
        if !self.patterns.iter().any(|known| known == pattern) {
            self.patterns.push(pattern.to_vec());
        }
        Some(())
    }

    /// Whether a channel may be named. A pattern to subscribe to has to be one of the patterns, letter by letter.
    pub fn allow(&self, channel: &[u8], is_pattern: bool) -> bool {
        let matches =
            |known: &Vec<u8>| if is_pattern { known == channel } else { glob::matches(known, channel) };
        self.all || self.patterns.iter().any(matches)
    }

    /// As rules, one space between them.
    pub fn describe(&self, out: &mut Vec<u8>) {
        if self.all {
            return out.extend_from_slice(b"&*");
        }
        for (index, pattern) in self.patterns.iter().enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            out.push(b'&');
            out.extend_from_slice(pattern);
        }
    }
}

/// Whether a name or a pattern could not be written into a file of rules.
pub fn has_spaces(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c | 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_matched_as_the_pattern_that_it_is() {
        let patterns: &[&[u8]] =
            &[b"app:*", b"*", b"a*b*", b"app:?*", b"[ab]*", b"a\\**", b"app:", b"a\\*", b"", b"x**"];
        let keys: &[&[u8]] = &[b"app:1", b"app:", b"ap", b"", b"ab", b"a*b", b"a*", b"x", b"xyz", b"b\xff"];
        for pattern in patterns {
            for key in keys {
                let found = KeyPattern::new(pattern, KeyUse::ALL).matches(key);
                assert_eq!(
                    found,
                    glob::matches(pattern, key),
                    "{} {}",
                    pattern.escape_ascii(),
                    key.escape_ascii()
                );
            }
        }
    }

    #[test]
    fn a_star_put_together_of_two_rules_is_not_shown_as_the_rule_for_all_keys() {
        let mut patterns = KeyPatterns::default();
        [&b"%R~*"[..], b"%W~*", b"~b"].iter().for_each(|rule| assert!(patterns.add(rule).is_some()));
        let mut shown = Vec::new();
        patterns.describe(&mut shown);
        assert_eq!(shown, b"%RW~* ~b");
    }
}
