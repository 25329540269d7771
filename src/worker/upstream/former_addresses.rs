//! Names whose addresses change while connections live: connections to an address that a name has no more are left.
//!
//! | connection | what happens |
//! |---|---|
//! | shared by clients | nothing more is put on it; when the last reply is there it is made anew, and what waited meanwhile goes there |
//! | a client's transaction or blocking command | goes on; no other client gets the connection |
//! | subscriptions, `MONITOR`, tracked reads | end as if the server had ended them: it may hear of nothing any more |
//!
//! An address that is removed may answer as well as ever (a master that is a replica now, the servers before a move). So nothing but the
//! name says that it is not meant any more. `control/probes` looks names up; here is compared whom each connection has.

use std::net::IpAddr;
use std::sync::Arc;

use super::{Phase, Role, Upstream, Upstreams};
use crate::net::SocketName;
use crate::shared::names::Names;
use crate::worker::core::Core;
use crate::worker::names::UpstreamKey;

/// A connection that was being made when the names changed may have the former address: it is looked at once more after this time.
const ONCE_MORE_NS: u64 = 3_000_000_000;

/// What a worker has seen of the names.
#[derive(Default)]
pub struct FormerAddresses {
    seen: Arc<Names>,
    again_ns: Option<u64>,
}

impl Upstreams {
    /// Has connections left that go where no name points any more.
    pub fn leave_former_addresses(&mut self, core: &Core) {
        let names = core.gateway.names.load();
        let is_new = !Arc::ptr_eq(&names, &self.former.seen);
        if !is_new && self.former.again_ns.is_none_or(|again_ns| core.now_ns < again_ns) {
            return;
        }
        self.former.again_ns = is_new.then_some(core.now_ns + ONCE_MORE_NS);
        for upstream in self.connections.iter_mut().filter(|upstream| upstream.phase == Phase::Ready) {
            let addresses = core
                .snapshots
                .topology
                .node(upstream.node)
                .and_then(|node| names.get(&(node.cluster, node.address.clone())));
            if addresses.is_some_and(|addresses| goes_elsewhere(upstream, addresses)) {
                upstream.leaving = true;
                upstream.wake();
            }
        }
        self.former.seen = names;
    }

    /// What becomes of a connection that is to be left and carries nothing now; nothing if it is not, or goes on.
    pub fn left(&mut self, key: UpstreamKey) -> Option<Left> {
        let upstream = self.connections.get_mut(key)?;
        if !upstream.leaving || upstream.wire.inflight() > 0 {
            return None;
        }
        match upstream.role {
            Role::Session(_) => None,
            Role::Spare | Role::Confirming(_) | Role::OutOfBand => Some(Left::Closed),
            Role::Shared(_) | Role::User => {
                (upstream.leaving, upstream.stream) = (false, None);
                self.set_phase(key, Phase::Connecting);
                Some(Left::MadeAnew)
            }
            Role::Copies
            | Role::Tracking(_)
            | Role::Invalidations(_)
            | Role::Subscriber(_)
            | Role::Events(_)
            | Role::Monitor(_) => Some(Left::Lost),
        }
    }
}

/// See [`Upstreams::left`].
pub enum Left {
    /// Its task connects again, and what is put on it meanwhile is written then.
    MadeAnew,
    /// It is needed no more.
    Closed,
    /// Its end is to be told.
    Lost,
}

fn goes_elsewhere(upstream: &Upstream, addresses: &[IpAddr]) -> bool {
    match upstream.stream.as_ref().map(|stream| stream.peer()) {
        Some(Ok(SocketName::Ip(peer))) => !addresses.contains(&peer.ip()),
        _ => false,
    }
}
