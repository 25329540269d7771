//! Which nodes hold commands back (`CLIENT PAUSE`, a busy script), as a worker saw it last.
//!
//! One bit for each of 64 places. Nodes that share a place count as held together, which costs one connection: their reads
//! use a connection of their own. Read and written once per slice, never on the data path.

use std::sync::atomic::{AtomicU64, Ordering};

use super::topology::NodeIndex;

/// The nodes that a worker saw hold commands back.
#[derive(Debug, Default)]
pub struct HeldNodes(AtomicU64);

impl HeldNodes {
    /// The bit of a node.
    pub fn bit(node: NodeIndex) -> u64 {
        1 << (node.position() % 64)
    }

    /// Publishes what the worker sees now.
    pub fn publish(&self, nodes: u64) {
        // Nothing else is read because of it, so no order is needed.
        self.0.store(nodes, Ordering::Relaxed);
    }

    /// The nodes that the worker saw last.
    pub fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
