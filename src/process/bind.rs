//! The addresses that the process listens on, bound before anything else runs: so a taken one is noticed at the start.
//!
//! What a former process hands over is used for the addresses that it listened on. What is missing then is bound, and listens only when
//! the former process has let go: should this one fail before, nobody has come to it.

use std::io;
use std::net::SocketAddr;

use super::ProcessError;
use super::handover::{Inherited, Kind, Passed};
use crate::config::Config;
use crate::net::tls::Acceptor;
use crate::net::{BoundListener, SocketFile, SocketName, listen_at, listen_on_inherited};

/// Where clients may connect, with real ports. It is kept for as long as they may.
#[derive(Default)]
pub(super) struct Bound {
    /// Without TLS.
    pub plain: Vec<SocketAddr>,
    /// With it.
    pub tls: Vec<SocketAddr>,
    /// By a Unix socket.
    pub unix: Option<SocketFile>,
    /// Every listening socket once more, for the process that takes over from this one. They are closed before this one stops
    /// accepting for good.
    pub passed: Vec<Passed>,
}

impl Bound {
    /// What can be dialled by port.
    pub(super) fn all(&self) -> Vec<SocketAddr> {
        self.plain.iter().chain(&self.tls).copied().collect()
    }

    fn pass(&mut self, kind: Kind, asked: &str, listener: &BoundListener) -> io::Result<()> {
        self.passed.push(Passed { kind, asked: asked.to_owned(), descriptor: listener.share()? });
        Ok(())
    }
}

/// At least one listener per address and worker, all on the same port.
pub(super) fn bind_all(
    config: &Config,
    workers: usize,
    acceptor: Option<&Acceptor>,
    inherited: &mut Option<Inherited>,
) -> Result<(Bound, Vec<Vec<BoundListener>>), ProcessError> {
    let mut by_worker: Vec<Vec<BoundListener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut bound = Bound::default();
    let plain = config.gateway.listen.iter().map(|address| (address, None));
    let with_tls = acceptor
        .into_iter()
        .flat_map(|acceptor| config.tls.listen.iter().map(move |address| (address, Some(acceptor))));
    for (wanted, acceptor) in plain.chain(with_tls) {
        let failed = |error| ProcessError::Listen((*wanted).into(), error);
        let (address, listeners) =
            listeners_at(*wanted, config, workers, inherited.as_mut()).map_err(failed)?;
        // A worker of fewer than before accepts from several: closing one would drop those that wait there.
        for (index, listener) in listeners.into_iter().enumerate() {
            bound.pass(Kind::Clients, &wanted.to_string(), &listener).map_err(failed)?;
            by_worker[index % workers].push(match acceptor {
                Some(acceptor) => listener.with_tls(acceptor.clone()),
                None => listener,
            });
        }
        let addresses = if acceptor.is_some() { &mut bound.tls } else { &mut bound.plain };
        addresses.push(address);
    }
    bind_unix(config, &mut by_worker, &mut bound, inherited.as_mut())?;
    Ok((bound, by_worker))
}

/// The listeners at one address, and its real port.
fn listeners_at(
    wanted: SocketAddr,
    config: &Config,
    workers: usize,
    inherited: Option<&mut Inherited>,
) -> io::Result<(SocketAddr, Vec<BoundListener>)> {
    let is_heir = inherited.is_some();
    let mut listeners = inherited.map_or_else(Vec::new, |inherited| inherited.take(Kind::Clients, wanted));
    let mut address = match listeners.first() {
        Some(listener) => listener.address()?,
        None => wanted,
    };
    // A shared port takes every listener of this system user, also those of another gateway that was started by mistake.
    if listeners.is_empty() && !config.gateway.share_port {
        BoundListener::probe(address)?;
    }
    while listeners.len() < workers {
        let listener = match is_heir {
            true => BoundListener::reserved(address)?,
            false => BoundListener::shared(address, config.gateway.tcp_backlog)?,
        };
        // With port 0 the first worker gets a port, and the others the same.
        address = listener.address()?;
        listeners.push(listener);
    }
    Ok((address, listeners))
}

/// The Unix socket, if there is to be one. All workers accept from its queue.
fn bind_unix(
    config: &Config,
    by_worker: &mut [Vec<BoundListener>],
    bound: &mut Bound,
    inherited: Option<&mut Inherited>,
) -> Result<(), ProcessError> {
    let gateway = &config.gateway;
    let Some(path) = &gateway.unix_socket else { return Ok(()) };
    let (mode, take_over) = (gateway.unix_socket_mode.bits(), gateway.share_port);
    let asked = path.display().to_string();
    let bind = || {
        let inherited = inherited.and_then(|inherited| inherited.take_unix(&asked));
        let (file, listeners) = match inherited {
            Some(descriptor) => listen_on_inherited(descriptor, path, mode, by_worker.len())?,
            None => listen_at(path, mode, gateway.tcp_backlog, by_worker.len(), take_over)?,
        };
        if let Some(listener) = listeners.first() {
            bound.pass(Kind::Unix, &asked, listener)?;
        }
        bound.unix = Some(file);
        by_worker.iter_mut().zip(listeners).for_each(|(own, listener)| own.push(listener));
        Ok(())
    };
    bind().map_err(|error| ProcessError::Listen(SocketName::Unix(path.as_path().into()), error))
}

/// The listener of the HTTP side, if there is one, and where it listens.
pub(super) fn bind_admin(
    config: &Config,
    acceptor: Option<&Acceptor>,
    bound: &mut Bound,
    inherited: &mut Option<Inherited>,
) -> Result<Option<(BoundListener, SocketAddr)>, ProcessError> {
    let Some(address) = config.admin.listen else { return Ok(None) };
    let mut bind = || {
        let inherited = inherited.as_mut().and_then(|inherited| inherited.take(Kind::Admin, address).pop());
        let listener = match inherited {
            Some(listener) => listener,
            None => BoundListener::alone(address)?,
        };
        bound.pass(Kind::Admin, &address.to_string(), &listener)?;
        let real = listener.address()?;
        let listener = match acceptor {
            Some(acceptor) => listener.with_tls(acceptor.clone()),
            None => listener,
        };
        Ok((listener, real))
    };
    bind().map(Some).map_err(|error| ProcessError::Listen(address.into(), error))
}
