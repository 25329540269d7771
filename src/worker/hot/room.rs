//! How much of this worker's clients may be unsettled on one key. A client that finds no room is held back, as it is by a full
//! connection, and gets no error that it would not get if the key were cold.
//!
//! The bounds are those of one queue, `combine.pending_max` and [`QUEUE_BYTES_MAX`], in equal shares for the workers of the
//! process. So the queue at the key's home needs no bound of its own: it holds at most the shares of all, and of each worker
//! one request more in bytes. Clients that are held back go on when half of the share is free, so that they come in droves.
//!
//! Owns the figures of one key at one worker, and the list of those who wait. Does not decide who asks ([`crate::worker::policy`]).

use super::HotKeys;
use crate::limits::QUEUE_BYTES_MAX;
use crate::shared::handoff::Waiter;
use crate::worker::core::Core;
use crate::worker::effects::Effect;
use crate::worker::names::ClientKey;

/// What of this worker's clients is unsettled on one key.
#[derive(Debug, Default)]
pub struct Unsettled {
    operations: u32,
    /// Bytes of values, fields and requests that the queue may hold for them.
    bytes: u64,
    /// Clients that wait for room.
    waiters: Vec<ClientKey>,
}

impl Unsettled {
    /// Whether there is nothing.
    pub fn is_none(&self) -> bool {
        self.operations == 0
    }

    /// Operations have come.
    pub fn add(&mut self, waiter: &Waiter) {
        self.operations += waiter.operations;
        self.bytes += bytes_of(waiter);
    }

    /// Operations have been settled.
    pub fn settle(&mut self, waiter: &Waiter) {
        self.operations -= waiter.operations;
        self.bytes -= bytes_of(waiter);
    }

    /// Whether one more may come: in any case if nothing is unsettled.
    pub(super) fn has_room(&self, share: Share) -> bool {
        self.is_none() || (self.operations < share.operations && self.bytes < share.bytes)
    }

    /// A client waits for room.
    pub(super) fn await_room(&mut self, client: ClientKey) {
        self.waiters.push(client);
    }

    /// The clients that wait, if half of the share is free.
    pub(super) fn take_waiters(&mut self, share: Share) -> Vec<ClientKey> {
        match !self.waiters.is_empty() && self.is_within(share, 2) {
            true => std::mem::take(&mut self.waiters),
            false => Vec::new(),
        }
    }

    fn is_within(&self, share: Share, divisor: u32) -> bool {
        self.operations <= share.operations / divisor && self.bytes <= share.bytes / u64::from(divisor)
    }
}

fn bytes_of(waiter: &Waiter) -> u64 {
    u64::from(waiter.bytes) * u64::from(waiter.operations)
}

/// One worker's part of the bounds of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Share {
    operations: u32,
    bytes: u64,
}

impl Share {
    fn of(pending_max: usize, worker: usize, workers: usize) -> Self {
        let operations = pending_max / workers + usize::from(worker < pending_max % workers);
        Self {
            operations: u32::try_from(operations).unwrap_or(u32::MAX).max(1),
            bytes: (QUEUE_BYTES_MAX / workers) as u64,
        }
    }

    /// That of the worker.
    pub fn of_worker(core: &Core) -> Self {
        Self::of(core.config.combine.pending_max, core.index, core.gateway.workers.len())
    }
}

impl HotKeys {
    /// How many more operations of this worker's clients a key takes; one in any case if none is unsettled.
    pub fn room(&self, core: &Core, hash: u64) -> u32 {
        let Some(unsettled) = self.entries.get(&hash).map(|entry| &entry.unsettled) else { return 1 };
        let share = Share::of_worker(core);
        match unsettled.is_none() || unsettled.bytes < share.bytes {
            true => share.operations.saturating_sub(unsettled.operations),
            false => 0,
        }
    }

    /// A client's next request is looked at again when there is room.
    pub fn await_room(&mut self, hash: u64, client: ClientKey) {
        if let Some(entry) = self.entries.get_mut(&hash) {
            entry.unsettled.await_room(client);
        }
    }

    /// Operations of this worker's clients on a key have been answered.
    pub fn on_answered(&mut self, core: &mut Core, hash: u64, waiter: &Waiter) {
        let Some(entry) = self.entries.get_mut(&hash) else { return };
        let unsettled = &mut entry.unsettled;
        unsettled.settle(waiter);
        for client in unsettled.take_waiters(Share::of_worker(core)) {
            core.effects.push(Effect::RoomForClient(client));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::handoff::AnswerTo;

    #[test]
    fn shares_make_up_the_bound_and_none_is_without() {
        for (pending_max, workers) in [(65_536, 1), (65_536, 3), (100, 7), (1 << 24, 64)] {
            let shares = (0..workers).map(|worker| Share::of(pending_max, worker, workers));
            assert_eq!(shares.map(|share| share.operations as usize).sum::<usize>(), pending_max);
        }
        assert_eq!(Share::of(1, 5, 8).operations, 1);
    }

    #[test]
    fn what_comes_is_given_back_however_it_is_answered() {
        let mut unsettled = Unsettled::default();
        let asking = Waiter::asking(0, AnswerTo::Slot { client: 1, sequence: 0 }, 1);
        let run = Waiter { operations: 10, bytes: 3, ..asking };
        unsettled.add(&run);
        assert!(!unsettled.is_within(Share { operations: 9, bytes: 30 }, 1));
        assert!(!unsettled.is_within(Share { operations: 10, bytes: 29 }, 1));
        assert!(unsettled.is_within(Share { operations: 20, bytes: 60 }, 2));
        unsettled.settle(&Waiter { operations: 7, ..run });
        (0..3).for_each(|_| unsettled.settle(&Waiter { operations: 1, ..run }));
        assert!(unsettled.is_none() && unsettled.bytes == 0);
    }
}
