//! Big keys as operators see them: those that workers have seen, by name as they may be shown.

use serde::Serialize;

use super::commands::name_of;
use super::merged::Merged;
use super::routes::ClusterView;
use crate::command::CommandTable;
use crate::route::ClusterId;
use crate::shared::big_keys::BigKey;
use crate::shared::keys::KeyNames;

/// Keys shown: the largest.
const ROWS_MAX: usize = 200;

/// A key that was not seen for so long is not shown any more.
const AGE_MS_MAX: u64 = 24 * 3_600_000;

/// All that is shown.
#[derive(Clone, Debug, Default)]
pub struct BigKeysView {
    /// The largest by bytes first, then by elements.
    pub keys: Vec<BigKeyView>,
    /// By cluster.
    pub clusters: Vec<ClusterBigKeys>,
}

/// One key.
#[derive(Clone, Debug, Serialize)]
pub struct BigKeyView {
    /// Its name, as it may be shown.
    pub key: String,
    /// The cluster that it lives in.
    pub cluster: String,
    /// The command that showed it last.
    pub command: String,
    /// The largest request that wrote to it, in bytes; 0 where none was large.
    pub request_bytes: u64,
    /// The largest reply of it, in bytes.
    pub reply_bytes: u64,
    /// The most elements in a reply of it; 0 where none listed its elements.
    pub elements: u64,
    /// How often it was seen.
    pub seen: u64,
    /// When first, in milliseconds since 1970.
    pub first_ms: u64,
    /// When last.
    pub last_ms: u64,
}

/// What is counted of a cluster.
#[derive(Clone, Debug, Serialize)]
pub struct ClusterBigKeys {
    /// Its name.
    pub cluster: String,
    /// Its keys in the table.
    pub keys: u64,
    /// How often one showed itself since the start.
    pub seen: u64,
}

/// Those that were seen within a day.
pub fn view(
    merged: &Merged,
    (names, table): (&KeyNames, &CommandTable),
    clusters: &[ClusterView],
    now_ms: u64,
) -> BigKeysView {
    let is_fresh = |key: &&BigKey| key.last_ms + AGE_MS_MAX >= now_ms;
    let rows: Vec<&BigKey> = merged.all.big_keys.rows().iter().filter(is_fresh).collect();
    let of_cluster = |id: ClusterId| rows.iter().filter(|key| key.id.cluster == id).count() as u64;
    let counted = (0..).map(ClusterId).zip(clusters).map(|(id, cluster)| ClusterBigKeys {
        cluster: cluster.name.clone(),
        keys: of_cluster(id),
        seen: merged.all.big_keys.seen_in(id),
    });
    let counted = counted.collect();
    let shown = |key: &&BigKey| BigKeyView {
        key: names.label(&key.name),
        cluster: clusters.get(key.id.cluster.position()).map(|known| known.name.clone()).unwrap_or_default(),
        command: name_of(table, key.command).to_owned(),
        request_bytes: key.request_bytes,
        reply_bytes: key.reply_bytes,
        elements: key.elements,
        seen: key.seen,
        first_ms: key.first_ms,
        last_ms: key.last_ms,
    };
    let mut keys: Vec<BigKeyView> = rows.iter().map(shown).collect();
    keys.sort_by(|a, b| {
        let size = |key: &BigKeyView| (key.request_bytes.max(key.reply_bytes), key.elements);
        size(b).cmp(&size(a)).then_with(|| a.key.cmp(&b.key))
    });
    keys.truncate(ROWS_MAX);
    BigKeysView { keys, clusters: counted }
}
