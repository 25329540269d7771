//! Sales of reservations as people see them: how far each is, how fast it goes, and who is refused.
//!
//! A gateway tells of the sales that are used through it. What it says of places is what Redis said with the last call.

use std::sync::Arc;

use serde::Serialize;

use super::merged::Merged;
use crate::reserve::SalePhase;
use crate::shared::keys::KeyNames;
use crate::shared::labels::{SaleRefusal, SaleVerb};
use crate::shared::tallies::SaleTally;

/// One sale.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct SaleView {
    /// Its name.
    pub key: String,
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
    /// In how many seconds none is left at this rate; absent where that is not so.
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

/// The sales of which something is known, those with the most places taken first. `base` is so many seconds older.
pub fn views(merged: &Merged, base: &Merged, seconds: f64, names: &KeyNames) -> Vec<SaleView> {
    let mut views: Vec<SaleView> = merged
        .sales
        .iter()
        .filter_map(|(sku, tally)| view(sku, tally, base.sales.get(sku), (seconds, names)))
        .collect();
    views.sort_by(|a, b| b.taken.cmp(&a.taken).then_with(|| a.key.cmp(&b.key)));
    views
}

fn view(
    sku: &Arc<[u8]>,
    tally: &SaleTally,
    base: Option<&SaleTally>,
    (seconds, names): (f64, &KeyNames),
) -> Option<SaleView> {
    let facts = tally.facts?;
    let refused = |tally: &SaleTally| tally.counts.refused.iter().sum::<u64>();
    let before = base.and_then(|base| base.facts).map_or(facts.taken, |facts| facts.taken);
    let taken_per_s = (facts.taken - before) as f64 / seconds;
    let left = (facts.limit - facts.taken).max(0) as f64;
    let goes = facts.phase == SalePhase::Open && taken_per_s > 0.0;
    Some(SaleView {
        key: names.label(sku),
        state: facts.phase.word(),
        limit: facts.limit,
        taken: facts.taken,
        held: facts.held,
        confirmed: facts.taken - facts.held,
        taken_share: if facts.limit > 0 { facts.taken as f64 / facts.limit as f64 } else { 1.0 },
        taken_per_s,
        sold_out_in_s: goes.then(|| left / taken_per_s),
        start_ms: facts.start_ms,
        end_ms: facts.end_ms,
        offered: SaleVerb::ALL
            .iter()
            .map(|verb| (verb.label(), tally.counts.offered[verb.index()]))
            .collect(),
        added: tally.counts.added,
        cancelled: tally.counts.cancelled,
        refused: SaleRefusal::ALL
            .iter()
            .map(|why| (why.label(), tally.counts.refused[why.index()]))
            .collect(),
        refused_here: tally.counts.refused_here,
        refused_per_s: refused(tally).saturating_sub(base.map_or(refused(tally), refused)) as f64 / seconds,
        calls: tally.counts.calls,
        carried: tally.counts.carried,
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
        let views = views(&now, &base, 2.0, &KeyNames::Plain);
        let [sale] = &views[..] else { panic!("{views:?}") };
        assert_eq!((sale.state, sale.taken, sale.limit), ("open", 60, 100));
        assert_eq!((sale.held, sale.confirmed), (15, 45));
        assert_eq!((sale.taken_share, sale.taken_per_s, sale.sold_out_in_s), (0.6, 10.0, Some(4.0)));
        assert_eq!((sale.refused_per_s, sale.refused[0]), (15.0, ("sold_out", 30)));
        let sold_out = merged(SalePhase::SoldOut, 100, 30);
        assert_eq!(super::views(&sold_out, &now, 2.0, &KeyNames::Plain)[0].sold_out_in_s, None);
    }
}
