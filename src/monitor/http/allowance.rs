//! Rate limits of the HTTP side: token buckets, per source and in total, with separate ones for each class of requests.
//!
//! Classes are separate so that one kind of request cannot use up what another needs: a flood without the token takes only from
//! the strangers' bucket, and a page that is loaded over and over leaves `/metrics` alone. A request takes from the bucket of its
//! source first, so one source cannot use up the total. Probes are in no class: `/healthz` and `/readyz` cost no more than a refusal.

use std::collections::HashMap;

use tokio::time::Instant;

use super::connections::Source;

/// Sources that are told apart. Beyond it those that asked nothing lately are forgotten, and if there are none further ones
/// share one place.
const SOURCES_MAX: usize = 1024;

/// The kinds of requests that are counted apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `/metrics`, by who may have it.
    Metrics,
    /// The API, by who may ask it.
    Api,
    /// The page and its files, and paths that are not there.
    Page,
    /// Requests without the right token.
    Stranger,
}

const CLASSES: usize = 4;

/// Per second in the long run, and at once after a pause.
#[derive(Clone, Copy)]
struct Rate {
    per_s: f64,
    burst: f64,
}

impl Class {
    /// At 50 µs each, 200 a second are 1 % of a core; ten dashboards and as many scrapers need 50.
    const fn of_all(self) -> Rate {
        match self {
            Self::Metrics | Self::Api | Self::Page => Rate { per_s: 200.0, burst: 400.0 },
            Self::Stranger => Rate { per_s: 50.0, burst: 100.0 },
        }
    }

    const fn of_source(self) -> Rate {
        match self {
            Self::Metrics | Self::Stranger => Rate { per_s: 20.0, burst: 50.0 },
            Self::Api | Self::Page => Rate { per_s: 100.0, burst: 200.0 },
        }
    }
}

#[derive(Clone, Copy)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Bucket {
    fn full(rate: Rate, now: Instant) -> Self {
        Self { left: rate.burst, at: now }
    }

    fn fill(&mut self, rate: Rate, now: Instant) {
        let gained = now.saturating_duration_since(self.at).as_secs_f64() * rate.per_s;
        *self = Self { left: (self.left + gained).min(rate.burst), at: now };
    }

    fn take(&mut self, rate: Rate, now: Instant) -> bool {
        self.fill(rate, now);
        let admitted = self.left >= 1.0;
        if admitted {
            self.left -= 1.0;
        }
        admitted
    }
}

/// See the module.
pub struct Allowance {
    all: [Bucket; CLASSES],
    sources: HashMap<Source, [Bucket; CLASSES]>,
    swept: Instant,
}

const ALL: [Class; CLASSES] = [Class::Metrics, Class::Api, Class::Page, Class::Stranger];

impl Allowance {
    /// Nothing has been asked yet.
    pub fn new(now: Instant) -> Self {
        Self { all: ALL.map(|class| Bucket::full(class.of_all(), now)), sources: HashMap::new(), swept: now }
    }

    /// Whether a request may be answered. What is refused takes nothing.
    pub fn take(&mut self, source: Source, class: Class, now: Instant) -> bool {
        let source = self.place(source, now);
        let new = || ALL.map(|class| Bucket::full(class.of_source(), now));
        let own = &mut self.sources.entry(source).or_insert_with(new)[class as usize];
        own.fill(class.of_source(), now);
        let admitted = own.left >= 1.0 && self.all[class as usize].take(class.of_all(), now);
        if admitted {
            own.left -= 1.0;
        }
        admitted
    }

    /// Where a source is counted.
    fn place(&mut self, source: Source, now: Instant) -> Source {
        if self.sources.len() < SOURCES_MAX || self.sources.contains_key(&source) {
            return source;
        }
        // At most once a second, so that a flood of sources does not have it walk.
        if now.saturating_duration_since(self.swept).as_secs_f64() >= 1.0 {
            self.swept = now;
            self.sources.retain(|_, buckets| {
                buckets.iter_mut().zip(ALL).any(|(bucket, class)| {
                    bucket.fill(class.of_source(), now);
                    bucket.left < class.of_source().burst
                })
            });
        }
        if self.sources.len() < SOURCES_MAX { source } else { Source::others() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::net::SocketName;

    fn source(number: u32) -> Source {
        Source::of(&SocketName::Ip((number.to_be_bytes(), 1).into()))
    }

    fn taken(allowance: &mut Allowance, source: Source, class: Class, now: Instant) -> usize {
        (0..1_000).filter(|_| allowance.take(source, class, now)).count()
    }

    #[tokio::test]
    async fn a_burst_is_bounded_and_refills() {
        let now = Instant::now();
        let mut allowance = Allowance::new(now);
        assert_eq!(taken(&mut allowance, source(1), Class::Api, now), 200);
        let later = now + Duration::from_millis(100);
        assert_eq!(taken(&mut allowance, source(1), Class::Api, later), 10);
    }

    #[tokio::test]
    async fn no_class_and_no_source_takes_from_another() {
        let now = Instant::now();
        let mut allowance = Allowance::new(now);
        for class in [Class::Stranger, Class::Page, Class::Api] {
            assert!(taken(&mut allowance, source(1), class, now) < 1_000);
        }
        assert_eq!(taken(&mut allowance, source(1), Class::Metrics, now), 50);
        assert_eq!(taken(&mut allowance, source(2), Class::Metrics, now), 50);
        let strangers: usize =
            (3..20).map(|number| taken(&mut allowance, source(number), Class::Stranger, now)).sum();
        assert_eq!(strangers, 50, "a hundred of all together, of which the first source had half");
    }

    #[tokio::test]
    async fn sources_are_bounded() {
        let now = Instant::now();
        let mut allowance = Allowance::new(now);
        for number in 0..3_000 {
            allowance.take(source(number), Class::Stranger, now);
        }
        assert!(allowance.sources.len() <= SOURCES_MAX + 1);
        allowance.take(source(9_999), Class::Api, now + Duration::from_secs(60));
        assert_eq!(allowance.sources.len(), 1, "who asked nothing lately is forgotten");
    }
}
