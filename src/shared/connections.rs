//! The number of client connections of the whole process, which `gateway.clients_max` bounds.
//!
//! BarrierKeys once when a client comes and once when it goes, never per request.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts connections and hands out client ids.
#[derive(Debug, Default)]
pub struct Connections {
    open: AtomicU64,
    last_id: AtomicU64,
}

impl Connections {
    /// Takes a place among at most `max`; `None` when all are taken. The place holds the new client's id, which is
    /// unique for the life of the process and grows, as Redis's ids do.
    pub fn admit(&self, max: u64) -> Option<u64> {
        let taken = self
            .open
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |open| (open < max).then_some(open + 1));
        taken.ok().map(|_| self.last_id.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The highest id so far.
    pub fn last_id(&self) -> u64 {
        self.last_id.load(Ordering::Relaxed)
    }

    /// Ids are higher than this from now on.
    pub fn begin_after(&self, last_id: u64) {
        self.last_id.fetch_max(last_id, Ordering::Relaxed);
    }

    /// Gives a place back.
    pub fn release(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// Places taken now.
    pub fn open(&self) -> u64 {
        self.open.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_places_than_the_bound_and_ids_are_not_reused() {
        let connections = Connections::default();
        assert_eq!(connections.admit(2), Some(1));
        assert_eq!(connections.admit(2), Some(2));
        assert_eq!(connections.admit(2), None);
        connections.release();
        assert_eq!(connections.admit(2), Some(3));
        assert_eq!(connections.open(), 2);
    }
}
