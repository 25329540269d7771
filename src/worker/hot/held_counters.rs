//! How many counters under quotas a worker remembers, and what memory they take, within the bounds of `[admission]`.
//!
//! Both are counted where the counter is remembered: at its home, where the queue and the state of the quota are, and less at
//! every other worker whose clients count under it. What a counter takes is reckoned from its name, since all but a name is
//! of one size.

use std::sync::Arc;

use crate::admission::KeyQuota;
use crate::config::Config;
use crate::shared::tallies::AdmissionTallies;

/// What a counter takes at its home beside its names, in bytes: measured at 3,400 for a quota with one limit (`cargo bench
/// --bench at_rest`).
const AT_HOME_BYTES: usize = 3500;

/// How often its name is there: in the table, the queue's companion key, the quota, the override key, the tallies and what is
/// shown of them.
const AT_HOME_NAMES: usize = 8;

/// The same at another worker.
const ELSEWHERE_BYTES: usize = 750;
const ELSEWHERE_NAMES: usize = 3;

/// The counters of one worker.
#[derive(Debug, Default)]
pub(super) struct HeldCounters {
    keys: usize,
    bytes: usize,
}

impl HeldCounters {
    /// What a counter takes at its home, or at another worker.
    pub fn weigh(quota: &KeyQuota, at_home: bool) -> usize {
        let name = quota.key().len();
        if !at_home {
            return ELSEWHERE_BYTES + ELSEWHERE_NAMES * name;
        }
        let limit_keys: usize = quota.polled().iter().map(|name| 3 * name.len()).sum();
        AT_HOME_BYTES + (AT_HOME_NAMES + quota.parts().len()) * name + limit_keys
    }

    /// Remembers one more.
    pub fn add(&mut self, bytes: usize) {
        self.keys += 1;
        self.bytes += bytes;
    }

    /// Forgets one.
    pub fn remove(&mut self, bytes: usize) {
        self.keys -= 1;
        self.bytes -= bytes;
    }

    /// The error for an increment of one that can't be remembered any more, if it can't.
    pub fn refusal(
        &self,
        quota: Option<&Arc<KeyQuota>>,
        at_home: bool,
        config: &Config,
        workers: usize,
    ) -> Option<String> {
        let (keys_max, bytes_max) = (config.admission.keys_max, config.admission.bytes_max);
        let bytes = quota.map_or(0, |quota| Self::weigh(quota, at_home));
        let why = if self.keys >= keys_max {
            format!("admission.keys_max = {keys_max} counters are in use already")
        } else if self.bytes + bytes > bytes_max / workers {
            format!(
                "the counters in use take what admission.bytes_max = {bytes_max} allows, and this one would take {bytes} bytes"
            )
        } else {
            return None;
        };
        Some(format!("QUOTA {why}, so no further one can be held; try again later"))
    }

    /// Writes down how much there is.
    pub fn measure(&self, config: &Config, workers: usize, tally: &mut AdmissionTallies) {
        tally.keys = self.keys as u64;
        tally.bytes = self.bytes as u64;
        (tally.keys_max, tally.bytes_max) =
            (config.admission.keys_max as u64, (config.admission.bytes_max / workers) as u64);
    }
}
