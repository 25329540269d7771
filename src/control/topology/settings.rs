//! What a keeper of the topology has to know of the configuration: where to ask, as whom, and how long to wait.
//!
//! Pure, but for the one question of [`KeeperSettings::data_servers`]. The connections are others' business.

use std::time::Duration;

use super::sentinel::{Watched, ask_sentinels};
use crate::config::{Upstream, UpstreamKindChoice};
use crate::control::upstream_client::{Credentials, Timeouts};
use crate::net::Dialer;
use crate::route::ClusterId;
use crate::shared::gateway::Gateway;
use crate::shared::topology::{Address, UpstreamKind};

/// The keeper's part of the configuration. A new value starts a discovery at once.
#[derive(Clone, Debug)]
pub struct KeeperSettings {
    /// Where to begin; for a single server, the servers that may be it. Empty where Sentinels name them.
    pub seeds: Vec<Address>,
    /// The master that Sentinels name, if they do.
    pub sentinels: Option<Watched>,
    /// The kind of the upstream; `None` is found out by asking, once.
    pub kind: Option<UpstreamKind>,
    /// The login of the gateway at the servers.
    pub credentials: Credentials,
    /// The cluster, by which sentences name its settings.
    pub name: String,
    /// How long to wait for one node.
    pub timeouts: Timeouts,
    /// Between discoveries when nobody asks for one; each is shortened by up to half, at random.
    pub refresh_interval: Duration,
}

impl KeeperSettings {
    /// Those that are in force for the servers of a cluster.
    pub fn of_cluster(gateway: &Gateway, cluster: ClusterId) -> Self {
        Self::new(gateway.config.load().upstream_of(cluster), gateway.dialer_of(cluster))
    }

    /// Those of the servers that `upstream` describes and that are reached by `dialer`.
    pub fn new(upstream: &Upstream, dialer: &Dialer) -> Self {
        let is_named = upstream.kind == UpstreamKindChoice::Sentinel;
        Self {
            seeds: if is_named { Vec::new() } else { upstream.servers.clone() },
            sentinels: is_named.then(|| Watched {
                master: upstream.master.clone().unwrap_or_default(),
                sentinels: upstream.servers.clone(),
                credentials: Credentials {
                    user: upstream.sentinel_user.clone(),
                    password: upstream.sentinel_password.clone(),
                    next: None,
                    dialer: dialer.clone(),
                },
            }),
            kind: match upstream.kind {
                UpstreamKindChoice::Auto => None,
                UpstreamKindChoice::Single | UpstreamKindChoice::Sentinel => Some(UpstreamKind::Single),
                UpstreamKindChoice::Cluster => Some(UpstreamKind::Cluster),
            },
            credentials: Credentials {
                user: upstream.user.clone(),
                password: upstream.password.clone(),
                next: upstream.password_next.clone(),
                dialer: dialer.clone(),
            },
            name: upstream.name.clone(),
            timeouts: Timeouts { connect: upstream.connect_timeout, reply: upstream.request_timeout },
            refresh_interval: upstream.topology_refresh,
        }
    }
}

impl KeeperSettings {
    /// The servers that can be asked for data before anything is known of them: those that are named, or the masters that Sentinels name.
    pub async fn data_servers(&self) -> Vec<Address> {
        match &self.sentinels {
            Some(watched) => ask_sentinels(watched, self.timeouts, 0).await.masters,
            None => self.seeds.clone(),
        }
    }
}
