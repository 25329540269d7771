//! What became of a load that was offered: latencies from the intended time, and counts, by class of request.

use std::time::Duration;

use hdrhistogram::Histogram;

/// A reply after this is worth nothing to the application: it has given up.
const GOOD_LATENCY_US_MAX: u32 = 1_000_000;

/// One class of requests.
pub struct Class {
    /// From the moment at which a request was due, in µs. One that was never answered counts with its age at the end.
    pub latency_us: Histogram<u64>,
    pub offered: u64,
    /// Replies other than errors within a second.
    pub good: u64,
    pub errors: u64,
    /// Not answered by the end, or dropped because too many others waited.
    pub unanswered: u64,
}

/// The outcome of one run.
pub struct Outcome {
    pub classes: Vec<Class>,
    /// How long after the end of each tick the load came to look, in µs. Its own lateness is part of every latency, so
    /// a run in which it was late tells nothing of the servers.
    pub lateness_us: Histogram<u64>,
    pub seconds: f64,
}

impl Outcome {
    pub fn new(classes: usize, time: Duration) -> Outcome {
        let histogram = || Histogram::new_with_bounds(1, 60_000_000, 3).unwrap();
        let class = || Class { latency_us: histogram(), offered: 0, good: 0, errors: 0, unanswered: 0 };
        Outcome {
            classes: (0..classes).map(|_| class()).collect(),
            lateness_us: histogram(),
            seconds: time.as_secs_f64(),
        }
    }

    pub fn late(&mut self, lateness: Duration) {
        self.lateness_us.saturating_record(lateness.as_micros() as u64);
    }

    pub fn offered(&mut self, class: usize) {
        self.classes[class].offered += 1;
    }

    pub fn replied(&mut self, class: usize, latency_us: u32, is_error: bool) {
        let class = &mut self.classes[class];
        class.record(latency_us);
        class.errors += u64::from(is_error);
        class.good += u64::from(!is_error && latency_us <= GOOD_LATENCY_US_MAX);
    }

    pub fn unanswered(&mut self, class: usize, age_us: u32) {
        self.classes[class].record(age_us);
        self.classes[class].unanswered += 1;
    }

    pub fn dropped(&mut self, class: usize, age_us: u32) {
        self.unanswered(class, age_us);
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
