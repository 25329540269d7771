//! INFO: the sections that clients and people look for, in Redis's format
//! (<https://redis.io/docs/latest/commands/info/>), with sections of the gateway's own: Hotgate, Hotkeys,
//! Upstreams, Quotas, Sales.
//!
//! What concerns the data (memory, keys, persistence, ...) is what the servers say, and what concerns the connections, the commands that
//! passed and the process is the gateway's. Nothing is made up: a field that nobody can tell is not there.
//! No server's address is shown but in the gateway's own section, which operators read.

use std::collections::HashSet;

use super::command_info::CommandInfo;
use super::process_figures::ThreadFigures;
use super::server_info::ServerInfo;
use super::view::Readiness;
use super::view::View;
use crate::shared::keys;
use crate::shared::labels::{Outcome, RedirectKind};

/// What INFO needs and a view does not hold.
#[derive(Clone, Debug, Default)]
pub struct InfoFacts {
    /// The port that the asking client dialled.
    pub tcp_port: u16,
    /// Whether clients are told that this is a cluster.
    pub cluster: bool,
    /// Whether there are several masters, whatever the gateway poses as.
    pub several_masters: bool,
    /// Clients that are connected now, the asking one included.
    pub connected: u64,
    /// The bound on clients.
    pub clients_max: usize,
    /// The length of the detector's window.
    pub window_ms: u64,
    /// What passed through the gateway, by command.
    pub commands: CommandInfo,
    /// What the servers say; empty when they need not be asked.
    pub servers: ServerInfo,
}

type Render = fn(&mut Section<'_>, &View, &InfoFacts);

/// Every section, in the order of INFO.
const SECTIONS: &[(&str, Render)] = &[
    ("Server", server),
    ("Clients", clients),
    ("Memory", memory),
    ("Persistence", persistence),
    ("Stats", stats),
    ("Replication", replication),
    ("CPU", cpu),
    ("Modules", |out, _, facts| out.servers_say(facts, "Modules", &[])),
    ("Commandstats", |out, _, facts| out.put_all(&facts.commands.calls)),
    ("Errorstats", |out, _, facts| out.put_all(&facts.commands.errors)),
    ("Latencystats", |out, _, facts| out.put_all(&facts.commands.latencies)),
    ("Cluster", cluster),
    ("Keyspace", |out, _, facts| out.servers_say(facts, "Keyspace", &[])),
    ("Hotgate", hotgate),
    ("Hotkeys", hotkeys),
    ("Upstreams", upstreams),
    ("Quotas", quotas),
    ("Sales", sales),
];

/// Sections that are shown only when named, or with `all` or `everything`, as in Redis.
const NOT_BY_DEFAULT: [&str; 2] = ["Commandstats", "Latencystats"];

/// Sections for which no server has to be asked.
const OF_THE_GATEWAY: [&str; 11] = [
    "Clients",
    "CPU",
    "Commandstats",
    "Errorstats",
    "Latencystats",
    "Cluster",
    "Hotgate",
    "Hotkeys",
    "Upstreams",
    "Quotas",
    "Sales",
];

/// Hot keys, quotas and sales listed; the API and `/metrics` have the rest.
const ROWS_MAX: usize = 64;

/// Which sections `INFO [section ...]` names. As in Redis: no section is `default`; names are taken in any case and any
/// order, each at most once, and one that does not exist gives nothing.
struct Wanted<'a>(&'a [&'a [u8]]);

impl Wanted<'_> {
    fn names(&self, name: &str) -> bool {
        self.0.iter().any(|section| section.eq_ignore_ascii_case(name.as_bytes()))
    }

    fn has(&self, section: &str) -> bool {
        let default = self.0.is_empty() || self.names("default");
        self.names(section) || self.all() || (default && !NOT_BY_DEFAULT.contains(&section))
    }

    fn all(&self) -> bool {
        self.names("all") || self.names("everything")
    }
}

/// Whether the servers have to be asked for these sections.
pub fn needs_servers(wanted: &[&[u8]]) -> bool {
    let own =
        |section: &&[u8]| OF_THE_GATEWAY.iter().any(|name| section.eq_ignore_ascii_case(name.as_bytes()));
    wanted.is_empty() || !wanted.iter().all(own)
}

/// Whether sales are asked for by name, or with all there is.
pub fn names_sales(wanted: &[&[u8]]) -> bool {
    let wanted = Wanted(wanted);
    wanted.names("Sales") || wanted.all()
}

/// The same without the lines that name keys, for whoever may not read all of them.
pub fn without_keys(text: &str) -> String {
    let names_none = |line: &&str| {
        let numbered = ["hotkey", "quota", "sale"].iter().find_map(|name| line.strip_prefix(name));
        !numbered.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    text.split_inclusive("\r\n").filter(names_none).collect()
}

/// The text of `INFO [section ...]`. Sections that only the servers have, as modules do, come last, when they are named or
/// `everything` is.
pub fn render(wanted: &[&[u8]], view: &View, facts: &InfoFacts) -> String {
    let wanted = Wanted(wanted);
    let mut out = String::new();
    for (name, render) in SECTIONS.iter().filter(|(name, _)| wanted.has(name)) {
        render(&mut Section::new(&mut out, name), view, facts);
    }
    let is_known = |name: &str| SECTIONS.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    for name in facts.servers.sections().filter(|name| !is_known(name)) {
        if wanted.names(name) || wanted.names("everything") {
            Section::new(&mut out, name).servers_say(facts, name, &[]);
        }
    }
    out
}

struct Section<'a> {
    out: &'a mut String,
    written: HashSet<String>,
}

impl<'a> Section<'a> {
    fn new(out: &'a mut String, name: &str) -> Self {
        if !out.is_empty() {
            out.push_str("\r\n");
        }
        out.push_str(&format!("# {name}\r\n"));
        Self { out, written: HashSet::new() }
    }

    fn put(&mut self, field: &str, value: impl std::fmt::Display) {
        self.out.push_str(&format!("{field}:{value}\r\n"));
        self.written.insert(field.to_owned());
    }

    fn put_all(&mut self, lines: &[(String, String)]) {
        lines.iter().for_each(|(field, value)| self.put(field, value));
    }

    /// What the servers say in this section, but for what has been written, which is the gateway's, and for `not`.
    fn servers_say(&mut self, facts: &InfoFacts, section: &str, not: &[&str]) {
        for (field, value) in facts.servers.section(section) {
            if !self.written.contains(field) && !not.contains(&field.as_str()) {
                self.out.push_str(&format!("{field}:{value}\r\n"));
            }
        }
    }

    /// These fields of the servers, where they have them.
    fn take(&mut self, facts: &InfoFacts, section: &str, fields: &[&str]) {
        for field in fields {
            if let Some(value) = facts.servers.field(section, field) {
                self.put(field, value);
            }
        }
    }
}

fn server(out: &mut Section<'_>, view: &View, facts: &InfoFacts) {
    let stats = &view.stats;
    match (facts.servers.field("Server", "redis_version"), &stats.upstream_version) {
        (Some(version), _) => out.put("redis_version", version),
        (None, Some(version)) => out.put("redis_version", version),
        (None, None) => {}
    }
    let version = ["redis_git_sha1", "redis_git_dirty", "redis_build_id"];
    out.take(facts, "Server", &version);
    out.take(facts, "Server", &["server_name", "valkey_version", "valkey_release_stage"]);
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
    out.take(facts, "Server", &["hz", "configured_hz", "lru_clock"]);
    out.put("io_threads_active", stats.gateway.workers);
    out.put("config_file", &stats.gateway.config_file);
    if facts.servers.missing > 0 {
        out.put("hotgate_masters_without_answer", facts.servers.missing);
    }
}

fn clients(out: &mut Section<'_>, view: &View, facts: &InfoFacts) {
    let clients = &view.merged.all.clients;
    out.put("connected_clients", facts.connected);
    out.put("cluster_connections", 0);
    out.put("maxclients", facts.clients_max);
    out.put("blocked_clients", clients.blocked);
    out.put("pubsub_clients", clients.subscribed);
    out.put("client_buffered_input_bytes", clients.buffered_in_bytes);
    out.put("client_buffered_output_bytes", clients.buffered_out_bytes);
}

/// The memory that counts against `maxmemory` is the servers'.
fn memory(out: &mut Section<'_>, view: &View, facts: &InfoFacts) {
    out.put("hotgate_used_memory_rss", view.process.resident_bytes);
    out.put("detector_memory_bytes", view.merged.all.detector.memory_bytes);
    out.servers_say(facts, "Memory", &[]);
}

fn persistence(out: &mut Section<'_>, view: &View, facts: &InfoFacts) {
    out.put("journal_bytes_written", view.merged.all.write_behind.journal_bytes);
    out.put("journal_faults", view.merged.all.write_behind.journal_faults);
    out.put("journal_refusing", view.merged.all.write_behind.journal_refusing);
    out.put("journal_syncs", view.merged.all.write_behind.journal_syncs);
    out.servers_say(facts, "Persistence", &[]);
}

/// Statistics of a server's own connections, which are the gateway's: they tell nothing about clients.
const STATS_OF_CONNECTIONS: &[&str] = &[
    "total_reads_processed",
    "total_writes_processed",
    "io_threaded_reads_processed",
    "io_threaded_writes_processed",
    "io_threaded_total_prefetch_batches",
    "io_threaded_total_prefetch_entries",
    "reply_buffer_shrinks",
    "reply_buffer_expands",
    "evicted_clients",
    "client_query_buffer_limit_disconnections",
    "client_output_buffer_limit_disconnections",
    "acl_access_denied_auth",
    "acl_access_denied_cmd",
    "acl_access_denied_key",
    "acl_access_denied_channel",
];

fn stats(out: &mut Section<'_>, view: &View, facts: &InfoFacts) {
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
    out.servers_say(facts, "Stats", STATS_OF_CONNECTIONS);
}

/// Several masters have several histories, so the id is the gateway's. Lines of replicas hold addresses.
fn replication(out: &mut Section<'_>, view: &View, facts: &InfoFacts) {
    let said = facts.servers.section("Replication");
    if facts.several_masters || said.is_empty() {
        out.put("role", "master");
        out.put("master_replid", &view.stats.gateway.id);
    }
    let is_replica =
        |field: &str| field.strip_prefix("slave").is_some_and(|number| number.parse::<u32>().is_ok());
    let hidden: Vec<&str> = said
        .iter()
        .map(|(field, _)| field.as_str())
        .filter(|field| is_replica(field) || matches!(*field, "master_host" | "master_port"))
        .chain(facts.several_masters.then_some("master_replid2"))
        .collect();
    out.servers_say(facts, "Replication", &hidden);
}

fn cpu(out: &mut Section<'_>, view: &View, _: &InfoFacts) {
    out.put("used_cpu_sys", format_args!("{:.6}", view.process.cpu_system_s));
    out.put("used_cpu_user", format_args!("{:.6}", view.process.cpu_user_s));
    for ThreadFigures { name: thread, cpu_s: seconds, .. } in &view.process.threads {
        out.put(&format!("used_cpu_thread_{thread}"), format_args!("{seconds:.2}"));
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
    out.put("combine_crowds", all.combine.crowds);
    out.put("combine_turn_waits", all.combine.turn_waits);
    out.put("combine_turn_wait_us", all.combine.turn_wait_us);
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
    out.put("admission_counters", all.admission.keys);
    out.put("admission_bytes", all.admission.bytes);
    out.put("admission_refused", all.admission.refused_full);
    out.put("quota_flushed", all.admission.flushed);
    out.put("reads_own_zone", all.near.near);
    out.put("reads_other_zone", all.near.far);
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
    for (place, figures) in view.routes.clusters.iter().enumerate() {
        let cluster = &figures.cluster;
        let skew = figures.skew.map(|skew| format!(",skew={skew:.2},busiest={}", figures.busiest));
        out.put(
            &format!("cluster{place}"),
            format_args!(
                "name={},kind={},ready={},masters={},qps={:.0},share={:.4},errors_per_s={:.1},in_bytes_per_s={:.0},out_bytes_per_s={:.0},p50_us={},p99_us={},hot_keys={}{}",
                cluster.name,
                cluster.kind,
                u8::from(cluster.ready),
                cluster.masters.len(),
                figures.requests_per_s,
                figures.share,
                figures.errors_per_s,
                figures.bytes_in_per_s,
                figures.bytes_out_per_s,
                figures.p50_us,
                figures.p99_us,
                figures.hot_keys,
                skew.unwrap_or_default()
            ),
        );
    }
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

fn sales(out: &mut Section<'_>, view: &View, _: &InfoFacts) {
    for (place, sale) in view.sales.iter().take(ROWS_MAX).enumerate() {
        out.put(
            &format!("sale{place}"),
            format_args!(
                "state={},limit={},taken={},held={},confirmed={},taken_per_s={:.1},refused_per_s={:.1},key={}",
                sale.state,
                sale.limit,
                sale.taken,
                sale.held,
                sale.confirmed,
                sale.taken_per_s,
                sale.refused_per_s,
                sale.key
            ),
        );
    }
}
