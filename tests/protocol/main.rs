//! What clients send and what they get: requests, replies, sessions, the answers about servers and about the gateway itself.
//! Each module holds one promise and names it in its first lines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is not as it must be"
)]

#[path = "../support/mod.rs"]
mod support;

mod access;
mod administration;
mod auth;
mod big_keys;
mod clients_bound;
mod cluster_pose;
mod command_figures;
mod command_log;
mod commands_cluster;
mod commands_single;
mod equal_rights;
mod equal_sessions;
mod equal_to_redis;
mod gateway_verbs;
mod identity;
mod large_pipelines;
mod large_values;
mod malformed_input;
mod messages_of_a_cluster;
mod modules;
mod nearest;
mod nesting;
mod other_servers;
mod own_keys;
mod own_word;
mod pipeline_order;
mod proxied;
mod restricted;
mod routes;
mod routes_by_user;
mod routes_channels;
mod routes_example;
mod routes_isolated;
mod routes_model;
mod routes_shown;
mod says_of_itself;
mod sessions;
mod subscriptions;
mod tenants;
mod tls;
mod told_of_the_servers;
mod tracking;
mod transactions;
mod unblock;
mod unix_sockets;
mod whole_keyspace;
