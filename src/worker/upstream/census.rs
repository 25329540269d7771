//! How many connections of one worker are as every request asks, counted where they change.
//!
//! A request must not walk all connections to learn whether a node is left alone or whether its client may have a connection more.
//! So a connection is counted when it is opened, when its role or phase changes, and when it is removed, and in no other
//! place are those written: outside of this directory they can only be read.
//!
//! Invariant: the census equals a count of all connections ([`Census::of`]). A debug build looks at each housekeeping.

use super::parallel::ALONE;
use super::{Phase, Role, Upstream, Upstreams};
use crate::shared::topology::NodeIndex;
use crate::worker::names::UpstreamKey;

/// The counts.
#[derive(Debug, Default)]
pub struct Census {
    /// By node: shared connections whose last attempt failed.
    backing_off: Vec<u32>,
    /// Connections that are one client's own.
    owned: usize,
}

impl Census {
    /// A count of all of `connections`, each with its node. For checks.
    pub fn of(connections: impl Iterator<Item = (NodeIndex, Role, Phase)>) -> Self {
        let mut census = Self::default();
        connections.for_each(|(node, role, phase)| census.add(node, role, phase));
        census
    }

    /// Whether the last attempt to reach the node failed.
    #[inline]
    pub fn backs_off(&self, node: NodeIndex) -> bool {
        self.backing_off.get(node.position()).is_some_and(|backing_off| *backing_off > 0)
    }

    /// Connections that are one client's own.
    pub fn owned(&self) -> usize {
        self.owned
    }

    fn add(&mut self, node: NodeIndex, role: Role, phase: Phase) {
        if is_backing_off(role, phase) {
            if self.backing_off.len() <= node.position() {
                self.backing_off.resize(node.position() + 1, 0);
            }
            self.backing_off[node.position()] += 1;
        }
        self.owned += usize::from(role.owner().is_some());
    }

    fn take(&mut self, node: NodeIndex, role: Role, phase: Phase) {
        if let (true, Some(backing_off)) =
            (is_backing_off(role, phase), self.backing_off.get_mut(node.position()))
        {
            *backing_off = backing_off.saturating_sub(1);
        }
        self.owned = self.owned.saturating_sub(usize::from(role.owner().is_some()));
    }
}

impl PartialEq for Census {
    /// Nodes that do not rest need not be named.
    fn eq(&self, other: &Self) -> bool {
        let nodes = self.backing_off.len().max(other.backing_off.len());
        let at = |census: &Self, place: usize| census.backing_off.get(place).copied().unwrap_or(0);
        self.owned == other.owned && (0..nodes).all(|place| at(self, place) == at(other, place))
    }
}

fn is_backing_off(role: Role, phase: Phase) -> bool {
    // That one which carries suspects breaks says nothing about its node.
    matches!((role, phase), (Role::Shared(number), Phase::Waiting(_)) if number != ALONE)
}

impl Upstreams {
    /// Takes a new connection in.
    pub(super) fn insert_connection(&mut self, make: impl FnOnce(UpstreamKey) -> Upstream) -> UpstreamKey {
        let key = self.connections.insert(make);
        if let Some(Upstream { node, role, phase, .. }) = self.connections.get(key) {
            self.pools.census.add(*node, *role, *phase);
        }
        key
    }

    /// Removes a connection that has ended.
    pub fn remove_connection(&mut self, key: UpstreamKey) {
        if let Some(Upstream { node, role, phase, .. }) = self.connections.remove(key) {
            self.pools.census.take(node, role, phase);
            self.pools.forget(node, key);
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
        census.take(upstream.node, upstream.role, upstream.phase);
        change(upstream);
        census.add(upstream.node, upstream.role, upstream.phase);
    }

    /// Whether the census is what a count of all connections gives.
    pub fn is_census_right(&self) -> bool {
        let all = self.connections.iter().map(|upstream| (upstream.node, upstream.role, upstream.phase));
        self.pools.census == Census::of(all)
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
        match random.random_range(0..8) {
            0 => Role::Shared(0),
            1 => Role::Shared(ALONE),
            2 => Role::Session(owner),
            3 => Role::Tracking(owner),
            4 => Role::Subscriber(owner),
            5 => Role::Monitor(owner),
            6 => Role::Copies,
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
        let mut all: Vec<(NodeIndex, Role, Phase)> = Vec::new();
        for _ in 0..2000 {
            let place = random.random_range(0..=all.len());
            match all.get_mut(place) {
                None => {
                    let new =
                        (NodeIndex(random.random_range(0..4)), any_role(&mut random), any_phase(&mut random));
                    census.add(new.0, new.1, new.2);
                    all.push(new);
                }
                Some(_) if random.random_bool(0.4) => {
                    let (node, role, phase) = all.swap_remove(place);
                    census.take(node, role, phase);
                }
                Some((node, role, phase)) => {
                    census.take(*node, *role, *phase);
                    *role = any_role(&mut random);
                    *phase = any_phase(&mut random);
                    census.add(*node, *role, *phase);
                }
            }
            assert_eq!(census, Census::of(all.iter().copied()), "seed {seed}");
            for node in (0..6).map(NodeIndex) {
                let backs_off =
                    all.iter().any(|(at, role, phase)| *at == node && is_backing_off(*role, *phase));
                assert_eq!(census.backs_off(node), backs_off, "seed {seed}");
            }
            assert_eq!(
                census.owned(),
                all.iter().filter(|(_, role, _)| role.owner().is_some()).count(),
                "seed {seed}"
            );
        }
    }
}
