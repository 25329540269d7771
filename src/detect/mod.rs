//! Finding hot keys: what is counted per worker, and how the counts of all workers become one hot set.
//!
//! ```text
//!   worker thread                                     control thread
//!   record(key, id, access)   ─┐
//!   record_reply(handle, n)  ──┤ Detector ── Slice ──► Merger ── HotSet, Transition
//!                              └ every 100 ms          window of the last 10 steps
//! ```
//!
//! A [`Detector`] belongs to one worker and is touched by every request, so it costs a few nanoseconds and
//! bounded memory. It answers two questions with different means. *Which keys are worth counting?* is
//! answered approximately, by Filtered Space-Saving with time decay (see [`Detector`] for the papers and the
//! bound). *How often was such a key used?* is answered exactly: from its admission on, a tracked key's
//! reads, writes, bytes and connections are plain counters. Because the tracked set outlives the slices, a
//! key that is steadily among the heaviest is counted without error, however few accesses one slice holds.
//!
//! A [`Merger`] belongs to the control thread. It adds the slices of all workers, keeps the window, applies
//! the thresholds with hysteresis and says which keys became hot or cooled.
//!
//! Deliberately absent: clocks (times are parameters), threads and channels (slices are values that the
//! caller moves), the glob matcher for keys that must never be tracked (the caller passes a predicate), and
//! the question of which node holds a key.

mod config;
mod connections;
mod detector;
mod history;
mod hot;
mod key;
mod merger;
mod sampler;
mod slice;
mod table;
mod window;

pub use config::{DetectorConfig, MergerConfig, Thresholds};
pub use connections::Connections;
pub use detector::{Access, Detector, EntryHandle, Ignore};
pub use history::HISTORY_POINTS;
pub use hot::{Class, HotKey, HotSet, Rank, Rates, TopKey, Transition, TransitionKind};
pub use key::{KEY_BYTES_MAX, KeyName};
pub use merger::Merger;
pub use slice::{Slice, SliceRow, SliceTotals};
