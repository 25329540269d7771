//! What a queue can't bring to an end in time is given up: those are told that it was not sent, or that nobody knows.

use super::super::{
    cut,
    flight::State,
    member::Member,
    segment::Segment,
    settle::{self, Settled},
};
use super::KeyQueue;

impl<M: Member> KeyQueue<M> {
    /// Gives up the flush in flight, when its deadline has passed. Members of a write that may have taken effect are
    /// told that the outcome is unknown; all others get this error (text without the leading `-`). Replies that
    /// still come must not be handed in. A token that is given up can no longer take effect once a later flush did.
    pub fn abandon(&mut self, error: &str, mut sink: impl FnMut(M, Settled)) {
        let Some(flight) = self.flight.take() else { return };
        let doubtful = flight.doubtful || flight.state == State::Sent;
        for (index, segment) in flight.segments.into_iter().enumerate() {
            let unknown = doubtful && (index < flight.group || segment.is_write());
            match unknown {
                true => settle::settle_unknown(&segment, settle::UNKNOWN, &mut sink),
                false => settle::settle_unsent(&segment, error.as_bytes(), &mut sink),
            }
            self.recycle(segment);
        }
    }

    /// Gives up what waits for members whose time is over, with this error: nothing of it was sent.
    pub fn abandon_waiting(
        &mut self,
        error: &str,
        is_over: impl Fn(&M) -> bool,
        mut sink: impl FnMut(M, Settled),
    ) {
        for segment in std::mem::take(&mut self.waiting) {
            let before = segment.operations;
            let (over, left) = cut::part_over(segment, &is_over);
            settle::settle_unsent(&over, error.as_bytes(), &mut sink);
            let after: usize = left.iter().map(|segment| segment.operations).sum();
            self.operations = self.operations + after - before;
            self.waiting.extend(left);
            self.keep_spare(over);
        }
        self.places.on_flush(self.waiting.len());
    }

    fn recycle(&mut self, segment: Segment<M>) {
        self.operations -= segment.operations;
        self.keep_spare(segment);
    }
}
