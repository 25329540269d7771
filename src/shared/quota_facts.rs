//! What the quota registry knows of each key under a quota: the levels. The counts are in `tallies::QuotaTally`.

use super::quota_overrides::Override;
use super::tallies::QuotaTally;

/// One key under one quota, as last seen at Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaFacts {
    /// The counter's key.
    pub key: Vec<u8>,
    /// Which `[[quota]]` of the configuration, counted from 0.
    pub rule: u16,
    /// Its pattern.
    pub pattern: String,
    /// The limit, or the floor with `counts_down`; `None` while it is not known.
    pub limit: Option<i64>,
    /// Whether the limit is a floor for stock that is counted down.
    pub counts_down: bool,
    /// The counter's value; `None` while it is not known.
    pub value: Option<i64>,
    /// The length of the window; `None` for a cap for ever.
    pub window_ms: Option<u64>,
    /// Whether it refuses; `false` only counts.
    pub enforce: bool,
    /// An operator's pause refuses everything.
    pub paused: bool,
    /// Nothing is left, so refusals are local.
    pub exhausted: bool,
    /// Why the quota can't be applied, as a clause; empty where it can.
    pub fault: String,
    /// What of it an operator has changed.
    pub changed: Changed,
    /// What has been counted at this gateway since its start.
    pub tally: QuotaTally,
}

/// What an operator has changed of a quota on one key, and who it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// The limit is not the configured one.
    pub limit: bool,
    /// Who set it; empty where that was not noted.
    pub limit_by: String,
    /// Who paused it.
    pub paused_by: String,
}

impl QuotaFacts {
    /// The part of the limit that is used, 0 to 1; `None` of a floor, or while it is not known.
    pub fn used_share(&self) -> Option<f64> {
        let (limit, value) = (self.limit.filter(|_| !self.counts_down)?, self.value?);
        Some(if limit <= 0 { 1.0 } else { (value as f64 / limit as f64).clamp(0.0, 1.0) })
    }

    /// Notes what an operator has set for the key, if anything.
    pub fn note(&mut self, set: Option<&Override>) {
        self.changed = Changed::default();
        let Some(set) = set else { return };
        // A window has no limit of an operator's.
        self.changed.limit = set.limit.is_some() && set.limit == self.limit && self.window_ms.is_none();
        if self.changed.limit {
            self.changed.limit_by.clone_from(&set.limit_by);
        }
        self.changed.paused_by.clone_from(&set.paused_by);
    }

    /// How many units may still be granted; `None` while limit or value are not known.
    pub fn remaining(&self) -> Option<i64> {
        let (limit, value) = (self.limit?, self.value?);
        let remaining =
            if self.counts_down { value.saturating_sub(limit) } else { limit.saturating_sub(value) };
        Some(remaining.max(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remaining_in_both_directions_never_goes_negative() {
        let check = |limit, value, counts_down, expect| {
            let facts = QuotaFacts {
                key: b"k".to_vec(),
                rule: 0,
                pattern: "k".into(),
                limit,
                counts_down,
                value,
                window_ms: None,
                enforce: true,
                paused: false,
                exhausted: false,
                fault: String::new(),
                changed: Changed::default(),
                tally: QuotaTally::default(),
            };
            assert_eq!(facts.remaining(), expect);
        };
        check(Some(100), Some(30), false, Some(70));
        check(Some(100), Some(130), false, Some(0));
        check(Some(0), Some(30), true, Some(30));
        check(Some(i64::MAX), Some(i64::MIN), false, Some(i64::MAX));
        check(None, Some(1), false, None);
    }
}
