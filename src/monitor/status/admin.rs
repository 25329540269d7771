//! The HTTP side: who is turned away there.

use super::{Findings, Level, rate};
use crate::monitor::turned_away::Reason;
use crate::monitor::view::Now;

/// Fewer are the pages that are opened before their token is typed.
const TURNED_AWAY_PER_S_MIN: f64 = 5.0;

pub(super) fn judge(now: &Now, found: &mut Findings) {
    let all: f64 = now.admin_turned_away_per_s.values().sum();
    let most = now.admin_turned_away_per_s.iter().max_by(|a, b| a.1.total_cmp(b.1));
    let most = most.and_then(|(label, _)| Reason::ALL.into_iter().find(|reason| reason.label() == *label));
    let Some(most) = most.filter(|_| all >= TURNED_AWAY_PER_S_MIN) else { return };
    let sentence =
        format!("The HTTP side turns {}/s away, most of them because {}.", rate(all), most.words());
    found.add(Level::Notice, sentence);
}
