//! The ledger as a process: what happens in sales is in the database, in order, once, whatever dies.
//! Each module holds one promise and names it in its first lines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is not as it must be"
)]

#[path = "../support/mod.rs"]
mod support;

mod attacked;
mod books;
mod clusters;
mod commits;
mod databases;
mod deaths;
mod first_start;
mod follows;
mod full_disks;
mod gaps;
mod lost_sales;
mod once;
mod outages;
mod process;
mod reloads;
mod replaced_files;
mod rights;
mod secured_databases;
mod seen;
mod servers;
mod several_clusters;
mod two_processes;
mod verbs;
mod versions;
