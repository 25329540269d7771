//! Reads that make copies: sent once for all who want the same, and settled with whatever comes back.
//!
//! A fill belongs to nobody, so it goes on when its first client has left. Like any read it is redirected and repeated when
//! its connection breaks; it then goes over the worker's shared connection and makes no copy.

use bytes::Bytes;
use smallvec::smallvec;

use super::lookup::Read;
use super::store::{Reply, UNTRACKED};
use super::{Fill, Waiter};
use crate::config::ReadPolicy;
use crate::limits::{FILLS_MAX, LARGE_REPLY_BYTES};
use crate::resp::{Request, RespVersion, resp2_form};
use crate::shared::labels::{Outcome, RequestClass};
use crate::shared::topology::UpstreamKind;
use crate::worker::ended::Ended;
use crate::worker::names::{ClientKey, FillId, ReplySlot, UpstreamKey};
use crate::worker::owners::Worker;
use crate::worker::pending::{Origin, Pending};
use crate::worker::reply::ReplyBytes;
use crate::worker::selection::Selection;
use crate::worker::upstream::Phase;

fn place_of(version: RespVersion) -> usize {
    usize::from(version == RespVersion::Resp3)
}

impl Worker {
    /// Lets a client wait for a fill of the same request, if there is one whose reply it may have.
    pub(super) fn await_fill(
        &mut self,
        client_key: ClientKey,
        request: &Request<'_>,
        read: &Read<'_>,
    ) -> bool {
        let cache = &mut self.hot.cache;
        let id = cache.underway[place_of(read.version)].get(request.bytes()).copied();
        let Some(id) = id.filter(|id| id.0 >= read.since && cache.store.is_current(read.hash, id.0)) else {
            return false;
        };
        if cache.fills.get(&id).is_none_or(|fill| fill.until_ns <= self.core.now_ns) {
            return false;
        }
        let waiter = self.wait_for_fill(client_key, read.hash, id);
        match (self.hot.cache.fills.get_mut(&id), waiter) {
            (Some(fill), Some(waiter)) => fill.waiters.push(waiter),
            _ => return false,
        }
        true
    }

    /// Sends a read for a client, the reply of which may become a copy. `false` when it can't be sent now.
    pub(super) fn send_fill(
        &mut self,
        client_key: ClientKey,
        request: &Request<'_>,
        read: &Read<'_>,
    ) -> bool {
        let Read { class, version, hash, .. } = *read;
        let mut place = self.core.snapshots.routes.place_of(read.key);
        // As for every request to a server that stands alone.
        if self.core.snapshots.topology.cluster(place.cluster).kind == UpstreamKind::Single {
            place.slot = 0;
        }
        let Some(node) = self.core.snapshots.topology.master_of(place) else { return false };
        let (connection, source, keep) = match read.policy {
            ReadPolicy::Tracked => match self.tracking_connection(node) {
                Some((connection, source)) => {
                    (connection, source, self.core.config.read_cache.tracked_age_max)
                }
                None => return false,
            },
            ReadPolicy::Ttl(ttl) => {
                // Always the same lane: later reads must not be run before earlier ones.
                let selection = Selection::of_version(version);
                (self.upstreams.shared_connection(&mut self.core, node, selection, 0), UNTRACKED, ttl)
            }
            ReadPolicy::Collapse => return false,
        };
        let is_ready = self
            .upstreams
            .connections
            .get(connection)
            .is_some_and(|upstream| upstream.phase() == Phase::Ready);
        let Some(room) = self.upstreams.room(&self.core, connection).filter(|_| is_ready) else {
            return false;
        };
        if self.hot.cache.fills.len() >= FILLS_MAX {
            return false;
        }
        let id = FillId(self.hot.cache.store.send());
        let Some(waiter) = self.wait_for_fill(client_key, hash, id) else { return false };
        let bytes = Bytes::copy_from_slice(request.bytes());
        self.hot.cache.underway[place_of(version)].insert(bytes.clone(), id);
        let fill = Fill {
            request: bytes,
            version,
            key: hash,
            class,
            connection,
            source,
            until_ns: self.core.now_ns.saturating_add(keep.as_nanos() as u64),
            waiters: smallvec![waiter],
        };
        self.hot.cache.fills.insert(id, fill);
        let pending = Pending::copy_fetch(Origin::Fill(id, version), place, class, self.core.now_ns);
        self.upstreams.send(room, pending, &[request.bytes()]);
        true
    }

    fn wait_for_fill(&mut self, client_key: ClientKey, hash: u64, id: FillId) -> Option<Waiter> {
        let client = self.clients.all.get_mut(client_key)?;
        let suppressed = client.take_suppressed();
        client.copies.wait(hash, id.0);
        let sequence = client.replies.push_waiting(suppressed);
        Some(Waiter { client: client_key, sequence, received_ns: self.core.now_ns })
    }

    /// The reply to a fill that was written at `sent_ns`, on this connection.
    pub fn settle_fill(&mut self, id: FillId, connection: UpstreamKey, sent_ns: u64, reply: ReplyBytes<'_>) {
        let Some((fill, newest)) = self.take_fill(id) else { return };
        let spoken =
            self.upstreams.connections.get(connection).map_or(fill.version, |upstream| upstream.version);
        let shared = matches!(reply, ReplyBytes::Owned(_));
        let bytes = match spoken == fill.version {
            true => reply.into_bytes(),
            false => Bytes::from(resp2_form(reply.as_slice())),
        };
        // Those who wait for a newer read of the same must not find an older copy, should the newer reply not be kept.
        let wanted = newest && bytes.first() != Some(&b'-') && self.hot.cache.store.admits(bytes.len());
        if connection != fill.connection {
            // It was repeated, so Redis may have run it after reads that were sent later and made copies.
            self.hot.cache.store.drop_key(fill.key);
        } else if !(wanted && self.make_copy(&fill, id, &bytes, shared)) {
            // Those who waited for it have seen it, so they must not be served what it has overtaken.
            self.hot.cache.store.drop_older(fill.version, &fill.request, id.0);
        }
        let upstream_ns = self.core.now_ns.saturating_sub(sent_ns);
        self.answer_waiters(fill, &bytes, |place, class, received_ns| match place {
            0 => Ended::fetched(class, received_ns, sent_ns),
            _ => Ended::shared(class, Outcome::Combined, received_ns, upstream_ns),
        });
    }

    /// Says whether the reply is kept. Bytes that are shared are a part of the buffer that they came in, which may be far
    /// larger.
    fn make_copy(&mut self, fill: &Fill, id: FillId, bytes: &Bytes, shared: bool) -> bool {
        let copy = Reply {
            request: fill.request.clone(),
            version: fill.version,
            key: fill.key,
            bytes: if shared { Bytes::copy_from_slice(bytes) } else { bytes.clone() },
            source: fill.source,
            sent: id.0,
            until_ns: fill.until_ns,
        };
        let stored = self.hot.cache.store.put(copy, self.core.now_ns);
        self.core.tallies.read_cache.stores += u64::from(stored);
        stored
    }

    /// A fill came to nothing.
    pub fn fail_fill(&mut self, id: FillId, error: &[u8]) {
        if let Some((fill, _)) = self.take_fill(id) {
            self.answer_waiters(fill, &Bytes::copy_from_slice(error), |_, class, _| {
                Ended::untimed(class, Outcome::Failed)
            });
        }
    }

    /// A fill whose connection broke waits to be sent again. Those who wait for it send nothing meanwhile, as with any
    /// request, and others do not wait for it.
    pub fn hold_fill(&mut self, id: FillId) {
        let cache = &mut self.hot.cache;
        let Some(fill) = cache.fills.get(&id) else { return };
        let underway = &mut cache.underway[place_of(fill.version)];
        if underway.get(&fill.request) == Some(&id) {
            underway.remove(&fill.request);
        }
        for waiter in &fill.waiters {
            if let Some(client) = self.clients.all.get_mut(waiter.client) {
                client.retrying += 1;
            }
        }
    }

    /// It is sent again.
    pub fn resume_fill(&mut self, id: FillId) {
        let Some(fill) = self.hot.cache.fills.get(&id) else { return };
        for waiter in &fill.waiters {
            if let Some(client) = self.clients.all.get_mut(waiter.client) {
                client.retrying -= 1;
                client.wake();
            }
        }
    }

    /// Also says whether it is the newest of its request.
    fn take_fill(&mut self, id: FillId) -> Option<(Fill, bool)> {
        let cache = &mut self.hot.cache;
        let fill = cache.fills.remove(&id)?;
        let underway = &mut cache.underway[place_of(fill.version)];
        let newest = underway.get(&fill.request) == Some(&id);
        if newest {
            underway.remove(&fill.request);
        }
        Some((fill, newest))
    }

    /// `end` says how each ends: by its place, the class of the read, and when it came.
    fn answer_waiters(&mut self, fill: Fill, reply: &Bytes, end: impl Fn(usize, RequestClass, u64) -> Ended) {
        for (place, waiter) in fill.waiters.into_iter().enumerate() {
            if let Some(client) = self.clients.all.get_mut(waiter.client) {
                client.copies.settle();
            }
            let settled = match reply.len() >= LARGE_REPLY_BYTES {
                true => ReplyBytes::Owned(reply.clone()),
                false => ReplyBytes::Borrowed(reply),
            };
            let slot = ReplySlot::new(waiter.client, waiter.sequence);
            let ended = end(place, fill.class, waiter.received_ns);
            self.clients.settle(&mut self.core, slot, ended, settled);
        }
    }
}
