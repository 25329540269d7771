//! The servers: which master has a sale, and how it is reached.
//!
//! The same keepers as in a gateway keep the topology; so a ledger finds its way through failovers and moved slots as a gateway does, with the
//! credentials and certificates of `[upstream]`. Owns them; deliberately owns no connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::Config;
use crate::control::certificates::Certificates;
use crate::control::topology::{KeeperSettings, Published, SharedRegistry, TopologyKeeper};
use crate::net::Dialer;
use crate::route::{ClusterId, Routes};
use crate::shared::refresh::{RefreshReason, RefreshRequester, refresh_mailboxes};
use crate::shared::topology::{Address, TopologyCell};
use crate::shared::upstream_facts::UpstreamFactsCell;

/// By what a gateway would know this process: it is no gateway.
const OWN_ID: &str = "ledger";

/// A server of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Server {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Where it listens.
    pub address: Address,
}

/// See the module.
pub struct Upstream {
    /// The configuration of this process.
    pub config: Arc<Config>,
    routes: Routes,
    topology: Arc<TopologyCell>,
    refresh: RefreshRequester,
    dialers: Vec<Dialer>,
    /// A keeper ends with the sender of its settings.
    _settings: Vec<watch::Sender<KeeperSettings>>,
}

impl Upstream {
    /// Begins to keep the topology of all clusters, on the runtime of the caller.
    ///
    /// # Errors
    /// A certificate or key can't be used.
    pub fn open(config: Arc<Config>) -> Result<Self, String> {
        let mut of_servers = (*config).clone();
        // Those for clients are a gateway's.
        of_servers.tls.listen.clear();
        let dialers = Certificates::open(&of_servers).map_err(|error| error.to_string())?.dialers;
        let clusters = config.clusters();
        let registry = SharedRegistry::new(clusters.len());
        let topology = Arc::new(TopologyCell::new(registry.topology()));
        let (refresh, requests) = refresh_mailboxes(clusters.len());
        let mut senders = Vec::new();
        for ((cluster, dialer), requests) in clusters.zip(&dialers).zip(requests) {
            let (sender, settings) = watch::channel(KeeperSettings::new(config.upstream_of(cluster), dialer));
            let published = Published {
                registry: registry.clone(),
                topology: Arc::clone(&topology),
                facts: Arc::new(UpstreamFactsCell::default()),
            };
            let keeper = TopologyKeeper::new(cluster, settings, requests, published, OWN_ID.to_owned());
            tokio::spawn(keeper.run());
            senders.push(sender);
        }
        let routes = config.routing();
        Ok(Self { config, routes, topology, refresh, dialers, _settings: senders })
    }

    /// The master of a key's slot, as far as it is known.
    pub fn master_of(&self, key: &[u8]) -> Option<Server> {
        let place = self.routes.place_of(key);
        let topology = self.topology.load();
        let node = topology.node(topology.master_of(place)?)?;
        Some(Server { cluster: place.cluster, address: node.address.clone() })
    }

    /// How a server is reached.
    pub fn settings_of(&self, server: &Server) -> KeeperSettings {
        KeeperSettings::new(self.config.upstream_of(server.cluster), &self.dialers[server.cluster.position()])
    }

    /// Something is not where it was: the topology is looked at again.
    pub fn doubt(&self, cluster: ClusterId) {
        let seen_version = self.topology.load().cluster(cluster).version;
        self.refresh.request(cluster, RefreshReason::Unassigned, seen_version);
    }

    /// Doubts where a key is.
    pub fn doubt_key(&self, key: &[u8]) {
        self.doubt(self.routes.place_of(key).cluster);
    }

    /// Counts the changes of the topology.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.topology.changes()
    }

    /// Waits until something is known of every cluster, at most so long.
    pub async fn wait_until_known(&self, patience: Duration) {
        let mut changes = self.changes();
        let known = async { while !self.topology.load().knows_all() && changes.changed().await.is_ok() {} };
        // Whoever needs a master that is not known says so.
        let _ = tokio::time::timeout(patience, known).await;
    }
}
