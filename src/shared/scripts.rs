//! Bodies of scripts that clients loaded through this gateway.
//!
//! A node that joined later, or lost its cache, does not know a script that was loaded before. `EVALSHA` then gets `NOSCRIPT`
//! although the client did everything right. With the body the gateway loads the script where it is missing. Written seldom
//! (`SCRIPT LOAD`, `SCRIPT FLUSH`), read only on `NOSCRIPT`.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;

use crate::limits::{SCRIPT_BYTES_MAX, SCRIPTS_MAX};

#[derive(Clone, Default)]
struct Scripts {
    bodies: HashMap<[u8; 40], Bytes>,
    bytes: usize,
}

/// The scripts known to the process.
#[derive(Default)]
pub struct ScriptCache {
    scripts: ArcSwap<Scripts>,
    /// Scripts that something was said about in the log. They are scripts of the configuration.
    warned_of: ArcSwap<HashSet<[u8; 40]>>,
}

impl ScriptCache {
    /// Remembers `body`.
    pub fn insert(&self, body: Bytes) {
        let sha = sha1_hex(&body);
        self.scripts.rcu(|scripts| {
            let fits = scripts.bodies.len() < SCRIPTS_MAX && scripts.bytes + body.len() <= SCRIPT_BYTES_MAX;
            if !fits || scripts.bodies.contains_key(&sha) {
                return Arc::clone(scripts);
            }
            let mut next = Scripts::clone(scripts);
            next.bytes += body.len();
            next.bodies.insert(sha, body.clone());
            Arc::new(next)
        });
    }

    /// The body of the script with this hexadecimal SHA-1 digest, in either case.
    pub fn body(&self, sha: &[u8]) -> Option<Bytes> {
        let sha: [u8; 40] = sha.to_ascii_lowercase().try_into().ok()?;
        self.scripts.load().bodies.get(&sha).cloned()
    }

    /// Whether something is to be said in the log about a script of the configuration: once.
    pub fn warns_of(&self, sha: [u8; 40]) -> bool {
        let former = self.warned_of.rcu(|warned_of| {
            let mut next = HashSet::clone(warned_of);
            next.insert(sha);
            next
        });
        !former.contains(&sha)
    }

    /// Forgets all, as `SCRIPT FLUSH` does.
    pub fn clear(&self) {
        self.scripts.store(Arc::default());
    }
}

/// The name under which Redis knows a script.
pub fn sha1_hex(body: &[u8]) -> [u8; 40] {
    let digest = sha1_smol::Sha1::from(body).digest().to_string();
    let mut sha = [b'0'; 40];
    sha.copy_from_slice(&digest.as_bytes()[..40]);
    sha
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_found_by_its_digest_until_it_is_flushed() {
        let cache = ScriptCache::default();
        cache.insert(Bytes::from("return 1"));
        let sha = b"e0e1f9fabfc9d4800c877a703b823ac0578ff8db";
        assert_eq!(sha1_hex(b"return 1"), *sha);
        assert_eq!(cache.body(sha), Some(Bytes::from("return 1")));
        assert_eq!(cache.body(&sha.to_ascii_uppercase()), Some(Bytes::from("return 1")));
        assert_eq!(cache.body(b"e0e1"), None);
        cache.clear();
        assert_eq!(cache.body(sha), None);
        assert!(cache.warns_of(*sha) && !cache.warns_of(*sha));
    }

    #[test]
    fn the_cache_is_bounded() {
        let cache = ScriptCache::default();
        cache.insert(Bytes::from(vec![b'a'; SCRIPT_BYTES_MAX]));
        cache.insert(Bytes::from("return 1"));
        assert_eq!(cache.body(&sha1_hex(b"return 1")), None);
    }
}
