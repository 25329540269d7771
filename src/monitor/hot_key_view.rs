//! One hot key, as operators are shown it, and who uses it.

use std::sync::Arc;

use serde::Serialize;

use crate::shared::courses::KeyCourse;

/// Clients of a hot key that are shown.
const CLIENTS_SHOWN: usize = 16;

/// Who uses a hot key, and with which commands: a sample, those with the greatest share first.
#[derive(Clone, Debug, Default, Serialize)]
pub struct UsedBy {
    /// Commands, with the share of its requests.
    pub commands: Vec<CommandShare>,
    /// Clients, the same.
    pub clients: Vec<ClientShare>,
}

/// A command's part in the requests on a key.
#[derive(Clone, Debug, Serialize)]
pub struct CommandShare {
    /// Its name.
    pub command: String,
    /// 0 to 1.
    pub share: f64,
}

/// A client's part in the requests on a key.
#[derive(Clone, Debug, Serialize)]
pub struct ClientShare {
    /// `CLIENT ID`.
    pub id: u64,
    /// 0 to 1.
    pub share: f64,
}

impl UsedBy {
    /// Of the counts of a key's course. All commands are among them, if they are few; so the sum is about that of all requests.
    pub fn of(course: &KeyCourse) -> Self {
        let all = course.commands.iter().map(|(_, count)| f64::from(*count)).sum::<f64>().max(1.0);
        let share = |count: u32| (f64::from(count) / all).min(1.0);
        let mut commands: Vec<_> = course
            .commands
            .iter()
            .map(|(name, count)| CommandShare { command: name.clone(), share: share(*count) })
            .collect();
        commands.sort_by(|a, b| b.share.total_cmp(&a.share));
        let mut clients: Vec<_> =
            course.clients.iter().map(|(id, count)| ClientShare { id: *id, share: share(*count) }).collect();
        clients.sort_by(|a, b| b.share.total_cmp(&a.share));
        clients.truncate(CLIENTS_SHOWN);
        Self { commands, clients }
    }
}

/// One hot key.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HotKeyView {
    /// The key as people read it; see `shared::keys`.
    pub key: String,
    /// `read`, `write`, `counter` or `bytes`.
    pub class: &'static str,
    /// When it became hot, in milliseconds since 1970.
    pub since_ms: u64,
    /// Accesses per second.
    pub requests_per_s: f64,
    /// Reads per second.
    pub reads_per_s: f64,
    /// Writes per second.
    pub writes_per_s: f64,
    /// Bytes per second in requests and replies.
    pub bytes_per_s: f64,
    /// Part of all key accesses, 0 to 1.
    pub share: f64,
    /// The highest rate since it became hot.
    pub peak_per_s: f64,
    /// Newer half of the window by the older: above 1 it grows.
    pub trend: f64,
    /// About how many connections used it.
    pub connections: u32,
    /// The node that holds it; empty while not known.
    pub node: String,
    /// The cluster that it lives in.
    pub cluster: String,
    /// The tenant whose pattern it matches; empty where there is none.
    pub tenant: String,
    /// Operations that entered combining per second; `None` when the key is not combined.
    pub offered_per_s: Option<f64>,
    /// Commands sent for them per second.
    pub flushed_per_s: Option<f64>,
    /// Mean wait that combining added, in microseconds.
    pub added_wait_us: Option<f64>,
    /// Reads from the cache per second.
    pub cache_hits_per_s: f64,
    /// Unflushed write-behind deltas.
    pub pending: u64,
    /// What is done with its operations: `passing` as they came, `folding`, `probing` whether they may pass again, or `folding
    /// always` where a rule or a quota says so; empty while no worker has them combined.
    pub course: &'static str,
    /// How long that has been so, in milliseconds; 0 where it has been so from the beginning.
    pub course_for_ms: u64,
    /// For how long requests queued at the node when folding began, in microseconds.
    pub queue_us: u64,
    /// When an attempt to let them pass comes, in milliseconds; `None` while they are not folded.
    pub probe_in_ms: Option<u64>,
    /// How many flushes may be in flight to its node at a time, where they leave by turns; otherwise `None`.
    pub flushes_max: Option<f64>,
    /// The longest that a flush of it has waited for its turn lately, in microseconds; 0 where it need not.
    pub turn_wait_us: u64,
    /// Commands on it that do not fold: they go by themselves, also while the key is folded.
    pub unfolded: Vec<String>,
    /// Who uses it. Only on its own page.
    #[serde(skip)]
    pub used_by: UsedBy,
    /// Accesses in each of the last whole seconds, oldest first.
    #[serde(serialize_with = "list")]
    pub history: Arc<[u32]>,
    /// Since the start of its row: what `/metrics` counts. Not in the JSON.
    #[serde(skip)]
    pub offered_total: u64,
    /// As above.
    #[serde(skip)]
    pub flushed_total: u64,
    /// As above.
    #[serde(skip)]
    pub cache_hits_total: u64,
}

/// serde has no implementation for a shared slice unless every crate of the process is asked to have it.
fn list<S: serde::Serializer>(values: &Arc<[u32]>, serializer: S) -> Result<S::Ok, S::Error> {
    values.as_ref().serialize(serializer)
}
