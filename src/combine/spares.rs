//! Emptied segments, kept for the next queue that needs one.
//!
//! A burst makes a segment grow, and its queue may be idle long after. So queues keep no empty segment. The queues of one
//! worker share a few, enough for the flushes in flight at a time. An idle counter keeps no memory of its largest burst.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use super::{member::Member, segment::Segment};

/// Segments kept. A worker has some dozen flushes under way when it is busy, and each is one or two segments; with as much as a
/// segment may keep this is 6 MiB.
const SPARES_MAX: usize = 16;

/// The spare segments of the queues that share them. A clone is the same ones.
#[derive(Clone)]
pub struct SpareSegments<M>(Rc<RefCell<Vec<Segment<M>>>>);

impl<M: Member> SpareSegments<M> {
    pub(super) fn take(&self) -> Segment<M> {
        self.0.borrow_mut().pop().unwrap_or_else(Segment::new)
    }

    pub(super) fn give_back(&self, mut segment: Segment<M>) {
        let mut spares = self.0.borrow_mut();
        if spares.len() < SPARES_MAX {
            segment.clear();
            spares.push(segment);
        }
    }
}

impl<M> Default for SpareSegments<M> {
    fn default() -> Self {
        Self(Rc::default())
    }
}

impl<M> fmt::Debug for SpareSegments<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} spare segments", self.0.borrow().len())
    }
}
