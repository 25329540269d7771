//! The quota registry: writes operators' changes to Redis and follows them, and polls limits that no flush can read.
//!
//! A change is a field of the counter's override hash, and the flush script of every gateway reads that hash. So all gateways
//! and every restart agree. The counters that have such a hash are members of one set, which every gateway reads twice a second:
//! what was changed anywhere is then told to the homes of the counters and shown, whether or not anybody uses them. The gateway
//! that made the change does so before it answers. What `FLUSHALL` removed is found the same way.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::masters::{Masters, Question};
use super::owner;
use super::quota_list::QuotaList;
use super::quota_reader;
use crate::admission::{KeyQuota, PolledLimit, QuotaAction, QuotaRules, overrides_index};
use crate::config::Config;
use crate::limits::POLLED_KEYS_MAX;
use crate::resp::first_error;
use crate::shared::audit::AuditEntry;
use crate::shared::events::{Event, EventKind};
use crate::shared::gateway::Gateway;
use crate::shared::quota_board::PolledLimits;
use crate::shared::quota_changes::{QuotaChange, QuotaChangeInbox};
use crate::shared::quota_overrides::{Override, Overrides, changes};

/// How long a change is tried. The asker waits for 5 s, so with two rounds of following it always hears what became of it.
const CHANGE_PATIENCE: Duration = Duration::from_millis(3500);

/// Changes that are carried out or wait for another of their counter. Beyond it they wait in the mailbox, which refuses when it is full.
const CHANGES_MAX: usize = 64;

/// How often the configuration is looked at while no limit is polled.
const IDLE_PERIOD: Duration = Duration::from_millis(250);

/// Between two rounds of asking Redis what operators have set, and about the counters that are followed.
const FOLLOW_PAUSE: Duration = Duration::from_millis(300);

/// Counters that are followed beside those with overrides: what was changed lately, and what the status line speaks of.
const FOLLOWED_MAX: usize = 64;

/// How long a counter is followed after it was changed.
const FOLLOWED_FOR: Duration = Duration::from_secs(5);

/// Carries out changes until the process stops, those of one counter in the order in which they were asked for, and follows
/// what was changed here and elsewhere. A change that a hung master holds up holds up nothing else.
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
    let mut waiting: Vec<QuotaChange> = Vec::new();
    let (mut underway, mut busy) = (JoinSet::new(), HashSet::new());
    loop {
        let mut place = 0;
        while let Some(change) = waiting.get(place) {
            if !busy.insert(change.key.clone()) {
                place += 1;
                continue;
            }
            let (gateway, change) = (Arc::clone(&follower.gateway), waiting.remove(place));
            underway.spawn(async move {
                let outcome = carry_out(&gateway, &change).await;
                (change, outcome)
            });
        }
        tokio::select! {
            biased;
            Some(done) = underway.join_next() => {
                if let Ok((change, outcome)) = done {
                    busy.remove(&change.key);
                    follower.changed(change, outcome).await;
                }
            }
            change = changes.recv(), if underway.len() + waiting.len() < CHANGES_MAX => {
                let Some(change) = change else { return };
                waiting.push(change);
            }
            () = sleep_until(due) => {
                follower.follow().await;
                due = Instant::now() + FOLLOW_PAUSE;
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
    async fn changed(&mut self, change: QuotaChange, outcome: Result<String, String>) {
        let before = shown(self.overrides.borrow().get(&change.key[..]));
        let key = self.gateway.key_names.label(&change.key);
        if let Ok(done) = &outcome {
            let event = Event::new(EventKind::QuotaChanged, key.clone(), done).by(&change.by);
            self.gateway.events.record(event);
        }
        let entry = AuditEntry::new(&change.by, format!("quota {}", change.action.word()), key)
            .because(&change.reason);
        self.gateway.audit.record(match &outcome {
            Ok(done) => entry.from_to(before, done),
            Err(why) => entry.from_to(before, "").failed(self.gateway.key_names.in_error(why)),
        });
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
        let (found, fault) = quota_reader::overrides(&mut self.masters, &former).await;
        self.note_rights(fault.as_ref());
        let until = Instant::now() + FOLLOWED_FOR;
        self.changed.extend(changes(&former, &found).map(|(key, _)| (key.clone(), until)));
        if *former != found {
            self.overrides.send_replace(Arc::new(found));
        }
        let overrides = Arc::clone(&self.overrides.borrow());
        self.list.overridden(Arc::clone(&overrides));
        let now = Instant::now();
        self.changed.retain(|_, until| *until > now);
        let spoken_of = self.list.spoken_of(FOLLOWED_MAX);
        let keys: BTreeSet<Bytes> =
            overrides.keys().chain(self.changed.keys()).cloned().chain(spoken_of).collect();
        let quotas: Vec<KeyQuota> = keys.iter().filter_map(|key| rules.of(key)).collect();
        let levels = quota_reader::levels(&mut self.masters, &rules, &quotas).await;
        for (quota, rows) in quotas.iter().zip(levels) {
            if let Some(rows) = rows {
                self.list.looked_up(quota.key(), rows, Instant::now());
            }
        }
    }
}

/// What operators have set for a counter, in words.
fn shown(set: Option<&Override>) -> String {
    let Some(set) = set.filter(|set| !set.is_empty()) else { return "what is configured".to_owned() };
    let limit = set.limit.map(|limit| format!("limit {limit}"));
    let words: Vec<String> = limit.into_iter().chain(set.paused.then(|| "paused".to_owned())).collect();
    words.join(", ")
}

async fn carry_out(gateway: &Gateway, change: &QuotaChange) -> Result<String, String> {
    let key = Bytes::copy_from_slice(&change.key);
    let quota = QuotaRules::compile(&gateway.config.load().quotas).of(&key);
    change.action.check(&key, quota.as_ref())?;
    let deadline = Instant::now() + CHANGE_PATIENCE;
    write(gateway, &key, &change.action.command(&key, &change.by.to_string()), deadline).await?;
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
    let reply = owner::ask(gateway, key, command, deadline).await;
    let reply = reply.map_err(|why| format!("Redis could not be written: {why}"))?;
    match first_error(&reply).map(String::from_utf8_lossy) {
        Some(text) => Err(format!("Redis refused the change: {text}")),
        None => Ok(()),
    }
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
        for (name, limit) in poller.read(wanted).await {
            // A limit that can't be read for the moment stays as it was.
            let limit = limit.or_else(|| limits.borrow().get(&name).copied());
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

    async fn read(&mut self, names: Vec<Bytes>) -> Vec<(Bytes, Option<PolledLimit>)> {
        let questions: Vec<Question> = names.iter().map(Question::get).collect();
        let replies = self.masters.ask(&questions).await;
        let limit_of = |reply: Option<Bytes>| reply.and_then(|reply| PolledLimit::of_reply(&reply));
        names.into_iter().zip(replies.into_iter().map(limit_of)).collect()
    }
}
