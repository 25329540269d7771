//! The rights that the gateway's user is known to lack upstream.
//!
//! Written when Redis refuses a command of the gateway's own, and by the control thread, which asks at the start and from time to
//! time. Read by the status line and the metrics. A request that is not refused does not touch it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;

/// What is told of a fold that is refused.
pub const FOLD_REFUSED: &str =
    "The upstream user may not say INCRBY, so hot counters go to Redis as they come: allow it +incrby";

/// For how long a refused fold counts as a right that is missing, where no server says meanwhile whether it is.
const REFUSED_MS: u64 = 30_000;
/// A refusal after such a pause is news, and is logged.
const FORGOTTEN_MS: u64 = 600_000;

/// The missing rights.
#[derive(Debug)]
pub struct MissingRights {
    started: Instant,
    /// When a fold was last refused, in milliseconds since the start, plus one; 0 for never.
    fold_refused_ms: AtomicU64,
    modes: ArcSwap<Vec<String>>,
}

impl Default for MissingRights {
    fn default() -> Self {
        Self { started: Instant::now(), fold_refused_ms: AtomicU64::new(0), modes: ArcSwap::default() }
    }
}

impl MissingRights {
    /// Redis refused `INCRBY` for `INCR`, `DECR` or `DECRBY`. Returns whether that is to be logged.
    pub fn on_fold_refused(&self) -> bool {
        let now_ms = self.started.elapsed().as_millis() as u64 + 1;
        let before_ms = self.fold_refused_ms.swap(now_ms, Ordering::Relaxed);
        before_ms == 0 || now_ms.saturating_sub(before_ms) > FORGOTTEN_MS
    }

    /// Redis says whether it would refuse one now.
    pub fn fold_would_be_refused(&self, refused: bool) {
        let now_ms = self.started.elapsed().as_millis() as u64 + 1;
        self.fold_refused_ms.store(if refused { now_ms } else { 0 }, Ordering::Relaxed);
    }

    /// A fold is refused these days, so that hot counters go as they come.
    pub fn is_fold_refused(&self) -> bool {
        let last_ms = self.fold_refused_ms.load(Ordering::Relaxed);
        last_ms != 0 && (self.started.elapsed().as_millis() as u64) < last_ms + REFUSED_MS
    }

    /// Publishes what the modes of the configuration lack, as sentences without a full stop.
    pub fn set_modes(&self, missing: Vec<String>) {
        self.modes.store(Arc::new(missing));
    }

    /// All that is missing, as sentences without a full stop.
    pub fn sentences(&self) -> Vec<String> {
        let folds = self.is_fold_refused().then(|| FOLD_REFUSED.to_owned());
        self.modes.load().iter().cloned().chain(folds).collect()
    }
}
