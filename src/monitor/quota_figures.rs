//! What is shown of keys under quotas: counts and rates, how much is used, and the time to sell-out.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::merged::Merged;
use super::quota_page::{QuotaRow, count, view_of};
use super::view::QuotaView;
use super::window::Window;
use crate::shared::keys::KeyNames;
use crate::shared::labels::QuotaRefusal;
use crate::shared::quota_facts::QuotaFacts;
use crate::shared::tallies::QuotaTally;

/// What is remembered of quotas between two looks.
#[derive(Default)]
pub struct QuotaFigures {
    /// The highest stock seen of each key that counts down, for its progress.
    stock_max: HashMap<(Vec<u8>, u16), i64>,
}

impl QuotaFigures {
    /// The rows with their figures. Of the windows the first is that of rates, the second that by which a time to sell-out is told.
    pub fn views(
        &mut self,
        windows: &[Window<'_>; 2],
        merged: &Merged,
        rows: &[QuotaRow],
        key_names: &KeyNames,
    ) -> Vec<QuotaView> {
        let known: HashSet<_> = rows.iter().map(|row| (row.facts.key.as_slice(), row.facts.rule)).collect();
        self.stock_max.retain(|(key, rule), _| known.contains(&(key.as_slice(), *rule)));
        let mut view = |row: &QuotaRow| {
            let mut view = view_of(key_names.label(&row.facts.key), row);
            view.used_share = self.used_share(&row.facts);
            add_rates(&mut view, windows, merged, &row.facts);
            view
        };
        rows.iter().map(&mut view).collect()
    }

    fn used_share(&mut self, fact: &QuotaFacts) -> Option<f64> {
        let remaining = fact.remaining()?;
        let whole = if fact.counts_down {
            let max = self.stock_max.entry((fact.key.clone(), fact.rule)).or_insert(remaining);
            *max = remaining.max(*max);
            *max
        } else {
            fact.limit?
        };
        if whole <= 0 {
            return Some(1.0);
        }
        Some((1.0 - remaining as f64 / whole as f64).clamp(0.0, 1.0))
    }
}

/// Counters without a row of their own keep the counts and rates of the list.
fn add_rates(view: &mut QuotaView, [window, long]: &[Window<'_>; 2], merged: &Merged, fact: &QuotaFacts) {
    let place = (Arc::from(fact.key.as_slice()), fact.rule);
    let Some(tally) = merged.quotas.get(&place) else { return };
    let nothing = QuotaTally::default();
    let base = window.base.quotas.get(&place).unwrap_or(&nothing);
    let rate = |of: fn(&QuotaTally) -> u64| window.rate(of(tally), of(base));
    count(view, tally);
    view.units_per_s = rate(|t| t.admitted_units);
    view.admitted_per_s = rate(|t| t.admitted);
    view.refused_per_s = rate(|t| t.refused.iter().sum());
    let refused = |why: QuotaRefusal| window.rate(tally.refused[why.index()], base.refused[why.index()]);
    view.refused_unavailable_per_s = refused(QuotaRefusal::Unavailable);
    view.refused_fault_per_s = refused(QuotaRefusal::Fault);
    view.refused_unconfirmed_per_s = refused(QuotaRefusal::Unconfirmed);
    let sold = long.base.quotas.get(&place).unwrap_or(&nothing).admitted_units;
    let sold_per_s = long.rate(tally.admitted_units, sold);
    let left = fact.remaining().filter(|left| view.units_per_s > 0.0 && *left > 0);
    view.sold_out_in_s = left.map(|left| left as f64 / sold_per_s);
}
