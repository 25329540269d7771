//! The quota registry: writes operators' changes to Redis, and polls limits that no flush can read.
//!
//! A change is a field of the counter's override hash, and the flush script of every gateway reads that hash. So all gateways
//! and every restart agree, and this process stores nothing. The home of a key learns of a change from its next flush; for
//! an exhausted or paused counter, at the next recheck.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::topology::KeeperSettings;
use super::upstream_client::{UpstreamClient, UpstreamError};
use crate::admission::{PolledLimit, QuotaAction, QuotaRules};
use crate::config::Config;
use crate::limits::POLLED_KEYS_MAX;
use crate::resp::first_error;
use crate::shared::gateway::Gateway;
use crate::shared::quota_board::PolledLimits;
use crate::shared::quota_changes::{QuotaChange, QuotaChangeInbox};
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::Address;

/// How long a change is tried. The asker waits for 5 s, so that it always hears what became of it.
const CHANGE_PATIENCE: Duration = Duration::from_secs(4);

/// Between attempts at a change.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How often the configuration is looked at while no limit is polled.
const IDLE_PERIOD: Duration = Duration::from_millis(250);

/// Carries out changes one after the other, in order of arrival, until the process stops.
pub async fn serve_changes(gateway: Arc<Gateway>, mut changes: QuotaChangeInbox) {
    while let Some(change) = changes.recv().await {
        let outcome = carry_out(&gateway, &change).await;
        let key = change.key.escape_ascii().to_string();
        match &outcome {
            Ok(done) => tracing::info!(key, by = change.by, "quota changed: {done}"),
            Err(why) => {
                tracing::warn!(key, by = change.by, action = ?change.action, "quota not changed: {why}")
            }
        }
        // The asker may have given up.
        let _ = change.verdict.send(outcome);
    }
}

async fn carry_out(gateway: &Gateway, change: &QuotaChange) -> Result<String, String> {
    let key = Bytes::copy_from_slice(&change.key);
    let quota = QuotaRules::compile(&gateway.config.load().quotas).of(&key);
    change.action.check(&key, quota.as_ref())?;
    write(gateway, &key, &change.action.command(&key)).await?;
    Ok(match change.action {
        QuotaAction::Pause => "paused".to_owned(),
        QuotaAction::Resume => "resumed".to_owned(),
        QuotaAction::Reset => "what is configured holds again".to_owned(),
        QuotaAction::Limit(limit) => format!("limit {limit}"),
    })
}

/// Sends a write that may be repeated to the master of the key's slot, again and again until it took effect.
async fn write(gateway: &Gateway, key: &[u8], command: &[Bytes]) -> Result<(), String> {
    let deadline = Instant::now() + CHANGE_PATIENCE;
    let place = gateway.routes.place_of(key);
    let arguments: Vec<&[u8]> = command.iter().map(|word| &word[..]).collect();
    loop {
        let why = match gateway.master_at(place) {
            None => "the slot of the key has no master".to_owned(),
            Some(address) => match send(&gateway.config.load_full(), &address, &arguments).await {
                Ok(reply) => match first_error(&reply).map(String::from_utf8_lossy) {
                    None => return Ok(()),
                    Some(text) if !is_passing(&text) => {
                        return Err(format!("Redis refused the change: {text}"));
                    }
                    Some(text) => text.into_owned(),
                },
                Err(error) => error.to_string(),
            },
        };
        if Instant::now() + RETRY_PAUSE >= deadline {
            return Err(format!("Redis could not be written: {why}"));
        }
        let seen_version = gateway.topology.load().cluster(place.cluster).version;
        gateway.refresh.request(place.cluster, RefreshReason::Unassigned, seen_version);
        sleep(RETRY_PAUSE).await;
    }
}

async fn send(config: &Config, address: &Address, arguments: &[&[u8]]) -> Result<Bytes, UpstreamError> {
    let KeeperSettings { credentials, timeouts, .. } = KeeperSettings::from(&config.upstream);
    UpstreamClient::connect(address, &credentials, timeouts).await?.command_raw(arguments).await
}

/// Another node would take it, or this one in a moment.
fn is_passing(error: &str) -> bool {
    ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY"]
        .iter()
        .any(|code| error.starts_with(code))
}

/// Polls limits that quotas keep in keys of other slots, and publishes what changed; says at the start, and after a reload, which
/// quotas that concerns.
pub async fn poll_limits(gateway: Arc<Gateway>, limits: watch::Sender<Arc<PolledLimits>>) {
    let mut poller = Poller { gateway, connections: HashMap::new(), announced: Vec::new(), crowded: false };
    loop {
        let config = poller.gateway.config.load_full();
        poller.announce(&config);
        let wanted = poller.wanted();
        let idle = wanted.is_empty();
        // What nobody polls any more is forgotten: it may change unseen.
        let mut found = PolledLimits::with_capacity(wanted.len());
        for name in wanted {
            // A limit that can't be read for the moment stays as it was.
            let limit = poller.read(&config, &name).await.or_else(|| limits.borrow().get(&name).copied());
            found.extend(limit.map(|limit| (name, limit)));
        }
        limits.send_if_modified(|published| {
            let changed = **published != found;
            if changed {
                *published = Arc::new(found);
            }
            changed
        });
        let recheck = config
            .quotas
            .iter()
            .filter(|quota| quota.limit_key.is_some() && !idle)
            .map(|quota| quota.recheck);
        sleep(recheck.min().unwrap_or(IDLE_PERIOD)).await;
    }
}

struct Poller {
    gateway: Arc<Gateway>,
    connections: HashMap<Address, UpstreamClient>,
    /// The sentences that were logged last.
    announced: Vec<String>,
    /// There are more keys than are polled, and it was said.
    crowded: bool,
}

impl Poller {
    fn announce(&mut self, config: &Config) {
        let notices = QuotaRules::compile(&config.quotas).notices();
        if notices != self.announced {
            notices.iter().for_each(|notice| tracing::info!("{notice}"));
            self.announced = notices;
        }
    }

    /// The limit keys that the homes of all workers ask for.
    fn wanted(&mut self) -> Vec<Bytes> {
        let boards = self.gateway.workers.iter().map(|worker| worker.quotas.load_full());
        let names: BTreeSet<Bytes> = boards.flat_map(|board| board.polled.clone()).collect();
        let crowded = names.len() > POLLED_KEYS_MAX;
        if crowded && !self.crowded {
            let polled = POLLED_KEYS_MAX;
            tracing::warn!(polled, "more limit keys than are polled: counters of the others refuse");
        }
        self.crowded = crowded;
        names.into_iter().take(POLLED_KEYS_MAX).collect()
    }

    async fn read(&mut self, config: &Config, name: &Bytes) -> Option<PolledLimit> {
        let address = self.gateway.master_at(self.gateway.routes.place_of(name))?;
        let mut client = match self.connections.remove(&address) {
            Some(client) => client,
            None => {
                let KeeperSettings { credentials, timeouts, .. } = KeeperSettings::from(&config.upstream);
                UpstreamClient::connect(&address, &credentials, timeouts).await.ok()?
            }
        };
        let reply = client.command_raw(&[b"GET", name]).await.ok()?;
        self.connections.insert(address, client);
        PolledLimit::of_reply(&reply)
    }
}
