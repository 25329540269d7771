//! What replies, and the ends of connections, change in the session of a client.
//!
//! The composition calls these when it has found whom a reply or a lost connection belongs to; the reply itself it delivers.

use super::Sessions;
use crate::resp::encode;
use crate::shared::labels::{CloseReason, RequestClass};
use crate::worker::client::Phase;
use crate::worker::effects::Effect;
use crate::worker::ended::Ended;
use crate::worker::names::{ClientKey, UpstreamKey};
use crate::worker::pending::{Hook, Origin, Pending};
use crate::worker::reply::ReplyBytes;
use crate::worker::upstream::Role;

impl Sessions<'_> {
    /// A reply has come over `connection` to a request that changes more than answering its client.
    pub fn on_reply(&mut self, connection: UpstreamKey, pending: &Pending, reply: &[u8]) {
        let Origin::Client { key, .. } = pending.origin else { return };
        let is_error = reply.first() == Some(&b'-');
        match pending.hook {
            Hook::None | Hook::OutOfBand | Hook::LogIn | Hook::LogInNext => {}
            // Their connection is taken back when it is known what the transaction has changed there.
            Hook::Transaction | Hook::OwnTransaction | Hook::WatchedTransaction => {}
            Hook::SelectDatabase => self.on_selected(key, is_error),
            Hook::SwapDatabases if is_error => {}
            Hook::SwapDatabases => self.core.effects.push(Effect::DatabasesSwapped),
            Hook::ReleaseConnection => {
                if let Some(client) = self.clients.all.get_mut(key) {
                    client.session.blocking = None;
                    // A master that becomes a replica says so to those who wait, and closes.
                    if reply.starts_with(b"-UNBLOCKED force") {
                        client.phase = Phase::Finishing(CloseReason::UpstreamLost);
                    }
                }
                self.upstreams.release_connection(self.core, connection);
            }
            Hook::Subscription => {
                self.note_subscription(key, reply);
                if let (false, Some(client)) = (is_error, self.clients.all.get_mut(key)) {
                    client.replies.unsuppress_head();
                }
                self.send_deferred(key);
                self.end_unused_listeners(key);
                self.end_empty_subscriptions(key);
            }
            Hook::Script => {
                if let Some(node) = self.upstreams.connections.get(connection).map(|upstream| upstream.node) {
                    self.note_script(node, pending);
                }
            }
        }
    }

    /// Redis has answered a `SELECT`.
    fn on_selected(&mut self, key: ClientKey, is_error: bool) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        let Some(database) = client.session.selecting.take() else { return };
        if !is_error {
            client.session.database = database;
            self.adapt_own_connections(key);
        }
    }

    /// A connection of this client alone has ended. State of its session that was there is lost; the client learns of it in the
    /// way that it can act upon.
    pub fn on_connection_lost(&mut self, owner: ClientKey, connection: UpstreamKey, role: Role) {
        if let Some(client) = self.clients.all.get_mut(owner)
            && client.session.blocking == Some(connection)
        {
            client.session.blocking = None;
        }
        match role {
            Role::Session(_) => {
                if let Some(client) = self.clients.all.get_mut(owner) {
                    client.session.watch.on_lost(connection);
                }
            }
            // Messages may have been missed. The end is what a subscriber of Redis itself would see, and subscribes again.
            Role::Subscriber(_) | Role::Monitor(_) => {
                self.clients.hang_up(self.core, owner, CloseReason::UpstreamLost);
            }
            Role::Events(_) => self.events_lost(owner, connection),
            Role::Tracking(_) | Role::Invalidations(_) => self.tracking_lost(owner, connection),
            Role::Shared(_)
            | Role::User
            | Role::Confirming(_)
            | Role::Copies
            | Role::Spare
            | Role::OutOfBand => {}
        }
    }

    /// Answers an `EXEC` whose watched keys may have changed: with null, as after a change.
    pub fn abort_watched(&mut self, key: ClientKey, connection: UpstreamKey, pending: &Pending) {
        let Some(client) = self.clients.all.get_mut(key) else { return };
        client.session.give_up_exec(true);
        let mut reply = Vec::new();
        encode::null_array(&mut reply, client.session.version);
        self.upstreams.unwatch(self.core, connection);
        if let (Some(slot), Hook::WatchedTransaction) = (pending.origin.slot(), pending.hook) {
            let ended = Ended::answered(RequestClass::Transaction);
            self.clients.settle(self.core, slot, ended, ReplyBytes::Borrowed(&reply));
        }
    }
}
