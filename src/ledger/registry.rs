//! The registry of sales, as gateways keep it: a few sorted sets with the names of all sales.
//!
//! Owns how it is read, page by page. Reading it has Redis tell when it changes.

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};

use super::upstream::Server;
use crate::reserve::{REGISTRY_SHARDS, registry_key, registry_shard};
use crate::resp::{bulk_payload, elements, encode};

/// Names that one call returns.
pub const NAMES_PER_CALL: usize = 1000;

/// One of the sorted sets.
pub struct RegistryPart {
    /// Its key.
    pub key: Bytes,
    /// Where it was read last.
    pub server: Option<Server>,
    /// It has changed, or nobody would have told.
    pub is_due: bool,
    /// The names that it had.
    pub names: HashSet<Bytes>,
    /// It was read.
    pub is_known: bool,
}

/// All parts, still to be read.
pub fn parts() -> Vec<RegistryPart> {
    let part = |shard| RegistryPart {
        key: registry_key(shard),
        server: None,
        is_due: true,
        names: HashSet::new(),
        is_known: false,
    };
    (0..REGISTRY_SHARDS).map(part).collect()
}

/// Whether the registry lacks a sale, as far as is known.
pub fn lacks(parts: &[RegistryPart], sku: &[u8]) -> bool {
    parts.get(usize::from(registry_shard(sku))).is_some_and(|part| part.is_known && !part.names.contains(sku))
}

/// Writes the question for the names behind this one.
pub fn encode_page(key: &[u8], after: &[u8], out: &mut BytesMut) {
    let from = if after.is_empty() { b"-".to_vec() } else { [b"(", after].concat() };
    let count = NAMES_PER_CALL.to_string();
    encode::command(out, &[b"ZRANGEBYLEX", key, &from, b"+", b"LIMIT", b"0", count.as_bytes()]);
}

/// The names of a page; `None` for an error.
pub fn page_of(reply: &[u8]) -> Option<Vec<Bytes>> {
    Some(elements(reply)?.filter_map(bulk_payload).map(Bytes::copy_from_slice).collect())
}
