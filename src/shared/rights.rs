//! The rights that the gateway's user is known to lack upstream.
//!
//! Written when Redis refuses a command of the gateway's own, and by the control thread, which asks at the start and from time to
//! time. Read by the status line and the metrics. A request that is not refused does not touch it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;

/// What folds into something that no client said, for which Redis wants rights of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// `INCRBY` for `INCR`, `DECR` or `DECRBY`.
    Increments,
    /// The gateway's own script for calls of one that counts, and what a trial of that reads.
    Scripts,
}

impl Fold {
    /// All.
    pub const ALL: [Fold; 2] = [Fold::Increments, Fold::Scripts];

    /// What is told where it is refused.
    pub fn refused(self) -> &'static str {
        match self {
            Fold::Increments => {
                "The upstream user may not say INCRBY, so hot counters go to Redis as they come: allow it +incrby"
            }
            Fold::Scripts => {
                "The upstream user may not do what folding counter scripts takes, so their calls go to Redis as they come: allow it \
                 +eval +evalsha +get +pttl +incrby +set on their keys"
            }
        }
    }
}

/// For how long a refused fold counts as a right that is missing, where no server says meanwhile whether it is.
const REFUSED_MS: u64 = 30_000;
/// A refusal after such a pause is news, and is logged.
const FORGOTTEN_MS: u64 = 600_000;

/// The missing rights.
#[derive(Debug)]
pub struct MissingRights {
    started: Instant,
    /// When each fold was last refused, in milliseconds since the start, plus one; 0 for never.
    refused_ms: [AtomicU64; Fold::ALL.len()],
    modes: ArcSwap<Vec<String>>,
}

impl Default for MissingRights {
    fn default() -> Self {
        Self { started: Instant::now(), refused_ms: Default::default(), modes: ArcSwap::default() }
    }
}

impl MissingRights {
    /// Redis refused a fold. Returns whether that is to be logged.
    pub fn on_refused(&self, fold: Fold) -> bool {
        let now_ms = self.started.elapsed().as_millis() as u64 + 1;
        let before_ms = self.refused_ms[fold as usize].swap(now_ms, Ordering::Relaxed);
        before_ms == 0 || now_ms.saturating_sub(before_ms) > FORGOTTEN_MS
    }

    /// Redis says whether it would refuse one now.
    pub fn would_be_refused(&self, fold: Fold, refused: bool) {
        let now_ms = self.started.elapsed().as_millis() as u64 + 1;
        self.refused_ms[fold as usize].store(if refused { now_ms } else { 0 }, Ordering::Relaxed);
    }

    /// It is refused these days, so that what would fold goes as it comes.
    pub fn is_refused(&self, fold: Fold) -> bool {
        let last_ms = self.refused_ms[fold as usize].load(Ordering::Relaxed);
        last_ms != 0 && (self.started.elapsed().as_millis() as u64) < last_ms + REFUSED_MS
    }

    /// Publishes what the modes of the configuration lack, as sentences without a full stop.
    pub fn set_modes(&self, missing: Vec<String>) {
        self.modes.store(Arc::new(missing));
    }

    /// All that is missing, as sentences without a full stop.
    pub fn sentences(&self) -> Vec<String> {
        let refused = Fold::ALL.into_iter().filter(|fold| self.is_refused(*fold));
        let folds = refused.map(|fold| fold.refused().to_owned());
        self.modes.load().iter().cloned().chain(folds).collect()
    }
}
