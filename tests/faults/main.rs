//! What clients see while something breaks: servers, connections, the topology, the process itself, its clients.
//! Each module holds one promise and names it in its first lines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is not as it must be"
)]

#[path = "../support/mod.rs"]
mod support;

mod breaking_reads;
mod broken_servers;
mod descriptors;
mod drain;
mod held_commands;
mod hot_slots;
mod hung_master;
mod large_topologies;
mod lost_connections;
mod memory_at_rest;
mod names;
mod panics;
mod script_slots;
mod sentinel;
mod slow_reader;
mod soak;
mod strangers;
mod time_limits;
mod topology_changes;
mod upgrades;
mod upstream_bounds;
mod upstream_faults;
