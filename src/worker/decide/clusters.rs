//! What a request may not do because keys live in several clusters.
//!
//! Nothing here is asked where there is one cluster. Each refusal names the clusters or says what to do, in the manner of Redis's own
//! `CROSSSLOT` where a client may know that.

use super::{CROSSSLOT, Refusal, Snapshots};
use crate::command::Class;
use crate::route::SlotAt;
use crate::worker::client::session::Session;
use crate::worker::client::transaction::Transaction;
use crate::worker::resolve::{KeyAt, Resolved};

/// What a transaction gets that would run in several clusters.
pub(super) const TRANSACTION_LEAVES: &[u8] =
    b"CROSSSLOT hotgate: the commands of a transaction have to run in one cluster; commands \
    without keys and PUBLISH run in the cluster default (docs/routes.md)";

/// Why `SWAPDB` is not passed on.
const SWAPS_EVERYWHERE: &str =
    "keys live in several clusters, whose databases can't be swapped at once; send it to each server";

/// Why a command in another database than 0 is not passed on.
const NO_DATABASES: &str =
    "a key of it lives in a Redis Cluster, which has database 0 only; SELECT 0 first (docs/routes.md)";

/// Why `SORT` by patterns is not passed on.
const PATTERNS_LEAVE: &str =
    "names that follow from its patterns may live in another cluster than its key (docs/routes.md)";

/// What a command on keys in several slots gets.
pub fn crossing(snapshots: &Snapshots, resolved: &Resolved<'_>) -> Refusal {
    let Some(table) = snapshots.routes.several() else { return CROSSSLOT.into() };
    let mut names: Vec<&str> = Vec::new();
    for key in &resolved.keys {
        let name = table.name_of(key.slot.cluster);
        if !names.contains(&name) {
            names.push(name);
        }
    }
    if names.len() < 2 {
        return CROSSSLOT.into();
    }
    let (count, names) = (names.len(), names.join(", "));
    format!("CROSSSLOT hotgate: the keys of this command live in {count} clusters ({names}); it works within one (docs/routes.md)")
        .into_bytes()
        .into()
}

/// The class of a request where keys live in several clusters: its own, unless it can't be done there.
#[inline]
pub fn class_over_clusters(snapshots: &Snapshots, session: &Session, resolved: &Resolved<'_>) -> Class {
    let lacks_databases = |key: &KeyAt| !snapshots.has_databases(key.slot.cluster);
    match resolved.class {
        Class::AnyNode if resolved.request.name().eq_ignore_ascii_case(b"swapdb") => {
            Class::Refuse(SWAPS_EVERYWHERE)
        }
        Class::Key | Class::Split(_) | Class::Session(_)
            if session.database_ahead() != 0 && resolved.keys.iter().any(lacks_databases) =>
        {
            Class::Refuse(NO_DATABASES)
        }
        Class::Key if resolved.follows_patterns && patterns_leave(snapshots, resolved) => {
            Class::Refuse(PATTERNS_LEAVE)
        }
        class => class,
    }
}

/// Whether a `SORT` may look at keys in another cluster than its own.
fn patterns_leave(snapshots: &Snapshots, resolved: &Resolved<'_>) -> bool {
    let (Some(table), Some(key)) = (snapshots.routes.several(), resolved.keys.first()) else { return false };
    let words: Vec<&[u8]> = resolved.request.args().collect();
    words.windows(2).skip(1).any(|pair| {
        let names_keys = [&b"by"[..], b"get"].iter().any(|word| pair[0].eq_ignore_ascii_case(word));
        let star = pair[1].iter().position(|byte| *byte == b'*');
        match star.filter(|_| names_keys) {
            Some(star) => table.may_leave(&pair[1][..star], key.slot.cluster),
            None => false,
        }
    })
}

/// Whether a command without keys can't be queued in the open transaction, which runs in another cluster.
pub(super) fn leaves_transaction(snapshots: &Snapshots, session: &Session, resolved: &Resolved<'_>) -> bool {
    let pinned = session.transaction.queuing().and_then(|transaction| transaction.slot);
    runs_in_default(snapshots, resolved.class)
        && pinned.is_some_and(|pinned| pinned.cluster != snapshots.routes.keyless())
}

/// Whether a command without keys of this class has to run in the first cluster.
pub fn runs_in_default(snapshots: &Snapshots, class: Class) -> bool {
    snapshots.routes.several().is_some() && matches!(class, Class::Key | Class::AnyNode)
}

/// Whether a key can't be named in the open transaction, which runs in another cluster.
pub(super) fn is_elsewhere(snapshots: &Snapshots, transaction: Option<&Transaction>, place: SlotAt) -> bool {
    if snapshots.routes.several().is_none() {
        return false;
    }
    transaction.is_some_and(|transaction| {
        transaction.slot.is_some_and(|pinned| pinned.cluster != place.cluster)
            || (transaction.runs_in_default && place.cluster != snapshots.routes.keyless())
    })
}
