//! Rates and levels of a view, computed from two merged tallies and the topology.

use std::collections::BTreeMap;

use super::merged::Merged;
use super::process_figures::ProcessFigures;
use super::view::{Now, Quantiles, Totals};
use super::window::Window;
use crate::detect::KeyName;
use crate::route::SlotAt;
use crate::shared::histogram::{Latency, Octaves};
use crate::shared::labels::{CloseReason, ErrorKind, Outcome, RedirectKind, RejectReason, RequestClass};
use crate::shared::topology::{Topology, UpstreamKind};

/// The rates of a window: the difference of its two tallies.
pub fn now(window: &Window<'_>, merged: &Merged) -> Now {
    let (all, base) = (&merged.all, &window.base.all);
    let class = |c: &RequestClass| {
        let sum = |requests: &[[u64; Outcome::COUNT]; RequestClass::COUNT]| requests[c.index()].iter().sum();
        (c.label(), window.rate(sum(&all.requests), sum(&base.requests)))
    };
    let outcome = |o: &Outcome| (o.label(), window.rate(all.requests_with(*o), base.requests_with(*o)));
    let at_bound = RejectReason::MaxClients.index();
    let closed = |reason: CloseReason| {
        window.rate(all.clients.closed[reason.index()], base.clients.closed[reason.index()])
    };
    let redirect =
        |r: &RedirectKind| (r.label(), window.rate(all.redirects[r.index()], base.redirects[r.index()]));
    let error = |e: &ErrorKind| (e.label(), window.rate(all.errors[e.index()], base.errors[e.index()]));
    Now {
        requests_per_s: window.rate(all.requests_total(), base.requests_total()),
        by_class_per_s: RequestClass::ALL.iter().map(class).collect(),
        by_outcome_per_s: Outcome::ALL.iter().map(outcome).collect(),
        redirects_per_s: RedirectKind::ALL.iter().map(redirect).filter(|(_, rate)| *rate > 0.0).collect(),
        errors_per_s: window.rate(all.errors_total(), base.errors_total()),
        errors_by_kind_per_s: ErrorKind::ALL.iter().map(error).filter(|(_, rate)| *rate > 0.0).collect(),
        refused_per_s: window.rate(all.requests_with(Outcome::Refused), base.requests_with(Outcome::Refused)),
        request_time: quantiles(&all.request_time, &base.request_time),
        gateway_time: quantiles(&all.gateway_time, &base.gateway_time),
        upstream_time: quantiles(&all.upstream_time, &base.upstream_time),
        bytes_in_per_s: window.rate(all.clients.bytes_in, base.clients.bytes_in),
        bytes_out_per_s: window.rate(all.clients.bytes_out, base.clients.bytes_out),
        offered_per_s: window.rate(all.combine.offered, base.combine.offered),
        flushed_per_s: window.rate(all.combine.flushed, base.combine.flushed),
        combine_batch_mean: mean(&all.combine.batch_size, &base.combine.batch_size),
        combine_added_wait_mean_us: mean(&all.combine.added_wait_us, &base.combine.added_wait_us),
        cpu_cores: 0.0,
        worker_cores: Vec::new(),
        worker_waits: Vec::new(),
        clients_rejected_per_s: window.rate(all.clients.rejected[at_bound], base.clients.rejected[at_bound]),
        clients_stalled_per_s: closed(CloseReason::OutputBuffer) + closed(CloseReason::OutputStalled),
        write_behind_refused_per_s: window
            .rate(all.write_behind.refused_full, base.write_behind.refused_full),
        admission_refused_per_s: window.rate(all.admission.refused_full, base.admission.refused_full),
        admin_turned_away_per_s: BTreeMap::new(),
    }
}

fn mean(all: &Octaves, base: &Octaves) -> f64 {
    let happened = all.since(base);
    happened.sum() as f64 / happened.count().max(1) as f64
}

fn quantiles(all: &Latency, base: &Latency) -> Quantiles {
    let happened = all.since(base);
    let us = |quantile| happened.quantile_ns(quantile) as f64 / 1_000.0;
    Quantiles { p50_us: us(0.5), p99_us: us(0.99), p999_us: us(0.999) }
}

/// Counts since the start, and levels.
pub fn totals(merged: &Merged, process: &ProcessFigures) -> Totals {
    let all = &merged.all;
    Totals {
        requests: all.requests_total(),
        errors: all.errors_total(),
        clients: all.clients.current,
        clients_blocked: all.clients.blocked,
        clients_opened: all.clients.opened,
        clients_rejected: all.clients.rejected.iter().sum(),
        buffered_bytes: all.clients.buffered_in_bytes + all.clients.buffered_out_bytes,
        buffered_bytes_max: all.clients.buffered_bytes_max,
        combine_offered: all.combine.offered,
        combine_flushed: all.combine.flushed,
        combine_batch_p50: all.combine.batch_size.quantile(0.5),
        combine_batch_p99: all.combine.batch_size.quantile(0.99),
        combine_added_wait_p50_us: all.combine.added_wait_us.quantile(0.5),
        combine_added_wait_p99_us: all.combine.added_wait_us.quantile(0.99),
        write_behind_absorbed: all.write_behind.absorbed,
        write_behind_pending: all.write_behind.pending,
        write_behind_pending_max: all.write_behind.pending_max,
        write_behind_oldest_ms: all.write_behind.oldest_pending_ms,
        write_behind_resends: all.write_behind.resends,
        write_behind_unknown: all.write_behind.unknown_outcomes,
        write_behind_lost: all.write_behind.lost_deltas,
        journal_refusing: all.write_behind.journal_refusing,
        journal_full: all.write_behind.journal_full,
        journal_os_error: all.write_behind.journal_os_error,
        reads_own_zone: all.near.near,
        reads_other_zone: all.near.far,
        read_cache_hits: all.read_cache.hits,
        read_cache_misses: all.read_cache.misses,
        detector_accesses: all.detector.accesses,
        detector_sampled: all.detector.sampled,
        detector_tracked: all.detector.tracked,
        detector_memory_bytes: all.detector.memory_bytes,
        admin_turned_away: BTreeMap::new(),
        resident_bytes: process.resident_bytes,
        descriptors: process.fds,
        descriptors_max: process.fds_max,
        // The sampler knows them.
        certificates: Vec::new(),
    }
}

/// The address of the master that holds a key; empty while no one does.
pub fn node_of(key: &KeyName, topology: &Topology) -> String {
    let place = SlotAt::of(key.cluster(), key.bytes());
    let master = topology.master_of(place).and_then(|index| topology.node(index));
    master.map(|node| node.address.to_string()).unwrap_or_default()
}

/// `single` or `cluster`.
pub fn kind_name(kind: UpstreamKind) -> &'static str {
    match kind {
        UpstreamKind::Single => "single",
        UpstreamKind::Cluster => "cluster",
    }
}
