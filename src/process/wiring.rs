//! Makes what the threads share, and deals out the far ends: who publishes a snapshot and who empties a mailbox.
//!
//! A mailbox or a snapshot between threads has a line here, and no other place makes one that outlives a question.

use std::sync::Arc;
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio::sync::{Notify, mpsc, watch};

use super::prepare::Prepared;
use crate::command::CommandTable;
use crate::control::admin::key_names;
use crate::control::topology::{KeeperSettings, SharedRegistry};
use crate::detect::{HotSet, Slice};
use crate::limits::{CONTROL_MAILBOX_MAX, DENIALS_WAITING_MAX, QUOTA_NEWS_WAITING_MAX, WORKER_MAILBOX_MAX};
use crate::route::KeyHasher;
use crate::shared::certificates::CertificatesCell;
use crate::shared::client_rows::{ClientRowsInbox, ClientRowsPort};
use crate::shared::command_log::CommandLog;
use crate::shared::config_file::ConfigFile;
use crate::shared::connections::Connections;
use crate::shared::gateway::{Gateway, Stage, WorkerHandle};
use crate::shared::held::HeldNodes;
use crate::shared::ledger_heard::LedgerCell;
use crate::shared::mailbox::{ControlRequest, WorkerMessage};
use crate::shared::names::NamesCell;
use crate::shared::probes::Probes;
use crate::shared::quota_board::PolledLimits;
use crate::shared::quota_facts::QuotaFacts;
use crate::shared::quota_overrides::Overrides;
use crate::shared::refresh::{RefreshRequest, refresh_mailboxes};
use crate::shared::rights::MissingRights;
use crate::shared::scripts::ScriptCache;
use crate::shared::swaps::DatabaseSwaps;
use crate::shared::tenants::Tenants;
use crate::shared::topology::TopologyCell;
use crate::shared::upstream_facts::UpstreamFactsCell;
use crate::shared::users::{Denial, UsersCell};

/// What the threads share, and its far ends.
pub(super) struct Wiring {
    pub gateway: Arc<Gateway>,
    /// Moves the process from one stage of its life to the next.
    pub stage: watch::Sender<Stage>,
    /// By worker.
    pub workers: Vec<WorkerInboxes>,
    pub control: ControlEnds,
}

/// What a worker empties.
pub(super) struct WorkerInboxes {
    pub messages: mpsc::Receiver<WorkerMessage>,
    /// Asks for descriptions of its clients.
    pub client_rows: ClientRowsInbox,
}

/// What the control thread empties and publishes.
pub(super) struct ControlEnds {
    /// Numbers the nodes of all clusters.
    pub registry: SharedRegistry,
    /// By cluster.
    pub keepers: Vec<KeeperEnds>,
    pub slices: mpsc::Receiver<(usize, Slice)>,
    pub hot_set: watch::Sender<Arc<HotSet>>,
    pub polled_limits: watch::Sender<Arc<PolledLimits>>,
    pub overrides: watch::Sender<Arc<Overrides>>,
    pub quota_news: mpsc::Receiver<Vec<QuotaFacts>>,
    pub denials: mpsc::Receiver<Denial>,
    pub questions: mpsc::Receiver<ControlRequest>,
}

/// The ends of a cluster's topology keeper.
pub(super) struct KeeperEnds {
    pub refresh_requests: mpsc::Receiver<RefreshRequest>,
    /// A reload changes them.
    pub settings: watch::Sender<KeeperSettings>,
    pub settings_seen: watch::Receiver<KeeperSettings>,
}

impl Wiring {
    pub(super) fn of(prepared: &Prepared) -> Self {
        let Prepared { config, certificates, .. } = prepared;
        let workers = prepared.sockets.workers.len();
        let (refresh, refresh_requests) = refresh_mailboxes(config.clusters().len());
        let registry = SharedRegistry::new(config.clusters().len());
        let (stage, stage_seen) = watch::channel(Stage::Serving);
        let (hot_set, hot_set_seen) = watch::channel(Arc::default());
        let (slice_sender, slices) = mpsc::channel(workers);
        let (polled_limits, polled_limits_seen) = watch::channel(Arc::default());
        let (overrides, overrides_seen) = watch::channel(Arc::default());
        let (quota_news_sender, quota_news) = mpsc::channel(QUOTA_NEWS_WAITING_MAX);
        let (denial_sender, denials) = mpsc::channel(DENIALS_WAITING_MAX);
        let (control, questions) = mpsc::channel(CONTROL_MAILBOX_MAX);
        let (handles, inboxes): (Vec<_>, Vec<_>) = (0..workers).map(|_| worker_mailbox()).unzip();
        let (client_rows, row_inboxes) = ClientRowsPort::new(workers);
        let gateway = Arc::new(Gateway {
            config: ArcSwap::from_pointee(config.clone()),
            config_origins: ArcSwap::default(),
            config_file: ConfigFile::default(),
            routing: ArcSwap::from_pointee(prepared.routes.clone()),
            tenants: ArcSwapOption::new(Tenants::of(config, None)),
            topology: Arc::new(TopologyCell::new(registry.topology())),
            commands: ArcSwap::from_pointee(CommandTable::builtin()),
            users: UsersCell::new(prepared.users.clone(), denial_sender),
            key_names: key_names(config),
            audit: Arc::clone(&prepared.audit),
            events: Arc::clone(&prepared.events),
            history: Arc::clone(&prepared.history),
            commands_reset: ArcSwap::default(),
            command_log: Arc::new(CommandLog::default()),
            facts: config.clusters().map(|_| Arc::new(UpstreamFactsCell::default())).collect(),
            dialers: certificates.dialers.clone(),
            certificates: CertificatesCell::default(),
            swaps: DatabaseSwaps::default(),
            probes: Probes::default(),
            names: NamesCell::default(),
            rights: MissingRights::default(),
            scripts: ScriptCache::default(),
            connections: Connections::default(),
            refresh,
            control,
            workers: handles,
            stage: stage_seen,
            journal_given: watch::Sender::new(false),
            client_rows,
            key_hasher: KeyHasher::default(),
            hot_set: hot_set_seen,
            slices: slice_sender,
            id: prepared.id.clone(),
            listen: prepared.bound.all(),
            polled_limits: polled_limits_seen,
            overrides: overrides_seen,
            quota_news: quota_news_sender,
            ledger: LedgerCell::default(),
            sales_used: Notify::new(),
            sales_looked_at: Notify::new(),
            sales_seen: ArcSwap::default(),
            started: Instant::now(),
        });
        let workers = inboxes
            .into_iter()
            .zip(row_inboxes)
            .map(|(messages, client_rows)| WorkerInboxes { messages, client_rows })
            .collect();
        let keepers = keepers(prepared, refresh_requests);
        let control = ControlEnds {
            registry,
            keepers,
            slices,
            hot_set,
            polled_limits,
            overrides,
            quota_news,
            denials,
            questions,
        };
        Self { gateway, stage, workers, control }
    }
}

fn keepers(prepared: &Prepared, refresh_requests: Vec<mpsc::Receiver<RefreshRequest>>) -> Vec<KeeperEnds> {
    let Prepared { config, certificates, .. } = prepared;
    let ends = config.clusters().zip(&certificates.dialers).zip(refresh_requests);
    ends.map(|((cluster, dialer), refresh_requests)| {
        let (settings, settings_seen) =
            watch::channel(KeeperSettings::new(config.upstream_of(cluster), dialer));
        KeeperEnds { refresh_requests, settings, settings_seen }
    })
    .collect()
}

/// What other threads see of a worker, and its mailbox.
fn worker_mailbox() -> (WorkerHandle, mpsc::Receiver<WorkerMessage>) {
    let (mailbox, messages) = mpsc::channel(WORKER_MAILBOX_MAX);
    let handle =
        WorkerHandle { mailbox, tallies: Arc::default(), quotas: Arc::default(), held: HeldNodes::default() };
    (handle, messages)
}
