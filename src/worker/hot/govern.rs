//! Which hot keys fold: [`crate::pace`] decides, this tells it what connections see and what keys bring.
//!
//! Order between what passes and what is folded. *Before folding*: a key that begins to fold raises the epoch, so each client
//! once has all answered that it sent before; what passes as part of a probe is waited for by itself. *Before passing*: a
//! key that passes again raises `pass_epoch`, so each client once has all settled that it has in queues; an operation passes
//! as part of a probe only if its client has nothing in a queue. So a change of course costs a client about one round trip.

use rand::Rng;

use super::verdict::HotVerdict;
use super::{Entry, HotKeys};
use crate::pace::{self, Course, Gauge, NodePace, STANDING_WINDOWS, Window};
use crate::shared::courses::KeyCourse;
use crate::shared::topology::NodeIndex;
use crate::worker::core::Core;

/// What a worker knows of the pace of nodes.
#[derive(Default)]
pub struct Govern {
    /// By the position of their index.
    nodes: Vec<NodePace>,
    /// Operations are counted by key anew from this time on, in nanoseconds, under this number.
    counting_since_ns: u64,
    counting: u32,
    /// Goes up when a key ceases to be folded.
    pass_epoch: u32,
}

/// Operations on a key that passed since counting began.
#[derive(Default)]
pub struct Passed {
    counting: u32,
    operations: u32,
}

impl Govern {
    pub(super) fn node(&mut self, node: NodeIndex) -> &mut NodePace {
        let place = node.position();
        if place >= self.nodes.len() {
            self.nodes.resize_with(place + 1, NodePace::default);
        }
        &mut self.nodes[place]
    }

    /// Some key is not folded any more.
    pub fn on_passing(&mut self) {
        self.pass_epoch = self.pass_epoch.wrapping_add(1);
    }

    fn count_anew(&mut self, now_ns: u64) {
        self.counting = self.counting.wrapping_add(1);
        self.counting_since_ns = now_ns;
    }
}

impl Passed {
    fn count(&mut self, counting: u32) {
        if self.counting != counting {
            *self = Self { counting, operations: 0 };
        }
        self.operations = self.operations.saturating_add(1);
    }
}

/// What a key's course means for an operation at hand.
pub enum Turn {
    /// It goes this way, as it came.
    Goes(HotVerdict),
    /// It is folded, if it can be.
    Folds,
}

/// What the client of an operation has in queues of combined keys.
#[derive(Clone, Copy)]
pub struct Standing {
    /// Nothing that was there when a key last ceased to be folded.
    pub may_pass: bool,
    /// Something.
    pub is_queued: bool,
}

impl HotKeys {
    /// Whether an operation on a key goes as it came. `folds` says that it can be folded.
    pub fn take_turn(&mut self, core: &Core, hash: u64, folds: bool, client: Standing) -> Turn {
        let Some(entry) = self.entries.get_mut(&hash) else { return Turn::Goes(HotVerdict::Forward) };
        if entry.is_forced() {
            return Turn::Folds;
        }
        match entry.pace.course() {
            Course::Passing if !client.may_pass => Turn::Goes(HotVerdict::Wait),
            Course::Passing => {
                entry.passed.count(self.govern.counting);
                Turn::Goes(HotVerdict::Forward)
            }
            _ if !folds => Turn::Folds,
            Course::Folding if entry.pace.wants_probe(core.now_ns) => self.begin_probe(core, hash),
            Course::Folding => Turn::Folds,
            Course::Probing if client.is_queued => {
                entry.pace.on_folded();
                Turn::Folds
            }
            Course::Probing if entry.pace.admits() => Turn::Goes(HotVerdict::Barrier),
            Course::Probing => Turn::Folds,
        }
    }

    /// Lets a key probe if its node is free for that. This operation is folded in any case.
    fn begin_probe(&mut self, core: &Core, hash: u64) -> Turn {
        let now_ns = core.now_ns;
        let Some(entry) = self.entries.get_mut(&hash) else { return Turn::Folds };
        match core.snapshots.topology.master_of(entry.place) {
            Some(node) if self.govern.node(node).begin_probe(now_ns, hash) => entry.pace.probe(now_ns),
            _ => entry.pace.rest(now_ns, rand::rng().random()),
        }
        Turn::Folds
    }

    /// Goes up when a key ceases to be folded.
    pub fn pass_epoch(&self) -> u32 {
        self.govern.pass_epoch
    }

    /// A connection to a node was made, which took the system so long.
    pub fn note_connect_time(&mut self, node: NodeIndex, connect_ns: u64) {
        self.govern.node(node).on_connect(connect_ns);
    }

    /// A shared connection to a node was read until nothing more had come, after so many replies. Returns whether it is to be
    /// looked at for crowds.
    pub fn look_at_pace(
        &mut self,
        core: &mut Core,
        node: NodeIndex,
        gauge: &mut Gauge,
        answered: u64,
    ) -> bool {
        let now_ns = core.now_ns;
        let window_ns = self.govern.node(node).window_ns();
        let Some(window) = gauge.on_look(now_ns, answered, window_ns) else { return false };
        let pace = self.govern.node(node);
        let queue_ns = pace.on_window(now_ns, &window);
        let standing = gauge.count_standing(queue_ns.is_some());
        if let Some(hash) = pace.prober() {
            self.end_round(now_ns, node, hash, &window);
            return false;
        }
        let flushes = if queue_ns.is_some() { pace.turns.take_sent() } else { 0 };
        let stands = queue_ns.filter(|_| standing >= STANDING_WINDOWS);
        let mut is_done = true;
        if let Some(excess_ns) = stands {
            let tally = core.tallies.node(node.position());
            tally.queue_us = tally.queue_us.max(excess_ns / 1000);
            is_done = self.fold_heaviest(core, node, (&window, excess_ns), flushes);
        }
        let workers = core.gateway.workers.len();
        self.govern.node(node).turns.on_window(now_ns, &window, (stands.is_some(), is_done), workers);
        if queue_ns.is_some() {
            self.govern.count_anew(now_ns);
        }
        stands.is_some() && self.govern.node(node).crowd_looks.is_due(now_ns)
    }

    /// A round of a key's probe is over.
    fn end_round(&mut self, now_ns: u64, node: NodeIndex, hash: u64, window: &Window) {
        let queues = self.govern.node(node).is_probe_queueing(window);
        let Some(entry) = self.entries.get_mut(&hash) else {
            return self.govern.node(node).end_probe(now_ns, false);
        };
        // A key that cooled and came back meanwhile passes: it may fold only as any other that passes does.
        match entry.pace.course() {
            Course::Probing if queues => {
                entry.pace.fold(now_ns, window.delay_ns.unwrap_or(0), rand::rng().random());
            }
            Course::Probing => entry.pace.on_good_round(now_ns),
            Course::Passing | Course::Folding => {}
        }
        let passes = entry.pace.course() == Course::Passing;
        if entry.pace.course() != Course::Probing {
            self.govern.node(node).end_probe(now_ns, passes);
        }
        if passes {
            self.govern.on_passing();
        }
    }

    /// A queue stands at a node: the keys with most operations there fold from now on. Returns whether there was none to be folded,
    /// and no more operations passed than flushes went.
    fn fold_heaviest(
        &mut self,
        core: &Core,
        node: NodeIndex,
        (window, excess_ns): (&Window, u64),
        flushes: u64,
    ) -> bool {
        let now_ns = core.now_ns;
        let counted_ns = now_ns.saturating_sub(self.govern.counting_since_ns);
        let counting = self.govern.counting;
        let passed = |entry: &Entry| match entry.passed.counting == counting {
            true if entry.passes() => entry.passed.operations,
            _ => 0,
        };
        let topology = &core.snapshots.topology;
        let of_node = self.hot_keys.iter().chain(&self.crowds).filter_map(|hash| {
            let entry = self.entries.get(hash)?;
            (topology.master_of(entry.place) == Some(node)).then(|| (passed(entry), *hash))
        });
        let of_node: Vec<(u32, u64)> = of_node.collect();
        let all: u64 = of_node.iter().map(|(operations, _)| u64::from(*operations)).sum();
        let chosen = pace::heaviest(of_node.into_iter(), window, counted_ns);
        if chosen.is_empty() {
            return all <= flushes;
        }
        for hash in chosen {
            if let Some(entry) = self.entries.get_mut(&hash) {
                entry.pace.fold(now_ns, excess_ns, rand::rng().random());
                entry.forget_values();
            }
        }
        // What was sent before has to be answered before anything of its client is folded.
        self.epoch = self.epoch.wrapping_add(1);
        false
    }
}

impl HotKeys {
    /// Shows what is done with the keys of the published hot set, and with crowds. Both are bounded.
    pub fn publish_courses(&mut self, core: &mut Core) {
        let now_ns = core.now_ns;
        for (place, node) in self.govern.nodes.iter().enumerate() {
            core.tallies.node(place).flushes_max = node.turns.limit().unwrap_or(0.0);
        }
        let ms = |ns: u64| ns / 1_000_000;
        let commands = &core.snapshots.commands;
        core.tallies.courses.clear();
        for hash in self.hot_keys.iter().chain(&self.crowds) {
            let Some(entry) = self.entries.get_mut(hash) else { continue };
            let node = core.snapshots.topology.master_of(entry.place);
            let turns = node.and_then(|node| self.govern.nodes.get(node.position())).map(|node| &node.turns);
            let turn_wait_ns = entry.queue.as_mut().map_or(0, |home| {
                let waits_ns = home.turn_since_ns.map_or(0, |since_ns| now_ns.saturating_sub(since_ns));
                // It fades within a second, as that of the node does.
                home.turn_wait_ns /= 2;
                (2 * home.turn_wait_ns).max(waits_ns)
            });
            entry.used_by.fade(now_ns);
            let (pace, forced) = (&entry.pace, entry.is_forced());
            let name = |id| commands.get(id).name.to_string();
            core.tallies.courses.push(KeyCourse {
                key: entry.key.clone(),
                course: if forced { Course::Folding } else { pace.course() },
                forced,
                for_ms: match pace.since_ns() {
                    0 => 0,
                    since_ns => ms(now_ns.saturating_sub(since_ns)),
                },
                excess_us: pace.excess_ns() / 1000,
                probe_in_ms: pace.next_probe_ns().map(|due_ns| ms(due_ns.saturating_sub(now_ns))),
                flushes_max: turns.and_then(|turns| turns.limit()),
                turn_wait_us: turn_wait_ns / 1000,
                unfolded: entry.unfolded.iter().map(name).collect(),
                commands: entry.used_by.commands().map(|(id, count)| (name(id), count)).collect(),
                clients: entry.used_by.clients().collect(),
            });
        }
    }
}
