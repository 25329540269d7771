//! What the tests stand on: the real `hotgate` program, real redis servers on free ports, and
//! a raw client that shows the bytes of a reply as they came.
//!
//! Owns the processes it starts: each is killed when its value is dropped, and also when the test process ends in any
//! other way, through a watching `sh` (see [`reaper`]), so that servers kept in a `static` do not outlive
//! it. Deliberately holds no assertion about hotgate: those are the test files'.
#![allow(
    dead_code,
    unused_imports,
    reason = "every test binary compiles this module and uses the part that it needs"
)]

pub mod certificates;
pub mod client;
pub mod copies;
pub mod disk;
pub mod figures;
pub mod folding;
pub mod gateway;
pub mod generator;
pub mod increments;
pub mod large_fake;
pub mod load;
pub mod migration;
pub mod reaper;
pub mod redis;
pub mod relay;
pub mod secured;
pub mod seeds;
pub mod sentinels;
pub mod shared;
pub mod text;
pub mod tunnel;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use client::{BOTH_VERSIONS, Client, Version};
pub use gateway::Gateway;
pub use redis::{Cluster, Server};

/// How long a test waits for something that must happen. It is a guard against waiting for ever, far above what a
/// loaded machine needs, and never a claim about speed.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A port that nobody listens on at this moment.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// Asks `condition` again and again until it answers, and gives back its answer.
///
/// # Panics
/// With `what` when [`PATIENCE`] is over.
pub fn wait_for<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = condition() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Like [`wait_for`] for a condition that has nothing to give.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    wait_for(what, || condition().then_some(()));
}

/// The seed of a generated test: `HOTGATE_SEED` from the environment, or a new one. It is printed, so that a failure can be run
/// again.
pub fn seed() -> u64 {
    let seed = match std::env::var("HOTGATE_SEED") {
        Ok(text) => text.parse().expect("HOTGATE_SEED must be a number"),
        Err(_) => rand::random(),
    };
    println!("HOTGATE_SEED={seed}");
    seed
}

/// A lock of tests that would disturb each other: a test that failed with it in its hand leaves it to the next.
pub struct Turn(Mutex<()>);

impl Turn {
    pub const fn new() -> Turn {
        Turn(Mutex::new(()))
    }

    pub fn take(&self) -> MutexGuard<'_, ()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
