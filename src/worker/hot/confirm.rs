//! Grants that are answered only when enough replicas hold them (`wait_replicas`).
//!
//! `WAIT` blocks the connection that it is sent on, so it goes on one of its own, and is sent once Redis has answered the
//! flush. What it waits for is the master's replication offset after the last command of its connection (Redis
//! documentation, "WAIT"; `client.woff` in its source), which is why a `PING` goes before it: the offset after that `PING`
//! is beyond the flush. One `WAIT` thus confirms the grants of all keys whose flushes were answered before it was sent; those
//! that are answered meanwhile share the next. So keys do not wait behind each other, and a replica that does not answer
//! holds up nobody but grants.
//!
//! Until its grants are confirmed nothing further of the key is sent: so a later reader does not see what may yet be lost.
//! Refusals, reads and errors of the same flush are answered at once. If the connection is lost, or the node is a master no
//! more, or too few replicas have acknowledged in time, the grant stands in Redis and is not confirmed: its client is told
//! just that.

use crate::admission::ReplicaWait;
use crate::combine::Settled as CombineSettled;
use crate::resp::parse_integer_reply;
use crate::shared::labels::{Outcome, RequestClass};
use crate::shared::topology::NodeIndex;
use crate::worker::client::flush_touched;
use crate::worker::owners::Worker;
use crate::worker::pending::{Origin, Pending};
use crate::worker::reply::ReplyBytes;
use crate::worker::upstream::Phase;

/// The keys whose grants wait for the replicas of one node on the same terms. There are at most as many as nodes times
/// different terms in the configuration.
pub(super) struct Confirmation {
    node: NodeIndex,
    wait: ReplicaWait,
    /// Those that the `WAIT` under way is for, by hash.
    asked: Vec<u64>,
    /// Those that came later.
    next: Vec<u64>,
}

impl Worker {
    /// Has the grants of a key answered when enough replicas of `node` hold them. Its flush has been answered by that node.
    pub(super) fn confirm(&mut self, hash: u64, node: NodeIndex, wait: ReplicaWait) {
        let same = |known: &Confirmation| (known.node, known.wait) == (node, wait);
        let index = self.hot.confirmations.iter().position(same).unwrap_or_else(|| {
            self.hot.confirmations.push(Confirmation { node, wait, asked: Vec::new(), next: Vec::new() });
            self.hot.confirmations.len() - 1
        });
        self.hot.confirmations[index].next.push(hash);
        self.ask_replicas(index);
    }

    /// Sends a `WAIT` for the keys that have gathered, unless one is under way.
    fn ask_replicas(&mut self, index: usize) {
        let Some(group) = self.hot.confirmations.get_mut(index) else { return };
        if !group.asked.is_empty() || group.next.is_empty() {
            return;
        }
        group.asked = std::mem::take(&mut group.next);
        let (node, wait) = (group.node, group.wait);
        let connection = self.upstreams.confirming_connection(&mut self.core, node, wait);
        let now_ns = self.core.now_ns;
        let phase = self.upstreams.connections.get(connection).map(|upstream| upstream.phase());
        match self.upstreams.room(&self.core, connection) {
            Some(room) if !matches!(phase, Some(Phase::Waiting(_))) => {
                let pending = Pending {
                    leading: 1,
                    ..Pending::on_connection(Origin::Confirmation(index as u32), RequestClass::Local, now_ns)
                };
                let (replicas, timeout_ms) = (wait.replicas.to_string(), wait.timeout_ms.to_string());
                let words = format!(
                    "*1\r\n$4\r\nPING\r\n*3\r\n$4\r\nWAIT\r\n${}\r\n{replicas}\r\n${}\r\n{timeout_ms}\r\n",
                    replicas.len(),
                    timeout_ms.len()
                );
                self.upstreams.send(room, pending, &[words.as_bytes()]);
            }
            _ => self.settle_confirmation(index as u32, None),
        }
    }

    /// What `WAIT` said; nothing if its connection was lost.
    pub fn settle_confirmation(&mut self, index: u32, reply: Option<&[u8]>) {
        let index = index as usize;
        let Some(group) = self.hot.confirmations.get_mut(index) else { return };
        let (asked, wait) = (std::mem::take(&mut group.asked), group.wait);
        let acknowledged = reply.and_then(parse_integer_reply).and_then(|count| usize::try_from(count).ok());
        let confirmed = acknowledged.is_some_and(|count| count >= wait.replicas);
        for hash in asked {
            self.answer_grants(hash, wait, confirmed);
        }
        self.ask_replicas(index);
        flush_touched(self);
    }

    fn answer_grants(&mut self, hash: u64, wait: ReplicaWait, confirmed: bool) {
        let Some(mut home) = self.hot.entries.get_mut(&hash).and_then(|entry| entry.queue.take()) else {
            return;
        };
        let mut reply = Vec::new();
        for (waiter, value) in std::mem::take(&mut home.unconfirmed) {
            reply.clear();
            if confirmed {
                crate::resp::encode::integer(&mut reply, value);
                self.settle_one(hash, home.held.as_deref_mut(), waiter, CombineSettled::Reply(&reply));
                continue;
            }
            wait.write_unconfirmed(home.queue.key(), &mut reply);
            if let Some(held) = &mut home.held {
                held.admission.count_unconfirmed();
                held.count_later(hash, &mut self.hot.board);
            }
            self.settle_member(hash, waiter, ReplyBytes::Borrowed(&reply), Outcome::Failed);
        }
        if !home.queue.is_empty() {
            self.look_again(hash, &mut home);
        }
        if let Some(entry) = self.hot.entries.get_mut(&hash) {
            entry.queue = Some(home);
        }
    }
}
