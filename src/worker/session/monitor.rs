//! `MONITOR`: the commands of all masters, each seen on a connection of its own.

use super::Sessions;
use crate::resp::Request;
use crate::shared::labels::{ErrorKind, RequestClass};
use crate::worker::client::Gate;
use crate::worker::client::merge::{Merge, Plan};
use crate::worker::selection::Selection;
use crate::worker::upstream::Role;

use crate::worker::errors::UpstreamError;
use crate::worker::flow::Flow;
use crate::worker::names::ClientKey;
use crate::worker::pending::{Origin, Pending};

impl Sessions<'_> {
    /// `MONITOR`.
    pub fn monitor(&mut self, key: ClientKey, request: &Request<'_>) -> Flow {
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        if !client.replies.is_empty() {
            return client.wait(Gate::Drain);
        }
        let version = client.session.version;
        let masters = self.core.snapshots.all_masters();
        let connections: Vec<_> = masters
            .iter()
            .filter_map(|node| {
                self.upstreams.own_connection(
                    self.core,
                    *node,
                    Role::Monitor(key),
                    Selection::of_version(version),
                    None,
                )
            })
            .collect();
        let Some(client) = self.clients.all.get_mut(key) else { return Flow::Next };
        client.session.monitors.extend(&connections);
        client.session.refresh_plain();
        if connections.is_empty() || connections.len() < masters.len() {
            let error = UpstreamError::Full("the table of session connections").to_string();
            return self.refuse(key, ErrorKind::Overload, &error);
        }
        client.exclusive = true;
        let suppressed = client.take_suppressed();
        let sequence = client.replies.push_merge(Merge::new(Plan::Same, connections.len()), suppressed);
        for (part, connection) in connections.into_iter().enumerate() {
            let origin = Origin::Client { key, sequence, part: part as u32 };
            let pending = Pending::on_connection(origin, RequestClass::Local, self.core.now_ns);
            if let Some(room) = self.upstreams.room(self.core, connection) {
                self.upstreams.send(room, pending, &[request.bytes()]);
            }
        }
        Flow::Next
    }
}
