//! Starts the threads, wires them, stops them in order. The only place that knows both `worker/` and `control/`.
//!
//! ```text
//!   main thread = control thread          worker threads, one runtime each
//!   topology, reload, HTTP, figures  <--> listener, clients, upstream connections
//!                         \__ shared/ (snapshots, mailboxes) __/
//! ```
//!
//! Starting: [`prepare`] gets what can refuse a start, [`wiring`] makes what the threads share, [`workers`] and [`control`]
//! start on it.
//!
//! Upgrade: [`upgrade`] is asked for it, [`handover`] starts the new program and hands over, [`running`] serves who stays.
//!
//! Stopping: `/readyz` says no for `gateway.drain_delay` (`Stage::Leaving`); listeners close and clients finish what they have in flight (`Stage::Draining`); after
//! `gateway.drain_timeout`, or at once when all have gone, what is left is cut (`Stage::Stopped`); threads are joined.

mod bind;
mod control;
mod error;
mod handover;
mod journal;
mod prepare;
mod running;
mod upgrade;
mod wiring;
mod workers;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::config::Config;
use crate::control::admin;
use crate::control::readiness::readiness;
use crate::control::reload::ConfigSource;
use crate::control::service_manager;
use crate::monitor::view::Readiness;
use crate::net::BoundListener;
use crate::shared::events::{Event, EventKind};
use crate::shared::gateway::Gateway;
use control::Reloadable;
pub use error::ProcessError;
use handover::{Conversation, close_rest};
pub use handover::{Predecessor, Program};
use prepare::{Prepared, Sockets, WrittenAhead};
use running::Running;
pub use upgrade::request_upgrade;
use wiring::Wiring;
use workers::Workers;

/// How long the start waits for the upstream before it says that it is not there yet. It goes on either way.
const FIRST_LOOK_PATIENCE: Duration = Duration::from_secs(2);

/// How long a process that is to take over waits until it could serve. Then it gives up.
const USABLE_PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks at whether it could.
const USABLE_LOOK_PERIOD: Duration = Duration::from_millis(10);

/// The addresses of the running process. Sent as soon as clients may connect.
#[derive(Clone, Debug)]
pub struct Started {
    /// The addresses for clients, with real ports.
    pub listen: Vec<SocketAddr>,
    /// Those for clients with TLS.
    pub tls: Vec<SocketAddr>,
    /// The Unix socket for clients, if there is one.
    pub unix: Option<PathBuf>,
    /// The address of the HTTP side, if there is one.
    pub admin: Option<SocketAddr>,
    /// Whether it speaks TLS.
    pub admin_speaks_tls: bool,
}

/// What the process comes from.
pub struct Origin {
    /// The program that an upgrade starts.
    pub program: Program,
    /// The process to take over from, if there is one.
    pub predecessor: Option<Predecessor>,
}

/// Runs the gateway until SIGTERM or SIGINT, then drains it; or until another process has taken over and the clients have left.
///
/// `source` says where the configuration came from, for reloads. `started` is called once.
///
/// # Errors
/// An address is taken, or the system refuses something at the start.
pub fn run(
    config: Config,
    source: ConfigSource,
    origin: Origin,
    started: impl FnOnce(&Started),
) -> Result<(), ProcessError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| ProcessError::System("a runtime", error))?;
    runtime.block_on(async {
        let no_handler = |error| ProcessError::System("a signal handler", error);
        let shutdown = stop_signal().map_err(no_handler)?;
        let mut requests = upgrade::Requests::listen().map_err(no_handler)?;
        let Origin { program, predecessor } = origin;
        let begun = begin(config, source, predecessor.as_ref()).await;
        let (mut running, addresses) = begun.inspect_err(|error| {
            if let Some(predecessor) = &predecessor {
                predecessor.refuse(&error.to_string());
            }
        })?;
        drop(predecessor);
        started(&addresses);
        #[cfg(debug_assertions)]
        crate::panics::provoke_anywhere();
        tokio::pin!(shutdown);
        let failed = running.until_end(&program, &mut requests, shutdown).await;
        running.end(failed).await
    })
}

/// Starts everything, in place of the former process if there is one.
async fn begin(
    config: Config,
    source: ConfigSource,
    predecessor: Option<&Predecessor>,
) -> Result<(Running, Started), ProcessError> {
    let conversation = predecessor.map(Predecessor::converse).transpose();
    let conversation = conversation.map_err(|error| ProcessError::System("a socket", error))?;
    let inherited = match &conversation {
        Some(conversation) => Some(conversation.listeners().await?),
        None => None,
    };
    let prepared = Prepared::new(config, inherited).await?;
    let Wiring { gateway, stage, workers, control: ends } = Wiring::of(&prepared);
    let Prepared { asked, descriptors, certificates, password_commands, .. } = prepared;
    let Prepared { bound, sockets, mut journal, unused, .. } = prepared;
    let reloadable = Reloadable { source, asked, descriptors, certificates, password_commands };
    let monitoring = control::start(&gateway, ends, reloadable);
    if let Some(conversation) = &conversation {
        journal = take_over(&gateway, conversation, &sockets).await?;
    }
    let Sockets { workers: listeners, admin } = sockets;
    let WrittenAhead { journal, ends: journals } = journal;
    let workers = Workers::start(&gateway, workers, listeners, journals)?;
    let (admin, admin_address) = admin.unzip();
    let admin_speaks_tls = admin.as_ref().is_some_and(BoundListener::is_tls);
    if let Some(listener) = admin {
        admin::listen(&gateway, &monitoring, listener);
    }
    match &conversation {
        Some(conversation) => conversation.serving().await,
        None => wait_for_upstream(&gateway).await,
    }
    close_rest(unused);
    service_manager::say_ready();
    let text = format!("hotgate {}, process {}", env!("CARGO_PKG_VERSION"), std::process::id());
    gateway.events.record(Event::new(EventKind::Started, "gateway", text));
    let started = Started {
        listen: bound.plain.clone(),
        tls: bound.tls.clone(),
        unix: bound.unix.as_ref().map(|file| file.path().to_owned()),
        admin: admin_address,
        admin_speaks_tls,
    };
    Ok((Running { gateway, stage, workers, bound, journal }, started))
}

/// Waits until the former process lets go, which it does when this one could serve, and takes what was its own.
async fn take_over(
    gateway: &Gateway,
    conversation: &Conversation,
    sockets: &Sockets,
) -> Result<WrittenAhead, ProcessError> {
    wait_until_usable(gateway).await?;
    let commit = conversation.ready().await?;
    gateway.connections.begin_after(commit.next_client_id);
    let config = gateway.config.load();
    let journal = WrittenAhead::open(&config, gateway.workers.len(), &gateway.id)?;
    sockets.listen(config.gateway.tcp_backlog)?;
    gateway.audit.record(commit.entry);
    Ok(journal)
}

async fn wait_until_usable(gateway: &Gateway) -> Result<(), ProcessError> {
    let deadline = Instant::now() + USABLE_PATIENCE;
    loop {
        match readiness(gateway) {
            Readiness::Ready => return Ok(()),
            Readiness::UpstreamUnreachable { why } if Instant::now() >= deadline => {
                let patience_s = USABLE_PATIENCE.as_secs();
                return Err(ProcessError::Handover(format!(
                    "the new process could serve nobody within {patience_s} s: {why}"
                )));
            }
            _ => sleep(USABLE_LOOK_PERIOD).await,
        }
    }
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
