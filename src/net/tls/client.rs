//! What a server is told and asked for in a handshake: the authorities, our certificate, and the name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, ClientConnection, Connection};
use tokio::net::TcpStream;

use super::files::{TlsError, TlsFiles, system_authorities};
use super::session::TlsStream;
use super::{Shown, explain, provider};
use crate::config::Upstream;

/// Servers whose sessions can be resumed: a cluster of 256 nodes.
const RESUMED_SERVERS_MAX: usize = 256;

/// See the module.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    /// The name that its certificate must have; none if it is that of its address.
    server_name: Option<ServerName<'static>>,
}

impl ClientTls {
    /// The files that `[upstream]` names.
    pub fn files_of(upstream: &Upstream) -> impl Iterator<Item = &PathBuf> {
        [&upstream.ca_file, &upstream.cert_file, &upstream.key_file].into_iter().flatten()
    }

    /// As `[upstream]` says, with the content of its files; and the certificate that servers are shown.
    ///
    /// # Errors
    /// A file can't be used.
    pub fn of(upstream: &Upstream, files: &TlsFiles) -> Result<(Self, Option<Shown>), TlsError> {
        let authorities = match &upstream.ca_file {
            Some(path) => files.authorities(path)?,
            None => system_authorities()?,
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError(error.to_string()))?
            .with_root_certificates(authorities);
        let (mut config, shown) = match (&upstream.cert_file, &upstream.key_file) {
            (Some(cert_file), Some(key_file)) => {
                let (identity, shown) = files.identity(cert_file, key_file)?;
                let resolver = Arc::new(SingleCertAndKey::from(identity));
                (builder.with_client_cert_resolver(resolver), Some(shown))
            }
            _ => (builder.with_no_client_auth(), None),
        };
        config.resumption = Resumption::in_memory_sessions(RESUMED_SERVERS_MAX);
        let server_name = match &upstream.server_name {
            Some(name) => Some(
                ServerName::try_from(name.clone())
                    .map_err(|_| TlsError(format!("{name:?} is no name of a host")))?,
            ),
            None => None,
        };
        Ok((Self { config: Arc::new(config), server_name }, shown))
    }

    /// Servers that these authorities have signed, or those that the system trusts.
    ///
    /// # Errors
    /// The file can't be used, or the system has none.
    pub fn signed_by(ca_file: Option<&Path>) -> Result<Self, TlsError> {
        let upstream = Upstream { ca_file: ca_file.map(Path::to_owned), ..Upstream::default() };
        let files = TlsFiles::read(Self::files_of(&upstream))?;
        Self::of(&upstream, &files).map(|(tls, _)| tls)
    }

    /// A session with the server at `host` that has yet to begin.
    ///
    /// # Errors
    /// The host has no name that a certificate can have.
    pub(in crate::net) fn session(&self, socket: TcpStream, host: &str) -> Result<TlsStream, TlsError> {
        let name = match &self.server_name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned())
                .map_err(|_| TlsError(format!("{host:?} is no name that a certificate can have")))?,
        };
        let session = ClientConnection::new(Arc::clone(&self.config), name)
            .map_err(|error| TlsError(explain(&error)))?;
        Ok(TlsStream::new(socket, Connection::Client(session)))
    }
}
