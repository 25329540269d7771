//! What operators see and do: configuration, log, HTTP, dashboard, metrics, headlines, the verbs over RESP.
//! Each module holds one promise and names it in its first lines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is not as it must be"
)]

#[path = "../made_up/mod.rs"]
mod made_up;
#[path = "../support/mod.rs"]
mod support;
#[path = "../webdriver/mod.rs"]
mod webdriver;

mod admin_tls;
mod admin_under_attack;
mod audit;
mod book;
mod certificates;
mod check_command;
mod clients;
mod command_line;
mod config_manual;
mod config_shown;
mod dashboard;
mod demo;
mod ends;
mod events;
mod headlines;
mod headlines_clusters;
mod headlines_gateway;
mod headlines_keys;
mod headlines_pairs;
mod headlines_process;
mod headlines_sentinel;
mod headlines_unasked;
mod headlines_upstream;
mod history;
mod http_api;
mod log;
mod metrics;
mod operator_commands;
mod packaging;
mod page_commands;
mod page_evidence;
mod page_key;
mod page_ledger;
mod page_sales;
mod page_states;
mod pages;
mod private;
mod prometheus_rules;
mod readme;
mod reload;
mod secrets;
mod service;
mod setup_script;
mod sight;
mod times;
mod top;
