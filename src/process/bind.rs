//! The addresses that the process listens on, bound before anything else runs: so a taken one is noticed at the start.

use std::net::SocketAddr;

use super::ProcessError;
use crate::config::Config;
use crate::net::tls::Acceptor;
use crate::net::{BoundListener, Listener, SocketFile, SocketName, listen_at};

/// Where clients may connect, with real ports. It is kept for as long as they may.
#[derive(Default)]
pub(super) struct Bound {
    /// Without TLS.
    pub plain: Vec<SocketAddr>,
    /// With it.
    pub tls: Vec<SocketAddr>,
    /// By a Unix socket.
    pub unix: Option<SocketFile>,
}

impl Bound {
    /// What can be dialled by port.
    pub(super) fn all(&self) -> Vec<SocketAddr> {
        self.plain.iter().chain(&self.tls).copied().collect()
    }
}

/// One listener per address and worker, all workers on the same port.
pub(super) fn bind_all(
    config: &Config,
    workers: usize,
    acceptor: Option<&Acceptor>,
) -> Result<(Bound, Vec<Vec<BoundListener>>), ProcessError> {
    let mut by_worker: Vec<Vec<BoundListener>> = (0..workers).map(|_| Vec::new()).collect();
    let mut bound = Bound::default();
    let plain = config.gateway.listen.iter().map(|address| (address, None));
    let with_tls = acceptor
        .into_iter()
        .flat_map(|acceptor| config.tls.listen.iter().map(move |address| (address, Some(acceptor))));
    for (wanted, acceptor) in plain.chain(with_tls) {
        let mut address = *wanted;
        // A shared port takes every listener of this system user, also those of another gateway that was started by mistake.
        if !config.gateway.share_port {
            BoundListener::probe(address).map_err(|error| ProcessError::Listen(address.into(), error))?;
        }
        for listeners in &mut by_worker {
            let listener = BoundListener::shared(address, config.gateway.tcp_backlog)
                .map_err(|error| ProcessError::Listen(address.into(), error))?;
            // With port 0 the first worker gets a port, and the others the same.
            address = listener.address().map_err(|error| ProcessError::Listen(address.into(), error))?;
            listeners.push(match acceptor {
                Some(acceptor) => listener.with_tls(acceptor.clone()),
                None => listener,
            });
        }
        let addresses = if acceptor.is_some() { &mut bound.tls } else { &mut bound.plain };
        addresses.push(address);
    }
    bound.unix = bind_unix(config, &mut by_worker)?;
    Ok((bound, by_worker))
}

/// The Unix socket, if there is to be one. All workers accept from its queue.
fn bind_unix(
    config: &Config,
    by_worker: &mut [Vec<BoundListener>],
) -> Result<Option<SocketFile>, ProcessError> {
    let gateway = &config.gateway;
    let Some(path) = &gateway.unix_socket else { return Ok(None) };
    let (mode, take_over) = (gateway.unix_socket_mode.bits(), gateway.share_port);
    let (file, listeners) = listen_at(path, mode, gateway.tcp_backlog, by_worker.len(), take_over)
        .map_err(|error| ProcessError::Listen(SocketName::Unix(path.as_path().into()), error))?;
    by_worker.iter_mut().zip(listeners).for_each(|(own, listener)| own.push(listener));
    Ok(Some(file))
}

/// The listener of the HTTP side, if there is one, and where it listens.
pub(super) fn bind_admin(
    config: &Config,
    acceptor: Option<&Acceptor>,
) -> Result<Option<(Listener, SocketAddr)>, ProcessError> {
    let Some(address) = config.admin.listen else { return Ok(None) };
    let bind = || {
        let bound = BoundListener::alone(address)?;
        let real = bound.address()?;
        let bound = match acceptor {
            Some(acceptor) => bound.with_tls(acceptor.clone()),
            None => bound,
        };
        Ok((bound.accepting()?, real))
    };
    bind().map(Some).map_err(|error| ProcessError::Listen(address.into(), error))
}
