//! What operators are shown, as plain data that serialises to the JSON of the HTTP API.
//!
//! A `View` is made by the sampler, published whole and never changed. All renderings (JSON, `/metrics`,
//! `INFO`, the dashboard, `hotgate top`) start from one, so that they agree with each other.
//!
//! Field names end in their unit. Rates are per second over the last second.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::big_keys::BigKeysView;
use super::commands::CommandsView;
pub use super::hot_key_view::{HotKeyView, UsedBy};
use super::ledger::LedgerView;
use super::losses::Loss;
use super::merged::Merged;
pub use super::node_view::NodeView;
use super::process_figures::ProcessFigures;
pub use super::quantiles::Quantiles;
use super::route_figures::RouteFigures;
use super::sales::SaleView;
use super::upsets::UpsetsView;
use super::verdict::Status;
use crate::command::CommandTable;
use crate::detect::HotSet;
use crate::shared::labels::EventKind;

/// Everything at one time.
#[derive(Clone, Debug)]
pub struct View {
    /// Goes up by one with every view.
    pub version: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The sum of the workers' tallies since the start.
    pub merged: Arc<Merged>,
    /// The rest of it.
    pub stats: Stats,
    /// Hottest first.
    pub hot_keys: Vec<HotKeyView>,
    /// In the order of node indexes; absent nodes are left out.
    pub nodes: Vec<NodeView>,
    /// Commands, and the errors that they got.
    pub commands: CommandsView,
    /// Keys that showed themselves big.
    pub big_keys: BigKeysView,
    /// What commands are called.
    pub command_table: Arc<CommandTable>,
    /// Clusters, routes and tenants.
    pub routes: RouteFigures,
    /// Those that matter most, the first of them first.
    pub quotas: Vec<QuotaView>,
    /// How many there are, those that are not shown included.
    pub quotas_total: u64,
    /// Sales of reservations that are used through this gateway, those with the most places taken first.
    pub sales: Vec<SaleView>,
    /// Processor, memory, descriptors, threads.
    pub process: ProcessFigures,
    /// Things that the upstream user may not do and the gateway would.
    pub missing_rights: u64,
    /// What is wrong besides what is counted.
    pub conditions: Conditions,
    /// Whether traffic should come here.
    pub readiness: Readiness,
    /// Notices and webhook deliveries, by result.
    pub notices: NoticesView,
    /// Events that this process has recorded, by `EventKind`.
    pub events: [u64; EventKind::COUNT],
    /// Topologies that took effect.
    pub topology_version: u64,
    /// The hot set that `hot_keys` shows.
    pub hot_set: Arc<HotSet>,
    /// Labels of their own in `/metrics`.
    pub metric_keys_max: usize,
}

/// `/api/stats`.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The identity of this gateway.
    pub gateway: Identity,
    /// `redis_version` of the upstream, where known.
    pub upstream_version: Option<String>,
    /// `single` or `cluster`.
    pub upstream_kind: &'static str,
    /// Seconds since the start.
    pub uptime_s: u64,
    /// Whether traffic should come here.
    pub readiness: Readiness,
    /// One sentence: what is wrong, or that all is quiet.
    pub status: Status,
    /// The last second.
    pub now: Now,
    /// Since the start.
    pub totals: Totals,
    /// What was lost since the start, and since when; only kinds that occurred.
    pub losses: Vec<Loss>,
}

/// The identity of this gateway, fixed for the life of the process.
#[derive(Clone, Debug, Serialize)]
pub struct Identity {
    /// hotgate's own version.
    pub version: String,
    /// Tells this gateway from all others: 40 hexadecimal digits.
    pub id: String,
    /// The addresses that clients connect to.
    pub listen: Vec<String>,
    /// Worker threads.
    pub workers: usize,
    /// The configuration file; empty without one.
    pub config_file: String,
    /// When the process started, in milliseconds since 1970.
    pub started_unix_ms: u64,
}

/// Whether traffic should come here: the answer of `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Readiness {
    /// The upstream is reachable and the gateway is serving.
    Ready,
    /// The gateway is serving, and the upstream can't be reached.
    UpstreamUnreachable {
        /// What is wrong, as a clause: which node, what error.
        why: String,
    },
    /// The gateway is about to drain (`gateway.drain_delay`): who still comes is served.
    Leaving,
    /// The gateway is finishing what is in flight and takes no new clients.
    Draining,
}

/// The last second.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Now {
    /// Requests settled.
    pub requests_per_s: f64,
    /// By class.
    pub by_class_per_s: BTreeMap<&'static str, f64>,
    /// By outcome.
    pub by_outcome_per_s: BTreeMap<&'static str, f64>,
    /// Replies that sent a request elsewhere or asked for another try, by kind; only kinds that occurred.
    pub redirects_per_s: BTreeMap<&'static str, f64>,
    /// Errors of all kinds.
    pub errors_per_s: f64,
    /// By kind; only kinds that occurred.
    pub errors_by_kind_per_s: BTreeMap<&'static str, f64>,
    /// Refused by quotas and rules.
    pub refused_per_s: f64,
    /// The whole time of a client's request.
    pub request_time: Quantiles,
    /// What of it the gateway adds: queueing, folding, delivery.
    pub gateway_time: Quantiles,
    /// From writing a request to a node to having its reply. What is folded or refused here has none, a flush has one.
    pub upstream_time: Quantiles,
    /// Bytes from clients.
    pub bytes_in_per_s: f64,
    /// Bytes to clients.
    pub bytes_out_per_s: f64,
    /// Operations that entered combining.
    pub offered_per_s: f64,
    /// Commands sent for them.
    pub flushed_per_s: f64,
    /// Operations per flush on average; 0 without flushes.
    pub combine_batch_mean: f64,
    /// The wait that combining added to an operation before its flush on average, in microseconds.
    pub combine_added_wait_mean_us: f64,
    /// Processor time per second of the whole process: 1.0 is one core.
    pub cpu_cores: f64,
    /// The same of each worker's thread, by its name: at 1.0 it has no time to spare.
    pub worker_cores: Vec<(String, f64)>,
    /// The share of time for which each could run and got no processor: other processes have it, or a limit is reached.
    pub worker_waits: Vec<(String, f64)>,
    /// Connections turned away because `gateway.clients_max` are open.
    pub clients_rejected_per_s: f64,
    /// Clients closed because they do not read.
    pub clients_stalled_per_s: f64,
    /// Increments that write-behind refused because as many are pending as may be.
    pub write_behind_refused_per_s: f64,
    /// Increments refused because no room is left to remember their counter for quotas.
    pub admission_refused_per_s: f64,
    /// What the HTTP side turned away per second, by reason; only reasons that occurred.
    pub admin_turned_away_per_s: BTreeMap<&'static str, f64>,
}

/// Since the start, and levels.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Totals {
    /// Requests settled.
    pub requests: u64,
    /// Errors of all kinds.
    pub errors: u64,
    /// Level: connections open.
    pub clients: u64,
    /// Level: connections with a blocking command under way.
    pub clients_blocked: u64,
    /// Connections accepted.
    pub clients_opened: u64,
    /// Connections turned away.
    pub clients_rejected: u64,
    /// Level: bytes in client buffers.
    pub buffered_bytes: u64,
    /// Their bound; 0 when there is none.
    pub buffered_bytes_max: u64,
    /// Operations that entered combining.
    pub combine_offered: u64,
    /// Commands sent for them.
    pub combine_flushed: u64,
    /// Median operations per flush.
    pub combine_batch_p50: u64,
    /// All but one flush in a hundred folded at most this many.
    pub combine_batch_p99: u64,
    /// Median wait added by combining, in microseconds.
    pub combine_added_wait_p50_us: u64,
    /// All but one in a hundred waited at most this much longer.
    pub combine_added_wait_p99_us: u64,
    /// Operations that write-behind answered before Redis knew of them.
    pub write_behind_absorbed: u64,
    /// Level: write-behind deltas that Redis has not acknowledged.
    pub write_behind_pending: u64,
    /// Their bound; 0 when there is none.
    pub write_behind_pending_max: u64,
    /// Level: age of the oldest in milliseconds.
    pub write_behind_oldest_ms: u64,
    /// Flushes sent again with the same token.
    pub write_behind_resends: u64,
    /// Flushes whose outcome is not known.
    pub write_behind_unknown: u64,
    /// Absorbed operations that Redis refused for good.
    pub write_behind_lost: u64,
    /// Level: whether the journal refuses increments now, 1 or 0.
    pub journal_refusing: u64,
    /// Level: whether it does because what Redis has not taken fills it, 1 or 0.
    pub journal_full: u64,
    /// Why it refuses them otherwise, as the system numbers its errors; 0 where that is not known.
    pub journal_os_error: i32,
    /// Reads by zone that were sent to a server of the gateway's own.
    pub reads_own_zone: u64,
    /// Those for which there was none.
    pub reads_other_zone: u64,
    /// Reads answered from the read cache.
    pub read_cache_hits: u64,
    /// Cacheable reads that asked Redis.
    pub read_cache_misses: u64,
    /// Key accesses that the detector saw.
    pub detector_accesses: u64,
    /// Key accesses that it counted.
    pub detector_sampled: u64,
    /// Level: keys in its tables.
    pub detector_tracked: u64,
    /// Level: bytes of its tables.
    pub detector_memory_bytes: u64,
    /// What the HTTP side turned away, by reason.
    pub admin_turned_away: BTreeMap<&'static str, u64>,
    /// Level: the certificates that are in force.
    pub certificates: Vec<CertificateView>,
    /// Level: resident memory of the process.
    pub resident_bytes: u64,
    /// Level: open file descriptors.
    pub descriptors: u64,
    /// Their bound; 0 when there is none or it is not known.
    pub descriptors_max: u64,
}

/// A certificate that peers are shown, or the table of a use of TLS that shows none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CertificateView {
    /// The table of the configuration that names it.
    pub table: String,
    /// Its file.
    pub file: Option<String>,
    /// For how long it still holds, in seconds; negative when it has expired.
    pub expires_in_s: Option<i64>,
    /// Why the files of the table are not in force as they are now: a clause.
    pub refused: Option<String>,
}

/// A server that the configuration names and that is no node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFault {
    /// The cluster under which it is named.
    pub cluster: String,
    /// Its address, and why it can't be used where that is not said otherwise.
    pub what: String,
}

/// What is wrong besides what is counted.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    /// Slots of clusters that no master has.
    pub unserved_slots: u32,
    /// Clusters of several that serve nothing, with why, as clauses.
    pub clusters_away: Vec<String>,
    /// Servers that the configuration names and that can't be used, with why, as clauses.
    pub unusable_servers: Vec<ServerFault>,
    /// The servers of a cluster are named by Sentinels, and none of these can be used.
    pub no_sentinel: bool,
    /// Servers that it names and that belong to another cluster.
    pub stray_servers: Vec<ServerFault>,
    /// What happened to the gateway's own threads and clock.
    pub upsets: UpsetsView,
    /// Why the last reload was refused, as clauses; empty if it was not.
    pub reload_refused: Vec<String>,
    /// Directives that were changed in the file and that only a restart takes.
    pub restart_needed: Vec<String>,
    /// What is wrong with files that hold secrets, as clauses; empty if nothing is.
    pub secrets_refused: Vec<String>,
    /// How the ledger is; `None` where none is configured.
    pub ledger: Option<LedgerView>,
}

/// One key under one quota.
#[derive(Clone, Debug, Default, Serialize)]
pub struct QuotaView {
    /// The key as people read it.
    pub key: String,
    /// The pattern of the quota.
    pub quota: String,
    /// The limit or, with `counts_down`, the floor.
    pub limit: Option<i64>,
    /// The counter's value as last seen.
    pub value: Option<i64>,
    /// Units that may still be granted.
    pub remaining: Option<i64>,
    /// Part of the limit that is used, 0 to 1; for a floor, of the highest stock seen.
    pub used_share: Option<f64>,
    /// Whether the limit is a floor.
    pub counts_down: bool,
    /// The window of a rate; `None` for a cap for ever.
    pub window_ms: Option<u64>,
    /// `false`: shadow mode.
    pub enforce: bool,
    /// Paused by an operator.
    pub paused: bool,
    /// Sold out.
    pub exhausted: bool,
    /// Why the quota can't be applied, as a clause; empty where it can.
    pub fault: String,
    /// Units granted per second.
    pub units_per_s: f64,
    /// Operations granted per second.
    pub admitted_per_s: f64,
    /// Operations refused per second.
    pub refused_per_s: f64,
    /// Seconds until it is sold out at the rate of the last five seconds; `None` when it is not selling or will not end.
    pub sold_out_in_s: Option<f64>,
    /// When this gateway refused last, in milliseconds since 1970; `None` where it has not since it looks.
    pub last_refused_ms: Option<u64>,
    /// Why, as one of the reasons of `refused`; empty where it has not.
    pub last_refused: &'static str,
    /// The limit is one that an operator set.
    pub limit_overridden: bool,
    /// Who set it; empty where that is not known.
    pub limit_by: String,
    /// Who paused it.
    pub paused_by: String,
    /// Operations granted since the start.
    pub admitted: u64,
    /// Operations refused since the start, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Refused per second because Redis could not be asked.
    pub refused_unavailable_per_s: f64,
    /// Refused per second because the quota can't be applied.
    pub refused_fault_per_s: f64,
    /// Refused per second because too few replicas confirmed in time.
    pub refused_unconfirmed_per_s: f64,
    /// Operations that `enforce` would have refused.
    pub would_refuse: u64,
    /// Operations let through unchecked while Redis was away.
    pub unchecked: u64,
    /// Sums of them that were given up, because they could not be added to the counter.
    pub debts_lost: u64,
    /// Questions to Redis about the exhausted key.
    pub rechecks: u64,
}

/// Notices about keys that became hot or cooled.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct NoticesView {
    /// Keys that became hot.
    pub hot: u64,
    /// Keys that cooled.
    pub cooled: u64,
    /// Webhook messages delivered.
    pub webhook_delivered: u64,
    /// Given up after their attempts.
    pub webhook_failed: u64,
    /// Dropped because the queue was full.
    pub webhook_dropped: u64,
}

/// What there is of the past.
#[derive(Clone, Debug, Default)]
pub struct Histories {
    /// The last ten minutes, one point a second.
    pub seconds: History,
    /// The last day, one point a minute.
    pub minutes: Arc<History>,
}

/// Evenly spaced points as columns, which is a third of the size of rows. What is not known of a time is NaN, and `null` in JSON.
#[derive(Clone, Debug, Default, Serialize)]
pub struct History {
    /// The time of the last point, in milliseconds since 1970.
    pub end_ms: u64,
    /// Between two points.
    pub step_ms: u64,
    /// Requests settled.
    pub requests_per_s: Vec<f32>,
    /// Errors.
    pub errors_per_s: Vec<f32>,
    /// Refused by quotas and rules.
    pub refused_per_s: Vec<f32>,
    /// Median whole time of a request.
    pub p50_us: Vec<f32>,
    /// All but one in a hundred.
    pub p99_us: Vec<f32>,
    /// Operations that entered combining.
    pub offered_per_s: Vec<f32>,
    /// Commands sent for them.
    pub flushed_per_s: Vec<f32>,
}
