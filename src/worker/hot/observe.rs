//! Each access to a key is counted, and an operation on a combined key is taken out of the ordinary path.

use std::sync::Arc;

use bytes::Bytes;

use super::entry::Home;
use super::govern::Turn;
use super::quota::{Held, refusal_alone};
use super::{Due, Entry, HeldCounters, Rules};
use crate::admission::CommandContext;
use crate::combine::{Foldable, KeyQueue, Op, QueueLimits, Verb};
use crate::command::glob;
use crate::command::{Command, CommandFlags, CommandId, KeyPositions};
use crate::config::{Config, Limits, RuleMode};
use crate::detect::{Access, Detector, DetectorConfig, EntryHandle, KeyId};
use crate::limits::{LONG_REQUEST_BYTES, QUEUE_BYTES_MAX, RULED_KEYS_MAX, RULED_NAME_BYTES_MAX};
use crate::resp::Request;
use crate::route::ClusterId;
use crate::shared::keyed::RowId;
use crate::shared::labels::RequestClass;
use crate::worker::client::Client;
use crate::worker::client::session::Replies;
use crate::worker::names::ClientKey;
use crate::worker::owners::Worker;

/// What a look at a request's keys has shown.
pub enum Seen {
    /// It goes the ordinary way. Where its reply's size is to be counted.
    Ordinary(Option<EntryHandle>),
    /// It goes the ordinary way, and later combined operations have to wait for it.
    Barrier(Option<EntryHandle>),
    /// It has been taken into a queue, or answered from a copy, and with it those right behind it that are equal: so many in
    /// all.
    Taken(u32),
    /// Something has to be answered first.
    Wait,
    /// It would pass by a quota: the error that it gets.
    Refused(String),
}

/// Which way a request goes, before its access is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Ordinary,
    Barrier,
    /// Into a queue, as many as this.
    Combined(u32),
    /// Answered from a copy, with so many bytes.
    Served(u32),
    Wait,
}

/// A detector as the configuration wants it; none when detection is off.
pub fn detector(config: &Config, now_ns: u64) -> Option<Box<Detector>> {
    let patterns: Vec<Vec<u8>> =
        config.detect.never_track.iter().map(|text| text.clone().into_bytes()).collect();
    let ignore = move |key: &[u8]| patterns.iter().any(|pattern| glob::matches(pattern, key));
    let sized = |tracked_keys| DetectorConfig { tracked_keys, sample_ratio: 1 };
    let fits = |tracked_keys: &usize| sized(*tracked_keys).memory_bytes_max() <= config.detect.memory_max;
    let tracked_keys = [65_536, 32_768, 16_384, 8192, 4096, 2048, 1024, 512, 256, 128].into_iter().find(fits);
    let detector = || Box::new(Detector::new(sized(tracked_keys.unwrap_or(64)), Box::new(ignore), now_ns));
    config.detect.enabled.then(detector)
}

impl Worker {
    /// Counts the accesses of a request whose keys are in one slot, and combines it if that is called for.
    pub fn observe(&mut self, client: ClientKey, command: CommandId, request: &Request<'_>) -> Seen {
        let known = self.core.snapshots.commands.get(command);
        let range = known.key_range;
        let single =
            range.first > 0 && range.last == range.first && !known.flags.contains(CommandFlags::MOVABLEKEYS);
        if !single {
            return self.observe_all(client, command, request);
        }
        let Some(key) = request.arg(range.first as usize) else { return Seen::Ordinary(None) };
        let class = self.core.snapshots.classes.of(command);
        let hash = self.hot.hasher.hash_one(key);
        let access = access_of(known, class, request, client);
        let way = match self.hot.is_idle() {
            true => Ok(Way::Ordinary),
            false => match self.look_at_copies(client, command, request, key, hash) {
                Some(way) => Ok(way),
                None => self.combine(client, command, request, key, hash),
            },
        };
        let way = match way {
            Ok(way) => way,
            Err(text) => return Seen::Refused(text),
        };
        if way == Way::Wait {
            return Seen::Wait;
        }
        let times = if let Way::Combined(operations) = way { operations } else { 1 };
        let detector = self.hot.detector.as_mut();
        let id = KeyId { cluster: ClusterId::DEFAULT, hash };
        let handle = detector.and_then(|detector| detector.record_many(key, id, access, times));
        match way {
            Way::Ordinary => Seen::Ordinary(handle),
            Way::Barrier => Seen::Barrier(handle),
            Way::Served(bytes) => {
                if let (Some(handle), Some(detector)) = (handle, &mut self.hot.detector) {
                    detector.record_reply(handle, bytes);
                }
                Seen::Taken(1)
            }
            Way::Combined(operations) => Seen::Taken(operations),
            Way::Wait => Seen::Wait,
        }
    }

    fn observe_all(&mut self, client: ClientKey, command: CommandId, request: &Request<'_>) -> Seen {
        if let Some(text) = self.refusal_beside_quota(client, command, request, CommandContext::Alone) {
            return Seen::Refused(text);
        }
        if self.pass_copies(client, command, request) {
            return Seen::Wait;
        }
        let passes = self.may_pass(client);
        let known = self.core.snapshots.commands.get(command);
        let class = self.core.snapshots.classes.of(command);
        let mut keys = KeyPositions::new();
        if known.keys(request, &mut keys).is_err() {
            return Seen::Ordinary(None);
        }
        let is_combined = |place: &u32| {
            let key = request.arg(*place as usize).unwrap_or_default();
            let entry = self.hot.entries.get(&self.hot.hasher.hash_one(key));
            entry.is_some_and(|entry| !passes || !entry.passes())
        };
        // A script that names no keys may touch any, and so may a `SORT` by patterns.
        let names_none = keys.is_empty() && !known.flags.contains(CommandFlags::PUBSUB);
        let touches_any = names_none || known.follows_patterns(request);
        let combined = !self.hot.is_idle() && (touches_any || keys.iter().any(is_combined));
        // It may touch a combined key beside the queue.
        if combined && self.has_combined(client) {
            return Seen::Wait;
        }
        let access = access_of(known, class, request, client);
        for place in keys {
            let Some(key) = request.arg(place as usize) else { continue };
            let hash = self.hot.hasher.hash_one(key);
            if let Some(detector) = &mut self.hot.detector {
                detector.record(key, KeyId { cluster: ClusterId::DEFAULT, hash }, access);
            }
        }
        if combined { Seen::Barrier(None) } else { Seen::Ordinary(None) }
    }

    /// Which way an operation on one key goes; the error if it would pass by a quota.
    fn combine(
        &mut self,
        client_key: ClientKey,
        command: CommandId,
        request: &Request<'_>,
        key: &[u8],
        hash: u64,
    ) -> Result<Way, String> {
        // What would take its lane for itself, and much of the queue, goes as it came.
        let foldable = self.hot.foldable(command).filter(|_| request.bytes().len() < LONG_REQUEST_BYTES);
        let op = foldable.and_then(|foldable| foldable.op(request));
        let known = self.hot.entries.get(&hash).is_some_and(|entry| entry.key == key);
        if !known && self.hot.quotas.holds(key, hash) {
            let database = self.clients.all.get(client_key).map_or(0, |client| client.session.database);
            if !matches!(op, Some(Op::Increment(_))) || database != 0 {
                let refusal = self.refusal_of_unknown(command, request, key, hash, op.as_ref(), database);
                if refusal.is_none() && self.core.snapshots.commands.get(command).is_write() {
                    self.note_written(client_key, hash);
                }
                return refusal.map_or(Ok(Way::Ordinary), Err);
            }
            self.begin_by_quota(key, hash)?;
        } else if !known && !self.begin_by_rule(key, hash) {
            return Ok(Way::Ordinary);
        }
        if let Turn::Goes(way) = self.take_turn(client_key, hash, op.is_some()) {
            return Ok(way);
        }
        let is_copied = self.is_copied(key, hash);
        let Some(client) = self.clients.all.get_mut(client_key) else { return Ok(Way::Ordinary) };
        let Some(entry) = self.hot.entries.get_mut(&hash) else { return Ok(Way::Ordinary) };
        let database = client.session.database;
        if let Some(quota) = &entry.quota {
            let writes = self.core.snapshots.commands.get(command).is_write();
            if let Some(text) = refusal_alone(quota, op.as_ref(), request, writes, database) {
                return Err(text);
            }
        }
        let clamped = entry.quota.is_some() && matches!(op, Some(Op::Increment(_)));
        let Some(op) = op.filter(|_| database == 0 && (clamped || client.session.tracking.is_none())) else {
            if entry.quota.is_some() && self.core.snapshots.commands.get(command).is_write() {
                client.written.note(hash);
            }
            return Ok(if client.combined > 0 { Way::Wait } else { Way::Barrier });
        };
        if !entry.is_wanted() {
            return Ok(if client.combined > 0 { Way::Wait } else { Way::Barrier });
        }
        if !client.may_combine(self.hot.epoch) {
            return Ok(Way::Wait);
        }
        // A write in the queue that its node holds back must not hold back a read that was never behind it.
        let reads = matches!(op, Op::Get | Op::HashGet { .. } | Op::Read { .. });
        if reads && client.combined == 0 && self.is_held_up(key) {
            return Ok(Way::Barrier);
        }
        let Some(client) = self.clients.all.get_mut(client_key) else { return Ok(Way::Ordinary) };
        // Where there may be copies, each operation is looked at for what its client has seen.
        let repeats_max = if is_copied { 0 } else { client.repeats_max(&self.core.config.limits) };
        let operations = 1 + request.repeats(repeats_max) as u32;
        self.enqueue(client_key, hash, (op, foldable.map_or(Verb::default(), Foldable::verb)), operations);
        Ok(Way::Combined(operations))
    }

    /// Begins to combine a key that no one knew, if a rule says so.
    fn begin_by_rule(&mut self, key: &[u8], hash: u64) -> bool {
        let wanted = self.hot.rules.mode_of(key, hash) == RuleMode::Combine;
        let wanted = wanted && key.len() <= RULED_NAME_BYTES_MAX;
        if !wanted || self.hot.entries.len() >= RULED_KEYS_MAX || self.hot.entries.contains_key(&hash) {
            return false;
        }
        self.begin(Bytes::copy_from_slice(key), hash, false);
        true
    }

    /// Begins to combine a key. Whoever caused it, a rule that wants the key combined keeps it so when it cools.
    pub(super) fn begin(&mut self, key: Bytes, hash: u64, hot: bool) {
        let ruled = self.hot.rules.mode_of(&key, hash) == RuleMode::Combine;
        let home = (hash % self.core.gateway.workers.len() as u64) as usize;
        let quota = self.hot.quotas.of(&key, hash);
        let queue = (home == self.core.index).then(|| {
            let row = self.core.tallies.combine.keys.acquire(Arc::from(&key[..]));
            let held = quota.clone().map(|quota| self.hold(hash, quota));
            Box::new(self.new_home(&key, self.core.gateway.id.as_bytes(), row, held))
        });
        let held_bytes =
            quota.as_ref().map_or(0, |quota| HeldCounters::weigh(quota, home == self.core.index));
        if quota.is_some() {
            self.hot.held.add(held_bytes);
        }
        let entry = Entry { ruled, hot, quota, held_bytes, ..Entry::new(key, home, self.core.now_ns, queue) };
        self.hot.arm(Due::Cool(hash), entry.idle_due_ns());
        if entry.is_forced() {
            self.hot.epoch = self.hot.epoch.wrapping_add(1);
        }
        self.hot.entries.insert(hash, entry);
    }

    /// An empty queue whose tokens bear this identity.
    pub(super) fn new_home(&self, key: &Bytes, identity: &[u8], row: RowId, held: Option<Box<Held>>) -> Home {
        Home {
            held,
            row,
            waiting_since_ns: 0,
            queue: KeyQueue::new(key.clone(), identity, queue_limits(&self.core.config))
                .sharing(&self.hot.spares)
                .cautious(),
            sending: Default::default(),
            charge: None,
            unconfirmed: Vec::new(),
            dirty: false,
            failed_since_ns: 0,
            said: None,
            retry_at_ns: 0,
            target: None,
            tallied: Default::default(),
        }
    }

    /// Whether something of a client is in a queue, or waits for a copy.
    pub fn has_combined(&self, client: ClientKey) -> bool {
        self.clients.all.get(client).is_some_and(|client| client.combined > 0 || client.copies.awaits())
    }

    /// Counts an access to a key that is not looked at otherwise.
    pub fn record_access(
        &mut self,
        client: ClientKey,
        command: CommandId,
        request: &Request<'_>,
        key: &[u8],
        hash: u64,
    ) {
        let known = self.core.snapshots.commands.get(command);
        let access = access_of(known, self.core.snapshots.classes.of(command), request, client);
        if let Some(detector) = &mut self.hot.detector {
            detector.record(key, KeyId { cluster: ClusterId::DEFAULT, hash }, access);
        }
    }

    /// Takes over a new configuration. What was counted and copied under the former one stays unless it is about that.
    pub fn configure_hot(&mut self, former_config: Option<&Config>) {
        let config = &self.core.config;
        let counts_alike = former_config.is_some_and(|former| {
            former.detect.enabled == config.detect.enabled
                && former.detect.never_track == config.detect.never_track
        });
        let copies_alike = former_config.is_some_and(|former| {
            former.read_cache == config.read_cache
                && former.rules == config.rules
                && former.quotas == config.quotas
        });
        let former = std::mem::replace(&mut self.hot.rules, Rules::new(&self.core.config.rules));
        self.leave_rules(former);
        // What was sent before under other rules has to be answered before anything goes by a home under these, and the
        // other way round.
        self.hot.epoch = self.hot.epoch.wrapping_add(1);
        self.hot.govern.on_passing();
        if !counts_alike {
            self.hot.detector = detector(&self.core.config, self.core.now_ns);
        }
        let (rules, timers) = (&mut self.hot.rules, &mut self.hot.timers);
        for (hash, entry) in &mut self.hot.entries {
            timers.arm(Due::Cool(*hash), self.core.now_ns);
            if let Some(home) = &mut entry.queue {
                home.queue.set_limits(queue_limits(&self.core.config));
            }
            if !entry.serves_debts {
                entry.ruled = rules.mode_of(&entry.key, *hash) == RuleMode::Combine;
            }
        }
        if !copies_alike {
            self.configure_copies();
        }
        self.hot.cache.forgive_refusals();
        self.configure_quotas();
        self.hot.hot_set_version = None;
        let hot_set = Arc::clone(&self.core.gateway.hot_set.borrow());
        self.adopt_hot_set(&hot_set);
        self.configure_behind();
    }
}

fn queue_limits(config: &Config) -> QueueLimits {
    QueueLimits { operations_max: config.combine.pending_max, bytes_max: QUEUE_BYTES_MAX }
}

impl Client {
    /// Whether everything that this client sent before the newest combined key was one has been answered, and everything
    /// that went past a queue since.
    pub fn may_combine(&mut self, epoch: u32) -> bool {
        if self.combine_epoch != epoch {
            self.combine_epoch = epoch;
            self.combine_after = self.replies.next_sequence();
        }
        self.replies.has_left(self.combine_after)
    }

    /// How many requests equal to one that is combined may go with it.
    fn repeats_max(&self, limits: &Limits) -> usize {
        if self.session.replies != Replies::On || self.passage.is_some() {
            return 0;
        }
        self.window.requests_max(limits).saturating_sub(self.replies.len() + 1)
    }
}

fn access_of(command: &Command, class: RequestClass, request: &Request<'_>, client: ClientKey) -> Access {
    Access {
        write: command.is_write(),
        counter: class == RequestClass::Counter,
        bytes_in: request.bytes().len().min(u32::MAX as usize) as u32,
        client: client.to_number(),
    }
}
