//! The commands that hold state of a connection: transactions, watches, blocking commands, subscriptions, tracking, `MONITOR`,
//! and what is asked of several nodes at once.
//!
//! Redis keeps this state for each connection; a client of the gateway shares connections with others. So a command that needs such
//! state gets connections of the client's own for as long as it lasts, and what those say finds its way back to the client here.
//! What a client is known to have chosen, watched or subscribed to is data of the client ([`super::client::session`]).
//!
//! [`Sessions`] borrows what such a command needs: the clients, the connections, and what all rooms read. It knows nothing of hot keys:
//! what has to be settled there before such a command goes is asked by who calls it. What goes out goes by the [`Sender`].

pub mod blocking;
pub mod channel_clusters;
pub mod end;
pub mod exec;
pub mod fan_out;
pub mod keyspace_events;
pub mod local;
pub mod monitor;
pub mod on_upstream;
pub mod scripts;
pub mod subscribe;
pub mod tracking;
pub mod tracking_connections;
pub mod transaction;

use super::client::Clients;
use super::core::Core;
use super::ended::Ended;
use super::flow::Flow;
use super::names::ClientKey;
use super::reply::ReplyBytes;
use super::send::Sender;
use super::upstream::Upstreams;
use crate::shared::labels::{ErrorKind, RequestClass};

/// The parts of a worker that the commands of a session need.
pub struct Sessions<'a> {
    /// What all rooms read and count in.
    pub core: &'a mut Core,
    /// Whose sessions they are.
    pub clients: &'a mut Clients,
    /// What carries them.
    pub upstreams: &'a mut Upstreams,
}

impl Sessions<'_> {
    fn sender(&mut self) -> Sender<'_> {
        Sender { core: self.core, clients: self.clients, upstreams: self.upstreams }
    }

    /// Answers the request at hand with an error of the gateway's own.
    fn refuse(&mut self, key: ClientKey, kind: ErrorKind, text: impl AsRef<[u8]>) -> Flow {
        self.clients.refuse(self.core, key, kind, text);
        Flow::Next
    }

    /// Answers the request at hand, which the gateway does by itself.
    fn reply(&mut self, key: ClientKey, reply: &[u8]) {
        let ended = Ended::answered(RequestClass::Local);
        self.clients.answer(self.core, key, ended, ReplyBytes::Borrowed(reply));
    }

    /// Answers what opens or leaves a transaction: that is counted with its `EXEC`, but for the calls of its command.
    fn reply_in_transaction(&mut self, key: ClientKey, reply: &[u8]) {
        if let Some(client) = self.clients.all.get(key) {
            self.core.count_call(client.replies.at_hand());
        }
        self.clients.add_reply(key, ReplyBytes::Borrowed(reply));
    }
}
