//! Pauses between attempts: longer after each failure, and different for each waiter.
//!
//! The pause doubles from a base to a cap, with "equal jitter": half of it is fixed and half is random. So gateways that lost
//! the same server do not come back in step, and none comes back at once (M. Brooker, "Exponential Backoff And Jitter", AWS
//! Architecture Blog, 2015).

use std::time::Duration;

use rand::Rng;

/// The state of one waiter.
#[derive(Clone, Debug)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    /// Delays between half of `base` and `cap`.
    pub fn new(base: Duration, cap: Duration) -> Self {
        Self { base, cap, failures: 0 }
    }

    /// The delay before the next attempt; each call counts one more failure.
    pub fn next_delay(&mut self, rng: &mut impl Rng) -> Duration {
        let doubled = self.base.saturating_mul(1 << self.failures.min(20));
        self.failures = self.failures.saturating_add(1);
        jittered(doubled.min(self.cap), rng)
    }

    /// Something worked: the next delay is the shortest again.
    pub fn reset(&mut self) {
        self.failures = 0;
    }
}

/// A random time from half of `delay` to `delay`.
pub fn jittered(delay: Duration, rng: &mut impl Rng) -> Duration {
    delay.mul_f64(rng.random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    #[test]
    fn delays_double_to_the_cap_and_start_again() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1));
        for expect_ms in [100, 200, 400, 800, 1000, 1000] {
            let full = Duration::from_millis(expect_ms);
            let delay = backoff.next_delay(&mut rng);
            assert!(delay >= full / 2 && delay <= full, "{delay:?} for {full:?}");
        }
        for _ in 0..100 {
            assert!(backoff.next_delay(&mut rng) <= Duration::from_secs(1));
        }
        backoff.reset();
        assert!(backoff.next_delay(&mut rng) <= Duration::from_millis(100));
    }
}
