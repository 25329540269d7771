//! Whether a node lives while connections to it are silent: what it is asked out of band, and what follows.
//!
//! A connection is silent because its node hangs or the way to it is cut, and then it is given up after
//! `upstream.request_timeout`. Or it is silent because the node holds its command back: a script keeps the node busy, writes
//! are paused (`CLIENT PAUSE`, a planned failover), a module works in a thread of its own. Then nothing is lost, and the
//! command is answered when its time comes, however late.
//!
//! To tell one from the other the node is asked on a connection of its own, which is opened at the first silence and
//! carries two questions, at most once per slice:
//!
//! - `ECHO` without its argument. A server refuses that before it looks at log-in, pauses and scripts, so any reply to it says
//!   that the process serves its sockets. It is called the pulse.
//! - `CLIENT LIST ID ...` of the silent connections. Flag `b` says that the node holds the command of one. `BUSY` says that a
//!   script runs. No reply though there is a pulse says that everything is paused. A server that has not the command (before
//!   6.2), or does not let the gateway's user run it, leaves it open, and then the time limit holds.
//!
//! What follows from it: a held connection does not age, reads on it that wait for nobody's write of their own client go again
//! on another one ([`super::parallel`]), and a node that has no pulse and is not the master any more is given up at once.

use smallvec::SmallVec;

use super::log_in::log_ins;
use super::{Phase, Role, Upstream, Upstreams};
use crate::limits::{SLICE, UPSTREAM_CONNECTIONS_ASKED_MAX};
use crate::net::Stream;
use crate::resp::{self, RespVersion, encode};
use crate::shared::labels::RequestClass;
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::{NodeIndex, Topology};
use crate::worker::core::Core;
use crate::worker::names::UpstreamKey;
use crate::worker::pending::{Origin, Pending, Route};
use crate::worker::selection::Selection;

/// Silence after which a node is asked. Commands that take as long are rare, and a question costs one small request.
const ASK_AFTER_NS: u64 = SLICE.as_nanos() as u64;

/// Time without an answer after which the node counts as hung: the topology is looked at, and what its slots' new master can
/// do is not waited for.
const HUNG_NS: u64 = 2 * SLICE.as_nanos() as u64;

/// A connection for questions that ended is not opened again for this long.
const REOPEN_NS: u64 = 2 * SLICE.as_nanos() as u64;

/// While everything is paused each pulse needs a new connection: the last one is paused as well.
const RENEW_NS: u64 = 10 * SLICE.as_nanos() as u64;

/// A connection for questions that had none for this long is closed.
const IDLE_NS: u64 = 60_000_000_000;

/// `ECHO` without its argument.
const PULSE: &[u8] = b"*1\r\n$4\r\nECHO\r\n";

/// What a node is asked out of band.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// Whether the process serves its sockets.
    Pulse,
    /// Which connections it holds back.
    Held,
}

/// What is known of one node.
#[derive(Clone, Debug, Default)]
struct NodeVitals {
    /// Where it is asked.
    connection: Option<UpstreamKey>,
    /// When that was opened.
    opened_ns: u64,
    /// When the oldest pulse that was not answered was asked for, if there is one.
    asked_ns: Option<u64>,
    /// When the last pulse came.
    pulse_ns: u64,
    /// When the last `CLIENT LIST` that was not answered went out, if there is one.
    listed_ns: Option<u64>,
    /// The connections which that is about.
    silent: Vec<UpstreamKey>,
    /// When it was last seen that everything is paused.
    all_paused_ns: Option<u64>,
}

/// What is known of all nodes.
#[derive(Debug, Default)]
pub struct Vitals {
    /// By index.
    nodes: Vec<NodeVitals>,
    /// Connections of which the node holds back a command.
    pub held: Vec<UpstreamKey>,
}

impl Vitals {
    fn of(&mut self, node: NodeIndex) -> &mut NodeVitals {
        let place = node.position();
        if place >= self.nodes.len() {
            self.nodes.resize(place + 1, NodeVitals::default());
        }
        &mut self.nodes[place]
    }

    /// The connection for questions to `node` has ended.
    pub fn ended(&mut self, node: NodeIndex, key: UpstreamKey) {
        let vitals = self.of(node);
        if vitals.connection == Some(key) {
            (vitals.connection, vitals.asked_ns, vitals.listed_ns) = (None, None, None);
        }
    }

    /// Everything at `node` was paused a moment ago, so that a log-in takes as long as the pause.
    pub fn is_all_paused(&self, node: NodeIndex, now_ns: u64) -> bool {
        let paused_ns = self.nodes.get(node.position()).and_then(|vitals| vitals.all_paused_ns);
        paused_ns.is_some_and(|paused_ns| now_ns.saturating_sub(paused_ns) <= 2 * RENEW_NS)
    }
}

impl Upstream {
    /// For how long something has been waited for here in vain, in nanoseconds; `None` when nothing is.
    fn silent_ns(&self, now_ns: u64) -> Option<u64> {
        let front = self.wire.front()?;
        match self.phase {
            Phase::Ready => Some(now_ns.saturating_sub(front.sent_ns.max(self.alive_ns))),
            Phase::Connecting => Some(now_ns.saturating_sub(self.alive_ns)),
            Phase::Waiting(_) => None,
        }
    }

    /// Whether something has been waited for here so long that the node is asked about it; or, on a connection that only
    /// listens, whether its node is none of the `masters` any more.
    pub fn is_silent(&mut self, now_ns: u64, topology: &Topology) -> bool {
        if self.role == Role::OutOfBand && now_ns.saturating_sub(self.active_ns) > IDLE_NS {
            self.close();
        }
        let listens = matches!(self.role, Role::Subscriber(_) | Role::Monitor(_)) && self.stream.is_some();
        self.silent_ns(now_ns).is_some_and(|silent_ns| silent_ns >= ASK_AFTER_NS)
            || (listens && !topology.is_master(self.node))
    }

    /// The id by which the node is asked whether it holds back the command here.
    fn listed_id(&self) -> Option<u64> {
        self.server_id.filter(|_| self.stream.is_some() && !self.waits_by_right())
    }

    /// It waits for something that may come at any time or never. A subscription is confirmed at once.
    fn waits_by_right(&self) -> bool {
        matches!(self.role, Role::Monitor(_))
            || self.wire.front().is_some_and(|front| front.class == RequestClass::Blocking)
    }
}

impl Upstreams {
    fn put_question(&mut self, core: &mut Core, connection: UpstreamKey, question: Question, bytes: &[u8]) {
        let pending = Pending::probe(question, core.now_ns);
        self.send_question(core, connection, pending, bytes);
    }

    /// The connection for questions to a node and for what must not wait behind anything there, made if there is none.
    fn out_of_band(&mut self, core: &mut Core, node: NodeIndex) -> Option<UpstreamKey> {
        let known = self.vitals.of(node).connection;
        if let Some(key) = known.filter(|key| self.connections.get(*key).is_some_and(|known| !known.closing))
        {
            return Some(key);
        }
        let now_ns = core.now_ns;
        let key = self.open_connection(
            core,
            node,
            Role::OutOfBand,
            Selection::of_version(RespVersion::Resp2),
            None,
        );
        // The pulse comes first: a server that pauses everything does not answer a log-in.
        self.put_question(core, key, Question::Pulse, PULSE);
        let config = std::sync::Arc::clone(&core.config);
        let settings = config.upstream_of(core.snapshots.cluster_of_node(node));
        for words in log_ins(settings) {
            self.send_unheard(core, key, &words);
        }
        self.send_unheard(core, key, &[b"CLIENT", b"SETNAME", super::greeting::CONNECTION_NAME]);
        let vitals = self.vitals.of(node);
        (vitals.connection, vitals.opened_ns) = (Some(key), now_ns);
        (vitals.asked_ns, vitals.listed_ns) = (Some(now_ns), None);
        Some(key)
    }

    /// Sends a command that must not wait behind anything at its node, such as `SCRIPT KILL`. `false` when too many of them do.
    pub fn send_out_of_band(
        &mut self,
        core: &mut Core,
        node: NodeIndex,
        origin: Origin,
        bytes: &[u8],
    ) -> bool {
        let now_ns = core.now_ns;
        let pending = Pending::out_of_band(origin, now_ns);
        let Some(connection) = self.out_of_band(core, node) else { return false };
        let Some(room) = self.room(core, connection) else { return false };
        if let Some(upstream) = self.connections.get_mut(connection) {
            upstream.active_ns = now_ns;
        }
        self.send(room, pending, &[bytes]);
        true
    }
}

impl Upstreams {
    /// Asks the nodes of connections that are silent, and gives up what is overdue. Once per slice,
    /// with connections that [`Upstream::is_silent`] names.
    pub fn look_after_silent(&mut self, core: &mut Core, silent: &[UpstreamKey]) {
        let mut nodes: SmallVec<[(NodeIndex, Vec<UpstreamKey>); 4]> = SmallVec::new();
        for key in silent {
            let Some(upstream) =
                self.connections.get(*key).filter(|upstream| upstream.role != Role::OutOfBand)
            else {
                continue;
            };
            match nodes.iter_mut().find(|(node, _)| *node == upstream.node) {
                Some((_, keys)) => keys.push(*key),
                None => nodes.push((upstream.node, vec![*key])),
            }
        }
        for (node, keys) in nodes {
            self.renew_paused(core, node, &keys);
            self.ask_node(core, node, keys);
        }
        for key in silent {
            self.judge_silent(core, *key);
        }
    }

    /// Asks a node about its silent connections, unless it has not answered the last question.
    fn ask_node(&mut self, core: &mut Core, node: NodeIndex, silent: Vec<UpstreamKey>) {
        let now_ns = core.now_ns;
        let vitals = self.vitals.of(node);
        let backs_off = vitals.connection.is_none() && now_ns.saturating_sub(vitals.opened_ns) < REOPEN_NS;
        if backs_off || vitals.asked_ns.is_some() || vitals.listed_ns.is_some() {
            return;
        }
        let Some(connection) = self.out_of_band(core, node) else { return };
        // A new connection has taken its pulse before its log-in.
        if self.vitals.of(node).asked_ns.is_none() {
            self.put_question(core, connection, Question::Pulse, PULSE);
            self.vitals.of(node).asked_ns = Some(now_ns);
        }
        let listed = silent.iter().filter_map(|key| self.connections.get(*key)?.listed_id());
        let mut ids: Vec<String> =
            listed.take(UPSTREAM_CONNECTIONS_ASKED_MAX).map(|id| id.to_string()).collect();
        // Without an id to ask for, the reply still says whether a script runs or everything is paused.
        if ids.is_empty() {
            ids.push("0".to_owned());
        }
        let mut words: Vec<&[u8]> = vec![b"CLIENT", b"LIST", b"ID"];
        words.extend(ids.iter().map(|id| id.as_bytes()));
        let mut list = Vec::new();
        encode::command(&mut list, &words);
        self.put_question(core, connection, Question::Held, &list);
        let vitals = self.vitals.of(node);
        (vitals.listed_ns, vitals.silent) = (Some(now_ns), silent);
    }

    /// Takes the answer to a question.
    pub fn settle_probe(&mut self, core: &Core, key: UpstreamKey, question: Question, reply: &[u8]) {
        let now_ns = core.now_ns;
        let Some(node) = self.connections.get(key).map(|upstream| upstream.node) else { return };
        let vitals = self.vitals.of(node);
        if vitals.connection != Some(key) {
            return;
        }
        match question {
            Question::Pulse => (vitals.asked_ns, vitals.pulse_ns) = (None, now_ns),
            Question::Held => {
                vitals.listed_ns = None;
                let busy = reply.starts_with(b"-BUSY ");
                let held = held_ids(reply);
                self.note_held(core, node, |upstream| {
                    busy || upstream.server_id.is_some_and(|id| held.contains(&id))
                });
            }
        }
    }

    /// The node holds back the commands of those of the connections it was asked about of which `holds` says so.
    fn note_held(&mut self, core: &Core, node: NodeIndex, holds: impl Fn(&Upstream) -> bool) {
        let now_ns = core.now_ns;
        for key in std::mem::take(&mut self.vitals.of(node).silent) {
            let Some(upstream) = self.connections.get_mut(key) else { continue };
            let silent = upstream.silent_ns(now_ns).is_some_and(|silent_ns| silent_ns >= ASK_AFTER_NS);
            if !silent || upstream.stream.is_none() || !holds(upstream) {
                continue;
            }
            upstream.alive_ns = now_ns;
            if !std::mem::replace(&mut upstream.held, true) {
                self.vitals.held.push(key);
            }
        }
    }

    /// A node that has a pulse and does not answer anything else pauses everything. Its silent connections do not age, and it is
    /// asked on a new connection, since the last one is paused as well.
    fn renew_paused(&mut self, core: &Core, node: NodeIndex, silent: &[UpstreamKey]) {
        let now_ns = core.now_ns;
        let vitals = self.vitals.of(node);
        let Some(listed_ns) = vitals.listed_ns else { return };
        let waits_ns = now_ns.saturating_sub(listed_ns);
        if waits_ns < HUNG_NS || vitals.pulse_ns < listed_ns || vitals.asked_ns.is_some() {
            return;
        }
        vitals.all_paused_ns = Some(vitals.pulse_ns);
        let (pulse_ns, connection) = (vitals.pulse_ns, vitals.connection);
        for key in silent {
            if let Some(upstream) = self.connections.get_mut(*key) {
                upstream.alive_ns = upstream.alive_ns.max(pulse_ns);
            }
        }
        let renew_ns = RENEW_NS.min(
            core.upstream_of(core.snapshots.cluster_of_node(node)).request_timeout.as_nanos() as u64 / 2,
        );
        if waits_ns >= renew_ns
            && let Some(key) = connection
        {
            self.vitals.ended(node, key);
            if let Some(upstream) = self.connections.get_mut(key) {
                upstream.close();
            }
        }
    }

    /// Gives up a silent connection whose time is over, or whose hung node is not the master any more.
    fn judge_silent(&mut self, core: &Core, key: UpstreamKey) {
        let now_ns = core.now_ns;
        let Some(upstream) = self.connections.get(key) else { return };
        let node = upstream.node;
        let asked_ns = self.vitals.of(node).asked_ns;
        let hung_ns = asked_ns.map_or(0, |asked_ns| now_ns.saturating_sub(asked_ns));
        if hung_ns >= HUNG_NS
            && upstream.role != Role::OutOfBand
            && let Some(node) = core.snapshots.topology.node(node)
        {
            core.refresh(node.cluster, RefreshReason::ConnectionFailed(node.address.clone()));
        }
        let Some(upstream) = self.connections.get(key).filter(|upstream| upstream.stream.is_some()) else {
            return;
        };
        let limit_ns = core.upstream_of(upstream.cluster).request_timeout.as_nanos() as u64;
        let waits_ns = match upstream.role {
            Role::Confirming(wait) => wait.timeout_ms.saturating_mul(1_000_000),
            _ => 0,
        };
        // A tenth more: a script that is called busy just when the time is over has been noticed by then.
        let limit_ns = limit_ns.saturating_add(limit_ns / 10).saturating_add(waits_ns);
        let silent_ns = upstream.silent_ns(now_ns).unwrap_or(0);
        let overdue = silent_ns > limit_ns && !upstream.waits_by_right();
        let replaced = hung_ns >= HUNG_NS && self.is_replaced(core, upstream);
        let why = match (overdue, replaced) {
            (true, _) => "no answer within upstream.request_timeout",
            (false, true) => "it does not answer, and another node has its slots now",
            (false, false) => return,
        };
        let Some(upstream) = self.connections.get_mut(key) else { return };
        if !upstream.stream.as_ref().is_some_and(Stream::has_arrived) {
            upstream.given_up = Some(why);
            upstream.wake();
        }
    }

    /// Whether what waits on a connection would go to another node now.
    fn is_replaced(&self, core: &Core, upstream: &Upstream) -> bool {
        let topology = &core.snapshots.topology;
        let node = upstream.node;
        match upstream.wire.front().map(|front| front.route) {
            Some(Route::Slot(slot)) => topology.master_of(slot).is_some_and(|master| master != node),
            Some(Route::ReadSlot(slot)) => topology.master_of(slot).is_some_and(|master| {
                let healthy = topology.node(node).is_some_and(|node| node.healthy);
                master != node && !(healthy && topology.replicas_of(master).contains(&node))
            }),
            _ => {
                let masters = &topology.cluster(core.snapshots.cluster_of_node(node)).masters;
                !masters.is_empty() && !masters.contains(&node)
            }
        }
    }
}

/// The ids of the connections that a `CLIENT LIST` shows as held back.
fn held_ids(list: &[u8]) -> SmallVec<[u64; 8]> {
    let text = resp::bulk_payload(list).and_then(|text| std::str::from_utf8(text).ok()).unwrap_or_default();
    let field =
        |line: &str, name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)).map(str::to_owned);
    text.lines()
        .filter(|line| field(line, "flags=").is_some_and(|flags| flags.contains('b')))
        .filter_map(|line| field(line, "id=")?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_that_a_server_holds_back() {
        let check = |text: &str, expected: &[u64]| {
            let mut reply = Vec::new();
            encode::bulk(&mut reply, text.as_bytes());
            assert_eq!(held_ids(&reply).as_slice(), expected, "{text}");
        };
        check("id=3 addr=127.0.0.1:1 name=b flags=b db=0\nid=4 addr=127.0.0.1:2 name= flags=N db=0\n", &[3]);
        check("id=5 flags=bx\r\nid=6 flags=xb\n", &[5, 6]);
        check("", &[]);
        assert!(held_ids(b"-NOPERM no\r\n").is_empty());
    }
}
