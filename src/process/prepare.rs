//! What the process needs before its first thread runs. Whatever can refuse a start refuses it here, before a client can connect.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use super::ProcessError;
use super::bind::{Bound, bind_admin, bind_all};
use super::journal::open_journal;
use crate::access::Users;
use crate::command::CommandTable;
use crate::config::Config;
use crate::control::certificates::Certificates;
use crate::control::descriptors::{Descriptors, open_now, raise_limit};
use crate::control::kept_file;
use crate::control::rights::missing_rights;
use crate::control::users::users_of;
use crate::journal::Journal;
use crate::net::{BoundListener, Listener};
use crate::route::Routes;
use crate::shared::audit::Audit;
use crate::shared::events::Events;
use crate::worker::hot::behind::WorkerJournal;

/// All of it. `process` hands each part to its owner.
pub(super) struct Prepared {
    /// The configuration as it was asked for.
    pub asked: Config,
    /// The same with bounds that fit the file descriptors: the one in force.
    pub config: Config,
    pub descriptors: Descriptors,
    pub routes: Routes,
    pub certificates: Certificates,
    pub users: Users,
    /// The changes that operators made, in this life and in former ones.
    pub audit: Arc<Audit>,
    /// What happened, in this life and in former ones.
    pub events: Arc<Events>,
    /// Tells this gateway from all others and from its own former lives.
    pub id: String,
    /// Where clients may connect.
    pub bound: Bound,
    pub sockets: Sockets,
    pub journal: WrittenAhead,
}

/// The listening sockets.
pub(super) struct Sockets {
    /// Of each worker, one per address.
    pub workers: Vec<Vec<BoundListener>>,
    /// That of the HTTP side with its address, if there is one.
    pub admin: Option<(Listener, SocketAddr)>,
}

/// The journal and its ends.
pub(super) struct WrittenAhead {
    /// Its thread, if there is to be one. What was handed to it is on disk when this is dropped.
    pub journal: Option<Journal>,
    /// One per worker; none without a journal.
    pub ends: Vec<WorkerJournal>,
}

impl Prepared {
    /// Reads, asks, binds and opens what `asked` names.
    ///
    /// # Errors
    /// Something of it can't be had.
    pub(super) async fn new(asked: Config) -> Result<Self, ProcessError> {
        let workers =
            asked.gateway.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        let id = new_id();
        let certificates = Certificates::open(&asked).map_err(ProcessError::Tls)?;
        let routes = asked.routing();
        // Nobody knows while no server answers; then the log and the status line say it later.
        let missing = missing_rights(&asked, &routes, &certificates.dialers).await;
        if !missing.is_empty() {
            return Err(ProcessError::Rights(missing));
        }
        let users = users_of(&asked.auth, &CommandTable::builtin()).map_err(ProcessError::Users)?;
        let directory = asked.gateway.state_dir.as_deref();
        let audit = Arc::new(kept_file::start(directory).map_err(ProcessError::StateDirectory)?);
        let events = kept_file::start(directory).map_err(ProcessError::StateDirectory)?;
        let events = Arc::new(Events::new(events));
        let (journal, ends) = open_journal(&asked, workers, &id)?;
        let limit = raise_limit();
        let (bound, listeners) = bind_all(&asked, workers, certificates.acceptor.as_ref())?;
        let sockets =
            Sockets { workers: listeners, admin: bind_admin(&asked, certificates.admin_acceptor())? };
        let descriptors = Descriptors::new(limit, open_now(), workers, &asked);
        let config = descriptors.fit(&asked).map_err(ProcessError::Descriptors)?;
        descriptors.report(&asked, &config);
        let journal = WrittenAhead { journal, ends };
        Ok(Self {
            asked,
            config,
            descriptors,
            routes,
            certificates,
            users,
            audit,
            events,
            id,
            bound,
            sockets,
            journal,
        })
    }
}

/// 40 hexadecimal digits of chance, the form of a cluster node's id.
fn new_id() -> String {
    (0..5).map(|_| format!("{:08x}", rand::random::<u32>())).collect()
}
