//! Everything that one worker owns.
//!
//! One thread, one `State`, borrowed by one task at a time for as long as a poll takes and never across an await. So there is no
//! lock here, and nothing changes between a check and the act that rests on it.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::arena::Arena;
use super::client::{Backlog, Client, ClientKey};
use super::decide::Knowledge;
use super::decide::classes::Classes;
use super::hot::Hot;
use super::reply_times::ReplyTimes;
use super::rounds::Rounds;
use super::upstream::{Pools, Retries, Suspects, Upstream, Vitals};
use crate::config::Config;
use crate::limits::{INLINE_BYTES_MAX, SCRATCH_BYTES};
use crate::resp::RequestLimits;
use crate::shared::gateway::Gateway;
use crate::shared::tallies::WorkerTallies;
use crate::shared::topology::NodeIndex;

/// A worker that keeps house ten times a second and has not done so for this long, in nanoseconds, was stopped.
const STOPPED_NS_MIN: u64 = 1_000_000_000;

/// The state of one worker.
pub struct State {
    /// The worker's place among its kind.
    pub index: usize,
    /// What all threads share.
    pub gateway: Arc<Gateway>,
    /// The configuration in force.
    pub config: Arc<Config>,
    /// What decisions rest on.
    pub knowledge: Knowledge,
    /// The clients.
    pub clients: Arena<Client>,
    /// The upstream connections.
    pub upstreams: Arena<Upstream>,
    /// Which connection carries what.
    pub pools: Pools,
    /// Which nodes live.
    pub vitals: Vitals,
    /// Requests that wait for another try.
    pub retries: Retries,
    /// Reads that break their connections.
    pub suspects: Suspects,
    /// Hot keys.
    pub hot: Hot,
    /// Invalidations that other workers' clients are to hear of, by worker.
    pub redirected: Vec<Backlog>,
    /// Tracking clients in broadcast mode that have lost a connection, and when to listen again.
    pub unheard: Vec<(ClientKey, u64)>,
    /// Scripts known to be loaded, by node.
    pub loaded_scripts: HashSet<(NodeIndex, Bytes), ahash::RandomState>,
    /// Clients to be written at the end of this tick.
    pub touched: Vec<ClientKey>,
    /// Where sockets are read into first.
    pub scratch: Vec<u8>,
    /// Counts, so that replicas take turns.
    pub turn: usize,
    /// What the worker counts.
    pub tallies: WorkerTallies,
    /// Times of replies, gathered for the tallies.
    pub reply_times: ReplyTimes,
    /// The worker's clock: nanoseconds since the process started, as of the last tick.
    pub now_ns: u64,
    /// The worker's clock when the log last said that a client sends HTTP.
    pub http_told_ns: Option<u64>,
    /// The worker's clock when it last kept house.
    housekept_ns: u64,
    /// Rounds over clients and upstream connections.
    pub(super) rounds: Rounds,
    /// No new requests are taken.
    pub draining: bool,
    /// This very state, for the tasks that it starts.
    pub me: Weak<RefCell<State>>,
    started: Instant,
}

impl State {
    /// The state of worker `index`.
    pub fn new(index: usize, gateway: Arc<Gateway>) -> Rc<RefCell<Self>> {
        let config = gateway.config.load_full();
        let commands = gateway.commands.load_full();
        let knowledge = Knowledge {
            topology: gateway.topology.load(),
            classes: Classes::new(&commands),
            commands,
            read_from: config.upstream.read_from,
        };
        let started = gateway.started;
        let hot =
            Hot::new(gateway.key_hasher.clone(), &gateway.id, gateway.workers.len(), &knowledge.commands);
        let redirected = gateway.workers.iter().map(|_| Backlog::default()).collect();
        let state = Rc::new_cyclic(|me| {
            RefCell::new(Self {
                index,
                gateway,
                config,
                knowledge,
                clients: Arena::default(),
                upstreams: Arena::default(),
                pools: Pools::default(),
                vitals: Vitals::default(),
                retries: Retries::default(),
                suspects: Suspects::default(),
                hot,
                redirected,
                unheard: Vec::new(),
                loaded_scripts: HashSet::default(),
                touched: Vec::new(),
                scratch: vec![0; SCRATCH_BYTES],
                turn: 0,
                tallies: WorkerTallies::default(),
                reply_times: ReplyTimes::default(),
                now_ns: 1,
                http_told_ns: None,
                housekept_ns: 1,
                rounds: Rounds::default(),
                draining: false,
                me: me.clone(),
                started,
            })
        });
        state.borrow_mut().configure_hot(None);
        state
    }

    /// Looks at the clock.
    pub fn tick(&mut self) {
        self.now_ns = self.started.elapsed().as_nanos() as u64;
    }

    /// Takes over what the control thread has published since the last look.
    pub fn look_at_snapshots(&mut self) {
        let config = self.gateway.config.load();
        if !Arc::ptr_eq(&config, &self.config) {
            let former = std::mem::replace(&mut self.config, Arc::clone(&config));
            self.knowledge.read_from = self.config.upstream.read_from;
            if former.limits != self.config.limits {
                self.clients.iter_mut().for_each(|client| client.session.limits_changed = true);
            }
            self.configure_hot(Some(&former));
        }
        let commands = self.gateway.commands.load();
        if !Arc::ptr_eq(&commands, &self.knowledge.commands) {
            self.knowledge.commands = Arc::clone(&commands);
            self.knowledge.classes = Classes::new(&commands);
            self.hot.set_commands(&commands);
            self.clients.iter_mut().for_each(|client| client.session.last_command.clear());
        }
        let topology = self.gateway.topology.load();
        if topology.version != self.knowledge.topology.version {
            self.knowledge.topology = topology;
            self.reroute_parked();
            self.leave_absent_nodes();
            self.drop_tracked_copies();
            let listeners: Vec<ClientKey> = self
                .clients
                .iter()
                .filter(|client| client.session.tracking.as_ref().is_some_and(|all| all.options.broadcast))
                .map(|client| client.key)
                .collect();
            listeners.into_iter().for_each(|key| self.listen_everywhere(key));
            let listeners: Vec<ClientKey> = self
                .clients
                .iter()
                .filter(|client| client.session.subscriptions.as_ref().is_some_and(|all| all.hears_events))
                .map(|client| client.key)
                .collect();
            listeners.into_iter().for_each(|key| self.follow_event_masters(key));
        }
    }

    /// Closes idle connections to nodes that are not part of the topology any more.
    fn leave_absent_nodes(&mut self) {
        let topology = &self.knowledge.topology;
        for upstream in self.upstreams.iter_mut() {
            let present = topology.node(upstream.node).is_some_and(|node| node.present);
            if !present && upstream.owner().is_none() && upstream.wire.inflight() == 0 {
                upstream.close();
            }
        }
    }

    /// What a request may measure.
    pub fn request_limits(&self, authenticated: bool) -> RequestLimits {
        RequestLimits {
            bulk_bytes_max: self.config.limits.bulk_bytes_max,
            arguments_max: self.config.limits.arguments_max,
            inline_bytes_max: INLINE_BYTES_MAX,
            authenticated,
        }
    }

    /// The name of a node for people.
    pub fn node_name(&self, node: NodeIndex) -> String {
        self.knowledge
            .topology
            .node(node)
            .map_or_else(|| "an unknown node".to_owned(), |node| node.address.to_string())
    }

    /// What is done ten times a second: time limits, levels, publication of the tallies.
    pub fn housekeep(&mut self) {
        self.tick();
        self.forgive_a_stop();
        self.look_at_snapshots();
        self.visit_clients();
        self.visit_upstreams();
        self.hot.give_back();
        self.retries.give_back();
        self.listen_again();
        self.send_redirected();
        self.keep_behind();
        self.publish_quotas();
        self.keep_copies();
        self.hand_over_slice();
        self.publish_courses();
        self.reply_times.flush(&mut self.tallies);
        self.gateway.workers[self.index].tallies.publish(&self.tallies);
        // A queue that is not seen again is forgotten within a second.
        self.tallies.nodes.iter_mut().for_each(|tally| tally.queue_us /= 2);
        debug_assert!(self.is_census_right(), "a connection has changed without being counted");
    }

    /// While the whole process stood still (a suspended machine, a container without its share of time), nobody was silent:
    /// nodes have their time from now on.
    fn forgive_a_stop(&mut self) {
        let stopped_ns = self.now_ns.saturating_sub(self.housekept_ns);
        self.housekept_ns = self.now_ns;
        if stopped_ns > STOPPED_NS_MIN {
            self.upstreams.iter_mut().for_each(|upstream| upstream.alive_ns = self.now_ns);
            self.retries.wait_longer(stopped_ns);
        }
    }
}
