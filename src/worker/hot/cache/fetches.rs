//! Reads under way of whose replies copies may be kept, and who waits for each.
//!
//! Such a *fetch* is sent once for all who want the same, and all of them get whatever comes back. It belongs to nobody, so it goes
//! on when its first client has left. Owns the fetches; whether a reply may become a copy is decided here. Sends none of them:
//! [`crate::worker::copies`] does, and [`crate::worker::send`] sends them again like any read that was redirected or whose connection
//! broke. Then the reply comes on another connection and makes no copy.

use std::collections::HashMap;

use ahash::RandomState;
use bytes::Bytes;
use smallvec::SmallVec;

use super::store::{Reply, TrackingSource};
use super::{Cache, Read};
use crate::limits::CACHE_FETCHES_MAX;
use crate::resp::{RespVersion, resp2_form};
use crate::shared::labels::RequestClass;
use crate::worker::core::Core;
use crate::worker::names::{CacheFetchId, ClientKey, UpstreamKey};
use crate::worker::reply::ReplyBytes;

/// What keeps a copy fresh.
#[derive(Clone, Copy, Debug)]
pub struct Freshness {
    /// The connection its read is sent on; a reply from another one makes no copy.
    pub connection: UpstreamKey,
    /// Whose invalidations it heeds, if anybody's.
    pub source: Option<TrackingSource>,
    /// When it is too old, in nanoseconds.
    pub until_ns: u64,
}

/// A read under way, the reply of which may become a copy.
pub struct CacheFetch {
    request: Bytes,
    /// The version that those who wait speak.
    version: RespVersion,
    hash: u64,
    freshness: Freshness,
    /// What it counts as.
    pub class: RequestClass,
    /// Who waits for it.
    pub waiters: SmallVec<[Waiter; 2]>,
}

/// A client that waits for a fetch.
pub struct Waiter {
    /// The client.
    pub client: ClientKey,
    /// The slot in its reply queue.
    pub sequence: u32,
    /// When it asked.
    pub received_ns: u64,
}

/// The fetches of one worker.
#[derive(Default)]
pub struct Fetches {
    all: HashMap<CacheFetchId, CacheFetch, RandomState>,
    /// The newest of each request, for each protocol version, unless it waits to be sent again.
    newest: [HashMap<Bytes, CacheFetchId, RandomState>; 2],
}

impl Fetches {
    /// No other read joins this one from now on. Says whether others could.
    fn close(&mut self, id: CacheFetchId) -> bool {
        let Some(fetch) = self.all.get(&id) else { return false };
        let newest = &mut self.newest[place_of(fetch.version)];
        newest.get(&fetch.request) == Some(&id) && newest.remove(&fetch.request).is_some()
    }
}

fn place_of(version: RespVersion) -> usize {
    usize::from(version == RespVersion::Resp3)
}

impl Cache {
    /// Whether another fetch may begin.
    pub fn may_fetch(&self) -> bool {
        self.fetches.all.len() < CACHE_FETCHES_MAX
    }

    /// The fetch under way of this very read, if the client may have its reply.
    pub fn fetch_underway(&self, now_ns: u64, read: &Read<'_>) -> Option<CacheFetchId> {
        let id = *self.fetches.newest[place_of(read.version)].get(read.request)?;
        let fetch = self.fetches.all.get(&id)?;
        // The same words of another user may be about a key in another cluster.
        let is_its_key = fetch.hash == read.hash;
        let is_new = is_its_key && id.0 >= read.since && self.store.is_current(read.hash, id.0);
        (is_new && fetch.freshness.until_ns > now_ns).then_some(id)
    }

    /// A fetch begins.
    pub fn begin_fetch(&mut self, read: &Read<'_>, freshness: Freshness) -> CacheFetchId {
        let id = CacheFetchId(self.store.send());
        let Read { class, version, hash, .. } = *read;
        let request = Bytes::copy_from_slice(read.request);
        self.fetches.newest[place_of(version)].insert(request.clone(), id);
        let waiters = SmallVec::new();
        self.fetches.all.insert(id, CacheFetch { request, version, hash, freshness, class, waiters });
        id
    }

    /// A client waits for a fetch.
    pub fn wait_for(&mut self, id: CacheFetchId, waiter: Waiter) {
        if let Some(fetch) = self.fetches.all.get_mut(&id) {
            fetch.waiters.push(waiter);
        }
    }

    /// The clients that wait for a fetch.
    pub fn waiters_of(&self, id: CacheFetchId) -> impl Iterator<Item = ClientKey> {
        self.fetches
            .all
            .get(&id)
            .into_iter()
            .flat_map(|fetch| fetch.waiters.iter().map(|waiter| waiter.client))
    }

    /// A fetch waits to be sent again. Others do not wait for it meanwhile.
    pub fn hold_fetch(&mut self, id: CacheFetchId) {
        self.fetches.close(id);
    }

    /// A fetch came to nothing.
    pub fn take_fetch(&mut self, id: CacheFetchId) -> Option<CacheFetch> {
        self.fetches.close(id);
        self.fetches.all.remove(&id)
    }

    /// The reply to a fetch has come on this connection, which speaks `spoken`. Keeps it if it may, and returns it for all who wait.
    pub fn settle_fetch(
        &mut self,
        core: &mut Core,
        id: CacheFetchId,
        (connection, spoken): (UpstreamKey, Option<RespVersion>),
        reply: ReplyBytes<'_>,
    ) -> Option<(CacheFetch, Bytes)> {
        let is_newest = self.fetches.close(id);
        let fetch = self.fetches.all.remove(&id)?;
        // Shared bytes are a part of the buffer that they came in, which may be far larger.
        let is_shared = matches!(reply, ReplyBytes::Owned(_));
        let bytes = match spoken.is_none_or(|spoken| spoken == fetch.version) {
            true => reply.into_bytes(),
            false => Bytes::from(resp2_form(reply.as_slice())),
        };
        // Those who wait for a newer read of the same must not find an older copy, should the newer reply not be kept.
        let is_wanted = is_newest && bytes.first() != Some(&b'-') && self.store.admits(bytes.len());
        if connection != fetch.freshness.connection {
            // It was repeated, so Redis may have run it after reads that were sent later and made copies.
            self.store.drop_key(fetch.hash);
        } else if !(is_wanted && self.keep(core, &fetch, id, (&bytes, is_shared))) {
            // Those who waited for it have seen it, so they must not be served what it has overtaken.
            self.store.drop_older(fetch.version, &fetch.request, id.0);
        }
        Some((fetch, bytes))
    }

    /// Says whether the reply is kept.
    fn keep(
        &mut self,
        core: &mut Core,
        fetch: &CacheFetch,
        id: CacheFetchId,
        (bytes, is_shared): (&Bytes, bool),
    ) -> bool {
        let copy = Reply {
            request: fetch.request.clone(),
            version: fetch.version,
            key: fetch.hash,
            bytes: if is_shared { Bytes::copy_from_slice(bytes) } else { bytes.clone() },
            source: fetch.freshness.source,
            sent: id.0,
            until_ns: fetch.freshness.until_ns,
        };
        let stored = self.store.put(copy, core.now_ns);
        core.tallies.read_cache.stores += u64::from(stored);
        stored
    }
}
