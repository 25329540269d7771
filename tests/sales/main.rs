//! Sales of reservations through the gateway, before real servers.
//! Each module holds one promise and names it in its first lines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is not as it must be"
)]

#[path = "../support/mod.rs"]
mod support;

mod books;
mod clocks;
mod faults;
mod interrupted_moves;
mod local_refusals;
mod lost_master;
mod model;
mod moves;
mod other_servers;
mod rights;
mod said_of_commands;
mod sales_everywhere;
mod several_clusters;
mod sweeper;
mod users;
mod verbs;
