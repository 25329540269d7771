//! Reads that break the connection which carries them.
//!
//! A server with a `client-output-buffer-limit` for normal clients closes a connection as soon as the replies that wait on it
//! are more, and says nothing: all that was asked there is lost, and which request did it can't be seen. So every read that was
//! lost is suspected. It goes again on a connection where one request is written at a time ([`super::parallel::ALONE`]): there, only the
//! one that does it is lost, and nobody else's. After [`TRIES_ALONE_MAX`] tries it gets an error that says so.
//!
//! Where a read was lost, the slot of its keys is remembered, and later reads there go on that connection at once. A small reply ends
//! that for a slot of which no more is known; a large one, or a second loss, makes it last for [`KNOWN_NS`] since the last
//! such. A write can't be sent again: it gets its unknown outcome, and nothing is remembered of it.
//!
//! Owns what is known of slots: at most one entry a slot. Sends nothing.

use ahash::AHashMap;

use crate::limits::LONG_REPLY_BYTES;
use crate::route::SlotAt;
use crate::worker::pending::Route;

/// How often a read that was lost is tried alone.
pub const TRIES_ALONE_MAX: u8 = 2;

/// How long a slot is suspected because a read of it was lost once.
const SUSPECTED_NS: u64 = 10_000_000_000;

/// How long a slot is suspected after a large reply or a second loss.
const KNOWN_NS: u64 = 600_000_000_000;

#[derive(Clone, Copy, Debug)]
struct Suspicion {
    until_ns: u64,
    /// More than one loss speaks for it.
    known: bool,
}

/// What is known of the slots of one worker.
#[derive(Debug, Default)]
pub struct Suspects {
    slots: AHashMap<SlotAt, Suspicion>,
}

impl Suspects {
    /// Whether a read that goes there has to go alone.
    #[inline]
    pub fn suspects(&self, route: Route, now_ns: u64) -> bool {
        !self.slots.is_empty() && self.is_suspected(route, now_ns)
    }

    fn is_suspected(&self, route: Route, now_ns: u64) -> bool {
        let known = slot_of(route).and_then(|slot| self.slots.get(&slot));
        known.is_some_and(|suspicion| suspicion.until_ns > now_ns)
    }

    /// A read was lost for the `losses`th time.
    pub fn on_loss(&mut self, route: Route, losses: u8, now_ns: u64) {
        self.note(route, losses > 1, now_ns);
    }

    /// A read that went alone was answered.
    pub fn on_reply(&mut self, route: Route, reply_bytes: usize, now_ns: u64) {
        if reply_bytes >= LONG_REPLY_BYTES {
            self.note(route, true, now_ns);
        } else if let Some(slot) = slot_of(route)
            && self.slots.get(&slot).is_some_and(|suspicion| !suspicion.known || suspicion.until_ns <= now_ns)
        {
            self.slots.remove(&slot);
        }
    }

    fn note(&mut self, route: Route, known: bool, now_ns: u64) {
        let Some(slot) = slot_of(route) else { return };
        let suspicion = self.slots.entry(slot).or_insert(Suspicion { until_ns: 0, known });
        suspicion.known = known || suspicion.known && suspicion.until_ns > now_ns;
        let lasts_ns = if suspicion.known { KNOWN_NS } else { SUSPECTED_NS };
        suspicion.until_ns = suspicion.until_ns.max(now_ns.saturating_add(lasts_ns));
    }
}

fn slot_of(route: Route) -> Option<SlotAt> {
    match route {
        Route::Slot(slot) | Route::ReadSlot(slot) => Some(slot),
        Route::AnyNode | Route::Messages(_) | Route::Node(_) | Route::Connection => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::ClusterId;

    #[test]
    fn a_slot_is_suspected_until_a_small_reply_and_known_for_longer() {
        let mut suspects = Suspects::default();
        let place = |slot| SlotAt { cluster: ClusterId::DEFAULT, slot };
        let (one, other) = (Route::Slot(place(1)), Route::Slot(place(2)));
        assert!(!suspects.suspects(one, 5));
        suspects.on_loss(one, 1, 5);
        assert!(suspects.suspects(one, 6) && suspects.suspects(Route::ReadSlot(place(1)), 6));
        let elsewhere = Route::Slot(SlotAt { cluster: ClusterId(1), slot: 1 });
        assert!(!suspects.suspects(elsewhere, 6), "the same slot of another cluster");
        assert!(!suspects.suspects(other, 6) && !suspects.suspects(Route::AnyNode, 6));
        assert!(!suspects.suspects(one, 6 + SUSPECTED_NS));
        suspects.on_reply(one, 10, 7);
        assert!(!suspects.suspects(one, 7));

        for make_known in [
            (|suspects, route| Suspects::on_loss(suspects, route, 2, 10)) as fn(&mut Suspects, Route),
            |suspects, route| Suspects::on_reply(suspects, route, LONG_REPLY_BYTES, 10),
        ] {
            let mut suspects = Suspects::default();
            make_known(&mut suspects, other);
            suspects.on_reply(other, 10, 11);
            suspects.on_loss(other, 1, 12);
            assert!(suspects.suspects(other, KNOWN_NS));
            assert!(!suspects.suspects(other, 2 * KNOWN_NS));
            suspects.on_reply(other, 10, 2 * KNOWN_NS);
            suspects.on_loss(other, 1, 2 * KNOWN_NS);
            assert!(!suspects.suspects(other, 2 * KNOWN_NS + SUSPECTED_NS));
        }
    }
}
