//! Log-ins: the connections that have not logged in, and the addresses from which log-ins failed lately.
//!
//! # Connections that have not logged in
//!
//! They have a bound of their own (`gateway.unauthenticated_clients_max`, shared out among the workers), so that strangers leave room for
//! others. At the bound the one that has waited longest is closed for the next: whoever has the password needs one round trip, and a
//! stranger would have to bring as many connections as there may be within it.
//!
//! # Failed log-ins
//!
//! From the sixth failure of an address within a minute on, its client is told of a failure after a pause only, which doubles up to two seconds. A client
//! that waits so is not served. The right password is answered at once, whoever else fails from that address.
//!
//! Owns counts and times. Closes nobody and has no clock.

use std::collections::{HashMap, VecDeque};
use std::net::Ipv6Addr;
use std::time::Duration;

use ahash::RandomState;

use crate::worker::names::ClientKey;

/// Failures of an address that are answered at once.
const FAILURES_FREE: u32 = 5;

/// The pause of the first failure beyond them.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// An address from which nothing failed for as long is forgotten, in nanoseconds.
const FORGOTTEN_NS: u64 = 60_000_000_000;

/// Addresses that are kept apart, some 300 KiB. Beyond it further ones count as one.
const ADDRESSES_MAX: usize = 4096;

/// Entries of the queue that may be of connections that have logged in or gone, beside as many as wait.
const STALE_SPARE: usize = 64;

/// The failures of one address.
#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last_ns: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Logins {
    /// In the order in which they came; some have logged in or gone since.
    waiting: VecDeque<ClientKey>,
    /// How many of them have not.
    count: usize,
    failures: HashMap<String, Failures, RandomState>,
    swept_ns: u64,
}

impl Logins {
    /// A connection has come that has not logged in.
    pub fn begin(&mut self, key: ClientKey) {
        self.waiting.push_back(key);
        self.count += 1;
    }

    /// One that had not has logged in, or has gone.
    pub fn end(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    /// How many have not logged in.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Takes the connection that came first out of the queue.
    pub fn take_oldest(&mut self) -> Option<ClientKey> {
        self.waiting.pop_front()
    }

    /// Forgets those of which this is not true any more, once they are most of the queue.
    pub fn forget_unless(&mut self, waits: impl Fn(ClientKey) -> bool) {
        if self.waiting.len() > 2 * self.count + STALE_SPARE {
            self.waiting.retain(|key| waits(*key));
        }
    }

    /// A log-in from this host failed: how long its client is to wait for the answer.
    pub fn failed(&mut self, host: &str, now_ns: u64) -> Duration {
        let source = self.source_of(host, now_ns);
        let failures = self.failures.entry(source).or_insert(Failures { count: 0, last_ns: now_ns });
        if now_ns.saturating_sub(failures.last_ns) >= FORGOTTEN_NS {
            failures.count = 0;
        }
        (failures.count, failures.last_ns) = (failures.count.saturating_add(1), now_ns);
        match failures.count.saturating_sub(FAILURES_FREE) {
            0 => Duration::ZERO,
            beyond => PAUSE_MIN.saturating_mul(1 << (beyond - 1).min(16)).min(PAUSE_MAX),
        }
    }

    /// What an address counts as: an IPv6 network of 64 bits is one, since its owner has all addresses of it.
    fn source_of(&mut self, host: &str, now_ns: u64) -> String {
        let source = match host.parse::<Ipv6Addr>() {
            Ok(address) if address.to_ipv4_mapped().is_none() => format!("{:x?}", &address.segments()[..4]),
            _ => host.to_owned(),
        };
        if self.failures.len() < ADDRESSES_MAX || self.failures.contains_key(&source) {
            return source;
        }
        // At most once a second, so that a flood of addresses does not have it walk.
        if now_ns.saturating_sub(self.swept_ns) >= 1_000_000_000 {
            self.swept_ns = now_ns;
            self.failures.retain(|_, known| now_ns.saturating_sub(known.last_ns) < FORGOTTEN_NS);
        }
        if self.failures.len() < ADDRESSES_MAX { source } else { String::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sixth_failure_of_an_address_waits_and_no_other_does() {
        let mut logins = Logins::default();
        let pauses: Vec<u128> = (0..12).map(|_| logins.failed("10.0.0.9", 1).as_millis()).collect();
        assert_eq!(pauses, [0, 0, 0, 0, 0, 100, 200, 400, 800, 1600, 2000, 2000]);
        assert_eq!(logins.failed("10.0.0.8", 1), Duration::ZERO);
        assert_eq!(logins.failed("10.0.0.9", 1 + FORGOTTEN_NS), Duration::ZERO, "a minute forgives");
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let mut logins = Logins::default();
        for last in 0..5 {
            logins.failed(&format!("2001:db8::{last}"), 1);
        }
        assert_eq!(logins.failed("2001:db8::ffff", 1), PAUSE_MIN);
        assert_eq!(logins.failed("2001:db8:0:1::1", 1), Duration::ZERO);
        assert_eq!(logins.failed("::ffff:10.0.0.1", 1), Duration::ZERO);
    }

    #[test]
    fn addresses_are_bounded_and_forgotten() {
        let mut logins = Logins::default();
        for number in 0..3 * ADDRESSES_MAX {
            logins.failed(&number.to_string(), 1);
        }
        assert_eq!(logins.failures.len(), ADDRESSES_MAX + 1);
        assert_eq!(logins.failed("a new one", 2), PAUSE_MAX, "those beyond the bound count as one");
        logins.failed("later", 2 * FORGOTTEN_NS);
        assert_eq!(logins.failures.len(), 1);
    }
}
