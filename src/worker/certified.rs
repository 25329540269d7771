//! Clients whose certificate says who they are (`tls.user_from`), so that they need not log in.
//!
//! The handshake has proved that the certificate is theirs and that a trusted authority signed it. Here its name becomes a user; what
//! that user may do is asked of each request as ever.

use std::sync::Arc;

use super::core::Core;
use crate::access::User;
use crate::config::UserFrom;
use crate::net::Stream;

/// Who a client is by its certificate.
pub enum Certified {
    /// Nobody: it is who it would be without one.
    Unnamed,
    /// This user.
    User(Arc<User>),
    /// The user of this name, who does not exist or is off.
    Unknown(String),
}

/// Who is at the other end of a stream.
pub fn certified(core: &Core, stream: &Stream) -> Certified {
    if core.config.tls.user_from != UserFrom::CommonName {
        return Certified::Unnamed;
    }
    let Some(name) = stream.peer_common_name() else { return Certified::Unnamed };
    match core.snapshots.users.get(name.as_bytes()).filter(|user| user.is_enabled()) {
        Some(user) => Certified::User(Arc::clone(user)),
        None => Certified::Unknown(name),
    }
}
