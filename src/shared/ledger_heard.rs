//! What the ledger said of itself last, as this gateway heard it.
//!
//! Written by the control thread once a second where a ledger is configured, read by monitoring.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;

use crate::reserve::LedgerReport;

/// See the module.
#[derive(Clone, Debug)]
pub struct LedgerHeard {
    /// The last report; `None` if none was found.
    pub report: Option<LedgerReport>,
    /// When it was seen to differ from the one before: by this gateway's own clock, so no two clocks need agree.
    pub changed: Instant,
    /// It has been seen to change: somebody says it now, and it does not lie there from before.
    pub is_alive: bool,
    /// Why Redis could not be asked for it, as a clause.
    pub fault: Option<String>,
}

/// Where it is published; nothing is where no ledger is configured.
#[derive(Debug, Default)]
pub struct LedgerCell(ArcSwapOption<LedgerHeard>);

impl LedgerCell {
    /// What was heard last.
    pub fn load(&self) -> Option<Arc<LedgerHeard>> {
        self.0.load_full()
    }

    /// Publishes it.
    pub fn store(&self, heard: Option<LedgerHeard>) {
        self.0.store(heard.map(Arc::new));
    }
}
