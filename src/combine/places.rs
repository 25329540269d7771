//! Which of the waiting segments an operation may join.
//!
//! Nothing that waits has been answered, so all of it is concurrent: an operation may take effect before what came earlier, except for
//! what its own connection sent. So it joins the first segment that takes it and that does not stand before one in which its
//! connection has something. `INCR EXPIRE` of a hundred connections are then two segments, and `INCR EXPIRE INCR EXPIRE`
//! of each of them four.
//!
//! What is kept by connection is only where it stands behind the first open segment. When a flush leaves segments behind, only
//! the last stays open: so nothing has to be looked for when places change.

use std::collections::HashMap;
use std::hash::Hash;

/// Segments looked at for one operation: beyond it, it goes to the end.
const LOOKS_MAX: usize = 32;

/// Connections whose room an empty queue keeps.
const CALLERS_KEPT: usize = 16;

/// The places of the connections that `C` names.
#[derive(Debug)]
pub(super) struct Places<C> {
    /// The first segment that operations may join.
    open_from: usize,
    /// The last segment in which a connection has something, where that is not the first open one.
    last_of: HashMap<C, usize, ahash::RandomState>,
    /// Operations keep the order in which they came.
    keeps_order: bool,
}

impl<C> Default for Places<C> {
    fn default() -> Self {
        Self { open_from: 0, last_of: HashMap::default(), keeps_order: false }
    }
}

impl<C: Eq + Hash> Places<C> {
    /// Has operations join the last of the `waiting` segments only, or from now on any that is open.
    pub fn keep_order(&mut self, keeps_order: bool, waiting: usize) {
        if std::mem::replace(&mut self.keeps_order, keeps_order) && !keeps_order {
            self.open_from = waiting.saturating_sub(1);
            self.last_of.clear();
        }
    }

    /// The segments that an operation of this connection may join, in order, of `waiting` that there are.
    pub fn open_to(&self, caller: C, waiting: usize) -> std::ops::Range<usize> {
        let last = waiting.saturating_sub(1);
        if self.keeps_order || self.open_from >= last {
            return last..waiting;
        }
        let from = self.last_of.get(&caller).copied().unwrap_or(self.open_from);
        from..waiting.min(from + LOOKS_MAX)
    }

    /// An operation of this connection is in this segment now.
    pub fn on_placed(&mut self, caller: C, segment: usize) {
        if segment > self.open_from && !self.keeps_order {
            self.last_of.insert(caller, segment);
        }
    }

    /// A flush was made, and so many segments wait on.
    pub fn on_flush(&mut self, waiting: usize) {
        self.open_from = waiting.saturating_sub(1);
        if !self.last_of.is_empty() {
            self.last_of.clear();
        }
    }

    /// Nothing waits, and for a while perhaps nothing will.
    pub fn give_back(&mut self) {
        if self.last_of.capacity() > CALLERS_KEPT {
            self.last_of = HashMap::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_overtakes_itself() {
        let mut places = Places::default();
        places.keep_order(true, 0);
        assert_eq!(places.open_to(7, 5), 4..5, "in order");
        places.keep_order(false, 3);
        assert_eq!(places.open_to(7, 5), 2..5, "what came in order stays so");
        places.on_flush(0);
        assert_eq!((places.open_to(7, 0), places.open_to(7, 1), places.open_to(7, 5)), (0..0, 0..1, 0..5));
        places.on_placed(7, 3);
        assert_eq!((places.open_to(7, 5), places.open_to(8, 5)), (3..5, 0..5));
        assert_eq!(places.open_to(8, 1000), 0..LOOKS_MAX);
        places.on_flush(5);
        assert_eq!((places.open_to(7, 5), places.open_to(7, 6)), (4..5, 4..6));
        places.on_flush(0);
        assert_eq!(places.open_to(7, 3), 0..3);
    }
}
