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
//! Stopping: `/readyz` says no for `gateway.drain_delay` (`Stage::Leaving`); listeners close and clients finish what they have in flight (`Stage::Draining`); after
//! `gateway.drain_timeout`, or at once when all have gone, what is left is cut (`Stage::Stopped`); threads are joined.

mod bind;
mod control;
mod error;
mod journal;
mod prepare;
mod wiring;
mod workers;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::timeout;

use crate::config::Config;
use crate::control::reload::ConfigSource;
use crate::control::service_manager;
use crate::net::Listener;
use crate::shared::events::{Event, EventKind};
use crate::shared::gateway::{Gateway, Stage};
use control::Reloadable;
pub use error::ProcessError;
use prepare::{Prepared, Sockets, WrittenAhead};
use wiring::Wiring;
use workers::Workers;

/// How long the start waits for the upstream before it says that it is not there yet. It goes on either way.
const FIRST_LOOK_PATIENCE: Duration = Duration::from_secs(2);

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
    let prepared = Prepared::new(config).await?;
    let Wiring { gateway, stage, workers, control: ends } = Wiring::of(&prepared);
    let Prepared { asked, descriptors, certificates, bound, sockets, journal, .. } = prepared;
    let Sockets { workers: listeners, admin } = sockets;
    let WrittenAhead { journal, ends: journals } = journal;
    let mut workers = Workers::start(&gateway, workers, listeners, journals)?;
    let (admin, admin_address) = admin.unzip();
    let admin_speaks_tls = admin.as_ref().is_some_and(Listener::is_tls);
    control::start(&gateway, ends, Reloadable { source, asked, descriptors, certificates }, admin);
    wait_for_upstream(&gateway).await;
    service_manager::say_ready();
    let text = format!("hotgate {}, process {}", env!("CARGO_PKG_VERSION"), std::process::id());
    gateway.events.record(Event::new(EventKind::Started, "gateway", text));
    started(&Started {
        listen: bound.plain.clone(),
        tls: bound.tls.clone(),
        unix: bound.unix.as_ref().map(|file| file.path().to_owned()),
        admin: admin_address,
        admin_speaks_tls,
    });
    #[cfg(debug_assertions)]
    crate::panics::provoke_anywhere();

    tokio::pin!(shutdown);
    let failed = tokio::select! {
        () = &mut shutdown => {
            gateway.events.record(Event::new(EventKind::Stopped, "gateway", "it was told to end"));
            workers.leave(&gateway, &stage).await
        }
        error = workers.failed() => Some(error),
    };
    let outcome = match failed {
        None => workers.drain(&gateway, &stage, journal.is_some()).await,
        Some(error) => {
            gateway.events.record(Event::new(EventKind::Stopped, "gateway", error.to_string()));
            stage.send_replace(Stage::Stopped);
            Err(error)
        }
    };
    workers.join();
    // The file of the Unix socket goes when nobody accepts any more.
    drop(bound);
    gateway.audit.close();
    gateway.events.close();
    // What the workers handed over last is on disk before the process ends.
    drop(journal);
    outcome
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
