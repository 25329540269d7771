//! The servers: which master has a sale, and how it is reached.
//!
//! The same keepers as in a gateway keep the topology; so a ledger finds its way through failovers and moved slots as a gateway does, with the
//! credentials and certificates of `[upstream]`. Passwords that change in their files, or that a program prints anew, are taken as a gateway takes them;
//! open connections go on with the former, and are made anew where the server ends them. Owns all that; deliberately owns no connection.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::config::Config;
use crate::control::certificates::Certificates;
use crate::control::password_commands::PasswordCommands;
use crate::control::reload::SECRETS_PERIOD;
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
    /// The configuration of this process, with the passwords that it began with.
    pub config: Arc<Config>,
    /// The same with those of now.
    with_secrets: Arc<ArcSwap<Config>>,
    routes: Routes,
    topology: Arc<TopologyCell>,
    refresh: RefreshRequester,
    dialers: Vec<Dialer>,
    /// What follows the secrets. It has the senders of the keepers' settings, with which those end.
    _secrets: JoinSet<()>,
}

impl Upstream {
    /// Begins to keep the topology of all clusters, on the runtime of the caller.
    ///
    /// # Errors
    /// A certificate or key can't be used, or a program prints no password.
    pub async fn open(config: Config) -> Result<Self, String> {
        let mut passwords = PasswordCommands::default();
        passwords.run_new(&config).await.map_err(|why| why.join("; "))?;
        let config = Arc::new(passwords.with_passwords(config));
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
        let with_secrets = Arc::new(ArcSwap::new(Arc::clone(&config)));
        let mut secrets = JoinSet::new();
        let follower = Secrets { passwords, with_secrets: Arc::clone(&with_secrets), keepers: senders };
        secrets.spawn(follower.follow(dialers.clone()));
        Ok(Self { config, with_secrets, routes, topology, refresh, dialers, _secrets: secrets })
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
        let config = self.with_secrets.load();
        KeeperSettings::new(config.upstream_of(server.cluster), &self.dialers[server.cluster.position()])
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

/// The secrets of now.
struct Secrets {
    passwords: PasswordCommands,
    with_secrets: Arc<ArcSwap<Config>>,
    keepers: Vec<watch::Sender<KeeperSettings>>,
}

impl Secrets {
    /// Looks at them now and then. What two looks have found is in force.
    async fn follow(mut self, dialers: Vec<Dialer>) {
        let (mut found, mut told) = (None, Vec::new());
        loop {
            sleep(SECRETS_PERIOD).await;
            let in_force = self.with_secrets.load_full();
            let mut wrong = self.passwords.look(&in_force).await;
            match in_force.with_secrets_of_now() {
                Ok(now) => {
                    let now = Some(self.passwords.with_passwords(now)).filter(|now| *now != *in_force);
                    if let Some(config) = now.clone().filter(|_| now == found) {
                        self.take(config, &dialers);
                    }
                    found = now;
                }
                Err(why) => wrong.extend(why),
            }
            if wrong != told {
                wrong.iter().for_each(|why| tracing::error!("the former secret holds: {why}"));
                told = wrong;
            }
        }
    }

    fn take(&self, config: Config, dialers: &[Dialer]) {
        for ((cluster, keeper), dialer) in config.clusters().zip(&self.keepers).zip(dialers) {
            keeper.send_replace(KeeperSettings::new(config.upstream_of(cluster), dialer));
        }
        tracing::info!("took over other passwords");
        self.with_secrets.store(Arc::new(config));
    }
}
