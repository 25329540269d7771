//! How many connections of one worker are as every request asks, counted where they change.
//!
//! A request must not walk all connections to learn whether a node is left alone or whether its client may have a connection more.
//! So a connection is counted when it is opened, when its role or phase changes, and when it is removed, and in no other
//! place are those written: outside of this directory they can only be read.
//!
//! Invariant: the census equals a count of all connections ([`Census::of`]). A debug build looks at each housekeeping.

use smallvec::SmallVec;

use super::parallel::ALONE;
use super::{Phase, Role, Upstream, Upstreams};
use crate::route::ClusterId;
use crate::shared::topology::NodeIndex;
use crate::worker::names::UpstreamKey;

/// The counts.
#[derive(Debug, Default)]
pub struct Census {
    /// By node: shared connections whose last attempt failed.
    backing_off: Vec<u32>,
    /// By cluster: connections that are one client's own, or one user's.
    owned: SmallVec<[usize; 1]>,
}

/// What is counted of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Where it goes.
    pub node: NodeIndex,
    /// The cluster of that.
    pub cluster: ClusterId,
    /// Whom it serves.
    pub role: Role,
    /// How far it is in its life.
    pub phase: Phase,
}

impl Counted {
    fn of(upstream: &Upstream) -> Self {
        let Upstream { node, cluster, role, phase, .. } = *upstream;
        Self { node, cluster, role, phase }
    }
}

impl Census {
    /// A count of all of `connections`. For checks.
    pub fn of(connections: impl Iterator<Item = Counted>) -> Self {
        let mut census = Self::default();
        connections.for_each(|connection| census.add(connection));
        census
    }

    /// Whether the last attempt to reach the node failed.
    #[inline]
    pub fn backs_off(&self, node: NodeIndex) -> bool {
        self.backing_off.get(node.position()).is_some_and(|backing_off| *backing_off > 0)
    }

    /// Connections to a cluster that are one client's own, or one user's.
    pub fn owned(&self, cluster: ClusterId) -> usize {
        self.owned.get(cluster.position()).copied().unwrap_or(0)
    }

    fn add(&mut self, Counted { node, cluster, role, phase }: Counted) {
        if is_backing_off(role, phase) {
            if self.backing_off.len() <= node.position() {
                self.backing_off.resize(node.position() + 1, 0);
            }
            self.backing_off[node.position()] += 1;
        }
        if is_owned(role) {
            if self.owned.len() <= cluster.position() {
                self.owned.resize(cluster.position() + 1, 0);
            }
            self.owned[cluster.position()] += 1;
        }
    }

    fn take(&mut self, Counted { node, cluster, role, phase }: Counted) {
        if let (true, Some(backing_off)) =
            (is_backing_off(role, phase), self.backing_off.get_mut(node.position()))
        {
            *backing_off = backing_off.saturating_sub(1);
        }
        if let (true, Some(owned)) = (is_owned(role), self.owned.get_mut(cluster.position())) {
            *owned = owned.saturating_sub(1);
        }
    }
}

impl PartialEq for Census {
    /// Nodes that are not backed off from, and clusters without such connections, need not be named.
    fn eq(&self, other: &Self) -> bool {
        let nodes = self.backing_off.len().max(other.backing_off.len());
        let clusters = self.owned.len().max(other.owned.len());
        let at = |census: &Self, place: usize| census.backing_off.get(place).copied().unwrap_or(0);
        (0..nodes).all(|place| at(self, place) == at(other, place))
            && (0..clusters)
                .map(|place| ClusterId(place as u16))
                .all(|cluster| self.owned(cluster) == other.owned(cluster))
    }
}

fn is_owned(role: Role) -> bool {
    role.owner().is_some() || role == Role::User
}

fn is_backing_off(role: Role, phase: Phase) -> bool {
    // That one which carries suspects breaks says nothing about its node.
    matches!((role, phase), (Role::Shared(number), Phase::Waiting(_)) if number != ALONE)
}

impl Upstreams {
    /// Takes a new connection in.
    pub(super) fn insert_connection(&mut self, make: impl FnOnce(UpstreamKey) -> Upstream) -> UpstreamKey {
        let key = self.connections.insert(make);
        if let Some(upstream) = self.connections.get(key) {
            self.pools.census.add(Counted::of(upstream));
        }
        key
    }

    /// Removes a connection that has ended.
    pub fn remove_connection(&mut self, key: UpstreamKey) {
        if let Some(upstream) = self.connections.remove(key) {
            self.pools.census.take(Counted::of(&upstream));
            self.pools.forget(upstream.node, key);
            if upstream.role() == Role::User {
                self.logins.forget(&upstream);
            }
        }
    }

    /// The connection serves somebody else from now on.
    pub fn set_role(&mut self, key: UpstreamKey, role: Role) {
        self.change_connection(key, |upstream| upstream.role = role);
    }

    /// The connection has come so far in its life.
    pub fn set_phase(&mut self, key: UpstreamKey, phase: Phase) {
        self.change_connection(key, |upstream| upstream.phase = phase);
    }

    /// The connection's former owner has no more use for it: it is closed, and its end concerns nobody.
    pub fn close_own(&mut self, key: UpstreamKey) {
        self.set_role(key, Role::Spare);
        if let Some(upstream) = self.connections.get_mut(key) {
            upstream.close();
        }
    }

    fn change_connection(&mut self, key: UpstreamKey, change: impl FnOnce(&mut Upstream)) {
        let Some(upstream) = self.connections.get_mut(key) else { return };
        let census = &mut self.pools.census;
        census.take(Counted::of(upstream));
        change(upstream);
        census.add(Counted::of(upstream));
    }

    /// Whether the census is what a count of all connections gives.
    pub fn is_census_right(&self) -> bool {
        self.pools.census == Census::of(self.connections.iter().map(Counted::of))
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::worker::names::ClientKey;

    fn any_role(random: &mut StdRng) -> Role {
        let owner = ClientKey::from_number(random.random_range(0..5));
        match random.random_range(0..9) {
            0 => Role::Shared(0),
            1 => Role::Shared(ALONE),
            2 => Role::Session(owner),
            3 => Role::Tracking(owner),
            4 => Role::Subscriber(owner),
            5 => Role::Monitor(owner),
            6 => Role::Copies,
            7 => Role::User,
            _ => Role::Spare,
        }
    }

    fn any_phase(random: &mut StdRng) -> Phase {
        match random.random_range(0..3) {
            0 => Phase::Connecting,
            1 => Phase::Ready,
            _ => Phase::Waiting(random.random()),
        }
    }

    #[test]
    fn what_is_counted_where_it_changes_is_what_a_count_of_all_gives() {
        let seed: u64 = rand::random();
        println!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        let mut census = Census::default();
        let mut all: Vec<Counted> = Vec::new();
        for _ in 0..2000 {
            let place = random.random_range(0..=all.len());
            match all.get_mut(place) {
                None => {
                    let (node, cluster) = (random.random_range(0..4), random.random_range(0..3));
                    let (role, phase) = (any_role(&mut random), any_phase(&mut random));
                    let new = Counted { node: NodeIndex(node), cluster: ClusterId(cluster), role, phase };
                    census.add(new);
                    all.push(new);
                }
                Some(_) if random.random_bool(0.4) => {
                    census.take(all.swap_remove(place));
                }
                Some(changed) => {
                    census.take(*changed);
                    (changed.role, changed.phase) = (any_role(&mut random), any_phase(&mut random));
                    census.add(*changed);
                }
            }
            assert_eq!(census, Census::of(all.iter().copied()), "seed {seed}");
            for node in (0..6).map(NodeIndex) {
                let backs_off = all.iter().any(|of| of.node == node && is_backing_off(of.role, of.phase));
                assert_eq!(census.backs_off(node), backs_off, "seed {seed}");
            }
            for cluster in (0..4).map(ClusterId) {
                let owned = all.iter().filter(|of| of.cluster == cluster && is_owned(of.role));
                assert_eq!(census.owned(cluster), owned.count(), "seed {seed}");
            }
        }
    }
}
