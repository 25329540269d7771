//! The only place where threads meet: published snapshots and bounded mailboxes.
//!
//! A snapshot is immutable, swapped as a whole by the control thread and read by the workers without a lock. A mailbox
//! is bounded, and its documentation says what happens when it is full.

pub mod refresh;
pub mod topology;
pub mod upstream_facts;
