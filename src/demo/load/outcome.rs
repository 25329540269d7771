//! What became of a load that was offered: latencies from the intended time, and counts, by class of request.

use std::time::Duration;

use hdrhistogram::Histogram;

use super::{Offer, new_histogram};

/// A reply after this is worth nothing to the application: it has given up.
const GOOD_LATENCY_US_MAX: u32 = 1_000_000;

/// One class of requests.
pub struct Class {
    /// From the moment at which a request was due, in µs. One that was never answered counts with its age at the end.
    pub latency_us: Histogram<u64>,
    /// That were due.
    pub offered: u64,
    /// Replies other than errors.
    pub answered: u64,
    /// Those within a second.
    pub good: u64,
    /// Replies that are errors.
    pub errors: u64,
    /// Not answered by the end, or dropped because too many others waited.
    pub unanswered: u64,
}

/// The outcome of a run, or of a part of it.
pub struct Outcome {
    /// By the number of the class.
    pub classes: Vec<Class>,
    /// How long after the end of each tick the load came to look, in µs. Its own lateness is part of every latency, so a run in
    /// which it was late tells nothing of the servers.
    pub lateness_us: Histogram<u64>,
    /// Of the whole run.
    pub seconds: f64,
}

impl Outcome {
    pub(super) fn new(offer: Offer) -> Self {
        let class = || Class {
            latency_us: new_histogram(),
            offered: 0,
            answered: 0,
            good: 0,
            errors: 0,
            unanswered: 0,
        };
        Self {
            classes: (0..offer.classes).map(|_| class()).collect(),
            lateness_us: new_histogram(),
            seconds: offer.time.as_secs_f64(),
        }
    }

    pub(super) fn late(&mut self, lateness: Duration) {
        self.lateness_us.saturating_record((lateness.as_micros() as u64).max(1));
    }

    pub(super) fn offered(&mut self, class: usize) {
        self.classes[class].offered += 1;
    }

    pub(super) fn replied(&mut self, class: usize, latency_us: u32, is_error: bool) {
        let class = &mut self.classes[class];
        class.record(latency_us);
        class.errors += u64::from(is_error);
        class.answered += u64::from(!is_error);
        class.good += u64::from(!is_error && latency_us <= GOOD_LATENCY_US_MAX);
    }

    pub(super) fn unanswered(&mut self, class: usize, age_us: u32) {
        self.classes[class].record(age_us);
        self.classes[class].unanswered += 1;
    }

    /// Adds what a part of the run brought.
    pub(super) fn add(&mut self, part: &Self) {
        for (class, part) in self.classes.iter_mut().zip(&part.classes) {
            // Of the same bounds, so all of it has room.
            let _ = class.latency_us.add(&part.latency_us);
            class.offered += part.offered;
            class.answered += part.answered;
            class.good += part.good;
            class.errors += part.errors;
            class.unanswered += part.unanswered;
        }
        let _ = self.lateness_us.add(&part.lateness_us);
    }

    pub(super) fn clear(&mut self) {
        for class in &mut self.classes {
            class.latency_us.reset();
            (class.offered, class.answered, class.good) = (0, 0, 0);
            (class.errors, class.unanswered) = (0, 0);
        }
        self.lateness_us.reset();
    }

    /// How late the load itself was, at its 99th percentile, in ms.
    pub fn lateness_ms(&self) -> f64 {
        self.lateness_us.value_at_percentile(99.0) as f64 / 1000.0
    }
}

impl Class {
    fn record(&mut self, latency_us: u32) {
        self.latency_us.saturating_record(u64::from(latency_us.max(1)));
    }

    /// In milliseconds.
    pub fn percentile_ms(&self, percentile: f64) -> f64 {
        self.latency_us.value_at_percentile(percentile) as f64 / 1000.0
    }
}
