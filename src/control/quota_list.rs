//! The list of counters under quotas that this gateway knows, with what each has used and refused: all of them, a page at a time.
//!
//! Workers tell what has changed, a bounded number of counters at a time, so that the list costs what happens and not what there
//! is; it holds the names in use and no more. Where Redis was asked since about a counter that no worker has told of, that
//! answer is shown. It is owned by the control thread, which feeds it and has it read.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::limits::KEYS_TALLIED_MAX;
use crate::monitor::quota_page::{QuotaPage, QuotaQuery, QuotaRow, QuotaSort};
use crate::shared::quota_facts::QuotaFacts;
use crate::shared::quota_overrides::Overrides;

/// Rows that are kept, of about 300 bytes each: 40 MB. Beyond it further counters are not listed, and the total says so.
pub const ROWS_MAX: usize = 131_072;
/// A row of which nobody has told for so long is forgotten: a little later than workers forget the counter.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(630);
/// Between two looks for rows to forget.
const SWEEP_PERIOD: Duration = Duration::from_secs(10);
/// A rate older than this is over: workers tell of what counts ten times a second.
const RATE_AGE_MAX: Duration = Duration::from_secs(1);

/// Of what so much is used, the status line may speak.
const SPOKEN_SHARE: f64 = 0.9;

type Place = (Bytes, u16);

struct Row {
    facts: QuotaFacts,
    updated: Instant,
    /// The counts at the beginning of the rate's window.
    base: (Instant, u64, u64),
    admitted_per_s: f64,
    refused_per_s: f64,
}

/// What Redis said of a counter, and the levels that workers had published before.
struct LookedUp {
    rows: Vec<QuotaFacts>,
    published: Vec<Option<Level>>,
    at: Instant,
}

type Level = (Option<i64>, Option<i64>, bool);

fn level(facts: &QuotaFacts) -> Level {
    (facts.value, facts.limit, facts.paused)
}

#[derive(Default)]
struct Known {
    rows: HashMap<Place, Row>,
    looked_up: HashMap<Bytes, LookedUp>,
    overrides: Arc<Overrides>,
    unlisted: u64,
    swept: Option<Instant>,
}

/// See the module. Handles share it.
#[derive(Clone, Default)]
pub struct QuotaList(Arc<Mutex<Known>>);

impl QuotaList {
    fn known(&self) -> MutexGuard<'_, Known> {
        // Only the control thread takes it, and never over an await.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what workers publish.
    pub fn update(&self, facts: impl IntoIterator<Item = QuotaFacts>, now: Instant) {
        let mut known = self.known();
        for facts in facts {
            known.update(facts, now);
        }
        known.sweep(now);
    }

    /// Takes what Redis says of one counter.
    pub fn looked_up(&self, key: &Bytes, rows: Vec<QuotaFacts>, now: Instant) {
        let mut known = self.known();
        let published =
            rows.iter().map(|row| known.rows.get(&(key.clone(), row.rule)).map(|row| level(&row.facts)));
        let published = published.collect();
        known.looked_up.insert(key.clone(), LookedUp { rows, published, at: now });
    }

    /// Takes what operators have set.
    pub fn overridden(&self, overrides: Arc<Overrides>) {
        self.known().overrides = overrides;
    }

    /// Takes what workers tell of counters that have no row of their own, until the process stops.
    pub async fn follow(self, mut news: mpsc::Receiver<Vec<QuotaFacts>>) {
        while let Some(facts) = news.recv().await {
            self.update(facts, Instant::now());
        }
    }

    /// The counters that the status line may speak of: paused, used up or nearly so. At most so many.
    pub fn spoken_of(&self, count: usize) -> Vec<Bytes> {
        let known = self.known();
        let spoken = known.rows.iter().filter(|(_, row)| {
            row.facts.paused
                || row.facts.exhausted
                || row.facts.used_share().is_some_and(|share| share >= SPOKEN_SHARE)
        });
        spoken.map(|((key, _), _)| key.clone()).take(count).collect()
    }

    /// The counters that matter most: those that operators changed, that refuse, that are used most. As many as get rows of their own.
    pub fn foremost(&self, now: Instant) -> Vec<QuotaRow> {
        let query =
            QuotaQuery { sort: QuotaSort::Foremost, count: KEYS_TALLIED_MAX, ..QuotaQuery::default() };
        self.page(&query, now).rows
    }

    /// The rows of one counter: those that Redis was asked about, or else those that workers told of.
    pub fn of_key(&self, key: &Bytes) -> Vec<QuotaRow> {
        let known = self.known();
        let published = known.rows.iter().filter(|((known, _), _)| known == key).map(|(_, row)| &row.facts);
        let mut rows: Vec<&QuotaFacts> = match known.looked_up.get(key) {
            Some(found) => found.rows.iter().collect(),
            None => published.collect(),
        };
        rows.sort_by_key(|facts| facts.rule);
        let row_of = |facts: &QuotaFacts| {
            let row = known.rows.get(&(key.clone(), facts.rule));
            let (admitted_per_s, refused_per_s) =
                row.map_or((0.0, 0.0), |row| (row.admitted_per_s, row.refused_per_s));
            QuotaRow { facts: known.with_changes(facts), admitted_per_s, refused_per_s }
        };
        rows.into_iter().map(row_of).collect()
    }

    /// A page of the list.
    pub fn page(&self, query: &QuotaQuery, now: Instant) -> QuotaPage {
        let known = self.known();
        let all = known.rows.len() + known.only_looked_up().count();
        let total = all as u64 + known.unlisted;
        if query.count == 0 && query.search.is_empty() {
            return QuotaPage { total, matched: all as u64, rows: Vec::new() };
        }
        let listed = known
            .rows
            .values()
            .map(|row| (&row.facts, Some(row)))
            .chain(known.only_looked_up().map(|facts| (facts, None)));
        let mut found: Vec<(&QuotaFacts, Option<&Row>)> = listed
            .filter(|(facts, _)| query.finds(&facts.key))
            .map(|(facts, row)| (known.latest(facts), row))
            .collect();
        let matched = found.len();
        let rates = |row: Option<&Row>| {
            let row = row.filter(|row| now.saturating_duration_since(row.updated) <= RATE_AGE_MAX);
            row.map_or((0.0, 0.0), |row| (row.admitted_per_s, row.refused_per_s))
        };
        let order = |a: &(&QuotaFacts, Option<&Row>), b: &(&QuotaFacts, Option<&Row>)| {
            compare(query.sort, (a.0, rates(a.1)), (b.0, rates(b.1)))
        };
        let end = query.offset.saturating_add(query.count).min(matched);
        if end < matched && end > 0 {
            found.select_nth_unstable_by(end - 1, order);
        }
        found.truncate(end);
        found.sort_unstable_by(order);
        let rows = found.into_iter().skip(query.offset).map(|(facts, row)| {
            let (admitted_per_s, refused_per_s) = rates(row);
            QuotaRow { facts: known.with_changes(facts), admitted_per_s, refused_per_s }
        });
        QuotaPage { total, matched: matched as u64, rows: rows.collect() }
    }
}

impl Known {
    fn update(&mut self, facts: QuotaFacts, now: Instant) {
        let place = (Bytes::copy_from_slice(&facts.key), facts.rule);
        let counts = (facts.tally.admitted, facts.tally.refused.iter().sum::<u64>());
        if let Some(row) = self.rows.get_mut(&place) {
            let (since, admitted, refused) = row.base;
            let seconds = now.saturating_duration_since(since).as_secs_f64();
            if seconds >= 1.0 {
                let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
                (row.admitted_per_s, row.refused_per_s) = (rate(counts.0, admitted), rate(counts.1, refused));
                row.base = (now, counts.0, counts.1);
            }
            (row.facts, row.updated) = (facts, now);
        } else if self.rows.len() < ROWS_MAX {
            let base = (now, counts.0, counts.1);
            self.rows
                .insert(place, Row { facts, updated: now, base, admitted_per_s: 0.0, refused_per_s: 0.0 });
        } else {
            self.unlisted += 1;
        }
    }

    fn sweep(&mut self, now: Instant) {
        if self.swept.is_some_and(|swept| now.saturating_duration_since(swept) < SWEEP_PERIOD) {
            return;
        }
        self.swept = Some(now);
        self.unlisted = 0;
        let is_young = |at: Instant| now.saturating_duration_since(at) < FORGOTTEN_AFTER;
        self.rows.retain(|_, row| is_young(row.updated));
        self.looked_up.retain(|_, found| is_young(found.at));
    }

    /// Rows of counters that no worker has told of, and that operators have changed.
    fn only_looked_up(&self) -> impl Iterator<Item = &QuotaFacts> {
        let changed = self.looked_up.iter().filter(|(key, _)| self.overrides.contains_key(*key));
        let rows = changed.flat_map(|(key, found)| found.rows.iter().map(move |row| (key, row)));
        rows.filter(|(key, row)| !self.rows.contains_key(&((*key).clone(), row.rule))).map(|(_, row)| row)
    }

    /// What Redis said, unless a worker has published something else since.
    fn latest<'a>(&'a self, published: &'a QuotaFacts) -> &'a QuotaFacts {
        let Some(found) = self.looked_up.get(&published.key[..]) else { return published };
        let same = found.rows.iter().zip(&found.published).find(|(row, _)| row.rule == published.rule);
        match same {
            Some((row, then)) if then.is_none_or(|then| then == level(published)) => row,
            _ => published,
        }
    }

    fn with_changes(&self, facts: &QuotaFacts) -> QuotaFacts {
        let mut facts = facts.clone();
        let published = self.rows.get(&(Bytes::copy_from_slice(&facts.key), facts.rule));
        if let Some(row) = published {
            facts.tally = row.facts.tally.clone();
            facts.fault.clone_from(&row.facts.fault);
        }
        facts.note(self.overrides.get(&facts.key[..]));
        facts
    }
}

fn compare(
    sort: QuotaSort,
    (a, a_rates): (&QuotaFacts, (f64, f64)),
    (b, b_rates): (&QuotaFacts, (f64, f64)),
) -> Ordering {
    let used = || b.used_share().unwrap_or(-1.0).total_cmp(&a.used_share().unwrap_or(-1.0));
    let all_refused = |facts: &QuotaFacts| facts.tally.refused.iter().sum::<u64>();
    let refused = || b_rates.1.total_cmp(&a_rates.1).then_with(|| all_refused(b).cmp(&all_refused(a)));
    let by = match sort {
        QuotaSort::Used => used(),
        QuotaSort::Refused => refused(),
        QuotaSort::Granted => {
            b_rates.0.total_cmp(&a_rates.0).then_with(|| b.tally.admitted.cmp(&a.tally.admitted))
        }
        QuotaSort::Key => Ordering::Equal,
        QuotaSort::Foremost => {
            // Those that refuse about as much keep their places.
            let refuses = |rate: f64| (rate + 1.0).log2() as u32;
            b.paused.cmp(&a.paused).then_with(|| refuses(b_rates.1).cmp(&refuses(a_rates.1))).then_with(used)
        }
    };
    by.then_with(|| (&a.key, a.rule).cmp(&(&b.key, b.rule)))
}

#[cfg(test)]
#[path = "quota_list_tests.rs"]
mod tests;
