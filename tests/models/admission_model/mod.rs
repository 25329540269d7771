//! What admission promises, in simulated time with seeds, and against the real script in a real Redis.
//!
//! A failing seed is printed; `HOTGATE_SEED=<seed>` runs it alone.

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
