//! TLS to database servers: what an address asks for, and the sessions of PostgreSQL's driver. That of MariaDB has its own.
//!
//! The words are those of PostgreSQL, for both kinds: `sslmode=require` encrypts and checks no certificate, which holds off who only listens;
//! `sslmode=verify-full` checks that it was signed by an authority of `sslrootcert`, and has the name of the host. Without either nothing is encrypted,
//! and never does a session fall back to that.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

/// What an address asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Security {
    /// Nothing is encrypted.
    Plain,
    /// Encrypted, whoever the server is.
    Encrypted,
    /// Encrypted, and signed by an authority of this file.
    Verified(PathBuf),
}

/// Takes what concerns TLS out of the query of an address: the rest is the driver's.
///
/// # Errors
/// It asks for something that is not known here: a sentence that does not have the address in it.
pub fn security_of(url: &str) -> Result<(String, Security), String> {
    let Some((base, query)) = url.split_once('?') else { return Ok((url.to_owned(), Security::Plain)) };
    let (mut mode, mut authorities, mut others) = (None, None, Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value),
            Some(("sslrootcert", value)) => authorities = Some(PathBuf::from(value)),
            _ => others.push(pair),
        }
    }
    let security = match (mode, authorities) {
        (None | Some("disable"), None) => Security::Plain,
        (Some("require"), None) => Security::Encrypted,
        // Who names an authority wants it to be asked.
        (Some("require" | "verify-full"), Some(file)) => Security::Verified(file),
        (Some("verify-full"), None) => {
            return Err(
                "ledger.url has sslmode=verify-full and no sslrootcert: name the file of the authorities, \
                /etc/ssl/certs/ca-certificates.crt for those that the system trusts"
                    .to_owned(),
            );
        }
        (None | Some("disable"), Some(_)) => {
            return Err("ledger.url has sslrootcert and encrypts nothing: add sslmode=verify-full".to_owned());
        }
        (Some(_), _) => {
            return Err("ledger.url has an sslmode that is not known here: disable, require or verify-full"
                .to_owned());
        }
    };
    let query = others.join("&");
    Ok((if query.is_empty() { base.to_owned() } else { format!("{base}?{query}") }, security))
}

/// Makes sessions for PostgreSQL's driver.
#[derive(Clone)]
pub struct Sessions(TlsConnector);

impl Sessions {
    /// Sessions with servers whose certificate one of these authorities has signed; with any server where there is no file.
    ///
    /// # Errors
    /// The file can't be used: in words.
    pub fn new(authorities: Option<&Path>) -> Result<Self, String> {
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = match authorities {
            Some(file) => builder.with_root_certificates(roots(file)?).with_no_client_auth(),
            None => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyServer(provider)))
                .with_no_client_auth(),
        };
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }
}

/// The authorities of a file.
///
/// # Errors
/// It holds none: in words.
fn roots(file: &Path) -> Result<RootCertStore, String> {
    let wrong = |why: String| format!("{} holds no authority that can be used: {why}", file.display());
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
    // A system's bundle has a few that nobody can use; the others serve.
    let (added, _) = roots.add_parsable_certificates(certificates.flatten());
    if added == 0 { Err(wrong("there is no certificate in it".to_owned())) } else { Ok(roots) }
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> MakeTlsConnect<S> for Sessions {
    type Stream = Session<S>;
    type TlsConnect = Opening;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> io::Result<Opening> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Opening(self.0.clone(), name))
    }
}

/// A session that is to begin.
pub struct Opening(TlsConnector, ServerName<'static>);

impl<S: AsyncRead + AsyncWrite + Unpin + Send + 'static> TlsConnect<S> for Opening {
    type Stream = Session<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Session<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(
            async move { self.0.connect(self.1, stream).await.map(|session| Session(Box::new(session))) },
        )
    }
}

/// A session over a connection of the driver.
pub struct Session<S>(Box<tokio_rustls::client::TlsStream<S>>);

impl<S: AsyncRead + AsyncWrite + Unpin> TlsStream for Session<S> {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Session<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Session<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Takes every certificate, if only the server has its key.
#[derive(Debug)]
struct AnyServer(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_what_is_checked() {
        let verified = |file: &str| Security::Verified(file.into());
        for (url, rest, security) in [
            ("postgres://h/d", "postgres://h/d", Security::Plain),
            ("postgres://h/d?host=/run", "postgres://h/d?host=/run", Security::Plain),
            ("mysql://h/d?sslmode=disable", "mysql://h/d", Security::Plain),
            ("mysql://h/d?sslmode=require&socket=/s", "mysql://h/d?socket=/s", Security::Encrypted),
            ("mysql://h/d?sslmode=verify-full&sslrootcert=/ca", "mysql://h/d", verified("/ca")),
            ("mysql://h/d?sslrootcert=/ca&sslmode=require", "mysql://h/d", verified("/ca")),
        ] {
            assert_eq!(security_of(url), Ok((rest.to_owned(), security)), "{url}");
        }
        for query in
            ["sslmode=prefer", "sslmode=verify-full", "sslrootcert=/ca", "sslmode=verify-ca&sslrootcert=/ca"]
        {
            let error = security_of(&format!("postgres://u:secret@h/d?{query}")).unwrap_err();
            assert!(error.starts_with("ledger.url has ") && !error.contains("secret"), "{error}");
        }
    }
}
