//! How peers are let in with TLS: which certificate they are shown, and whether they must show one.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::ring::Ticketer;
use rustls::server::{ClientHello, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{Connection, ServerConfig, ServerConnection};
use tokio::net::TcpStream;

use super::files::{TlsError, TlsFiles};
use super::session::TlsStream;
use super::{Shown, explain, provider};
use crate::config::{ClientAuth, Tls};

/// What a client is shown and asked for in a handshake.
#[derive(Clone, Debug)]
pub struct ServerTls(Arc<ServerConfig>);

impl ServerTls {
    /// The files that a table of the configuration names.
    pub fn files_of(tls: &Tls) -> impl Iterator<Item = &PathBuf> {
        let more = tls.certificates.iter().flat_map(|more| [&more.cert_file, &more.key_file]);
        [&tls.cert_file, &tls.key_file, &tls.client_ca_file].into_iter().flatten().chain(more)
    }

    /// As the table says, with the content of its files; and the certificates that clients are shown.
    ///
    /// # Errors
    /// A file can't be used.
    pub fn of(tls: &Tls, files: &TlsFiles) -> Result<(Self, Vec<Shown>), TlsError> {
        let (Some(cert_file), Some(key_file)) = (&tls.cert_file, &tls.key_file) else {
            return Err(TlsError("tls.cert_file and tls.key_file are not given".to_owned()));
        };
        let (usual, shown) = files.identity(cert_file, key_file)?;
        let mut all_shown = vec![shown];
        let mut by_name = Vec::new();
        for more in &tls.certificates {
            let (identity, shown) = files.identity(&more.cert_file, &more.key_file)?;
            by_name.extend(more.names.iter().map(|name| (name.to_ascii_lowercase(), Arc::clone(&identity))));
            all_shown.push(shown);
        }
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError(error.to_string()))?;
        let builder = match (tls.client_auth, &tls.client_ca_file) {
            (ClientAuth::No, _) | (_, None) => builder.with_no_client_auth(),
            (demanded, Some(path)) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(files.authorities(path)?, provider());
                let verifier = match demanded {
                    ClientAuth::Optional => verifier.allow_unauthenticated(),
                    _ => verifier,
                };
                builder
                    .with_client_cert_verifier(verifier.build().map_err(|error| TlsError(error.to_string()))?)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::new(ByName { usual, by_name }));
        // The keys of the tickets are new with each renewal: who was let in by authorities of before is asked again.
        config.ticketer = Ticketer::new().map_err(|error| TlsError(explain(&error)))?;
        Ok((Self(Arc::new(config)), all_shown))
    }
}

/// Certificates by the name that a client asks for.
#[derive(Debug)]
struct ByName {
    /// For every other name, and for clients that name none.
    usual: Arc<CertifiedKey>,
    by_name: Vec<(String, Arc<CertifiedKey>)>,
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().map(str::to_ascii_lowercase);
        let found = asked.and_then(|asked| self.by_name.iter().find(|(name, _)| is_meant(name, &asked)));
        Some(Arc::clone(found.map_or(&self.usual, |(_, identity)| identity)))
    }
}

/// Whether a name, or one with `*` for its first label, is the one that is asked for.
fn is_meant(name: &str, asked: &str) -> bool {
    match name.strip_prefix("*.") {
        Some(domain) => asked.split_once('.').is_some_and(|(_, rest)| rest == domain),
        None => name == asked,
    }
}

/// Makes sessions of accepted sockets. A handle: all listeners of a kind share it, and it can be renewed while it is in use.
#[derive(Clone, Debug)]
pub struct Acceptor(Arc<ArcSwap<ServerTls>>);

impl Acceptor {
    /// Lets peers in as `tls` says.
    pub fn new(tls: ServerTls) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(tls)))
    }

    /// Handshakes that begin from now on are made as `tls` says.
    pub fn renew(&self, tls: ServerTls) {
        self.0.store(Arc::new(tls));
    }

    /// A session that has yet to begin. Without one the socket is dropped.
    pub(in crate::net) fn session(&self, socket: TcpStream) -> std::io::Result<TlsStream> {
        let session = ServerConnection::new(Arc::clone(&self.0.load().0))
            .map_err(|error| std::io::Error::other(explain(&error)))?;
        Ok(TlsStream::new(socket, Connection::Server(session)))
    }
}

#[cfg(test)]
mod tests {
    use super::is_meant;

    #[test]
    fn a_star_stands_for_one_label() {
        for (name, asked, expect) in [
            ("a.example", "a.example", true),
            ("a.example", "b.example", false),
            ("*.example", "a.example", true),
            ("*.example", "a.b.example", false),
            ("*.example", "example", false),
        ] {
            assert_eq!(is_meant(name, asked), expect, "{name} {asked}");
        }
    }
}
