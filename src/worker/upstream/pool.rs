//! Which connection carries a request: shared ones by node, version, database and number ([`super::parallel`]); spare ones for
//! sessions.

use smallvec::SmallVec;

use super::census::Census;
use super::parallel::{self, Cargo, ConnectionNumber};
use super::room::Room;
use super::{Phase, Role, Upstream, Upstreams, Wire};
use crate::admission::ReplicaWait;
use crate::config::ReadFrom;
use crate::limits::SPARES_PER_NODE_MAX;
use crate::resp::RespVersion;
use crate::route::SlotAt;
use crate::shared::held::HeldNodes;
use crate::shared::topology::{NodeIndex, UpstreamKind};
use crate::worker::core::Core;
use crate::worker::effects::Effect;
use crate::worker::names::{ClientKey, UpstreamKey};
use crate::worker::selection::Selection;

/// The connections to one node.
#[derive(Default)]
struct NodePool {
    shared: SmallVec<[((Selection, ConnectionNumber), UpstreamKey); 2]>,
    confirming: SmallVec<[(ReplicaWait, UpstreamKey); 1]>,
    spares: Vec<UpstreamKey>,
    preferred: ConnectionNumber,
    /// The connections that the node holds up, one bit for each number.
    held: u8,
}

impl NodePool {
    fn holds(&self, number: ConnectionNumber) -> bool {
        self.held & (1 << number) != 0
    }

    /// The preferred connection or, for something long, the other one; but not the one that is held up if only one is.
    fn ordinary(&self, long: bool) -> ConnectionNumber {
        let number = if long { 1 - self.preferred } else { self.preferred };
        if self.holds(number) && !self.holds(1 - number) { 1 - number } else { number }
    }
}

/// All connections of a worker, by node.
#[derive(Default)]
pub struct Pools {
    nodes: Vec<NodePool>,
    /// The nodes of which any worker knows that they hold commands back.
    held: u64,
    /// How many connections of all nodes are held up, by number.
    held_numbers: [u32; parallel::COUNT],
    /// What is counted of all connections.
    pub census: Census,
}

impl Pools {
    fn node(&mut self, node: NodeIndex) -> &mut NodePool {
        let place = node.position();
        if place >= self.nodes.len() {
            self.nodes.resize_with(place + 1, NodePool::default);
        }
        &mut self.nodes[place]
    }

    /// The ordinary connection for what has nothing unsettled.
    pub fn preferred(&mut self, node: NodeIndex) -> ConnectionNumber {
        self.node(node).ordinary(false)
    }

    /// The connection for a client that has nothing unsettled. A `long` request goes where the others don't.
    pub fn number_for(&mut self, node: NodeIndex, cargo: Cargo, long: bool) -> ConnectionNumber {
        let held = self.is_held(node);
        let pool = self.node(node);
        match cargo {
            Cargo::Read if held && !pool.holds(parallel::ASIDE) => parallel::ASIDE,
            Cargo::Suspect => parallel::ALONE,
            Cargo::AsUser => parallel::AS_USER,
            Cargo::Script if pool.holds(parallel::SCRIPTS) => parallel::MORE_SCRIPTS,
            Cargo::Script => parallel::SCRIPTS,
            _ => pool.ordinary(long),
        }
    }

    /// The connection for a client that has nothing unsettled and sends something to several nodes, which was on `number` before.
    pub fn number_to_several(&self, cargo: Cargo, number: ConnectionNumber) -> ConnectionNumber {
        let holds = |number: ConnectionNumber| self.held_numbers[usize::from(number)] > 0;
        match cargo {
            Cargo::Read if self.holds_any() && !holds(parallel::ASIDE) => parallel::ASIDE,
            Cargo::Suspect => parallel::ALONE,
            Cargo::AsUser => parallel::AS_USER,
            Cargo::Script if holds(parallel::SCRIPTS) => parallel::MORE_SCRIPTS,
            Cargo::Script => parallel::SCRIPTS,
            _ => {
                let number =
                    if parallel::ORDINARY.contains(&number) { number } else { parallel::ORDINARY.start };
                if holds(number) && !holds(1 - number) { 1 - number } else { number }
            }
        }
    }

    /// A long reply occupies `number`: new clients take the other one.
    pub fn avoid(&mut self, node: NodeIndex, number: ConnectionNumber) {
        if parallel::ORDINARY.contains(&number) {
            self.node(node).preferred = 1 - number;
        }
    }

    /// The node holds up `number`.
    pub fn hold(&mut self, node: NodeIndex, number: ConnectionNumber) {
        let pool = self.node(node);
        let before = pool.held;
        pool.held |= 1 << number;
        self.held_numbers[usize::from(number)] += u32::from(before & (1 << number) == 0);
        self.held |= HeldNodes::bit(node);
    }

    /// Whether any node holds commands back.
    pub(super) fn holds_any(&self) -> bool {
        self.held != 0
    }

    /// Whether `node` holds commands back.
    pub(super) fn is_held(&self, node: NodeIndex) -> bool {
        self.held & HeldNodes::bit(node) != 0
    }

    /// The node has let go of what it held up on `number`.
    pub fn release(&mut self, node: NodeIndex, number: ConnectionNumber) {
        let pool = self.node(node);
        let before = pool.held;
        pool.held &= !(1 << number);
        self.held_numbers[usize::from(number)] -= u32::from(before & (1 << number) != 0);
    }

    /// No connection of this worker is held up, as far as is known; `elsewhere` are the nodes that hold up other workers.
    pub fn forget_held(&mut self, elsewhere: u64) {
        self.nodes.iter_mut().for_each(|pool| pool.held = 0);
        self.held_numbers = Default::default();
        self.held = elsewhere;
    }

    /// Forgets a connection that has ended.
    pub fn forget(&mut self, node: NodeIndex, key: UpstreamKey) {
        let pool = self.node(node);
        pool.shared.retain(|(_, shared)| *shared != key);
        pool.confirming.retain(|(_, confirming)| *confirming != key);
        pool.spares.retain(|spare| *spare != key);
    }
}

impl Upstreams {
    /// Whether the master of a slot holds back commands.
    pub fn is_held_up(&self, core: &Core, slot: SlotAt) -> bool {
        self.pools.holds_any()
            && core.snapshots.topology.master_of(slot).is_some_and(|node| self.pools.is_held(node))
    }

    /// The shared connection to a node, made if there is none yet.
    pub fn shared_connection(
        &mut self,
        core: &mut Core,
        node: NodeIndex,
        selection: Selection,
        number: ConnectionNumber,
    ) -> UpstreamKey {
        let wanted = (selection, number);
        if let Some((_, key)) = self.pools.node(node).shared.iter().find(|(known, _)| *known == wanted) {
            return *key;
        }
        let key = self.open_connection(core, node, Role::Shared(number), selection, None);
        self.pools.node(node).shared.push((wanted, key));
        key
    }

    /// The connection to a node for grants that wait for its replicas, made if there is none yet.
    pub fn confirming_connection(
        &mut self,
        core: &mut Core,
        node: NodeIndex,
        wait: ReplicaWait,
    ) -> UpstreamKey {
        if let Some((_, key)) = self.pools.node(node).confirming.iter().find(|(terms, _)| *terms == wait) {
            return *key;
        }
        let key = self.open_connection(
            core,
            node,
            Role::Confirming(wait),
            Selection::of_version(RespVersion::Resp2),
            None,
        );
        self.pools.node(node).confirming.push((wait, key));
        key
    }

    /// A connection for a session of `owner`: a spare one, or a new one. `None` when the worker has as many as
    /// `upstream.session_connections_max` allows.
    pub fn session_connection(
        &mut self,
        core: &mut Core,
        node: NodeIndex,
        owner: ClientKey,
        selection: Selection,
    ) -> Option<Room> {
        self.pools.node(node);
        let spares = &self.pools.nodes[node.position()].spares;
        let fits = |key: &UpstreamKey| {
            self.connections
                .get(*key)
                .is_some_and(|spare| spare.phase == Phase::Ready && spare.selection() == selection)
                && self.room(core, *key).is_some()
        };
        let key = match spares.iter().position(fits) {
            Some(place) => {
                let key = self.pools.node(node).spares.swap_remove(place);
                self.set_role(key, Role::Session(owner));
                key
            }
            None => self.own_connection(core, node, Role::Session(owner), selection, None)?,
        };
        self.room(core, key)
    }

    /// A new connection for one client alone, under the same bound as `Worker::session_connection`.
    pub fn own_connection(
        &mut self,
        core: &mut Core,
        node: NodeIndex,
        role: Role,
        selection: Selection,
        greeting: Option<bytes::Bytes>,
    ) -> Option<UpstreamKey> {
        let cluster = core.snapshots.cluster_of_node(node);
        (self.pools.census.owned(cluster) < core.upstream_of(cluster).session_connections_max)
            .then(|| self.open_connection(core, node, role, selection, greeting))
    }

    /// Takes a session's connection back: it is clean after what was last sent on it.
    pub fn release_connection(&mut self, core: &Core, key: UpstreamKey) {
        let Some(upstream) = self.connections.get_mut(key) else { return };
        if let Role::Tracking(_) = upstream.role {
            // It stays its client's.
            return;
        }
        let spares = &mut self.pools.node(upstream.node).spares;
        // Where few sessions are allowed, few are kept for the next.
        let spares_max =
            SPARES_PER_NODE_MAX.min(core.upstream_of(upstream.cluster).session_connections_max / 4);
        if upstream.phase == Phase::Ready
            && spares.len() < spares_max
            && !upstream.to_be_unblocked
            && !upstream.leaving
        {
            upstream.active_ns = core.now_ns;
            spares.push(key);
            self.set_role(key, Role::Spare);
        } else {
            upstream.close();
        }
    }

    /// Ends a session's watch on its connection and takes that back.
    pub fn unwatch(&mut self, core: &Core, key: UpstreamKey) {
        self.send_unheard(core, key, &[b"UNWATCH"]);
        self.release_connection(core, key);
    }

    /// A new connection, whose task is started at the end of this turn.
    pub fn open_connection(
        &mut self,
        core: &mut Core,
        node: NodeIndex,
        role: Role,
        selection: Selection,
        greeting: Option<bytes::Bytes>,
    ) -> UpstreamKey {
        // Where replicas may be read, every connection says so: a master ignores it, and a node may become a replica later.
        let cluster = core.snapshots.cluster_of_node(node);
        let readonly = core.snapshots.read_from(cluster) != ReadFrom::Master
            && core.snapshots.topology.cluster(cluster).kind == UpstreamKind::Cluster;
        let active_ns = core.now_ns;
        let Selection { version, database, login } = selection;
        let key = self.insert_connection(|key| Upstream {
            key,
            node,
            cluster,
            role,
            version,
            database,
            login,
            readonly,
            greeting,
            companion: None,
            phase: Phase::Connecting,
            stream: None,
            wire: if role == Role::Shared(parallel::ALONE) { Wire::one_by_one() } else { Wire::default() },
            gauge: Default::default(),
            intake: Default::default(),
            scanner: Default::default(),
            waker: None,
            was_open: false,
            woken: false,
            yielded: false,
            write_failed: false,
            closing: false,
            leaving: false,
            given_up: None,
            held: false,
            refused_inside: None,
            waiters: Default::default(),
            server_id: None,
            to_be_unblocked: false,
            active_ns,
            alive_ns: active_ns,
        });
        core.effects.push(Effect::RunConnection(key));
        key
    }
}
