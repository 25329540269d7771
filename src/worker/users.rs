//! Users of clients: what a change of the users means for those who are connected, and what is told of whom was denied.

use std::sync::Arc;

use super::client::Client;
use super::denials::denial;
use super::flow::Flow;
use super::names::ClientKey;
use super::owners::Worker;
use super::resolve::Resolved;
use crate::access::{Denied, User, Users};
use crate::config::Config;
use crate::shared::labels::{CloseReason, ErrorKind};

impl Worker {
    /// Takes over who may do what. It holds from the next command of each client on. Who is gone is disconnected, and so is who is
    /// subscribed to what its user may not name any more, as by Redis.
    pub(super) fn take_users(&mut self, users: Arc<Users>) {
        let keys: Vec<ClientKey> = self.clients.all.iter().map(|client| client.key).collect();
        for key in keys {
            if let Some(client) = self.clients.all.get_mut(key)
                && !goes_on(client, &users)
            {
                self.clients.close(key, CloseReason::Killed);
            }
        }
        self.core.snapshots.users = users;
    }

    /// The routes are others: whose each client's keys are looked for by is told anew.
    pub(super) fn follow_routes(&mut self, former: &Config) {
        let routes = &self.core.snapshots.routes;
        for client in self.clients.all.iter_mut() {
            client.session.routed_as = routes.routed_as(&client.session.user);
            if let Some(all) = &mut client.session.subscriptions {
                all.routed_as = routes.routed_as(&all.user);
            }
        }
        self.sessions().follow_moved_channels(former);
    }

    /// Answers a request that its user may not send.
    pub(super) fn deny(
        &mut self,
        key: ClientKey,
        resolved: &Resolved<'_>,
        denied: Denied,
        text: &[u8],
    ) -> Flow {
        if let Some(client) = self.clients.all.get(key) {
            let named = match denied {
                Denied::Command | Denied::Code => {
                    self.core.snapshots.commands.get(resolved.command).name.as_bytes()
                }
                _ => resolved.request.arg(denied.argument()).unwrap_or_default(),
            };
            let user = &client.session.user;
            self.core.gateway.users.send(denial(client, denied.reason(), named.to_vec(), user));
        }
        self.refuse(key, ErrorKind::ClientAuth, text)
    }
}

/// Gives a client its user anew. Says whether it may stay.
fn goes_on(client: &mut Client, users: &Users) -> bool {
    let session = &mut client.session;
    if !session.authenticated {
        if let Some(user) = users.anybody() {
            session.become_user(user);
        }
        return true;
    }
    let Some(user) = users.get(&session.user) else { return false };
    let former = session.restricted.clone();
    let login = session.login.take();
    session.become_user(user);
    session.login = login.filter(|_| session.restricted.is_some());
    session.refresh_plain();
    if let (Some(transaction), true) = (session.transaction.queuing_mut(), former != session.restricted) {
        // What is queued was looked at by the former rules.
        transaction.poisoned = true;
    }
    let Some(subscriptions) = session.subscriptions.as_deref() else { return true };
    let may = |user: &User| {
        let plain = subscriptions.channels.iter().chain(&subscriptions.shard_channels);
        plain.into_iter().all(|channel| user.may_subscribe(channel, false))
            && subscriptions.patterns.iter().all(|pattern| user.may_subscribe(pattern, true))
    };
    session.restricted.as_deref().is_none_or(may)
}
