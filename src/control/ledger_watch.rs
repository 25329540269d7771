//! Follows what the ledger says of itself, where one is configured: one `GET` a second.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::masters::{Masters, Question};
use crate::reserve::{LedgerReport, report_key};
use crate::resp::{bulk_payload, first_error};
use crate::shared::gateway::Gateway;
use crate::shared::ledger_heard::LedgerHeard;

/// How often it is read.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Reads it until the process stops.
pub async fn follow_ledger(gateway: Arc<Gateway>) {
    let mut masters = Masters::new(Arc::clone(&gateway));
    let question = Question::get(&report_key());
    loop {
        let heard = match gateway.config.load().ledger.url {
            None => None,
            Some(_) => {
                let reply = masters.ask(std::slice::from_ref(&question)).await.pop().flatten();
                let asked = match reply.as_ref().map(|reply| (first_error(reply), bulk_payload(reply))) {
                    None => Err("no answer in time".to_owned()),
                    Some((Some(error), _)) => Err(String::from_utf8_lossy(error).into_owned()),
                    Some((None, text)) => Ok(text.and_then(LedgerReport::of_text)),
                };
                Some(heard_now(gateway.ledger.load().as_deref(), asked))
            }
        };
        gateway.ledger.store(heard);
        sleep(LOOK_EVERY).await;
    }
}

/// What is known behind an answer, given what was known before it.
fn heard_now(before: Option<&LedgerHeard>, asked: Result<Option<LedgerReport>, String>) -> LedgerHeard {
    let now = Instant::now();
    let nothing = LedgerHeard { report: None, changed: now, is_alive: false, fault: None };
    let before = before.cloned();
    match (before, asked) {
        (None, Ok(report)) => LedgerHeard { report, ..nothing },
        (before, Err(why)) => LedgerHeard { fault: Some(why), ..before.unwrap_or(nothing) },
        (Some(before), Ok(report)) if report == before.report => LedgerHeard { fault: None, ..before },
        (Some(before), Ok(report)) => {
            // The first look that Redis answers says nothing of how old it is.
            let is_alive = report.is_some() && (before.is_alive || before.fault.is_none());
            LedgerHeard { report, changed: now, is_alive, fault: None }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(beat: u64) -> Option<LedgerReport> {
        Some(LedgerReport { beat, ..LedgerReport::default() })
    }

    #[test]
    fn a_report_that_changes_is_alive_and_one_that_lies_there_is_not() {
        let first = heard_now(None, Ok(report(1)));
        assert!(!first.is_alive);
        let same = heard_now(Some(&first), Ok(report(1)));
        assert!(!same.is_alive && same.changed == first.changed);
        let next = heard_now(Some(&same), Ok(report(2)));
        assert!(next.is_alive);
        let fault = heard_now(Some(&next), Err("no answer in time".to_owned()));
        assert!(fault.is_alive && fault.report == next.report && fault.fault.is_some());
        let late = heard_now(None, Err("no answer in time".to_owned()));
        assert!(!heard_now(Some(&late), Ok(report(1))).is_alive, "it may lie there for days");
    }
}
