//! The quota registry: writes operators' changes to Redis and follows them, and polls limits that no flush can read.
//!
//! A change is a field of the counter's override hash, and the flush script of every gateway reads that hash. So all gateways
//! and every restart agree. The counters that have such a hash are members of one set, which every gateway reads twice a second:
//! what was changed anywhere is then told to the homes of the counters and shown, whether or not anybody uses them. The gateway
//! that made the change does so before it answers. What `FLUSHALL` removed is found the same way.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::masters::Masters;
use super::quota_list::QuotaList;
use super::quota_reader;
use super::topology::KeeperSettings;
use super::upstream_client::{UpstreamClient, UpstreamError};
use crate::admission::{PolledLimit, QuotaAction, QuotaRules, overrides_index};
use crate::config::Config;
use crate::limits::POLLED_KEYS_MAX;
use crate::resp::first_error;
use crate::shared::gateway::Gateway;
use crate::shared::quota_board::PolledLimits;
use crate::shared::quota_changes::{QuotaChange, QuotaChangeInbox};
use crate::shared::quota_overrides::{Overrides, changes};
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::Address;

/// How long a change is tried. The asker waits for 5 s, so with two rounds of following it always hears what became of it.
const CHANGE_PATIENCE: Duration = Duration::from_millis(3500);

/// Between attempts at a change.
const RETRY_PAUSE: Duration = Duration::from_millis(100);

/// How often the configuration is looked at while no limit is polled.
const IDLE_PERIOD: Duration = Duration::from_millis(250);

/// How often Redis is asked what operators have set, and about the counters that are followed.
const FOLLOW_PERIOD: Duration = Duration::from_millis(400);

/// How long Redis is asked for either of both in one round. What was not reached is asked for in the next.
const ROUND_PATIENCE: Duration = Duration::from_millis(300);

/// Counters that are followed beside those with overrides: what was changed lately, and what the status line speaks of.
const FOLLOWED_MAX: usize = 64;

/// How long a counter is followed after it was changed.
const FOLLOWED_FOR: Duration = Duration::from_secs(5);

/// Carries out changes until the process stops, one after the other, in the order in which they were asked for, and follows
/// what was changed here and elsewhere.
pub async fn serve_changes(
    gateway: Arc<Gateway>,
    mut changes: QuotaChangeInbox,
    overrides: watch::Sender<Arc<Overrides>>,
    list: QuotaList,
) {
    let masters = Masters::new(Arc::clone(&gateway));
    let mut follower =
        Follower { gateway, masters, overrides, list, changed: HashMap::new(), lacks_right: false };
    let mut due = Instant::now();
    loop {
        tokio::select! {
            biased;
            change = changes.recv() => {
                let Some(change) = change else { return };
                follower.change(change).await;
            }
            () = sleep_until(due) => {
                follower.follow().await;
                due = Instant::now() + FOLLOW_PERIOD;
            }
        }
    }
}

struct Follower {
    gateway: Arc<Gateway>,
    masters: Masters,
    overrides: watch::Sender<Arc<Overrides>>,
    list: QuotaList,
    /// Counters that were changed lately, and until when they are followed.
    changed: HashMap<Bytes, Instant>,
    /// The right to follow is missing, and it was said.
    lacks_right: bool,
}

impl Follower {
    async fn change(&mut self, change: QuotaChange) {
        let outcome = carry_out(&self.gateway, &change).await;
        let key = change.key.escape_ascii().to_string();
        match &outcome {
            Ok(done) => tracing::info!(key, by = change.by, "quota changed: {done}"),
            Err(why) => {
                tracing::warn!(key, by = change.by, action = ?change.action, "quota not changed: {why}")
            }
        }
        self.changed.insert(change.key.clone().into(), Instant::now() + FOLLOWED_FOR);
        self.follow().await;
        // The asker may have given up.
        let _ = change.verdict.send(outcome);
    }

    /// Says once that other gateways' changes can't be followed. They take effect with the next flush all the same.
    fn note_rights(&mut self, fault: Option<&String>) {
        let lacks = fault.is_some_and(|why| why.starts_with("NOPERM"));
        if lacks && !self.lacks_right {
            tracing::warn!(
                "the upstream user may not use SMEMBERS, SADD and SREM on ~{{???}}hotgate:*: what is changed of quotas at other \
                 gateways takes effect with the next flush, and shows only then"
            );
        }
        self.lacks_right = lacks;
    }

    /// Reads what operators have set and how the counters stand that it concerns, and publishes both.
    async fn follow(&mut self) {
        let rules = QuotaRules::compile(&self.gateway.config.load().quotas);
        let former = Arc::clone(&self.overrides.borrow());
        if rules.is_empty() && former.is_empty() {
            return;
        }
        // What can't be read stays as it was.
        let asked = quota_reader::overrides(&mut self.masters, &former);
        let found = timeout(ROUND_PATIENCE, asked).await.unwrap_or(Err("no answer in time".to_owned()));
        self.note_rights(found.as_ref().err());
        if let Ok(found) = found {
            let until = Instant::now() + FOLLOWED_FOR;
            self.changed.extend(changes(&former, &found).map(|(key, _)| (key.clone(), until)));
            if *former != found {
                self.overrides.send_replace(Arc::new(found));
            }
        }
        let overrides = Arc::clone(&self.overrides.borrow());
        self.list.overridden(Arc::clone(&overrides));
        let now = Instant::now();
        self.changed.retain(|_, until| *until > now);
        let spoken_of = self.list.spoken_of(FOLLOWED_MAX);
        let keys: BTreeSet<Bytes> =
            overrides.keys().chain(self.changed.keys()).cloned().chain(spoken_of).collect();
        let deadline = Instant::now() + ROUND_PATIENCE;
        for key in keys {
            let Some(quota) = rules.of(&key) else { continue };
            // A master that does not answer does not hold up those that do.
            let patience = deadline.saturating_duration_since(Instant::now()).min(quota_reader::KEY_PATIENCE);
            let asked = quota_reader::levels(&mut self.masters, &rules, &quota);
            if let Ok(Ok(rows)) = timeout(patience, asked).await {
                self.list.looked_up(&key, rows, Instant::now());
            }
        }
    }
}

async fn carry_out(gateway: &Gateway, change: &QuotaChange) -> Result<String, String> {
    let key = Bytes::copy_from_slice(&change.key);
    let quota = QuotaRules::compile(&gateway.config.load().quotas).of(&key);
    change.action.check(&key, quota.as_ref())?;
    let deadline = Instant::now() + CHANGE_PATIENCE;
    write(gateway, &key, &change.action.command(&key, &change.by), deadline).await?;
    let index = overrides_index();
    if let Err(why) = write(gateway, &index, &change.action.index_command(&key), deadline).await {
        // The change is made, and flushes heed it.
        tracing::warn!("other gateways learn of a quota's change with their next flush only: {why}");
    }
    Ok(match change.action {
        QuotaAction::Pause => "paused".to_owned(),
        QuotaAction::Resume => "resumed".to_owned(),
        QuotaAction::Reset => "what is configured holds again".to_owned(),
        QuotaAction::Limit(limit) => format!("limit {limit}"),
    })
}

/// Sends a write that may be repeated to the master of the key's slot, again and again until it took effect.
async fn write(gateway: &Gateway, key: &[u8], command: &[Bytes], deadline: Instant) -> Result<(), String> {
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
    let masters = Masters::new(Arc::clone(&gateway));
    let mut poller = Poller { gateway, masters, announced: Vec::new(), crowded: false };
    loop {
        let config = poller.gateway.config.load_full();
        poller.announce(&config);
        let wanted = poller.wanted();
        let idle = wanted.is_empty();
        // What nobody polls any more is forgotten: it may change unseen.
        let mut found = PolledLimits::with_capacity(wanted.len());
        for name in wanted {
            // A limit that can't be read for the moment stays as it was.
            let limit = poller.read(&name).await.or_else(|| limits.borrow().get(&name).copied());
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
    masters: Masters,
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

    async fn read(&mut self, name: &Bytes) -> Option<PolledLimit> {
        PolledLimit::of_reply(&self.masters.ask_raw(name, &[b"GET", name]).await?)
    }
}
