//! Redis servers that belong to this process, and gateways before them: started in a temporary directory on free ports of 127.0.0.1,
//! and gone with it.
//!
//! Used by `hotgate demo`, by the tests and by the benches, so that all of them run against the real thing. Nothing of
//! the machine's own Redis is read or touched: no configuration file, no default port, no persistence.
//!
//! Taking down: dropping a server kills it and removes its directory. When the process itself dies without dropping
//! anything (`kill -9`), a watchdog does it: see [`directory`].

mod cluster;
mod directory;
mod gateway;
mod ledger;
mod server;

pub use cluster::PrivateCluster;
pub use gateway::{Ports, PrivateGateway};
pub use ledger::PrivateLedger;
pub use server::{PrivateServer, find_server_program};

use std::fmt;
use std::io;

/// Why there is no private Redis.
#[derive(Debug)]
pub enum PrivateRedisError {
    /// Neither `redis-server` nor `valkey-server` is on PATH.
    NoServerProgram,
    /// The temporary directory, a file in it, or a process could not be made.
    Io(io::Error),
    /// The server ended instead of starting; the last lines it wrote.
    Exited(String),
    /// The server did not become ready in time; the last lines it wrote.
    NotReady(String),
    /// The servers run but did not form a cluster: what was being done, and the last answer.
    NoCluster(String),
}

impl fmt::Display for PrivateRedisError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServerProgram => f.write_str(
                "no redis-server or valkey-server on PATH, or none where HOTGATE_TEST_SERVER says: install one, for example with \
                 `sudo apt-get install -y redis-server`, `sudo dnf install valkey` or `brew install redis`",
            ),
            Self::Io(error) => write!(f, "cannot start a private server: {error}"),
            Self::Exited(log) => write!(f, "a private server ended at its start; it wrote: {log}"),
            Self::NotReady(log) => write!(f, "a private server did not become ready; it wrote: {log}"),
            Self::NoCluster(what) => write!(f, "the private cluster did not form: {what}"),
        }
    }
}

impl std::error::Error for PrivateRedisError {}

impl From<io::Error> for PrivateRedisError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
