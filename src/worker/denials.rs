//! What is told of a client that was denied something, for `ACL LOG`.

use super::client::Client;
use crate::access::DenialReason;
use crate::shared::users::Denial;

/// The denial of `object` to `user`, which a client of another user may have wanted to become.
pub fn denial(client: &Client, reason: DenialReason, object: Vec<u8>, user: &[u8]) -> Denial {
    let session = &client.session;
    Denial {
        reason,
        context: if session.transaction.queuing().is_some() { "multi" } else { "toplevel" },
        object,
        user: user.to_vec(),
        client: format!(
            "id={} addr={} laddr={} name={} user={}",
            client.id,
            client.peer,
            client.local,
            String::from_utf8_lossy(&session.name),
            String::from_utf8_lossy(&session.user)
        ),
    }
}
