//! Requests meet the copies of hot values: a read is answered from one, waits for one or goes its way, and what is no such read
//! tells its client's guard, and drops copies if it writes.
//!
//! Composed of the copies ([`super::hot::cache`]), the guard of the client ([`super::client::copy_guard`]) and the connections. It
//! keeps nothing, and neither follows redirections nor repeats reads: that is done for these as for all requests.

use super::client::copy_guard::Closed;
use super::ended::Ended;
use super::hot::HotVerdict;
use super::hot::cache::{CacheFetch, Freshness, Read, Waiter};
use super::names::{CacheFetchId, ClientKey, ReplySlot, UpstreamKey};
use super::owners::Worker;
use super::pending::{Origin, Pending};
use super::reply::ReplyBytes;
use super::resolve::{KeyAt, Resolved};
use super::selection::Selection;
use super::upstream::Phase;
use crate::command::{Class, CommandFlags, Session};
use crate::config::ReadPolicy;
use crate::limits::LARGE_REPLY_BYTES;
use crate::resp::Request;
use crate::route::SlotAt;
use crate::shared::labels::{Outcome, RequestClass};

impl Worker {
    /// Looks at an operation on one key with the copies in mind. `None` when it goes on as if there were none.
    pub(super) fn look_at_copies(
        &mut self,
        client_key: ClientKey,
        resolved: &Resolved<'_>,
        (key, name): (KeyAt, &[u8]),
    ) -> Option<HotVerdict> {
        let policy = self.hot.read_policy(name, key.hash);
        if policy == ReadPolicy::Collapse {
            return None;
        }
        let cache = &mut self.hot.cache;
        let client = self.clients.all.get_mut(client_key)?;
        let session = &client.session;
        let (version, hash) = (session.version, key.hash);
        let may_be_copied = cache.is_copyable(resolved, version, policy)
            && session.database == 0
            && session.tracking.is_none();
        let closed = match may_be_copied {
            true => client.copies.close(hash, &client.replies, cache.moment()),
            false => None,
        };
        let Some(Closed { since, drops_key }) = closed else {
            return self.open_key(client_key, resolved, hash);
        };
        if drops_key {
            cache.drop_key(hash);
        }
        let request = resolved.request;
        let read = Read { request: request.bytes(), class: resolved.counts_as, version, name, hash, since };
        let way = if request.name().iter().any(u8::is_ascii_lowercase) {
            let mut spelled = std::mem::take(&mut cache.spelled);
            spell_in_capitals(request, &mut spelled);
            let way = self.answer_read(client_key, &Read { request: &spelled, ..read }, (policy, key.slot));
            self.hot.cache.spelled = spelled;
            way
        } else {
            self.answer_read(client_key, &read, (policy, key.slot))
        };
        way.or_else(|| self.open_key(client_key, resolved, hash))
    }

    /// Answers a read from a copy, or lets it wait for one. `None` when neither can be.
    fn answer_read(
        &mut self,
        client_key: ClientKey,
        read: &Read<'_>,
        (policy, slot): (ReadPolicy, SlotAt),
    ) -> Option<HotVerdict> {
        let Self { core, clients, hot, .. } = self;
        if let Some(reply) = hot.cache.copy_of(core, read) {
            let bytes = reply.len().min(u32::MAX as usize) as u32;
            let ended = Ended::shared(read.class, Outcome::Cached, core.now_ns, 0);
            clients.answer(core, client_key, ended, shared(reply));
            return Some(HotVerdict::Served(bytes));
        }
        let id = match hot.cache.fetch_underway(core.now_ns, read) {
            Some(id) => id,
            None => self.fetch(read, policy, slot)?,
        };
        if let Some(client) = self.clients.all.get_mut(client_key) {
            let sequence = client.await_fetch(read.hash, id);
            let received_ns = self.core.now_ns;
            self.hot.cache.wait_for(id, Waiter { client: client_key, sequence, received_ns });
        }
        self.core.tallies.read_cache.misses += 1;
        Some(HotVerdict::Combined(1))
    }

    /// Sends a read, the reply of which may become a copy. `None` when it can't be sent now.
    fn fetch(&mut self, read: &Read<'_>, policy: ReadPolicy, slot: SlotAt) -> Option<CacheFetchId> {
        let node = self.core.snapshots.topology.master_of(slot)?;
        let (connection, source, keep) = match policy {
            ReadPolicy::Tracked => {
                let (connection, source) = self.tracking_connection(node)?;
                (connection, Some(source), self.core.config.read_cache.tracked_age_max)
            }
            ReadPolicy::Ttl(ttl) => {
                // Always the same connection: later reads must not be run before earlier ones.
                let selection = Selection::of_version(read.version);
                (self.upstreams.shared_connection(&mut self.core, node, selection, 0), None, ttl)
            }
            ReadPolicy::Collapse => return None,
        };
        let is_ready = self.upstreams.connections.get(connection)?.phase() == Phase::Ready;
        let room = self.upstreams.room(&self.core, connection).filter(|_| is_ready)?;
        if !self.hot.cache.may_fetch() {
            return None;
        }
        let now_ns = self.core.now_ns;
        let until_ns = now_ns.saturating_add(keep.as_nanos() as u64);
        let id = self.hot.cache.begin_fetch(read, Freshness { connection, source, until_ns });
        let origin = Origin::CacheFetch(id, read.version);
        let pending = Pending::cache_fetch(origin, slot, read.class, now_ns);
        self.upstreams.send(room, pending, &[read.request]);
        Some(id)
    }

    /// The operation goes the ordinary way: the client may know more than copies from then on. It waits when a read of the
    /// same client is still on its way, which goes over another connection and would be overtaken.
    fn open_key(&mut self, client_key: ClientKey, resolved: &Resolved<'_>, hash: u64) -> Option<HotVerdict> {
        let client = self.clients.all.get_mut(client_key)?;
        if client.copies.awaits() {
            return Some(HotVerdict::Wait);
        }
        client.copies.open(hash, client.replies.next_sequence());
        if !resolved.reads_only() {
            self.hot.cache.drop_key(hash);
        }
        None
    }

    /// As [`Worker::look_at_copies`] for a request with several keys or none, which is never served from copies, before it is
    /// sent. `true` when it has to wait.
    pub(super) fn pass_copies(&mut self, client_key: ClientKey, resolved: &Resolved<'_>) -> bool {
        let Some(client) = self.clients.all.get(client_key).filter(|_| self.hot.cache.is_on()) else {
            return false;
        };
        let slot = client.replies.next_sequence();
        let names_copied = |(key, name): (KeyAt, &[u8])| self.hot.is_copied(name, key.hash);
        if client.copies.awaits() && (may_touch_any(resolved) || resolved.named_keys().any(names_copied)) {
            return true;
        }
        self.open_keys(client_key, resolved, slot);
        false
    }

    /// A request that went past queues and copies was sent: a part of a whole, a transaction, a command to all nodes.
    pub(super) fn passed_copies(&mut self, client_key: ClientKey, resolved: &Resolved<'_>) {
        if let Some(client) = self.clients.all.get(client_key).filter(|_| self.hot.cache.is_on()) {
            let slot = client.replies.next_sequence().wrapping_sub(1);
            self.open_keys(client_key, resolved, slot);
        }
    }

    fn open_keys(&mut self, client_key: ClientKey, resolved: &Resolved<'_>, slot: u32) {
        let Some(client) = self.clients.all.get_mut(client_key) else { return };
        for (key, name) in resolved.named_keys() {
            if !self.hot.is_copied(name, key.hash) {
                continue;
            }
            client.copies.open(key.hash, slot);
            if !resolved.reads_only() {
                self.hot.cache.drop_key(key.hash);
            }
        }
        if may_touch_any(resolved) {
            client.copies.open_all(slot);
        }
        // `FLUSHALL` and its like.
        if resolved.writes() && resolved.keys.is_empty() {
            self.hot.cache.drop_all();
        }
    }

    /// Databases were swapped, or may have been: Redis tells nobody of that who tracks keys. Other workers see it soon.
    pub(super) fn drop_all_copies(&mut self) {
        self.hot.cache.drop_all();
        self.core.gateway.swaps.note();
    }

    /// The reply to a fetch that was written at `sent_ns` has come on this connection.
    pub(super) fn settle_fetch(
        &mut self,
        id: CacheFetchId,
        connection: UpstreamKey,
        sent_ns: u64,
        reply: ReplyBytes<'_>,
    ) {
        let upstream = self.upstreams.connections.get(connection);
        let (spoken, node) =
            (upstream.map(|upstream| upstream.version), upstream.map(|upstream| upstream.node));
        let settled = self.hot.cache.settle_fetch(&mut self.core, id, (connection, spoken), reply);
        let Some((fetch, reply)) = settled else { return };
        let upstream_ns = self.core.now_ns.saturating_sub(sent_ns);
        self.answer_waiters(fetch, shared(&reply), |place, class, received_ns| match place {
            0 => Ended::fetched(class, received_ns, sent_ns).at(node),
            _ => Ended::shared(class, Outcome::Combined, received_ns, upstream_ns),
        });
    }

    /// A fetch came to nothing.
    pub(super) fn fail_fetch(&mut self, id: CacheFetchId, error: &[u8]) {
        if let Some(fetch) = self.hot.cache.take_fetch(id) {
            let failed = |_, class, _| Ended::untimed(class, Outcome::Failed);
            self.answer_waiters(fetch, ReplyBytes::Borrowed(error), failed);
        }
    }

    /// `end` says how each ends: by its place, the class of the read, and when it came.
    fn answer_waiters(
        &mut self,
        fetch: CacheFetch,
        reply: ReplyBytes<'_>,
        end: impl Fn(usize, RequestClass, u64) -> Ended,
    ) {
        for (place, waiter) in fetch.waiters.into_iter().enumerate() {
            if let Some(client) = self.clients.all.get_mut(waiter.client) {
                client.copies.settle();
            }
            let slot = ReplySlot::new(waiter.client, waiter.sequence);
            let ended = end(place, fetch.class, waiter.received_ns);
            self.clients.settle(&mut self.core, slot, ended, reply.clone());
        }
    }

    /// A fetch waits to be sent again. Those who wait for it send nothing meanwhile, as with any request.
    pub(super) fn hold_fetch(&mut self, id: CacheFetchId) {
        self.hot.cache.hold_fetch(id);
        for key in self.hot.cache.waiters_of(id) {
            if let Some(client) = self.clients.all.get_mut(key) {
                client.retrying += 1;
            }
        }
    }

    /// It is sent again.
    pub(super) fn resume_fetch(&mut self, id: CacheFetchId) {
        for key in self.hot.cache.waiters_of(id) {
            if let Some(client) = self.clients.all.get_mut(key) {
                client.retrying -= 1;
                client.wake();
            }
        }
    }

    /// Takes over a configuration. What clients did under rules that wanted no copies was not noted.
    pub(super) fn configure_copies(&mut self) {
        self.hot.cache.configure(&self.core.config);
        if !self.hot.cache.is_on() {
            self.close_tracking_connections();
        }
        for client in self.clients.all.iter_mut() {
            client.copies.open_all(client.replies.next_sequence().wrapping_sub(1));
        }
    }
}

/// Bytes that several get: shared where they are many.
fn shared(reply: &bytes::Bytes) -> ReplyBytes<'_> {
    match reply.len() >= LARGE_REPLY_BYTES {
        true => ReplyBytes::Owned(reply.clone()),
        false => ReplyBytes::Borrowed(reply),
    }
}

/// Lays the request out with its name in capitals: clients spell names as they like, and ask for the same.
fn spell_in_capitals(request: &Request<'_>, spelled: &mut Vec<u8>) {
    spelled.clear();
    spelled.extend_from_slice(request.bytes());
    if let Some(span) = request.spans().first()
        && let Some(name) = spelled.get_mut(span.start as usize..(span.start + span.len) as usize)
    {
        name.make_ascii_uppercase();
    }
}

/// Whether a command may change, or show, keys that its arguments do not name in plain places.
fn may_touch_any(resolved: &Resolved<'_>) -> bool {
    let runs_others = matches!(resolved.class, Class::Session(Session::Exec | Session::Blocking));
    let is_script = resolved.flags.contains(CommandFlags::NO_MANDATORY_KEYS);
    let movable = resolved.flags.contains(CommandFlags::MOVABLEKEYS);
    let writes_any = resolved.writes() && (resolved.keys.is_empty() || movable);
    resolved.is_malformed || runs_others || is_script || writes_any || resolved.follows_patterns
}
