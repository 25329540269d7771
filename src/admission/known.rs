//! The last known state of a counter: enough to say what the flush script would refuse.
//!
//! It is used to refuse, never to grant. The one exception is a quota with `on_unavailable = "allow"` while Redis is away
//! ([`KnownCounter::presume`]). An unknown value or bound refuses nothing.

use smallvec::SmallVec;

use crate::combine::{
    CLAMP_VALUE_MAX, Cause, Ceiling, Charge, Clamp, ClampReport, Consumes, Refusal, window_key,
};

/// `PTTL` counts whole milliseconds, and a key is there until its last one is over.
const EXPIRY_STEP_NS: u64 = 1_000_000;

#[derive(Clone, Copy, Debug)]
pub(super) struct KnownWindow {
    pub limit: i64,
    pub used: i64,
    window_ms: u64,
    /// Of what is used, what Redis has not counted in it yet and is not on its way there; and what is on its way.
    owed: i64,
    paying: i64,
    /// When it ends, if it has begun; not before Redis lets it end.
    ends_ns: Option<u64>,
}

/// The last known state of one counter.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownCounter {
    pub value: Option<i64>,
    /// The value is counted from here, since nobody could be asked; `None` if Redis told it.
    counted_from: Option<i64>,
    pub ceiling: Option<i64>,
    pub floor: Option<i64>,
    pub windows: SmallVec<[KnownWindow; 2]>,
}

impl KnownCounter {
    pub fn absorb(&mut self, now_ns: u64, report: &ClampReport, clamp: &Clamp) {
        self.learn_value(report.value);
        self.ceiling = report.ceiling;
        self.floor = report.floor;
        self.fit_windows(clamp);
        for (state, window) in report.windows.iter().zip(&mut self.windows) {
            let end = now_ns.saturating_add(state.left_ms.saturating_mul(1_000_000) + EXPIRY_STEP_NS);
            let unpaid = window.owed.saturating_add(window.paying);
            let own_end = window.ends_ns.filter(|_| unpaid > 0);
            window.used = state.used.saturating_add(unpaid);
            window.ends_ns = if state.used > 0 { Some(end) } else { own_end };
        }
    }

    /// The counter's value by Redis's word.
    pub fn learn_value(&mut self, value: Option<i64>) {
        (self.value, self.counted_from) = (value, None);
    }

    /// Fills in from the clamp what no report has told, so that what is let through without asking is held to something, and
    /// gives the value. Windows are empty then, and the counter is counted from 0, or from its floor if that is higher: it
    /// should not be below. `owed` is not in it yet. `None` while the limit is only written where it cannot be read now.
    pub fn presume(&mut self, clamp: &Clamp, owed: i64) -> Option<i64> {
        if self.ceiling.is_none() {
            let limit_key = |ceiling: &Ceiling| matches!(ceiling, Ceiling::Key(_));
            if clamp.ceilings.iter().any(limit_key) {
                return None;
            }
            self.ceiling = lowest(clamp);
        }
        self.floor = self.floor.or(clamp.floor);
        let known = self.windows.iter().map(|window| (window.window_ms, window.limit));
        if !known.eq(clamp.windows.iter().map(|window| (window.window_ms, window.limit))) {
            self.fit_windows(clamp);
        }
        if self.value.is_none() {
            let from = self.floor.unwrap_or(0).max(0);
            (self.value, self.counted_from) = (Some(from.saturating_add(owed)), Some(from));
        }
        self.value
    }

    /// Whether nobody can tell that this delta stays above the floor, since the value has only been counted: then what may be
    /// taken is what was put back meanwhile.
    pub fn may_pass_floor(&self, delta: i64) -> bool {
        let below = |(value, from): (i64, i64)| value.saturating_add(delta) < from;
        delta < 0 && self.floor.is_some() && self.value.zip(self.counted_from).is_some_and(below)
    }

    /// The quota is another. Bounds that the former clamp gave are those of the present one. Those that an operator or a limit key
    /// gave stay, as long as the limit keys are the same. Windows of the same length go on under their new limits.
    pub fn exchange_bounds(&mut self, former: Option<&Clamp>, clamp: Option<&Clamp>) {
        let limit_keys = |clamp: Option<&Clamp>| -> Vec<Ceiling> {
            let ceilings = clamp.into_iter().flat_map(|clamp| &clamp.ceilings);
            ceilings.filter(|ceiling| matches!(ceiling, Ceiling::Key(_))).cloned().collect()
        };
        let same_keys = limit_keys(former) == limit_keys(clamp);
        let floor_of = |clamp: &Clamp| clamp.floor;
        if !same_keys || former.and_then(lowest) == self.ceiling {
            // Where there is a limit key it may be lower still.
            self.ceiling = clamp.filter(|_| limit_keys(clamp).is_empty()).and_then(lowest);
        }
        if former.and_then(floor_of) == self.floor {
            self.floor = clamp.and_then(floor_of);
        }
        match clamp {
            Some(clamp) => self.fit_windows(clamp),
            None => self.windows.clear(),
        }
    }

    /// Makes the windows those of this clamp. One that was not known is empty.
    fn fit_windows(&mut self, clamp: &Clamp) {
        let former = std::mem::take(&mut self.windows);
        let fitted = clamp.windows.iter().map(|window| {
            let same = former.iter().find(|known| known.window_ms == window.window_ms);
            KnownWindow {
                limit: window.limit,
                window_ms: window.window_ms,
                used: same.map_or(0, |known| known.used),
                owed: same.map_or(0, |known| known.owed),
                paying: same.map_or(0, |known| known.paying),
                ends_ns: same.and_then(|known| known.ends_ns),
            }
        });
        self.windows = fitted.collect();
    }

    /// Takes in what was let through without asking: it will be added to the counter.
    pub fn spend(&mut self, now_ns: u64, delta: i64, consumes: Consumes) {
        if let Some(value) = &mut self.value {
            *value = value.saturating_add(delta);
        }
        let takes = taken(delta, consumes);
        for window in self.windows.iter_mut().filter(|_| takes > 0) {
            window.used = window.used.saturating_add(takes);
            window.owed = window.owed.saturating_add(takes);
            window.ends_ns.get_or_insert(now_ns.saturating_add(window.window_ms.saturating_mul(1_000_000)));
        }
    }

    /// Something was taken in a window and is not counted there.
    pub fn owes(&self) -> bool {
        self.windows.iter().any(|window| window.owed > 0)
    }

    /// The units to count in windows. From here on they are on their way.
    pub fn pay(&mut self, now_ns: u64, key: &[u8]) -> Vec<Charge> {
        self.roll(now_ns);
        let owed = self.windows.iter_mut().filter(|window| window.owed > 0);
        let charge = owed.map(|window| {
            window.paying = std::mem::take(&mut window.owed);
            let left_ns = window.ends_ns.map_or(0, |end| end.saturating_sub(now_ns));
            Charge {
                key: window_key(key, window.window_ms),
                units: window.paying.min(CLAMP_VALUE_MAX),
                left_ms: left_ns.div_ceil(1_000_000).clamp(1, window.window_ms),
                window_ms: window.window_ms,
            }
        });
        charge.collect()
    }

    /// The units on their way are counted or given up (`paid`), or they are still owed.
    pub fn settle(&mut self, paid: bool) {
        for window in &mut self.windows {
            let paying = std::mem::take(&mut window.paying);
            window.owed = window.owed.saturating_add(if paid { 0 } else { paying });
        }
    }

    /// Empties the windows that have ended. Whether there were any.
    pub fn roll(&mut self, now_ns: u64) -> bool {
        let mut rolled = false;
        for window in &mut self.windows {
            if window.ends_ns.is_some_and(|end| end <= now_ns) {
                // Nobody has to be told any more what was taken in it.
                (window.used, window.owed, window.paying, window.ends_ns) = (0, 0, 0, None);
                rolled = true;
            }
        }
        rolled
    }

    /// What would refuse this delta, by the script's rules; `None` if it fits or if that is not known. Of several, the
    /// one whose cause will last.
    pub fn obstacle(&self, delta: i64, consumes: Consumes) -> Option<Refusal> {
        let value = self.value?;
        let refusal = |cause, limit| Some(Refusal { cause, limit, value });
        let after = i128::from(value) + i128::from(delta);
        if !(-CLAMP_VALUE_MAX..=CLAMP_VALUE_MAX).contains(&delta) || after.abs() > i128::from(CLAMP_VALUE_MAX)
        {
            return refusal(Cause::TooLarge, CLAMP_VALUE_MAX);
        }
        if let Some(ceiling) = self.ceiling.filter(|ceiling| delta > 0 && after > i128::from(*ceiling)) {
            return refusal(Cause::Ceiling, ceiling);
        }
        if let Some(floor) = self.floor.filter(|floor| delta < 0 && after < i128::from(*floor)) {
            return refusal(Cause::Floor, floor);
        }
        let takes = taken(delta, consumes);
        let full = |window: &KnownWindow| takes > 0 && window.used.saturating_add(takes) > window.limit;
        let index = self.windows.iter().position(full)?;
        refusal(Cause::Window(index), self.windows[index].limit)
    }
}

/// The lowest ceiling that is written down in the configuration.
fn lowest(clamp: &Clamp) -> Option<i64> {
    let value = |ceiling: &Ceiling| if let Ceiling::Value(value) = ceiling { Some(*value) } else { None };
    clamp.ceilings.iter().filter_map(value).min()
}

/// The units that this delta takes from the quota: 0 for a release.
pub(super) fn taken(delta: i64, consumes: Consumes) -> i64 {
    match consumes {
        Consumes::Up => delta.max(0),
        Consumes::Down => delta.min(0).saturating_neg(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::combine::{Window, WindowState};

    fn known(value: i64, ceiling: Option<i64>, floor: Option<i64>, used: &[(i64, i64)]) -> KnownCounter {
        let windows = used.iter().map(|&(used, limit)| KnownWindow {
            limit,
            used,
            window_ms: 1,
            owed: 0,
            paying: 0,
            ends_ns: Some(100),
        });
        KnownCounter {
            value: Some(value),
            ceiling,
            floor,
            windows: windows.collect(),
            ..KnownCounter::default()
        }
    }

    #[test]
    fn tells_what_the_script_would_refuse() {
        let check = |known: &KnownCounter, delta, consumes, expect: Option<(Cause, i64)>| {
            let found = known.obstacle(delta, consumes).map(|refusal| (refusal.cause, refusal.limit));
            assert_eq!(found, expect, "{known:?} by {delta}");
        };
        let up = Consumes::Up;
        let lifetime = known(97, Some(100), None, &[]);
        check(&lifetime, 3, up, None);
        check(&lifetime, 4, up, Some((Cause::Ceiling, 100)));
        check(&lifetime, -1000, up, None);
        check(&lifetime, 0, up, None);
        check(&lifetime, i64::MAX, up, Some((Cause::TooLarge, CLAMP_VALUE_MAX)));
        check(&lifetime, i64::MIN, up, Some((Cause::TooLarge, CLAMP_VALUE_MAX)));
        check(&known(150, Some(100), None, &[]), -1, up, None);
        let stock = known(2, None, Some(0), &[(4, 5)]);
        check(&stock, -1, Consumes::Down, None);
        check(&stock, -2, Consumes::Down, Some((Cause::Window(0), 5)));
        check(&stock, -3, Consumes::Down, Some((Cause::Floor, 0)));
        check(&stock, 1000, Consumes::Down, None);
        let rates = known(0, None, None, &[(1, 9), (5, 5)]);
        check(&rates, 1, up, Some((Cause::Window(1), 5)));
        check(&rates, -1, up, None);
        check(&KnownCounter { value: None, ..lifetime }, 4, up, None);
    }

    #[test]
    fn a_window_ends_by_its_expiry_and_not_before() {
        let window = Window { key: "w".into(), limit: 5, window_ms: 1000 };
        let clamp = Clamp { windows: vec![window], ..Clamp::default() };
        let windows = vec![WindowState { used: 5, left_ms: 20 }];
        let report = ClampReport { value: Some(5), windows, ..ClampReport::default() };
        let mut known = KnownCounter::default();
        known.absorb(1_000_000, &report, &clamp);
        assert!(!known.roll(21_999_999));
        assert!(known.obstacle(1, Consumes::Up).is_some());
        assert!(known.roll(22_000_000));
        assert!(known.obstacle(5, Consumes::Up).is_none());
        assert!(known.obstacle(6, Consumes::Up).is_some());
        assert!(!known.roll(u64::MAX));
    }
}
