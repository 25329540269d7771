//! Describes the difference between two maps of one cluster in one log line. Pure.

use std::fmt;

use crate::route::ClusterId;
use crate::shared::topology::{Address, Node, Role, SLOTS, Topology};

/// Addresses listed for one kind of change; the rest is counted.
const LISTED_MAX: usize = 8;

/// The difference. Displays as `added a:1, b:2; gone c:3; 100 slots moved`, and so on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct TopologyChange {
    /// Present now and not before.
    pub added: Vec<Address>,
    /// Present before and not now.
    pub gone: Vec<Address>,
    /// Present before and now, replica then, master now.
    pub promoted: Vec<Address>,
    /// Present before and now, master then, replica now.
    pub demoted: Vec<Address>,
    /// Present before and now, healthy only then.
    pub failed: Vec<Address>,
    /// Present before and now, healthy only now.
    pub recovered: Vec<Address>,
    /// Slots with another master, or with one only then or only now.
    pub slots_moved: u16,
    /// Slots without a master now.
    pub slots_unassigned: u16,
}

impl TopologyChange {
    /// Compares what two topologies of one process say of a cluster.
    pub fn between(cluster: ClusterId, old: &Topology, new: &Topology) -> Self {
        let (old_map, new_map) = (old.cluster(cluster), new.cluster(cluster));
        let mut change = Self { slots_unassigned: SLOTS - new_map.assigned_slots(), ..Self::default() };
        for (position, node) in new.nodes.iter().enumerate().filter(|(_, node)| node.cluster == cluster) {
            change.compare(old.nodes.get(position).map(AsRef::as_ref), node);
        }
        let moved = (0..SLOTS).filter(|&slot| old_map.master_of(slot) != new_map.master_of(slot)).count();
        change.slots_moved = moved as u16;
        change
    }

    fn compare(&mut self, before: Option<&Node>, now: &Node) {
        let address = || now.address.clone();
        let Some(before) = before.filter(|before| before.present) else {
            if now.present {
                self.added.push(address());
            }
            return;
        };
        if !now.present {
            self.gone.push(address());
            return;
        }
        match (before.role, now.role) {
            (Role::Replica, Role::Master) => self.promoted.push(address()),
            (Role::Master, Role::Replica) => self.demoted.push(address()),
            _ => {}
        }
        match (before.healthy, now.healthy) {
            (true, false) => self.failed.push(address()),
            (false, true) => self.recovered.push(address()),
            _ => {}
        }
    }
}

impl fmt::Display for TopologyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lists = [
            ("added", &self.added),
            ("gone", &self.gone),
            ("promoted", &self.promoted),
            ("demoted", &self.demoted),
            ("failed", &self.failed),
            ("recovered", &self.recovered),
        ];
        let mut parts: Vec<String> = lists
            .iter()
            .filter(|(_, addresses)| !addresses.is_empty())
            .map(|(name, addresses)| format!("{name} {}", listed(addresses)))
            .collect();
        if self.slots_moved > 0 {
            parts.push(format!("{} slots moved", self.slots_moved));
        }
        if self.slots_unassigned > 0 {
            parts.push(format!("{} slots without a master", self.slots_unassigned));
        }
        if parts.is_empty() {
            parts.push("no visible change".to_owned());
        }
        f.write_str(&parts.join("; "))
    }
}

/// Some of `items`, joined with commas, and how many more there are.
pub fn listed<T: fmt::Display>(items: &[T]) -> String {
    let shown: Vec<String> = items.iter().take(LISTED_MAX).map(ToString::to_string).collect();
    let more = items.len().saturating_sub(LISTED_MAX);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::topology::{NodeIndex, Shard, UpstreamKind};
    use std::sync::Arc;

    /// A topology of nodes written as `m` or `r` (role), then `+` (healthy), `!` (failed) or `-` (absent); the slots up
    /// to `boundary` belong to the first node and the rest to the second.
    fn topology(nodes: &[&str], boundary: u16) -> Topology {
        let node = |(position, notation): (usize, &&str)| {
            let role = if notation.starts_with('m') { Role::Master } else { Role::Replica };
            let (present, healthy) = (!notation.ends_with('-'), notation.ends_with('+'));
            Arc::new(Node {
                cluster: ClusterId::DEFAULT,
                address: Address::new("h", position as u16 + 1),
                id: String::new(),
                role,
                present,
                healthy,
            })
        };
        let nodes: Vec<_> = nodes.iter().enumerate().map(node).collect();
        let shard =
            |index, range| Shard { master: NodeIndex(index), ranges: vec![range], replicas: Vec::new() };
        let shards = [shard(0, (0, boundary)), shard(1, (boundary + 1, 16382))];
        Topology::new(1, UpstreamKind::Cluster, nodes, &shards)
    }

    #[test]
    fn changes_read_as_what_happened() {
        let check = |old: &Topology, new: &Topology, expect: &str| {
            assert_eq!(TopologyChange::between(ClusterId::DEFAULT, old, new).to_string(), expect);
        };
        let base = topology(&["m+", "m+", "r+"], 99);
        let gap = "1 slots without a master";
        check(&base, &base, gap);
        check(&Topology::unknown(), &base, &format!("added h:1, h:2, h:3; 16383 slots moved; {gap}"));
        check(&base, &topology(&["m+", "m+", "r+"], 109), &format!("10 slots moved; {gap}"));
        check(
            &base,
            &topology(&["r!", "m+", "m+"], 99),
            &format!("promoted h:3; demoted h:1; failed h:1; {gap}"),
        );
        check(&base, &topology(&["m+", "m+", "r-", "m+"], 99), &format!("added h:4; gone h:3; {gap}"));
        check(&topology(&["m!", "m+"], 99), &topology(&["m+", "m+"], 99), &format!("recovered h:1; {gap}"));
        let many: Vec<&str> = vec!["m+"; 20];
        let added = "added h:4, h:5, h:6, h:7, h:8, h:9, h:10, h:11 and 9 more";
        check(&topology(&many[..3], 99), &topology(&many, 99), &format!("{added}; {gap}"));
    }
}
