//! The ledger: whether reservations reach the SQL database, and how late.

use super::{Findings, Level, duration_s, name, whole};
use crate::monitor::ledger::{LedgerState, LedgerView};

/// A lag that is worth knowing, and one that is worth a look, in seconds.
const LAG_NOTICE_S: f64 = 10.0;
const LAG_WARNING_S: f64 = 60.0;

pub(super) fn judge(ledger: Option<&LedgerView>, found: &mut Findings) {
    let Some(ledger) = ledger else { return };
    let stop = match ledger.required {
        true => " Sales give no more places beyond ledger.lag_max.",
        false => "",
    };
    match ledger.state {
        LedgerState::Silent => {
            let heard = duration_s(ledger.heard_s);
            let sentence = format!(
                "The ledger has not been heard of for {heard}: reservations are not brought into the database.{stop}"
            );
            found.add(Level::Critical, sentence);
        }
        LedgerState::Waiting => {
            let sentence = format!("The ledger can't write into its database: {}.{stop}", ledger.fault);
            found.add(Level::Critical, sentence);
        }
        LedgerState::Unknown if !ledger.fault.is_empty() => {
            found.add(Level::Notice, format!("What the ledger says can't be read: {}.", ledger.fault));
        }
        LedgerState::Unknown | LedgerState::Following => {}
    }
    if let Some(halted) = ledger.halted_named.first() {
        let others = match ledger.halted {
            0 | 1 => String::new(),
            2 => " Another sale is halted too.".to_owned(),
            more => format!(" {} other sales are halted too.", whole(more as i64 - 1)),
        };
        let sentence = format!("A gap in the ledger halts {}: {}.{others}", name(&halted.key), halted.why);
        found.add(Level::Critical, sentence);
    }
    let level = match (ledger.late > 0, ledger.lag_s) {
        (true, _) if ledger.required => Level::Critical,
        (true, _) => Level::Warning,
        (false, LAG_WARNING_S..) => Level::Warning,
        (false, LAG_NOTICE_S..) => Level::Notice,
        _ => return,
    };
    let (entries, lag) = (whole(ledger.lag_entries as i64), duration_s(ledger.lag_s));
    let sales = match (ledger.late, ledger.required) {
        (0, _) => String::new(),
        (_, false) => format!(", most of all {}", name(&ledger.latest)),
        (_, true) => {
            format!(", most of all {}: beyond ledger.lag_max no places are given", name(&ledger.latest))
        }
    };
    found.add(level, format!("The ledger is {entries} entries ({lag}) behind{sales}."));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::ledger::HaltedView;

    fn check(ledger: LedgerView, expect: &[(Level, &str)]) {
        let mut found = Findings::default();
        judge(Some(&ledger), &mut found);
        let said: Vec<_> = found.0.iter().map(|finding| (finding.level, finding.sentence.as_str())).collect();
        assert_eq!(said, expect);
    }

    fn following() -> LedgerView {
        LedgerView { state: LedgerState::Following, latest: "mask".to_owned(), ..LedgerView::default() }
    }

    #[test]
    fn a_lag_is_told() {
        let behind = LedgerView { lag_entries: 12_000, lag_s: 40.0, ..following() };
        check(LedgerView { lag_s: 9.0, ..behind.clone() }, &[]);
        check(behind.clone(), &[(Level::Notice, "The ledger is 12,000 entries (40 s) behind.")]);
        let late = LedgerView { late: 1, ..behind };
        let sentence = "The ledger is 12,000 entries (40 s) behind, most of all mask.";
        check(late.clone(), &[(Level::Warning, sentence)]);
        let sentence = "The ledger is 12,000 entries (40 s) behind, most of all mask: beyond ledger.lag_max no places are given.";
        check(LedgerView { required: true, ..late }, &[(Level::Critical, sentence)]);
    }

    #[test]
    fn a_gap_is_told() {
        let why = "entry 8 is missing in Redis".to_owned();
        let gap = HaltedView { key: "mask".to_owned(), why };
        let halted = LedgerView { halted: 1, halted_named: vec![gap], ..following() };
        let sentence = "A gap in the ledger halts mask: entry 8 is missing in Redis.";
        check(halted.clone(), &[(Level::Critical, sentence)]);
        let more = format!("{sentence} 2 other sales are halted too.");
        check(LedgerView { halted: 3, ..halted }, &[(Level::Critical, &more)]);
    }

    #[test]
    fn a_ledger_or_a_database_that_is_away_is_told() {
        let silent = LedgerView { state: LedgerState::Silent, heard_s: 20.0, ..following() };
        let sentence =
            "The ledger has not been heard of for 20 s: reservations are not brought into the database.";
        check(silent.clone(), &[(Level::Critical, sentence)]);
        let stop = format!("{sentence} Sales give no more places beyond ledger.lag_max.");
        check(LedgerView { required: true, ..silent }, &[(Level::Critical, &stop)]);
        let fault = "PostgreSQL: no space left on device".to_owned();
        let waiting = LedgerView { state: LedgerState::Waiting, fault, ..following() };
        let sentence = "The ledger can't write into its database: PostgreSQL: no space left on device.";
        check(waiting, &[(Level::Critical, sentence)]);
        check(LedgerView { state: LedgerState::Unknown, ..following() }, &[]);
    }
}
