//! The last ten minutes of each hot key: how often it was used, which part of all that was, and what of it went to Redis or was refused.
//!
//! The sampler adds a point a second; the page of a key reads them. A key that has cooled stays for ten minutes, with gaps where it was not
//! hot. Bounded in keys: the one that was hot longest ago gives way.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::history::Ring;
use super::view::{HotKeyView, QuotaView};
use crate::shared::history::Step;

/// Keys that are kept: as many as may be hot by default, twice. 600 points of 16 bytes each, so 2.4 MiB.
const KEYS_MAX: usize = 256;

/// What a point tells of a key.
const FIGURES: usize = 4;

/// A key's past, as columns.
#[derive(Debug, Serialize)]
pub struct KeyHistory {
    /// The time of the last point, in milliseconds since 1970.
    pub end_ms: u64,
    /// Between two points.
    pub step_ms: u64,
    /// Accesses.
    pub requests_per_s: Vec<f32>,
    /// Part of all key accesses, 0 to 1.
    pub share: Vec<f32>,
    /// Commands sent to Redis for what was folded; a gap where nothing was.
    pub flushed_per_s: Vec<f32>,
    /// Refused by quotas.
    pub refused_per_s: Vec<f32>,
}

struct Row {
    ring: Ring<FIGURES>,
    hot_ms: u64,
}

/// The name of a cluster, and a key's name as operators see it.
type Place = (String, String);

/// See the module. Only cold threads take its lock.
#[derive(Default)]
pub struct KeyHistories {
    rows: Mutex<HashMap<Place, Row>>,
}

impl KeyHistories {
    fn locked(&self) -> MutexGuard<'_, HashMap<Place, Row>> {
        // A panic while it was held leaves a table that is still a table.
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the second that ended at `at_ms`.
    pub fn add(&self, at_ms: u64, hot_keys: &[HotKeyView], quotas: &[QuotaView]) {
        let mut refused: HashMap<&str, f64> = HashMap::new();
        for quota in quotas {
            *refused.entry(&quota.key).or_default() += quota.refused_per_s;
        }
        let mut rows = self.locked();
        let mut hot = HashSet::new();
        for key in hot_keys {
            let place = (key.cluster.clone(), key.key.clone());
            if rows.len() >= KEYS_MAX && !rows.contains_key(&place) {
                make_room(&mut rows);
            }
            let row = rows
                .entry(place.clone())
                .or_insert_with(|| Row { ring: Ring::empty(Step::Second), hot_ms: at_ms });
            row.hot_ms = at_ms;
            let flushed = key.flushed_per_s.map_or(f32::NAN, |rate| rate as f32);
            let refused = refused.get(key.key.as_str()).copied().unwrap_or(0.0);
            row.ring.add(at_ms, [key.requests_per_s as f32, key.share as f32, flushed, refused as f32]);
            hot.insert(place);
        }
        let kept_ms = Step::Second.ms() * Step::Second.points_max() as u64;
        rows.retain(|_, row| row.hot_ms + kept_ms > at_ms);
        for (_, row) in rows.iter_mut().filter(|(place, _)| !hot.contains(*place)) {
            row.ring.add(at_ms, [f32::NAN; FIGURES]);
        }
    }

    /// The past of a key, in this cluster or in any.
    pub fn of(&self, key: &str, cluster: Option<&str>) -> Option<KeyHistory> {
        let rows = self.locked();
        let is_it = |place: &Place| place.1 == key && cluster.is_none_or(|cluster| place.0 == cluster);
        let (_, Row { ring, .. }) =
            rows.iter().filter(|(place, _)| is_it(place)).max_by_key(|(_, row)| row.hot_ms)?;
        Some(KeyHistory {
            end_ms: ring.end_ms(),
            step_ms: Step::Second.ms(),
            requests_per_s: ring.column(0),
            share: ring.column(1),
            flushed_per_s: ring.column(2),
            refused_per_s: ring.column(3),
        })
    }
}

fn make_room(rows: &mut HashMap<Place, Row>) {
    let oldest = rows.iter().min_by_key(|(_, row)| row.hot_ms).map(|(place, _)| place.clone());
    oldest.and_then(|place| rows.remove(&place));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, requests_per_s: f64) -> HotKeyView {
        HotKeyView { key: name.to_owned(), requests_per_s, ..HotKeyView::default() }
    }

    #[test]
    fn a_key_that_cools_has_gaps_and_is_forgotten_after_ten_minutes() {
        let histories = KeyHistories::default();
        let quota = QuotaView { key: "a".into(), refused_per_s: 7.0, ..QuotaView::default() };
        histories.add(1_000, &[key("a", 5.0), key("b", 1.0)], &[quota]);
        histories.add(2_000, &[key("b", 2.0)], &[]);
        histories.add(3_000, &[key("a", 6.0), key("b", 3.0)], &[]);
        let past = histories.of("a", None).unwrap();
        assert_eq!((past.end_ms, past.requests_per_s[0], past.refused_per_s[0]), (3_000, 5.0, 7.0));
        assert!(past.requests_per_s[1].is_nan() && past.requests_per_s[2] == 6.0);
        assert!(past.flushed_per_s[0].is_nan(), "nothing was folded");
        assert!(histories.of("a", Some("elsewhere")).is_none() && histories.of("c", None).is_none());
        histories.add(700_000, &[key("b", 1.0)], &[]);
        assert!(histories.of("a", None).is_none());
    }

    #[test]
    fn keys_are_bounded() {
        let histories = KeyHistories::default();
        for number in 0..KEYS_MAX as u64 + 9 {
            histories.add(number * 1_000, &[key(&number.to_string(), 1.0)], &[]);
        }
        assert!(histories.of("0", None).is_none());
        assert!(histories.of("264", None).is_some());
        assert_eq!(histories.locked().len(), KEYS_MAX);
    }
}
