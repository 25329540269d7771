//! What a connection has selected, a client's or one to Redis: whoever shares one has selected the same.

use crate::resp::RespVersion;

/// The version of the protocol, by `HELLO`, and the database, by `SELECT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// How replies are encoded.
    pub version: RespVersion,
    /// The database, 0 in a cluster.
    pub database: u32,
}

impl Selection {
    /// This version, and the database that there is at first.
    pub fn of_version(version: RespVersion) -> Self {
        Self { version, database: 0 }
    }
}
