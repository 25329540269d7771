//! One node that is asked again and again, and what became of the last question.
//!
//! ```text
//!   answered in time ------------------> the row says what was heard; the next round comes after the period
//!   not within PATIENCE ---------------> the connection is dropped, and a new one is tried at once
//!   new connection: pulse, then log-in and questions
//!       no pulse ----------------------> it hangs, or the way to it is cut: waited for on this connection
//!       pulse, and nothing else -------> it holds all commands back (`CLIENT PAUSE`)
//! ```
//!
//! The pulse is `ECHO` without its argument, which a server refuses before it looks at log-in, pauses and scripts. It is asked for only
//! after a silence, since servers count such refusals.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::watch;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep_until, timeout};

use super::name::Name;
use super::replies::{Heard, Question, Role, read, request, turned_away};
use crate::config::ReadPolicy;
use crate::control::topology::ClusterState;
use crate::control::upstream_client::{Credentials, Timeouts, UpstreamClient, UpstreamError};
use crate::net::resolve;
use crate::resp::{encode, first_error};
use crate::route::ClusterId;
use crate::shared::gateway::Gateway;
use crate::shared::probes::NodeProbe;
use crate::shared::refresh::{RefreshReason, Said};
use crate::shared::topology::{self, Address, Node, Topology, UpstreamKind};

/// How long an answer may take before a new connection is tried.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a new connection to a silent node is waited on, so that a node that hangs for long is not given one connection after the
/// other. If it answers meanwhile, that is heard at once.
const PATIENCE_SILENT: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
const CONNECT_PATIENCE: Duration = Duration::from_secs(1);
/// Between questions that count keys, clients and replicas.
const COUNT_PERIOD: Duration = Duration::from_millis(900);
/// A question that the user may not ask is asked again after this: each refusal is written into the log of Redis's access lists.
const FORBIDDEN_PERIOD: Duration = Duration::from_secs(60);

/// While what a node says does not fit the topology, that is looked at again after a pause, which doubles between these two: what was read
/// from other nodes, or a moment before, may be older than what this one says.
const MISFIT_PAUSE: Duration = Duration::from_secs(1);
const MISFIT_PAUSE_MAX: Duration = Duration::from_secs(32);

/// `ECHO` without its argument.
const PULSE: &[u8] = b"*1\r\n$4\r\nECHO\r\n";

/// The task's state.
pub struct Probed {
    gateway: Arc<Gateway>,
    cluster: ClusterId,
    address: Address,
    connection: Option<UpstreamClient>,
    row: NodeProbe,
    /// The role that it last told of.
    role: Option<Role>,
    /// What it last held of its cluster.
    state: Option<ClusterState>,
    /// How often its databases had been swapped.
    swaps: Option<u64>,
    /// From when on a topology that does not fit is looked at again, and the pause after that.
    misfit: (Instant, Duration),
    counted: Option<Instant>,
    forbidden: HashMap<Question, Instant>,
    name: Name,
    /// The second password is the one that the node takes.
    uses_next: bool,
}

/// Why a round ended without its replies.
enum Failure {
    /// Nothing came in time.
    Silent,
    /// It has a pulse, and nothing else comes.
    Paused,
    /// The connection that was kept is closed; a new one may be as good as ever.
    Closed,
    /// There is no connection.
    Unreachable(UpstreamError),
    /// It does not serve this connection.
    TurnedAway(String),
}

impl Probed {
    /// Nothing has been asked yet.
    pub fn new(gateway: Arc<Gateway>, cluster: ClusterId, address: Address) -> Self {
        Self {
            gateway,
            cluster,
            address,
            connection: None,
            row: NodeProbe::default(),
            role: None,
            state: None,
            swaps: None,
            misfit: (Instant::now(), MISFIT_PAUSE),
            counted: None,
            forbidden: HashMap::new(),
            name: Name::default(),
            uses_next: false,
        }
    }

    /// Asks once in each `period`, and at once after a silence.
    pub async fn follow(mut self, period: watch::Receiver<Duration>) {
        loop {
            let began = Instant::now();
            let was_well = self.row.answers();
            let again = self.round(began).await;
            self.gateway.probes.put(self.cluster, &self.address, self.row.clone());
            if was_well && !self.row.answers() {
                self.look_at_topology(RefreshReason::ConnectionFailed(self.address.clone()));
            }
            if !again {
                let period = *period.borrow();
                sleep_until(began + period).await;
            }
        }
    }

    /// One round of questions. Returns whether the next follows at once.
    async fn round(&mut self, began: Instant) -> bool {
        let node = self.node();
        let questions = self.questions(began, node.as_deref());
        let counts = self.counts(began);
        let login = if counts { self.login_again() } else { (BytesMut::new(), 0) };
        match self.exchange(&questions, login).await {
            Ok(replies) => {
                self.row.unanswered_since = None;
                (self.row.is_paused, self.row.unreachable, self.row.turns_away) = (false, None, None);
                let mut row = self.row.clone();
                let heard = read(&questions, &replies, |id| self.is_known(node.as_deref(), id), &mut row);
                self.row = row;
                if self.row.turns_away.is_some() {
                    self.connection = None;
                }
                self.forbidden.extend(heard.forbidden.iter().map(|question| (*question, began)));
                if counts {
                    self.counted = Some(began);
                    self.note_swaps(heard.swaps);
                    self.compare(node.as_deref(), heard);
                    self.row.unresolved = self.unresolved().await;
                }
                false
            }
            Err(failure) => {
                // A new connection may be as good as ever.
                let again = self.row.unanswered_since.is_none()
                    && matches!(failure, Failure::Silent | Failure::Closed);
                self.fail(failure, began);
                again
            }
        }
    }

    /// The node that has this address, if it is known as one.
    fn node(&self) -> Option<Arc<Node>> {
        let topology = self.gateway.topology.load();
        let found = topology.cluster(self.cluster).find(&self.address.host, self.address.port)?;
        topology.node(found).filter(|node| node.present).cloned()
    }

    /// Whether a server with this id in its cluster may have this address: the node that has it, or any of the cluster if only the
    /// configuration names it. One that failed and comes back is not present for a while, and no stranger.
    fn is_known(&self, node: Option<&Node>, id: &str) -> bool {
        match node {
            Some(node) => node.id.is_empty() || node.id == id,
            None => {
                let topology = self.gateway.topology.load();
                topology.nodes.iter().any(|known| known.cluster == self.cluster && known.id == id)
            }
        }
    }

    /// Whether this round counts, and asks whatever need not be asked each time.
    fn counts(&self, now: Instant) -> bool {
        self.counted.is_none_or(|counted| now >= counted + COUNT_PERIOD)
    }

    fn questions(&self, now: Instant, node: Option<&Node>) -> Vec<Question> {
        let mut questions = vec![Question::Ping];
        if self.counts(now) {
            if let Some(node) = node {
                questions.extend([Question::Role, Question::Clients]);
                questions.extend((node.role == topology::Role::Master).then_some(Question::Keys));
            }
            let topology = self.gateway.topology.load();
            let map = topology.cluster(self.cluster);
            let is_cluster = map.is_known() && map.kind == UpstreamKind::Cluster;
            if is_cluster {
                questions.push(Question::Id);
                questions.extend(node.map(|_| Question::State));
            }
            let tracks = self.gateway.config.load().rules.iter().any(|rule| rule.read == ReadPolicy::Tracked);
            if tracks && map.is_known() && !is_cluster {
                questions.push(Question::Swaps);
            }
        }
        let may =
            |question: &Question| self.forbidden.get(question).is_none_or(|at| now >= *at + FORBIDDEN_PERIOD);
        questions.retain(|question| *question == Question::Ping || may(question));
        questions
    }

    /// Sends the questions, over the connection that is kept, where the log-in is asked `again` before them, or a new one.
    async fn exchange(
        &mut self,
        questions: &[Question],
        again: (BytesMut, usize),
    ) -> Result<Vec<Bytes>, Failure> {
        let mut replies = Vec::with_capacity(questions.len());
        let request = request(questions);
        if let Some(mut kept) = self.connection.take() {
            let (login, count) = again;
            let asked = [&login[..], &request[..]].concat();
            let outcome =
                timeout(PATIENCE, kept.pipeline(&asked, count + questions.len(), &mut replies)).await;
            match outcome {
                Ok(Ok(())) => {}
                Ok(Err(UpstreamError::ReplyTimeout)) | Err(_) => return Err(Failure::Silent),
                Ok(Err(_)) => return Err(Failure::Closed),
            }
            // A new connection says in which words it is refused. It may be that with the other password it is not.
            if replies.drain(..count).any(|reply| login_fault(&reply).is_some()) {
                self.try_other_password();
                return Err(Failure::Closed);
            }
            self.connection = Some(kept);
            return Ok(replies);
        }
        let was_silent = self.row.unanswered_since.is_some();
        let mut client = self.connect().await?;
        if was_silent {
            let pulse = timeout(PATIENCE_SILENT, client.pipeline(PULSE, 1, &mut replies)).await;
            ended(pulse).map_err(|failure| failure.unwrap_or(Failure::Silent))?;
            // A server that takes no more clients says so to whatever comes first.
            if let Some(why) = replies.pop().and_then(|reply| turned_away(&reply)) {
                return Err(Failure::TurnedAway(why));
            }
        }
        let (login, count) = self.login();
        let asked = [&login[..], &request[..]].concat();
        let mut outcome =
            timeout(PATIENCE, client.pipeline(&asked, count + questions.len(), &mut replies)).await;
        let mut refused = log_in_refused(&mut replies, count);
        if refused.is_some() && self.try_other_password() {
            replies.clear();
            let (login, count) = self.login();
            let asked = [&login[..], &request[..]].concat();
            outcome = timeout(PATIENCE, client.pipeline(&asked, count + questions.len(), &mut replies)).await;
            // If both are refused, the words are those about the first.
            if log_in_refused(&mut replies, count).is_none() {
                refused = None;
            }
        }
        if let Some(why) = refused {
            return Err(Failure::TurnedAway(why));
        }
        let without = if was_silent { Failure::Paused } else { Failure::Silent };
        ended(outcome).map_err(|failure| failure.unwrap_or(without))?;
        self.connection = Some(client);
        Ok(replies)
    }

    async fn connect(&self) -> Result<UpstreamClient, Failure> {
        // Each wait is bounded where it is made.
        let timeouts = Timeouts { connect: CONNECT_PATIENCE, reply: 2 * PATIENCE_SILENT };
        let dialer = self.gateway.dialer_of(self.cluster).clone();
        let nobody = Credentials { dialer, ..Credentials::default() };
        let was_silent = self.row.unanswered_since.is_some();
        let connected = UpstreamClient::connect(&self.address, &nobody, timeouts).await;
        connected.map_err(|error| match error {
            UpstreamError::ConnectTimeout => Failure::Silent,
            // A server that hangs takes connections, and shakes no hands.
            UpstreamError::Tls(_) if was_silent => Failure::Silent,
            error => Failure::Unreachable(error),
        })
    }

    /// `AUTH`, and how many replies it has.
    fn login(&self) -> (BytesMut, usize) {
        let config = self.gateway.config.load();
        let upstream = config.upstream_of(self.cluster);
        let next = upstream.password_next.as_ref().filter(|_| self.uses_next);
        let (user, password) = (upstream.user.as_ref(), next.or(upstream.password.as_ref()));
        let mut login = BytesMut::new();
        let Some(password) = password else { return (login, 0) };
        let mut words: Vec<&[u8]> = vec![b"AUTH"];
        words.extend(user.map(|user| user.as_bytes()));
        words.push(password.reveal().as_bytes());
        encode::command(&mut login, &words);
        (login, 1)
    }

    /// Logs in with the other of two passwords from now on, if there are two.
    fn try_other_password(&mut self) -> bool {
        let config = self.gateway.config.load();
        let has_two = config.upstream_of(self.cluster).password_next.is_some();
        self.uses_next = has_two && !self.uses_next;
        has_two
    }

    /// The same on a connection that has logged in, to hear of a password that has changed before a new connection does. Where none is
    /// set, the user of all connections is asked whether any would do. A certificate may have chosen another user.
    fn login_again(&self) -> (BytesMut, usize) {
        let (login, count) = self.login();
        if count > 0 || self.gateway.dialer_of(self.cluster).is_tls() {
            return (login, count);
        }
        let mut login = BytesMut::new();
        encode::command(&mut login, &[b"AUTH", b"default", b"any"]);
        (login, 1)
    }

    fn fail(&mut self, failure: Failure, began: Instant) {
        self.row.refusal = None;
        self.row.is_paused = matches!(failure, Failure::Paused);
        match failure {
            Failure::Silent | Failure::Paused => {
                self.row.unanswered_since.get_or_insert(began);
            }
            Failure::Closed => {}
            Failure::Unreachable(error) => {
                self.row.unanswered_since = None;
                self.row.unresolved = matches!(error, UpstreamError::Resolve(_)).then(|| error.to_string());
                self.row.unreachable = Some(error.to_string());
            }
            Failure::TurnedAway(why) => {
                self.row.unanswered_since = None;
                self.row.turns_away = Some(why);
            }
        }
    }

    /// Redis tells nobody of a swap who tracks keys, and whoever did it may have gone past this gateway: copies go when there is one more.
    fn note_swaps(&mut self, swaps: Option<u64>) {
        // What was swapped before the first look may have been swapped under copies that are there already.
        if swaps.is_some_and(|swaps| swaps != self.swaps.unwrap_or(0)) {
            self.gateway.swaps.note();
        }
        self.swaps = swaps.or(self.swaps);
    }

    /// Has the topology looked at if what the node said does not fit it.
    fn compare(&mut self, node: Option<&Node>, heard: Heard) {
        let Some(node) = node else { return };
        let role = heard.role;
        let topology = self.gateway.topology.load();
        let is_single = topology.cluster(self.cluster).kind == UpstreamKind::Single;
        // What is heard first may have changed since the topology was looked at.
        let new_state = heard.state.filter(|state| Some(*state) != self.state);
        self.state = heard.state.or(self.state);
        let is_of_other_kind = match (&role, is_single) {
            (Some(Role::Master(_)), false) => node.role != topology::Role::Master,
            (Some(Role::Replica(_)), false) => node.role != topology::Role::Replica,
            _ => false,
        };
        let is_misfit = if !is_of_other_kind && fits(&topology, self.cluster, role.as_ref(), heard.state) {
            self.misfit = (Instant::now(), MISFIT_PAUSE);
            false
        } else {
            self.may_doubt()
        };
        let is_new_role = match (&role, &self.role) {
            (Some(Role::Master(_)), Some(Role::Master(_))) => is_single && role != self.role,
            (Some(_), _) => role != self.role,
            _ => false,
        };
        self.role = role.or(self.role.take());
        let is_odd = is_misfit || !node.healthy || self.row.stranger_id.is_some();
        let said = match (&self.role, new_state) {
            _ if is_odd || (is_new_role && is_single) => Said::Other,
            (Some(Role::Master(_)), _) if is_new_role => Said::IsMaster,
            (Some(Role::Replica(of)), _) if is_new_role => Said::IsReplicaOf(of.clone()),
            (_, Some(state)) if state.ok => Said::Epoch(state.current_epoch),
            (_, Some(_)) => Said::Other,
            _ => return,
        };
        self.look_at_topology(RefreshReason::Changed { node: self.address.clone(), said });
    }

    /// Whether a topology that does not fit is to be looked at now.
    fn may_doubt(&mut self) -> bool {
        let (from, pause) = self.misfit;
        let now = Instant::now();
        let may = now >= from;
        if may {
            self.misfit = (now + pause, (pause * 2).min(MISFIT_PAUSE_MAX));
        }
        may
    }

    fn look_at_topology(&self, reason: RefreshReason) {
        let seen_version = self.gateway.topology.load().cluster(self.cluster).version;
        self.gateway.refresh.request(self.cluster, reason, seen_version);
    }

    /// Whether a name has an address still; which ones it has is published. An address needs none.
    async fn unresolved(&mut self) -> Option<String> {
        match resolve(&self.address, PATIENCE).await {
            Ok(addresses) if addresses.is_empty() => None,
            Ok(addresses) => {
                let addresses = self.name.note(&addresses);
                if self.gateway.names.put(self.cluster, &self.address, addresses) {
                    tracing::info!(node = %self.address, "its name has other addresses now");
                    let node = self.address.clone();
                    self.look_at_topology(RefreshReason::Changed { node, said: Said::Other });
                    self.connection = None;
                }
                None
            }
            Err(error) => Some(UpstreamError::from(error).to_string()),
        }
    }
}

/// Whether what a node says of itself and of its cluster is what the topology has: the replicas of a single server that are in step with it, and how
/// many slots of a cluster have an owner.
fn fits(topology: &Topology, cluster: ClusterId, role: Option<&Role>, state: Option<ClusterState>) -> bool {
    let map = topology.cluster(cluster);
    match (map.kind, role, state) {
        (UpstreamKind::Single, Some(Role::Master(replicas)), _) => {
            let is_replica = |node: &&Arc<Node>| {
                node.cluster == cluster
                    && node.present
                    && node.healthy
                    && node.role == topology::Role::Replica
            };
            let known = topology.nodes.iter().filter(is_replica).map(|node| node.address.to_string());
            known.collect::<BTreeSet<_>>() == replicas.iter().cloned().collect()
        }
        (UpstreamKind::Cluster, _, Some(state)) => state.assigned_slots == u64::from(map.assigned_slots()),
        _ => true,
    }
}

/// Takes the replies to a log-in off the front, and says why it was refused if it was.
fn log_in_refused(replies: &mut Vec<Bytes>, count: usize) -> Option<String> {
    let logged_in = replies.drain(..count.min(replies.len()));
    logged_in.filter_map(|reply| login_fault(&reply)).next()
}

/// The end of an exchange, with what is wrong with the connection; `None` where nothing came in time.
fn ended(outcome: Result<Result<(), UpstreamError>, Elapsed>) -> Result<(), Option<Failure>> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(UpstreamError::ReplyTimeout)) | Err(_) => Err(None),
        Ok(Err(error)) => Err(Some(Failure::Unreachable(error))),
    }
}

/// Why a log-in failed. A server that knows no password takes everybody.
fn login_fault(reply: &[u8]) -> Option<String> {
    let text = first_error(reply)?;
    let is_open = text.starts_with(b"ERR AUTH") || text.starts_with(b"ERR Client sent AUTH");
    if is_open { None } else { turned_away(reply) }
}
