//! The cell through which the topology goes from the control thread to the workers, and how often it was asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Cache};
use tokio::sync::watch;

use super::Topology;
use crate::route::ClusterId;

/// Where the control thread publishes the topology and everyone else reads it.
///
/// Created once by the process; written only by the keepers of the clusters, which hold the lock of their registry.
pub struct TopologyCell {
    current: Arc<ArcSwap<Topology>>,
    version: watch::Sender<u64>,
    discoveries: Box<[Discoveries]>,
}

/// How often the keeper of one cluster has asked what the cluster is like.
#[derive(Default)]
struct Discoveries {
    begun: AtomicU64,
    ended: AtomicU64,
    /// The epoch of the answer that the last of them believed.
    epoch: AtomicU64,
}

impl TopologyCell {
    /// A cell that holds `first`.
    pub fn new(first: Topology) -> Self {
        let version = watch::Sender::new(first.version);
        let discoveries = first.clusters().iter().map(|_| Discoveries::default()).collect();
        Self { current: Arc::new(ArcSwap::from_pointee(first)), version, discoveries }
    }

    /// The keeper of a cluster begins to discover it. Returns the number of the discovery.
    pub fn begin_discovery(&self, cluster: ClusterId) -> u64 {
        self.discoveries[cluster.position()].begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The result of this discovery is published: the answer of a node that has heard of this epoch, 0 for a server.
    pub fn end_discovery(&self, cluster: ClusterId, discovery: u64, epoch: u64) {
        let known = &self.discoveries[cluster.position()];
        known.epoch.store(epoch, Ordering::Release);
        known.ended.store(discovery, Ordering::Release);
    }

    /// The epoch of which the node had heard whose answer is published.
    pub fn epoch_of(&self, cluster: ClusterId) -> u64 {
        self.discoveries[cluster.position()].epoch.load(Ordering::Acquire)
    }

    /// Discoveries of a cluster begun so far.
    pub fn discoveries_begun(&self, cluster: ClusterId) -> u64 {
        self.discoveries[cluster.position()].begun.load(Ordering::Acquire)
    }

    /// The last discovery of a cluster whose result is published.
    pub fn discovery_ended(&self, cluster: ClusterId) -> u64 {
        self.discoveries[cluster.position()].ended.load(Ordering::Acquire)
    }

    /// The current snapshot. For a hot path, keep a [`TopologyCell::reader`] instead.
    pub fn load(&self) -> Arc<Topology> {
        self.current.load_full()
    }

    /// Publishes `next` and wakes everyone who watches for changes.
    pub fn store(&self, next: Topology) {
        let version = next.version;
        self.current.store(Arc::new(next));
        self.version.send_replace(version);
    }

    /// A reader for one thread: its loads cost a pointer comparison while nothing changes. It keeps the snapshot it
    /// last saw alive until it looks again.
    pub fn reader(&self) -> TopologyReader {
        TopologyReader { cache: Cache::new(Arc::clone(&self.current)) }
    }

    /// Tells of changes by their version; works on any runtime. The snapshot is stored before its version is sent, so
    /// a reader that was woken sees at least that version.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

/// One thread's caching view of a [`TopologyCell`].
pub struct TopologyReader {
    cache: Cache<Arc<ArcSwap<Topology>>, Arc<Topology>>,
}

impl TopologyReader {
    /// The current snapshot.
    pub fn load(&mut self) -> &Arc<Topology> {
        self.cache.load()
    }
}
