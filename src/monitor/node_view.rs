//! Upstream nodes as operators see them: what the workers counted of each, joined with what it says when it is asked.
//!
//! Deliberately judges nothing; `status` does.

use std::collections::BTreeMap;

use serde::Serialize;
use tokio::time::Instant;

use super::merged::Merged;
use super::window::Window;
use crate::route::Routes;
use crate::shared::labels::{NodeRefusal, NodeState};
use crate::shared::probes::{NodeProbe, Rows};
use crate::shared::tallies::NodeTally;
use crate::shared::topology::{ClusterMap, Node, NodeIndex, Role, Topology};

/// One upstream node.
#[derive(Clone, Debug, Default, Serialize)]
pub struct NodeView {
    /// `host:port`.
    pub node: String,
    /// The cluster that it belongs to.
    pub cluster: String,
    /// `master` or `replica`.
    pub role: &'static str,
    /// Reachable as far as the cluster and the workers know.
    pub up: bool,
    /// The worst state of a worker's connection: `idle`, `up`, `connecting`, `down`.
    pub state: &'static str,
    /// Slots that it owns.
    pub slots: u32,
    /// Keys that it holds in database 0; `None` of a replica, and where that is not known.
    pub keys: Option<u64>,
    /// Requests written per second.
    pub requests_per_s: f64,
    /// Its part of all requests written, 0 to 1.
    pub share: f64,
    /// Errors and losses per second.
    pub errors_per_s: f64,
    /// What its latest error reply said, up to what may name data; its first word only where names of keys are hashed. Empty where there
    /// was none.
    pub last_error: String,
    /// Error replies per second about a state of the server, by the reply's first word; only words that occurred.
    pub refusals_per_s: BTreeMap<&'static str, f64>,
    /// Requests since the start.
    pub requests: u64,
    /// Errors since the start.
    pub errors: u64,
    /// Bytes to and from it per second.
    pub bytes_per_s: f64,
    /// How long it has left requests of clients, or questions of the gateway's own, unanswered without sending anything, in
    /// milliseconds; 0 while it answers.
    pub silent_ms: u64,
    /// How long it has held a request back by its own account, in milliseconds; 0 while it holds none.
    pub held_ms: u64,
    /// How much longer than alone requests take because a queue stands at it, in microseconds; 0 without one.
    pub queue_us: u64,
    /// Requests that it has to answer, those apart that may block.
    pub waiting: u64,
    /// Requests not yet replied to.
    pub inflight: u64,
    /// Their bound; 0 when there is none.
    pub inflight_max: u64,
    /// Connections established again after a loss.
    pub reconnects: u64,
    /// Median reply time, rounded up to a power of two, in microseconds.
    pub p50_us: u64,
    /// All but one reply in a hundred took at most this.
    pub p99_us: u64,
    /// What it says when the control thread asks it.
    pub probe: ProbeView,
    /// Of a replica: its master; otherwise empty.
    pub master: String,
    /// Of a master: how many replicas it is known to have, and how many of them are up.
    pub replicas: u32,
    /// As above.
    pub replicas_up: u32,
    /// Of a master: nobody could take its slots over, although its cluster has, or has had, replicas.
    pub lost_replicas: bool,
    /// Its place among the node indexes. Not in the JSON.
    #[serde(skip)]
    pub place: usize,
}

/// What a node says when it is asked, although no client asks it for anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProbeView {
    /// Only the gateway's own questions are unanswered: no client's request waits.
    pub only_probed: bool,
    /// It lives, and holds every command back (`CLIENT PAUSE`).
    pub paused: bool,
    /// Why there is no connection to it, as a clause; empty while there is one.
    pub unreachable: String,
    /// Why it takes no new connection, as a clause; empty while it does.
    pub turns_away: String,
    /// Why its name has no address, as a clause; empty while it has one.
    pub unresolved: String,
    /// The first word of the error with which it refuses whatever it is asked, in lower case; empty while it does not.
    pub refuses: &'static str,
    /// Clients that it has; 0 where that is not known.
    pub clients: u64,
    /// How many it may have; 0 where that is not known.
    pub clients_max: u64,
    /// Of a replica: it is not connected to its master, or has not all of its data.
    pub unlinked: bool,
    /// Another server has its address now.
    pub stranger: bool,
}

impl ProbeView {
    fn of(probe: &NodeProbe, is_asked_by_clients: bool) -> Self {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (clients, clients_max) = probe.clients.unwrap_or_default();
        Self {
            only_probed: probe.unanswered_since.is_some() && !is_asked_by_clients,
            paused: probe.is_paused,
            unreachable: text(&probe.unreachable),
            turns_away: text(&probe.turns_away),
            unresolved: text(&probe.unresolved),
            refuses: probe.refusal.map_or("", NodeRefusal::label),
            clients,
            clients_max,
            unlinked: probe.is_linked == Some(false),
            stranger: probe.stranger_id.is_some(),
        }
    }
}

/// What the nodes are seen through.
pub struct NodeInput<'a> {
    /// The last second.
    pub window: &'a Window<'a>,
    /// The time over which refusals are told.
    pub refusals: &'a Window<'a>,
    /// The tallies now.
    pub merged: &'a Merged,
    /// Who holds which slots.
    pub topology: &'a Topology,
    /// The clusters by name.
    pub routes: &'a Routes,
    /// What the nodes said.
    pub probes: &'a Rows,
    /// When that was looked at.
    pub now: Instant,
}

/// The present nodes with their load: the masters before the replicas, each in the order of node indexes.
pub fn nodes(input: &NodeInput<'_>) -> Vec<NodeView> {
    let nothing = NodeTally::default();
    let (merged, base) = (input.merged, input.window.base);
    let all_per_s: f64 = (0..merged.all.nodes.len())
        .map(|place| {
            let base = base.all.nodes.get(place).unwrap_or(&nothing);
            input.window.rate(merged.all.nodes[place].requests, base.requests)
        })
        .sum();
    let present = input.topology.nodes.iter().enumerate().filter(|(_, node)| node.present);
    let mut views: Vec<NodeView> = present.map(|(place, node)| input.node(place, node, all_per_s)).collect();
    for master in input.topology.clusters().iter().flat_map(|map| &map.masters) {
        input.join_shard(*master, &mut views);
    }
    // The sort is stable.
    views.sort_by_key(|view| view.role != "master");
    views
}

impl NodeInput<'_> {
    fn node(&self, place: usize, node: &Node, all_per_s: f64) -> NodeView {
        let at = |merged: &Merged, place: usize| merged.all.nodes.get(place).cloned().unwrap_or_default();
        let (tally, base) = (at(self.merged, place), at(self.window.base, place));
        let refused = at(self.refusals.base, place).refusals;
        let replies = tally.reply_us.since(&base.reply_us);
        let requests_per_s = self.window.rate(tally.requests, base.requests);
        let bytes = |tally: &NodeTally| tally.bytes_in + tally.bytes_out;
        let unknown = NodeProbe::default();
        let heard = self.probes.get(&(node.cluster, node.address.clone()));
        let probe = heard.unwrap_or(&unknown);
        let refusal_per_s = |refusal: &NodeRefusal| {
            let (now, then) = (tally.refusals[refusal.index()], refused[refusal.index()]);
            (refusal.label(), self.refusals.rate(now, then))
        };
        NodeView {
            node: node.address.to_string(),
            cluster: self.routes.name_of(node.cluster).to_owned(),
            role: match node.role {
                Role::Master => "master",
                Role::Replica => "replica",
            },
            up: is_up(node, tally.state, heard),
            state: tally.state.label(),
            slots: slots_of(place, self.topology.cluster(node.cluster)),
            keys: probe.keys.filter(|_| probe.answers()),
            requests_per_s,
            share: if all_per_s > 0.0 { requests_per_s / all_per_s } else { 0.0 },
            errors_per_s: self.window.rate(tally.errors, base.errors),
            last_error: tally.last_error.text().to_owned(),
            refusals_per_s: NodeRefusal::ALL
                .iter()
                .map(refusal_per_s)
                .filter(|(_, rate)| *rate > 0.0)
                .collect(),
            requests: tally.requests,
            errors: tally.errors,
            bytes_per_s: self.window.rate(bytes(&tally), bytes(&base)),
            silent_ms: tally.silent_ms.max(probe.unanswered_ms(self.now)),
            held_ms: tally.held_ms,
            queue_us: tally.queue_us,
            waiting: tally.waiting,
            inflight: tally.inflight,
            inflight_max: tally.inflight_max,
            reconnects: tally.reconnects,
            p50_us: replies.quantile(0.5),
            p99_us: replies.quantile(0.99),
            probe: ProbeView::of(probe, tally.silent_ms > 0 || tally.waiting > 0),
            place,
            ..NodeView::default()
        }
    }

    /// Tells a master of its replicas, and them of it.
    fn join_shard(&self, master: NodeIndex, views: &mut [NodeView]) {
        let replicas: Vec<usize> =
            self.topology.replicas_of(master).iter().map(|replica| replica.position()).collect();
        let Some(name) = self.topology.node(master).map(|node| node.address.to_string()) else { return };
        let mut up = 0;
        for view in views.iter_mut().filter(|view| replicas.contains(&view.place)) {
            view.master.clone_from(&name);
            up += u32::from(view.up);
        }
        if let Some(view) = views.iter_mut().find(|view| view.place == master.position()) {
            (view.replicas, view.replicas_up) = (replicas.len() as u32, up);
        }
    }
}

/// What workers are connected to is up, even if the control thread can't connect any more. A replica that answers and has its master's data is up
/// whatever others say of it.
fn is_up(node: &Node, state: NodeState, heard: Option<&NodeProbe>) -> bool {
    let serves_workers = state == NodeState::Up;
    let answers = heard.is_some_and(NodeProbe::answers);
    if node.role == Role::Replica && answers {
        return heard.and_then(|probe| probe.is_linked).unwrap_or(node.healthy);
    }
    let is_gone = heard.is_some_and(|probe| probe.unreachable.is_some());
    (node.healthy && !is_gone || serves_workers) && state != NodeState::Down
}

fn slots_of(place: usize, map: &ClusterMap) -> u32 {
    let own = map.ranges().filter(|(_, _, master)| master.position() == place);
    own.map(|(start, end, _)| u32::from(end) - u32::from(start) + 1).sum()
}
