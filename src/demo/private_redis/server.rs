//! One private Redis server: a child process on a free port of 127.0.0.1.
//!
//! Owns the process, its port and its password. Deliberately knows no cluster.

use std::env;
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rand::Rng;

use super::PrivateRedisError;
use super::directory::{Running, ServerDirectory};
use crate::shared::topology::Address;

/// A free port may be taken by another process between the look and the server's own bind; so often another is tried.
const PORT_ATTEMPTS_MAX: usize = 20;

/// The log line of a server whose sockets listen (Redis 4 and later, Valkey).
const READY_LINE: &str = "Ready to accept connections";

/// Ports are drawn from here. Both a port and its cluster bus port (10000 above, as Redis has it) then lie below 32768,
/// where Linux begins to draw the ports of outgoing connections.
const PORTS: std::ops::Range<u16> = 11000..22000;

/// The distance of the cluster bus port from the port clients use (`cluster-port` in redis.conf).
const BUS_PORT_DISTANCE: u16 = 10_000;

/// One running (or killed, and perhaps to be restarted) server.
///
/// Owned by its starter; dropping it kills the process, and so does giving up its start half way. Not bound to a runtime: only starting needs one.
pub struct PrivateServer {
    running: Running,
    port: u16,
    arguments: Vec<String>,
    path: PathBuf,
    /// Held so that it is removed only when the last server of the group is gone.
    _directory: Arc<ServerDirectory>,
}

impl PrivateServer {
    /// Starts a server with further command line arguments, for example `["--requirepass", "secret"]`, which override
    /// what is set here, and waits until it accepts connections. It keeps no data on disk unless told to. An argument `{port+1000}`
    /// is a port so far above the server's own.
    ///
    /// # Errors
    /// Every [`PrivateRedisError`] but `NoCluster`.
    pub async fn start(arguments: &[&str]) -> Result<Self, PrivateRedisError> {
        let directory = Arc::new(ServerDirectory::create()?);
        Self::start_in(directory, "server", arguments).await
    }

    pub(super) async fn start_in(
        directory: Arc<ServerDirectory>,
        name: &str,
        arguments: &[&str],
    ) -> Result<Self, PrivateRedisError> {
        let path = directory.server_directory(name)?;
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (running, port) = start_on_free_port(&path, &arguments).await?;
        Ok(Self { running, port, arguments, path, _directory: directory })
    }

    /// Where it listens (or listened, when it was killed).
    pub fn address(&self) -> Address {
        Address::new("127.0.0.1", self.port)
    }

    /// The process id; changes with a restart.
    pub fn pid(&self) -> u32 {
        self.running.id()
    }

    /// Ends the server at once (SIGKILL), as a crash would.
    pub fn kill(&mut self) {
        self.running.kill();
    }

    /// Starts it again, killing it first if it runs: same port, directory (so a cluster node keeps its id) and arguments.
    ///
    /// # Errors
    /// As [`PrivateServer::start`]; also when the port was taken meanwhile.
    pub async fn restart(&mut self) -> Result<(), PrivateRedisError> {
        self.kill();
        self.running = start_on(&self.path, &self.arguments, self.port).await?;
        Ok(())
    }

    /// As [`PrivateServer::restart`], on another port: a cluster node comes back as itself under a new address.
    ///
    /// # Errors
    /// As [`PrivateServer::start`].
    pub async fn restart_elsewhere(&mut self) -> Result<(), PrivateRedisError> {
        self.kill();
        (self.running, self.port) = start_on_free_port(&self.path, &self.arguments).await?;
        Ok(())
    }

    /// Stops the process where it stands (SIGSTOP): its sockets stay open and nothing answers.
    ///
    /// # Errors
    /// No shell to send the signal with, or no such process.
    pub fn pause(&self) -> Result<(), PrivateRedisError> {
        self.signal("STOP")
    }

    /// Lets a paused server go on (SIGCONT).
    ///
    /// # Errors
    /// As [`PrivateServer::pause`].
    pub fn resume(&self) -> Result<(), PrivateRedisError> {
        self.signal("CONT")
    }

    /// The server's log since its last start.
    pub fn log(&self) -> String {
        self.running.log()
    }

    /// Where its files are.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn signal(&self, name: &str) -> Result<(), PrivateRedisError> {
        // `kill` is a builtin of every POSIX shell; the program of that name may be missing.
        let pid = self.pid().to_string();
        let status = Command::new("sh").args(["-c", r#"kill -"$1" "$2""#, "signal", name, &pid]).status()?;
        if status.success() {
            Ok(())
        } else {
            Err(std::io::Error::other(format!("cannot send SIG{name} to process {pid}")).into())
        }
    }
}

/// Names the server program that is to be used instead of one on PATH.
const SERVER_VARIABLE: &str = "HOTGATE_TEST_SERVER";

/// The server program that `HOTGATE_TEST_SERVER` names, if it is set; else that on PATH: `redis-server`, else
/// `valkey-server`.
///
/// # Errors
/// [`PrivateRedisError::NoServerProgram`].
pub fn find_server_program() -> Result<PathBuf, PrivateRedisError> {
    if let Some(program) = env::var_os(SERVER_VARIABLE) {
        return Some(PathBuf::from(program))
            .filter(|program| program.is_file())
            .ok_or(PrivateRedisError::NoServerProgram);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    ["redis-server", "valkey-server"]
        .iter()
        .flat_map(|name| env::split_paths(&path).map(move |directory| directory.join(name)))
        .find(|candidate| candidate.is_file())
        .ok_or(PrivateRedisError::NoServerProgram)
}

/// A port that is free now, and whose cluster bus port is.
fn free_port() -> Option<u16> {
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut rng = rand::rng();
    (0..100).map(|_| rng.random_range(PORTS)).find(|&port| is_free(port) && is_free(port + BUS_PORT_DISTANCE))
}

async fn start_on_free_port(path: &Path, arguments: &[String]) -> Result<(Running, u16), PrivateRedisError> {
    let mut last_error = PrivateRedisError::NotReady("no free port found".to_owned());
    for _ in 0..PORT_ATTEMPTS_MAX {
        let Some(port) = free_port() else { break };
        match start_on(path, arguments, port).await {
            Ok(running) => return Ok((running, port)),
            Err(PrivateRedisError::Exited(log)) if log.contains("Address already in use") => {
                last_error = PrivateRedisError::Exited(log);
            }
            Err(error) => return Err(error),
        }
    }
    Err(last_error)
}

async fn start_on(path: &Path, arguments: &[String], port: u16) -> Result<Running, PrivateRedisError> {
    let port_argument = port.to_string();
    let own = ["--port", &port_argument, "--bind", "127.0.0.1", "--daemonize", "no", "--save", ""];
    let mut all: Vec<OsString> = own.iter().map(OsString::from).collect();
    all.extend(["--appendonly", "no", "--dir"].map(OsString::from));
    all.push(path.into());
    all.extend(arguments.iter().map(|argument| with_port(argument, port).into()));
    let mut running = Running::start(&find_server_program()?, &all, path)?;
    running.wait_until_it_says(READY_LINE).await?;
    Ok(running)
}

/// An argument in which `{port+1000}` stands for a port that lies so far above the server's own.
fn with_port(argument: &str, port: u16) -> String {
    let distance =
        argument.strip_prefix("{port+").and_then(|rest| rest.strip_suffix('}')?.parse::<u16>().ok());
    distance.map_or_else(|| argument.to_owned(), |distance| port.saturating_add(distance).to_string())
}
