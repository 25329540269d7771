//! What is counted of a sale, and how it stands, for people.

use super::{HotKeys, Sale};
use crate::shared::reservations::SaleFacts;
use crate::worker::core::Core;

impl HotKeys {
    /// Redis has said how a sale stands.
    pub(super) fn note_facts(&mut self, core: &mut Core, sale: &Sale, facts: SaleFacts) {
        let now_ns = core.now_ns;
        let tally = core.tallies.sales.keys.row(sale.row);
        (tally.facts, tally.as_of_ns) = (Some(facts), now_ns);
    }
}
