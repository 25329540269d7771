//! INFO: the sections that clients and people look for, about the gateway, in Redis's format
//! (<https://redis.io/docs/latest/commands/info/>), with sections of the gateway's own: Hotgate, Hotkeys,
//! Upstreams, Quotas.
//!
//! What only Redis could know (memory of the data set, keys, persistence) is left out or says what is true of
//! a gateway: `loading:0`, because ioredis waits for it; `role:master`, because it takes writes. Keyspace is
//! empty: a gateway counts no keys.

use super::keys;
use super::sources::Readiness;
use super::view::View;
use crate::shared::labels::{ErrorKind, Outcome, RedirectKind};

/// What INFO says that a view does not hold.
#[derive(Clone, Debug)]
pub struct InfoFacts {
    /// The port that the asking client dialled.
    pub tcp_port: u16,
    /// Whether clients are told that this is a cluster.
    pub cluster: bool,
    /// The bound on clients.
    pub clients_max: usize,
    /// The length of the detector's window.
    pub window_ms: u64,
}

type Render = fn(&mut Section<'_>, &View, &InfoFacts);

/// Every section, in the order in which INFO gives them.
const SECTIONS: &[(&str, Render)] = &[
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("CPU", cpu),
    ("Errorstats", errorstats),
    ("Cluster", cluster),
    ("Keyspace", |_, _, _| {}),
    ("Hotgate", hotgate),
    ("Hotkeys", hotkeys),
    ("Upstreams", upstreams),
    ("Quotas", quotas),
];

/// Hot keys and quotas listed; the API and `/metrics` have the rest.
const ROWS_MAX: usize = 64;

/// The text of `INFO [section ...]`. As in Redis: no section, `default`, `all` and `everything` give every
/// section, names are taken in any case and any order, each at most once, and one that does not exist gives
/// nothing.
pub fn render(wanted: &[&[u8]], view: &View, facts: &InfoFacts) -> String {
    let names = |name: &str| wanted.iter().any(|section| section.eq_ignore_ascii_case(name.as_bytes()));
    let every = wanted.is_empty() || names("default") || names("all") || names("everything");
    let mut out = String::new();
    for (name, render) in SECTIONS.iter().filter(|(name, _)| every || names(name)) {
        if !out.is_empty() {
            out.push_str("\r\n");
        }
        out.push_str(&format!("# {name}\r\n"));
        render(&mut Section { out: &mut out }, view, facts);
    }
    out
}

struct Section<'a> {
    out: &'a mut String,
}

impl Section<'_> {
    fn put(&mut self, field: &str, value: impl std::fmt::Display) {
        self.out.push_str(&format!("{field}:{value}\r\n"));
    }
}

fn server(out: &mut Section<'_>, view: &View, facts: &InfoFacts) {
    let stats = &view.stats;
    out.put("redis_version", stats.upstream_version.as_deref().unwrap_or("0.0.0"));
    out.put("hotgate_version", &stats.gateway.version);
    out.put("redis_mode", if facts.cluster { "cluster" } else { "standalone" });
    out.put("os", std::env::consts::OS);
    out.put("arch_bits", usize::BITS);
    out.put("multiplexing_api", "epoll");
    out.put("process_id", std::process::id());
    out.put("run_id", &stats.gateway.id);
    out.put("tcp_port", facts.tcp_port);
    out.put("server_time_usec", view.at_ms * 1_000);
    out.put("uptime_in_seconds", stats.uptime_s);
    out.put("uptime_in_days", stats.uptime_s / 86_400);
    out.put("io_threads_active", stats.gateway.workers);
    out.put("config_file", &stats.gateway.config_file);
}

fn clients(out: &mut Section<'_>, view: &View, facts: &InfoFacts) {
    let clients = &view.merged.all.clients;
    out.put("connected_clients", clients.current);
    out.put("maxclients", facts.clients_max);
    out.put("blocked_clients", clients.blocked);
    out.put("pubsub_clients", clients.subscribed);
    out.put("client_buffered_input_bytes", clients.buffered_in_bytes);
    out.put("client_buffered_output_bytes", clients.buffered_out_bytes);
}

fn memory(out: &mut Section<'_>, view: &View, _: &InfoFacts) {
    let resident = view.process.resident_bytes;
    out.put("used_memory", resident);
    out.put("used_memory_human", format_args!("{:.2}M", resident as f64 / f64::from(1 << 20)));
    out.put("used_memory_rss", resident);
    out.put("maxmemory", 0);
    out.put("maxmemory_policy", "noeviction");
    out.put("mem_fragmentation_ratio", "1.00");
    out.put("detector_memory_bytes", view.merged.all.detector.memory_bytes);
}

fn persistence(out: &mut Section<'_>, view: &View, _: &InfoFacts) {
    out.put("loading", 0);
    out.put("async_loading", 0);
    out.put("rdb_changes_since_last_save", 0);
    out.put("rdb_bgsave_in_progress", 0);
    out.put("aof_enabled", 0);
    out.put("journal_bytes_written", view.merged.all.write_behind.journal_bytes);
    out.put("journal_faults", view.merged.all.write_behind.journal_faults);
    out.put("journal_refusing", view.merged.all.write_behind.journal_refusing);
    out.put("journal_syncs", view.merged.all.write_behind.journal_syncs);
}

fn stats(out: &mut Section<'_>, view: &View, _: &InfoFacts) {
    let (all, now) = (&view.merged.all, &view.stats.now);
    out.put("total_connections_received", all.clients.opened);
    out.put("total_commands_processed", all.requests_total());
    out.put("instantaneous_ops_per_sec", now.requests_per_s.round());
    out.put("total_net_input_bytes", all.clients.bytes_in);
    out.put("total_net_output_bytes", all.clients.bytes_out);
    out.put("instantaneous_input_kbps", format_args!("{:.2}", now.bytes_in_per_s / 1024.0));
    out.put("instantaneous_output_kbps", format_args!("{:.2}", now.bytes_out_per_s / 1024.0));
    out.put("rejected_connections", all.clients.rejected.iter().sum::<u64>());
    out.put("total_error_replies", all.errors_total());
    for kind in RedirectKind::ALL {
        out.put(&format!("redirects_{}", kind.label()), all.redirects[kind.index()]);
    }
}

fn replication(out: &mut Section<'_>, view: &View, _: &InfoFacts) {
    out.put("role", "master");
    out.put("connected_slaves", 0);
    out.put("master_replid", &view.stats.gateway.id);
    out.put("master_repl_offset", 0);
}

fn cpu(out: &mut Section<'_>, view: &View, _: &InfoFacts) {
    out.put("used_cpu_sys", format_args!("{:.6}", view.process.cpu_system_s));
    out.put("used_cpu_user", format_args!("{:.6}", view.process.cpu_user_s));
    for (thread, seconds) in &view.process.threads {
        out.put(&format!("used_cpu_thread_{thread}"), format_args!("{seconds:.2}"));
    }
}

fn errorstats(out: &mut Section<'_>, view: &View, _: &InfoFacts) {
    for kind in ErrorKind::ALL.iter().filter(|kind| view.merged.all.errors[kind.index()] > 0) {
        let count = view.merged.all.errors[kind.index()];
        out.put(&format!("errorstat_{}", kind.label()), format_args!("count={count}"));
    }
}

fn cluster(out: &mut Section<'_>, _: &View, facts: &InfoFacts) {
    out.put("cluster_enabled", u8::from(facts.cluster));
}

fn hotgate(out: &mut Section<'_>, view: &View, _: &InfoFacts) {
    let (all, now, totals) = (&view.merged.all, &view.stats.now, &view.stats.totals);
    out.put("status", view.stats.status.level.word());
    out.put("status_sentence", &view.stats.status.sentence);
    out.put("ready", u8::from(view.readiness == Readiness::Ready));
    for outcome in Outcome::ALL {
        out.put(&format!("requests_{}", outcome.label()), all.requests_with(*outcome));
    }
    for (part, time) in
        [("request", now.request_time), ("gateway", now.gateway_time), ("upstream", now.upstream_time)]
    {
        out.put(&format!("{part}_time_p50_us"), format_args!("{:.1}", time.p50_us));
        out.put(&format!("{part}_time_p99_us"), format_args!("{:.1}", time.p99_us));
    }
    out.put("combine_offered", all.combine.offered);
    out.put("combine_flushed", all.combine.flushed);
    out.put("combine_replayed", all.combine.replayed);
    out.put("combine_batch_p50", totals.combine_batch_p50);
    out.put("combine_batch_p99", totals.combine_batch_p99);
    out.put("combine_added_wait_p50_us", totals.combine_added_wait_p50_us);
    out.put("write_behind_absorbed", all.write_behind.absorbed);
    out.put("write_behind_acknowledged", all.write_behind.acknowledged);
    out.put("write_behind_flushes", all.write_behind.flushes);
    out.put("write_behind_resends", all.write_behind.resends);
    out.put("write_behind_pending", all.write_behind.pending);
    out.put("write_behind_oldest_pending_ms", all.write_behind.oldest_pending_ms);
    out.put("write_behind_replays", all.write_behind.replays);
    out.put("write_behind_unknown_outcomes", all.write_behind.unknown_outcomes);
    out.put("write_behind_unknown_operations", all.write_behind.unknown_deltas);
    out.put("write_behind_lost_operations", all.write_behind.lost_deltas);
    out.put("write_behind_refused", all.write_behind.refused_full);
    out.put("read_cache_hits", all.read_cache.hits);
    out.put("read_cache_misses", all.read_cache.misses);
    out.put("read_cache_stores", all.read_cache.stores);
    out.put("read_cache_invalidations", all.read_cache.invalidations);
    out.put("read_cache_drops", all.read_cache.drops);
    out.put("read_cache_entries", all.read_cache.entries);
    out.put("read_cache_bytes", all.read_cache.bytes);
}

/// The first two fields are Valkey's.
fn hotkeys(out: &mut Section<'_>, view: &View, facts: &InfoFacts) {
    let samples = view.hot_set.total_ops * facts.window_ms as f64 / 1_000.0;
    out.put("hotkeys_last_window_samples", samples.round());
    out.put("hotkeys_last_window_duration_ms", facts.window_ms);
    out.put("hotkeys_tracked", view.merged.all.detector.tracked);
    out.put("hotkeys_hot", view.hot_keys.len());
    for (place, key) in view.hot_keys.iter().take(ROWS_MAX).enumerate() {
        let rates = format!(
            "qps={:.0},reads={:.0},writes={:.0}",
            key.requests_per_s, key.reads_per_s, key.writes_per_s
        );
        let combined = match (key.offered_per_s, key.flushed_per_s) {
            (Some(offered), Some(flushed)) => format!(",offered={offered:.0},flushed={flushed:.0}"),
            _ => String::new(),
        };
        // The key comes last, since it may hold commas.
        let rest = format!(
            "share={:.4},class={},connections={},node={},key={}",
            key.share, key.class, key.connections, key.node, key.key
        );
        out.put(&format!("hotkey{place}"), format_args!("{rates}{combined},{rest}"));
    }
}

fn upstreams(out: &mut Section<'_>, view: &View, _: &InfoFacts) {
    out.put("topology_version", view.topology_version);
    out.put("upstream_kind", view.stats.upstream_kind);
    for (place, node) in view.nodes.iter().enumerate() {
        out.put(
            &format!("upstream{place}"),
            format_args!(
                "address={},role={},up={},state={},slots={},qps={:.0},requests={},errors={},inflight={},reconnects={},p99_us={}",
                keys::text(node.node.as_bytes()),
                node.role,
                u8::from(node.up),
                node.state,
                node.slots,
                node.requests_per_s,
                node.requests,
                node.errors,
                node.inflight,
                node.reconnects,
                node.p99_us
            ),
        );
    }
}

fn quotas(out: &mut Section<'_>, view: &View, _: &InfoFacts) {
    let known = |value: Option<i64>| value.map_or_else(|| "?".to_owned(), |value| value.to_string());
    for (place, quota) in view.quotas.iter().take(ROWS_MAX).enumerate() {
        let refused: Vec<_> =
            quota.refused.iter().map(|(reason, count)| format!("refused_{reason}={count}")).collect();
        out.put(
            &format!("quota{place}"),
            format_args!(
                "limit={},value={},remaining={},admitted={},{},would_refuse={},paused={},exhausted={},enforce={},key={}",
                known(quota.limit),
                known(quota.value),
                known(quota.remaining),
                quota.admitted,
                refused.join(","),
                quota.would_refuse,
                u8::from(quota.paused),
                u8::from(quota.exhausted),
                u8::from(quota.enforce),
                quota.key
            ),
        );
    }
}
