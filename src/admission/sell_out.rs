//! How fast a counter is consumed, and when nothing will be left.
//!
//! Rates come from the counter's own values in the script's reports. So they are the rates of all gateways together, minus
//! releases. This is a pure function of the samples.

use std::collections::VecDeque;

/// Samples kept: one a second for a minute.
pub const RATE_SAMPLES_MAX: usize = 60;

/// The counter at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Nanoseconds on the caller's clock.
    pub at_ns: u64,
    /// The counter's value.
    pub value: i64,
}

/// The latest samples of one counter, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    samples: VecDeque<Sample>,
}

impl Rates {
    /// Takes a sample, and drops the oldest beyond [`RATE_SAMPLES_MAX`]. One that is not later than the last is ignored.
    pub fn push(&mut self, sample: Sample) {
        if self.samples.back().is_some_and(|last| last.at_ns >= sample.at_ns) {
            return;
        }
        if self.samples.len() == RATE_SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
    }

    /// See [`rate_per_second`].
    pub fn per_second(&self, counts_down: bool) -> Option<f64> {
        let (first, last) = (*self.samples.front()?, *self.samples.back()?);
        rate_per_second(first, last, counts_down)
    }
}

/// Units taken per second between two samples, negative when more were given back. `None` if no time lies between them.
pub fn rate_per_second(first: Sample, last: Sample, counts_down: bool) -> Option<f64> {
    let elapsed_ns = last.at_ns.checked_sub(first.at_ns).filter(|elapsed| *elapsed > 0)?;
    let risen = (i128::from(last.value) - i128::from(first.value)) as f64;
    let taken = if counts_down { -risen } else { risen };
    Some(taken * 1e9 / elapsed_ns as f64)
}

/// Seconds until nothing is left at this rate. `None` if it would not end: nobody takes, or more is given back.
pub fn sell_out_seconds(remaining: i64, rate_per_second: f64) -> Option<f64> {
    if remaining <= 0 {
        return Some(0.0);
    }
    (rate_per_second > 0.0).then(|| remaining as f64 / rate_per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_NS: u64 = 1_000_000_000;

    #[test]
    fn a_rate_is_what_was_taken_by_time() {
        let check = |values: &[i64], counts_down, expect: Option<f64>| {
            let mut rates = Rates::default();
            for (second, &value) in (0..).zip(values) {
                rates.push(Sample { at_ns: second * SECOND_NS, value });
            }
            assert_eq!(rates.per_second(counts_down), expect, "{values:?}");
        };
        check(&[], false, None);
        check(&[5], false, None);
        check(&[0, 10, 40], false, Some(20.0));
        check(&[40, 10, 0], true, Some(20.0));
        check(&[40, 40], false, Some(0.0));
        check(&[40, 30], false, Some(-10.0));
        check(&[i64::MIN, i64::MAX], false, Some(u64::MAX as f64));
    }

    #[test]
    fn old_samples_are_forgotten() {
        let mut rates = Rates::default();
        for second in 0..200 {
            rates.push(Sample {
                at_ns: second * SECOND_NS,
                value: if second < 100 { 0 } else { second as i64 * 2 },
            });
        }
        rates.push(Sample { at_ns: 0, value: 9 });
        assert_eq!(rates.per_second(false), Some(2.0));
    }

    #[test]
    fn sells_out_when_something_is_taken() {
        assert_eq!(sell_out_seconds(100, 20.0), Some(5.0));
        assert_eq!(sell_out_seconds(0, 0.0), Some(0.0));
        assert_eq!(sell_out_seconds(100, 0.0), None);
        assert_eq!(sell_out_seconds(100, -1.0), None);
    }
}
