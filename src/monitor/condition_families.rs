//! Gives the metrics their values that are of no count of the workers: what nodes say when they are asked, the gateway's own threads and
//! clock, its configuration file.

use super::exposition::Exposition;
use super::ledger::{LedgerState, LedgerView};
use super::metrics as m;
use super::view::View;

/// Its part of `/metrics`.
pub fn render(out: &mut Exposition, view: &View) {
    nodes(out, view);
    gateway(out, view);
    ledger(out, view);
}

fn nodes(out: &mut Exposition, view: &View) {
    let mut family = out.family(&m::NODE_SILENT);
    for node in &view.nodes {
        family.sample(&[&node.node], node.silent_ms as f64 / 1e3);
    }
    let mut family = out.family(&m::NODE_HELD);
    for node in &view.nodes {
        family.sample(&[&node.node], node.held_ms as f64 / 1e3);
    }
    let mut family = out.family(&m::NODE_TROUBLE);
    for node in &view.nodes {
        let probe = &node.probe;
        for (trouble, is_so) in [
            ("paused", probe.paused),
            ("refusing", !probe.refuses.is_empty()),
            ("turning_away", !probe.turns_away.is_empty()),
            ("unresolved", !probe.unresolved.is_empty()),
            ("unlinked", probe.unlinked),
            ("stranger", probe.stranger),
            ("without_replica", node.lost_replicas),
        ] {
            family.sample(&[&node.node, trouble], f64::from(u8::from(is_so)));
        }
    }
    let known = || view.nodes.iter().filter(|node| node.probe.clients_max > 0);
    let mut family = out.family(&m::NODE_CLIENTS);
    for node in known() {
        family.sample(&[&node.node], node.probe.clients as f64);
    }
    let mut family = out.family(&m::NODE_CLIENTS_MAX);
    for node in known() {
        family.sample(&[&node.node], node.probe.clients_max as f64);
    }
    out.family(&m::UNSERVED_SLOTS).sample(&[], f64::from(view.conditions.unserved_slots));
    let unusable = view.conditions.unusable_servers.len() + view.conditions.stray_servers.len();
    out.family(&m::UNUSABLE_SERVERS).sample(&[], unusable as f64);
}

fn gateway(out: &mut Exposition, view: &View) {
    let conditions = &view.conditions;
    let is_refused = !conditions.reload_refused.is_empty();
    out.family(&m::RELOAD_REFUSED).sample(&[], f64::from(u8::from(is_refused)));
    out.family(&m::RESTART_NEEDED).sample(&[], conditions.restart_needed.len() as f64);
    let mut family = out.family(&m::WORKER_LATE);
    for (worker, ms) in conditions.upsets.workers_ms.iter().enumerate() {
        family.sample(&[&format!("worker-{worker}")], *ms as f64 / 1e3);
    }
    out.family(&m::STANDSTILLS).sample(&[], conditions.upsets.standstills as f64);
    out.family(&m::CLOCK_JUMPS).sample(&[], conditions.upsets.jumps as f64);
}

/// Nothing but the names where no ledger is configured, or before it is known how it is.
fn ledger(out: &mut Exposition, view: &View) {
    let known = view.conditions.ledger.as_ref().filter(|ledger| ledger.state != LedgerState::Unknown);
    let flag = |value: bool| f64::from(u8::from(value));
    let mut one = |metric, of: fn(&LedgerView) -> f64| {
        let mut family = out.family(metric);
        if let Some(ledger) = known {
            family.sample(&[], of(ledger));
        }
    };
    one(&m::LEDGER_LAG_ENTRIES, |ledger| ledger.lag_entries as f64);
    one(&m::LEDGER_LAG_SECONDS, |ledger| ledger.lag_s);
    one(&m::LEDGER_LATE, |ledger| ledger.late as f64);
    one(&m::LEDGER_HALTED, |ledger| ledger.halted as f64);
    one(&m::LEDGER_SALES, |ledger| ledger.sales as f64);
    one(&m::LEDGER_ENTRIES, |ledger| ledger.entries as f64);
    one(&m::LEDGER_ROWS, |ledger| ledger.rows as f64);
    let mut family = out.family(&m::LEDGER_UP);
    if let Some(ledger) = known {
        family.sample(&[], flag(ledger.state != LedgerState::Silent));
    }
    let mut family = out.family(&m::LEDGER_DATABASE_UP);
    if let Some(ledger) = known {
        family.sample(&[], flag(ledger.state != LedgerState::Waiting));
    }
    let mut family = out.family(&m::LEDGER_ERRORS);
    for (cause, count) in known.into_iter().flat_map(|ledger| &ledger.errors) {
        family.sample(&[cause], *count as f64);
    }
}
