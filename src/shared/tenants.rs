//! The tenants in force, and what they have used of their limits: one pool for each, from which all workers take.
//!
//! A limit is one of the gateway. A worker does not ask the pool for each request: it takes a [`share`](Rate::share) at a time, a
//! hundredth of a second's worth divided by the workers, and gives nothing back. So at most that hundredth lies with workers, and however
//! unevenly a tenant's connections are spread over them, it gets its rate and no more.
//!
//! What a pool grants in a time `t` is at most `rate * (t + burst)`: a token bucket, kept as the one moment at which it would be full
//! again (the generic cell rate algorithm of ATM), so that it is one number.
//!
//! Owns the pools. It deliberately has no clock: who asks says what time it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::config::{Config, Tenant as TenantSettings, TenantOver};
use crate::route::tenants::{TenantId, TenantOf, TenantTable};

const SECOND_NS: u64 = 1_000_000_000;

/// A rate that is not exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Units per second, at least 1.
    pub per_s: u64,
    /// For how long what is not used is kept.
    pub burst: Duration,
}

impl Rate {
    /// What one of so many workers takes at a time.
    pub fn share(&self, workers: usize) -> u64 {
        (self.per_s / 100 / workers.max(1) as u64).max(1)
    }

    /// The time in which so many units are earned, in nanoseconds.
    pub fn time_of(&self, units: u64) -> u64 {
        let ns = (u128::from(units) * u128::from(SECOND_NS)).div_ceil(u128::from(self.per_s.max(1)));
        u64::try_from(ns).unwrap_or(u64::MAX)
    }

    /// The burst in nanoseconds: at least one unit fits.
    fn burst_ns(&self) -> u64 {
        (self.burst.as_nanos() as u64).max(self.time_of(1))
    }
}

/// What a pool has granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    /// So many units, at most those that were asked for.
    pub units: u64,
    /// When there will be one more, in nanoseconds of the asker's clock; that is now or earlier if there is one already.
    pub ready_ns: u64,
}

/// The units that may be used.
#[derive(Debug, Default)]
pub struct Pool {
    /// When it will be full again.
    full_ns: AtomicU64,
}

impl Pool {
    /// Takes up to `wanted` units.
    pub fn take(&self, rate: Rate, wanted: u64, now_ns: u64) -> Grant {
        let mut grant = Grant { units: 0, ready_ns: now_ns };
        // It never refuses: what it grants is read off afterwards.
        let _ = self.full_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_ns| {
            let full_ns = full_ns.max(now_ns);
            let latest_ns = now_ns.saturating_add(rate.burst_ns());
            let left = u128::from(latest_ns.saturating_sub(full_ns)) * u128::from(rate.per_s)
                / u128::from(SECOND_NS);
            let units = wanted.min(u64::try_from(left).unwrap_or(u64::MAX));
            let next_ns = full_ns.saturating_add(rate.time_of(units));
            let ready_ns = next_ns.saturating_add(rate.time_of(1)).saturating_sub(rate.burst_ns());
            grant = Grant { units, ready_ns };
            Some(next_ns)
        });
        grant
    }

    /// Takes units that have been used already, whether there are any or not.
    pub fn charge(&self, rate: Rate, units: u64, now_ns: u64) {
        let _ = self.full_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_ns| {
            Some(full_ns.max(now_ns).saturating_add(rate.time_of(units)))
        });
    }
}

/// The connections of a tenant's user.
#[derive(Debug, Default)]
pub struct Places(AtomicU64);

impl Places {
    /// Takes a place among at most `max`, until the answer is dropped.
    pub fn take(self: &Arc<Self>, max: Option<usize>) -> Option<Place> {
        let max = max.map_or(u64::MAX, |max| max as u64);
        let taken = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < max).then_some(taken + 1));
        taken.ok().map(|_| Place(Arc::clone(self)))
    }

    /// How many are taken.
    pub fn taken(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A place that is taken.
#[derive(Debug)]
pub struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A tenant in force.
#[derive(Debug)]
pub struct Tenant {
    /// What it is called.
    pub name: Arc<str>,
    /// Whose requests are its own.
    pub of: TenantOf,
    /// Requests per second.
    pub rate: Option<Rate>,
    /// Bytes per second, of requests and replies.
    pub bytes_rate: Option<Rate>,
    /// Connections.
    pub clients_max: Option<usize>,
    /// For how long a client may be held back, instead of an error at once.
    pub delay_max: Option<Duration>,
    /// What all workers take from.
    pub pools: Arc<Pools>,
}

/// What a tenant has used.
#[derive(Debug, Default)]
pub struct Pools {
    /// Of its requests.
    pub requests: Pool,
    /// Of its bytes.
    pub bytes: Pool,
    /// Of its connections. They stay while limits change.
    pub places: Arc<Places>,
}

/// The tenants of a configuration.
#[derive(Debug)]
pub struct Tenants {
    /// Whose a request is.
    pub table: TenantTable,
    /// By [`TenantId`].
    pub list: Vec<Tenant>,
}

impl Tenants {
    /// Those of `config`, if it has any. Where limits are as in `former`, so is what was used of them.
    pub fn of(config: &Config, former: Option<&Self>) -> Option<Arc<Self>> {
        if config.tenants.is_empty() {
            return None;
        }
        let list: Vec<Tenant> = config.tenants.iter().map(|settings| tenant(settings, former)).collect();
        Some(Arc::new(Self { table: TenantTable::new(list.iter().map(|tenant| &tenant.of)), list }))
    }

    /// A tenant, which the table has named.
    pub fn get(&self, id: TenantId) -> &Tenant {
        &self.list[id.position()]
    }
}

fn tenant(settings: &TenantSettings, former: Option<&Tenants>) -> Tenant {
    let rate_of = |per_s: Option<u64>| per_s.map(|per_s| Rate { per_s, burst: settings.burst });
    let (rate, bytes_rate) = (rate_of(settings.rate), rate_of(settings.bytes_rate));
    let name = settings.display_name();
    let known = former.and_then(|former| former.list.iter().find(|tenant| *tenant.name == *name));
    let pools = match known {
        Some(known) if (known.rate, known.bytes_rate) == (rate, bytes_rate) => Arc::clone(&known.pools),
        Some(known) => Arc::new(Pools { places: Arc::clone(&known.pools.places), ..Pools::default() }),
        None => Arc::default(),
    };
    Tenant {
        name: name.into(),
        of: match (&settings.user, &settings.pattern) {
            (Some(user), _) => TenantOf::User(user.clone()),
            (None, pattern) => TenantOf::Keys(pattern.clone().unwrap_or_default()),
        },
        rate,
        bytes_rate,
        clients_max: settings.clients_max,
        delay_max: match settings.over {
            TenantOver::Error => None,
            TenantOver::Delay(delay_max) => Some(delay_max),
        },
        pools,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { per_s: 1000, burst: Duration::from_secs(1) };

    #[test]
    fn a_pool_grants_its_rate_and_the_burst_and_no_more() {
        let pool = Pool::default();
        let mut granted = 0;
        // Five seconds of asking for more than there is, in steps of a millisecond.
        for ms in 0..5000_u64 {
            granted += pool.take(RATE, 7, 1 + ms * 1_000_000).units;
        }
        assert!((5990..=6000).contains(&granted), "{granted}");
    }

    #[test]
    fn an_empty_pool_says_when_there_is_one_more() {
        let pool = Pool::default();
        assert_eq!(pool.take(RATE, 5000, 1).units, 1000);
        let empty = pool.take(RATE, 1, 1);
        assert_eq!(empty, Grant { units: 0, ready_ns: 1_000_001 });
        assert_eq!(pool.take(RATE, 1, empty.ready_ns - 1).units, 0);
        assert_eq!(pool.take(RATE, 2, empty.ready_ns).units, 1);
    }

    #[test]
    fn what_was_used_without_asking_is_paid_back() {
        let pool = Pool::default();
        pool.charge(RATE, 3000, 1);
        assert_eq!(pool.take(RATE, 1, 1 + SECOND_NS).units, 0);
        assert_eq!(pool.take(RATE, 10, 1 + 2 * SECOND_NS + 5_000_000).units, 5);
    }

    #[test]
    fn a_slow_rate_has_room_for_one() {
        let slow = Rate { per_s: 1, burst: Duration::from_millis(10) };
        let pool = Pool::default();
        assert_eq!(pool.take(slow, 5, 1).units, 1);
        assert_eq!(pool.take(slow, 5, 1 + SECOND_NS / 2).units, 0);
        assert_eq!(pool.take(slow, 5, 1 + SECOND_NS).units, 1);
    }

    #[test]
    fn places_are_given_back() {
        let places = Arc::new(Places::default());
        let first = places.take(Some(1));
        assert!(first.is_some() && places.take(Some(1)).is_none());
        drop(first);
        assert!(places.take(Some(1)).is_some());
    }
}
