//! What the process needs before its first thread runs. Whatever can refuse a start refuses it here, before a client can connect.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use super::ProcessError;
use super::bind::{Bound, bind_admin, bind_all};
use super::handover::Inherited;
use super::journal::open_journal;
use crate::access::Users;
use crate::command::CommandTable;
use crate::config::Config;
use crate::control::certificates::Certificates;
use crate::control::descriptors::{Descriptors, open_now, raise_limit};
use crate::control::history_file;
use crate::control::kept_file;
use crate::control::password_commands::PasswordCommands;
use crate::control::rights::missing_rights;
use crate::control::users::users_of;
use crate::journal::Journal;
use crate::net::BoundListener;
use crate::route::Routes;
use crate::shared::audit::Audit;
use crate::shared::events::Events;
use crate::shared::history::KeptHistory;
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
    pub password_commands: PasswordCommands,
    pub users: Users,
    /// The changes that operators made, in this life and in former ones.
    pub audit: Arc<Audit>,
    /// What happened, in this life and in former ones.
    pub events: Arc<Events>,
    /// How it fared over time, in this life and in former ones.
    pub history: Arc<KeptHistory>,
    /// Tells this gateway from all others and from its own former lives.
    pub id: String,
    /// Where clients may connect.
    pub bound: Bound,
    pub sockets: Sockets,
    pub journal: WrittenAhead,
    /// Sockets of a former process that the configuration does not name. They are closed when that process has let go.
    pub unused: Inherited,
}

/// The listening sockets.
pub(super) struct Sockets {
    /// Of each worker, at least one per address.
    pub workers: Vec<Vec<BoundListener>>,
    /// That of the HTTP side with its address, if there is one.
    pub admin: Option<(BoundListener, SocketAddr)>,
}

/// The journal and its ends.
#[derive(Default)]
pub(super) struct WrittenAhead {
    /// Its thread, if there is to be one. What was handed to it is on disk when this is dropped.
    pub journal: Option<Journal>,
    /// One per worker; none without a journal.
    pub ends: Vec<WorkerJournal>,
}

impl WrittenAhead {
    /// Opens the journal, if there is to be one.
    ///
    /// # Errors
    /// It can't be had.
    pub(super) fn open(config: &Config, workers: usize, id: &str) -> Result<Self, ProcessError> {
        let (journal, ends) = open_journal(config, workers, id)?;
        Ok(Self { journal, ends })
    }
}

impl Sockets {
    /// Lets peers come to all of them, also to those that have been bound for a process that takes over.
    ///
    /// # Errors
    /// The system refuses.
    pub(super) fn listen(&self, backlog: u32) -> Result<(), ProcessError> {
        let listen = |listener: &BoundListener| listener.listen(backlog);
        let refused = |error| ProcessError::System("that a socket listens", error);
        self.workers.iter().flatten().try_for_each(listen).map_err(refused)
    }
}

impl Prepared {
    /// Reads, asks, binds and opens what `asked` names. Of what a former process hands over it takes the sockets; the journal is that process's
    /// still, so it is not opened then.
    ///
    /// # Errors
    /// Something of it can't be had.
    pub(super) async fn new(asked: Config, inherited: Option<Inherited>) -> Result<Self, ProcessError> {
        let workers =
            asked.gateway.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
        let id = new_id();
        let certificates = Certificates::open(&asked).map_err(ProcessError::Tls)?;
        let mut password_commands = PasswordCommands::default();
        password_commands.run_new(&asked).await.map_err(ProcessError::Passwords)?;
        let asked = password_commands.with_passwords(asked);
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
        let history = Arc::new(history_file::start(directory).map_err(ProcessError::StateDirectory)?);
        let journal = match &inherited {
            None => WrittenAhead::open(&asked, workers, &id)?,
            Some(_) => WrittenAhead::default(),
        };
        let limit = raise_limit();
        let mut inherited = inherited;
        let (mut bound, listeners) =
            bind_all(&asked, workers, certificates.acceptor.as_ref(), &mut inherited)?;
        let admin = bind_admin(&asked, certificates.admin_acceptor(), &mut bound, &mut inherited)?;
        let sockets = Sockets { workers: listeners, admin };
        let descriptors = Descriptors::new(limit, open_now(), workers, &asked);
        let config = descriptors.fit(&asked).map_err(ProcessError::Descriptors)?;
        descriptors.report(&asked, &config);
        Ok(Self {
            asked,
            config,
            descriptors,
            routes,
            certificates,
            password_commands,
            users,
            audit,
            events,
            history,
            id,
            bound,
            sockets,
            journal,
            unused: inherited.unwrap_or_default(),
        })
    }
}

/// 40 hexadecimal digits of chance, the form of a cluster node's id.
fn new_id() -> String {
    (0..5).map(|_| format!("{:08x}", rand::random::<u32>())).collect()
}
