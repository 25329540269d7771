//! Events that nobody brings about here: nodes that go away and come back, masters and slots that change, connections turned away.
//!
//! They are read off what is published anyway, four times a second, by comparing it with what was published before. Sends all events to
//! the webhook, whoever recorded them. Deliberately does not: judge; the status line does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::admin::Monitoring;
use crate::monitor::node_view::NodeView;
use crate::monitor::sampler::TICK_MS;
use crate::monitor::view::View;
use crate::shared::events::{Event, EventKind};
use crate::shared::gateway::Gateway;
use crate::shared::labels::RejectReason;
use crate::shared::topology::{ClusterMap, NodeIndex, Role, SLOTS, Topology, UpstreamKind};

/// A node that says nothing for so long is gone, as far as its clients can tell.
const SILENT_MS: u64 = 3000;

/// Pairs of masters between which slots moved that one look tells of; the others are summed up.
const MOVES_MAX: usize = 16;

/// Records and sends events until the process ends.
pub async fn follow_events(gateway: Arc<Gateway>, monitoring: Arc<Monitoring>) {
    let mut watch = Watch { topology: gateway.topology.load(), nodes: None, refused: None };
    let mut sent = gateway.events.latest(1).first().map_or(0, |event| event.stamp.id);
    let mut ticks = interval(Duration::from_millis(TICK_MS));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let topology = gateway.topology.load();
        for event in watch.take(&topology, &monitoring.board.latest().view) {
            gateway.events.record(event);
        }
        for event in gateway.events.after(sent) {
            monitoring.notifier.send(&event);
            sent = event.stamp.id;
        }
    }
}

/// What was published before.
struct Watch {
    topology: Arc<Topology>,
    /// By node index: its address, and why it can't be used.
    nodes: Option<BTreeMap<usize, (String, Option<String>)>>,
    /// Connections turned away, by [`RejectReason`].
    refused: Option<[u64; RejectReason::COUNT]>,
}

impl Watch {
    /// What has happened since.
    fn take(&mut self, topology: &Arc<Topology>, view: &View) -> Vec<Event> {
        let mut events = Vec::new();
        if topology.version != self.topology.version {
            for (old, new) in self.topology.clusters().iter().zip(topology.clusters()) {
                events.extend(moves(&self.topology, topology, old, new));
            }
            self.topology = Arc::clone(topology);
        }
        if topology.knows_all() {
            self.nodes(&view.nodes, &mut events);
        }
        self.refused(&view.merged.all.clients.rejected, &mut events);
        events
    }

    fn nodes(&mut self, nodes: &[NodeView], events: &mut Vec<Event>) {
        let now = nodes.iter().map(|node| (node.place, (node.node.clone(), why_down(node)))).collect();
        let Some(before) = self.nodes.replace(now) else { return };
        let now = self.nodes.iter().flatten();
        for (place, (address, why)) in now {
            let event = |kind, text: &str| Event::new(kind, address, text);
            match (before.get(place).map(|(_, why)| why), why) {
                (Some(None), Some(why)) => events.push(event(EventKind::NodeDown, why)),
                (Some(Some(_)), None) => events.push(event(EventKind::NodeUp, "it answers again")),
                (None, None) => events.push(event(EventKind::NodeUp, "it is new in its cluster")),
                (None, Some(_)) | (Some(Some(_)), Some(_)) | (Some(None), None) => {}
            }
        }
        let known = self.nodes.iter().flatten().map(|(place, _)| *place).collect::<Vec<_>>();
        for (place, (address, _)) in before {
            if known.binary_search(&place).is_err() {
                events.push(Event::new(EventKind::NodeDown, address, "it has left its cluster"));
            }
        }
    }

    fn refused(&mut self, now: &[u64; RejectReason::COUNT], events: &mut Vec<Event>) {
        let Some(before) = self.refused.replace(*now) else { return };
        for reason in RejectReason::ALL {
            let count = now[reason.index()].saturating_sub(before[reason.index()]);
            if count > 0 {
                let text =
                    format!("connections of clients turned away: {}", reason.label().replace('_', " "));
                events.push(Event::new(EventKind::ClientsRefused, "gateway", text).of(count));
            }
        }
    }
}

/// Why a node can't be used, as a clause; `None` while it can.
fn why_down(node: &NodeView) -> Option<String> {
    if node.silent_ms >= SILENT_MS {
        return Some("it does not answer".to_owned());
    }
    if node.up {
        return None;
    }
    let probe = &node.probe;
    let whys = [probe.unreachable.as_str(), &probe.turns_away, &probe.unresolved, probe.refuses];
    let why = whys.into_iter().find(|why| !why.is_empty());
    Some(why.unwrap_or("there is no connection to it").to_owned())
}

/// The slots of a cluster that have another master, by the former one and the new one.
fn moves(old: &Topology, new: &Topology, before: &ClusterMap, now: &ClusterMap) -> Vec<Event> {
    if !before.is_known() || before.version == now.version {
        return Vec::new();
    }
    let mut slots = BTreeMap::<(NodeIndex, Option<NodeIndex>), u64>::new();
    for slot in 0..SLOTS {
        let (from, to) = (before.master_of(slot), now.master_of(slot));
        if let Some(from) = from.filter(|_| from != to) {
            *slots.entry((from, to)).or_default() += 1;
        }
    }
    let mut moves: Vec<_> = slots.into_iter().collect();
    moves.sort_by_key(|(_, slots)| std::cmp::Reverse(*slots));
    let rest: u64 = moves.iter().skip(MOVES_MAX).map(|(_, slots)| slots).sum();
    moves.truncate(MOVES_MAX);
    let name = |index| new.node(index).map_or_else(String::new, |node| node.address.to_string());
    let was_replica = |index| old.node(index).is_some_and(|node| node.role == Role::Replica);
    let mut events: Vec<Event> = moves
        .into_iter()
        .map(|((from, to), slots)| match to {
            Some(to) if was_replica(to) || now.kind == UpstreamKind::Single => {
                let text = format!("it has taken the place of {}", name(from));
                Event::new(EventKind::Failover, name(to), text)
            }
            Some(to) => {
                let text = format!("slots have come from {}", name(from));
                Event::new(EventKind::SlotsMoved, name(to), text).of(slots)
            }
            None => {
                let text = "slots have no master any more";
                Event::new(EventKind::SlotsMoved, name(from), text).of(slots)
            }
        })
        .collect();
    if rest > 0 {
        let text = "slots have moved between other masters";
        events.push(Event::new(EventKind::SlotsMoved, "cluster", text).of(rest));
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::ClusterId;
    use crate::shared::topology::{Address, Node, Shard};

    /// Nodes `h:1`, `h:2`, ... of which the first has the slots up to `boundary` and `second` has the rest.
    fn topology(version: u64, roles: &[Role], boundary: u16, second: u16) -> Topology {
        let node = |(position, role): (usize, &Role)| {
            Arc::new(Node {
                cluster: ClusterId::DEFAULT,
                address: Address::new("h", position as u16 + 1),
                id: String::new(),
                role: *role,
                present: true,
                healthy: true,
            })
        };
        let nodes = roles.iter().enumerate().map(node).collect();
        let shard =
            |index, range| Shard { master: NodeIndex(index), ranges: vec![range], replicas: Vec::new() };
        let shards = [shard(0, (0, boundary)), shard(second, (boundary + 1, SLOTS - 1))];
        Topology::new(version, UpstreamKind::Cluster, nodes, &shards)
    }

    fn told(old: &Topology, new: &Topology) -> Vec<String> {
        let events = moves(old, new, old.cluster(ClusterId::DEFAULT), new.cluster(ClusterId::DEFAULT));
        let line =
            |event: Event| format!("{} {} {} x{}", event.kind, event.subject, event.text, event.stamp.times);
        events.into_iter().map(line).collect()
    }

    #[test]
    fn a_slot_that_moves_is_no_failover() {
        use Role::{Master, Replica};
        let base = topology(1, &[Master, Master, Replica], 99, 1);
        assert!(
            told(&Topology::unknown(), &base).is_empty(),
            "what is known for the first time has not moved"
        );
        let moved = topology(2, &[Master, Master, Replica], 89, 1);
        assert_eq!(told(&base, &moved), ["slots_moved h:2 slots have come from h:1 x10"]);
        let replaced = topology(2, &[Master, Replica, Master], 99, 2);
        assert_eq!(told(&base, &replaced), ["failover h:3 it has taken the place of h:2 x1"]);
    }

    #[test]
    fn a_node_is_told_of_when_it_changes_and_not_while_it_stays_as_it_is() {
        let node = |place, up| NodeView { node: format!("h:{place}"), place, up, ..NodeView::default() };
        let mut watch = Watch { topology: Arc::new(Topology::unknown()), nodes: None, refused: None };
        let mut look = |nodes: &[NodeView]| {
            let mut events = Vec::new();
            watch.nodes(nodes, &mut events);
            let line = |event: Event| format!("{} {} {}", event.kind, event.subject, event.text);
            events.into_iter().map(line).collect::<Vec<_>>()
        };
        let silent = NodeView { silent_ms: SILENT_MS, ..node(2, true) };
        assert!(
            look(&[node(1, false), node(2, true)]).is_empty(),
            "the first look has nothing to compare with"
        );
        assert_eq!(
            look(&[node(1, true), silent.clone()]),
            ["node_up h:1 it answers again", "node_down h:2 it does not answer"]
        );
        assert!(look(&[node(1, true), silent]).is_empty());
        assert_eq!(
            look(&[node(2, true), node(3, true)]),
            [
                "node_up h:2 it answers again",
                "node_up h:3 it is new in its cluster",
                "node_down h:1 it has left its cluster"
            ]
        );
    }
}
