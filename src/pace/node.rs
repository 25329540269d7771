//! One node as one worker sees it: how long a round trip takes when nothing queues, and which key probes now.

use super::crowds::CrowdLooks;
use super::gauge::{OWN_QUEUE_NS_MAX, WINDOW_NS, Window};
use super::turns::Turns;

/// A round trip that is longer than the floor by less than this is not worth a thought: it is the jitter of schedulers.
const EXCESS_NS_MIN: u64 = 200_000;

/// While a key probes: one round of its probe. A queue that the probe makes is noticed within this.
pub const ROUND_NS: u64 = 1_000_000;

/// Windows in a row that must have a queue before a key folds.
pub const STANDING_WINDOWS: u32 = 2;

/// The floor is the shortest round trip of between one and two of these.
const FLOOR_AGE_NS: u64 = 300_000_000_000;

/// A probe that has had no end by then is given up, so that other keys have their turn.
const PROBE_NS_MAX: u64 = 300_000_000;

/// The shortest round trip of the last minutes.
#[derive(Clone, Copy, Debug, Default)]
struct Floor {
    shortest_ns: Option<u64>,
    /// The shortest of the stretch before.
    former_ns: Option<u64>,
    since_ns: u64,
}

impl Floor {
    fn learn(&mut self, now_ns: u64, delay_ns: u64) {
        if now_ns.saturating_sub(self.since_ns) > FLOOR_AGE_NS {
            (self.former_ns, self.shortest_ns, self.since_ns) = (self.shortest_ns, None, now_ns);
        }
        self.shortest_ns = Some(self.shortest_ns.map_or(delay_ns, |shortest_ns| shortest_ns.min(delay_ns)));
    }

    fn get(&self) -> Option<u64> {
        self.shortest_ns.into_iter().chain(self.former_ns).min()
    }
}

/// The key that probes.
#[derive(Clone, Copy, Debug)]
struct Prober {
    hash: u64,
    since_ns: u64,
    /// The shortest round trip before the probe began.
    base_ns: u64,
}

/// One node, by one worker.
#[derive(Clone, Debug, Default)]
pub struct NodePace {
    floor: Floor,
    /// How long the system took to connect. No server has a part in that, so it is the floor until one is known.
    connect_ns: Option<u64>,
    /// The shortest round trips of the last two windows.
    recent_ns: [u64; 2],
    prober: Option<Prober>,
    /// Since when a queue has stood.
    queue_since_ns: Option<u64>,
    /// The turns of the flushes that go there.
    pub turns: Turns,
    /// When its connections are looked at for crowds.
    pub crowd_looks: CrowdLooks,
}

impl NodePace {
    /// A connection was made, which took the system so long.
    pub fn on_connect(&mut self, connect_ns: u64) {
        self.connect_ns = Some(self.connect_ns.map_or(connect_ns, |shortest_ns| shortest_ns.min(connect_ns)));
    }

    /// How long windows are to be.
    pub fn window_ns(&self) -> u64 {
        if self.prober.is_some() { ROUND_NS } else { WINDOW_NS }
    }

    /// The floor: a round trip when nothing queues, in nanoseconds.
    pub fn floor_ns(&self) -> u64 {
        self.floor.get().or(self.connect_ns).unwrap_or(0)
    }

    /// Takes a window in. Returns by how much its shortest round trip was longer than the floor, if that makes a queue.
    pub fn on_window(&mut self, now_ns: u64, window: &Window) -> Option<u64> {
        if let Some(alone_ns) = window.alone_ns {
            self.floor.learn(now_ns, alone_ns);
        }
        if let Some(delay_ns) = window.delay_ns {
            self.recent_ns = [self.recent_ns[1], delay_ns];
        }
        // Whatever is shorter than the floor proves it wrong.
        if let Some(delay_ns) = window.delay_ns.filter(|delay_ns| *delay_ns < self.floor_ns()) {
            self.floor.learn(now_ns, delay_ns);
        }
        let queue_ns = queue_over(self.floor_ns(), window);
        self.queue_since_ns = queue_ns.and(self.queue_since_ns.or(Some(now_ns)));
        queue_ns
    }

    /// Lets a key probe, unless another does, flushes leave by turns, or a queue is still being got rid of. One that stands for long
    /// in spite of folding is not of this worker's making.
    pub fn begin_probe(&mut self, now_ns: u64, hash: u64) -> bool {
        // Where there is too much for flushes there is too much for what would pass.
        if self.turns.limit().is_some() {
            return false;
        }
        if self.queue_since_ns.is_some_and(|since_ns| now_ns.saturating_sub(since_ns) < OWN_QUEUE_NS_MAX) {
            return false;
        }
        let taken = self.prober.filter(|prober| now_ns.saturating_sub(prober.since_ns) < PROBE_NS_MAX);
        if taken.is_some_and(|prober| prober.hash != hash) {
            return false;
        }
        let base_ns = self.recent_ns.into_iter().filter(|delay_ns| *delay_ns > 0).min().unwrap_or(0);
        self.prober = Some(Prober { hash, since_ns: now_ns, base_ns });
        true
    }

    /// The key that probes.
    pub fn prober(&self) -> Option<u64> {
        self.prober.map(|prober| prober.hash)
    }

    /// Whether a round of the probe has made a queue: what stood before it began is not its work.
    pub fn is_probe_queueing(&self, window: &Window) -> bool {
        let base_ns = self.prober.map_or(0, |prober| prober.base_ns);
        queue_over(base_ns.max(self.floor_ns()), window).is_some()
    }

    /// The probe is over. If the key passes from now on, what a round trip took while it was folded is the floor: folding it
    /// could not make that shorter.
    pub fn end_probe(&mut self, now_ns: u64, passes: bool) {
        let Some(prober) = self.prober.take() else { return };
        if passes && prober.base_ns > self.floor_ns() {
            self.floor = Floor { shortest_ns: Some(prober.base_ns), former_ns: None, since_ns: now_ns };
        }
    }
}

fn queue_over(floor_ns: u64, window: &Window) -> Option<u64> {
    let excess_ns = window.delay_ns?.saturating_sub(floor_ns);
    (!window.caught_up && excess_ns > floor_ns.max(EXCESS_NS_MIN)).then_some(excess_ns)
}
