//! `CLIENT TRACKING`: what a client has chosen, and the connections that carry its commands and its invalidations.
//!
//! Plain data: who opens those connections, and what nodes say on them, is `session/`'s.

use smallvec::SmallVec;

use super::tracking_options::Options;
use crate::shared::topology::NodeIndex;
use crate::worker::names::UpstreamKey;

/// `CLIENT TRACKING ON`: the client's commands go over connections of its own, which carry its invalidations.
#[derive(Debug)]
pub struct Tracking {
    /// How.
    pub options: Options,
    /// Who is told instead of the client.
    pub redirect: Option<Redirect>,
    /// That client is gone, as far as has been noticed.
    pub broken: bool,
    /// `CLIENT CACHING yes|no` came for the next command.
    pub caching: Option<bool>,
    /// The connections, one per node.
    pub connections: SmallVec<[Tracked; 3]>,
    /// The `CLIENT TRACKING ON` that has not been answered yet.
    pub awaiting: Option<Awaiting>,
}

/// A tracking client's connection to one node.
#[derive(Clone, Copy, Debug)]
pub struct Tracked {
    /// The node.
    pub node: NodeIndex,
    /// What carries its commands.
    pub connection: UpstreamKey,
    /// What hears its invalidations, where the client redirects them.
    pub companion: Option<UpstreamKey>,
}

/// The client that is told of what another one tracks.
#[derive(Clone, Copy, Debug)]
pub struct Redirect {
    /// Its id.
    pub id: u64,
    /// Whose it is.
    pub worker: usize,
    /// Its key there, as a number.
    pub client: u64,
}

/// A `CLIENT TRACKING ON` on its way to the nodes.
#[derive(Debug)]
pub struct Awaiting {
    /// Its slot in the reply queue.
    pub sequence: u32,
    /// Connections of which it is not known yet whether they can be had.
    pub outstanding: usize,
    /// Those that track.
    pub ready: usize,
    /// Why another one does not.
    pub refusal: Option<String>,
    /// The client had tracked before, over other connections.
    pub again: bool,
}

/// `CLIENT GETREDIR`.
pub fn redirect_of(tracking: Option<&Tracking>) -> i64 {
    match tracking.map(|tracking| tracking.redirect) {
        None => -1,
        Some(None) => 0,
        Some(Some(redirect)) => i64::try_from(redirect.id).unwrap_or(i64::MAX),
    }
}
