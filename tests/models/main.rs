//! State machines and detectors against models and simulations, with seeds: no gateway, at most a bare Redis.
//! Each module holds one promise and names it in its first lines.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test stops at the first thing that is not as it must be"
)]

#[path = "../detection_streams/mod.rs"]
mod detection_streams;
#[path = "../support/mod.rs"]
mod support;

mod admission_model;
mod combine_model;
mod detection_accuracy;
mod pace_simulation;
mod reserve_model;
