//! The owners of a worker, and what they have in common.
//!
//! A worker is [`Clients`], [`Upstreams`] and [`HotKeys`]. Each is changed by its own room and borrowed apart from the others; what
//! all of them read or count in is the [`Core`]. One thread has one [`Worker`], which is borrowed by one task at a time for as long as
//! a poll takes and never across an await. So there is no lock here, and nothing changes between a check and the act that rests on it.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::client::Clients;
use super::core::Core;
use super::decide::classes::Classes;
use super::hot::HotKeys;
use super::rounds::Rounds;
use super::send::Sender;
use super::session::Sessions;
use super::upstream::Upstreams;
use crate::config::{Config, Upstream, UpstreamIdentity};
use crate::limits::SCRATCH_BYTES;
use crate::shared::gateway::Gateway;
use crate::worker::names::ClientKey;

/// A worker that keeps house ten times a second and has not done so for this long, in nanoseconds, was stopped.
const STOPPED_NS_MIN: u64 = 1_000_000_000;

/// One worker.
pub struct Worker {
    /// What all rooms read and count in.
    pub core: Core,
    /// The clients.
    pub clients: Clients,
    /// The connections to Redis.
    pub upstreams: Upstreams,
    /// The hot keys.
    pub hot: HotKeys,
    /// Where sockets are read into first.
    pub scratch: Vec<u8>,
    /// The worker's clock when it last kept house.
    housekept_ns: u64,
    /// Rounds over clients and upstream connections.
    pub(super) rounds: Rounds,
    /// This very worker, for the tasks that it starts.
    pub me: Weak<RefCell<Worker>>,
}

impl Worker {
    /// Worker `index`.
    pub fn new(index: usize, gateway: Arc<Gateway>) -> Rc<RefCell<Self>> {
        let core = Core::new(index, gateway);
        let worker = Rc::new_cyclic(|me| {
            RefCell::new(Self {
                clients: Clients::new(core.gateway.workers.len()),
                upstreams: Upstreams::default(),
                hot: HotKeys::new(&core.gateway.id, core.gateway.workers.len(), &core.snapshots.commands),
                core,
                scratch: vec![0; SCRATCH_BYTES],
                housekept_ns: 1,
                rounds: Rounds::default(),
                me: me.clone(),
            })
        });
        worker.borrow_mut().configure_hot(None);
        worker
    }

    /// What sending needs.
    pub fn sender(&mut self) -> Sender<'_> {
        Sender { core: &mut self.core, clients: &mut self.clients, upstreams: &mut self.upstreams }
    }

    /// What the commands of a session need.
    pub fn sessions(&mut self) -> Sessions<'_> {
        Sessions { core: &mut self.core, clients: &mut self.clients, upstreams: &mut self.upstreams }
    }

    /// Takes over what the control thread has published since the last look.
    pub fn look_at_snapshots(&mut self) {
        let config = self.core.gateway.config.load();
        if !Arc::ptr_eq(&config, &self.core.config) {
            let former = self.core.configure(Arc::clone(&config));
            if former.limits != self.core.config.limits {
                self.clients.all.iter_mut().for_each(|client| client.session.limits_changed = true);
            }
            if former.routes != self.core.config.routes {
                self.follow_routes(&former);
            }
            self.configure_hot(Some(&former));
            if self.core.config.auth.upstream_identity != UpstreamIdentity::Same {
                self.clients.all.iter_mut().for_each(|client| {
                    client.session.login = None;
                    client.session.refresh_plain();
                });
            }
            if self.core.take_tenants() {
                self.follow_tenants();
            }
            for cluster in self.core.config.clusters() {
                let (was, is) = (former.upstream_of(cluster), self.core.config.upstream_of(cluster));
                let logs_in = |upstream: &Upstream| {
                    (upstream.user.clone(), upstream.password.clone(), upstream.password_next.clone())
                };
                if logs_in(was) != logs_in(is) {
                    self.upstreams.log_in_again(&self.core, cluster);
                }
            }
        }
        let commands = self.core.gateway.commands.load();
        if !Arc::ptr_eq(&commands, &self.core.snapshots.commands) {
            self.core.snapshots.commands = Arc::clone(&commands);
            self.core.snapshots.classes = Classes::new(&commands);
            self.hot.set_commands(&commands);
            self.clients.all.iter_mut().for_each(|client| client.session.last_command.clear());
        }
        let users = self.core.gateway.users.peek();
        if !Arc::ptr_eq(&users, &self.core.snapshots.users) {
            let users = Arc::clone(&users);
            self.take_users(users);
        }
        let topology = self.core.gateway.topology.load();
        if topology.version != self.core.snapshots.topology.version {
            self.core.snapshots.topology = topology;
            self.core.snapshots.find_near(self.core.config.own_networks());
            self.reroute_parked();
            self.leave_absent_nodes();
            self.hot.cache.drop_tracked(&mut self.core);
            let listeners: Vec<ClientKey> = self
                .clients
                .all
                .iter()
                .filter(|client| client.session.tracking.as_ref().is_some_and(|all| all.options.broadcast))
                .map(|client| client.key)
                .collect();
            listeners.into_iter().for_each(|key| self.sessions().listen_everywhere(key));
            let listeners: Vec<ClientKey> = self
                .clients
                .all
                .iter()
                .filter(|client| client.session.subscriptions.as_ref().is_some_and(|all| all.wants_events))
                .map(|client| client.key)
                .collect();
            listeners.into_iter().for_each(|key| self.sessions().follow_event_masters(key));
        }
    }

    /// Closes idle connections to nodes that are not part of the topology any more.
    fn leave_absent_nodes(&mut self) {
        let topology = &self.core.snapshots.topology;
        for upstream in self.upstreams.connections.iter_mut() {
            let present = topology.node(upstream.node).is_some_and(|node| node.present);
            if !present && upstream.owner().is_none() && upstream.wire.inflight() == 0 {
                upstream.close();
            }
        }
    }

    /// What is done ten times a second: time limits, levels, publication of the tallies.
    pub fn housekeep(&mut self) {
        self.core.tick();
        self.forgive_a_stop();
        self.look_at_snapshots();
        self.visit_clients();
        self.visit_upstreams();
        self.upstreams.leave_users();
        self.upstreams.leave_former_addresses(&self.core);
        self.hot.give_back();
        self.core.effects.give_back();
        self.upstreams.retries.give_back();
        self.sessions().listen_again();
        self.clients.send_redirected(&self.core.gateway);
        self.hot.keep_behind(&mut self.core);
        self.hot.publish_quotas(&mut self.core);
        self.hot.cache.keep_house(&mut self.core);
        self.test_tracking_connections();
        self.hot.hand_over_slice(&mut self.core);
        self.hot.publish_courses(&mut self.core);
        self.publish_tallies();
        // A queue that is not seen again is forgotten within a second.
        self.core.tallies.nodes.iter_mut().for_each(|tally| tally.queue_us /= 2);
        debug_assert!(self.upstreams.is_census_right(), "a connection has changed without being counted");
    }

    /// Lets other threads see what has been counted so far.
    pub(super) fn publish_tallies(&mut self) {
        self.core.flush_times();
        self.core.tallies.near = self.upstreams.reads;
        self.core.gateway.workers[self.core.index].tallies.publish(&self.core.tallies);
    }

    /// While the whole process stood still (a suspended machine, a container without its share of time), nobody was silent:
    /// nodes have their time from now on.
    fn forgive_a_stop(&mut self) {
        let stopped_ns = self.core.now_ns.saturating_sub(self.housekept_ns);
        self.housekept_ns = self.core.now_ns;
        if stopped_ns > STOPPED_NS_MIN {
            self.upstreams.connections.iter_mut().for_each(|upstream| upstream.alive_ns = self.core.now_ns);
            self.upstreams.retries.wait_longer(stopped_ns);
        }
    }

    /// Takes over a new configuration of hot keys. Copies stay unless it is about them.
    fn configure_hot(&mut self, former_config: Option<&Config>) {
        self.hot.configure_rules(&mut self.core, former_config);
        let config = &self.core.config;
        let copies_alike = former_config.is_some_and(|former| {
            former.read_cache == config.read_cache
                && former.rules == config.rules
                && former.quotas == config.quotas
        });
        if !copies_alike {
            self.configure_copies();
        }
        self.hot.configure_keys(&mut self.core);
    }
}
