//! Quotas hold, whatever happens to Redis, to gateways and to the configuration.
//! Each module holds one promise and names it in its first lines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is not as it must be"
)]

#[path = "../support/mod.rs"]
mod support;

mod listed;
mod quotas;
mod quotas_faults;
mod quotas_followed;
mod quotas_moving;
mod quotas_replicas;
mod quotas_shown;
mod quotas_unavailable;
