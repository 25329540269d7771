//! Flushes leave by turns where folding alone does not end the queue at their node: [`crate::pace::Turns`] decides, this asks it
//! before each flush, and has the key looked at whose turn it is.
//!
//! A key waits in one line at a time. If its slot moves meanwhile, it is looked at when its turn would have come where it was.

use super::{Due, HotKey, HotKeys};
use crate::shared::topology::NodeIndex;
use crate::worker::core::Core;

impl HotKeys {
    /// Whether the flush of a key may go now. Otherwise the key waits for its turn.
    pub(super) fn begin_turn(&mut self, core: &mut Core, hash: u64, home: &mut HotKey) -> bool {
        let Some(node) = core.snapshots.topology.master_of(home.place) else { return true };
        let turns = &mut self.govern.node(node).turns;
        if turns.begin(core.now_ns, hash) {
            home.in_line = false;
            if let Some(since_ns) = home.turn_since_ns.take() {
                let wait_ns = core.now_ns.saturating_sub(since_ns);
                home.turn_wait_ns = home.turn_wait_ns.max(wait_ns);
                core.tallies.combine.turn_waits += 1;
                core.tallies.combine.turn_wait_us += wait_ns / 1000;
            }
            return true;
        }
        home.turn_since_ns.get_or_insert(core.now_ns);
        if !std::mem::replace(&mut home.in_line, true) {
            turns.wait(hash);
            if let Some(due_ns) = turns.due_ns(core.now_ns) {
                self.arm(Due::Turns(node), due_ns);
            }
        }
        false
    }

    /// A flush went to this node.
    pub(super) fn count_flush(&mut self, node: NodeIndex) {
        self.govern.node(node).turns.on_sent();
    }

    /// The flush of a key at a node is over.
    pub(super) fn end_turn(&mut self, core: &Core, hash: u64, node: NodeIndex) {
        let turns = &mut self.govern.node(node).turns;
        if turns.limit().is_some() {
            turns.end(core.now_ns, hash);
            self.call_next(core, node);
        }
    }

    /// A key had nothing to send although it was its turn.
    pub(super) fn pass_turn_on(&mut self, core: &Core, hash: u64, home: &HotKey) {
        let Some(node) = core.snapshots.topology.master_of(home.place) else { return };
        let turns = &mut self.govern.node(node).turns;
        if turns.limit().is_some() {
            turns.end(core.now_ns, hash);
            self.arm(Due::Turns(node), core.now_ns);
        }
    }

    /// Has those looked at whose turn it is at a node.
    pub fn call_next(&mut self, core: &Core, node: NodeIndex) {
        let now_ns = core.now_ns;
        while let Some(hash) = self.govern.node(node).turns.call(now_ns) {
            match self.entries.get_mut(&hash).and_then(|entry| entry.queue.as_mut()) {
                Some(home) => {
                    home.in_line = false;
                    self.look_at_key(hash);
                }
                None => self.govern.node(node).turns.end(now_ns, hash),
            }
        }
        if let Some(due_ns) = self.govern.node(node).turns.due_ns(now_ns) {
            self.arm(Due::Turns(node), due_ns);
        }
    }

    /// The same, once it is certain that those count whose flushes are in flight, and no others.
    pub fn look_at_turns(&mut self, core: &Core, node: NodeIndex) {
        let entries = &self.entries;
        let is_so = |hash: u64| {
            let home = entries.get(&hash).and_then(|entry| entry.queue.as_ref());
            home.is_some_and(|home| home.dirty || home.sending.node == Some(node))
        };
        self.govern.node(node).turns.keep(is_so);
        self.call_next(core, node);
    }
}
