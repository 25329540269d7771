//! Sales of reservations as people see them: how far each is, how fast it goes, and who is refused.
//!
//! A gateway tells of all sales. What it says of places is what Redis said last: with a call for customers of this gateway, or when sales were
//! looked at for people. Operations and refusals are those of this gateway.

use std::sync::Arc;

use serde::Serialize;

use super::merged::Merged;
use super::window::Window;
use crate::reserve::SalePhase;
use crate::shared::keys::KeyNames;
use crate::shared::labels::{SaleRefusal, SaleVerb};
use crate::shared::reservations::{SaleSeen, SalesSeen};
use crate::shared::tallies::SaleTally;

/// A time to sell-out is told up to a year. A rate of now says nothing beyond.
const FORESEEN_S_MAX: f64 = 365.0 * 86_400.0;

/// What was learned with customers' calls is told while it is at most so much older than the last look: its rate is that of the last second.
const FRESH_NS: u64 = 3_000_000_000;

/// One sale.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SaleView {
    /// Its name, as it is shown.
    pub key: String,
    /// Its name.
    #[serde(skip)]
    pub sku: Arc<[u8]>,
    /// Customers of this gateway use it.
    #[serde(skip)]
    pub used_here: bool,
    /// What it does: `open`, `notopen`, `soldout`, `closed`, `ended`, `moved`, or `none` where Redis has no such sale.
    pub state: &'static str,
    /// How many places it has.
    pub limit: i64,
    /// How many of them are taken.
    pub taken: i64,
    /// How many of these wait to be confirmed.
    pub held: i64,
    /// How many of these are final.
    pub confirmed: i64,
    /// The part of them that is taken, 0 to 1.
    pub taken_share: f64,
    /// Places taken per second, over all gateways; fewer than none where more are given back.
    pub taken_per_s: f64,
    /// In how many seconds none is left at this rate; absent where that is not so, or not within a year.
    pub sold_out_in_s: Option<f64>,
    /// When it opens and ends, in milliseconds since 1970; 0 where it is not told.
    pub start_ms: i64,
    /// See `start_ms`.
    pub end_ms: i64,
    /// Operations through this gateway, by what they ask.
    pub offered: Vec<(&'static str, u64)>,
    /// `RESERVE.ADD`s that were told what their user holds.
    pub added: u64,
    /// `RESERVE.CANCEL`s that gave places back.
    pub cancelled: u64,
    /// Operations refused, by reason.
    pub refused: Vec<(&'static str, u64)>,
    /// Those refused without a question to Redis.
    pub refused_here: u64,
    /// Operations refused per second.
    pub refused_per_s: f64,
    /// Calls of the sale's script.
    pub calls: u64,
    /// Operations in them.
    pub carried: u64,
}

/// The sales of which something is known, those with the most places taken first.
pub fn views((merged, seen): (&Merged, &SalesSeen), window: &Window<'_>, names: &KeyNames) -> Vec<SaleView> {
    let used = merged.sales.iter().map(|(sku, tally)| (sku, Some(tally), seen.get(sku)));
    let unused = seen.iter().filter(|(sku, _)| !merged.sales.contains_key(*sku));
    let all = used.chain(unused.map(|(sku, seen)| (sku, None, Some(seen))));
    let mut views: Vec<SaleView> =
        all.filter_map(|(sku, tally, seen)| view(sku, tally, seen, (window, names))).collect();
    views.sort_by(|a, b| b.taken.cmp(&a.taken).then_with(|| a.key.cmp(&b.key)));
    views
}

fn view(
    sku: &Arc<[u8]>,
    tally: Option<&SaleTally>,
    seen: Option<&SaleSeen>,
    (window, names): (&Window<'_>, &KeyNames),
) -> Option<SaleView> {
    let base = tally.and_then(|_| window.base.sales.get(sku));
    let is_fresh = |tally: &SaleTally| seen.is_none_or(|seen| tally.as_of_ns + FRESH_NS >= seen.as_of_ns);
    let own = tally.filter(|tally| is_fresh(tally)).and_then(|tally| tally.facts);
    let (facts, taken_per_s) = match (own, seen) {
        (Some(facts), _) => {
            let before = base.and_then(|base| base.facts).map_or(facts.taken, |facts| facts.taken);
            (facts, (facts.taken - before) as f64 / window.seconds)
        }
        (None, Some(seen)) => (seen.facts, seen.rate),
        (None, None) => return None,
    };
    let left = (facts.limit - facts.taken).max(0) as f64;
    // Redis's rate fades out; below one place in a hundred seconds nothing is sold.
    let goes = facts.phase == SalePhase::Open && taken_per_s > 0.01;
    let counts = tally.map(|tally| tally.counts.clone()).unwrap_or_default();
    let refused: u64 = counts.refused.iter().sum();
    let refused_before = base.map_or(refused, |base| base.counts.refused.iter().sum());
    Some(SaleView {
        key: names.label(sku),
        sku: Arc::clone(sku),
        used_here: tally.is_some(),
        state: facts.phase.word(),
        limit: facts.limit,
        taken: facts.taken,
        held: facts.held,
        confirmed: facts.taken - facts.held,
        taken_share: if facts.limit > 0 { facts.taken as f64 / facts.limit as f64 } else { 1.0 },
        taken_per_s,
        sold_out_in_s: goes.then(|| left / taken_per_s).filter(|seconds| *seconds < FORESEEN_S_MAX),
        start_ms: facts.start_ms,
        end_ms: facts.end_ms,
        offered: SaleVerb::ALL.iter().map(|verb| (verb.label(), counts.offered[verb.index()])).collect(),
        added: counts.added,
        cancelled: counts.cancelled,
        refused: SaleRefusal::ALL.iter().map(|why| (why.label(), counts.refused[why.index()])).collect(),
        refused_here: counts.refused_here,
        refused_per_s: refused.saturating_sub(refused_before) as f64 / window.seconds,
        calls: counts.calls,
        carried: counts.carried,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::reservations::SaleFacts;
    use crate::shared::tallies::WorkerTallies;

    fn merged(phase: SalePhase, taken: i64, refused: u64) -> Merged {
        let mut worker = WorkerTallies::default();
        let row = worker.sales.keys.acquire(Arc::from(&b"sku"[..]));
        let tally = worker.sales.keys.row(row);
        tally.facts = Some(SaleFacts {
            phase,
            taken,
            held: 15,
            limit: 100,
            seq: taken,
            buckets: 1,
            start_ms: 0,
            end_ms: 0,
            now_ms: 0,
        });
        tally.counts.refused[SaleRefusal::SoldOut.index()] = refused;
        worker.sales.keys.acquire(Arc::from(&b"unknown"[..]));
        Merged::of([&worker])
    }

    #[test]
    fn a_sale_is_told_with_its_rates() {
        let (base, now) = (merged(SalePhase::Open, 40, 0), merged(SalePhase::Open, 60, 30));
        let (window, unseen) = (Window { base: &base, seconds: 2.0 }, SalesSeen::default());
        let views = views((&now, &unseen), &window, &KeyNames::Plain);
        let [sale] = &views[..] else { panic!("{views:?}") };
        assert_eq!((sale.state, sale.taken, sale.limit), ("open", 60, 100));
        assert_eq!((sale.held, sale.confirmed), (15, 45));
        assert_eq!((sale.taken_share, sale.taken_per_s, sale.sold_out_in_s), (0.6, 10.0, Some(4.0)));
        assert_eq!((sale.refused_per_s, sale.refused[0]), (15.0, ("sold_out", 30)));
        let (sold_out, window) = (merged(SalePhase::SoldOut, 100, 30), Window { base: &now, seconds: 2.0 });
        let views = super::views((&sold_out, &unseen), &window, &KeyNames::Plain);
        assert_eq!(views[0].sold_out_in_s, None);
    }

    #[test]
    fn a_sale_of_another_gateway_is_told_as_it_was_seen() {
        let (none, here) = (Merged::default(), merged(SalePhase::Open, 40, 0));
        let facts = SaleFacts { taken: 90, ..here.sales.values().find_map(|sale| sale.facts).unwrap() };
        let seen = |sku: &[u8], as_of_ns| {
            SalesSeen::from([(Arc::from(sku), SaleSeen { facts, rate: 5.0, as_of_ns })])
        };
        let told = |merged: &Merged, seen: &SalesSeen| {
            let views = views((merged, seen), &Window { base: &none, seconds: 1.0 }, &KeyNames::Plain);
            let told = |sale: &SaleView| (sale.key.clone(), sale.taken, sale.taken_per_s, sale.used_here);
            views.iter().map(told).collect::<Vec<_>>()
        };
        let (elsewhere, both) = (("other".to_owned(), 90, 5.0, false), ("sku".to_owned(), 40, 0.0, true));
        assert_eq!(told(&none, &seen(b"other", 1)), std::slice::from_ref(&elsewhere));
        assert_eq!(told(&here, &seen(b"other", 1)), [elsewhere, both.clone()]);
        assert_eq!(told(&here, &seen(b"sku", FRESH_NS)), [both]);
        let later = told(&here, &seen(b"sku", FRESH_NS + 1));
        assert_eq!(
            later,
            [("sku".to_owned(), 90, 5.0, true)],
            "customers of another gateway took more since"
        );
    }
}
