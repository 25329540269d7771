//! Glob patterns as Redis matches them (`stringmatchlen` of its `util.c`): in `KEYS`, `SCAN MATCH`, `PSUBSCRIBE`, ACL.
//!
//! - `*` matches any bytes, also none; `?` one byte.
//! - `[abc]`, `[a-z]` match one of these bytes, `[^abc]` one of the others. A range may stand the wrong way round, and
//!   a bracket that is never closed reaches to the end of the pattern.
//! - `\` takes the next byte literally, also within brackets.
//!
//! Of several ways to match, only where the last `*` ends has to be tried again: what an earlier one took was
//! the shortest that worked, and a longer one leaves less for what follows. So time is at most the product of the
//! lengths, however many stars a hostile pattern has.
//!
//! Unlike Redis, `*` matches the empty text too when it stands alone, and bytes from 0x80 on are greater than ASCII in
//! ranges (Redis compares them as `char`, which is signed on some machines).

use std::ops::Range;

use smallvec::SmallVec;

/// What each `*` of a pattern matched, in order.
pub type Captures<'t> = SmallVec<[&'t [u8]; 4]>;

/// Whether the pattern matches the whole text.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    find(pattern, text, false, |_, _| ())
}

/// Whether the pattern matches the whole text when upper and lower case of ASCII letters are the same; but a letter
/// after `\` within brackets is taken as it is, as Redis does.
pub fn matches_ignoring_case(pattern: &[u8], text: &[u8]) -> bool {
    find(pattern, text, true, |_, _| ())
}

/// What each `*` matched if the pattern matches the whole text. Every `*` takes as little as it can, from left to right;
/// of several in a row, the last takes what there is.
pub fn captures<'t>(pattern: &[u8], text: &'t [u8]) -> Option<Captures<'t>> {
    let mut ranges = SmallVec::<[Range<usize>; 4]>::new();
    let matched = find(pattern, text, false, |star, range| {
        ranges.truncate(star);
        ranges.push(range);
    });
    matched.then(|| ranges.into_iter().map(|range| &text[range]).collect())
}

/// Matches, and tells `took` what the star of this number took so far; a later word on the same star replaces it.
fn find(pattern: &[u8], text: &[u8], fold: bool, mut took: impl FnMut(usize, Range<usize>)) -> bool {
    let (mut p, mut t) = (0, 0);
    let (mut stars, mut last_star) = (0, None);
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            stars += 1;
            let range = if p == pattern.len() { t..text.len() } else { t..t };
            last_star = Some((p, range.clone()));
            t = range.end;
            took(stars - 1, range);
            continue;
        }
        let Some(byte) = text.get(t) else { return p == pattern.len() };
        match match_one(&pattern[p..], *byte, fold) {
            Some(len) => (p, t) = (p + len, t + 1),
            None => {
                let Some((after, range)) = &mut last_star else { return false };
                range.end += 1;
                (p, t) = (*after, range.end);
                took(stars - 1, range.clone());
            }
        }
    }
}

/// The length of the first element of the pattern, which is no `*`, if it matches this byte.
fn match_one(pattern: &[u8], byte: u8, fold: bool) -> Option<usize> {
    let (matched, len) = match pattern {
        [] => return None,
        [b'?', ..] => (true, 1),
        [b'[', class @ ..] => {
            let (matched, len) = match_class(class, byte, fold);
            (matched, len + 1)
        }
        [b'\\', literal, ..] => (same(*literal, byte, fold), 2),
        [literal, ..] => (same(*literal, byte, fold), 1),
    };
    matched.then_some(len)
}

/// Whether the class matches, and its length with the closing bracket; it begins after the opening one.
fn match_class(class: &[u8], byte: u8, fold: bool) -> (bool, usize) {
    let negated = class.first() == Some(&b'^');
    let mut i = usize::from(negated);
    let mut matched = false;
    loop {
        let (hit, len) = match &class[i..] {
            [] => break,
            [b'\\', literal, ..] => (*literal == byte, 2),
            [b']', ..] => {
                i += 1;
                break;
            }
            [from, b'-', to, ..] => (in_range(*from, *to, byte, fold), 3),
            [literal, ..] => (same(*literal, byte, fold), 1),
        };
        matched |= hit;
        i += len;
    }
    (matched != negated, i)
}

fn in_range(from: u8, to: u8, byte: u8, fold: bool) -> bool {
    let (low, high) = (from.min(to), from.max(to));
    if fold {
        (low.to_ascii_lowercase()..=high.to_ascii_lowercase()).contains(&byte.to_ascii_lowercase())
    } else {
        (low..=high).contains(&byte)
    }
}

fn same(literal: u8, byte: u8, fold: bool) -> bool {
    literal == byte || (fold && literal.eq_ignore_ascii_case(&byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::strategy::ValueTree;

    use super::*;
    use crate::command::oracle::{Arguments, Oracle};
    use crate::resp::RespVersion;

    /// The definition, as a recursion that tries every length of every star.
    fn naive(pattern: &[u8], text: &[u8], fold: bool) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', rest @ ..], _) => (0..=text.len()).any(|taken| naive(rest, &text[taken..], fold)),
            (_, []) => false,
            (_, [byte, after @ ..]) => {
                match_one(pattern, *byte, fold).is_some_and(|len| naive(&pattern[len..], after, fold))
            }
        }
    }

    fn glob() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(b"ab-]*?[^\\".to_vec()), 0..8)
    }

    proptest! {
        #[test]
        fn matches_what_the_definition_matches(pattern in glob(), text in "[abAB]{0,8}", fold: bool) {
            let text = text.as_bytes();
            prop_assert_eq!(find(&pattern, text, fold, |_, _| ()), naive(&pattern, text, fold));
        }

        #[test]
        fn captures_put_the_text_together_again(texts in prop::collection::vec("[a-c]{0,4}", 1..6), text in "[a-c:]{0,12}") {
            let pattern = texts.join("*");
            if let Some(captures) = captures(pattern.as_bytes(), text.as_bytes()) {
                let mut whole = texts[0].as_bytes().to_vec();
                for (capture, literal) in captures.iter().zip(&texts[1..]) {
                    whole.extend_from_slice(capture);
                    whole.extend_from_slice(literal.as_bytes());
                }
                prop_assert_eq!(captures.len(), texts.len() - 1);
                prop_assert_eq!(whole, text.as_bytes());
            } else {
                prop_assert!(!naive(pattern.as_bytes(), text.as_bytes(), false));
            }
        }
    }

    #[test]
    fn matches_what_redis_matches() {
        let mut redis = Oracle::start(RespVersion::Resp2);
        let texts =
            ["a", "b", "ab", "abc", "a-c", "a]", "]", "[", "^", "*", "\\", "a*b", "abab", "aXbYb", "-", "A"];
        for text in texts {
            redis.ask(&Arguments::new(&["SET", text, ""]));
        }
        let mut patterns: Vec<String> =
            ["a*", "*b", "a**b", "*a*b*", "?", "??", "[ab]", "[^ab]", "[a-c]", "[c-a]*"]
                .iter()
                .chain(&[
                    "[a-", "[", "[^", "[]", "[^]", "[a-]", "[\\]]", "[\\a-c]", "\\*", "\\", "a\\", "a\\*b",
                    "[^a]*",
                ])
                .map(ToString::to_string)
                .collect();
        let mut runner = proptest::test_runner::TestRunner::deterministic();
        patterns.extend(
            (0..300).map(|_| String::from_utf8(glob().new_tree(&mut runner).unwrap().current()).unwrap()),
        );
        for pattern in patterns {
            let mut ours: Vec<_> =
                texts.iter().filter(|text| matches(pattern.as_bytes(), text.as_bytes())).collect();
            ours.sort();
            let reply = redis.ask(&Arguments::new(&["KEYS", &pattern]));
            let reply = String::from_utf8(reply).unwrap();
            let mut theirs: Vec<_> =
                texts.iter().filter(|text| reply.contains(&format!("\r\n{text}\r\n"))).collect();
            theirs.sort();
            assert_eq!(ours, theirs, "{pattern}");
        }
    }

    #[test]
    fn gives_what_each_star_took() {
        let check = |pattern: &str, text: &str, expect: Option<&[&str]>| {
            let captures = captures(pattern.as_bytes(), text.as_bytes());
            let captures: Option<Vec<_>> =
                captures.map(|all| all.iter().map(|bytes| std::str::from_utf8(bytes).unwrap()).collect());
            assert_eq!(captures.as_deref(), expect, "{pattern} on {text}");
        };
        check("sku:*:reserved", "sku:{8421}:reserved", Some(&["{8421}"]));
        check("sku:{*}:*", "sku:{8421}:reserved", Some(&["8421", "reserved"]));
        check("sku:*", "sku:", Some(&[""]));
        check("*:*", "a:b:c", Some(&["a", "b:c"]));
        check("*b*b", "abcbb", Some(&["a", "cb"]));
        check("a**c", "abbc", Some(&["", "bb"]));
        check("*", "", Some(&[""]));
        check("abc", "abc", Some(&[]));
        check("sku:*:reserved", "sku:8421:sold", None);
    }

    #[test]
    fn a_hostile_pattern_costs_no_more_than_the_product_of_the_lengths() {
        let pattern = [b"a*".repeat(2000), b"b".to_vec()].concat();
        assert!(!matches(&pattern, &b"a".repeat(20_000)));
    }
}
