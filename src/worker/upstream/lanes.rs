//! Lanes: the parallel connections to a node among which clients choose, and what is sent again beside a lane that is held up.
//!
//! A client changes lanes only while it has nothing unsettled, which keeps its commands in order.
//!
//! - Two ordinary lanes exist so that a large value delays nobody else: as soon as a long reply is seen on one, clients with
//!   nothing unsettled go on with the other; and a large request takes the one that is not preferred.
//! - Scripts go on a lane of their own. What is behind a script that does not end runs when it ends, so it can't be answered
//!   before; everything that is not behind it gets Redis's own `BUSY`.
//! - While a node holds a lane up (it pauses writes, or a script keeps it busy), reads go on a lane of their own. Reads that
//!   were on the held lane already go again there, but for those behind a write of their own client.
//! - Reads that may break their connection go on a lane where one request is written at a time, so that they break nothing else.

use ahash::AHashSet;

use super::Role;
use crate::resp;
use crate::shared::held::HeldNodes;
use crate::shared::topology::NodeIndex;
use crate::worker::client::flush_touched;
use crate::worker::names::{ClientKey, UpstreamKey};
use crate::worker::owners::Worker;
use crate::worker::pending::{Hook, Origin};

/// One of the parallel connections to a node.
pub type Lane = u8;

/// Lanes that are alike; the one that is preferred changes.
pub const ORDINARY: std::ops::Range<Lane> = 0..2;

/// The lane of scripts.
pub const SCRIPTS: Lane = 2;

/// The lane of scripts while one that does not end is on theirs.
pub const MORE_SCRIPTS: Lane = 4;

/// The lane of reads while others are held up.
pub const ASIDE: Lane = 3;

/// The lane of reads that may break their connection ([`super::suspects`]): one request is written at a time.
pub const ALONE: Lane = 5;

/// How many lanes there are.
pub const COUNT: usize = 6;

/// What a request is to its lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cargo {
    /// It only reads, and a pause of writes does not hold it up.
    Read,
    /// It only reads, and may break its connection.
    Suspect,
    /// It runs a script, which may keep the node busy.
    Script,
    /// Anything else.
    Other,
}

impl Cargo {
    /// That of a request which only reads, or does not.
    pub fn reading(readonly: bool) -> Self {
        if readonly { Self::Read } else { Self::Other }
    }

    /// Whether a client with something unsettled on `lane` can send it there as well.
    pub fn fits(self, lane: Lane) -> bool {
        match self {
            Self::Read => true,
            Self::Suspect => lane == ALONE,
            Self::Script => matches!(lane, SCRIPTS | MORE_SCRIPTS),
            // A write that is held up would hold up the reads.
            Self::Other => lane != ASIDE,
        }
    }
}

/// `PFCOUNT` may write its result back, so that a pause of writes holds it up.
fn may_be_held(request: &[u8]) -> bool {
    let name = resp::elements(request).and_then(|mut words| words.next()).and_then(resp::bulk_payload);
    name.is_none_or(|name| name.eq_ignore_ascii_case(b"pfcount"))
}

impl Worker {
    /// Lets new requests by lanes that are held up, and sends reads that were on them again beside them.
    pub(super) fn follow_held(&mut self) {
        let others =
            self.core.gateway.workers.iter().enumerate().filter(|(index, _)| *index != self.core.index);
        self.upstreams.pools.forget_held(others.fold(0, |nodes, (_, worker)| nodes | worker.held.load()));
        let mut nodes = 0;
        let mut held = std::mem::take(&mut self.upstreams.vitals.held);
        held.retain(|key| self.upstreams.connections.get(*key).is_some_and(|upstream| upstream.held));
        for key in &held {
            let Some(upstream) = self.upstreams.connections.get(*key) else { continue };
            let (node, Role::Shared(lane)) = (upstream.node, upstream.role) else { continue };
            self.upstreams.pools.hold(node, lane);
            nodes |= HeldNodes::bit(node);
            // What is there is not written before what holds it up is answered, and has to stay alone.
            if lane != ASIDE && lane != ALONE {
                self.send_reads_aside(*key, node);
            }
        }
        self.upstreams.vitals.held = held;
        self.core.gateway.workers[self.core.index].held.publish(nodes);
    }

    /// Whether the node that has `key` holds back commands.
    pub(in crate::worker) fn is_held_up(&self, key: &[u8]) -> bool {
        self.upstreams.pools.holds_any()
            && self
                .core
                .snapshots
                .topology
                .master_of(self.core.snapshots.routes.place_of(key))
                .is_some_and(|node| self.upstreams.pools.is_held(node))
    }

    fn send_reads_aside(&mut self, key: UpstreamKey, node: NodeIndex) {
        let Self { upstreams, clients, .. } = self;
        let Some(upstream) = upstreams.connections.get_mut(key) else { return };
        let (version, database) = (upstream.version, upstream.database);
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
                Origin::Fill(..) => moves,
                _ => false,
            }
        });
        let waiters = std::mem::take(&mut upstream.waiters);
        waiters.let_go_on(&mut self.core.effects);
        if reads.is_empty() {
            return;
        }
        let aside = self.upstreams.shared_connection(&mut self.core, node, version, database, ASIDE);
        for (mut pending, bytes) in reads {
            let bytes = bytes.slice(pending.prefix_len as usize..);
            pending.start_over();
            pending.sent_ns = self.core.now_ns;
            self.sender().queue_on(aside, node, pending, &[], bytes);
        }
    }

    /// Sends what is parked on a connection that is not open yet to the nodes that it would go to now.
    pub(in crate::worker) fn reroute_parked(&mut self) {
        let connecting: Vec<UpstreamKey> = self
            .upstreams
            .connections
            .iter()
            .filter(|upstream| upstream.stream.is_none() && upstream.wire.inflight() > 0)
            .filter(|upstream| matches!(upstream.role, Role::Shared(_)))
            .map(|upstream| upstream.key)
            .collect();
        for key in connecting {
            let Some(upstream) = self.upstreams.connections.get_mut(key) else { continue };
            let node = upstream.node;
            let name = self.core.node_name(node);
            let is_master = self.core.snapshots.topology.is_master(node);
            let parked =
                self.upstreams.connections.get_mut(key).map(|upstream| upstream.wire.take_unanswered());
            for request in parked.unwrap_or_default() {
                let pending = request.pending;
                let owner = self.sender().node_of(&pending);
                match pending.origin {
                    Origin::Client { .. } | Origin::Fill(..)
                        if pending.prefix_len == 0 && owner.as_ref().is_ok_and(|owner| *owner != node) =>
                    {
                        self.sender().send_to(owner.unwrap_or(node), pending, &[], request.bytes);
                    }
                    Origin::Flush(_) | Origin::Behind(_) if !is_master => {
                        self.fail_one(request, &name, "another node has its slots now");
                    }
                    _ => self.sender().queue_on(key, node, pending, &[], request.bytes),
                }
            }
            self.upstreams.wake_waiters(&mut self.core, key);
        }
        flush_touched(self);
    }
}
