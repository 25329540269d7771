//! COLD: what runs on the control thread. It finds out about the upstream and publishes what the workers need.
//!
//! Nothing here is on the way of a request: the control thread may wait, allocate and retry, and everything it learns
//! leaves it as a snapshot in `shared`.

pub mod admin;
pub mod backoff;
mod client_command;
mod command_docs;
pub mod commands;
mod config_get;
pub mod descriptors;
pub mod heat;
pub mod questions;
pub mod quotas;
pub mod readiness;
pub mod reload;
pub mod rights;
pub mod topology;
pub mod upstream_client;
mod upstream_questions;
