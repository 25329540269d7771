//! What other threads ask of a worker.

use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::client::Client;
use super::client::tracking::redirect_of;
use super::owners::Worker;
use super::turn::turn;
use super::write_behind::follow_journal;
use crate::resp::encode;
use crate::shared::client_rows::{ClientQuery, ClientRow, ClientRowsInbox, ClientSort};
use crate::shared::labels::CloseReason;
use crate::shared::mailbox::{ClientFilter, WorkerMessage};
use crate::worker::names::ClientKey;
use crate::worker::pending::Origin;

/// Serves the mailbox for as long as the worker lives.
pub(super) async fn receive(worker: Rc<RefCell<Worker>>, mut messages: mpsc::Receiver<WorkerMessage>) {
    while let Some(message) = messages.recv().await {
        turn(&worker, |worker| worker.on_message(message));
    }
}

/// Describes clients on demand.
pub(super) async fn describe_clients(worker: Rc<RefCell<Worker>>, mut requests: ClientRowsInbox) {
    while let Some(request) = requests.recv().await {
        let mut worker = worker.borrow_mut();
        worker.core.tick();
        let _ = request.reply.send(worker.find_clients(&request.query));
    }
}

impl Worker {
    fn on_message(&mut self, message: WorkerMessage) {
        match message {
            WorkerMessage::KillClients { filter, reply } => {
                let keys = self.matching_clients(&filter);
                keys.iter().for_each(|key| self.clients.close(*key, CloseReason::Killed));
                // The asker may have given up.
                let _ = reply.send(keys.len() as u64);
            }
            WorkerMessage::UsersChanged(reply) => {
                self.look_at_snapshots();
                let _ = reply.send(());
            }
            WorkerMessage::PublishTallies(reply) => {
                self.publish_tallies();
                let _ = reply.send(());
            }
            WorkerMessage::Unblock { id, error, reply } => self.unblock(id, error, reply),
            WorkerMessage::FindClient { id, reply } => {
                let _ = reply.send(self.clients.by_id(id).map(ClientKey::to_number));
            }
            WorkerMessage::Invalidate(batch) => batch
                .into_iter()
                .for_each(|invalidation| self.clients.on_redirected_invalidation(&self.core, invalidation)),
            WorkerMessage::RedirectBroken { source, target_id } => {
                self.clients.on_redirect_broken(&self.core, source, target_id)
            }
            WorkerMessage::Combine(batch) => self.hot.take_handoffs(&mut self.core, batch),
            WorkerMessage::Reserve(batch) => self.hot.take_sale_requests(&mut self.core, batch),
            WorkerMessage::SaleChanged { sku, hash, place } => {
                self.hot.look_at_changed_sale(&mut self.core, (&sku, hash), place)
            }
            WorkerMessage::Combined(answers) => self.deliver_all_of(&answers),
            WorkerMessage::Behind(requests) => self.hot.serve_behind(&mut self.core, requests),
            WorkerMessage::HomeReplies(replies) => self.on_home_replies(replies),
            WorkerMessage::HasUnflushed(reply) => {
                self.look_at_snapshots();
                self.hot.drain_behind();
                let _ = reply.send(self.hot.has_unflushed());
            }
            WorkerMessage::OpenJournal(journal) => {
                self.hot.open_journal(&mut self.core, *journal);
                if let Some(worker) = self.me.upgrade() {
                    tokio::task::spawn_local(follow_journal(worker));
                }
            }
            WorkerMessage::Publish { channel, payload } => {
                self.clients.publish_locally(&self.core, &channel, &payload)
            }
        }
    }

    fn matching_clients(&self, filter: &ClientFilter) -> Vec<ClientKey> {
        let matches = |client: &&Client| {
            let kind = if client.session.subscriptions.is_some() { "pubsub" } else { "normal" };
            let age_seconds = self.core.now_ns.saturating_sub(client.connected_ns) / 1_000_000_000;
            filter.ids.as_ref().is_none_or(|ids| ids.contains(&client.id))
                && filter.except_id != Some(client.id)
                && filter.address.as_ref().is_none_or(|address| *address == client.peer.to_string())
                && filter.local_address.as_ref().is_none_or(|address| *address == client.local.to_string())
                && filter.user.as_ref().is_none_or(|user| user.as_bytes() == client.session.user)
                && filter.kind.as_ref().is_none_or(|wanted| wanted == kind)
                && filter.age_seconds_min.is_none_or(|least| age_seconds >= least)
        };
        self.clients.all.iter().filter(matches).map(|client| client.key).collect()
    }

    /// The first of the clients that a query finds, and how many it finds. Only those are described.
    fn find_clients(&self, query: &ClientQuery) -> (Vec<ClientRow>, usize) {
        let measure = |client: &Client| match query.sort {
            ClientSort::Id => 0,
            ClientSort::Requests => client.requests,
            ClientSort::Bytes => client.bytes_in.saturating_add(client.bytes_out),
            ClientSort::Errors => client.errors,
            ClientSort::Slow => client.slow_replies,
            ClientSort::Idle => self.core.now_ns.saturating_sub(client.active_ns),
        };
        let found = self.clients.all.iter().filter(|client| self.is_found(client, &query.search));
        let mut found: Vec<(u64, ClientKey)> = found.map(|client| (measure(client), client.key)).collect();
        let count = found.len();
        if query.sort != ClientSort::Id && count > query.rows_max {
            found.select_nth_unstable_by_key(query.rows_max, |(measure, _)| std::cmp::Reverse(*measure));
        }
        found.truncate(query.rows_max);
        let clients = found.iter().filter_map(|(_, key)| self.clients.all.get(*key));
        (clients.map(|client| self.describe(client)).collect(), count)
    }

    /// Whether what a client is known by has this in it, in any case.
    fn is_found(&self, client: &Client, wanted: &[u8]) -> bool {
        if wanted.is_empty() {
            return true;
        }
        let session = &client.session;
        let has = |text: &[u8]| text.to_ascii_lowercase().windows(wanted.len()).any(|part| part == wanted);
        let command = || session.last_seen.map(|id| self.core.snapshots.commands.get(id).name.as_bytes());
        has(&session.name)
            || has(&session.user)
            || has(&session.library_name)
            || client.id.to_string().as_bytes() == wanted
            || has(client.peer.to_string().as_bytes())
            || command().is_some_and(has)
    }

    fn describe(&self, client: &Client) -> ClientRow {
        let session = &client.session;
        let seconds = |since_ns: u64| self.core.now_ns.saturating_sub(since_ns) / 1_000_000_000;
        let subscriptions = session.subscriptions.as_deref();
        let mut flags = String::new();
        let mut flag = |set: bool, letter| flags.extend(set.then_some(letter));
        flag(!session.monitors.is_empty(), 'O');
        flag(subscriptions.is_some(), 'P');
        flag(session.transaction.queuing().is_some(), 'x');
        flag(session.blocking.is_some(), 'b');
        flag(session.tracking.is_some(), 't');
        flag(session.tracking.as_ref().is_some_and(|tracking| tracking.broken), 'R');
        flag(session.tracking.as_ref().is_some_and(|tracking| tracking.options.broadcast), 'B');
        if flags.is_empty() {
            flags.push('N');
        }
        let command = session.last_seen.map(|id| self.core.snapshots.commands.get(id).name.to_string());
        ClientRow {
            id: client.id,
            worker: self.core.index,
            address: client.peer.clone(),
            local_address: client.local.clone(),
            name: session.name.to_vec(),
            library_name: session.library_name.to_vec(),
            library_version: session.library_version.to_vec(),
            user: session.user.to_vec(),
            age_s: seconds(client.connected_ns),
            idle_s: seconds(client.active_ns),
            flags,
            database: session.database,
            resp: if session.version == crate::resp::RespVersion::Resp3 { 3 } else { 2 },
            last_command: command.unwrap_or_default(),
            requests: client.requests,
            errors: client.errors,
            slow_replies: client.slow_replies,
            bytes_in: client.bytes_in,
            bytes_out: client.bytes_out,
            subscriptions: subscriptions.map_or(0, |all| all.channels.len() as u32),
            pattern_subscriptions: subscriptions.map_or(0, |all| all.patterns.len() as u32),
            shard_subscriptions: subscriptions.map_or(0, |all| all.shard_channels.len() as u32),
            redirect: redirect_of(session.tracking.as_deref()),
            queued_commands: session
                .transaction
                .queuing()
                .map_or(-1, |transaction| transaction.queued as i32),
            inflight: client.replies.len() as u32,
            buffered_in_bytes: client.inbox.as_ref().map_or(0, |inbox| inbox.intake.partial.len() as u64),
            buffered_out_bytes: client.output.len() as u64,
        }
    }

    /// Ends a client's blocking command at Redis itself, so that nothing that it took is lost.
    fn unblock(&mut self, id: u64, error: bool, reply: oneshot::Sender<Option<Bytes>>) {
        let blocked =
            self.clients.all.iter().find(|client| client.id == id).and_then(|client| client.session.blocking);
        let upstream = blocked.and_then(|key| self.upstreams.connections.get_mut(key));
        let known = upstream.and_then(|upstream| Some((upstream.server_id?, upstream)));
        let Some((server_id, upstream)) = known else {
            let _ = reply.send(None);
            return;
        };
        // Redis may have answered meanwhile. Then nobody else may use the connection, whose command would be ended instead.
        upstream.to_be_unblocked = true;
        let server_id = server_id.to_string();
        let node = upstream.node;
        let how: &[u8] = if error { b"ERROR" } else { b"TIMEOUT" };
        let mut request = Vec::new();
        encode::command(&mut request, &[b"CLIENT", b"UNBLOCK", server_id.as_bytes(), how]);
        let answer: &'static [u8] =
            match self.upstreams.send_out_of_band(&mut self.core, node, Origin::Swallow, &request) {
                true => b":1\r\n",
                false => b"-ERR hotgate: too much waits for the client's node already; try again\r\n",
            };
        let _ = reply.send(Some(Bytes::from_static(answer)));
    }
}
