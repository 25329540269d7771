//! The only place where two threads meet: snapshots (arc-swap), tallies and mailboxes.
//!
//! Invariant: nothing here makes a worker wait. A snapshot is immutable, replaced whole by the control thread and read
//! without a lock; a mailbox is bounded, and what does not fit is refused to the sender.

pub mod audit;
pub mod behind;
pub mod big_keys;
pub mod certificates;
pub mod client_rows;
pub mod command_log;
pub mod command_tallies;
pub mod config_file;
pub mod connections;
pub mod courses;
pub mod ending;
pub mod error_codes;
pub mod error_words;
pub mod events;
pub mod gateway;
pub mod handoff;
pub mod held;
pub mod histogram;
pub mod history;
pub mod kept;
pub mod key_modes;
pub mod keyed;
pub mod keys;
pub mod labels;
pub mod ledger_heard;
pub mod mailbox;
pub mod names;
pub mod near_tally;
pub mod probes;
pub mod quarters;
pub mod quota_board;
pub mod quota_changes;
pub mod quota_facts;
pub mod quota_overrides;
pub mod refresh;
pub mod reservations;
pub mod rights;
pub mod sale_tallies;
pub mod scripts;
pub mod swaps;
pub mod tallies;
pub mod tenant_tallies;
pub mod tenants;
pub mod topology;
pub mod upstream_facts;
pub mod users;
pub mod worker_journal;
