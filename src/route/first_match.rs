//! Which of many patterns matches a key first.
//!
//! Of a hundred patterns for a hundred tenants most differ in the bytes before their first wildcard, so they are found by those
//! ([`Beginnings`]). Only patterns with the key's own beginning are matched byte by byte.
//!
//! Owns the patterns. It deliberately does not know what they are for.

use super::beginnings::Beginnings;
use crate::command::glob;

/// Patterns in the order in which they are tried.
#[derive(Debug)]
pub struct FirstMatch {
    patterns: Box<[Pattern]>,
    beginnings: Beginnings,
}

#[derive(Debug)]
struct Pattern {
    text: Box<[u8]>,
    /// Behind its beginning stands one star and nothing else.
    is_prefix: bool,
}

impl FirstMatch {
    /// Makes them ready; at most 65,536.
    pub fn new<'p>(patterns: impl Iterator<Item = &'p [u8]>) -> Self {
        let patterns: Box<[Pattern]> = patterns
            .map(|text| Pattern {
                is_prefix: text.strip_prefix(beginning(text)) == Some(b"*"),
                text: text.into(),
            })
            .collect();
        let beginnings = Beginnings::new(patterns.iter().map(|pattern| beginning(&pattern.text)));
        Self { patterns, beginnings }
    }

    /// The place of the first pattern that matches a key.
    pub fn place_of(&self, key: &[u8]) -> Option<usize> {
        let mut first: Option<u16> = None;
        for places in self.beginnings.of(key) {
            let earlier = places.iter().take_while(|place| first.is_none_or(|first| **place < first));
            let matches = |place: &&u16| self.patterns[usize::from(**place)].matches(key);
            first = earlier.copied().find(|place| matches(&place)).or(first);
        }
        first.map(usize::from)
    }
}

impl Pattern {
    fn matches(&self, key: &[u8]) -> bool {
        self.is_prefix || glob::matches(&self.text, key)
    }
}

/// The bytes before the first one that stands for others.
pub(super) fn beginning(pattern: &[u8]) -> &[u8] {
    let end = pattern.iter().position(|byte| matches!(byte, b'*' | b'?' | b'[' | b'\\'));
    &pattern[..end.unwrap_or(pattern.len())]
}
