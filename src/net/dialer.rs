//! How servers are reached: plainly, or with TLS and these authorities, certificate and name.
//!
//! A [`Dialer`] is a handle that all connections to one kind of server share, so that they resume each other's sessions. Its
//! certificates can be renewed while it is in use.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::connect::{ConnectError, connect, within};
use super::stream::Stream;
use super::tls::ClientTls;
use crate::config::Address;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Dialer(Option<Arc<ArcSwap<ClientTls>>>);

impl Dialer {
    /// Reaches servers with TLS.
    pub fn with_tls(tls: ClientTls) -> Self {
        Self(Some(Arc::new(ArcSwap::from_pointee(tls))))
    }

    /// Whether servers are reached with TLS.
    pub fn is_tls(&self) -> bool {
        self.0.is_some()
    }

    /// Connections that begin from now on are made as `tls` says. One that is plain stays so.
    pub fn renew(&self, tls: ClientTls) {
        if let Some(current) = &self.0 {
            current.store(Arc::new(tls));
        }
    }

    /// As [`connect()`]; with TLS until the handshake is done, for which `patience` is given once more.
    ///
    /// # Errors
    /// Those of [`connect()`], and why there is no session.
    pub async fn connect(
        &self,
        address: &Address,
        patience: Option<Duration>,
    ) -> Result<Stream, ConnectError> {
        let stream = connect(address, patience).await?;
        let Some(current) = &self.0 else { return Ok(stream) };
        let Stream::Tcp(socket) = stream else {
            return Err(ConnectError::Tls("TLS is spoken over TCP only".to_owned()));
        };
        let session = current.load().session(socket, &address.host);
        let mut stream = session.map_err(|error| ConnectError::Tls(error.to_string()))?;
        let handshake = std::future::poll_fn(|cx| stream.poll_handshake(cx));
        match within(patience, handshake).await {
            Some(Ok(())) => Ok(Stream::Tls(Box::new(stream))),
            Some(Err(error)) => Err(ConnectError::Tls(error.to_string())),
            None => Err(ConnectError::HandshakeTimeout),
        }
    }
}
