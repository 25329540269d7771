//! The sum of a run of increments, with its highest and lowest partial sum.
//!
//! The sum alone is not enough. `+5` and then `-5`, on a counter that stands two below the largest integer, are an overflow error
//! and a subtraction, not nothing. So the fold also keeps the highest and the lowest partial sum. Only if the counter can take
//! both does the sum have the same effect as its parts.

/// Runs of equal deltas in one fold. The script reads them only when a fold fails or a quota clamps it; 4096 runs
/// are about 20 KiB on the wire and half a millisecond there at most.
const RUNS_MAX: usize = 4096;

/// A run of increments, folded.
#[derive(Debug, Default)]
pub(super) struct Fold {
    /// The sum of the run.
    pub sum: i64,
    /// The highest point that the run passes, counted from its beginning: never negative.
    pub high: i64,
    /// The lowest, never positive.
    pub low: i64,
    /// How many increments there are.
    pub increments: u32,
    /// The deltas in order: value and how many times in a row.
    pub runs: Vec<(i64, u32)>,
}

impl Fold {
    /// Adds so many equal increments. False if they do not fit: the way there would leave the range of `i64`, or there
    /// are too many runs; nothing is changed then.
    #[inline]
    pub fn add(&mut self, delta: i64, times: u32) -> bool {
        let added = delta.checked_mul(i64::from(times));
        let Some(sum) = added.and_then(|added| self.sum.checked_add(added)) else { return false };
        let Some(increments) = self.increments.checked_add(times) else { return false };
        let count = self.runs.len();
        match self.runs.last_mut() {
            Some((last, so_far)) if *last == delta => *so_far += times,
            _ if count < RUNS_MAX => self.runs.push((delta, times)),
            _ => return false,
        }
        // Equal steps do not turn, so the points between are between the ends.
        self.sum = sum;
        self.high = self.high.max(sum);
        self.low = self.low.min(sum);
        self.increments = increments;
        true
    }

    /// The run never turns: if its sum fits into the counter, so does every point on the way.
    pub fn monotone(&self) -> bool {
        self.low == 0 && self.high == self.sum || self.high == 0 && self.low == self.sum
    }

    pub fn clear(&mut self) {
        let mut runs = std::mem::take(&mut self.runs);
        runs.clear();
        *self = Self { runs, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(deltas: &[i64]) -> Option<Fold> {
        let mut fold = Fold::default();
        deltas.iter().all(|&delta| fold.add(delta, 1)).then_some(fold)
    }

    #[test]
    fn keeps_the_extremes_of_the_way() {
        let check = |deltas: &[i64], expect: Option<(i64, i64, i64)>| {
            assert_eq!(folded(deltas).map(|fold| (fold.sum, fold.low, fold.high)), expect, "{deltas:?}");
        };
        check(&[1, 1, 5], Some((7, 0, 7)));
        check(&[5, -8, 1], Some((-2, -3, 5)));
        check(&[0], Some((0, 0, 0)));
        check(&[i64::MAX, 1], None);
        check(&[i64::MIN, -1], None);
        check(&[i64::MIN, i64::MAX], Some((-1, i64::MIN, 0)));
    }

    #[test]
    fn monotone_runs_never_turn() {
        let check = |deltas: &[i64], expect: bool| {
            assert_eq!(folded(deltas).unwrap().monotone(), expect, "{deltas:?}")
        };
        check(&[1, 0, 3], true);
        check(&[-1, -1], true);
        check(&[0], true);
        check(&[2, -1], false);
        check(&[-2, 1], false);
        check(&[1, -1], false);
        check(&[-2, 2], false);
    }

    #[test]
    fn runs_are_counted_and_bounded() {
        assert_eq!(folded(&[1, 1, 1, -2, 1]).unwrap().runs, [(1, 3), (-2, 1), (1, 1)]);
        let mut fold = Fold::default();
        assert!(fold.add(3, 2) && fold.add(3, 4) && !fold.add(i64::MAX / 2, 3) && !fold.add(3, u32::MAX));
        assert_eq!(
            (fold.sum, fold.high, fold.low, fold.increments, &*fold.runs),
            (18, 18, 0, 6, &[(3, 6)][..])
        );
        let mut fold = Fold::default();
        let taken = (0..).take_while(|&step| fold.add(if step % 2 == 0 { 1 } else { -1 }, 1)).count();
        assert_eq!(taken, RUNS_MAX);
        assert_eq!(fold.increments as usize, RUNS_MAX);
    }
}
