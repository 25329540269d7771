//! What only reads is sent past a connection that its node holds up.

use ahash::AHashSet;

use super::Sender;
use crate::resp;
use crate::shared::held::HeldNodes;
use crate::shared::topology::NodeIndex;
use crate::worker::names::{ClientKey, UpstreamKey};
use crate::worker::pending::{Hook, Origin};
use crate::worker::upstream::Role;
use crate::worker::upstream::parallel::{ALONE, ASIDE};

impl Sender<'_> {
    /// Lets new requests pass connections that are held up, and sends reads that were on them again on another one.
    pub(in crate::worker) fn follow_held(&mut self) {
        let others =
            self.core.gateway.workers.iter().enumerate().filter(|(index, _)| *index != self.core.index);
        self.upstreams.pools.forget_held(others.fold(0, |nodes, (_, worker)| nodes | worker.held.load()));
        let mut nodes = 0;
        let mut held = std::mem::take(&mut self.upstreams.vitals.held);
        held.retain(|key| self.upstreams.connections.get(*key).is_some_and(|upstream| upstream.held));
        for key in &held {
            let Some(upstream) = self.upstreams.connections.get(*key) else { continue };
            let (node, Role::Shared(number)) = (upstream.node, upstream.role()) else { continue };
            self.upstreams.pools.hold(node, number);
            nodes |= HeldNodes::bit(node);
            // What is there is not written before what holds it up is answered, and has to stay alone.
            if number != ASIDE && number != ALONE {
                self.send_reads_aside(*key, node);
            }
        }
        self.upstreams.vitals.held = held;
        self.core.gateway.workers[self.core.index].held.publish(nodes);
    }

    fn send_reads_aside(&mut self, key: UpstreamKey, node: NodeIndex) {
        let clients = &*self.clients;
        let Some(upstream) = self.upstreams.connections.get_mut(key) else { return };
        let selection = upstream.selection();
        let id_of = |client: ClientKey| clients.all.get(client).map(|client| client.id);
        // Clients that have something here which stays.
        let mut staying: AHashSet<u64> = AHashSet::new();
        let reads = upstream.wire.disown(|pending, bytes| {
            let whole = matches!(pending.hook, Hook::None | Hook::SelectDatabase) && pending.delivered > 0;
            let moves = whole && pending.readonly && !may_be_held(&bytes[pending.prefix_len as usize..]);
            match pending.origin {
                Origin::Client { key, .. } if !moves => {
                    staying.extend(id_of(key));
                    false
                }
                Origin::Client { key, .. } => id_of(key).is_some_and(|id| !staying.contains(&id)),
                Origin::CacheFetch(..) => moves,
                _ => false,
            }
        });
        let waiters = std::mem::take(&mut upstream.waiters);
        waiters.let_go_on(&mut self.core.effects);
        if reads.is_empty() {
            return;
        }
        let aside = self.upstreams.shared_connection(self.core, node, selection, ASIDE);
        for (mut pending, bytes) in reads {
            let bytes = bytes.slice(pending.prefix_len as usize..);
            pending.start_over();
            pending.sent_ns = self.core.now_ns;
            self.queue_on(aside, node, pending, &[], bytes);
        }
    }
}

/// `PFCOUNT` may write its result back, so that a pause of writes holds it up.
fn may_be_held(request: &[u8]) -> bool {
    let name = resp::elements(request).and_then(|mut words| words.next()).and_then(resp::bulk_payload);
    name.is_none_or(|name| name.eq_ignore_ascii_case(b"pfcount"))
}
