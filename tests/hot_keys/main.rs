//! Hot keys: seen, combined, answered from copies or before Redis has them.
//! Each module holds one promise and names it in its first lines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is not as it must be"
)]

#[path = "../support/mod.rs"]
mod support;

mod combine_bounds;
mod combine_faults;
mod combine_linearizable;
mod combine_runs;
mod copies_of_others;
mod counter_scripts;
mod crowds;
mod equal_folded;
mod errors;
mod folded_in_doubt;
mod folded_transactions;
mod folded_writes;
mod journal;
mod journal_clock;
mod journal_of_another;
mod journal_of_clusters;
mod plain_by_default;
mod read_cache;
mod read_cache_faults;
mod refused_folds;
mod rights;
mod story;
mod turns;
mod write_behind;
mod write_behind_faults;
mod write_behind_silence;
