//! Which connection carries a request: shared ones by node, version, database and lane; spare ones for sessions.
//!
//! Two lanes to a node exist so that a large value delays nobody else: as soon as a long reply is seen on one lane, clients
//! with nothing unsettled go on with the other; and a large request takes the lane that is not preferred. A client changes
//! lanes only while it has nothing unsettled, which keeps its commands in order.

use smallvec::SmallVec;

use super::{Phase, Role, Upstream, UpstreamKey};
use crate::admission::ReplicaWait;
use crate::config::ReadFrom;
use crate::limits::SPARES_PER_NODE_MAX;
use crate::resp::RespVersion;
use crate::shared::topology::{NodeIndex, UpstreamKind};
use crate::worker::client::ClientKey;
use crate::worker::state::State;

/// One of the two parallel connections to a node.
pub type Lane = u8;

/// The connections to one node.
#[derive(Default)]
struct NodePool {
    shared: SmallVec<[(RespVersion, u32, Lane, UpstreamKey); 2]>,
    confirming: SmallVec<[(ReplicaWait, UpstreamKey); 1]>,
    spares: Vec<UpstreamKey>,
    preferred: Lane,
}

/// All connections of a worker, by node.
#[derive(Default)]
pub struct Pools {
    nodes: Vec<NodePool>,
}

impl Pools {
    fn node(&mut self, node: NodeIndex) -> &mut NodePool {
        let place = node.position();
        if place >= self.nodes.len() {
            self.nodes.resize_with(place + 1, NodePool::default);
        }
        &mut self.nodes[place]
    }

    /// The lane for clients that have nothing unsettled.
    pub fn preferred(&mut self, node: NodeIndex) -> Lane {
        self.node(node).preferred
    }

    /// A long reply occupies `lane`: new clients take the other one.
    pub fn avoid(&mut self, node: NodeIndex, lane: Lane) {
        self.node(node).preferred = 1 - lane;
    }

    /// Forgets a connection that has ended.
    pub fn forget(&mut self, node: NodeIndex, key: UpstreamKey) {
        let pool = self.node(node);
        pool.shared.retain(|(_, _, _, shared)| *shared != key);
        pool.confirming.retain(|(_, confirming)| *confirming != key);
        pool.spares.retain(|spare| *spare != key);
    }
}

impl State {
    /// The shared connection to a node, made if there is none yet.
    pub fn shared_connection(
        &mut self,
        node: NodeIndex,
        version: RespVersion,
        database: u32,
        lane: Lane,
    ) -> UpstreamKey {
        let found = self
            .pools
            .node(node)
            .shared
            .iter()
            .find(|(v, d, l, _)| (*v, *d, *l) == (version, database, lane));
        if let Some((_, _, _, key)) = found {
            return *key;
        }
        let key = self.open_connection(node, Role::Shared(lane), version, database, None);
        self.pools.node(node).shared.push((version, database, lane, key));
        key
    }

    /// The connection to a node for grants that wait for its replicas, made if there is none yet.
    pub fn confirming_connection(&mut self, node: NodeIndex, wait: ReplicaWait) -> UpstreamKey {
        if let Some((_, key)) = self.pools.node(node).confirming.iter().find(|(terms, _)| *terms == wait) {
            return *key;
        }
        let key = self.open_connection(node, Role::Confirming(wait), RespVersion::Resp2, 0, None);
        self.pools.node(node).confirming.push((wait, key));
        key
    }

    /// A connection for a session of `owner`: a spare one, or a new one. `None` when the worker has as many as
    /// `upstream.session_connections_max` allows.
    pub fn session_connection(
        &mut self,
        node: NodeIndex,
        owner: ClientKey,
        version: RespVersion,
        database: u32,
    ) -> Option<UpstreamKey> {
        let spares = std::mem::take(&mut self.pools.node(node).spares);
        let mut taken = None;
        let mut kept = Vec::with_capacity(spares.len());
        for key in spares {
            match self.upstreams.get_mut(key) {
                Some(spare)
                    if taken.is_none()
                        && spare.phase == Phase::Ready
                        && (spare.version, spare.database) == (version, database) =>
                {
                    spare.role = Role::Session(owner);
                    taken = Some(key);
                }
                Some(_) => kept.push(key),
                None => {}
            }
        }
        self.pools.node(node).spares = kept;
        taken.or_else(|| self.own_connection(node, Role::Session(owner), version, database, None))
    }

    /// A new connection for one client alone, under the same bound as [`State::session_connection`].
    pub fn own_connection(
        &mut self,
        node: NodeIndex,
        role: Role,
        version: RespVersion,
        database: u32,
        greeting: Option<bytes::Bytes>,
    ) -> Option<UpstreamKey> {
        let own = self.upstreams.iter().filter(|upstream| upstream.owner().is_some()).count();
        (own < self.config.upstream.session_connections_max)
            .then(|| self.open_connection(node, role, version, database, greeting))
    }

    /// Takes a session's connection back: it is clean after what was last sent on it.
    pub fn release_connection(&mut self, key: UpstreamKey) {
        let Some(upstream) = self.upstreams.get_mut(key) else { return };
        let node = upstream.node;
        let spares = &mut self.pools.node(node).spares;
        if upstream.phase == Phase::Ready && spares.len() < SPARES_PER_NODE_MAX {
            upstream.role = Role::Spare;
            upstream.active_ns = self.now_ns;
            spares.push(key);
        } else {
            upstream.close();
        }
    }

    /// Ends a session's watch on its connection and takes that back.
    pub fn unwatch(&mut self, key: UpstreamKey) {
        let now_ns = self.now_ns;
        if let Some(upstream) = self.upstreams.get_mut(key) {
            upstream.tell(&[b"UNWATCH"], now_ns);
        }
        self.release_connection(key);
    }

    /// A new connection, whose task is started.
    pub fn open_connection(
        &mut self,
        node: NodeIndex,
        role: Role,
        version: RespVersion,
        database: u32,
        greeting: Option<bytes::Bytes>,
    ) -> UpstreamKey {
        // Where replicas may be read, every connection says so: a master ignores it, and a node may become a replica later.
        let readonly = self.knowledge.read_from != ReadFrom::Master
            && self.knowledge.topology.kind == UpstreamKind::Cluster;
        let active_ns = self.now_ns;
        let key = self.upstreams.insert(|key| Upstream {
            key,
            node,
            role,
            version,
            database,
            readonly,
            greeting,
            phase: Phase::Connecting,
            stream: None,
            wire: Default::default(),
            intake: Default::default(),
            scanner: Default::default(),
            waker: None,
            was_open: false,
            woken: false,
            yielded: false,
            write_failed: false,
            closing: false,
            timed_out: false,
            waiters: Vec::new(),
            server_id: 0,
            active_ns,
            alive_ns: active_ns,
        });
        if let Some(state) = self.me.upgrade() {
            tokio::task::spawn_local(super::connection::maintain(state, key));
        }
        key
    }
}
