//! Credentials that change while connections live: whoever can take a command is told the new ones.
//!
//! Redis lets a connection go on that had logged in with a password of before. Services whose passwords are tokens for some hours end it
//! when its token is over, unless it has logged in anew. A refusal changes nothing: the connection is still who it was.
//!
//! Deliberately not told: connections of users that are themselves at Redis, and those on which a server speaks by itself and that take no such
//! command: subscriptions and keyspace events in RESP2, and `MONITOR`. They end with their token, as they would without a gateway.

use super::{Role, Upstream, Upstreams};
use crate::config::{self, Secret};
use crate::resp::{RespVersion, encode};
use crate::route::ClusterId;
use crate::worker::core::Core;
use crate::worker::names::UpstreamKey;
use crate::worker::pending::{Hook, Pending};

impl Upstreams {
    /// Logs in anew on the connections to a cluster, in front of whatever comes next there.
    pub fn log_in_again(&mut self, core: &Core, cluster: ClusterId) {
        let settings = core.upstream_of(cluster);
        let Some(password) = &settings.password else { return };
        let told: Vec<UpstreamKey> = self
            .connections
            .iter()
            .filter(|upstream| upstream.cluster == cluster && upstream.login == 0 && takes_commands(upstream))
            .map(|upstream| upstream.key)
            .collect();
        for connection in told {
            self.log_in_on(core, connection, Hook::LogIn, &log_in_words(settings, password));
        }
    }

    /// Tries the second password where the first is refused. If no other is left, it says so: once for each shared connection, and not for
    /// each client's own.
    pub fn note_log_in(&mut self, core: &Core, connection: UpstreamKey, hook: Hook, reply: &[u8]) {
        let Some(upstream) = self.connections.get(connection) else { return };
        if reply.first() != Some(&b'-') {
            return;
        }
        let settings = core.upstream_of(upstream.cluster);
        if let (Hook::LogIn, Some(next)) = (hook, &settings.password_next) {
            self.log_in_on(core, connection, Hook::LogInNext, &log_in_words(settings, next));
        } else if upstream.role().owner().is_none() {
            tracing::warn!(
                node = core.node_name(upstream.node),
                said = %reply[1..].trim_ascii_end().escape_ascii(),
                cluster = core.upstream_of(upstream.cluster).name,
                "the new user and password are refused: open connections go on as they are, new ones will fail"
            );
        }
    }

    fn log_in_on(&mut self, core: &Core, connection: UpstreamKey, hook: Hook, words: &[&[u8]]) {
        let mut bytes = Vec::new();
        encode::command(&mut bytes, words);
        self.send_question(core, connection, Pending::log_in(hook, core.now_ns), &bytes);
    }
}

/// Whether a connection can be told anything beside what it hears.
fn takes_commands(upstream: &Upstream) -> bool {
    match upstream.role() {
        Role::Monitor(_) => false,
        Role::Subscriber(_) | Role::Events(_) | Role::Invalidations(_) => {
            upstream.version == RespVersion::Resp3
        }
        _ => true,
    }
}

/// `AUTH` with each password that the configuration gives, the second one first: of two that hold the first is the one that stays.
pub(super) fn log_ins(settings: &config::Upstream) -> impl Iterator<Item = Vec<&[u8]>> {
    let first = settings.password.as_ref();
    let next = settings.password_next.as_ref().filter(|_| first.is_some());
    next.into_iter().chain(first).map(|password| log_in_words(settings, password))
}

fn log_in_words<'a>(settings: &'a config::Upstream, password: &'a Secret) -> Vec<&'a [u8]> {
    let mut words: Vec<&[u8]> = vec![b"AUTH"];
    words.extend(settings.user.as_ref().map(|user| user.as_bytes()));
    words.push(password.reveal().as_bytes());
    words
}
