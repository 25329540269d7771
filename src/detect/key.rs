//! The name of a key in bounded memory, with the cluster in which it lives, since one key may live in several.
//!
//! Owns what of a long name is kept. Deliberately hashes nothing: which key a name is, the caller says (`crate::route::KeyHasher`).

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;

use crate::route::ClusterId;

/// The most bytes of a key that are stored. Redis allows keys of 512 MiB; a table of those would be no table.
///
/// Longer keys are told apart by length and digest, and shown by their first `KEY_BYTES_MAX` bytes. 512 is
/// above any key that a person would read, and lets 4096 tracked keys fit twice into half of the memory budget.
pub const KEY_BYTES_MAX: usize = 512;

/// A key of one cluster, or for one longer than [`KEY_BYTES_MAX`], its beginning with its length and digest.
///
/// Cheap to clone, equal for the same key in every worker. Bytes, never assumed to be text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName {
    bytes: Arc<[u8]>,
    cluster: ClusterId,
    full_len: u32,
    /// Zero for a key that is stored whole.
    digest: u64,
}

impl KeyName {
    /// Names `key`, which lives in `cluster`.
    #[must_use]
    pub fn new(cluster: ClusterId, key: &[u8]) -> Self {
        let full_len = u32::try_from(key.len()).unwrap_or(u32::MAX);
        match key.get(..KEY_BYTES_MAX) {
            Some(prefix) if key.len() > KEY_BYTES_MAX => {
                Self { bytes: Arc::from(prefix), cluster, full_len, digest: digest(key) }
            }
            _ => Self { bytes: Arc::from(key), cluster, full_len, digest: 0 },
        }
    }

    /// The key, or its first [`KEY_BYTES_MAX`] bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Where the key lives.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// The bytes as a shared slice.
    #[must_use]
    pub fn shared_bytes(&self) -> Arc<[u8]> {
        Arc::clone(&self.bytes)
    }

    /// Length of the key in bytes, also where fewer are stored.
    #[must_use]
    pub fn full_len(&self) -> u32 {
        self.full_len
    }

    /// Whether [`bytes`](Self::bytes) is only the beginning of the key.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.full_len as usize > self.bytes.len()
    }

    /// Whether this is the name of `key`, wherever that lives. For truncated names this rests on a 64-bit digest.
    #[must_use]
    pub fn matches(&self, key: &[u8]) -> bool {
        if !self.is_truncated() {
            return *self.bytes == *key;
        }
        key.len() == self.full_len as usize && key.starts_with(&self.bytes) && digest(key) == self.digest
    }
}

/// The seeds are constants because names from workers with different hashers must be equal.
fn digest(key: &[u8]) -> u64 {
    let mut hasher = ahash::RandomState::with_seeds(0x6b65, 0x796e, 0x616d, 0x6573).build_hasher();
    hasher.write(key);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_their_own_key_only() {
        let check = |key: &[u8], other: &[u8], truncated: bool| {
            let name = KeyName::new(ClusterId::DEFAULT, key);
            assert!(name.matches(key));
            assert!(!name.matches(other), "{name:?} took {other:?} for its own");
            assert_eq!(name, KeyName::new(ClusterId::DEFAULT, key));
            assert_ne!(name, KeyName::new(ClusterId::DEFAULT, other));
            assert_ne!(name, KeyName::new(ClusterId(1), key), "the same key elsewhere");
            assert_eq!(name.is_truncated(), truncated);
            assert_eq!(name.full_len() as usize, key.len());
        };
        let long_a = [vec![b'k'; KEY_BYTES_MAX], b"a".to_vec()].concat();
        let long_b = [vec![b'k'; KEY_BYTES_MAX], b"b".to_vec()].concat();
        check(b"", b"a", false);
        check(b"\xff\x00", b"\xff", false);
        check(&long_a[..KEY_BYTES_MAX], &long_a, false);
        check(&long_a, &long_b, true);
        check(&long_a, &long_a[..KEY_BYTES_MAX], true);
    }
}
