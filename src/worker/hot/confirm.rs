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

use super::HotKeys;
use crate::admission::ReplicaWait;
use crate::combine::Settled as CombineSettled;
use crate::resp::parse_integer_reply;
use crate::shared::handoff::Waiter;
use crate::shared::labels::Outcome;
use crate::shared::topology::NodeIndex;
use crate::worker::core::Core;
use crate::worker::effects::Effect;
use crate::worker::reply::ReplyBytes;

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

impl HotKeys {
    /// Has the grants of a key answered when enough replicas of `node` hold them. Its flush has been answered by that node.
    pub(super) fn confirm(&mut self, core: &mut Core, hash: u64, node: NodeIndex, wait: ReplicaWait) {
        let same = |known: &Confirmation| (known.node, known.wait) == (node, wait);
        let index = self.confirmations.iter().position(same).unwrap_or_else(|| {
            self.confirmations.push(Confirmation { node, wait, asked: Vec::new(), next: Vec::new() });
            self.confirmations.len() - 1
        });
        self.confirmations[index].next.push(hash);
        core.effects.push(Effect::AskReplicas(index));
    }

    /// What a `WAIT` is to be sent for: the keys that have gathered, unless one is under way for others. They count as asked for.
    pub fn take_unconfirmed(&mut self, index: usize) -> Option<(NodeIndex, ReplicaWait)> {
        let group = self.confirmations.get_mut(index)?;
        if !group.asked.is_empty() || group.next.is_empty() {
            return None;
        }
        group.asked = std::mem::take(&mut group.next);
        Some((group.node, group.wait))
    }

    /// What `WAIT` said; nothing if its connection was lost.
    pub fn settle_confirmation(&mut self, core: &mut Core, index: u32, reply: Option<&[u8]>) {
        let index = index as usize;
        let Some(group) = self.confirmations.get_mut(index) else { return };
        let (asked, wait) = (std::mem::take(&mut group.asked), group.wait);
        let acknowledged = reply.and_then(parse_integer_reply).and_then(|count| usize::try_from(count).ok());
        let confirmed = acknowledged.is_some_and(|count| count >= wait.replicas);
        for hash in asked {
            self.answer_grants(core, hash, wait, confirmed);
        }
        core.effects.push(Effect::AskReplicas(index));
    }

    fn answer_grants(&mut self, core: &mut Core, hash: u64, wait: ReplicaWait, confirmed: bool) {
        self.with_home(hash, |hot, home| {
            let mut reply = Vec::new();
            let confirmed_in_ns = core.now_ns.saturating_sub(home.answered_ns);
            for (waiter, value) in std::mem::take(&mut home.unconfirmed) {
                let upstream_ns = waiter.upstream_ns + confirmed_in_ns;
                let waiter = Waiter { upstream_ns, ..waiter };
                reply.clear();
                if confirmed {
                    crate::resp::encode::integer(&mut reply, value);
                    let settled = CombineSettled::Reply(&reply);
                    hot.settle_one(core, hash, home.held.as_deref_mut(), waiter, settled);
                    continue;
                }
                wait.write_unconfirmed(home.queue.key(), &mut reply);
                if let Some(held) = &mut home.held {
                    held.admission.count_unconfirmed();
                    held.count_later(hash, &mut hot.board);
                }
                hot.settle_member(core, hash, waiter, ReplyBytes::Borrowed(&reply), Outcome::Failed);
            }
            if !home.queue.is_empty() {
                hot.look_again(hash, home);
            }
        });
    }
}
