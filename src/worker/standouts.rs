//! (c) Requests that stand out go into the command log: slow ones, large ones, and those with a large reply.
//!
//! Whether one does is three comparisons at its reply, while its bytes are still on the wire ([`super::upstream::Wire`]); all else is
//! paid by those that do. One that was folded is known by its command, its key and what it adds. How long a command blocks is
//! what its client asked for, and what the gateway answers by itself takes no time to speak of: neither is logged.
//!
//! A worker logs at most `slowlog.entries_max` requests of a kind in a second, since more would drive each other out; the others are
//! counted only. Passwords are left out, and keys are shown as `admin.hash_key_names` says ([`arguments`]).

mod arguments;
mod big;

use std::time::{SystemTime, UNIX_EPOCH};

use smallvec::SmallVec;

use super::client::Client;
use super::core::Core;
use super::names::{ClientKey, UpstreamKey};
use super::owners::Worker;
use super::pending::{Hook, Origin};
use super::retryable::Retryable;
use crate::config::SlowLog;
use crate::route::ClusterId;
use crate::shared::command_log::{LoggedRequest, Spent};
use crate::shared::handoff::{Answer, AnswerTo};
use crate::shared::labels::{Outcome, RequestClass, Standout};

const SECOND_NS: u64 = 1_000_000_000;

/// Why a request stands out, or the lists that it goes into.
type Lists = SmallVec<[Standout; Standout::COUNT]>;

/// By what a request may stand out.
#[derive(Clone, Copy)]
struct Measured {
    took_ns: u64,
    request_bytes: u64,
    reply_bytes: u64,
}

/// From where on a request stands out, and how many were logged.
pub struct Standouts {
    /// In nanoseconds; nothing takes as long as the largest number.
    slow_ns: u64,
    request_bytes_max: u64,
    reply_bytes_max: u64,
    /// From where on a request or a reply is looked at: it may be logged, or its key may be big.
    request_bytes_looked_at: u64,
    reply_bytes_looked_at: u64,
    entries_max: usize,
    /// When the second at hand began, and how many of each kind were logged in it.
    second_ns: u64,
    logged: [usize; Standout::COUNT],
}

impl Standouts {
    /// As the configuration says.
    pub fn new(config: &SlowLog) -> Self {
        let (request_bytes_max, reply_bytes_max) =
            (config.request_larger_than as u64, config.reply_larger_than as u64);
        Self {
            slow_ns: config.slower_than.map_or(u64::MAX, |slow| slow.as_nanos() as u64),
            request_bytes_max,
            reply_bytes_max,
            request_bytes_looked_at: request_bytes_max.min(big::BYTES_MAX),
            reply_bytes_looked_at: reply_bytes_max.min(big::REPLY_BYTES_MIN),
            entries_max: config.entries_max,
            second_ns: 0,
            logged: [0; Standout::COUNT],
        }
    }

    /// Whether a request may stand out that took so long and had so many bytes, as its reply did.
    #[inline]
    pub fn has(&self, took_ns: u64, request_bytes: u32, reply_bytes: usize) -> bool {
        took_ns >= self.slow_ns
            || u64::from(request_bytes) > self.request_bytes_looked_at
            || reply_bytes as u64 > self.reply_bytes_looked_at
    }

    /// Why it does.
    fn kinds(&self, of: Measured) -> Lists {
        let slow = (of.took_ns >= self.slow_ns).then_some(Standout::Slow);
        let request = (of.request_bytes > self.request_bytes_max).then_some(Standout::LargeRequest);
        let reply = (of.reply_bytes > self.reply_bytes_max).then_some(Standout::LargeReply);
        [slow, request, reply].into_iter().flatten().collect()
    }

    /// Which of the lists have room for one more now. Where all requests are slow, nearly none has: then only they are counted, and
    /// nothing is put together that nobody will read.
    fn with_room(&mut self, mut kinds: Lists, now_ns: u64) -> Lists {
        kinds.retain(|kind| self.has_room(*kind, now_ns));
        kinds
    }

    /// Whether one more of a kind is logged now.
    fn has_room(&mut self, kind: Standout, now_ns: u64) -> bool {
        if now_ns.saturating_sub(self.second_ns) >= SECOND_NS {
            (self.second_ns, self.logged) = (now_ns, Default::default());
        }
        let logged = &mut self.logged[kind.index()];
        let has_room = *logged < self.entries_max;
        *logged += usize::from(has_room);
        has_room
    }
}

/// An entry with where its time went: it took so long, of which Redis took `upstream_ns`.
fn timed(mut entry: LoggedRequest, took_ns: u64, upstream_ns: u64) -> LoggedRequest {
    let upstream_ns = upstream_ns.min(took_ns);
    entry.spent.whole_us = took_ns / 1000;
    entry.spent.waiting_us = (took_ns - upstream_ns) / 1000;
    entry.spent.upstream_us = upstream_ns / 1000;
    entry
}

impl Worker {
    /// The oldest request on a connection stands out, with the reply that has come. It is logged if that is its answer.
    #[cold]
    pub(super) fn note_standout(&mut self, key: UpstreamKey, reply: &[u8]) {
        let Some(upstream) = self.upstreams.connections.get_mut(key) else { return };
        let node = upstream.node;
        let Some((pending, bytes)) = upstream.wire.front_with_bytes() else { return };
        let is_last = (pending.leading, pending.delivered) == (0, 1) && pending.hook != Hook::Subscription;
        let is_answer = !reply.starts_with(b">") && Retryable::of(reply).is_none();
        if !is_last || !is_answer || pending.class == RequestClass::Blocking {
            return;
        }
        let now_ns = self.core.now_ns;
        let request = &bytes[(pending.prefix_len as usize).min(bytes.len())..];
        if matches!(pending.origin, Origin::Client { .. } | Origin::CacheFetch(..) | Origin::Flush(_)) {
            let cluster = self.core.snapshots.cluster_of_node(node);
            big::note(&mut self.core, cluster, request, reply);
        }
        let (took_ns, request_bytes) = (now_ns.saturating_sub(pending.received_ns), request.len() as u64);
        let measured = Measured { took_ns, request_bytes, reply_bytes: reply.len() as u64 };
        let kinds = self.core.standouts.kinds(measured);
        if kinds.is_empty() {
            return;
        }
        let client = match pending.origin {
            Origin::Client { key, .. } => Some(key),
            // The first of those who share the read stands for all.
            Origin::CacheFetch(fetch, _) => self.hot.cache.waiters_of(fetch).next(),
            _ => return,
        };
        if took_ns >= self.core.standouts.slow_ns
            && let Some(client) = client.and_then(|key| self.clients.all.get_mut(key))
        {
            client.slow_replies += 1;
        }
        let lists = count(&mut self.core, kinds);
        if lists.is_empty() {
            return;
        }
        let entry = LoggedRequest {
            cluster: cluster_name(&self.core, self.core.snapshots.cluster_of_node(node)),
            node: self.core.node_name(node),
            request_bytes,
            reply_bytes: reply.len() as u64,
            ..of_client(client.and_then(|key| self.clients.all.get(key)))
        };
        let entry = timed(entry, took_ns, now_ns.saturating_sub(pending.sent_ns));
        let arguments = arguments::of_bytes(&self.core, request);
        log(&self.core, lists, LoggedRequest { arguments, ..entry });
    }

    /// The answer to an operation that was folded stands out.
    #[cold]
    pub(super) fn note_folded_standout(&mut self, answer: &Answer, reply_bytes: usize) {
        let waiter = &answer.waiter;
        let AnswerTo::Slot { client, .. } = waiter.to else { return };
        if answer.ending.outcome == Outcome::Failed {
            return;
        }
        let took_ns = self.core.now_ns.saturating_sub(waiter.received_ns);
        let measured = Measured { took_ns, request_bytes: 0, reply_bytes: reply_bytes as u64 };
        let kinds = self.core.standouts.kinds(measured);
        if kinds.is_empty() {
            return;
        }
        let client = self.clients.all.get_mut(ClientKey::from_number(client)).map(|client| {
            client.slow_replies += u64::from(took_ns >= self.core.standouts.slow_ns);
            &*client
        });
        let lists = count(&mut self.core, kinds);
        if lists.is_empty() {
            return;
        }
        let hot = answer.hash.and_then(|hash| self.hot.entry(hash));
        let entry = LoggedRequest {
            cluster: hot.map(|hot| cluster_name(&self.core, hot.place.cluster)).unwrap_or_default(),
            folded: true,
            reply_bytes: reply_bytes as u64,
            ..of_client(client)
        };
        let entry = timed(entry, took_ns, waiter.upstream_ns);
        let key = answer.hash.and_then(|hash| match waiter.class {
            RequestClass::Reserve => self.hot.sku_of(hash),
            _ => self.hot.entry(hash).map(|entry| &entry.key[..]),
        });
        let arguments = arguments::of_folded(&self.core, waiter, key);
        log(&self.core, lists, LoggedRequest { arguments, ..entry });
    }
}

/// Counts a request that stands out, and says which lists it goes into.
fn count(core: &mut Core, kinds: Lists) -> Lists {
    kinds.iter().for_each(|kind| core.tallies.standouts[kind.index()] += 1);
    core.standouts.with_room(kinds, core.now_ns)
}

fn log(core: &Core, lists: Lists, mut entry: LoggedRequest) {
    entry.at_ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    for kind in lists {
        core.gateway.command_log.add(kind, entry.clone(), core.standouts.entries_max);
    }
}

fn cluster_name(core: &Core, cluster: ClusterId) -> String {
    core.config.cluster_name(cluster).to_owned()
}

/// An entry that says whose request it is.
fn of_client(client: Option<&Client>) -> LoggedRequest {
    let Some(client) = client else { return LoggedRequest::default() };
    LoggedRequest {
        address: client.peer.to_string(),
        name: client.session.name.to_vec(),
        user: client.session.user.to_vec(),
        spent: Spent { stalled_us: client.stall.silent_ns() / 1000, ..Spent::default() },
        ..LoggedRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_its_share_of_a_second_a_request_goes_into_no_list() {
        let mut standouts = Standouts::new(&SlowLog { entries_max: 2, ..SlowLog::default() });
        let slow = Measured { took_ns: standouts.slow_ns, request_bytes: 0, reply_bytes: 0 };
        let both = Measured { reply_bytes: standouts.reply_bytes_max + 1, ..slow };
        let mut lists_of = |measured, now_ns| {
            let kinds = standouts.kinds(measured);
            standouts.with_room(kinds, now_ns).to_vec()
        };
        assert_eq!(lists_of(slow, SECOND_NS), [Standout::Slow]);
        assert_eq!(lists_of(both, SECOND_NS), [Standout::Slow, Standout::LargeReply]);
        assert_eq!(lists_of(slow, 2 * SECOND_NS - 1), []);
        assert_eq!(lists_of(both, 2 * SECOND_NS - 1), [Standout::LargeReply]);
        assert_eq!(lists_of(slow, 2 * SECOND_NS), [Standout::Slow]);
    }
}
