//! The addresses that the process listens on, bound before anything else runs: so a taken one is noticed at the start.

use std::net::SocketAddr;

use super::ProcessError;
use crate::config::Config;
use crate::net::tls::Acceptor;
use crate::net::{BoundListener, Listener};

/// Where clients may connect, with real ports.
#[derive(Default)]
pub(super) struct Bound {
    /// Without TLS.
    pub plain: Vec<SocketAddr>,
    /// With it.
    pub tls: Vec<SocketAddr>,
}

impl Bound {
    /// Both.
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
            BoundListener::probe(address).map_err(|error| ProcessError::Listen(address, error))?;
        }
        for listeners in &mut by_worker {
            let listener = BoundListener::shared(address, config.gateway.tcp_backlog)
                .map_err(|error| ProcessError::Listen(address, error))?;
            // With port 0 the first worker gets a port, and the others the same.
            address = listener.address().map_err(|error| ProcessError::Listen(address, error))?;
            listeners.push(match acceptor {
                Some(acceptor) => listener.with_tls(acceptor.clone()),
                None => listener,
            });
        }
        let addresses = if acceptor.is_some() { &mut bound.tls } else { &mut bound.plain };
        addresses.push(address);
    }
    Ok((bound, by_worker))
}

/// The listener of the HTTP side, if there is one, and where it listens.
pub(super) fn bind_admin(config: &Config) -> Result<Option<(Listener, SocketAddr)>, ProcessError> {
    let Some(address) = config.admin.listen else { return Ok(None) };
    let bind = || {
        let bound = BoundListener::alone(address)?;
        let real = bound.address()?;
        Ok((bound.accepting()?, real))
    };
    bind().map(Some).map_err(|error| ProcessError::Listen(address, error))
}
