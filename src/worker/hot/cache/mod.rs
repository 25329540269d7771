//! The read cache: reads of keys that a rule names are answered from copies of earlier replies.
//!
//! ```text
//!   read --> guard: may this client have a copy? --no--> the ordinary way
//!                | yes
//!                +--> store: there is one ------------> reply
//!                +--> the same read is on its way ----> waits for that reply
//!                +--> a read of our own, a *fetch* ---> Redis --> reply to all who wait, and a copy if it still may be one
//! ```
//!
//! Owns the copies ([`store`]), the reads that make them ([`fetches`]), and the list of the connections that tell which are out of
//! date ([`connections`]). It sends nothing, repeats nothing and knows no client: [`crate::worker::copies`] asks client, copies and
//! connections in turn.
//!
//! Each worker has its own copies, and nothing here is shared. Copies are of replies to reads of one key in database 0, as
//! they were asked: the same command in any spelling, the same bytes behind its name, the same protocol version.
//!
//! # What is promised
//!
//! - `ttl`: a reply is at most `ttl` old, counted from the moment its read was *sent*; when Redis ran it can only be later.
//! - `tracked`: Redis names each key that has changed, on the very connection on which the copies were read (`CLIENT
//!   TRACKING` in its default mode, see the Redis documentation, "Client-side caching"), and the copies go. Between the change and
//!   that message the old reply is served: that is the round trip of the network, as it would be for any client that tracks.
//! - A connection never sees an older state of a key than it has written itself, or than Redis has answered it, and the
//!   same read never goes back: see [`crate::worker::client::copy_guard`]. A connection stays on one
//!   worker, so other workers don't matter for that. What other connections write is seen within the bounds above. With
//!   `tracked` no read of a key ever goes back; with `ttl` the copies of *different* reads of one key (two fields of a hash)
//!   may differ in age.
//! - `SWAPDB` is a change of which Redis (up to 7.0, and Valkey) tells nobody. One that a client of this gateway sends, alone or in a
//!   transaction, takes the copies of all workers away within a tenth of a second. One of somebody else, or inside a script, does so when a
//!   probe finds that the server counts one more (`INFO commandstats`), once a second. If the gateway's user may not ask that, a
//!   copy lives as long as `tracked_age_max` allows.
//! - No longer than `tracked_age_max` in any case, so a server that fails to speak up, or a partition in which it seems
//!   alive, has that bound. A connection that is silent is tested with a `PING` a second.
//!
//! # Why a copy is never older than that
//!
//! *Tracked.* A reply becomes a copy only if it came on the tracking connection on which its read was sent, and nothing of
//! its key was dropped since. Redis writes its reply and its messages on one connection in the order in which it ran things:
//! a write after the read is named after the reply (the copy is made and goes), one before it is in the reply. When the
//! connection breaks, all its copies go in the same step in which the break is noticed, and reads that were under way are
//! repeated on another connection and make none. When the topology changes, all tracked copies go: a slot may have moved, and
//! its new owner does not know what was read from the old one. (Until the gateway learns of the move the old owner names what
//! it hands over. A copy of a key that was not there has nothing to be handed over, and stays until then.) A redirected read
//! makes no copy. A flush of the whole database comes as a null in place of the keys: everything goes. A key that expires is
//! named when Redis deletes it, which it does in the background some time after the moment at which it would hide the key.
//! When the gateway itself has stood still for more than a second, what was said meanwhile is not read yet, and all tracked
//! copies go.
//!
//! *Own writes.* A write drops the copies of its keys when it is dispatched, and reads sent before that make no copy. But
//! the write travels on another connection: a read sent after it may run before it and come back first. Such a copy is
//! harmless to others (it is invalidated, or ages) and closed to the writer by the guard, whose first read after its answers
//! drops it.
//!
//! # What it deliberately does not do
//!
//! Some reads are not served: `TTL` and `PTTL`, which change by themselves, random ones, those of several keys, those of clients
//! that track themselves or are in a transaction. (`WATCH` opens its keys, so what is read after it was read after it at Redis.)
//! Keys in write-behind mode are not either: their reads include what is pending.
//! When the tracking connection is not there, or the server refuses it, reads go the ordinary way, which is `collapse`.

pub mod connections;
mod copyable;
mod fetches;
mod store;

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;
use bytes::Bytes;

use crate::command::CommandTable;
use crate::config::{Config, ReadPolicy};
use crate::limits::COPIED_REQUEST_BYTES_MAX;
use crate::resp::RespVersion;
use crate::shared::keyed::RowId;
use crate::shared::labels::RequestClass;
use crate::worker::core::Core;
use crate::worker::resolve::Resolved;
use connections::TrackingConnections;
use copyable::Copyable;
use fetches::Fetches;
pub use fetches::{CacheFetch, Freshness, Waiter};
pub use store::TrackingSource;
use store::{Bounds, Store};

use super::HotKeys;

/// A key whose hits are counted apart is forgotten after this long without one.
const ROW_IDLE_NS: u64 = 60_000_000_000;

/// A worker that has not kept house for this long, though it does ten times a second, stood still.
const STOPPED_NS_MIN: u64 = 1_000_000_000;

/// A read that may be served from a copy, or make one.
#[derive(Clone, Copy)]
pub struct Read<'a> {
    /// The request, in the one spelling in which copies are known.
    pub request: &'a [u8],
    /// What it counts as.
    pub class: RequestClass,
    /// Which the client speaks.
    pub version: RespVersion,
    /// Its key.
    pub name: &'a [u8],
    /// The hash of that.
    pub hash: u64,
    /// The first moment at which the copy may have been read.
    pub since: u64,
}

/// The copies of one worker.
pub struct Cache {
    /// Some rule wants copies.
    on: bool,
    /// Which commands' replies may be copied, by command.
    copyable: Vec<Copyable>,
    store: Store,
    fetches: Fetches,
    /// Room for a request in the one spelling in which copies are known.
    pub spelled: Vec<u8>,
    /// The connections that tell which copies are out of date.
    pub connections: TrackingConnections,
    /// Keys whose hits are counted apart, and when that was last done.
    rows: HashMap<u64, (RowId, u64), RandomState>,
    /// When house was last kept.
    kept_ns: u64,
    /// Swaps of databases that have been seen.
    swaps: u64,
}

impl Cache {
    /// No copies, and nothing wants any yet.
    pub fn new(commands: &CommandTable) -> Self {
        Self {
            on: false,
            copyable: Copyable::of_all(commands),
            store: Store::new(Bounds { entries_max: 0, bytes_max: 0, value_bytes_max: 0 }),
            fetches: Fetches::default(),
            spelled: Vec::new(),
            connections: TrackingConnections::default(),
            rows: HashMap::default(),
            kept_ns: 0,
            swaps: 0,
        }
    }

    /// Whether some rule wants copies.
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// Looks up anew which commands' replies may be copied.
    pub fn set_commands(&mut self, commands: &CommandTable) {
        self.copyable = Copyable::of_all(commands);
    }

    /// Takes over a configuration. Copies were made under the old one, so they go.
    pub fn configure(&mut self, config: &Config) {
        self.on = config.rules.iter().any(|rule| rule.read != ReadPolicy::Collapse);
        let cache = &config.read_cache;
        self.store.drop_sources(|_| true);
        self.store.set_bounds(Bounds {
            entries_max: cache.entries_max,
            bytes_max: cache.bytes_max,
            value_bytes_max: cache.value_bytes_max,
        });
    }

    /// Whether the reply to this request may be copied in this protocol version, under a rule of this kind.
    pub fn is_copyable(&self, resolved: &Resolved<'_>, version: RespVersion, policy: ReadPolicy) -> bool {
        let request = resolved.request;
        request.bytes().len() <= COPIED_REQUEST_BYTES_MAX
            && self
                .copyable
                .get(resolved.command.index())
                .is_some_and(|copyable| copyable.admits(request.len(), version, policy))
    }

    /// The last moment at which a copy may have been read.
    pub fn moment(&self) -> u64 {
        self.store.moment()
    }

    /// Drops the copies of a key. What is under way for it makes none.
    pub fn drop_key(&mut self, hash: u64) {
        self.store.drop_key(hash);
    }

    /// Drops all copies.
    pub fn drop_all(&mut self) {
        self.store.drop_sources(|_| true);
    }

    /// The copy that answers a read, which is counted as a hit.
    pub fn copy_of(&mut self, core: &mut Core, read: &Read<'_>) -> Option<&Bytes> {
        self.drop_after_stop(core);
        let reply = self.store.get(read.version, (read.request, read.hash), core.now_ns, read.since)?;
        let tally = &mut core.tallies.read_cache;
        tally.hits += 1;
        let row = match self.rows.get_mut(&read.hash) {
            Some((row, used_ns)) => {
                *used_ns = core.now_ns;
                *row
            }
            None => {
                let row = tally.keys.acquire(Arc::from(read.name));
                if row != RowId::Shared {
                    self.rows.insert(read.hash, (row, core.now_ns));
                }
                row
            }
        };
        tally.keys.row(row).hits += 1;
        Some(reply)
    }

    /// What has changed while the worker stood still (a suspended machine, a container without its share of time) is not read yet.
    fn drop_after_stop(&mut self, core: &mut Core) {
        if core.now_ns.saturating_sub(self.kept_ns) > STOPPED_NS_MIN {
            self.kept_ns = core.now_ns;
            self.drop_tracked(core);
        }
    }

    /// What is done ten times a second: levels, and rows of idle keys.
    pub fn keep_house(&mut self, core: &mut Core) {
        self.drop_after_stop(core);
        self.kept_ns = core.now_ns;
        let swaps = core.gateway.swaps.count();
        if std::mem::replace(&mut self.swaps, swaps) != swaps {
            self.drop_all();
        }
        let tally = &mut core.tallies.read_cache;
        (tally.entries, tally.bytes) = (self.store.len() as u64, self.store.bytes() as u64);
        self.rows.retain(|_, (row, used_ns)| {
            let keep = core.now_ns.saturating_sub(*used_ns) <= ROW_IDLE_NS;
            if !keep {
                tally.keys.release(*row);
            }
            keep
        });
    }
}

impl HotKeys {
    /// How a rule lets reads of this key be answered.
    pub fn read_policy(&mut self, name: &[u8], hash: u64) -> ReadPolicy {
        match self.cache.on {
            true => self.rules.read_of(name, hash),
            false => ReadPolicy::Collapse,
        }
    }

    /// Whether a rule lets replies about this key be copied.
    pub fn is_copied(&mut self, name: &[u8], hash: u64) -> bool {
        self.read_policy(name, hash) != ReadPolicy::Collapse
    }
}
