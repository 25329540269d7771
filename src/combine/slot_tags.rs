//! One short hash tag for every slot, so that a companion key can be placed in the slot of any key.
//!
//! A key such as `a}b{c` or `{}x` cannot be put between braces and keep its slot: the first `}` would end the tag. So the tag
//! of a companion does not come from the key. It comes from a table of 16384 strings, one for each slot, and the key
//! follows it verbatim. Keys that have a tag of their own get one from the table too: one rule for all.

use std::sync::LazyLock;

use crate::resp::{SLOT_COUNT, key_slot};

/// Digits and letters: no brace, nothing that needs quoting in a shell or an ACL pattern.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// `62^3` strings fall into 16384 slots, 14 to each on average, and none stays empty (a test counts them), so three
/// letters do.
const TAG_BYTES: usize = 3;

/// Found by search when first needed, which takes a few milliseconds; written out it would be 64 KiB of source.
static TAGS: LazyLock<Vec<[u8; TAG_BYTES]>> = LazyLock::new(|| {
    let mut tags = vec![[0; TAG_BYTES]; usize::from(SLOT_COUNT)];
    for &first in ALPHABET {
        for &second in ALPHABET {
            for &third in ALPHABET {
                let tag = [first, second, third];
                tags[usize::from(key_slot(&tag))] = tag;
            }
        }
    }
    tags
});

/// A string without braces that hashes to this slot; slots beyond the last wrap around.
pub fn slot_tag(slot: u16) -> &'static [u8] {
    &TAGS[usize::from(slot % SLOT_COUNT)]
}

/// The name of a key in the same slot as `key`, even if that has braces of its own: `{tag}hotgate:<purpose>:<key>`.
pub fn companion_key(key: &[u8], purpose: &[u8]) -> Vec<u8> {
    let tag = slot_tag(key_slot(key));
    [b"{", tag, b"}hotgate:", purpose, b":", key].concat()
}

/// Whether this is the name of a companion of some key.
pub fn is_companion_key(name: &[u8]) -> bool {
    matches!(name, [b'{', _, _, _, b'}', rest @ ..] if rest.starts_with(b"hotgate:"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_slot_has_its_tag() {
        for slot in 0..SLOT_COUNT {
            let tag = slot_tag(slot);
            assert_eq!(key_slot(tag), slot, "{tag:?}");
            assert!(tag.iter().all(|byte| byte.is_ascii_alphanumeric()), "{tag:?}");
        }
    }

    #[test]
    fn odd_braces_do_not_move_the_companion() {
        let check = |key: &str| {
            let companion = companion_key(key.as_bytes(), b"once:g1");
            assert_eq!(key_slot(&companion), key_slot(key.as_bytes()), "{key}");
            assert!(companion.ends_with(key.as_bytes()));
        };
        for key in ["", "a", "sku:{8421}:reserved", "}{", "{}", "{}{x}", "{", "}", "a}b{c", "{{x}}", "{a}{b}"]
        {
            check(key);
        }
    }

    proptest! {
        #[test]
        fn companions_share_the_slot(key: Vec<u8>) {
            prop_assert_eq!(key_slot(&companion_key(&key, b"quota")), key_slot(&key));
        }
    }
}
