//! What all rooms of a worker read and count in: the configuration, the snapshots, the clock, the tallies.
//!
//! It owns no client, no connection and no key, so it is lent to whoever acts on those.

use std::sync::Arc;
use std::time::Instant;

use super::decide::Snapshots;
use super::decide::classes::Classes;
use super::effects::Effects;
use super::pending::Pending;
use super::reply_times::ReplyTimes;
use super::standouts::Standouts;
use super::tenant_shares::TenantShares;
use crate::command::CommandId;
use crate::config::{self, Config, ReadFrom};
use crate::limits::INLINE_BYTES_MAX;
use crate::resp::RequestLimits;
use crate::route::{ClusterId, KeyId};
use crate::shared::gateway::Gateway;
use crate::shared::labels::RequestClass;
use crate::shared::refresh::RefreshReason;
use crate::shared::tallies::WorkerTallies;
use crate::shared::topology::{Address, NodeIndex};

/// The common ground of one worker.
pub struct Core {
    /// The worker's place among its kind.
    pub index: usize,
    /// What all threads share.
    pub gateway: Arc<Gateway>,
    /// The configuration in force.
    pub config: Arc<Config>,
    /// What decisions rest on.
    pub snapshots: Snapshots,
    /// What tenants may use; nothing where the configuration names none.
    pub tenants: Option<Box<TenantShares>>,
    /// What the worker counts.
    pub tallies: WorkerTallies,
    /// Times of replies, gathered for the tallies.
    pub reply_times: ReplyTimes,
    /// Which requests are logged.
    pub standouts: Standouts,
    /// The worker's clock: nanoseconds since the process started, as of the last tick.
    pub now_ns: u64,
    /// What rooms have asked of each other in this turn.
    pub effects: Effects,
    /// No new requests are taken.
    pub draining: bool,
    started: Instant,
}

impl Core {
    /// What worker `index` begins with.
    pub fn new(index: usize, gateway: Arc<Gateway>) -> Self {
        let config = gateway.config.load_full();
        let commands = gateway.commands.load_full();
        let snapshots = Snapshots {
            routes: gateway.routes().as_ref().clone(),
            topology: gateway.topology.load(),
            classes: Classes::new(&commands),
            commands,
            read_from: read_from(&config),
            near: Box::default(),
            users: gateway.users.load(),
        };
        let started = gateway.started;
        let mut core = Self {
            index,
            standouts: Standouts::new(&config.slowlog),
            gateway,
            config,
            snapshots,
            tenants: None,
            tallies: WorkerTallies::default(),
            reply_times: ReplyTimes::default(),
            now_ns: 1,
            effects: Effects::default(),
            draining: false,
            started,
        };
        core.take_tenants();
        core.snapshots.find_near(core.config.own_networks());
        core
    }

    /// Takes over the tenants in force. Says whether they are others.
    pub fn take_tenants(&mut self) -> bool {
        let published = self.gateway.tenants.load_full();
        let known = self.tenants.as_ref().map(|known| Arc::as_ptr(&known.in_force));
        if published.as_ref().map(Arc::as_ptr) == known {
            return false;
        }
        let names = published.iter().flat_map(|tenants| &tenants.list).map(|tenant| Arc::clone(&tenant.name));
        self.tallies.tenants.rename(names.collect());
        let workers = self.gateway.workers.len();
        self.tenants = published.map(|tenants| Box::new(TenantShares::new(tenants, workers)));
        true
    }

    /// Looks at the clock.
    pub fn tick(&mut self) {
        self.now_ns = self.started.elapsed().as_nanos() as u64;
    }

    /// How the servers of a cluster are reached.
    #[inline]
    pub fn upstream_of(&self, cluster: ClusterId) -> &config::Upstream {
        self.config.upstream_of(cluster)
    }

    /// How long what goes to a cluster waits for a node that is away, in nanoseconds.
    pub fn unavailable_wait_ns(&self, cluster: ClusterId) -> u64 {
        self.upstream_of(cluster).unavailable_wait.as_nanos() as u64
    }

    /// Takes over a configuration, and returns the one before.
    pub fn configure(&mut self, config: Arc<Config>) -> Arc<Config> {
        self.snapshots.read_from = read_from(&config);
        self.standouts = Standouts::new(&config.slowlog);
        self.snapshots.routes = self.gateway.routes().as_ref().clone();
        self.snapshots.find_near(config.own_networks());
        std::mem::replace(&mut self.config, config)
    }

    /// Which key this name is, in the cluster that it lives in.
    pub fn id_of(&self, name: &[u8]) -> KeyId {
        self.gateway.key_hasher.id(self.snapshots.routes.cluster_of(name), name)
    }

    /// The worker that is home to a key.
    pub fn home_of(&self, hash: u64) -> usize {
        (hash % self.gateway.workers.len() as u64) as usize
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
        self.snapshots
            .topology
            .node(node)
            .map_or_else(|| "an unknown node".to_owned(), |node| node.address.to_string())
    }

    /// Whether a request stands out whose reply of so many bytes has come now.
    #[inline]
    pub fn stands_out(&self, pending: Option<&Pending>, reply_bytes: usize) -> bool {
        let has = |pending: &Pending| {
            self.standouts.has(self.now_ns.saturating_sub(pending.received_ns), pending.len, reply_bytes)
        };
        pending.is_some_and(has)
    }

    /// What a command counts as.
    pub fn class_of(&self, command: Option<CommandId>) -> RequestClass {
        command.map_or(RequestClass::Write, |id| self.snapshots.classes.of(id))
    }

    /// Asks for a new look at a cluster.
    pub fn refresh(&self, cluster: ClusterId, reason: RefreshReason) {
        self.gateway.refresh.request(cluster, reason, self.snapshots.topology.cluster(cluster).version);
    }

    /// A server that refuses writes is no master any more.
    pub fn suspect_master(&self, node: NodeIndex) {
        if let Some(node) = self.snapshots.topology.node(node) {
            self.refresh(node.cluster, RefreshReason::ReadOnly(node.address.clone()));
        }
    }

    /// The address in a redirection; an empty host means the node that said it.
    pub fn address_of(&self, node: NodeIndex, target: &str) -> Option<Address> {
        let (host, port) = target.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if !host.is_empty() && host != "?" {
            return Some(Address::new(host, port));
        }
        let own = &self.snapshots.topology.node(node)?.address;
        Some(Address::new(&own.host, port))
    }
}

/// Where reads of each cluster may go, by [`ClusterId`].
fn read_from(config: &Config) -> Box<[ReadFrom]> {
    config.clusters().map(|cluster| config.upstream_of(cluster).read_from).collect()
}
