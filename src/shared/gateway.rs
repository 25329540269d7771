//! Everything that the threads of one gateway share, in one place.
//!
//! Created by `process`, lives as long as the process, handed to every thread in an `Arc`. Snapshots are written by the
//! control thread only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, mpsc, watch};

use super::audit::Audit;
use super::certificates::CertificatesCell;
use super::client_rows::ClientRowsPort;
use super::command_log::CommandLog;
use super::command_tallies::CommandTallies;
use super::config_file::ConfigFile;
use super::connections::Connections;
use super::events::Events;
use super::held::HeldNodes;
use super::history::KeptHistory;
use super::keys::KeyNames;
use super::ledger_heard::LedgerCell;
use super::mailbox::{ControlMailbox, WorkerMailbox};
use super::names::NamesCell;
use super::probes::Probes;
use super::quota_board::{PolledLimits, QuotaBoard};
use super::quota_facts::QuotaFacts;
use super::quota_overrides::OverridesSeen;
use super::refresh::RefreshRequester;
use super::reservations::SalesSeen;
use super::rights::MissingRights;
use super::scripts::ScriptCache;
use super::swaps::DatabaseSwaps;
use super::tallies::TalliesCell;
use super::tenants::Tenants;
use super::topology::{Address, TopologyCell};
use super::upstream_facts::{UpstreamFactsCell, UpstreamTrouble};
use super::users::UsersCell;
use crate::command::CommandTable;
use crate::config::{Config, Origins};
use crate::detect::{HotSet, Slice};
use crate::net::Dialer;
use crate::route::{ClusterId, KeyHasher, Routes, SlotAt};

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Serving.
    Serving,
    /// Balancers are told to send nobody more; who comes is still served.
    Leaving,
    /// Another process has taken over and accepts clients. Those of this one are served as before, until they leave.
    HandedOver,
    /// No new clients; what is in flight is finished.
    Draining,
    /// What is left is cut off.
    Stopped,
}

/// What the other threads see of one worker.
pub struct WorkerHandle {
    /// Takes questions.
    pub mailbox: WorkerMailbox,
    /// Its figures.
    pub tallies: Arc<TalliesCell>,
    /// The quotas whose keys it is home to.
    pub quotas: Arc<ArcSwap<QuotaBoard>>,
    /// The nodes that hold its commands back.
    pub held: HeldNodes,
}

/// The shared state.
pub struct Gateway {
    /// The configuration in force.
    pub config: ArcSwap<Config>,
    /// Where its values come from.
    pub config_origins: ArcSwap<Origins>,
    /// How its file and the process differ.
    pub config_file: ConfigFile,
    /// Which cluster each key lives in; see [`Gateway::routes`].
    pub routing: ArcSwap<Routes>,
    /// The tenants, if there are any.
    pub tenants: ArcSwapOption<Tenants>,
    /// Where the slots of each cluster are.
    pub topology: Arc<TopologyCell>,
    /// The commands that are known.
    pub commands: ArcSwap<CommandTable>,
    /// Who may do what.
    pub users: UsersCell,
    /// How keys are named where people read them.
    pub key_names: KeyNames,
    /// What operators changed.
    pub audit: Arc<Audit>,
    /// What happened.
    pub events: Arc<Events>,
    /// How it fared over time.
    pub history: Arc<KeptHistory>,
    /// What had been counted of commands when `CONFIG RESETSTAT` was done last: what clients ask for is counted from there.
    pub commands_reset: ArcSwap<CommandTallies>,
    /// The requests that stood out.
    pub command_log: Arc<CommandLog>,
    /// What the servers of each cluster say of themselves, by [`ClusterId`]; see [`Gateway::facts_of`].
    pub facts: Vec<Arc<UpstreamFactsCell>>,
    /// How those servers are reached; see [`Gateway::dialer_of`].
    pub dialers: Vec<Dialer>,
    /// The certificates that are in force.
    pub certificates: CertificatesCell,
    /// How often clients have swapped databases.
    pub swaps: DatabaseSwaps,
    /// What each node said when it was last asked.
    pub probes: Probes,
    /// The addresses that their names have.
    pub names: NamesCell,
    /// The rights that its user lacks there.
    pub rights: MissingRights,
    /// Scripts loaded through the gateway.
    pub scripts: ScriptCache,
    /// The bound on clients.
    pub connections: Connections,
    /// Asks for a new look at the topology.
    pub refresh: RefreshRequester,
    /// Takes commands that need the figures of all workers.
    pub control: ControlMailbox,
    /// The workers, by index.
    pub workers: Vec<WorkerHandle>,
    /// Where the process is in its life.
    pub stage: watch::Receiver<Stage>,
    /// Another process has the journal, or is to have it: write-behind answers nothing here, whatever the rules say.
    pub journal_given: watch::Sender<bool>,
    /// Where the clients of all workers can be listed.
    pub client_rows: ClientRowsPort,
    /// Hashes keys, the same in every worker.
    pub key_hasher: KeyHasher,
    /// The hot keys of all workers.
    pub hot_set: watch::Receiver<Arc<HotSet>>,
    /// Takes the workers' slices of what they counted, for the hot set.
    pub slices: mpsc::Sender<(usize, Slice)>,
    /// Tells this gateway from all others and from its own former lives: 40 hexadecimal digits.
    pub id: String,
    /// The addresses that clients can dial, with their real ports.
    pub listen: Vec<SocketAddr>,
    /// Limits that quotas keep in keys which no flush can read.
    pub polled_limits: watch::Receiver<Arc<PolledLimits>>,
    /// What operators have set for single counters.
    pub overrides: OverridesSeen,
    /// Takes what workers tell of counters that have no row of their own.
    pub quota_news: mpsc::Sender<Vec<QuotaFacts>>,
    /// What the ledger said of itself last.
    pub ledger: LedgerCell,
    /// Somebody reserves through this gateway: sales are to be looked after.
    pub sales_used: Notify,
    /// Somebody looks at the sales of all gateways.
    pub sales_looked_at: Notify,
    /// How they stand.
    pub sales_seen: ArcSwap<SalesSeen>,
    /// When the process started.
    pub started: Instant,
}

impl Gateway {
    /// Which cluster each key lives in, by the configuration in force.
    pub fn routes(&self) -> Arc<Routes> {
        self.routing.load_full()
    }

    /// What the servers of a cluster, which the configuration has named, say of themselves.
    pub fn facts_of(&self, cluster: ClusterId) -> &Arc<UpstreamFactsCell> {
        &self.facts[cluster.position()]
    }

    /// How the servers of a cluster, which the configuration has named, are reached.
    pub fn dialer_of(&self, cluster: ClusterId) -> &Dialer {
        &self.dialers[cluster.position()]
    }

    /// The same of the cluster that commands without keys go to.
    pub fn keyless_facts(&self) -> &Arc<UpstreamFactsCell> {
        self.facts_of(self.routes().keyless())
    }

    /// What is wrong with a cluster, if anything is with one; first of all what keeps it from serving anything.
    pub fn trouble(&self) -> Option<Arc<UpstreamTrouble>> {
        self.facts.iter().filter_map(|facts| facts.trouble()).min_by_key(|trouble| trouble.serves)
    }

    /// What keeps every cluster from serving anything.
    pub fn trouble_everywhere(&self) -> Option<Arc<UpstreamTrouble>> {
        let stops = |facts: &Arc<UpstreamFactsCell>| facts.trouble().is_some_and(|trouble| !trouble.serves);
        self.facts.iter().all(stops).then(|| self.trouble()).flatten()
    }

    /// The address of the master of a slot, while it has one.
    pub fn master_at(&self, place: SlotAt) -> Option<Address> {
        let topology = self.topology.load();
        let node = topology.node(topology.master_of(place)?)?;
        Some(node.address.clone())
    }
}
