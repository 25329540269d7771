//! COLD: the control thread. It finds out about the upstream and publishes what the workers need.
//!
//! No request passes through here. So the control thread may wait, allocate and retry. What it learns leaves it as a snapshot
//! in `shared`.

pub mod acl;
pub mod admin;
pub mod admin_service;
mod administer;
mod backoff;
pub mod certificates;
mod client_command;
mod command_docs;
mod command_figures;
pub mod command_log;
pub mod commands;
mod conditions;
mod config_get;
mod config_view;
pub mod descriptors;
pub mod events;
pub mod hangup;
pub mod history_file;
pub mod hot_set;
pub mod kept_file;
pub mod key_modes;
pub mod ledger_watch;
mod masters;
mod owner;
pub mod password_commands;
pub mod probes;
pub mod quota_list;
mod quota_reader;
pub mod quotas;
pub mod readiness;
mod refused_administration;
pub mod reload;
pub mod rights;
mod routes;
pub mod sales;
pub mod service_manager;
pub mod topology;
pub mod upstream_client;
mod upstream_questions;
pub mod users;
