//! The task that keeps the published topology true: it decides when to ask, which nodes to ask, and which answer to believe.
//!
//! One task on the control runtime for each cluster. They share the registry of nodes; each owns all other state of its cluster; workers reach it only through the bounded mailbox of
//! `shared::refresh`. When nobody answers, the last good topology stays published with its nodes unhealthy, one line
//! in the log says who could not be reached and why, and discovery goes on with backoff.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::change::{TopologyChange, listed};
use super::choose::choose;
use super::diagnose::{loading, replica_of};
use super::discover::{Answer, Discovery, DiscoveryOptions, discover, is_master};
use super::facts::KnownFacts;
use super::info::single_server_view;
use super::news;
use super::registry::{Registry, RegistryFull};
use super::sentinel::{SentinelFollowers, Watched, ask_sentinels};
use super::settings::KeeperSettings;
use super::view::ClusterView;
use crate::config::naming;
use crate::control::backoff::{Backoff, jittered};
use crate::control::upstream_client::Timeouts;
use crate::route::ClusterId;
use crate::shared::refresh::{RefreshReason, RefreshRequest};
use crate::shared::topology::{Address, Node, Role, Topology, TopologyCell, UpstreamKind};
use crate::shared::upstream_facts::{SentinelTrouble, UpstreamFactsCell, UpstreamTrouble};

/// Between discoveries that workers ask for: [`Backoff`] halves it at most, so they are at least 100 ms apart, and up to the
/// cap while they find nothing new, as in the seconds before a dead master's replica is promoted.
const REQUESTED_PAUSE: Duration = Duration::from_millis(200);
const REQUESTED_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Between discoveries while nobody answers, or what answers can't serve all. Its end is told within two seconds.
const UNREACHABLE_PAUSE: Duration = Duration::from_millis(200);
const UNREACHABLE_PAUSE_MAX: Duration = Duration::from_secs(1);

/// Addresses that one discovery may ask. Which of the less likely ones it asks is left to chance, so that over several discoveries
/// all get their turn.
const CANDIDATES_MAX: usize = 64;

/// Why a discovery is due.
enum Due {
    /// The start, the timer, or new settings.
    Scheduled,
    /// Workers asked; the addresses that redirects named.
    Requested(Vec<Address>),
}

/// The nodes of all clusters, as their keepers share them. It is locked from a change of the registry to its publication, and never
/// across an await.
#[derive(Clone)]
pub struct SharedRegistry(Arc<Mutex<Registry>>);

impl SharedRegistry {
    /// Knows nothing of so many clusters.
    pub fn new(clusters: usize) -> Self {
        Self(Arc::new(Mutex::new(Registry::new(clusters))))
    }

    /// What is published before a keeper has looked.
    pub fn topology(&self) -> Topology {
        self.lock().topology()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a keeper publishes to.
pub struct Published {
    /// The nodes of all clusters.
    pub registry: SharedRegistry,
    /// The maps of all clusters.
    pub topology: Arc<TopologyCell>,
    /// What this cluster says of itself.
    pub facts: Arc<UpstreamFactsCell>,
}

/// The task's state. Made by the process, run on the control runtime, dropped with it.
pub struct TopologyKeeper {
    cluster: ClusterId,
    settings: watch::Receiver<KeeperSettings>,
    requests: mpsc::Receiver<RefreshRequest>,
    topology: Arc<TopologyCell>,
    facts: Arc<UpstreamFactsCell>,
    registry: SharedRegistry,
    known_facts: KnownFacts,
    /// Found out by asking. A server does not change its kind without a restart, and then the gateway needs one too.
    found_kind: Option<UpstreamKind>,
    /// The highest epoch of a master that Sentinels told of.
    seen_epoch: u64,
    followers: SentinelFollowers,
    requested_pause: Backoff,
    unreachable_pause: Backoff,
    requested_discovery_from: Instant,
    /// Why nobody could be reached, as it was last logged; `None` while somebody answers.
    complaint: Option<BTreeSet<String>>,
    /// By what the gateway would know itself.
    own_id: String,
    rng: SmallRng,
}

impl TopologyKeeper {
    /// The keeper of `cluster`, which takes requests from its mailbox.
    pub fn new(
        cluster: ClusterId,
        settings: watch::Receiver<KeeperSettings>,
        requests: mpsc::Receiver<RefreshRequest>,
        published: Published,
        own_id: String,
    ) -> Self {
        let Published { registry, topology, facts } = published;
        Self {
            cluster,
            settings,
            requests,
            topology,
            facts,
            registry,
            known_facts: KnownFacts::default(),
            found_kind: None,
            seen_epoch: 0,
            followers: SentinelFollowers::new(),
            requested_pause: Backoff::new(REQUESTED_PAUSE, REQUESTED_PAUSE_MAX),
            unreachable_pause: Backoff::new(UNREACHABLE_PAUSE, UNREACHABLE_PAUSE_MAX),
            requested_discovery_from: Instant::now(),
            complaint: None,
            own_id,
            rng: SmallRng::from_os_rng(),
        }
    }

    /// Keeps the topology until the settings' sender or the last requester is dropped. It may itself be dropped at any
    /// await.
    pub async fn run(mut self) {
        self.publish_unconfirmed_single();
        self.follow_sentinels();
        let mut due = Some(Due::Scheduled);
        while let Some(reason) = due {
            let reached = self.refresh(&reason).await;
            let pause = if reached && self.facts.trouble().is_none() {
                self.unreachable_pause.reset();
                jittered(self.settings.borrow().refresh_interval, &mut self.rng)
            } else {
                self.unreachable_pause.next_delay(&mut self.rng)
            };
            self.requested_discovery_from = Instant::now() + self.requested_pause.next_delay(&mut self.rng);
            due = self.wait_until_due(Instant::now() + pause).await;
        }
    }

    fn follow_sentinels(&mut self) {
        let settings = self.settings.borrow().clone();
        self.followers.listen_to(settings.sentinels.as_ref(), settings.timeouts);
    }

    /// A server that is said to stand alone needs no finding out: clients get an honest error while it is down.
    fn publish_unconfirmed_single(&mut self) {
        let settings = self.settings.borrow().clone();
        let (Some(UpstreamKind::Single), Some(seed)) = (settings.kind, settings.seeds.first()) else {
            return;
        };
        let mut view = single_server_view(seed, "");
        for shard in &mut view.shards {
            shard.master.healthy = false;
        }
        self.publish(UpstreamKind::Single, &view, &[]);
    }

    /// Waits for a reason for a discovery; `None` when the process ends.
    async fn wait_until_due(&mut self, next_discovery: Instant) -> Option<Due> {
        let switched = self.followers.switched();
        loop {
            tokio::select! {
                () = switched.notified() => return Some(Due::Requested(Vec::new())),
                request = self.requests.recv() => {
                    let request = request?;
                    if self.is_news(&request) {
                        // Whoever else notices the same change by then is served by the same discovery.
                        sleep_until(self.requested_discovery_from).await;
                        return Some(Due::Requested(self.drain_requests(request)));
                    }
                }
                () = sleep_until(next_discovery) => {
                    self.requested_pause.reset();
                    return Some(Due::Scheduled);
                }
                changed = self.settings.changed() => {
                    changed.ok()?;
                    self.follow_sentinels();
                    return Some(Due::Scheduled);
                }
            }
        }
    }

    fn is_news(&self, request: &RefreshRequest) -> bool {
        let registry = self.registry.lock();
        let is_recent = request.seen_version >= registry.version_of(self.cluster);
        let is_unknown = |address: &Address| !registry.knows(self.cluster, address);
        news::is_news(&request.reason, (self.cluster, &self.topology), is_recent, is_unknown)
    }

    fn drain_requests(&mut self, first: RefreshRequest) -> Vec<Address> {
        let mut targets = Vec::new();
        let mut next = Some(first);
        while let Some(request) = next {
            tracing::debug!(reason = ?request.reason, "topology refresh requested");
            if let RefreshReason::Redirected(target) = request.reason
                && !targets.contains(&target)
            {
                targets.push(target);
            }
            next = self.requests.try_recv().ok();
        }
        targets
    }

    /// Runs one discovery, and publishes what changed. False when nobody gave a usable answer.
    async fn refresh(&mut self, due: &Due) -> bool {
        let redirect_targets = match due {
            Due::Scheduled => &[],
            Due::Requested(targets) => targets.as_slice(),
        };
        let settings = self.settings.borrow_and_update().clone();
        let asking = DiscoveryOptions {
            kind: settings.kind.or(self.found_kind),
            credentials: settings.credentials.clone(),
            timeouts: settings.timeouts,
            own_id: self.own_id.clone(),
        };
        let number = self.topology.begin_discovery(self.cluster);
        let mut discovery = match &settings.sentinels {
            Some(watched) => self.discover_named(watched, &asking).await,
            None => discover(self.candidates(&settings, asking.kind, redirect_targets), &asking).await,
        };
        for (_, why) in &mut discovery.failures {
            *why = naming(&settings.name, why);
        }
        let Some((kind, view, epoch)) = self.judge(&mut discovery, &settings) else {
            let unheard = !discovery.is_wrong;
            self.complain(discovery.failures, unheard);
            self.store(|registry, cluster| Ok(registry.mark_unreachable(cluster)));
            return false;
        };
        if self.complaint.take().is_some() {
            tracing::info!("the upstream answers again");
        }
        let trouble = trouble_of(&discovery, kind, settings.sentinels.is_some());
        let named = |trouble: UpstreamTrouble| UpstreamTrouble {
            why: naming(&settings.name, &trouble.why),
            ..trouble
        };
        self.facts.set_trouble(trouble.map(named));
        self.found_kind = Some(kind);
        self.publish(kind, &view, redirect_targets);
        self.topology.end_discovery(self.cluster, number, epoch);
        // The facts seldom change: what workers ask for need not wait for them, nor servers be asked that often.
        if (matches!(due, Due::Scheduled) || self.known_facts.is_empty())
            && let Some((address, _)) = discovery.answers.first()
        {
            self.read_facts(address, &asking).await;
        }
        true
    }

    /// Asks the masters that Sentinels name. When they tell of another meanwhile, that is asked: the former may never answer.
    async fn discover_named(&mut self, watched: &Watched, asking: &DiscoveryOptions) -> Discovery {
        let switched = self.followers.switched();
        loop {
            let (candidates, unheard) = self.named_by_sentinels(watched, asking.timeouts).await;
            let mut discovery = tokio::select! {
                discovery = discover(candidates, asking) => discovery,
                () = switched.notified() => continue,
            };
            name_as_named(watched, &mut discovery, unheard);
            return discovery;
        }
    }

    /// The masters that Sentinels name. While none can be asked, the one that was named last, so that it is known whether it works, with why
    /// they can't be asked.
    async fn named_by_sentinels(
        &mut self,
        watched: &Watched,
        timeouts: Timeouts,
    ) -> (Vec<Address>, Vec<(Address, String)>) {
        let heard = ask_sentinels(watched, timeouts, self.seen_epoch).await;
        let is_blind = heard.masters.is_empty();
        let name = &self.settings.borrow().name;
        let told = |(address, why): &(Address, String)| format!("{address}: {}", naming(name, why));
        let unusable = heard.failures.iter().map(told).collect();
        let trouble = SentinelTrouble { unusable, is_blind };
        if *self.facts.sentinels() != trouble {
            if is_blind {
                tracing::warn!("no Sentinel can be asked for the master: {}", listed(&trouble.unusable));
            } else if self.facts.sentinels().is_blind {
                tracing::info!("Sentinels name the master again");
            }
            self.facts.set_sentinels(trouble);
        }
        if is_blind {
            return (self.present_master().into_iter().collect(), heard.failures);
        }
        self.seen_epoch = heard.epoch;
        (heard.masters, Vec::new())
    }

    fn present_master(&self) -> Option<Address> {
        let topology = self.topology.load();
        let master = topology.cluster(self.cluster).masters.first().and_then(|index| topology.node(*index));
        master.map(|node| node.address.clone())
    }

    /// The nodes to ask, the likeliest first: the nodes that redirects named, since they know of the change; working masters;
    /// the seeds; all others that were ever known.
    fn candidates(
        &mut self,
        settings: &KeeperSettings,
        kind: Option<UpstreamKind>,
        redirect_targets: &[Address],
    ) -> Vec<Address> {
        let is_working_master = |node: &Node| node.present && node.healthy && node.role == Role::Master;
        let (mut masters, mut others): (Vec<Arc<Node>>, Vec<Arc<Node>>) =
            self.registry.lock().nodes_of(self.cluster).cloned().partition(|node| is_working_master(node));
        masters.shuffle(&mut self.rng);
        others.shuffle(&mut self.rng);
        let addresses =
            |nodes: Vec<Arc<Node>>| nodes.into_iter().map(|node| node.address.clone()).collect::<Vec<_>>();
        let mut seeds = settings.seeds.clone();
        let mut candidates = Vec::new();
        if kind == Some(UpstreamKind::Single) {
            // Only a server that was named may become the one upstream; its replicas are there to be read.
            candidates.extend(addresses(masters).into_iter().filter(|address| seeds.contains(address)));
            candidates.append(&mut seeds);
        } else {
            candidates.extend_from_slice(redirect_targets);
            candidates.extend(addresses(masters));
            let start = self.rng.random_range(0..seeds.len().max(1));
            seeds.rotate_left(start);
            candidates.append(&mut seeds);
            candidates.extend(addresses(others));
        }
        let mut asked = BTreeSet::new();
        candidates.retain(|address| asked.insert(address.clone()));
        candidates.truncate(CANDIDATES_MAX);
        candidates
    }

    /// The answer to believe, with the epoch of which it has heard; `None` if no answer can be used.
    fn judge(
        &self,
        discovery: &mut Discovery,
        settings: &KeeperSettings,
    ) -> Option<(UpstreamKind, ClusterView, u64)> {
        let seeds = &settings.seeds;
        let mut of_cluster = Vec::new();
        let is_familiar = |answer: &Answer| match answer {
            Answer::Cluster(answer) => self.is_familiar(&answer.view),
            Answer::Single { .. } => false,
        };
        // A cluster that was built anew has none of the nodes that were known. While one of them answers, it was not, and a server that
        // is named and knows none of them belongs elsewhere.
        let is_new = !discovery.answers.iter().any(|(_, answer)| is_familiar(answer));
        for (address, answer) in &discovery.answers {
            let Answer::Cluster(of) = answer else { continue };
            if is_familiar(answer) || (is_new && seeds.contains(address)) {
                of_cluster.push(of.clone());
            } else {
                discovery.failures.push((address.clone(), "it belongs to another cluster now".to_owned()));
                discovery.is_wrong = true;
            }
        }
        if let Some(best) = choose(of_cluster) {
            return Some((UpstreamKind::Cluster, best.view, best.state.current_epoch));
        }
        // What Sentinels name first is the master, and not who was it before.
        let present = self.present_master().filter(|_| settings.sentinels.is_none());
        let (master, replication) = judge_single(&discovery.answers, present.as_ref())?;
        Some((UpstreamKind::Single, single_server_view(master, replication), 0))
    }

    /// Addresses are used again by others, as those of containers are: a view that knows none of the nodes ever seen is
    /// that of another cluster.
    fn is_familiar(&self, view: &ClusterView) -> bool {
        let registry = self.registry.lock();
        let ids = registry.nodes_of(self.cluster).map(|node| node.id.as_str());
        let known: BTreeSet<&str> = ids.filter(|id| !id.is_empty()).collect();
        let mut in_view =
            view.shards.iter().flat_map(|shard| std::iter::once(&shard.master).chain(&shard.replicas));
        known.is_empty() || in_view.any(|node| node.id.is_empty() || known.contains(node.id.as_str()))
    }

    fn publish(&mut self, kind: UpstreamKind, view: &ClusterView, redirect_targets: &[Address]) {
        self.store(|registry, cluster| registry.apply(cluster, kind, view, redirect_targets));
    }

    /// Publishes what a change of the registry came to, before another keeper changes it.
    fn store(
        &mut self,
        change: impl FnOnce(&mut Registry, ClusterId) -> Result<Option<Topology>, RegistryFull>,
    ) {
        let mut registry = self.registry.lock();
        match change(&mut registry, self.cluster) {
            Ok(Some(topology)) => {
                let change = TopologyChange::between(self.cluster, &self.topology.load(), &topology);
                let map = topology.cluster(self.cluster);
                tracing::info!(version = map.version, kind = ?map.kind, "topology: {change}");
                self.topology.store(topology);
                self.requested_pause.reset();
            }
            Ok(None) => {}
            Err(full) => tracing::error!("the topology cannot be updated: {full}"),
        }
    }

    /// One line for each new set of reasons, however often they are met.
    fn complain(&mut self, failures: Vec<(Address, String)>, unheard: bool) {
        let reasons: BTreeSet<String> = failures.iter().map(|(_, why)| why.clone()).collect();
        if self.complaint.as_ref() == Some(&reasons) {
            return;
        }
        let failures: Vec<String> =
            failures.iter().map(|(address, why)| format!("{address}: {why}")).collect();
        let why = listed(&failures);
        tracing::warn!("no upstream server can be used, trying again in the background: {why}");
        self.facts.set_trouble(Some(UpstreamTrouble { why, serves: false, unheard }));
        self.complaint = Some(reasons);
    }

    async fn read_facts(&mut self, address: &Address, asking: &DiscoveryOptions) {
        match self.known_facts.read(address, asking).await {
            Ok(Some(facts)) => self.facts.store(facts),
            Ok(None) => {}
            Err(error) => tracing::debug!(%address, "version and commands not read: {error}"),
        }
    }
}

/// The present master while it is one; else the first server that is; else the present one, or the first, which
/// then serves reads and refuses writes in its own words.
fn judge_single<'a>(
    answers: &'a [(Address, Answer)],
    present: Option<&Address>,
) -> Option<(&'a Address, &'a str)> {
    let servers = answers.iter().filter_map(|(address, answer)| match answer {
        Answer::Single { info } => Some((address, info.as_str())),
        Answer::Cluster(_) => None,
    });
    servers.min_by_key(|(address, replication)| (!is_master(replication), Some(*address) != present))
}

/// Says of failures at servers that it was Sentinels who named them; or why nobody was named.
fn name_as_named(watched: &Watched, discovery: &mut Discovery, unheard: Vec<(Address, String)>) {
    for (_, why) in &mut discovery.failures {
        *why = format!(
            "{why} (the Sentinels name it as the master {}; the gateway has to reach what they announce)",
            watched.master
        );
    }
    discovery.failures.extend(unheard);
}

/// A single server that loads its data, or that only copies another. Among several a copy may be about to be promoted, so it goes on
/// serving reads.
fn trouble_of(discovery: &Discovery, kind: UpstreamKind, is_named: bool) -> Option<UpstreamTrouble> {
    let mut singles = discovery.answers.iter().filter_map(|(address, answer)| match answer {
        Answer::Single { info } if kind == UpstreamKind::Single => Some((address, info)),
        _ => None,
    });
    let mut masters = singles.clone().filter(|(_, info)| is_master(info)).peekable();
    if masters.peek().is_some() {
        let why: Option<Vec<String>> = masters.map(|(address, info)| loading(address, info)).collect();
        return why.map(|why| UpstreamTrouble { why: listed(&why), serves: false, unheard: false });
    }
    let (address, info) = singles.next()?;
    let serves = is_named || discovery.answers.len() + discovery.failures.len() > 1;
    replica_of(address, info, is_named).map(|why| UpstreamTrouble { why, serves, unheard: false })
}
