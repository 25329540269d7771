//! How a relation between directives that does not hold is reported: once, at the key that the reader of the file would change.
//!
//! Owns the forms that several relations share. It knows no directive.

use std::collections::HashSet;
use std::fmt::{Debug, Display};
use std::hash::Hash;

use super::reader::Reader;

/// How many stars a pattern has, and the highest that a template names.
pub(super) fn captures_of(pattern: &str, template: &str) -> (usize, usize) {
    (stars(pattern), references(template).max().unwrap_or(0))
}

/// The numbers of `$1` to `$9` in a template.
pub(super) fn references(template: &str) -> impl Iterator<Item = usize> {
    let pairs = template.as_bytes().windows(2);
    pairs
        .filter(|pair| pair[0] == b'$' && (b'1'..=b'9').contains(&pair[1]))
        .map(|pair| usize::from(pair[1] - b'0'))
}

/// The stars of a pattern that match any text: not the escaped ones, and not those in a class.
pub(super) fn stars(pattern: &str) -> usize {
    let (mut stars, mut in_class) = (0, false);
    let mut bytes = pattern.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                bytes.next();
            }
            b'[' => in_class = true,
            b']' => in_class = false,
            b'*' if !in_class => stars += 1,
            _ => {}
        }
    }
    stars
}

/// Reports at the first of the keys, unless one of them is in error already.
pub(super) fn relation(reader: &mut Reader<'_>, keys: &[&str], message: String) {
    if let [first, ..] = keys
        && !keys.iter().any(|key| reader.has_error(key))
    {
        reader.error(first, message);
    }
}

pub(super) fn exclusive<A, B>(
    reader: &mut Reader<'_>,
    key: &str,
    one: &Option<A>,
    other_key: &str,
    other: &Option<B>,
) {
    if one.is_some() && other.is_some() {
        let message = format!("{key} is given too; drop one of them");
        relation(reader, &[other_key, key], message);
    }
}

pub(super) fn together<T>(
    reader: &mut Reader<'_>,
    (key, one): (&str, &Option<T>),
    (other_key, other): (&str, &Option<T>),
) {
    let (given, missing) = if one.is_some() { (key, other_key) } else { (other_key, key) };
    if one.is_some() != other.is_some() {
        relation(reader, &[given, missing], format!("expected {missing} beside it, found none; give both"));
    }
}

pub(super) fn at_most<T: PartialOrd + Debug>(
    reader: &mut Reader<'_>,
    (key, low): (&str, T),
    (bound_key, bound): (&str, T),
) {
    if low > bound {
        let message =
            format!("expected at most {bound_key} ({bound:?}), found {low:?}; lower it or raise that");
        relation(reader, &[key, bound_key], message);
    }
}

pub(super) fn repeated<T: Eq + Hash + Display>(
    items: impl IntoIterator<Item = T>,
    reader: &mut Reader<'_>,
    path: impl Fn(usize) -> String,
    what: &str,
) {
    let mut seen = HashSet::new();
    for (index, item) in items.into_iter().enumerate() {
        let message = format!("{item} {what}");
        if !seen.insert(item) {
            relation(reader, &[&path(index)], message);
        }
    }
}
