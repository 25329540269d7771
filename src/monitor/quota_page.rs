//! What of the list of quotas is asked for, and a page of it.

use super::view::QuotaView;
use crate::shared::labels::QuotaRefusal;
use crate::shared::quota_facts::QuotaFacts;
use crate::shared::tallies::QuotaTally;

/// Rows in a page when nobody says how many, and the most that there may be.
pub const COUNT_DEFAULT: usize = 50;
/// As above.
pub const COUNT_MAX: usize = 1_000;

/// What comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QuotaSort {
    /// Of what the greatest part is used.
    #[default]
    Used,
    /// Of what most is refused now, then ever.
    Refused,
    /// Of what most is granted now, then ever.
    Granted,
    /// By name.
    Key,
    /// What an operator should see: paused, then what refuses, then what is used most.
    Foremost,
}

impl QuotaSort {
    /// By its word.
    pub fn parse(word: &[u8]) -> Option<Self> {
        let words = [
            ("used", Self::Used),
            ("refused", Self::Refused),
            ("granted", Self::Granted),
            ("key", Self::Key),
            ("foremost", Self::Foremost),
        ];
        words.into_iter().find(|(known, _)| word.eq_ignore_ascii_case(known.as_bytes())).map(|(_, sort)| sort)
    }
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuotaQuery {
    /// Only counters whose name holds this.
    pub search: Vec<u8>,
    /// What comes first.
    pub sort: QuotaSort,
    /// Rows that are left out before.
    pub offset: usize,
    /// Rows at the most.
    pub count: usize,
}

impl Default for QuotaQuery {
    fn default() -> Self {
        Self { search: Vec::new(), sort: QuotaSort::default(), offset: 0, count: COUNT_DEFAULT }
    }
}

impl QuotaQuery {
    /// Whether a counter of this name is among what is asked for.
    pub fn finds(&self, key: &[u8]) -> bool {
        self.search.is_empty() || memchr::memmem::find(key, &self.search).is_some()
    }
}

/// One counter under one quota.
#[derive(Clone, Debug)]
pub struct QuotaRow {
    /// Its levels and counts.
    pub facts: QuotaFacts,
    /// Operations granted per second.
    pub admitted_per_s: f64,
    /// Operations refused per second.
    pub refused_per_s: f64,
}

/// A page of the list.
#[derive(Clone, Debug, Default)]
pub struct QuotaPage {
    /// Rows that there are.
    pub total: u64,
    /// Rows that the search found.
    pub matched: u64,
    /// Those of the page.
    pub rows: Vec<QuotaRow>,
}

/// A row as operators see it, under the name that its key has for them.
pub fn view_of(key: String, row: &QuotaRow) -> QuotaView {
    let QuotaRow { facts, admitted_per_s, refused_per_s } = row;
    let mut view = QuotaView {
        key,
        quota: name_of(facts),
        limit: facts.limit,
        value: facts.value,
        remaining: facts.remaining(),
        used_share: facts.used_share(),
        counts_down: facts.counts_down,
        window_ms: facts.window_ms,
        enforce: facts.enforce,
        paused: facts.paused,
        exhausted: facts.exhausted,
        fault: facts.fault.clone(),
        limit_overridden: facts.changed.limit,
        limit_by: facts.changed.limit_by.clone(),
        paused_by: facts.changed.paused_by.clone(),
        units_per_s: *admitted_per_s,
        admitted_per_s: *admitted_per_s,
        refused_per_s: *refused_per_s,
        ..QuotaView::default()
    };
    count(&mut view, &facts.tally);
    view
}

/// Takes counts into a row.
pub fn count(view: &mut QuotaView, tally: &QuotaTally) {
    view.admitted = tally.admitted;
    view.refused = QuotaRefusal::ALL.iter().map(|r| (r.label(), tally.refused[r.index()])).collect();
    view.would_refuse = tally.would_refuse;
    view.unchecked = tally.unchecked;
    view.debts_lost = tally.owed_lost;
    view.rechecks = tally.rechecks;
}

/// A pattern may have a lifetime cap and a rate: the window tells them apart.
fn name_of(fact: &QuotaFacts) -> String {
    match fact.window_ms {
        Some(ms) if ms % 1_000 == 0 => format!("{} per {}s", fact.pattern, ms / 1_000),
        Some(ms) => format!("{} per {ms}ms", fact.pattern),
        None => fact.pattern.clone(),
    }
}
