//! The read cache: reads of keys that a rule names are answered from copies of earlier replies.
//!
//! ```text
//!   read --> guard: may this client have a copy? --no--> the ordinary way
//!                | yes
//!                +--> store: there is one ------------> reply
//!                +--> the same read is on its way ----> waits for that reply
//!                +--> a read of our own, a *fill* ----> Redis --> reply to all who wait, and a copy if it still may be one
//! ```
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
//!   same read never goes back: see [`crate::worker::client::copy_guard`]. A connection stays on one worker, so other workers don't matter for that.
//!   What other connections write is seen within the bounds above. With `tracked` no read of a key ever goes back; with
//!   `ttl` the copies of *different* reads of one key (two fields of a hash) may differ in age.
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
//!
//! *Own writes.* A write drops the copies of its keys when it is dispatched, and reads sent before that make no copy. But
//! the write travels on another connection: a read sent after it may run before it and come back first. Such a copy is
//! harmless to others (it is invalidated, or ages) and closed to the writer by the guard, whose first read after its answers
//! drops it.
//!
//! # What it deliberately does not do
//!
//! Some reads are not served: `TTL` and `PTTL`, which change by themselves, random ones, those of several keys, those of clients
//! that track themselves or are in a transaction. (`WATCH` opens its keys, so what is read after it was read after it at Redis.) Keys in write-behind mode are not either: their reads include what is pending.
//! When the tracking connection is not there, or the server refuses it, reads go the ordinary way, which is `collapse`.

mod fills;
mod lookup;
mod store;
mod tracking;

use std::collections::HashMap;

use ahash::RandomState;
use bytes::Bytes;
use smallvec::SmallVec;

use crate::command::CommandTable;
use crate::config::{Config, ReadPolicy};
use crate::shared::keyed::RowId;
use crate::worker::names::FillId;
use crate::worker::names::{ClientKey, UpstreamKey};
use crate::worker::owners::Worker;
use lookup::Copyable;
use store::{Bounds, Store};
use tracking::Connections;

/// A key whose hits are counted apart is forgotten after this long without one.
const ROW_IDLE_NS: u64 = 60_000_000_000;

/// A read on its way, the reply of which may become a copy.
struct Fill {
    request: Bytes,
    /// The version that those who wait speak.
    version: crate::resp::RespVersion,
    key: u64,
    class: crate::shared::labels::RequestClass,
    /// The connection it was sent on; a reply from another one makes no copy.
    connection: UpstreamKey,
    source: u64,
    until_ns: u64,
    waiters: SmallVec<[Waiter; 2]>,
}

/// A client that waits for a fill.
struct Waiter {
    client: ClientKey,
    sequence: u32,
    received_ns: u64,
}

/// The cache of one worker.
pub struct Cache {
    /// Some rule wants copies.
    on: bool,
    /// Which commands' replies may be copied, by command.
    copyable: Vec<Copyable>,
    store: Store,
    fills: HashMap<FillId, Fill, RandomState>,
    /// The newest fill of each request, for each protocol version.
    underway: [HashMap<Bytes, FillId, RandomState>; 2],
    /// Room for a request in the one spelling in which copies are known.
    spelled: Vec<u8>,
    connections: Connections,
    /// Keys whose hits are counted apart, and when that was last done.
    rows: HashMap<u64, (RowId, u64), RandomState>,
}

impl Cache {
    /// An empty cache that nothing uses yet.
    pub fn new(commands: &CommandTable) -> Self {
        Self {
            on: false,
            copyable: Copyable::of_all(commands),
            store: Store::new(Bounds { entries_max: 0, bytes_max: 0, value_bytes_max: 0 }),
            fills: HashMap::default(),
            underway: Default::default(),
            spelled: Vec::new(),
            connections: Connections::default(),
            rows: HashMap::default(),
        }
    }

    /// Looks up anew which commands' replies may be copied.
    pub fn set_commands(&mut self, commands: &CommandTable) {
        self.copyable = Copyable::of_all(commands);
    }

    fn configure(&mut self, config: &Config) {
        self.on = config.rules.iter().any(|rule| rule.read != ReadPolicy::Collapse);
        let cache = &config.read_cache;
        self.store.drop_sources(|_| true);
        self.store.set_bounds(Bounds {
            entries_max: cache.entries_max,
            bytes_max: cache.bytes_max,
            value_bytes_max: cache.value_bytes_max,
        });
    }

    /// Asks servers again that refused to track: what they refused for may have been repaired.
    pub fn forgive_refusals(&mut self) {
        self.connections.forgive();
    }
}

impl Worker {
    /// Takes over a configuration. Copies were made under the old one, so they go; and what clients did under rules that
    /// wanted no copies was not noted.
    pub fn configure_copies(&mut self) {
        self.hot.cache.configure(&self.core.config);
        if !self.hot.cache.on {
            self.close_tracking_connections();
        }
        for client in self.clients.all.iter_mut() {
            client.copies.open_all(client.replies.next_sequence().wrapping_sub(1));
        }
    }

    /// What is done ten times a second: levels, rows of idle keys, signs of life of tracking connections.
    pub fn keep_copies(&mut self) {
        let cache = &mut self.hot.cache;
        let tally = &mut self.core.tallies.read_cache;
        (tally.entries, tally.bytes) = (cache.store.len() as u64, cache.store.bytes() as u64);
        if !cache.on && cache.rows.is_empty() {
            return;
        }
        let now_ns = self.core.now_ns;
        cache.rows.retain(|_, (row, used_ns)| {
            let keep = now_ns.saturating_sub(*used_ns) <= ROW_IDLE_NS;
            if !keep {
                tally.keys.release(*row);
            }
            keep
        });
        self.test_tracking_connections();
    }
}
