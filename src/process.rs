//! Starts the threads, wires them, stops them in order. The only place that knows both `worker/` and `control/`.
//!
//! ```text
//!   main thread = control thread          worker threads, one runtime each
//!   topology, reload, HTTP, figures  <--> listener, clients, upstream connections
//!                         \__ shared/ (snapshots, mailboxes) __/
//! ```
//!
//! Stopping: listeners close and clients finish what they have in flight (`Stage::Draining`); after
//! `gateway.drain_timeout`, or at once when all have gone, what is left is cut (`Stage::Stopped`); threads are joined.

mod bind;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;

use crate::command::CommandTable;
use crate::config::Config;
use crate::control::acl::{AclService, follow_denials};
use crate::control::admin;
use crate::control::admin_service::{AdminService, answer_questions};
use crate::control::certificates::{Certificates, follow_certificates};
use crate::control::commands::follow_commands;
use crate::control::descriptors::{Descriptors, TooFewDescriptors, open_now, raise_limit};
use crate::control::hot_set::merge_hot_set;
use crate::control::probes::follow_probes;
use crate::control::quota_list::QuotaList;
use crate::control::quotas::{poll_limits, serve_changes};
use crate::control::reload::{ConfigSource, Reloader, follow_reloads};
use crate::control::rights::{follow_rights, missing_rights};
use crate::control::sales::sweeper::sweep;
use crate::control::topology::{KeeperSettings, Published, SharedRegistry, TopologyKeeper};
use crate::control::users::users_of;
use crate::journal::{Journal, JournalCluster, JournalOptions, OpenError, Recovery, Tear, TornTail};
use crate::limits::{CONTROL_MAILBOX_MAX, DENIALS_WAITING_MAX, QUOTA_NEWS_WAITING_MAX, WORKER_MAILBOX_MAX};
use crate::net::listen_advice;
use crate::net::tls::TlsError;
use crate::route::{KeyHasher, Routes};
use crate::shared::certificates::CertificatesCell;
use crate::shared::client_rows::ClientRowsPort;
use crate::shared::config_file::ConfigFile;
use crate::shared::connections::Connections;
use crate::shared::gateway::{Gateway, Stage, WorkerHandle};
use crate::shared::held::HeldNodes;
use crate::shared::probes::Probes;
use crate::shared::quota_changes::QuotaChangePort;
use crate::shared::refresh::refresh_mailboxes;
use crate::shared::rights::MissingRights;
use crate::shared::scripts::ScriptCache;
use crate::shared::topology::TopologyCell;
use crate::shared::upstream_facts::UpstreamFactsCell;
use crate::shared::users::UsersCell;
use crate::worker;
use crate::worker::hot::behind::{Unflushed, WorkerJournal};
use bind::{Bound, bind_admin, bind_all};

/// How long the start waits for the upstream before it says that it is not there yet. It goes on either way.
const FIRST_LOOK_PATIENCE: Duration = Duration::from_secs(2);

/// Why the process can't start or go on.
#[derive(Debug)]
pub enum ProcessError {
    /// An address can't be listened on.
    Listen(SocketAddr, io::Error),
    /// The system refuses a thread, a runtime or a signal handler.
    System(&'static str, io::Error),
    /// A worker thread ended by itself.
    Worker(usize, String),
    /// There are too few file descriptors.
    Descriptors(TooFewDescriptors),
    /// The file of users is wrong: one line each.
    Users(Vec<String>),
    /// The upstream user may not do what the configuration needs: sentences without a full stop.
    Rights(Vec<String>),
    /// A certificate, a key or an authority can't be used.
    Tls(TlsError),
    /// The journal of write-behind can't be opened.
    Journal(OpenError),
    /// The process ended before Redis had all that was answered. The log names the keys.
    Unflushed {
        /// Increments that write-behind answered.
        unflushed: Unflushed,
        /// The journal has that, for the next process.
        journaled: bool,
        /// Increments that quotas let through while Redis was away.
        unpaid: Unflushed,
    },
}

impl std::fmt::Display for ProcessError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Listen(address, error) => {
                write!(f, "can't listen on {address}: {error}; {}", listen_advice(error))
            }
            Self::System(what, error) => write!(f, "the system refused {what}: {error}"),
            Self::Journal(error) => error.fmt(f),
            Self::Tls(error) => error.fmt(f),
            Self::Descriptors(error) => error.fmt(f),
            Self::Unflushed { unflushed, journaled, unpaid } => {
                let fate = match journaled {
                    true => "the journal keeps them for the next start",
                    false => "they are lost",
                };
                let within = "within gateway.drain_timeout";
                let mut between = "";
                if unflushed.keys > 0 {
                    let Unflushed { keys, increments } = unflushed;
                    write!(
                        f,
                        "{increments} acknowledged increments of {keys} keys could not be flushed {within}: {fate}"
                    )?;
                    between = "; ";
                }
                if unpaid.keys > 0 {
                    let Unflushed { keys, increments } = unpaid;
                    write!(
                        f,
                        "{between}{increments} increments of {keys} keys that quotas let through while Redis was away could \
                         not be added {within}: they are lost"
                    )?;
                }
                Ok(())
            }
            Self::Rights(missing) => {
                write!(f, "{}; grant that, or take it out of the configuration", missing.join("; "))
            }
            Self::Users(errors) => {
                write!(f, "auth.acl_file: {}; mend it, or name another file", errors.join("; "))
            }
            Self::Worker(index, why) => write!(f, "worker {index} ended by itself: {why}"),
        }
    }
}

impl std::error::Error for ProcessError {}

/// The addresses of the running process. Sent as soon as clients may connect.
#[derive(Clone, Debug)]
pub struct Started {
    /// The addresses for clients, with real ports.
    pub listen: Vec<SocketAddr>,
    /// Those for clients with TLS.
    pub tls: Vec<SocketAddr>,
    /// The address of the HTTP side, if there is one.
    pub admin: Option<SocketAddr>,
}

/// Runs the gateway until SIGTERM or SIGINT, then drains it.
///
/// `source` says where the configuration came from, for reloads. `started` is called once.
///
/// # Errors
/// An address is taken, or the system refuses something at the start.
pub fn run(config: Config, source: ConfigSource, started: impl FnOnce(&Started)) -> Result<(), ProcessError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ProcessError::System("a runtime", error))?;
    runtime.block_on(async {
        let shutdown = stop_signal().map_err(|error| ProcessError::System("a signal handler", error))?;
        serve(config, source, shutdown, started).await
    })
}

/// As [`run`] on a runtime of the caller's, until `shutdown` completes.
///
/// # Errors
/// As [`run`].
pub async fn serve(
    config: Config,
    source: ConfigSource,
    shutdown: impl Future<Output = ()>,
    started: impl FnOnce(&Started),
) -> Result<(), ProcessError> {
    let workers =
        config.gateway.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let id = new_id();
    let certificates = Certificates::open(&config).map_err(ProcessError::Tls)?;
    // Nobody knows while no server answers; then the log and the status line say it later.
    let routes = Routes::default();
    let missing = missing_rights(&config, routes, &certificates.dialers).await;
    if !missing.is_empty() {
        return Err(ProcessError::Rights(missing));
    }
    let users = users_of(&config.auth, &CommandTable::builtin()).map_err(ProcessError::Users)?;
    let (journal, mut journals) = open_journal(&config, workers, &id)?;
    let journaled = journal.is_some();
    let limit = raise_limit();
    let (Bound { plain, tls }, mut listeners) = bind_all(&config, workers, certificates.acceptor.as_ref())?;
    let listen: Vec<SocketAddr> = plain.iter().chain(&tls).copied().collect();
    let admin_listener = bind_admin(&config)?;
    let descriptors = Descriptors::new(limit, open_now(), workers, &config);
    let asked = config;
    let config = descriptors.fit(&asked).map_err(ProcessError::Descriptors)?;
    descriptors.report(&asked, &config);
    let (stage, stage_seen) = watch::channel(Stage::Serving);
    let clusters = config.clusters();
    let (refresh, refresh_requests) = refresh_mailboxes(config.clusters().len());
    let registry = SharedRegistry::new(config.clusters().len());
    let (hot_set, hot_set_seen) = watch::channel(Arc::default());
    let (polled_limits, polled_limits_seen) = watch::channel(Arc::default());
    let (overrides, overrides_seen) = watch::channel(Arc::default());
    let (quota_news, told) = mpsc::channel(QUOTA_NEWS_WAITING_MAX);
    let (denials, denials_told) = mpsc::channel(DENIALS_WAITING_MAX);
    let (slice_sender, slices) = mpsc::channel(workers);
    let (control, questions) = mpsc::channel(CONTROL_MAILBOX_MAX);
    let (mailboxes, mut inboxes): (Vec<_>, Vec<_>) =
        (0..workers).map(|_| mpsc::channel(WORKER_MAILBOX_MAX)).unzip();
    let (client_rows, mut row_inboxes) = ClientRowsPort::new(workers);
    let (keepers, keepers_told): (Vec<_>, Vec<_>) = config
        .clusters()
        .zip(&certificates.dialers)
        .map(|(cluster, dialer)| watch::channel(KeeperSettings::new(config.upstream_of(cluster), dialer)))
        .unzip();
    let facts = config.clusters().map(|_| Arc::new(UpstreamFactsCell::default())).collect();
    let gateway = Arc::new(Gateway {
        config: ArcSwap::from_pointee(config),
        config_file: ConfigFile::default(),
        routes,
        topology: Arc::new(TopologyCell::new(registry.topology())),
        commands: ArcSwap::from_pointee(CommandTable::builtin()),
        users: UsersCell::new(users, denials),
        facts,
        dialers: certificates.dialers.clone(),
        certificates: CertificatesCell::default(),
        probes: Probes::default(),
        rights: MissingRights::default(),
        scripts: ScriptCache::default(),
        connections: Connections::default(),
        refresh,
        control,
        workers: mailboxes
            .into_iter()
            .map(|mailbox| WorkerHandle {
                mailbox,
                tallies: Arc::default(),
                quotas: Arc::default(),
                held: HeldNodes::default(),
            })
            .collect(),
        stage: stage_seen,
        client_rows,
        key_hasher: KeyHasher::default(),
        hot_set: hot_set_seen,
        slices: slice_sender,
        id,
        listen,
        polled_limits: polled_limits_seen,
        overrides: overrides_seen,
        quota_news,
        sales_used: Notify::new(),
        started: Instant::now(),
    });
    let (ended, mut worker_ended) = mpsc::channel(workers);
    let mut threads = Vec::with_capacity(workers);
    for index in (0..workers).rev() {
        let (Some(listeners), Some(messages), Some(client_rows)) =
            (listeners.pop(), inboxes.pop(), row_inboxes.pop())
        else {
            break;
        };
        let journal = journals.pop();
        let setup =
            worker::Setup { index, gateway: Arc::clone(&gateway), listeners, messages, client_rows, journal };
        let ended = ended.clone();
        let thread = thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
            let outcome = worker::run(setup);
            // The receiver lives until all threads are joined.
            let _ = ended.blocking_send((index, outcome));
        });
        threads.push(thread.map_err(|error| ProcessError::System("a thread", error))?);
    }
    drop(ended);
    for ((cluster, requests), settings) in clusters.zip(refresh_requests).zip(keepers_told) {
        let published = Published {
            registry: registry.clone(),
            topology: Arc::clone(&gateway.topology),
            facts: Arc::clone(gateway.facts_of(cluster)),
        };
        let keeper = TopologyKeeper::new(cluster, settings, requests, published, gateway.id.clone());
        tokio::spawn(keeper.run());
        tokio::spawn(follow_commands(Arc::clone(&gateway), cluster));
    }
    let (quota_changes, quota_change_inbox) = QuotaChangePort::new();
    let file = source.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default();
    let quotas = QuotaList::default();
    let monitoring = Arc::new(admin::start(&gateway, quota_changes, quotas.clone(), file));
    let admin_address = admin_listener.as_ref().map(|(_, address)| *address);
    if let Some((listener, _)) = admin_listener {
        admin::listen(&gateway, &monitoring, listener);
    }
    let acl = Arc::new(AclService::new(Arc::clone(&gateway)));
    tokio::spawn(follow_denials(Arc::clone(&acl), denials_told));
    let service = AdminService::new(Arc::clone(&gateway), Arc::clone(&monitoring), quotas.clone(), acl);
    let service = Arc::new(service);
    tokio::spawn(merge_hot_set(Arc::clone(&gateway), slices, hot_set, monitoring, Arc::clone(&service)));
    tokio::spawn(answer_questions(service, questions));
    tokio::spawn(serve_changes(Arc::clone(&gateway), quota_change_inbox, overrides, quotas.clone()));
    tokio::spawn(quotas.clone().follow(told));
    tokio::spawn(follow_rights(Arc::clone(&gateway)));
    tokio::spawn(follow_probes(Arc::clone(&gateway)));
    tokio::spawn(poll_limits(Arc::clone(&gateway), polled_limits));
    tokio::spawn(sweep(Arc::clone(&gateway)));
    let reloaded = Arc::new(Notify::new());
    gateway.certificates.store(certificates.in_use());
    tokio::spawn(follow_certificates(Arc::clone(&gateway), certificates, Arc::clone(&reloaded)));
    let reloader = Reloader { gateway: Arc::clone(&gateway), source, asked, descriptors, keepers, reloaded };
    tokio::spawn(follow_reloads(reloader));
    wait_for_upstream(&gateway).await;
    started(&Started { listen: plain, tls, admin: admin_address });
    #[cfg(debug_assertions)]
    crate::panics::provoke_anywhere();

    tokio::pin!(shutdown);
    let failed = tokio::select! {
        () = &mut shutdown => None,
        ended = worker_ended.recv() => ended,
    };
    let outcome = match failed {
        None => drain(&gateway, &stage, &mut worker_ended, journaled).await,
        Some((index, outcome)) => {
            stage.send_replace(Stage::Stopped);
            let why = outcome.err().map_or_else(|| "it returned".to_owned(), |error| error.to_string());
            Err(ProcessError::Worker(index, why))
        }
    };
    for thread in threads {
        // A panic has been printed by the thread itself.
        let _ = thread.join();
    }
    // What the workers handed over last is on disk before the process ends.
    drop(journal);
    outcome
}

/// Lets the workers finish, then cuts what is left.
async fn drain(
    gateway: &Gateway,
    stage: &watch::Sender<Stage>,
    worker_ended: &mut mpsc::Receiver<(usize, io::Result<worker::Ended>)>,
    journaled: bool,
) -> Result<(), ProcessError> {
    let patience = gateway.config.load().gateway.drain_timeout;
    tracing::info!(
        clients = gateway.connections.open(),
        ?patience,
        "draining: no new clients, finishing what is in flight"
    );
    stage.send_replace(Stage::Draining);
    let (mut cut_off, mut unflushed, mut unpaid) = (0, Unflushed::default(), Unflushed::default());
    let mut collect = async || {
        while let Some((_, outcome)) = worker_ended.recv().await {
            let ended = outcome.unwrap_or_default();
            cut_off += ended.cut_off;
            unflushed.add(ended.unflushed);
            unpaid.add(ended.unpaid);
        }
    };
    if timeout(patience, collect()).await.is_err() {
        stage.send_replace(Stage::Stopped);
        collect().await;
    }
    match cut_off {
        0 => tracing::info!("drained"),
        clients => {
            tracing::warn!(clients, "cut off clients that had not finished within gateway.drain_timeout")
        }
    }
    match unflushed.keys + unpaid.keys {
        0 => Ok(()),
        _ => Err(ProcessError::Unflushed { unflushed, journaled, unpaid }),
    }
}

/// Opens the journal of write-behind, if there is to be one. Each worker gets its end of it; the first counts what it does.
fn open_journal(
    config: &Config,
    workers: usize,
    id: &str,
) -> Result<(Option<Journal>, Vec<WorkerJournal>), ProcessError> {
    let clusters = config.clusters().map(|cluster| {
        let servers: Vec<String> =
            config.upstream_of(cluster).servers.iter().map(ToString::to_string).collect();
        JournalCluster { name: config.cluster_name(cluster).to_owned(), servers: servers.join(",") }
    });
    let clusters = clusters.collect();
    let config = &config.write_behind;
    if !config.journal {
        if config.journal_path.is_dir() {
            tracing::warn!(
                directory = %config.journal_path.display(),
                "write_behind.journal is off and its directory exists: increments that a former process left there are not \
                 flushed; start once with it on, soon, or remove the directory"
            );
        }
        return Ok((None, Vec::new()));
    }
    let options = JournalOptions {
        directory: config.journal_path.clone(),
        gateway_id: id.to_owned(),
        clusters,
        adopt: config.journal_adopt,
        bytes_max: config.journal_bytes_max,
        clients: workers,
    };
    let opened = Journal::open(options).map_err(ProcessError::Journal)?;
    let Recovery { gateway_id, token_floor, keys, torn } = opened.recovery;
    if let Some(torn) = torn {
        warn_of_torn_tail(&torn);
    }
    tracing::info!(directory = %config.journal_path.display(), keys = keys.len(), "the journal is open");
    let recovered: Arc<[_]> = keys.into();
    let mut facts = Some(opened.journal.follow_facts());
    let journals = opened
        .clients
        .into_iter()
        .map(|client| WorkerJournal {
            client,
            facts: facts.take(),
            gateway_id: gateway_id.clone(),
            token_floor,
            recovered: Arc::clone(&recovered),
        })
        .collect();
    Ok((Some(opened.journal), journals))
}

fn warn_of_torn_tail(torn: &TornTail) {
    let what = match torn.tear {
        Tear::CutShort => {
            "the journal's last record was cut short by a crash; nothing in it had been acknowledged"
        }
        Tear::Unwritten => {
            "the journal's last record holds zeros and was left out; a power failure leaves that of a record of which \
             nothing had been acknowledged; if the power did not fail, increments that were acknowledged are lost \
             with it, or counted twice"
        }
    };
    tracing::warn!(file = %torn.file.display(), offset = torn.offset, bytes = torn.bytes, "{what}");
}

async fn wait_for_upstream(gateway: &Gateway) {
    let mut changes = gateway.topology.changes();
    let known = changes.wait_for(|version| *version > 0);
    if timeout(FIRST_LOOK_PATIENCE, known).await.is_err() {
        let servers: Vec<String> = gateway.config.load().all_servers().map(ToString::to_string).collect();
        tracing::warn!(
            servers = servers.join(","),
            "no upstream server has answered yet; clients get errors until one does"
        );
    }
}

/// 40 hexadecimal digits of chance, the form of a cluster node's id.
fn new_id() -> String {
    (0..5).map(|_| format!("{:08x}", rand::random::<u32>())).collect()
}

/// Completes at SIGTERM or SIGINT.
///
/// # Errors
/// The handlers can't be installed.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}
