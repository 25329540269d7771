//! Rounds over many things, a part at a time: what is kept house of may be many, and one turn of the worker may not take long.
//!
//! A round visits each thing once. As long as there are no more of them than a part has, every part is a whole round.

use std::time::Duration;

use super::arena::Arena;
use super::client::{Client, Linger, Phase};
use super::core::Core;
use super::owners::Worker;
use super::upstream::{Phase as UpstreamPhase, Role, Upstream};
use crate::shared::labels::{CloseReason, NodeState, RequestClass};
use crate::shared::topology::NodeIndex;

/// Things visited in one part: about 0.1 ms for clients whose memory is not in the processor's caches. A worker with 10,000
/// clients has been round in a second, which is how late an idle one may be closed.
const PART: usize = 1024;

/// Where a round stands.
#[derive(Debug, Default)]
pub struct Round {
    next: usize,
}

impl Round {
    /// Visits the next part. Says whether the round is over.
    pub fn visit<T>(&mut self, arena: &mut Arena<T>, mut act: impl FnMut(&mut T)) -> bool {
        let places = arena.places();
        let end = self.next.saturating_add(PART).min(places);
        for place in self.next.min(end)..end {
            if let Some(thing) = arena.at(place) {
                act(thing);
            }
        }
        let over = end == places;
        self.next = if over { 0 } else { end };
        over
    }
}

/// The rounds of a worker, and what they have measured so far.
#[derive(Debug, Default)]
pub struct Rounds {
    clients: Round,
    client_levels: ClientLevels,
    upstreams: Round,
    /// By node.
    node_levels: Vec<NodeLevels>,
    /// By node, since when it leaves requests unanswered, if it does.
    silent_since_ns: Vec<Option<u64>>,
}

#[derive(Debug, Default)]
struct ClientLevels {
    blocked: u64,
    subscribed: u64,
    buffered_in_bytes: u64,
    buffered_out_bytes: u64,
}

#[derive(Clone, Debug, Default)]
struct NodeLevels {
    up: bool,
    connections: u64,
    inflight: u64,
    buffered_bytes: u64,
    waiting: u64,
    /// When something came from it last.
    heard_ns: u64,
    /// Since when the request that waits longest has, if one does.
    asked_ns: Option<u64>,
    /// When the oldest of the requests was sent that the node holds back by its own account, if it holds one.
    held_since_ns: Option<u64>,
}

impl NodeLevels {
    fn add(&mut self, upstream: &Upstream) {
        // A hung server takes connections as well, and these ask before they log in.
        if upstream.role() == Role::OutOfBand {
            return;
        }
        self.up |= upstream.stream.is_some();
        self.connections += 1;
        self.inflight += upstream.wire.inflight() as u64;
        self.buffered_bytes += upstream.wire.inflight_bytes() as u64;
        // Of one that is not open it tells only when the last attempt began.
        let heard_ns = if upstream.phase() == UpstreamPhase::Ready { upstream.alive_ns } else { 0 };
        self.heard_ns = self.heard_ns.max(heard_ns);
        let listens = matches!(upstream.role(), Role::Subscriber(_) | Role::Monitor(_));
        let front = upstream.wire.front().filter(|front| front.class != RequestClass::Blocking);
        if let Some(front) = front.filter(|_| !listens) {
            self.waiting += upstream.wire.inflight() as u64;
            if upstream.held {
                let sent_ns = front.sent_ns;
                self.held_since_ns =
                    Some(self.held_since_ns.map_or(sent_ns, |sooner_ns| sooner_ns.min(sent_ns)));
            }
            let asked_ns = front.sent_ns.max(heard_ns);
            self.asked_ns = Some(self.asked_ns.map_or(asked_ns, |sooner_ns| sooner_ns.min(asked_ns)));
        }
    }

    /// Since when the node leaves requests unanswered, given what was said of it before. It stays silent until
    /// something comes from it again, also when nobody asks any more.
    fn silent_since_ns(&self, former_ns: Option<u64>) -> Option<u64> {
        let still_ns = former_ns.filter(|former_ns| self.heard_ns <= *former_ns);
        match self.asked_ns {
            None => still_ns.filter(|_| self.connections > 0),
            Some(asked_ns) => Some(still_ns.map_or(asked_ns, |still_ns| still_ns.min(asked_ns))),
        }
    }
}

impl Worker {
    /// Ends clients whose time is over, and measures.
    pub(super) fn visit_clients(&mut self) {
        let nanoseconds = |timeout: Duration| timeout.as_nanos() as u64;
        let patience = Patience {
            idle_ns: self.core.config.limits.idle_timeout.map(nanoseconds),
            login_ns: self.core.config.auth.login_timeout.map(nanoseconds),
        };
        let (now_ns, draining) = (self.core.now_ns, self.core.draining);
        let stall_timeout = self.core.config.limits.output_stall_timeout;
        let mut stalled = Vec::new();
        let levels = &mut self.rounds.client_levels;
        let over = self.rounds.clients.visit(&mut self.clients.all, |client| {
            levels.blocked += u64::from(client.session.blocking.is_some());
            levels.subscribed += u64::from(client.session.subscriptions.is_some());
            let kept = client.inbox.as_ref().map_or(0, |inbox| inbox.intake.partial.len());
            levels.buffered_in_bytes += kept as u64;
            levels.buffered_out_bytes += (client.output.len() + client.replies.held_bytes()) as u64;
            client.give_back();
            end_if_overdue(client, now_ns, &patience, draining);
            if client.stall.is_due(now_ns, stall_timeout) {
                stalled.push(client.key);
            }
        });
        let tally = &mut self.core.tallies.clients;
        tally.current = self.clients.all.len() as u64;
        tally.buffered_bytes_max = tally.current * self.core.config.limits.client_output_buffer_max as u64;
        if over {
            let levels = std::mem::take(levels);
            (tally.blocked, tally.subscribed) = (levels.blocked, levels.subscribed);
            tally.buffered_in_bytes = levels.buffered_in_bytes;
            tally.buffered_out_bytes = levels.buffered_out_bytes;
        }
        stalled.into_iter().for_each(|key| self.clients.press_on(&mut self.core, key));
    }

    /// Looks after connections on which something is waited for, and measures.
    pub(super) fn visit_upstreams(&mut self) {
        let now_ns = self.core.now_ns;
        let topology = &self.core.snapshots.topology;
        let mut silent = Vec::new();
        let levels = &mut self.rounds.node_levels;
        let over = self.rounds.upstreams.visit(&mut self.upstreams.connections, |upstream| {
            let node = upstream.node.position();
            if levels.len() <= node {
                levels.resize_with(node + 1, NodeLevels::default);
            }
            levels[node].add(upstream);
            upstream.wire.give_back();
            if upstream.is_silent(now_ns, topology) {
                silent.push(upstream.key);
            }
        });
        let levels = if over { std::mem::take(levels) } else { Vec::new() };
        self.upstreams.look_after_silent(&mut self.core, &silent);
        self.sender().follow_held();
        if !over {
            return;
        }
        for (node, level) in levels.iter().enumerate().filter(|(_, level)| level.connections > 0) {
            let tally = self.core.tallies.node(node);
            if level.up {
                tally.state = NodeState::Up;
            }
        }
        let Core { config, snapshots, tallies, .. } = &mut self.core;
        for (node, tally) in tallies.nodes.iter_mut().enumerate() {
            let level = levels.get(node).cloned().unwrap_or_default();
            tally.inflight = level.inflight;
            let settings = config.upstream_of(snapshots.cluster_of_node(NodeIndex(node as u16)));
            tally.inflight_max = level.connections * settings.inflight_max as u64;
            tally.buffered_bytes = level.buffered_bytes;
            tally.waiting = level.waiting;
            tally.held_ms =
                level.held_since_ns.map_or(0, |since_ns| now_ns.saturating_sub(since_ns) / 1_000_000);
            if self.rounds.silent_since_ns.len() <= node {
                self.rounds.silent_since_ns.resize(node + 1, None);
            }
            let since_ns = &mut self.rounds.silent_since_ns[node];
            *since_ns = level.silent_since_ns(*since_ns);
            tally.silent_ms = since_ns.map_or(0, |since_ns| now_ns.saturating_sub(since_ns) / 1_000_000);
        }
    }
}

/// How long a client may take.
struct Patience {
    /// To say anything again.
    idle_ns: Option<u64>,
    /// To log in, where that is asked for.
    login_ns: Option<u64>,
}

fn end_if_overdue(client: &mut Client, now_ns: u64, patience: &Patience, draining: bool) {
    let is_over = |limit_ns: Option<u64>, since_ns: u64| {
        limit_ns.is_some_and(|limit_ns| now_ns.saturating_sub(since_ns) > limit_ns)
    };
    let idle = is_over(patience.idle_ns, client.active_ns);
    let knocks = !client.session.authenticated && is_over(patience.login_ns, client.connected_ns);
    match client.phase {
        Phase::Open if knocks => client.phase = Phase::Finishing(CloseReason::Login),
        Phase::Open
            if idle
                && client.replies.is_empty()
                && client.output.is_empty()
                && !client.paused
                && !client.session.waits_on_server()
                && !client.stream.has_arrived() =>
        {
            client.phase = Phase::Finishing(CloseReason::Idle);
        }
        Phase::Lingering(reason, Linger::Until(until_ns)) if now_ns >= until_ns => {
            client.phase = match client.stream.has_arrived() {
                true => Phase::Lingering(reason, Linger::OnceMore),
                false => Phase::Dead(reason),
            }
        }
        Phase::Lingering(reason, Linger::OnceMore) => client.phase = Phase::Dead(reason),
        // Half a reply of `EXEC` would be none.
        Phase::Open if draining && client.session.transaction.replying().is_none() => {
            client.phase = Phase::Finishing(CloseReason::Drain);
        }
        _ => return,
    }
    client.wake();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_visits_each_once_and_a_small_one_is_over_at_once() {
        let check = |things: usize, parts: usize| {
            let mut arena = Arena::default();
            for _ in 0..things {
                arena.insert(|_| 0);
            }
            let mut round = Round::default();
            for visits in 1..=3 {
                let taken = (1..).find(|_| round.visit(&mut arena, |visited| *visited += 1));
                assert_eq!(taken, Some(parts), "{things}");
                assert!(arena.iter().all(|visited| *visited == visits), "{things}");
            }
        };
        check(0, 1);
        check(1, 1);
        check(PART, 1);
        check(PART + 1, 2);
        check(3 * PART, 3);
    }
}
