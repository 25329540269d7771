//! What admission promises, in simulated time with seeds, and against the real script in a real Redis.
//!
//! A failing seed is printed; `ADMISSION_SEED=<seed>` runs it alone.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test says what is wrong by failing there")]

#[path = "../support/mod.rs"]
mod support;

mod script;
mod simulation;
mod with_redis;

use std::sync::Arc;

use hotgate::{
    admission::{KeyQuota, QuotaRules},
    config::Config,
};

/// One millisecond in nanoseconds.
pub const MS: u64 = 1_000_000;
/// The counter under quota.
pub const KEY: &[u8] = b"sku:{8421}:reserved";

/// The quota of [`KEY`] under these directives, separated by semicolons.
pub fn quota(directives: &str) -> Arc<KeyQuota> {
    let text = format!("[[quota]]\nmatch='sku:*:reserved'\n{}\n", directives.replace(';', "\n"));
    let quotas = Config::parse(&text).unwrap().quotas;
    Arc::new(QuotaRules::compile(&quotas).of(KEY).unwrap())
}

/// The seeds of a generated test.
pub fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("ADMISSION_SEED") {
        Ok(seed) => seed.parse().map(|seed| seed..seed + 1).expect("ADMISSION_SEED is a number"),
        Err(_) => 0..count,
    }
}
