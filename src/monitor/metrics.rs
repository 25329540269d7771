//! Every metric of hotgate, declared once: name, kind, labels, help.
//!
//! `families.rs` gives them their values, `describe()` lists them (`hotgate serve --describe-metrics`), and
//! tests refuse duplicates, missing help, suffixes that break Prometheus's conventions
//! (<https://prometheus.io/docs/practices/naming/>), metrics that are never rendered, and dashboards or
//! alerts that name a metric which is not here.
//!
//! Bounds of the labels: `class`, `outcome`, `kind`, `reason`, `state`, `direction` are closed enums; `node`
//! is bounded by the topology; `command` by the command table, with one value for all that is not in it; `code` by as many words as Redis keeps; `cluster`, `route` and `tenant` by the configuration; `limit` and `zone` are closed enums; `key` by the top K of the hot set and by the quota keys tallied, `sku` by as many of the sales in use.

use super::exposition::{Kind, Metric};

macro_rules! metrics {
    ($($name:ident: $kind:ident $metric:literal [$($label:literal),*] $help:literal;)+) => {
        $(
            #[doc = $help]
            pub static $name: Metric =
                Metric { name: $metric, kind: Kind::$kind, labels: &[$($label),*], help: $help };
        )+
        /// Every metric, in the order of `/metrics`.
        pub static ALL: &[&Metric] = &[$(&$name),+];
    };
}

metrics! {
    BUILD_INFO: Gauge "hotgate_build_info" ["version"] "Always 1; the label says which version runs.";
    RELOAD_REFUSED: Gauge "hotgate_config_reload_refused" [] "1 while the configuration file was not taken over by the last reload, else 0.";
    RESTART_NEEDED: Gauge "hotgate_config_restart_needed" [] "Directives that have changed in the file and that only a restart takes.";
    WORKER_LATE: Gauge "hotgate_worker_late_seconds" ["thread"] "How long a worker has not come round; below a second that is nothing.";
    STANDSTILLS: Counter "hotgate_standstills_total" [] "Times that the process stood still for longer than a second.";
    CLOCK_JUMPS: Counter "hotgate_clock_jumps_total" [] "Times that the system's clock was set by more than a second.";
    READY: Gauge "hotgate_ready" [] "1 while the upstream is reachable and the gateway is not draining, else 0.";
    WORKERS: Gauge "hotgate_workers" [] "Worker threads.";

    REQUESTS: Counter "hotgate_requests_total" ["class", "outcome"] "Requests settled, by class and outcome.";
    REQUEST_SECONDS: Histogram "hotgate_request_duration_seconds" [] "Time from the last byte of a client's request to its queued reply, Redis's part included. Failed requests and those that may block are left out.";
    GATEWAY_SECONDS: Histogram "hotgate_gateway_duration_seconds" [] "What the gateway adds to the time of a client's request: queueing, folding, delivery. Redis's part of it is left out.";
    UPSTREAM_SECONDS: Histogram "hotgate_upstream_duration_seconds" [] "Time from writing a request to a node to having its whole reply. A flush has one; what is folded, cached or refused here, and what may block, has none.";
    ERRORS: Counter "hotgate_errors_total" ["kind"] "Errors by kind: what clients did wrong, what Redis refused, what the gateway could not do.";
    STANDOUTS: Counter "hotgate_requests_standing_out_total" ["kind"] "Requests that SLOWLOG and COMMANDLOG show or would show: slow ones, large ones, those with a large reply.";
    REDIRECTS: Counter "hotgate_redirects_total" ["kind"] "Replies of Redis that sent a request elsewhere or asked for another try.";

    COMMAND_CALLS: Counter "hotgate_command_calls_total" ["command"] "Requests that were run, by command: by Redis or by the gateway. Commands of a transaction count each.";
    COMMAND_FAILED: Counter "hotgate_command_failed_total" ["command"] "Those that ended with an error.";
    COMMAND_REJECTED: Counter "hotgate_command_rejected_total" ["command"] "Requests that were refused before they ran, by command: for their form, by a right, a quota or a limit, or by the state of the server.";
    COMMAND_SECONDS: Histogram "hotgate_command_duration_seconds" ["command"] "Time from the last byte of a client's request to its queued reply, by command. What may block, what the gateway answers at once, and commands of transactions have none.";
    BIG_KEYS: Gauge "hotgate_big_keys" ["cluster"] "Keys of the cluster that showed themselves big within a day, by a request or reply over 2 MiB or a reply of more than 5,000 elements; HOTGATE BIGKEYS names them. At most 128 for each worker.";
    BIG_KEY_REQUESTS: Counter "hotgate_big_key_requests_total" ["cluster"] "Requests that showed a key to be big.";
    ERROR_REPLIES: Counter "hotgate_error_replies_total" ["code"] "Error replies that clients got, by the word with which they begin; other for those beyond 128 words.";

    CLIENTS: Gauge "hotgate_clients" ["state"] "Client connections open now: all, and those that are blocked or subscribed.";
    CLIENTS_OPENED: Counter "hotgate_clients_opened_total" [] "Client connections accepted.";
    CLIENTS_CLOSED: Counter "hotgate_clients_closed_total" ["reason"] "Client connections ended, by reason.";
    CLIENTS_REJECTED: Counter "hotgate_clients_rejected_total" ["reason"] "Client connections turned away, by reason.";
    CLIENTS_PAUSED: Counter "hotgate_clients_paused_total" [] "Times that reading from a client was paused because a buffer was at its bound.";
    CLIENT_BYTES: Counter "hotgate_client_bytes_total" ["direction"] "Bytes read from (in) and written to (out) clients.";
    BUFFERED_BYTES: Gauge "hotgate_client_buffered_bytes" ["direction"] "Bytes of requests not yet on their way (in) and of replies not yet read by their clients (out).";
    BUFFERED_BYTES_MAX: Gauge "hotgate_client_buffered_bytes_max" [] "The bound of all client buffers together; 0 when there is none.";

    CERTIFICATE_EXPIRES: Gauge "hotgate_tls_certificate_expires_seconds" ["table", "file"] "How long a certificate that peers are shown still holds; negative when it has expired.";
    CERTIFICATES_REFUSED: Gauge "hotgate_tls_refused" ["table"] "1 while the files of certificates can't be used as they are now and those before are in force; the status line says why.";

    CLUSTER_READY: Gauge "hotgate_cluster_ready" ["cluster"] "1 while some slot of the cluster has a master that is not known to have failed, else 0.";
    CLUSTER_REQUESTS: Counter "hotgate_cluster_requests_total" ["cluster"] "Requests written to the nodes of the cluster.";
    CLUSTER_ERRORS: Counter "hotgate_cluster_errors_total" ["cluster"] "Error replies of the cluster's nodes, and requests lost with their connections and deadlines.";
    CLUSTER_BYTES: Counter "hotgate_cluster_bytes_total" ["cluster", "direction"] "Bytes read from (in) and written to (out) the nodes of the cluster.";
    CLUSTER_SECONDS: Histogram "hotgate_cluster_reply_duration_seconds" ["cluster"] "Times of the replies of the cluster's nodes. What may block has none.";
    CLUSTER_COMMANDS: Counter "hotgate_cluster_commands_total" ["cluster", "command"] "Requests of clients that nodes of the cluster answered, by command. Flushes are left out. Absent with one cluster.";
    CLUSTER_COMMAND_SECONDS: Counter "hotgate_cluster_command_seconds_total" ["cluster", "command"] "How long those answers took the nodes, summed up.";
    CLUSTER_HOT_KEYS: Gauge "hotgate_cluster_hot_keys" ["cluster"] "Hot keys that live in the cluster.";
    CLUSTER_SKEW: Gauge "hotgate_cluster_skew_ratio" ["cluster"] "The busiest master of the cluster by requests, by the mean of its masters: 1 where all have the same. Absent with one master, or without load.";
    ROUTE_SKEW: Gauge "hotgate_route_skew_ratio" ["route"] "The busiest of the clusters that a route names, by their mean: 1 where all have the same. Absent with one cluster, or without load.";

    READS_BY_ZONE: Counter "hotgate_reads_by_zone_total" ["zone"] "Reads of clusters with read_from = nearest by where they were sent: own, a server of the gateway's own zone; other, for there was none.";

    TENANT_REQUESTS: Counter "hotgate_tenant_requests_total" ["tenant"] "Requests of the tenant that were answered, but for those refused by its limits.";
    TENANT_REFUSED: Counter "hotgate_tenant_refused_total" ["tenant", "limit"] "Requests and connections of the tenant refused by its limits: rate, bytes_rate, clients_max.";
    TENANT_DELAYED: Counter "hotgate_tenant_delayed_total" ["tenant"] "Requests of the tenant whose client was held back for a while.";
    TENANT_ERRORS: Counter "hotgate_tenant_errors_total" ["tenant"] "Errors that the tenant got, but for those of its limits.";
    TENANT_BYTES: Counter "hotgate_tenant_bytes_total" ["tenant", "direction"] "Bytes of the tenant's requests (in) and of their replies (out).";
    TENANT_SECONDS: Histogram "hotgate_tenant_request_duration_seconds" ["tenant"] "Time from a request of the tenant to its reply leaving in its turn.";
    TENANT_COMMANDS: Counter "hotgate_tenant_commands_total" ["tenant", "command"] "Requests of the tenant that were answered, by command.";
    TENANT_COMMAND_SECONDS: Counter "hotgate_tenant_command_seconds_total" ["tenant", "command"] "How long they took until their replies left in their turn, summed up.";
    TENANT_CLIENTS: Gauge "hotgate_tenant_clients" ["tenant"] "Connections of the tenant's user; absent where it is known by its keys.";
    TENANT_HOT_KEYS: Gauge "hotgate_tenant_hot_keys" ["tenant"] "Hot keys that are the tenant's by its pattern.";

    MISSING_RIGHTS: Gauge "hotgate_upstream_missing_rights" [] "Things that the gateway would do and its upstream user may not; the status line names them.";
    NODE_TROUBLE: Gauge "hotgate_upstream_node_trouble" ["node", "trouble"] "1 while the node is so when the gateway asks it, else 0: paused, refusing, turning_away, unresolved, unlinked, stranger, without_replica.";
    NODE_CLIENTS: Gauge "hotgate_upstream_node_clients" ["node"] "Clients that a node has; absent where it does not say.";
    NODE_CLIENTS_MAX: Gauge "hotgate_upstream_node_clients_max" ["node"] "The node's maxclients; absent where it does not say.";
    UNSERVED_SLOTS: Gauge "hotgate_upstream_unserved_slots" [] "Slots of the cluster that no master has.";
    UNUSABLE_SERVERS: Gauge "hotgate_upstream_unusable_servers" [] "Servers in upstream.servers that are no nodes and can't be used; the status line names them.";
    NODE_UP: Gauge "hotgate_upstream_node_up" ["node", "role"] "1 while a node of the topology can be reached, else 0.";
    NODE_STATE: Gauge "hotgate_upstream_node_state" ["node", "state"] "1 for the worst state of the workers' connections to the node: idle, up, connecting, down.";
    NODE_REQUESTS: Counter "hotgate_upstream_node_requests_total" ["node"] "Requests written to the node.";
    NODE_ERRORS: Counter "hotgate_upstream_node_errors_total" ["node"] "Error replies of the node, and requests lost with its connections and deadlines.";
    NODE_COMMANDS: Counter "hotgate_upstream_node_commands_total" ["node", "command"] "Requests of clients that the node answered, by command. Flushes are left out.";
    NODE_COMMAND_SECONDS: Counter "hotgate_upstream_node_command_seconds_total" ["node", "command"] "How long those answers took the node, summed up; what may block left out.";
    NODE_COMMAND_ERRORS: Counter "hotgate_upstream_node_command_errors_total" ["node", "command"] "Those answers that were errors.";
    NODE_REFUSALS: Counter "hotgate_upstream_node_refusals_total" ["node", "reason"] "Error replies that tell of a state of the server: oom, misconf, readonly, loading, busy, masterdown, clusterdown, noreplicas, noperm, noauth.";
    NODE_KEYS: Gauge "hotgate_upstream_node_keys" ["node"] "Keys that a master holds in database 0; absent where it may not be asked.";
    NODE_BYTES: Counter "hotgate_upstream_node_bytes_total" ["node", "direction"] "Bytes read from (in) and written to (out) the node.";
    NODE_INFLIGHT: Gauge "hotgate_upstream_node_inflight" ["node"] "Requests written to the node and not yet replied to.";
    NODE_INFLIGHT_MAX: Gauge "hotgate_upstream_node_inflight_max" ["node"] "The bound of the node's inflight requests; 0 when there is none.";
    NODE_SILENT: Gauge "hotgate_upstream_node_silent_seconds" ["node"] "How long the node has left requests unanswered without sending anything; 0 while it answers.";
    NODE_HELD: Gauge "hotgate_upstream_node_held_seconds" ["node"] "How long the node has held a request back by its own account; 0 while it holds none.";
    NODE_QUEUE: Gauge "hotgate_upstream_node_queue_seconds" ["node"] "How much longer than alone requests take because a queue stands at the node; 0 without one.";
    NODE_FLUSHES_MAX: Gauge "hotgate_upstream_node_flushes_max" ["node"] "Flushes of folded keys that may be in flight to the node at a time, because flushes alone made a queue there; 0 while they need no turns.";
    NODE_BUFFERED_BYTES: Gauge "hotgate_upstream_node_buffered_bytes" ["node"] "Bytes that wait to be written to the node.";
    NODE_CONNECTS: Counter "hotgate_upstream_node_connects_total" ["node"] "Connections established to the node.";
    NODE_RECONNECTS: Counter "hotgate_upstream_node_reconnects_total" ["node"] "Connections established to the node after an earlier one was lost.";
    NODE_CONNECT_FAILURES: Counter "hotgate_upstream_node_connect_failures_total" ["node"] "Attempts to connect to the node that failed.";
    NODE_SECONDS: Histogram "hotgate_upstream_node_duration_seconds" ["node"] "Time from writing a request to the node to having its whole reply, those that may block left out; one bucket for each power of two of microseconds.";
    TOPOLOGY_VERSION: Counter "hotgate_topology_changes_total" [] "Topologies that took effect, the first one included.";

    HOT_KEYS: Gauge "hotgate_hot_keys" [] "Keys in the published hot set.";
    HOT_KEY_RATE: Gauge "hotgate_hot_key_requests_per_second" ["key", "kind"] "Accesses per second of a hot key, reads and writes apart; only the top keys.";
    HOT_KEY_SHARE: Gauge "hotgate_hot_key_share_ratio" ["key"] "The share of all key accesses that go to the key, 0 to 1.";
    HOT_KEY_BYTES: Gauge "hotgate_hot_key_bytes_per_second" ["key"] "Bytes per second in requests and replies of the key.";
    HOT_KEY_CONNECTIONS: Gauge "hotgate_hot_key_connections" ["key"] "Distinct client connections that used the key in the window, estimated.";
    HOT_KEY_INFO: Gauge "hotgate_hot_key_info" ["key", "class", "node"] "Always 1; what kind of hot the key is, and which node holds it.";
    HOT_KEY_OFFERED: Counter "hotgate_hot_key_offered_total" ["key"] "Operations of clients on the key that entered combining.";
    HOT_KEY_FLUSHED: Counter "hotgate_hot_key_flushed_total" ["key"] "Commands sent to Redis for them.";
    HOT_KEY_CACHE_HITS: Counter "hotgate_hot_key_cache_hits_total" ["key"] "Reads of the key answered from the read cache.";

    COMBINE_OFFERED: Counter "hotgate_combine_offered_total" [] "Operations of clients that entered combining.";
    COMBINE_FLUSHED: Counter "hotgate_combine_flushed_total" [] "Commands sent to Redis for combined operations.";
    COMBINE_CROWDS: Counter "hotgate_combine_crowds_total" [] "Keys that could fold before they were in the hot set, because at least 64 of their operations were outstanding at a node where a queue stood.";
    COMBINE_TURN_WAITS: Counter "hotgate_combine_turn_waits_total" [] "Flushes that waited for their turn at a node where flushes alone made a queue.";
    COMBINE_TURN_WAIT: Counter "hotgate_combine_turn_wait_seconds_total" [] "How long flushes waited for their turn, summed up.";
    COMBINE_REPLAYED: Counter "hotgate_combine_replayed_total" [] "Batches that failed as a whole and were replayed one by one.";
    COMBINE_BATCH: Histogram "hotgate_combine_batch_operations" [] "Operations folded into one flush.";
    COMBINE_WAIT: Histogram "hotgate_combine_added_wait_seconds" [] "The wait that combining added before the flush of an operation was written.";

    WRITE_BEHIND_ABSORBED: Counter "hotgate_write_behind_absorbed_total" [] "Operations answered before Redis knew of them.";
    WRITE_BEHIND_FLUSHES: Counter "hotgate_write_behind_flushes_total" [] "Write-behind flushes, each counted once however often it was sent.";
    WRITE_BEHIND_ACKNOWLEDGED: Counter "hotgate_write_behind_acknowledged_total" [] "Absorbed operations that Redis has acknowledged.";
    WRITE_BEHIND_RESENDS: Counter "hotgate_write_behind_resends_total" [] "Times that a flush was sent again with the same token.";
    WRITE_BEHIND_REPLAYS: Counter "hotgate_write_behind_replays_total" [] "Flushes in doubt that were taken over from the journal of a former process.";
    WRITE_BEHIND_UNKNOWN: Counter "hotgate_write_behind_unknown_outcomes_total" [] "Flushes whose outcome is not known.";
    WRITE_BEHIND_UNKNOWN_OPERATIONS: Counter "hotgate_write_behind_unknown_operations_total" [] "Absorbed operations in flushes whose outcome is not known.";
    WRITE_BEHIND_LOST: Counter "hotgate_write_behind_lost_operations_total" [] "Absorbed operations that Redis refused for good.";
    WRITE_BEHIND_REFUSED: Counter "hotgate_write_behind_refused_total" [] "Operations refused because the bound of pending deltas was reached.";
    WRITE_BEHIND_PENDING: Gauge "hotgate_write_behind_pending" [] "Deltas answered and not yet acknowledged by Redis.";
    WRITE_BEHIND_PENDING_MAX: Gauge "hotgate_write_behind_pending_max" [] "The bound of pending deltas; 0 when there is none.";
    WRITE_BEHIND_OLDEST: Gauge "hotgate_write_behind_oldest_pending_seconds" [] "Age of the oldest delta that Redis has not acknowledged.";
    JOURNAL_BYTES: Counter "hotgate_journal_bytes_total" [] "Bytes written to the write-behind journal.";
    JOURNAL_SYNCS: Counter "hotgate_journal_syncs_total" [] "Times that the write-behind journal was synced to disk.";
    JOURNAL_FAULTS: Counter "hotgate_journal_faults_total" [] "Times that the disk refused a write to the write-behind journal.";
    JOURNAL_REFUSING: Gauge "hotgate_journal_refusing" [] "Whether the write-behind journal refuses increments now.";

    READ_CACHE_READS: Counter "hotgate_read_cache_reads_total" ["result"] "Reads of keys that a rule lets be copied, by hit and miss.";
    READ_CACHE_STORES: Counter "hotgate_read_cache_stores_total" [] "Replies kept in the read cache.";
    READ_CACHE_INVALIDATIONS: Counter "hotgate_read_cache_invalidations_total" [] "Entries dropped because Redis said that they changed.";
    READ_CACHE_DROPS: Counter "hotgate_read_cache_drops_total" [] "Times that tracked entries were dropped together: their tracking connection broke, or slots moved.";
    READ_CACHE_ENTRIES: Gauge "hotgate_read_cache_entries" [] "Entries in the read cache.";
    READ_CACHE_BYTES: Gauge "hotgate_read_cache_bytes" [] "Bytes of the entries in the read cache.";

    ADMISSION_COUNTERS: Gauge "hotgate_admission_counters" [] "Counters under a quota whose state is remembered, at each worker that counts under them.";
    ADMISSION_COUNTERS_MAX: Gauge "hotgate_admission_counters_max" [] "How many of them one worker may remember.";
    ADMISSION_BYTES: Gauge "hotgate_admission_bytes" [] "The memory that they take.";
    ADMISSION_BYTES_MAX: Gauge "hotgate_admission_bytes_max" [] "The bound of that memory.";
    ADMISSION_REFUSED: Counter "hotgate_admission_refused_total" [] "Increments refused because there was no room for their counter.";

    QUOTA_FLUSHED: Counter "hotgate_quota_flushed_total" [] "Times that a client had all keys removed, and with them operators' limits and pauses and what windows have counted.";

    QUOTA_ADMITTED: Counter "hotgate_quota_admitted_total" ["key", "quota"] "Operations granted by a quota; the key with the empty name stands for all beyond the bound.";
    QUOTA_REFUSED: Counter "hotgate_quota_refused_total" ["key", "quota", "reason"] "Operations refused by a quota, by reason.";
    QUOTA_WOULD_REFUSE: Counter "hotgate_quota_would_refuse_total" ["key", "quota"] "Operations that a quota in shadow mode let through and would have refused.";
    QUOTA_UNCHECKED: Counter "hotgate_quota_unchecked_total" ["key", "quota"] "Operations let through unchecked while Redis was away.";
    QUOTA_OWED_LOST: Counter "hotgate_quota_debts_lost_total" ["key", "quota"] "Sums of operations let through unchecked that were given up: Redis refused them for good, or did not say whether it has them.";
    QUOTA_RECHECKS: Counter "hotgate_quota_rechecks_total" ["key", "quota"] "Questions to Redis about an exhausted key.";
    QUOTA_LIMIT: Gauge "hotgate_quota_limit" ["key", "quota"] "The limit that holds for the key.";
    QUOTA_VALUE: Gauge "hotgate_quota_value" ["key", "quota"] "The value of the key's counter, as last seen at Redis.";
    QUOTA_USED: Gauge "hotgate_quota_used_ratio" ["key", "quota"] "The part of the limit that is used, 0 to 1; for stock counted down, of the highest stock seen.";
    QUOTA_PAUSED: Gauge "hotgate_quota_paused" ["key", "quota"] "1 while an operator's pause refuses everything for the key.";
    QUOTA_EXHAUSTED: Gauge "hotgate_quota_exhausted" ["key", "quota"] "1 while the key is sold out.";

    SALE_OPERATIONS: Counter "hotgate_sale_operations_total" ["operation"] "Operations on sales of reservations: add, confirm, cancel, check, info.";
    SALE_ADDED: Counter "hotgate_sale_added_total" [] "RESERVE.ADDs that were told what their user holds.";
    SALE_CONFIRMED: Counter "hotgate_sale_confirmed_total" [] "RESERVE.CONFIRMs that were told that the places are confirmed.";
    SALE_CANCELLED: Counter "hotgate_sale_cancelled_total" [] "RESERVE.CANCELs that gave places back.";
    SALE_REFUSED: Counter "hotgate_sale_refused_total" ["reason"] "Operations on sales that were refused, by reason.";
    SALE_REFUSED_HERE: Counter "hotgate_sale_refused_here_total" [] "Those that were refused without a question to Redis.";
    SALE_CALLS: Counter "hotgate_sale_calls_total" [] "Calls of the script that carries operations on sales.";
    SALE_CARRIED: Counter "hotgate_sale_carried_total" [] "Operations in those calls.";
    SALE_RESENDS: Counter "hotgate_sale_resends_total" [] "Calls that were lost with their connection and sent again.";
    SALE_LIMIT: Gauge "hotgate_sale_limit" ["sku"] "The places of a sale.";
    SALE_TAKEN: Gauge "hotgate_sale_taken" ["sku"] "The places of a sale that are taken, as Redis said last.";
    SALE_HELD: Gauge "hotgate_sale_held" ["sku"] "The places of a sale that wait to be confirmed, as Redis said last.";
    SALE_OPEN: Gauge "hotgate_sale_open" ["sku"] "1 while a sale gives places, else 0.";
    SALE_SOLD_OUT: Gauge "hotgate_sale_sold_out" ["sku"] "1 while a sale is sold out, else 0.";

    LEDGER_UP: Gauge "hotgate_ledger_up" [] "1 while the ledger is heard of, else 0; nothing where none is configured. Every gateway says the same of the one ledger.";
    LEDGER_DATABASE_UP: Gauge "hotgate_ledger_database_up" [] "1 while its database takes rows, else 0.";
    LEDGER_LAG_ENTRIES: Gauge "hotgate_ledger_lag_entries" [] "Entries that Redis has and the database has not.";
    LEDGER_LAG_SECONDS: Gauge "hotgate_ledger_lag_seconds" [] "The age of the oldest of them.";
    LEDGER_LATE: Gauge "hotgate_ledger_late_sales" [] "Sales that are more than ledger.lag_max entries behind.";
    LEDGER_HALTED: Gauge "hotgate_ledger_halted_sales" [] "Sales that a gap in their entries halts.";
    LEDGER_SALES: Gauge "hotgate_ledger_sales" [] "Sales that the ledger follows.";
    LEDGER_ENTRIES: Counter "hotgate_ledger_entries_total" [] "Entries brought into the database since the ledger's start.";
    LEDGER_ROWS: Counter "hotgate_ledger_rows_total" [] "Rows written for them.";
    LEDGER_ERRORS: Counter "hotgate_ledger_errors_total" ["cause"] "What went wrong since the ledger's start: database, redis, gap, name.";

    DETECTOR_ACCESSES: Counter "hotgate_detector_accesses_total" [] "Key accesses that the hot-key detector saw.";
    DETECTOR_SAMPLED: Counter "hotgate_detector_sampled_total" [] "Key accesses that it counted; fewer than it saw only while sampling under pressure.";
    DETECTOR_EXCLUDED: Counter "hotgate_detector_excluded_total" [] "Key accesses excluded by never-track patterns.";
    DETECTOR_DISPLACED: Counter "hotgate_detector_displaced_total" [] "Entries displaced from its bounded tables.";
    DETECTOR_TRACKED: Gauge "hotgate_detector_tracked_keys" [] "Keys in its tables.";
    DETECTOR_MEMORY: Gauge "hotgate_detector_memory_bytes" [] "Bytes of its tables.";

    NOTICES: Counter "hotgate_notices_total" ["state"] "Notices about keys that became hot or cooled down.";
    EVENTS: Counter "hotgate_events_total" ["kind"] "What happened, by kind, as HOTGATE EVENTS tells of it. Of slots and of refused connections it counts each.";
    WEBHOOK: Counter "hotgate_webhook_deliveries_total" ["result"] "Webhook notices delivered, given up after their retries, and dropped because the queue was full.";

    ADMIN_TURNED_AWAY: Counter "hotgate_admin_turned_away_total" ["reason"] "Requests and connections that the HTTP side turned away, by reason.";

    THREAD_WAITED: Counter "hotgate_thread_waited_seconds_total" ["thread"] "For how long a thread of the gateway could run and got no processor, by its name.";
    THREAD_CPU: Counter "hotgate_thread_cpu_seconds_total" ["thread"] "Processor time of a thread of the gateway, by its name.";
    PROCESS_CPU: Counter "process_cpu_seconds_total" [] "Total user and system CPU time spent in seconds.";
    PROCESS_RSS: Gauge "process_resident_memory_bytes" [] "Resident memory size in bytes.";
    PROCESS_VSS: Gauge "process_virtual_memory_bytes" [] "Virtual memory size in bytes.";
    PROCESS_FDS: Gauge "process_open_fds" [] "Number of open file descriptors.";
    PROCESS_FDS_MAX: Gauge "process_max_fds" [] "Maximum number of open file descriptors.";
    PROCESS_START: Gauge "process_start_time_seconds" [] "Start time of the process since unix epoch in seconds.";
}

/// The table as text, for `hotgate serve --describe-metrics`: one metric a line, with kind, labels and help.
pub fn describe() -> String {
    let mut out = String::new();
    for metric in ALL {
        let labels =
            if metric.labels.is_empty() { String::new() } else { format!("{{{}}}", metric.labels.join(",")) };
        out.push_str(&format!("{}{labels} ({})\n    {}\n", metric.name, metric.kind.word(), metric.help));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// The first violation of the naming conventions in one declaration.
    fn faults(metric: &Metric) -> Vec<String> {
        let mut faults = Vec::new();
        let mut refuse = |broken: bool, why: &str| {
            if broken {
                faults.push(format!("{}: {why}", metric.name));
            }
        };
        let name = metric.name;
        let unit_missing = |unit: &str| {
            name.contains(unit)
                && !(name.ends_with(unit)
                    || name.contains(&format!("{unit}_total"))
                    || name.ends_with("_max"))
        };
        refuse(!(name.starts_with("hotgate_") || name.starts_with("process_")), "foreign prefix");
        refuse(
            !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
            "not snake case",
        );
        refuse(
            (metric.kind == Kind::Counter) != name.ends_with("_total"),
            "_total is for counters, and for all of them",
        );
        refuse(
            ["_bucket", "_sum", "_count"].iter().any(|s| name.ends_with(s)),
            "suffix reserved for histograms",
        );
        refuse(
            name.split('_').any(|word| ["ms", "us", "ns", "milliseconds", "kb", "percent"].contains(&word)),
            "not a base unit",
        );
        refuse(unit_missing("_bytes") && !name.ends_with("_per_second"), "the unit comes last");
        refuse(!metric.help.ends_with('.') || metric.help.len() < 6, "help is a sentence");
        refuse(metric.help.contains(['\n', '\\']), "help needs escaping");
        refuse(metric.labels.contains(&"le"), "le is reserved");
        refuse(
            metric.labels.iter().collect::<HashSet<_>>().len() != metric.labels.len(),
            "label named twice",
        );
        faults
    }

    #[test]
    fn every_metric_is_declared_once_and_well() {
        let mut names = HashSet::new();
        for metric in ALL {
            assert!(names.insert(metric.name), "{} is declared twice", metric.name);
            assert_eq!(faults(metric), Vec::<String>::new());
        }
    }

    #[test]
    fn bad_declarations_are_refused() {
        let bad = |name, kind, labels, help| !faults(&Metric { name, kind, labels, help }).is_empty();
        assert!(bad("hotgate_requests", Kind::Counter, &[], "Requests."));
        assert!(bad("hotgate_clients_total", Kind::Gauge, &[], "Clients."));
        assert!(bad("hotgate_wait_ms", Kind::Gauge, &[], "Wait."));
        assert!(bad("hotgate_x_bytes_of_y", Kind::Gauge, &[], "Bytes."));
        assert!(bad("other_thing", Kind::Gauge, &[], "Thing."));
        assert!(bad("hotgate_thing", Kind::Gauge, &[], ""));
        assert!(bad("hotgate_thing", Kind::Histogram, &["le"], "Thing."));
    }

    #[test]
    fn the_description_names_every_metric() {
        let text = describe();
        for metric in ALL {
            assert!(text.contains(metric.name) && text.contains(metric.help));
        }
    }
}
