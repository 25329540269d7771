//! The names of the keys of sales.
//!
//! Owns the first key of a sale, from which scripts derive the others, and the registry of sales. Deliberately does not list a sale's keys:
//! their number follows from what is in Redis.

use bytes::Bytes;

use crate::combine::{companion_key, slot_tag};
use crate::resp::SLOT_COUNT;

/// The registry is so many sorted sets, spread over the slots, so that none of them grows with all sales.
pub const REGISTRY_SHARDS: u16 = 16;

/// `{tag}hotgate:sale`, the same number of bytes for every sale.
const HEAD_BYTES: usize = "{abc}hotgate:sale:".len();

/// The sale's hash: the key of every call.
pub fn sale_key(sku: &[u8]) -> Bytes {
    companion_key(sku, b"sale").into()
}

/// The sale's stream of what happened.
pub fn ledger_key(sku: &[u8]) -> Bytes {
    companion_key(sku, b"sale.ledger").into()
}

/// The SKU in the name of a sale's hash.
pub fn sku_of(sale_key: &[u8]) -> &[u8] {
    sale_key.get(HEAD_BYTES..).unwrap_or_default()
}

/// The hash of a user by which his bucket is found. Scripts compute the same where no gateway tells them.
pub(super) fn user_hash(user: &[u8]) -> u32 {
    let digest = sha1_smol::Sha1::from(user).digest().bytes();
    u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
}

/// The bucket of a user's holding in a sale that has so many: what the scripts compute.
pub fn bucket_of(user: &[u8], buckets: u32) -> u32 {
    let hash = user_hash(user);
    let level = 1 << buckets.max(1).ilog2();
    let index = u64::from(hash) % (level * 2);
    (if index >= u64::from(buckets) { index % level } else { index }) as u32
}

/// Which part of the registry has the sale.
pub fn registry_shard(sku: &[u8]) -> u16 {
    (crc32fast::hash(sku) % u32::from(REGISTRY_SHARDS)) as u16
}

/// The sorted set of one part of the registry: SKUs, all with score 0, so in their own order.
pub fn registry_key(shard: u16) -> Bytes {
    let tag = slot_tag(shard % REGISTRY_SHARDS * (SLOT_COUNT / REGISTRY_SHARDS));
    [b"{", tag, b"}hotgate:sales.", shard.to_string().as_bytes(), b":"].concat().into()
}

/// Exists where a sale may be registered: one question about it stands for sixteen about all parts of the registry.
pub fn registry_mark() -> Bytes {
    [&registry_key(0)[..], b"any"].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resp::key_slot;

    #[test]
    fn a_sale_is_in_the_slot_of_its_sku() {
        for sku in ["shoe", "{8421}:booking", "a}b{c", "{}", ""] {
            let key = sale_key(sku.as_bytes());
            assert_eq!(key_slot(&key), key_slot(sku.as_bytes()), "{sku}");
            assert_eq!(sku_of(&key), sku.as_bytes());
            assert_eq!(key_slot(&ledger_key(sku.as_bytes())), key_slot(&key));
        }
    }

    #[test]
    fn a_user_moves_only_into_the_newest_bucket() {
        for user in 0..500 {
            let user = format!("user{user}");
            let mut before = bucket_of(user.as_bytes(), 1);
            assert_eq!(before, 0);
            for buckets in 2..40 {
                let now = bucket_of(user.as_bytes(), buckets);
                assert!(now == before || now == buckets - 1, "{user}: {before}, then {now} of {buckets}");
                before = now;
            }
        }
    }

    #[test]
    fn the_registry_is_spread() {
        let slots: std::collections::HashSet<u16> =
            (0..REGISTRY_SHARDS).map(|shard| key_slot(&registry_key(shard)) / 1024).collect();
        assert_eq!(slots.len(), usize::from(REGISTRY_SHARDS));
        let shards: std::collections::HashSet<u16> =
            (0..1000).map(|sale| registry_shard(format!("sku:{sale}").as_bytes())).collect();
        assert_eq!(shards.len(), usize::from(REGISTRY_SHARDS));
    }
}
