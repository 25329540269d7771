//! The only place where two threads meet: snapshots (arc-swap), tallies and mailboxes.
//!
//! Invariant: nothing here makes a worker wait. A snapshot is immutable, replaced whole and read without a lock; a
//! mailbox is bounded and what does not fit is refused to the sender.

pub mod client_rows;
pub mod histogram;
pub mod keyed;
pub mod labels;
pub mod quota_desk;
pub mod refresh;
pub mod tallies;
pub mod topology;
pub mod upstream_facts;
