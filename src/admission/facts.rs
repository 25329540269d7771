//! What operators see of a counter: one row per quota of the key.

use super::{
    key_quota::{Bound, Limit},
    machine::{Admission, Phase},
};

/// One quota on this key, for operators. Levels, as last known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuleFacts {
    /// Which `[[quota]]`, counted from 0.
    pub rule: u16,
    /// The limit, the floor, or the window's limit.
    pub limit: Option<i64>,
    /// The value that is compared with the limit: the counter, or the units taken in the window.
    pub value: Option<i64>,
    /// The limit is a floor.
    pub counts_down: bool,
    /// The window's length in milliseconds.
    pub window_ms: Option<u64>,
    /// Units that may still be taken; never negative.
    pub remaining: Option<i64>,
    /// It refuses; otherwise it only counts.
    pub enforce: bool,
    /// An operator has paused the key.
    pub paused: bool,
    /// Not one unit fits by the last known state.
    pub exhausted: bool,
}

impl Admission {
    /// The rows, in the order of [`super::KeyQuota::parts`]. A window that has ended since the last report is shown empty.
    pub fn facts(&self, now_ns: u64) -> Vec<RuleFacts> {
        let mut known = self.known.clone();
        known.roll(now_ns);
        let of_part = |part: &super::Part| {
            let (limit, value, counts_down, window_ms) = match &part.bound {
                Bound::Ceiling(Limit::Value(limit)) if part.enforce || self.quota.is_shadow() => {
                    (known.ceiling.or(Some(*limit)), known.value, false, None)
                }
                Bound::Ceiling(Limit::Value(limit)) => (Some(*limit), known.value, false, None),
                Bound::Ceiling(_) if part.enforce || self.quota.is_shadow() => {
                    (known.ceiling, known.value, false, None)
                }
                Bound::Ceiling(_) => (None, known.value, false, None),
                Bound::Floor(floor) => (known.floor.or(Some(*floor)), known.value, true, None),
                Bound::Window { window_ms, .. } => {
                    let index = self.clamp.as_ref().and_then(|clamp| {
                        clamp.windows.iter().position(|window| window.window_ms == *window_ms)
                    });
                    let limit = index.and_then(|index| Some(self.clamp.as_ref()?.windows.get(index)?.limit));
                    let used = index.and_then(|index| known.windows.get(index)).map(|window| window.used);
                    (limit, used, false, Some(*window_ms))
                }
            };
            let remaining = limit.zip(value).map(|(limit, value)| {
                let left =
                    if counts_down { value.saturating_sub(limit) } else { limit.saturating_sub(value) };
                left.max(0)
            });
            RuleFacts {
                rule: part.rule,
                limit,
                value,
                counts_down,
                window_ms,
                remaining,
                enforce: part.enforce,
                paused: self.phase == Phase::Paused,
                exhausted: remaining == Some(0),
            }
        };
        self.quota.parts().iter().map(of_part).collect()
    }
}
