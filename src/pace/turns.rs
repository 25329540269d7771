//! The flushes of one worker at one node, by turns: how many may be in flight there, and which key is next.
//!
//! Without a limit each folded key has a flush in flight, which is one for each round trip and key. That is little work at the
//! node unless there are very many keys, or gateways. So there is no limit until a queue stands although no heavy key is left
//! that could be folded. From then on flushes leave by turns, in the order in which their keys became ready, and the limit is
//! halved while the queue stands, and raised by a constant when it does not. Those who share a node see the same queue, and
//! halves take more from who has more, so their limits meet (Chiu and Jain, "Analysis of the Increase and Decrease Algorithms",
//! Computer Networks and ISDN Systems 17, 1989). A limit below 1 is one flush, and a pause after it.
//!
//! A queue that the least limit does not end is the work of others. Then the callers would wait for nothing, so the limit goes back
//! to where it began and stays there for as long as such a queue is believed to be others'.

use std::collections::VecDeque;

use super::gauge::{OWN_QUEUE_NS_MAX, WINDOW_NS, Window};

/// Flushes that one gateway has in flight at one node when a queue begins to stand there, over all its workers.
pub const FLUSHES_MAX: usize = 8;

/// The least limit: one flush, and a pause of seven round trips.
const LIMIT_MIN: f64 = 0.125;

/// However long the queue at the node, a key that waits has its turn within this.
const TURN_NS_MAX: u64 = 10_000_000;

/// What a window without a queue adds. From 1 to 8 it takes 140 ms.
const LIMIT_STEP: f64 = 0.25;

/// From one halving to the next: so long it takes until the last one shows.
const HALVING_NS: u64 = 2 * WINDOW_NS;

/// A queue that has stood at the least limit for so long is that of others.
const FRUITLESS_NS: u64 = 100_000_000;

/// When nobody has waited for a turn for so long, there is no limit any more.
const UNUSED_NS: u64 = 100_000_000;

/// While keys wait, they are looked at again by then, whatever else happens.
const LOOK_NS: u64 = 10_000_000;

/// The limit while there is one.
#[derive(Clone, Copy, Debug)]
struct Limit {
    /// How many may be in flight.
    flushes: f64,
    /// Where it began.
    first: f64,
    /// When it was halved last, and raised last.
    halved_ns: u64,
    raised_ns: u64,
    /// Since when a queue has stood at the least limit.
    least_since_ns: Option<u64>,
    /// Until then a queue is believed to be that of others.
    others_until_ns: u64,
    /// When a key had to wait last.
    used_ns: u64,
    /// No flush goes before this.
    not_before_ns: u64,
    round_trip_ns: u64,
}

/// The turns of the keys of one worker at one node. Keys are named by their hashes.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    limit: Option<Limit>,
    /// Of those that began under the limit.
    in_flight: Vec<u64>,
    /// It is their turn, and they have not begun.
    called: Vec<u64>,
    waiting: VecDeque<u64>,
    /// Flushes that went since this was asked last.
    sent: u64,
}

impl Turns {
    /// Takes in a window of a connection to the node. `stands` says that a queue has stood there for long enough, and `is_done` that
    /// no key is left that could be folded for it, and no more passes than is folded. `workers` share the limit.
    pub fn on_window(
        &mut self,
        now_ns: u64,
        window: &Window,
        (stands, is_done): (bool, bool),
        workers: usize,
    ) {
        let Some(limit) = &mut self.limit else {
            if stands && is_done {
                let first = (FLUSHES_MAX as f64 / workers.max(1) as f64).max(1.0);
                self.limit = Some(Limit {
                    flushes: first,
                    first,
                    halved_ns: now_ns,
                    raised_ns: now_ns,
                    least_since_ns: None,
                    others_until_ns: 0,
                    used_ns: now_ns,
                    not_before_ns: 0,
                    round_trip_ns: window.delay_ns.unwrap_or(0),
                });
            }
            return;
        };
        limit.round_trip_ns = window.delay_ns.unwrap_or(limit.round_trip_ns);
        match (stands, is_done) {
            (true, true) => limit.lower(now_ns, self.waiting.len()),
            (true, false) => limit.least_since_ns = None,
            (false, _) => limit.raise(now_ns),
        }
        if self.waiting.is_empty() && now_ns.saturating_sub(limit.used_ns) > UNUSED_NS {
            *self = Self::default();
        }
    }

    /// Whether a flush of this key may go now. It counts as in flight from now on; otherwise its key is to wait.
    pub fn begin(&mut self, now_ns: u64, key: u64) -> bool {
        if self.limit.is_none() || self.in_flight.contains(&key) {
            return true;
        }
        let is_called = remove(&mut self.called, key);
        let may_go = is_called || (self.waiting.is_empty() && self.has_room(now_ns));
        if may_go {
            self.in_flight.push(key);
        } else if let Some(limit) = &mut self.limit {
            limit.used_ns = now_ns;
        }
        may_go
    }

    /// A flush went.
    pub fn on_sent(&mut self) {
        self.sent += 1;
    }

    /// How many flushes went since this was asked last.
    pub fn take_sent(&mut self) -> u64 {
        std::mem::take(&mut self.sent)
    }

    /// A key waits for its turn. It must not wait already.
    pub fn wait(&mut self, key: u64) {
        self.waiting.push_back(key);
    }

    /// The flush of a key is over, or it has none to send although it was its turn.
    pub fn end(&mut self, now_ns: u64, key: u64) {
        remove(&mut self.called, key);
        if remove(&mut self.in_flight, key)
            && let Some(limit) = &mut self.limit
            && limit.flushes < 1.0
        {
            limit.not_before_ns = now_ns + (limit.round_trip_ns as f64 * (1.0 / limit.flushes - 1.0)) as u64;
        }
    }

    /// Whose turn it is, if it is anybody's. That key does not wait any more.
    pub fn call(&mut self, now_ns: u64) -> Option<u64> {
        if self.waiting.is_empty() || !self.has_room(now_ns) {
            return None;
        }
        let key = self.waiting.pop_front()?;
        if self.limit.is_some() {
            self.called.push(key);
        }
        Some(key)
    }

    /// When those who wait are to be called next, at the latest.
    pub fn due_ns(&self, now_ns: u64) -> Option<u64> {
        let not_before_ns = self.limit.map_or(0, |limit| limit.not_before_ns);
        let due_ns = if not_before_ns > now_ns { not_before_ns } else { now_ns + LOOK_NS };
        (!self.waiting.is_empty()).then_some(due_ns)
    }

    /// Forgets those in flight, and those called, of which this is not true any more.
    pub fn keep(&mut self, is_so: impl Fn(u64) -> bool) {
        self.in_flight.retain(|key| is_so(*key));
        self.called.retain(|key| is_so(*key));
    }

    /// How many may be in flight, if there is a limit.
    pub fn limit(&self) -> Option<f64> {
        self.limit.map(|limit| limit.flushes)
    }

    fn has_room(&self, now_ns: u64) -> bool {
        self.limit.is_none_or(|limit| {
            let flushes = limit.flushes.max(1.0) as usize;
            self.in_flight.len() + self.called.len() < flushes && now_ns >= limit.not_before_ns
        })
    }
}

impl Limit {
    fn lower(&mut self, now_ns: u64, waiting: usize) {
        if now_ns < self.others_until_ns {
            return;
        }
        let least = LIMIT_MIN.max(waiting as f64 * self.round_trip_ns as f64 / TURN_NS_MAX as f64);
        let least_since_ns = (self.flushes <= least).then_some(now_ns);
        self.least_since_ns = self.least_since_ns.or(least_since_ns);
        if self.least_since_ns.is_some_and(|since_ns| now_ns.saturating_sub(since_ns) > FRUITLESS_NS) {
            (self.flushes, self.least_since_ns) = (self.first, None);
            (self.others_until_ns, self.not_before_ns) = (now_ns + OWN_QUEUE_NS_MAX, 0);
        } else if now_ns.saturating_sub(self.halved_ns) >= HALVING_NS {
            self.flushes = (self.flushes / 2.0).max(least);
            self.halved_ns = now_ns;
        }
    }

    fn raise(&mut self, now_ns: u64) {
        self.least_since_ns = None;
        if now_ns.saturating_sub(self.raised_ns) >= WINDOW_NS {
            self.flushes += LIMIT_STEP;
            self.raised_ns = now_ns;
        }
    }
}

/// Removes a key from a short list, if it is there.
fn remove(keys: &mut Vec<u64>, key: u64) -> bool {
    let place = keys.iter().position(|known| *known == key);
    place.map(|place| keys.swap_remove(place)).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: Window = Window { delay_ns: Some(1_000_000), alone_ns: None, caught_up: false };

    /// A limit of so many, or of the least.
    fn limited(windows: u64) -> (Turns, u64) {
        let mut turns = Turns::default();
        let mut now_ns = 0;
        for _ in 0..windows {
            now_ns += HALVING_NS;
            turns.on_window(now_ns, &QUEUE, (true, true), 1);
        }
        (turns, now_ns)
    }

    #[test]
    fn without_a_queue_nobody_waits() {
        let mut turns = Turns::default();
        turns.on_window(1, &QUEUE, (true, false), 1);
        turns.on_window(2, &QUEUE, (false, false), 1);
        assert!((0..1000).all(|key| turns.begin(3, key)));
        assert_eq!(turns.limit(), None);
    }

    #[test]
    fn turns_go_round() {
        let (mut turns, now_ns) = limited(2);
        assert_eq!(turns.limit(), Some(4.0));
        assert!((0..4).all(|key| turns.begin(now_ns, key)) && turns.begin(now_ns, 0));
        for key in 4..9 {
            assert!(!turns.begin(now_ns, key));
            turns.wait(key);
        }
        assert_eq!(turns.call(now_ns), None);
        let mut order = Vec::new();
        for key in 0..20 {
            let ended = key % 9;
            turns.end(now_ns, ended);
            let next = turns.call(now_ns).unwrap();
            order.push(next);
            // Nobody slips in before the one that was called.
            assert!(!turns.begin(now_ns, ended));
            turns.wait(ended);
            assert!(turns.begin(now_ns, next));
        }
        assert_eq!(order, (0..20).map(|place| (place + 4) % 9).collect::<Vec<u64>>());
    }

    #[test]
    fn who_was_called_and_has_nothing_to_send_makes_room() {
        let (mut turns, now_ns) = limited(4);
        assert_eq!(turns.limit(), Some(1.0));
        assert!(turns.begin(now_ns, 1));
        [2, 3].into_iter().for_each(|key| turns.wait(key));
        turns.end(now_ns, 1);
        assert_eq!((turns.call(now_ns), turns.call(now_ns)), (Some(2), None));
        turns.end(now_ns, 2);
        assert_eq!(turns.call(now_ns), Some(3));
        turns.keep(|_| false);
        assert!(turns.begin(now_ns, 4));
    }

    #[test]
    fn below_one_there_are_pauses() {
        let (mut turns, now_ns) = limited(6);
        assert_eq!(turns.limit(), Some(0.25));
        assert!(turns.begin(now_ns, 1));
        turns.wait(2);
        turns.end(now_ns, 1);
        assert_eq!((turns.call(now_ns), turns.due_ns(now_ns)), (None, Some(now_ns + 3_000_000)));
        assert_eq!(turns.call(now_ns + 3_000_000), Some(2));
    }

    #[test]
    fn the_limit_rises_until_nobody_waits_for_it() {
        let (mut turns, mut now_ns) = limited(7);
        assert_eq!(turns.limit(), Some(LIMIT_MIN));
        turns.wait(1);
        for step in 1..=40 {
            now_ns += WINDOW_NS;
            turns.on_window(now_ns, &QUEUE, (false, true), 1);
            assert_eq!(turns.limit(), Some(LIMIT_MIN + f64::from(step) * LIMIT_STEP));
        }
        assert_eq!(turns.call(now_ns), Some(1));
        turns.on_window(now_ns + WINDOW_NS, &QUEUE, (false, true), 1);
        assert_eq!(turns.limit(), None);
    }

    /// Two gateways that see the same queue: one had much more.
    #[test]
    fn limits_meet() {
        let (mut much, mut now_ns) = limited(1);
        let (mut little, _) = limited(4);
        for turns in [&mut much, &mut little] {
            turns.wait(1);
        }
        let share = |turns: &Turns| turns.limit().unwrap();
        for _ in 0..100 {
            now_ns += HALVING_NS;
            let stands = share(&much) + share(&little) > 12.0;
            for turns in [&mut much, &mut little] {
                turns.on_window(now_ns, &QUEUE, (stands, true), 1);
            }
        }
        assert!(share(&much) < 1.1 * share(&little), "{} and {}", share(&much), share(&little));
    }

    #[test]
    fn what_the_least_limit_does_not_end_is_the_queue_of_others() {
        let (mut turns, mut now_ns) = limited(8);
        turns.wait(1);
        let mut limits = Vec::new();
        for _ in 0..30 {
            now_ns += HALVING_NS;
            turns.on_window(now_ns, &QUEUE, (true, true), 1);
            limits.push(turns.limit().unwrap());
        }
        assert_eq!((limits[0], limits[29]), (LIMIT_MIN, FLUSHES_MAX as f64));
    }
}
