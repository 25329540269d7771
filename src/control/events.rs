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
