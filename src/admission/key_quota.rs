//! The quota of one key: all quotas whose patterns match it, merged into the one clamp that the flush script applies.
//!
//! - All enforced quotas apply together. Shadow quotas see only what the enforced quotas granted; they count and refuse nothing.
//!   If no quota of the key is enforced, the shadow quotas see every operation.
//! - Windows of the same length become one window with the lowest limit, because Redis counts by length.
//! - A key with a floor and no ceiling is stock. Then decrements consume the quota, windows count decrements, and the limit that
//!   an operator sets is a floor. In every other case increments consume.
//! - Where only one value can apply, the strictest wins: the shortest recheck, the most replicas, `refuse` over `allow`.
//! - Shadow quotas wait for no replica, because they change no reply.

use bytes::Bytes;

use super::{replica_wait::ReplicaWait, template};
use crate::{
    combine::{
        CLAMP_VALUE_MAX, Cause, Ceiling, Clamp, Consumes, ShadowBounds, Window, override_key, window_key,
    },
    command::glob,
    config::{OnUnavailable, Quota, QuotaReply},
    resp::key_slot,
};

/// Where a limit is written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limit {
    /// In the configuration.
    Value(i64),
    /// In this key, which is in the slot of the counter. The script reads it with every flush.
    InSlot(Bytes),
    /// In a key that the script cannot read: the one with this index in [`KeyQuota::polled`].
    Polled(usize),
}

/// How one quota limits the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The counter does not exceed it.
    Ceiling(Limit),
    /// The counter does not go below.
    Floor(i64),
    /// No more than the limit is taken within so many milliseconds.
    Window {
        /// At least 1.
        window_ms: u64,
        /// [`Limit::Value`] or [`Limit::Polled`].
        limit: Limit,
    },
}

/// One quota's part in what holds the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which `[[quota]]` of the configuration, counted from 0.
    pub rule: u16,
    /// To what it holds the key.
    pub bound: Bound,
    /// The reply to what it refuses.
    pub reply: QuotaReply,
    /// It refuses; otherwise it only counts.
    pub enforce: bool,
}

/// The quota of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyQuota {
    key: Bytes,
    parts: Vec<Part>,
    polled: Vec<Bytes>,
    shadow: bool,
    consumes: Consumes,
    recheck_ns: u64,
    on_unavailable: OnUnavailable,
    wait: Option<ReplicaWait>,
    exactly_once: bool,
    fault: Option<String>,
}

impl KeyQuota {
    /// The quotas, each with its number, all match the key; there is at least one.
    pub(super) fn merge(key: Bytes, quotas: &[(u16, &Quota)]) -> Self {
        let shadow = !quotas.iter().any(|(_, quota)| quota.enforce);
        let held = || quotas.iter().filter(|(_, quota)| shadow || quota.enforce);
        let wait = held().map(|(_, quota)| (quota.wait_replicas, quota.wait_timeout)).max();
        let mut merged = Self {
            key,
            parts: Vec::with_capacity(quotas.len()),
            polled: Vec::new(),
            shadow,
            consumes: Consumes::Up,
            recheck_ns: held().map(|(_, quota)| nanoseconds(quota.recheck)).min().unwrap_or(1),
            on_unavailable: if held().any(|(_, quota)| quota.on_unavailable == OnUnavailable::Refuse) {
                OnUnavailable::Refuse
            } else {
                OnUnavailable::Allow
            },
            wait: wait
                .filter(|(replicas, _)| *replicas > 0 && !shadow)
                .map(|(replicas, timeout)| ReplicaWait { replicas, timeout_ms: milliseconds(timeout) }),
            exactly_once: held().any(|(_, quota)| quota.exactly_once),
            fault: None,
        };
        for (rule, quota) in quotas {
            merged.add(*rule, quota);
        }
        let has = |wanted: fn(&Bound) -> bool| merged.held().any(|part| wanted(&part.bound));
        if has(|bound| matches!(bound, Bound::Floor(_))) && !has(|bound| matches!(bound, Bound::Ceiling(_))) {
            merged.consumes = Consumes::Down;
        }
        merged
    }

    /// Whether both limit the key in the same way, wherever their quotas stand in the configuration.
    pub fn is_alike(&self, other: &Self) -> bool {
        let placeless = |quota: &Self| {
            let mut quota = quota.clone();
            quota.parts.iter_mut().for_each(|part| part.rule = 0);
            // Of the same parts a fault says the same, but for the place.
            Self { fault: None, ..quota }
        };
        placeless(self) == placeless(other)
    }

    fn add(&mut self, rule: u16, quota: &Quota) {
        let bound = if let Some(floor) = quota.floor {
            Bound::Floor(floor.clamp(-CLAMP_VALUE_MAX, CLAMP_VALUE_MAX))
        } else {
            let limit = match (quota.limit, &quota.limit_key) {
                (None, Some(name)) => self.limit_in(rule, quota, name),
                (limit, _) => Limit::Value(limit.unwrap_or(0).clamp(0, CLAMP_VALUE_MAX)),
            };
            match quota.window {
                Some(window) => Bound::Window { window_ms: milliseconds(window), limit },
                None => Bound::Ceiling(limit),
            }
        };
        self.parts.push(Part { rule, bound, reply: quota.reply, enforce: quota.enforce });
    }

    fn limit_in(&mut self, rule: u16, quota: &Quota, name: &str) -> Limit {
        let captures = glob::captures(quota.pattern.as_bytes(), &self.key).unwrap_or_default();
        let name = template::expand(name.as_bytes(), &captures);
        if name == self.key {
            self.fault =
                Some(format!("the limit key of quota {rule} is the counter itself: correct limit_key"));
        }
        if quota.window.is_none() && key_slot(&name) == key_slot(&self.key) {
            return Limit::InSlot(name);
        }
        let index = self.polled.iter().position(|known| *known == name).unwrap_or(self.polled.len());
        if index == self.polled.len() {
            self.polled.push(name);
        }
        Limit::Polled(index)
    }

    /// The counter's key.
    pub fn key(&self) -> &Bytes {
        &self.key
    }

    /// The parts, in the order of the configuration: at least one.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The parts that apply: the enforced ones, or all if none is enforced.
    pub fn held(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().filter(|part| self.holds(part))
    }

    fn holds(&self, part: &Part) -> bool {
        self.shadow || part.enforce
    }

    /// The first shadow part, if other parts are enforced: an index into [`Self::parts`].
    pub fn first_shadow_part(&self) -> Option<usize> {
        self.parts.iter().position(|part| !self.holds(part))
    }

    /// Whether the polled key with this index is the limit of a part that holds the key.
    pub fn is_held_by(&self, polled: usize) -> bool {
        self.held().any(|part| match &part.bound {
            Bound::Ceiling(limit) | Bound::Window { limit, .. } => *limit == Limit::Polled(polled),
            Bound::Floor(_) => false,
        })
    }

    /// The numbers of the quotas behind the parts.
    pub fn rules(&self) -> impl Iterator<Item = u16> {
        self.parts.iter().map(|part| part.rule)
    }

    /// Keys whose values have to be polled every recheck, since the script cannot read them: they are in another slot,
    /// or hold the limit of a window.
    pub fn polled(&self) -> &[Bytes] {
        &self.polled
    }

    /// It refuses nobody and only counts.
    pub fn is_shadow(&self) -> bool {
        self.shadow
    }

    /// Which way of the counter takes from the quota.
    pub fn consumes(&self) -> Consumes {
        self.consumes
    }

    /// From one question about an exhausted counter to the next, in nanoseconds.
    pub fn recheck_ns(&self) -> u64 {
        self.recheck_ns
    }

    /// What happens while Redis is away.
    pub fn on_unavailable(&self) -> OnUnavailable {
        self.on_unavailable
    }

    /// Whether its flushes carry tokens.
    pub fn exactly_once(&self) -> bool {
        self.exactly_once
    }

    /// How many replicas a grant waits for.
    pub fn wait(&self) -> Option<ReplicaWait> {
        self.wait
    }

    /// Why it can never be applied, whatever Redis holds: a sentence for the operator.
    pub fn fault(&self) -> Option<&str> {
        self.fault.as_deref()
    }

    /// Whether nothing may be granted before the polled key with this index has been read: it is the limit of a part that is
    /// enforced. A part in shadow mode changes no reply, so nobody waits for its limit.
    pub fn awaits(&self, polled: usize) -> bool {
        !self.shadow && self.is_held_by(polled)
    }

    /// The clamp, given the values of the polled keys in the order of [`Self::polled`]. A bound whose limit has not been read
    /// is left out.
    pub fn clamp(&self, polled: &[Option<i64>]) -> Clamp {
        let value_of = |limit: &Limit| match limit {
            Limit::Value(value) => Some(*value),
            Limit::InSlot(_) => None,
            Limit::Polled(index) => {
                polled.get(*index).copied().flatten().map(|value| value.clamp(0, CLAMP_VALUE_MAX))
            }
        };
        let mut clamp = Clamp {
            consumes: self.consumes,
            override_key: Some(override_key(&self.key)),
            shadow: self.shadow,
            ..Clamp::default()
        };
        let mut shadow = ShadowBounds::default();
        for part in &self.parts {
            let (ceilings, floor, windows) = match self.holds(part) {
                true => (&mut clamp.ceilings, &mut clamp.floor, &mut clamp.windows),
                false => (&mut shadow.ceilings, &mut shadow.floor, &mut shadow.windows),
            };
            match &part.bound {
                Bound::Ceiling(Limit::InSlot(name)) => ceilings.push(Ceiling::Key(name.clone())),
                Bound::Ceiling(limit) => ceilings.extend(value_of(limit).map(Ceiling::Value)),
                Bound::Floor(bound) => *floor = Some(floor.map_or(*bound, |other| other.max(*bound))),
                Bound::Window { window_ms, limit } => {
                    if let Some(limit) = value_of(limit) {
                        add_window(windows, &self.key, *window_ms, limit);
                    }
                }
            }
        }
        clamp.shadow_bounds = (shadow != ShadowBounds::default()).then_some(shadow);
        clamp
    }

    /// Which part refused somebody for this cause, given the limit that the refusal named: an index into
    /// [`Self::parts`]. A limit that an operator set belongs to the first part of its kind; a pause to the first part that holds.
    pub fn part_behind(&self, cause: Cause, limit: i64, clamp: &Clamp) -> usize {
        let find = |wanted: &dyn Fn(&Bound) -> bool| {
            self.parts.iter().position(|part| self.holds(part) && wanted(&part.bound))
        };
        let window_ms = |index: usize| clamp.windows.get(index).map(|window| window.window_ms);
        let found = match cause {
            Cause::Ceiling => find(&|bound| *bound == Bound::Ceiling(Limit::Value(limit)))
                .or_else(|| {
                    find(&|bound| matches!(bound, Bound::Ceiling(Limit::InSlot(_) | Limit::Polled(_))))
                })
                .or_else(|| find(&|bound| matches!(bound, Bound::Ceiling(_)))),
            Cause::Floor => find(&|bound| *bound == Bound::Floor(limit))
                .or_else(|| find(&|bound| matches!(bound, Bound::Floor(_)))),
            Cause::Window(index) => {
                let same = |other: u64| Some(other) == window_ms(index);
                find(&|bound| {
                    matches!(bound, Bound::Window { window_ms, limit: Limit::Value(value) }
                    if same(*window_ms) && *value == limit)
                })
                .or_else(|| {
                    find(&|bound| matches!(bound, Bound::Window { window_ms, .. } if same(*window_ms)))
                })
            }
            Cause::Paused | Cause::TooLarge => None,
        };
        found.or_else(|| find(&|_| true)).unwrap_or(0)
    }
}

fn add_window(windows: &mut Vec<Window>, key: &[u8], window_ms: u64, limit: i64) {
    match windows.iter_mut().find(|window| window.window_ms == window_ms) {
        Some(window) => window.limit = window.limit.min(limit),
        None => windows.push(Window { key: window_key(key, window_ms), limit, window_ms }),
    }
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).max(1)
}

fn nanoseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
#[path = "key_quota_tests.rs"]
mod tests;
