//! What each upstream node said when the control thread last asked it, whether or not any client asks it for anything.
//!
//! `control::probes` writes it; readiness and monitoring read it. All three are on the control thread, so the lock is never waited for.
//! Rows are bounded by the nodes that are present and the servers that the configuration names.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::labels::NodeRefusal;
use super::topology::Address;
use crate::route::ClusterId;

/// What is known of one server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeProbe {
    /// Since when a question has had no answer; `None` while it answers.
    pub unanswered_since: Option<Instant>,
    /// It lives, and holds every command back (`CLIENT PAUSE`).
    pub is_paused: bool,
    /// Why there is no connection to it, as a clause.
    pub unreachable: Option<String>,
    /// Why it takes no new connection of the gateway's, as a clause. Open ones may be as good as ever.
    pub turns_away: Option<String>,
    /// Its name has no address any more, as a clause. Open connections may be as good as ever.
    pub unresolved: Option<String>,
    /// Why it refuses whatever it is asked.
    pub refusal: Option<NodeRefusal>,
    /// Keys in database 0; `None` of a replica, and where that may not be asked.
    pub keys: Option<u64>,
    /// Clients that it has, and how many it may have.
    pub clients: Option<(u64, u64)>,
    /// Of a replica: whether it is connected to its master and has all of its data.
    pub is_linked: Option<bool>,
    /// Its id in its cluster, if that is not the one that it had.
    pub stranger_id: Option<String>,
}

impl NodeProbe {
    /// For how long a question has had no answer, in milliseconds; 0 while it answers.
    pub fn unanswered_ms(&self, now: Instant) -> u64 {
        self.unanswered_since.map_or(0, |since| now.saturating_duration_since(since).as_millis() as u64)
    }

    /// The last question was answered.
    pub fn answers(&self) -> bool {
        self.unanswered_since.is_none() && self.unreachable.is_none() && self.turns_away.is_none()
    }
}

/// By cluster and address.
pub type Rows = HashMap<(ClusterId, Address), NodeProbe>;

/// See the module.
#[derive(Debug, Default)]
pub struct Probes(Mutex<Rows>);

impl Probes {
    /// Puts down what was heard of a server.
    pub fn put(&self, cluster: ClusterId, address: &Address, probe: NodeProbe) {
        self.lock().insert((cluster, address.clone()), probe);
    }

    /// The server is not asked any more.
    pub fn forget(&self, cluster: ClusterId, address: &Address) {
        self.lock().remove(&(cluster, address.clone()));
    }

    /// What was last heard of a server, if anything was.
    pub fn of(&self, cluster: ClusterId, address: &Address) -> Option<NodeProbe> {
        self.lock().get(&(cluster, address.clone())).cloned()
    }

    /// What was last heard of each.
    pub fn all(&self) -> Rows {
        self.lock().clone()
    }

    /// A panic ends the process, so that nobody sees what it left.
    fn lock(&self) -> MutexGuard<'_, Rows> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
