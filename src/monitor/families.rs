//! Gives every declared metric its value: one view in, the text of `/metrics` out.
//!
//! A metric that is declared and not rendered here fails a test, and so does one rendered twice. What a label
//! may hold is said in `metrics.rs`.

use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;

use super::buckets::octaves;
use super::command_families;
use super::condition_families;
use super::exposition::{Exposition, Metric};
use super::metrics as m;
use super::route_families;
use super::sales::SaleView;
use super::view::Readiness;
use super::view::{CertificateView, QuotaView, View};
use crate::shared::histogram::Latency;
use crate::shared::labels::{
    CloseReason, ErrorKind, EventKind, NodeRefusal, NodeState, Outcome, RedirectKind, RejectReason,
    RequestClass, SaleRefusal, SaleVerb, Standout,
};
use crate::shared::tallies::NodeTally;

/// Upper bounds of the latency buckets in nanoseconds: 10 µs, which is what the gateway alone takes, to 10 s.
const LATENCY_BOUNDS_NS: [u64; 19] = [
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// The text of `/metrics`.
pub fn render(view: &View) -> String {
    let mut out = Exposition::default();
    gateway(&mut out, view);
    requests(&mut out, view);
    clients(&mut out, view);
    certificates(&mut out, view);
    nodes(&mut out, view);
    hot_keys(&mut out, view);
    combining(&mut out, view);
    write_behind(&mut out, view);
    quotas(&mut out, view);
    sales(&mut out, view);
    detector(&mut out, view);
    admin(&mut out, view);
    process(&mut out, view);
    command_families::render(&mut out, view);
    condition_families::render(&mut out, view);
    route_families::render(&mut out, view);
    out.finish()
}

fn gateway(out: &mut Exposition, view: &View) {
    out.family(&m::BUILD_INFO).sample(&[&view.stats.gateway.version], 1.0);
    out.family(&m::READY).sample(&[], flag(view.readiness == Readiness::Ready));
    out.family(&m::WORKERS).sample(&[], view.stats.gateway.workers as f64);
}

fn certificates(out: &mut Exposition, view: &View) {
    let certificates = &view.stats.totals.certificates;
    let mut family = out.family(&m::CERTIFICATE_EXPIRES);
    for certificate in certificates {
        if let (Some(file), Some(expires_in_s)) = (&certificate.file, certificate.expires_in_s) {
            family.sample(&[&certificate.table, file], expires_in_s as f64);
        }
    }
    let tables: BTreeSet<&str> = certificates.iter().map(|certificate| certificate.table.as_str()).collect();
    let mut family = out.family(&m::CERTIFICATES_REFUSED);
    for table in tables {
        let refused = |row: &CertificateView| row.table == table && row.refused.is_some();
        family.sample(&[table], flag(certificates.iter().any(refused)));
    }
}

fn admin(out: &mut Exposition, view: &View) {
    let mut family = out.family(&m::ADMIN_TURNED_AWAY);
    for (reason, count) in &view.stats.totals.admin_turned_away {
        family.sample(&[reason], *count as f64);
    }
}

fn requests(out: &mut Exposition, view: &View) {
    let all = &view.merged.all;
    let mut family = out.family(&m::REQUESTS);
    for class in RequestClass::ALL {
        for outcome in Outcome::ALL {
            let count = all.requests[class.index()][outcome.index()];
            family.sample(&[class.label(), outcome.label()], count as f64);
        }
    }
    latency(out, &m::REQUEST_SECONDS, &all.request_time);
    latency(out, &m::GATEWAY_SECONDS, &all.gateway_time);
    latency(out, &m::UPSTREAM_SECONDS, &all.upstream_time);
    let mut family = out.family(&m::ERRORS);
    for kind in ErrorKind::ALL {
        family.sample(&[kind.label()], all.errors[kind.index()] as f64);
    }
    let mut family = out.family(&m::STANDOUTS);
    for kind in Standout::ALL {
        family.sample(&[kind.label()], all.standouts[kind.index()] as f64);
    }
    let mut family = out.family(&m::REDIRECTS);
    for kind in RedirectKind::ALL {
        family.sample(&[kind.label()], all.redirects[kind.index()] as f64);
    }
}

fn clients(out: &mut Exposition, view: &View) {
    let clients = &view.merged.all.clients;
    out.family(&m::CLIENTS)
        .sample(&["connected"], view.stats.totals.clients as f64)
        .sample(&["blocked"], clients.blocked as f64)
        .sample(&["subscribed"], clients.subscribed as f64);
    out.family(&m::CLIENTS_OPENED).sample(&[], clients.opened as f64);
    let mut family = out.family(&m::CLIENTS_CLOSED);
    for reason in CloseReason::ALL {
        family.sample(&[reason.label()], clients.closed[reason.index()] as f64);
    }
    let mut family = out.family(&m::CLIENTS_REJECTED);
    for reason in RejectReason::ALL {
        family.sample(&[reason.label()], clients.rejected[reason.index()] as f64);
    }
    out.family(&m::CLIENTS_PAUSED).sample(&[], clients.paused as f64);
    out.family(&m::CLIENT_BYTES)
        .sample(&["in"], clients.bytes_in as f64)
        .sample(&["out"], clients.bytes_out as f64);
    out.family(&m::BUFFERED_BYTES)
        .sample(&["in"], clients.buffered_in_bytes as f64)
        .sample(&["out"], clients.buffered_out_bytes as f64);
    out.family(&m::BUFFERED_BYTES_MAX).sample(&[], clients.buffered_bytes_max as f64);
}

fn nodes(out: &mut Exposition, view: &View) {
    let mut family = out.family(&m::NODE_UP);
    for node in &view.nodes {
        family.sample(&[&node.node, node.role], flag(node.up));
    }
    let mut family = out.family(&m::NODE_STATE);
    for node in &view.nodes {
        for state in NodeState::ALL {
            family.sample(&[&node.node, state.label()], flag(node.state == state.label()));
        }
    }
    let nothing = NodeTally::default();
    let rows: Vec<_> = view
        .nodes
        .iter()
        .map(|n| (n.node.as_str(), view.merged.all.nodes.get(n.place).unwrap_or(&nothing)))
        .collect();
    let mut each = |metric, of: fn(&NodeTally) -> u64| {
        let mut family = out.family(metric);
        for (node, tally) in &rows {
            family.sample(&[node], of(tally) as f64);
        }
    };
    each(&m::NODE_REQUESTS, |tally| tally.requests);
    each(&m::NODE_ERRORS, |tally| tally.errors);
    each(&m::NODE_INFLIGHT, |tally| tally.inflight);
    each(&m::NODE_INFLIGHT_MAX, |tally| tally.inflight_max);
    each(&m::NODE_BUFFERED_BYTES, |tally| tally.buffered_bytes);
    each(&m::NODE_CONNECTS, |tally| tally.connects);
    each(&m::NODE_RECONNECTS, |tally| tally.reconnects);
    each(&m::NODE_CONNECT_FAILURES, |tally| tally.connect_failures);
    let mut levels = |metric, of: fn(&NodeTally) -> f64| {
        let mut family = out.family(metric);
        for (node, tally) in &rows {
            family.sample(&[node], of(tally));
        }
    };
    levels(&m::NODE_QUEUE, |tally| tally.queue_us as f64 / 1e6);
    levels(&m::NODE_FLUSHES_MAX, |tally| tally.flushes_max);
    let mut family = out.family(&m::NODE_REFUSALS);
    for (node, tally) in &rows {
        for refusal in NodeRefusal::ALL {
            family.sample(&[node, refusal.label()], tally.refusals[refusal.index()] as f64);
        }
    }
    let mut family = out.family(&m::NODE_KEYS);
    for node in &view.nodes {
        if let Some(keys) = node.keys {
            family.sample(&[&node.node], keys as f64);
        }
    }
    let mut family = out.family(&m::NODE_BYTES);
    for (node, tally) in &rows {
        family.sample(&[node, "in"], tally.bytes_in as f64).sample(&[node, "out"], tally.bytes_out as f64);
    }
    let mut family = out.family(&m::NODE_SECONDS);
    for (node, tally) in &rows {
        let replies = &tally.reply_us;
        family.histogram(&[node], octaves(replies, 1e6), replies.count(), replies.sum() as f64 / 1e6);
    }
    out.family(&m::MISSING_RIGHTS).sample(&[], view.missing_rights as f64);
    out.family(&m::TOPOLOGY_VERSION).sample(&[], view.topology_version as f64);
}

fn hot_keys(out: &mut Exposition, view: &View) {
    out.family(&m::HOT_KEYS).sample(&[], view.hot_keys.len() as f64);
    let keys = distinct(&view.hot_keys, view.metric_keys_max, |key| key.key.clone());
    let mut family = out.family(&m::HOT_KEY_RATE);
    for key in &keys {
        family.sample(&[&key.key, "read"], key.reads_per_s).sample(&[&key.key, "write"], key.writes_per_s);
    }
    let mut family = out.family(&m::HOT_KEY_SHARE);
    for key in &keys {
        family.sample(&[&key.key], key.share);
    }
    let mut family = out.family(&m::HOT_KEY_BYTES);
    for key in &keys {
        family.sample(&[&key.key], key.bytes_per_s);
    }
    let mut family = out.family(&m::HOT_KEY_CONNECTIONS);
    for key in &keys {
        family.sample(&[&key.key], f64::from(key.connections));
    }
    let mut family = out.family(&m::HOT_KEY_INFO);
    for key in &keys {
        family.sample(&[&key.key, key.class, &key.node], 1.0);
    }
    let mut family = out.family(&m::HOT_KEY_OFFERED);
    for key in &keys {
        family.sample(&[&key.key], key.offered_total as f64);
    }
    let mut family = out.family(&m::HOT_KEY_FLUSHED);
    for key in &keys {
        family.sample(&[&key.key], key.flushed_total as f64);
    }
    let mut family = out.family(&m::HOT_KEY_CACHE_HITS);
    for key in &keys {
        family.sample(&[&key.key], key.cache_hits_total as f64);
    }
}

fn combining(out: &mut Exposition, view: &View) {
    let combine = &view.merged.all.combine;
    out.family(&m::COMBINE_OFFERED).sample(&[], combine.offered as f64);
    out.family(&m::COMBINE_FLUSHED).sample(&[], combine.flushed as f64);
    out.family(&m::COMBINE_CROWDS).sample(&[], combine.crowds as f64);
    out.family(&m::COMBINE_TURN_WAITS).sample(&[], combine.turn_waits as f64);
    out.family(&m::COMBINE_TURN_WAIT).sample(&[], combine.turn_wait_us as f64 / 1e6);
    out.family(&m::COMBINE_REPLAYED).sample(&[], combine.replayed as f64);
    let batch = &combine.batch_size;
    out.family(&m::COMBINE_BATCH).histogram(&[], octaves(batch, 1.0), batch.count(), batch.sum() as f64);
    let wait = &combine.added_wait_us;
    out.family(&m::COMBINE_WAIT).histogram(&[], octaves(wait, 1e6), wait.count(), wait.sum() as f64 / 1e6);
}

fn write_behind(out: &mut Exposition, view: &View) {
    let tally = &view.merged.all.write_behind;
    out.family(&m::WRITE_BEHIND_ABSORBED).sample(&[], tally.absorbed as f64);
    out.family(&m::WRITE_BEHIND_FLUSHES).sample(&[], tally.flushes as f64);
    out.family(&m::WRITE_BEHIND_ACKNOWLEDGED).sample(&[], tally.acknowledged as f64);
    out.family(&m::WRITE_BEHIND_RESENDS).sample(&[], tally.resends as f64);
    out.family(&m::WRITE_BEHIND_REPLAYS).sample(&[], tally.replays as f64);
    out.family(&m::WRITE_BEHIND_UNKNOWN).sample(&[], tally.unknown_outcomes as f64);
    out.family(&m::WRITE_BEHIND_UNKNOWN_OPERATIONS).sample(&[], tally.unknown_deltas as f64);
    out.family(&m::WRITE_BEHIND_LOST).sample(&[], tally.lost_deltas as f64);
    out.family(&m::WRITE_BEHIND_REFUSED).sample(&[], tally.refused_full as f64);
    out.family(&m::WRITE_BEHIND_PENDING).sample(&[], tally.pending as f64);
    out.family(&m::WRITE_BEHIND_PENDING_MAX).sample(&[], tally.pending_max as f64);
    out.family(&m::WRITE_BEHIND_OLDEST).sample(&[], tally.oldest_pending_ms as f64 / 1e3);
    out.family(&m::JOURNAL_BYTES).sample(&[], tally.journal_bytes as f64);
    out.family(&m::JOURNAL_SYNCS).sample(&[], tally.journal_syncs as f64);
    out.family(&m::JOURNAL_FAULTS).sample(&[], tally.journal_faults as f64);
    out.family(&m::JOURNAL_REFUSING).sample(&[], tally.journal_refusing as f64);
    let cache = &view.merged.all.read_cache;
    out.family(&m::READ_CACHE_READS)
        .sample(&["hit"], cache.hits as f64)
        .sample(&["miss"], cache.misses as f64);
    out.family(&m::READ_CACHE_STORES).sample(&[], cache.stores as f64);
    out.family(&m::READ_CACHE_INVALIDATIONS).sample(&[], cache.invalidations as f64);
    out.family(&m::READ_CACHE_DROPS).sample(&[], cache.drops as f64);
    out.family(&m::READ_CACHE_ENTRIES).sample(&[], cache.entries as f64);
    out.family(&m::READ_CACHE_BYTES).sample(&[], cache.bytes as f64);
}

fn quotas(out: &mut Exposition, view: &View) {
    let counters = &view.merged.all.admission;
    out.family(&m::ADMISSION_COUNTERS).sample(&[], counters.keys as f64);
    out.family(&m::ADMISSION_COUNTERS_MAX).sample(&[], counters.keys_max as f64);
    out.family(&m::ADMISSION_BYTES).sample(&[], counters.bytes as f64);
    out.family(&m::ADMISSION_BYTES_MAX).sample(&[], counters.bytes_max as f64);
    out.family(&m::ADMISSION_REFUSED).sample(&[], counters.refused_full as f64);
    out.family(&m::QUOTA_FLUSHED).sample(&[], counters.flushed as f64);
    let quotas =
        distinct(&view.quotas, view.metric_keys_max, |quota| (quota.key.clone(), quota.quota.clone()));
    let mut family = out.family(&m::QUOTA_REFUSED);
    for quota in &quotas {
        for (reason, count) in &quota.refused {
            family.sample(&[&quota.key, &quota.quota, reason], *count as f64);
        }
    }
    let mut each = |metric, of: fn(&QuotaView) -> Option<f64>| {
        let mut family = out.family(metric);
        for quota in &quotas {
            if let Some(value) = of(quota) {
                family.sample(&[&quota.key, &quota.quota], value);
            }
        }
    };
    each(&m::QUOTA_ADMITTED, |quota| Some(quota.admitted as f64));
    each(&m::QUOTA_WOULD_REFUSE, |quota| Some(quota.would_refuse as f64));
    each(&m::QUOTA_UNCHECKED, |quota| Some(quota.unchecked as f64));
    each(&m::QUOTA_OWED_LOST, |quota| Some(quota.debts_lost as f64));
    each(&m::QUOTA_RECHECKS, |quota| Some(quota.rechecks as f64));
    each(&m::QUOTA_LIMIT, |quota| quota.limit.map(|limit| limit as f64));
    each(&m::QUOTA_VALUE, |quota| quota.value.map(|value| value as f64));
    each(&m::QUOTA_USED, |quota| quota.used_share);
    each(&m::QUOTA_PAUSED, |quota| Some(flag(quota.paused)));
    each(&m::QUOTA_EXHAUSTED, |quota| Some(flag(quota.exhausted)));
}

fn sales(out: &mut Exposition, view: &View) {
    let counts = &view.merged.all.sales.all;
    let mut family = out.family(&m::SALE_OPERATIONS);
    for verb in SaleVerb::ALL {
        family.sample(&[verb.label()], counts.offered[verb.index()] as f64);
    }
    out.family(&m::SALE_ADDED).sample(&[], counts.added as f64);
    out.family(&m::SALE_CONFIRMED).sample(&[], counts.confirmed as f64);
    out.family(&m::SALE_CANCELLED).sample(&[], counts.cancelled as f64);
    let mut family = out.family(&m::SALE_REFUSED);
    for reason in SaleRefusal::ALL {
        family.sample(&[reason.label()], counts.refused[reason.index()] as f64);
    }
    out.family(&m::SALE_REFUSED_HERE).sample(&[], counts.refused_here as f64);
    out.family(&m::SALE_CALLS).sample(&[], counts.calls as f64);
    out.family(&m::SALE_CARRIED).sample(&[], counts.carried as f64);
    out.family(&m::SALE_RESENDS).sample(&[], counts.resends as f64);
    // Each gateway tells of those that it sells, so that no sale has as many rows as there are gateways.
    let used: Vec<SaleView> = view.sales.iter().filter(|sale| sale.used_here).cloned().collect();
    let sales = distinct(&used, view.metric_keys_max, |sale| sale.key.clone());
    let mut each = |metric, of: fn(&SaleView) -> f64| {
        let mut family = out.family(metric);
        sales.iter().for_each(|sale| {
            family.sample(&[&sale.key], of(sale));
        });
    };
    each(&m::SALE_LIMIT, |sale| sale.limit as f64);
    each(&m::SALE_TAKEN, |sale| sale.taken as f64);
    each(&m::SALE_HELD, |sale| sale.held as f64);
    each(&m::SALE_OPEN, |sale| flag(sale.state == "open"));
    each(&m::SALE_SOLD_OUT, |sale| flag(sale.state == "soldout"));
}

fn detector(out: &mut Exposition, view: &View) {
    let detector = &view.merged.all.detector;
    out.family(&m::DETECTOR_ACCESSES).sample(&[], detector.accesses as f64);
    out.family(&m::DETECTOR_SAMPLED).sample(&[], detector.sampled as f64);
    out.family(&m::DETECTOR_EXCLUDED).sample(&[], detector.excluded as f64);
    out.family(&m::DETECTOR_DISPLACED).sample(&[], detector.displaced as f64);
    out.family(&m::DETECTOR_TRACKED).sample(&[], detector.tracked as f64);
    out.family(&m::DETECTOR_MEMORY).sample(&[], detector.memory_bytes as f64);
    let notices = &view.notices;
    out.family(&m::NOTICES).sample(&["hot"], notices.hot as f64).sample(&["cooled"], notices.cooled as f64);
    let mut family = out.family(&m::EVENTS);
    for kind in EventKind::ALL {
        family.sample(&[kind.label()], view.events[kind.index()] as f64);
    }
    out.family(&m::WEBHOOK)
        .sample(&["delivered"], notices.webhook_delivered as f64)
        .sample(&["failed"], notices.webhook_failed as f64)
        .sample(&["dropped"], notices.webhook_dropped as f64);
}

fn process(out: &mut Exposition, view: &View) {
    let process = &view.process;
    let mut family = out.family(&m::THREAD_CPU);
    for thread in &process.threads {
        family.sample(&[&thread.name], thread.cpu_s);
    }
    let mut family = out.family(&m::THREAD_WAITED);
    for thread in &process.threads {
        family.sample(&[&thread.name], thread.waited_s);
    }
    out.family(&m::PROCESS_CPU).sample(&[], process.cpu_s());
    out.family(&m::PROCESS_RSS).sample(&[], process.resident_bytes as f64);
    out.family(&m::PROCESS_VSS).sample(&[], process.virtual_bytes as f64);
    out.family(&m::PROCESS_FDS).sample(&[], process.fds as f64);
    out.family(&m::PROCESS_FDS_MAX).sample(&[], process.fds_max as f64);
    out.family(&m::PROCESS_START).sample(&[], view.stats.gateway.started_unix_ms as f64 / 1e3);
}

fn latency(out: &mut Exposition, metric: &'static Metric, latency: &Latency) {
    let bounds = LATENCY_BOUNDS_NS.iter().map(|ns| *ns as f64 / 1e9);
    let cumulative = bounds.zip(latency.cumulative(&LATENCY_BOUNDS_NS));
    out.family(metric).histogram(&[], cumulative, latency.count(), latency.sum_ns() as f64 / 1e9);
}

/// The first `max` rows with labels of their own. Two rows with the same labels (very long keys that begin
/// alike, two quotas of one pattern and window) would make the whole scrape invalid, so that only the first
/// is shown.
fn distinct<T, L: Eq + Hash>(rows: &[T], max: usize, label: impl Fn(&T) -> L) -> Vec<&T> {
    let mut seen = HashSet::new();
    rows.iter().filter(|row| seen.insert(label(row))).take(max).collect()
}

fn flag(value: bool) -> f64 {
    f64::from(u8::from(value))
}
