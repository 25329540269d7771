//! Where a key lives: in which cluster, and in which slot there.
//!
//! A cluster is a set of servers that share one map of slots: a Redis Cluster, or a single server with its replicas. The one that
//! `[upstream]` describes is called [`DEFAULT_CLUSTER`]; each `[[cluster]]` is another. A `[[route]]` says which keys live elsewhere
//! than in the first ([`table`]), and of several clusters a part of the key picks one ([`pick`]). A route may be one of a user's alone,
//! so where a key lives depends on who names it ([`RoutedAs`]). What another list of routes would move is worked out in [`moves`]. Whose a request is, where limits of tenants hold, is a matter of names too ([`tenants`]).
//!
//! A hash of a key is one of its name *in its cluster* ([`KeyHasher`]): what is kept by hash (hot keys, counters, copies) never mixes
//! two clusters, and the worker that is home to a key follows from it.
//!
//! Owns names only. It deliberately does not know which node serves a slot (`shared::topology`), nor any address.

mod beginnings;
pub mod first_match;
pub mod moves;
pub mod pick;
pub mod table;
pub mod tenants;

use std::sync::Arc;

use crate::resp::key_slot;
use table::{RouteRule, RouteTable};

/// What the cluster is called that `[upstream]` describes.
pub const DEFAULT_CLUSTER: &str = "default";

/// Spreads the number of a cluster over the bits of a hash (the golden ratio, as in Fibonacci hashing). It is odd, so that no two
/// numbers of clusters come out the same.
const CLUSTER_SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Names a cluster for the life of the process: its position in any list of clusters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId(pub u16);

impl ClusterId {
    /// The cluster called [`DEFAULT_CLUSTER`].
    pub const DEFAULT: Self = Self(0);

    /// Its position in a list of all clusters.
    pub const fn position(self) -> usize {
        self.0 as usize
    }
}

/// A hash slot of one cluster: the place of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotAt {
    /// The cluster.
    pub cluster: ClusterId,
    /// The slot in its map.
    pub slot: u16,
}

impl SlotAt {
    /// The place of `key`, which lives in `cluster`.
    pub fn of(cluster: ClusterId, key: &[u8]) -> Self {
        Self { cluster, slot: key_slot(key) }
    }
}

/// A key by its cluster and its hash there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId {
    /// Where the key lives.
    pub cluster: ClusterId,
    /// Its hash by a [`KeyHasher`]: that of one name differs from cluster to cluster.
    pub hash: u64,
}

/// Hashes the name of a key in its cluster, the same in every worker; seeded anew by each process.
///
/// Hashes of one name in two clusters are never equal. So who finds an entry by hash, and under it the same name, has the same
/// cluster as well.
#[derive(Clone, Debug, Default)]
pub struct KeyHasher(ahash::RandomState);

impl KeyHasher {
    /// Which key `name` is in `cluster`.
    #[inline]
    pub fn id(&self, cluster: ClusterId, name: &[u8]) -> KeyId {
        KeyId { cluster, hash: self.0.hash_one(name) ^ u64::from(cluster.0).wrapping_mul(CLUSTER_SPREAD) }
    }
}

/// By whose routes a key is looked for: by those of everybody, or by those of a user whom some route names as well.
///
/// Holds for the [`Routes`] that gave it; by others it may be another user's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoutedAs(pub(crate) u16);

impl RoutedAs {
    /// By the routes that name no user.
    pub const ANYBODY: Self = Self(0);

    fn position(self) -> usize {
        usize::from(self.0)
    }
}

/// Which cluster each key lives in. The one place where a key gets its cluster.
///
/// Where there is one cluster it holds nothing, and no key is looked at.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    table: Option<Arc<RouteTable>>,
}

impl Routes {
    /// Keys live where the first of these rules says that matches them, else in the first of the clusters, which have these names.
    pub fn new(names: Vec<String>, rules: Vec<RouteRule>) -> Self {
        Self { table: (names.len() > 1).then(|| Arc::new(RouteTable::new(names, rules))) }
    }

    /// By whose routes keys are looked for that this user names.
    pub fn routed_as(&self, user: &[u8]) -> RoutedAs {
        self.several().map_or(RoutedAs::ANYBODY, |table| table.routed_as(user))
    }

    /// The cluster that a key lives in which such a user names.
    #[inline]
    pub fn cluster_for(&self, routed_as: RoutedAs, key: &[u8]) -> ClusterId {
        match &self.table {
            None => ClusterId::DEFAULT,
            Some(table) => table.cluster_of(routed_as, key),
        }
    }

    /// The cluster that a key lives in, by the routes of everybody.
    #[inline]
    pub fn cluster_of(&self, key: &[u8]) -> ClusterId {
        self.cluster_for(RoutedAs::ANYBODY, key)
    }

    /// The slot that a key lives in, by the routes of everybody.
    #[inline]
    pub fn place_of(&self, key: &[u8]) -> SlotAt {
        SlotAt::of(self.cluster_of(key), key)
    }

    /// The cluster that commands without keys go to.
    #[inline]
    pub fn keyless(&self) -> ClusterId {
        ClusterId::DEFAULT
    }

    /// The name of a cluster.
    pub fn name_of(&self, cluster: ClusterId) -> &str {
        self.several().map_or(DEFAULT_CLUSTER, |table| table.name_of(cluster))
    }

    /// The rules and the names of clusters, where there are several.
    #[inline]
    pub fn several(&self) -> Option<&RouteTable> {
        self.table.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn one_key_has_another_place_in_another_cluster() {
        let (here, there) = (ClusterId::DEFAULT, ClusterId(1));
        assert_eq!(SlotAt::of(here, b"foo"), SlotAt { cluster: here, slot: 12182 });
        assert_eq!(SlotAt::of(there, b"foo").slot, 12182);
        assert_ne!(SlotAt::of(here, b"foo"), SlotAt::of(there, b"foo"));
        assert_eq!(SlotAt::of(here, b"{foo}1"), SlotAt::of(here, b"{foo}2"));
        assert_eq!((here.position(), there.position()), (0, 1));
        assert_eq!(Routes::default().place_of(b"foo"), SlotAt::of(here, b"foo"));
    }

    #[test]
    fn one_key_has_another_hash_in_every_cluster() {
        let hasher = KeyHasher::default();
        let hashes: HashSet<u64> = (0..=u16::MAX).map(|id| hasher.id(ClusterId(id), b"foo").hash).collect();
        assert_eq!(hashes.len(), 1 << 16);
        assert_ne!(hasher.id(ClusterId(1), b"foo"), hasher.id(ClusterId(1), b"bar"));
        assert_eq!(hasher.clone().id(ClusterId(7), b"foo"), hasher.id(ClusterId(7), b"foo"));
    }
}
