//! What a connection has selected, a client's or one to Redis: whoever shares one has selected the same.

use crate::resp::RespVersion;

/// Who a connection to Redis has logged in as: 0 is the gateway's own user, any other the user whose log-in has this number.
pub type LoginNumber = u32;

/// The version of the protocol, by `HELLO`, and the database, by `SELECT`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Selection {
    /// How replies are encoded.
    pub version: RespVersion,
    /// The database, 0 in a cluster.
    pub database: u32,
    /// As whom.
    pub login: LoginNumber,
}

impl Selection {
    /// This version, the database that there is at first, and the gateway's own user.
    pub fn of_version(version: RespVersion) -> Self {
        Self { version, database: 0, login: 0 }
    }
}
