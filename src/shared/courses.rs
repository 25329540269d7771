//! What a worker does with a hot key, as operators see it.
//!
//! A worker makes it anew ten times a second, within its tallies. The control thread merges what the workers say of one key.

use bytes::Bytes;

use crate::pace::Course;

/// Whether one worker passes or folds the operations on a hot key.
#[derive(Clone, Debug)]
pub struct KeyCourse {
    /// The key.
    pub key: Bytes,
    /// Whether they pass or are folded.
    pub course: Course,
    /// A rule or a quota folds them, whatever Redis has time for.
    pub forced: bool,
    /// How long this has been so, in milliseconds; 0 where it has been so from the beginning.
    pub for_ms: u64,
    /// For how long requests queued at the node when folding began, in microseconds.
    pub excess_us: u64,
    /// When an attempt to let them pass comes, in milliseconds from now; `None` while they are not folded.
    pub probe_in_ms: Option<u64>,
    /// How many flushes may be in flight to its node, where they leave by turns.
    pub flushes_max: Option<f64>,
    /// The longest that a flush of it waited for its turn lately, in microseconds.
    pub turn_wait_us: u64,
    /// Commands on it that do not fold.
    pub unfolded: Vec<String>,
    /// Commands on it with how often each was seen lately: a sample, the heaviest.
    pub commands: Vec<(String, u32)>,
    /// The same of clients, by `CLIENT ID`.
    pub clients: Vec<(u64, u32)>,
}
