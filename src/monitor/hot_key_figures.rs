//! What is shown of one hot key: what detection measured, joined with what combining and copies did for it and with where it lives.

use std::sync::Arc;

use super::figures::node_of;
use super::merged::Merged;
use super::routes::ClusterView;
use super::view::{HotKeyView, UsedBy};
use super::window::Window;
use crate::detect::HotKey;
use crate::shared::keys::KeyNames;
use crate::shared::tallies::CombinedKeyTally;
use crate::shared::tenants::Tenants;
use crate::shared::topology::Topology;

/// What is known when a hot key is looked at.
pub struct HotKeyInput<'a> {
    /// The last second.
    pub window: &'a Window<'a>,
    /// The tallies now.
    pub merged: &'a Merged,
    /// Which node has which slot.
    pub topology: &'a Topology,
    /// How keys are shown.
    pub key_names: &'a KeyNames,
    /// The clusters in force.
    pub clusters: &'a [ClusterView],
    /// The tenants in force, if there are any.
    pub tenants: Option<&'a Tenants>,
}

/// One hot key.
pub fn view(input: &HotKeyInput<'_>, hot: &HotKey) -> HotKeyView {
    let HotKeyInput { window, merged, topology, .. } = input;
    let key = hot.key.bytes();
    let nothing = CombinedKeyTally::default();
    let course = merged.courses.get(key);
    let tally = merged.keys.get(key);
    let base = window.base.keys.get(key).unwrap_or(&nothing);
    let combined = tally.filter(|tally| tally.offered > 0);
    let rate = |of: fn(&CombinedKeyTally) -> u64| combined.map(|tally| window.rate(of(tally), of(base)));
    let total = |of: fn(&CombinedKeyTally) -> u64| tally.map_or(0, of);
    let hits = |merged: &Merged| merged.cache_hits.get(key).copied().unwrap_or(0);
    let (offered_per_s, waited_per_s) = (rate(|t| t.offered), rate(|t| t.added_wait_us_sum));
    let cluster = input.clusters.get(hot.key.cluster().position());
    let tenant = input.tenants.and_then(|tenants| Some(tenants.get(tenants.table.by_key(key)?)));
    HotKeyView {
        key: input.key_names.label(key),
        class: hot.class.name(),
        since_ms: hot.since_ms,
        requests_per_s: hot.rates.ops,
        reads_per_s: hot.rates.reads,
        writes_per_s: hot.rates.writes,
        bytes_per_s: hot.rates.bytes_in + hot.rates.bytes_out,
        share: hot.rates.share,
        peak_per_s: hot.peak,
        trend: hot.rates.trend,
        connections: hot.rates.connections,
        node: if hot.key.is_truncated() { String::new() } else { node_of(&hot.key, topology) },
        offered_per_s,
        flushed_per_s: rate(|t| t.flushed),
        added_wait_us: offered_per_s.filter(|o| *o > 0.0).and_then(|o| waited_per_s.map(|w| w / o)),
        cache_hits_per_s: window.rate(hits(merged), hits(window.base)),
        pending: total(|t| t.pending),
        course: course.map_or("", |c| if c.forced { "folding always" } else { c.course.name() }),
        course_for_ms: course.map_or(0, |course| course.for_ms),
        queue_us: course.map_or(0, |course| course.excess_us),
        probe_in_ms: course.and_then(|course| course.probe_in_ms),
        flushes_max: course.and_then(|course| course.flushes_max),
        turn_wait_us: course.map_or(0, |course| course.turn_wait_us),
        unfolded: course.map(|course| course.unfolded.clone()).unwrap_or_default(),
        used_by: course.map(UsedBy::of).unwrap_or_default(),
        cluster: cluster.map(|cluster| cluster.name.clone()).unwrap_or_default(),
        tenant: tenant.map(|tenant| tenant.name.to_string()).unwrap_or_default(),
        history: Arc::clone(&hot.history),
        offered_total: total(|t| t.offered),
        flushed_total: total(|t| t.flushed),
        cache_hits_total: hits(merged),
    }
}
