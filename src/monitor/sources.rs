//! Where monitoring reads from: cells and closures, handed over by `process.rs`, so that everything here can
//! be run and tested without workers, sockets or Redis.
//!
//! Nothing in `Sources` blocks: closures return the latest snapshot, mailboxes are bounded and refuse.

use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use super::config_view::ConfigView;
use super::key_history::KeyHistories;
use super::notify::NoticeFigures;
use super::quota_page::{QuotaPage, QuotaQuery, QuotaRow};
use super::routes::RoutesView;
use super::turned_away::TurnedAway;
use super::view::{Conditions, Identity, Readiness};
use crate::command::CommandTable;
use crate::detect::HotSet;
use crate::route::Routes;
use crate::shared::audit::{AuditEntry, Author};
use crate::shared::certificates::CertificatesInUse;
use crate::shared::client_rows::ClientRowsPort;
use crate::shared::command_log::CommandLog;
use crate::shared::events::Events;
use crate::shared::history::KeptHistory;
use crate::shared::key_modes::KeyModePort;
use crate::shared::keys::KeyNames;
use crate::shared::probes::Rows;
use crate::shared::quota_changes::QuotaChangePort;
use crate::shared::reservations::SalesSeen;
use crate::shared::tallies::TalliesCell;
use crate::shared::tenants::Tenants;
use crate::shared::topology::Topology;
use crate::shared::upstream_facts::{UpstreamFacts, UpstreamTrouble};

/// A closure that returns the latest snapshot of something.
pub type Latest<T> = Box<dyn Fn() -> T + Send + Sync>;

/// See [`Sources::sale_command`]: the words of the command, and who asks.
pub type SaleCommand =
    Box<dyn Fn(Vec<Bytes>, Author) -> Pin<Box<dyn Future<Output = Bytes> + Send>> + Send + Sync>;

/// See [`Sources::client_kill`]: the client's id, who has it ended, and why.
pub type ClientKill =
    Box<dyn Fn(u64, Author, String) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// Everything that monitoring reads.
pub struct Sources {
    /// The identity of this gateway.
    pub identity: Identity,
    /// One cell for each worker.
    pub tallies: Vec<Arc<TalliesCell>>,
    /// The published hot set.
    pub hot: Latest<Arc<HotSet>>,
    /// The nodes and who holds which slot.
    pub topology: Latest<Arc<Topology>>,
    /// Which cluster commands without keys go to: it is the one that is shown where there is room for one.
    pub routes: Routes,
    /// Which keys go to which cluster.
    pub routes_view: Latest<RoutesView>,
    /// The tenants, if there are any.
    pub tenants: Latest<Option<Arc<Tenants>>>,
    /// The configuration in force.
    pub config: Latest<ConfigView>,
    /// The commands that are known.
    pub commands: Latest<Arc<CommandTable>>,
    /// What the upstream says of itself.
    pub upstream: Latest<Arc<UpstreamFacts>>,
    /// What is wrong with the upstream as a whole, if anything is.
    pub upstream_trouble: Latest<Option<Arc<UpstreamTrouble>>>,
    /// Rights that the upstream user lacks, as sentences without a full stop.
    pub missing_rights: Latest<Vec<String>>,
    /// The certificates that are in force.
    pub certificates: Latest<Arc<Vec<CertificatesInUse>>>,
    /// Of the keys that quotas hold, those that matter most.
    pub quotas: Latest<Vec<QuotaRow>>,
    /// A page of all of them.
    pub quota_page: Box<dyn Fn(&QuotaQuery) -> QuotaPage + Send + Sync>,
    /// How sales stand, through whichever gateway they are used.
    pub sales_seen: Latest<Arc<SalesSeen>>,
    /// Takes that somebody looks at sales, so that they are looked at anew.
    pub sales_looked_at: Latest<()>,
    /// What each node said when it was last asked.
    pub probes: Latest<Rows>,
    /// What is wrong besides what is counted, but for what the sampler sees itself.
    pub conditions: Latest<Conditions>,
    /// Clients that are connected now.
    pub connected: Latest<u64>,
    /// Whether traffic should come here.
    pub readiness: Latest<Readiness>,
    /// Notices sent so far.
    pub notices: Arc<NoticeFigures>,
    /// What the HTTP side has turned away.
    pub turned_away: Arc<TurnedAway>,
    /// How metrics, API and dashboard name keys.
    pub key_names: KeyNames,
    /// Hot keys, and quotas' keys, with labels of their own in `/metrics`.
    pub metric_keys_max: usize,
    /// Where rows of connected clients come from.
    pub clients: ClientRowsPort,
    /// The last changes of operators, at most so many, the latest first.
    pub audit: Box<dyn Fn(usize) -> Vec<AuditEntry> + Send + Sync>,
    /// Notes a change of an operator.
    pub note_change: Box<dyn Fn(AuditEntry) + Send + Sync>,
    /// What happened.
    pub events: Arc<Events>,
    /// How the gateway fared over time.
    pub history: Arc<KeptHistory>,
    /// The requests that stood out.
    pub command_log: Arc<CommandLog>,
    /// Ends the connection of a client. Says whether there is one.
    pub client_kill: ClientKill,
    /// Where changes of quotas go.
    pub quota_changes: QuotaChangePort,
    /// What operators say of folding single keys, and where they say it.
    pub key_modes: KeyModePort,
    /// The last ten minutes of hot keys. The sampler writes it.
    pub key_histories: Arc<KeyHistories>,
    /// Runs a `RESERVE` command about a whole sale, for whom it is told, and gives Redis's reply. An asker waits; connections are bounded.
    pub sale_command: SaleCommand,
}
