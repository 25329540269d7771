//! An order of rows that does not change with every flutter of their figures, for people to read.
//!
//! Keys that are about equally hot would change places four times a second, and the first line with them. So a row is ranked by a figure
//! that it keeps until its present one differs from it by more than [`SLACK`].

use std::collections::HashMap;

/// By how much a figure may differ, up or down, before its row is ranked anew.
const SLACK: f64 = 1.25;

/// The figures by which rows are ranked. Of rows that are not there any more none is kept.
#[derive(Debug, Default)]
pub struct Calm(HashMap<String, f64>);

impl Calm {
    /// Orders rows, the highest first.
    pub fn order<T>(&mut self, rows: &mut [T], name: impl Fn(&T) -> &str, figure: impl Fn(&T) -> f64) {
        let ranked = |row: &T| {
            let now = figure(row);
            let kept = self.0.get(name(row)).copied();
            let kept = kept.filter(|kept| now <= kept * SLACK && now >= kept / SLACK);
            (name(row).to_owned(), kept.unwrap_or(now))
        };
        self.0 = rows.iter().map(ranked).collect();
        let rank = |row: &T| self.0.get(name(row)).copied().unwrap_or(0.0);
        rows.sort_by(|a, b| rank(b).total_cmp(&rank(a)).then_with(|| name(a).cmp(name(b))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_about_equal_keep_their_places() {
        let mut calm = Calm::default();
        let mut check = |figures: &[(&'static str, f64)], expected: &str| {
            let mut rows = figures.to_vec();
            calm.order(&mut rows, |row| row.0, |row| row.1);
            let names: Vec<&str> = rows.iter().map(|row| row.0).collect();
            assert_eq!(names.join(" "), expected, "{figures:?}");
        };
        check(&[("a", 100.0), ("b", 99.0), ("c", 98.0)], "a b c");
        check(&[("a", 90.0), ("b", 110.0), ("c", 120.0)], "a b c");
        // One that is clearly higher goes up, and stays there.
        check(&[("a", 90.0), ("b", 110.0), ("c", 130.0)], "c a b");
        check(&[("a", 100.0), ("b", 100.0), ("c", 105.0)], "c a b");
        // What had gone comes back as it is.
        check(&[("a", 100.0), ("b", 100.0)], "a b");
        check(&[("a", 100.0), ("b", 100.0), ("c", 95.0)], "a b c");
        check(&[("a", 0.0), ("b", 0.0)], "a b");
    }
}
