//! What one worker may use of the limits of tenants.
//!
//! A limit is one of the gateway; the worker takes a small share of it at a time ([`crate::shared::tenants`]) and counts that down by
//! itself. What was used beyond its share is charged at once, so no worker is in debt and a tenant can't gain by the worker that it is
//! connected to.
//!
//! Owns the shares. It deliberately does not know requests or clients.

use std::sync::Arc;

use crate::route::tenants::TenantId;
use crate::shared::tenant_tallies::TenantLimit;
use crate::shared::tenants::{Pool, Rate, Tenant, Tenants};

/// What a request of a client that is held back for its bytes will have, with its reply, so far as is known.
const SMALL_BYTES: u64 = 512;

/// What is left of the last share of one limit.
#[derive(Clone, Copy, Debug, Default)]
struct Portion {
    left: u64,
    /// The pool has nothing before this time.
    empty_until_ns: u64,
}

/// See the module.
pub struct TenantShares {
    /// Their limits.
    pub in_force: Arc<Tenants>,
    /// Of requests and of bytes, by [`TenantId`].
    shares: Vec<[Portion; 2]>,
    /// When the next client that is held back will have its turn, by [`TenantId`]: they come one after the other, as what they wait for
    /// does, and not all at once for the first of it.
    turns_ns: Vec<u64>,
    workers: usize,
}

impl TenantShares {
    /// Of one of so many workers.
    pub fn new(in_force: Arc<Tenants>, workers: usize) -> Self {
        let tenants = in_force.list.len();
        Self { in_force, shares: vec![Default::default(); tenants], turns_ns: vec![0; tenants], workers }
    }

    /// The limit that a tenant has reached, if it has, and when there is more.
    pub fn reached(&mut self, id: TenantId, now_ns: u64) -> Option<(TenantLimit, u64)> {
        let tenant = self.in_force.get(id);
        let shares = &mut self.shares[id.position()];
        let labels = [TenantLimit::Rate, TenantLimit::BytesRate];
        let reached =
            labels.into_iter().zip(limits(tenant)).zip(shares).filter_map(|((label, limit), share)| {
                let (rate, pool) = limit?;
                let ready_ns = share.ready_ns((rate, pool), self.workers, now_ns);
                (ready_ns > now_ns).then_some((label, ready_ns))
            });
        reached.max_by_key(|(_, ready_ns)| *ready_ns)
    }

    /// When one more client of a tenant has its turn, if that is early enough.
    pub fn turn_ns(
        &mut self,
        id: TenantId,
        limit: TenantLimit,
        (ready_ns, until_ns): (u64, u64),
    ) -> Option<u64> {
        let tenant = self.in_force.get(id);
        let apart_ns = match limit {
            TenantLimit::BytesRate => tenant.bytes_rate.map(|rate| rate.time_of(SMALL_BYTES)),
            _ => tenant.rate.map(|rate| rate.time_of(1)),
        };
        let next_ns = &mut self.turns_ns[id.position()];
        let turn_ns = ready_ns.max(*next_ns);
        if turn_ns > until_ns {
            return None;
        }
        *next_ns = turn_ns.saturating_add(apart_ns.unwrap_or(0));
        Some(turn_ns)
    }

    /// So many requests of a tenant were taken.
    pub fn spend_requests(&mut self, id: TenantId, requests: u64, now_ns: u64) {
        if let [Some(limit), _] = limits(self.in_force.get(id)) {
            self.shares[id.position()][0].spend(limit, requests, now_ns);
        }
    }

    /// So many bytes came from a tenant, or went to it.
    pub fn spend_bytes(&mut self, id: TenantId, bytes: u64, now_ns: u64) {
        if let [_, Some(limit)] = limits(self.in_force.get(id)) {
            self.shares[id.position()][1].spend(limit, bytes, now_ns);
        }
    }
}

fn limits(tenant: &Tenant) -> [Option<(Rate, &Pool)>; 2] {
    let pools = &tenant.pools;
    [tenant.rate.map(|rate| (rate, &pools.requests)), tenant.bytes_rate.map(|rate| (rate, &pools.bytes))]
}

impl Portion {
    /// When something is left: now, or later.
    fn ready_ns(&mut self, (rate, pool): (Rate, &Pool), workers: usize, now_ns: u64) -> u64 {
        if self.left > 0 {
            return now_ns;
        }
        if now_ns < self.empty_until_ns {
            return self.empty_until_ns;
        }
        let grant = pool.take(rate, rate.share(workers), now_ns);
        if grant.units > 0 {
            self.left = grant.units;
            return now_ns;
        }
        self.empty_until_ns = grant.ready_ns.max(now_ns + 1);
        self.empty_until_ns
    }

    fn spend(&mut self, (rate, pool): (Rate, &Pool), units: u64, now_ns: u64) {
        let own = units.min(self.left);
        self.left -= own;
        if units > own {
            pool.charge(rate, units - own, now_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const FILE: &str = "[[tenant]]\nmatch = \"a\"\nrate = 100\nburst = \"10ms\"\nover = { delay = \"1s\" }\n[[tenant]]\nmatch = \"b\"\n";

    fn shares() -> TenantShares {
        let config = Config::parse(FILE).unwrap_or_default();
        TenantShares::new(Tenants::of(&config, None).unwrap_or_else(|| unreachable!("it has tenants")), 1)
    }

    #[test]
    fn what_is_spent_is_gone_until_it_is_earned_and_a_tenant_without_limits_has_none() {
        let (mut shares, a, b) = (shares(), TenantId(0), TenantId(1));
        let mut taken = 0;
        for ms in 0..1000_u64 {
            let now_ns = 1 + ms * 1_000_000;
            if shares.reached(a, now_ns).is_none() {
                shares.spend_requests(a, 1, now_ns);
                taken += 1;
            }
            assert_eq!(shares.reached(b, now_ns), None);
        }
        assert!((99..=101).contains(&taken), "{taken}");
    }

    #[test]
    fn clients_that_are_held_back_have_turns_one_after_the_other() {
        let (mut shares, a) = (shares(), TenantId(0));
        let mut turn = |ready_ns| shares.turn_ns(a, TenantLimit::Rate, (ready_ns, 1_000_000_000));
        let turns: Vec<Option<u64>> = [5, 5, 5].map(&mut turn).to_vec();
        assert_eq!(turns, [Some(5), Some(10_000_005), Some(20_000_005)]);
        assert_eq!(turn(900_000_000), Some(900_000_000));
        assert_eq!([turn(5), turn(1_000_000_001)], [Some(910_000_000), None]);
    }
}
