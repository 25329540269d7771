//! Credentials that change while connections live: whoever can take a command is told the new ones.
//!
//! Redis lets a connection go on that had logged in with a password of before. Services whose passwords are tokens for some hours end it
//! when its token is over, unless it has logged in anew. A refusal changes nothing: the connection is still who it was.
//!
//! Deliberately not told: connections of users that are themselves at Redis, and those on which a server speaks by itself (subscriptions, keyspace events, `MONITOR`). In RESP2 they take
//! no such command. They end with their token, as they would without a gateway.

use super::{Role, Upstreams};
use crate::config::Upstream;
use crate::resp::encode;
use crate::route::ClusterId;
use crate::worker::core::Core;
use crate::worker::names::UpstreamKey;
use crate::worker::pending::Pending;

impl Upstreams {
    /// Logs in anew on the connections to a cluster, in front of whatever comes next there.
    pub fn log_in_again(&mut self, core: &Core, cluster: ClusterId) {
        let settings = core.upstream_of(cluster);
        let Some(words) = log_in_words(settings) else { return };
        let mut bytes = Vec::new();
        encode::command(&mut bytes, &words);
        let listens = |role| {
            matches!(role, Role::Subscriber(_) | Role::Events(_) | Role::Monitor(_) | Role::Invalidations(_))
        };
        let told: Vec<UpstreamKey> = self
            .connections
            .iter()
            .filter(|upstream| {
                upstream.cluster == cluster && upstream.login == 0 && !listens(upstream.role())
            })
            .map(|upstream| upstream.key)
            .collect();
        for connection in told {
            self.send_question(core, connection, Pending::log_in(core.now_ns), &bytes);
        }
    }

    /// Says that a new log-in was refused: once for each shared connection, and not for each client's own.
    pub fn note_log_in(&self, core: &Core, connection: UpstreamKey, reply: &[u8]) {
        let Some(upstream) = self.connections.get(connection) else { return };
        if reply.first() == Some(&b'-') && upstream.role().owner().is_none() {
            tracing::warn!(
                node = core.node_name(upstream.node),
                said = %reply[1..].trim_ascii_end().escape_ascii(),
                "the new upstream.user and upstream.password are refused: open connections go on as they are, new ones will fail"
            );
        }
    }
}

/// `AUTH` with what the configuration says, if it says anything.
pub(super) fn log_in_words(settings: &Upstream) -> Option<Vec<&[u8]>> {
    let password = settings.password.as_ref()?;
    let mut words: Vec<&[u8]> = vec![b"AUTH"];
    words.extend(settings.user.as_ref().map(|user| user.as_bytes()));
    words.push(password.reveal().as_bytes());
    Some(words)
}
