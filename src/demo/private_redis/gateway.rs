//! A gateway before private servers: `hotgate serve` of this very program, as a child process.
//!
//! It is a process of its own so that it can be given a core, and its processor time told from that of whoever loads it. Deliberately
//! does not drain at its end: nobody's data is behind it.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use super::PrivateRedisError;
use super::directory::{Running, ServerDirectory};
use crate::shared::topology::Address;

/// What `hotgate serve` prints when clients may come.
const READY_LINE: &str = "hotgate: ready";

/// A running gateway with one worker. Owned by its starter; dropping it kills the process.
pub struct PrivateGateway {
    running: Running,
    listen: SocketAddr,
    admin: SocketAddr,
    _directory: Arc<ServerDirectory>,
}

/// Which ports a gateway is to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// The usual ones, 6380 and 9380; where one is taken, any other.
    Usual,
    /// Any.
    Free,
}

impl PrivateGateway {
    /// Starts one before `servers` with lines of a configuration file, and waits until it is ready.
    ///
    /// # Errors
    /// Every [`PrivateRedisError`] but `NoCluster` and `NoServerProgram`.
    pub async fn start(servers: &[Address], config: &str, ports: Ports) -> Result<Self, PrivateRedisError> {
        let directory = Arc::new(ServerDirectory::create()?);
        let path = directory.server_directory("gateway")?;
        let file = path.join("hotgate.toml");
        fs::write(&file, config)?;
        let upstream: Vec<String> = servers.iter().map(ToString::to_string).collect();
        let (listen, admin) = match ports {
            Ports::Usual => (free_address(6380)?, free_address(9380)?),
            Ports::Free => (any_address(), any_address()),
        };
        let mut arguments: Vec<OsString> =
            ["serve", "--workers", "1", "--upstream"].map(OsString::from).into();
        arguments.extend([upstream.join(",").into(), "--config".into(), file.into()]);
        arguments.extend(["--listen".into(), listen.to_string().into()]);
        arguments.extend(["--admin".into(), admin.to_string().into()]);
        let mut running = Running::start(&std::env::current_exe()?, &arguments, &path)?;
        running.wait_until_it_says(READY_LINE).await?;
        let log = running.log();
        let said = |prefix: &str| log.lines().find_map(|line| line.strip_prefix(prefix)?.parse().ok());
        let (Some(listen), Some(admin)) = (said("hotgate: listening on "), said("hotgate: admin on http://"))
        else {
            return Err(PrivateRedisError::NotReady(log));
        };
        Ok(Self { running, listen, admin, _directory: directory })
    }

    /// Where clients connect.
    pub fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// Where the dashboard is.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.running.id()
    }
}

fn any_address() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

/// The usual port of 127.0.0.1, or any other when that is taken.
fn free_address(usual_port: u16) -> std::io::Result<SocketAddr> {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, usual_port));
    TcpListener::bind(usual)
        .or_else(|_| TcpListener::bind(any_address()))
        .and_then(|listener| listener.local_addr())
}
