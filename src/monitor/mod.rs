//! COLD: what operators see. Metrics, INFO and HOTKEYS views, HTTP, the dashboard, notices, `hotgate top`.
//!
//! ```text
//!   tallies of the workers, hot set, topology, quotas      (snapshots: `sources`)
//!        |  sampler, 4 times a second
//!        v
//!      View  ->  status      one sentence: what is wrong
//!            ->  families    /metrics
//!            ->  http        JSON, event stream, dashboard
//!            ->  info        INFO
//! ```
//!
//! Everything here runs on the control thread, but for the connections of the HTTP side, and reads snapshots that the workers publish. Invariant: nothing here makes a
//! worker wait, and more requests to it make no more work for a worker. The one exception is the list of clients: it is bounded in
//! rows, and the workers are asked for it at most once a second. Nothing here asks a server: the control thread passes in what
//! INFO says of the data.

pub mod admin;
pub mod ask_ready;
pub mod ask_routes;
pub mod big_keys;
pub mod board;
mod buckets;
mod calm;
mod certificates;
pub mod clock;
mod command_families;
pub mod command_info;
pub mod commands;
mod condition_families;
pub mod config_view;
pub mod exposition;
pub mod families;
mod figures;
mod history;
mod hot_key_figures;
mod hot_key_view;
pub mod hotkeys;
pub mod http;
pub mod http_client;
pub mod info;
pub mod key_history;
mod last_refusals;
pub mod ledger;
pub mod logged_requests;
pub mod losses;
pub mod merged;
pub mod metrics;
pub mod node_view;
pub mod notify;
pub mod process_figures;
mod quantiles;
mod quota_figures;
pub mod quota_page;
pub mod route_families;
pub mod route_figures;
pub mod routes;
pub mod sales;
pub mod sampler;
pub mod server_info;
mod shards;
pub mod sources;
pub mod status;
pub mod top;
pub mod turned_away;
pub mod upsets;
pub mod verdict;
pub mod view;
mod window;
