//! What a request may not do because keys live in several clusters.
//!
//! Nothing here is asked where there is one cluster. Each refusal names the clusters or says what to do, in the manner of Redis's own
//! `CROSSSLOT` where a client may know that.

use super::{CROSSSLOT, Refusal, Snapshots};
use crate::command::{Class, CommandFlags, Session as Subscribing};
use crate::route::{ClusterId, RoutedAs, SlotAt};
use crate::worker::client::session::Session;
use crate::worker::client::transaction::Transaction;
use crate::worker::resolve::{KeyAt, Resolved};

/// What a transaction gets that would run in several clusters.
pub(super) const TRANSACTION_LEAVES: &[u8] =
    b"CROSSSLOT hotgate: the commands of a transaction have to run in one cluster; PUBLISH runs in that of its \
    channel, and commands without keys in the cluster default (docs/routes.md)";

/// Why `SWAPDB` is not passed on.
const SWAPS_EVERYWHERE: &str =
    "keys live in several clusters, whose databases can't be swapped at once; send it to each server";

/// Why a command in another database than 0 is not passed on.
const NO_DATABASES: &str =
    "a key of it lives in a Redis Cluster, which has database 0 only; SELECT 0 first (docs/routes.md)";

/// Why `SORT` by patterns is not passed on.
const PATTERNS_LEAVE: &str =
    "names that follow from its patterns may live in another cluster than its key (docs/routes.md)";

/// Why a sale is not reserved from.
const SALE_LEAVES: &str = "a route of its user's own has this sale in another cluster, and sales live where the routes of everybody have them \
    (docs/routes.md)";

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
        Class::Key if resolved.follows_patterns && patterns_leave(snapshots, session.routed_as, resolved) => {
            Class::Refuse(PATTERNS_LEAVE)
        }
        Class::Reserve(_) if session.routed_as != RoutedAs::ANYBODY && sale_leaves(snapshots, resolved) => {
            Class::Refuse(SALE_LEAVES)
        }
        class => class,
    }
}

/// Whether a `SORT` may look at keys in another cluster than its own.
fn patterns_leave(snapshots: &Snapshots, routed_as: RoutedAs, resolved: &Resolved<'_>) -> bool {
    let (Some(table), Some(key)) = (snapshots.routes.several(), resolved.keys.first()) else { return false };
    let words: Vec<&[u8]> = resolved.request.args().collect();
    words.windows(2).skip(1).any(|pair| {
        let names_keys = [&b"by"[..], b"get"].iter().any(|word| pair[0].eq_ignore_ascii_case(word));
        let star = pair[1].iter().position(|byte| *byte == b'*');
        match star.filter(|_| names_keys) {
            Some(star) => table.may_leave(routed_as, &pair[1][..star], key.slot.cluster),
            None => false,
        }
    })
}

/// Whether a sale would live elsewhere for its user than for everybody: who looks after sales knows no user.
fn sale_leaves(snapshots: &Snapshots, resolved: &Resolved<'_>) -> bool {
    resolved.named_keys().any(|(key, name)| snapshots.routes.cluster_of(name) != key.slot.cluster)
}

/// The cluster of the channel that a request speaks of first; without one, that of commands without keys.
pub fn cluster_of_channel(snapshots: &Snapshots, session: &Session, resolved: &Resolved<'_>) -> ClusterId {
    let routed_as = match resolved.class {
        Class::AnyNode if resolved.flags.contains(CommandFlags::PUBSUB) => session.routed_as,
        Class::Session(Subscribing::Subscribe | Subscribing::Psubscribe) => session.channels_routed_as(),
        _ => return snapshots.routes.keyless(),
    };
    let channel = resolved.request.arg(1).unwrap_or_default();
    snapshots.routes.cluster_for(routed_as, channel)
}

/// Whether a command without keys can't be queued in the open transaction, which runs in another cluster.
pub(super) fn leaves_transaction(snapshots: &Snapshots, session: &Session, resolved: &Resolved<'_>) -> bool {
    let Some(transaction) = session.transaction.queuing() else { return false };
    let pinned = transaction.slot.map(|slot| slot.cluster).into_iter().chain(transaction.keyless);
    runs_in_one_cluster(snapshots, resolved.class)
        && pinned.into_iter().any(|cluster| cluster != resolved.keyless)
}

/// Whether a command without keys of this class has to run in one of several clusters.
pub fn runs_in_one_cluster(snapshots: &Snapshots, class: Class) -> bool {
    snapshots.routes.several().is_some() && matches!(class, Class::Key | Class::AnyNode)
}

/// Whether a key can't be named in the open transaction, which runs in another cluster.
pub(super) fn is_elsewhere(snapshots: &Snapshots, transaction: Option<&Transaction>, place: SlotAt) -> bool {
    if snapshots.routes.several().is_none() {
        return false;
    }
    transaction.is_some_and(|transaction| {
        transaction.slot.is_some_and(|pinned| pinned.cluster != place.cluster)
            || transaction.keyless.is_some_and(|keyless| keyless != place.cluster)
    })
}
