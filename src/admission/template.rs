//! The name of a limit key: `$1` to `$9` stand for what the stars of the quota's pattern matched in the counter's key.

use bytes::Bytes;

use crate::{command::glob, resp::key_slot};

/// Puts the captures into the template. A `$` that no digit from 1 to 9 follows stands for itself, and a star that the
/// pattern does not have is empty (the configuration refuses such templates).
pub(super) fn expand(template: &[u8], captures: &[&[u8]]) -> Bytes {
    let mut name = Vec::with_capacity(template.len() + 16);
    let mut rest = template;
    loop {
        match rest {
            [] => return name.into(),
            [b'$', digit @ b'1'..=b'9', tail @ ..] => {
                name.extend_from_slice(captures.get(usize::from(digit - b'1')).copied().unwrap_or_default());
                rest = tail;
            }
            [byte, tail @ ..] => {
                name.push(*byte);
                rest = tail;
            }
        }
    }
}

/// Whether the limit key of a counter whose stars matched plain words, without braces, is in the counter's slot.
pub(super) fn is_beside_counter(pattern: &[u8], template: &[u8]) -> bool {
    let counter = sample(pattern);
    let Some(captures) = glob::captures(pattern, &counter) else { return false };
    key_slot(&expand(template, &captures)) == key_slot(&counter)
}

/// A key that the pattern matches, with another word for each of its stars.
fn sample(pattern: &[u8]) -> Vec<u8> {
    let (mut key, mut stars) = (Vec::new(), 0);
    let mut rest = pattern;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match (byte, tail) {
            (b'*', _) => {
                stars += 1;
                key.extend_from_slice(format!("x{stars}").as_bytes());
            }
            (b'?', _) => key.push(b'x'),
            (b'\\', [literal, after @ ..]) => {
                key.push(*literal);
                rest = after;
            }
            (b'[', _) => {
                let end = tail.iter().position(|&byte| byte == b']').unwrap_or(tail.len());
                let class = &pattern[pattern.len() - rest.len() - 1..][..(end + 2).min(rest.len() + 1)];
                key.extend((b'0'..=b'z').find(|byte| glob::matches(class, &[*byte])));
                rest = tail.get(end + 1..).unwrap_or_default();
            }
            _ => key.push(*byte),
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_take_their_places() {
        let check = |template: &str, captures: &[&str], expect: &str| {
            let captures: Vec<&[u8]> = captures.iter().map(|text| text.as_bytes()).collect();
            assert_eq!(expand(template.as_bytes(), &captures), expect, "{template}");
        };
        check("sku:$1:limit", &["{8421}"], "sku:{8421}:limit");
        check("$2:$1:$2", &["a", "b"], "b:a:b");
        check("a$", &["x"], "a$");
        check("$$1$0$x", &["y"], "$y$0$x");
        check("$1$9", &["$1"], "$1");
        check("$12", &["z"], "z2");
    }

    #[test]
    fn knows_which_limit_keys_are_beside_their_counters() {
        let check = |pattern: &str, template: &str, expect: bool| {
            assert_eq!(is_beside_counter(pattern.as_bytes(), template.as_bytes()), expect, "{pattern}");
        };
        check("sku:{*}:reserved", "sku:{$1}:limit", true);
        check("sku:*:reserved", "sku:$1:limit", false);
        check("{*}:?:[a-f][^0-9]:\\*", "limit:{$1}", true);
        check("{*}:*", "{$2}", false);
        check("{shop}:*", "{shop}:limits", true);
        check("sku:[", "sku:limit", false);
    }
}
