//! The flush script on one counter, as its rules read: for simulations that have no Redis.

use hotgate::combine::{CLAMP_VALUE_MAX, Cause, Ceiling, Clamp, ClampReport, Consumes, Refusal, WindowState};

use super::MS;

/// What one member of a flush is told: the counter behind it, or why not.
pub type Outcome = Result<i64, Refusal>;

/// The counter, its windows and the operator's override.
#[derive(Clone, Debug, Default)]
pub struct Counter {
    pub value: i64,
    pub limit: Option<i64>,
    pub paused: bool,
    /// Used, and the moment it ends, by the clamp's order.
    windows: Vec<(i64, Option<u64>)>,
}

impl Counter {
    /// The limit in force.
    pub fn ceiling(&self, clamp: &Clamp) -> Option<i64> {
        let configured = clamp.ceilings.iter().map(|ceiling| match ceiling {
            Ceiling::Value(limit) => *limit,
            Ceiling::Key(_) => panic!("no limit keys here"),
        });
        let raised = self.limit.filter(|_| clamp.consumes == Consumes::Up);
        raised.or(configured.min())
    }

    fn floor(&self, clamp: &Clamp) -> Option<i64> {
        self.limit.filter(|_| clamp.consumes == Consumes::Down).or(clamp.floor)
    }

    /// Applies a flush at this moment.
    pub fn run(&mut self, now_ns: u64, clamp: &Clamp, deltas: &[i64]) -> (Vec<Outcome>, ClampReport) {
        self.windows.resize(clamp.windows.len(), (0, None));
        for window in &mut self.windows {
            if window.1.is_some_and(|end| end < now_ns) {
                *window = (0, None);
            }
        }
        let outcomes: Vec<_> = deltas.iter().map(|&delta| self.add(clamp, delta)).collect();
        for (window, rule) in self.windows.iter_mut().zip(&clamp.windows) {
            if window.0 > 0 {
                window.1.get_or_insert(now_ns + rule.window_ms * MS);
            }
        }
        let left = |end: Option<u64>| end.map_or(0, |end| end.saturating_sub(now_ns) / MS);
        let report = ClampReport {
            granted: outcomes.iter().filter(|outcome| outcome.is_ok()).count() as u64,
            refused: outcomes.iter().filter(|outcome| outcome.is_err()).count() as u64,
            would_refuse: 0,
            value: Some(self.value),
            ceiling: self.ceiling(clamp),
            floor: self.floor(clamp),
            windows: self
                .windows
                .iter()
                .map(|&(used, end)| WindowState { used, left_ms: left(end) })
                .collect(),
            paused: self.paused,
            fault: None,
        };
        (outcomes, report)
    }

    fn add(&mut self, clamp: &Clamp, delta: i64) -> Outcome {
        let refused = |cause, limit| Err(Refusal { cause, limit, value: self.value });
        let after = self.value.saturating_add(delta);
        let takes = if clamp.consumes == Consumes::Up { delta.max(0) } else { (-delta).max(0) };
        if self.paused {
            return refused(Cause::Paused, self.ceiling(clamp).or(self.floor(clamp)).unwrap_or(0));
        }
        if delta.abs() > CLAMP_VALUE_MAX || after.abs() > CLAMP_VALUE_MAX {
            return refused(Cause::TooLarge, CLAMP_VALUE_MAX);
        }
        if let Some(ceiling) = self.ceiling(clamp).filter(|ceiling| delta > 0 && after > *ceiling) {
            return refused(Cause::Ceiling, ceiling);
        }
        if let Some(floor) = self.floor(clamp).filter(|floor| delta < 0 && after < *floor) {
            return refused(Cause::Floor, floor);
        }
        for (index, (window, rule)) in self.windows.iter().zip(&clamp.windows).enumerate() {
            if takes > 0 && window.0 + takes > rule.limit {
                return refused(Cause::Window(index), rule.limit);
            }
        }
        self.windows.iter_mut().for_each(|window| window.0 += takes);
        self.value = after;
        Ok(after)
    }
}
