//! Certificates, keys and trusted authorities as files have them, and why one of them can't be used.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::certificate::{Shown, not_after};
use super::provider;

/// The largest file that is read: a bundle of all public authorities is a quarter of it.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// Where systems keep the bundle of the authorities that they trust: Debian and Alpine, Red Hat, SUSE, BSD.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why what files hold can't be used: which file, what is wrong with it, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(pub(super) String);

impl fmt::Display for TlsError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

/// Files as they were read together, so that it can be told when their content is another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsFiles(Vec<(PathBuf, Vec<u8>)>);

impl TlsFiles {
    /// Reads all of them.
    ///
    /// # Errors
    /// One can't be read, or is far too large.
    pub fn read<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<Self, TlsError> {
        let read = |path: &PathBuf| Ok((path.clone(), read(path)?));
        paths.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    fn content(&self, path: &Path) -> &[u8] {
        self.0.iter().find(|(known, _)| known == path).map_or(&[], |(_, content)| content)
    }

    /// The certificates of a file, the first of which is the peer's or our own.
    fn chain(&self, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.content(path)).collect();
        match chain {
            Ok(chain) if !chain.is_empty() => Ok(chain),
            Ok(_) => Err(wrong(path, "holds no certificate: expected PEM with BEGIN CERTIFICATE")),
            Err(_) => {
                Err(wrong(path, "is no PEM or is cut short: expected BEGIN CERTIFICATE to END CERTIFICATE"))
            }
        }
    }

    /// A certificate with its chain and its key.
    ///
    /// # Errors
    /// A file holds something else, or the key is of another certificate.
    pub(super) fn identity(
        &self,
        cert_file: &Path,
        key_file: &Path,
    ) -> Result<(Arc<CertifiedKey>, Shown), TlsError> {
        let chain = self.chain(cert_file)?;
        let key = PrivateKeyDer::from_pem_slice(self.content(key_file)).map_err(|_| {
            wrong(key_file, "holds no private key: expected PEM with BEGIN PRIVATE KEY, not encrypted")
        })?;
        let expires_unix_s = chain.first().and_then(|first| not_after(first));
        let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                wrong(key_file, &format!("is not the key of the certificate in {}", cert_file.display()))
            }
            other => wrong(cert_file, &format!("can't be used with {}: {other}", key_file.display())),
        })?;
        Ok((Arc::new(certified), Shown { file: cert_file.to_owned(), expires_unix_s }))
    }

    /// The authorities of a file.
    ///
    /// # Errors
    /// It holds none.
    pub(super) fn authorities(&self, path: &Path) -> Result<Arc<RootCertStore>, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.chain(path)? {
            roots.add(certificate).map_err(|error| wrong(path, &format!("holds no authority: {error}")))?;
        }
        Ok(Arc::new(roots))
    }
}

/// The authorities that this system trusts, or those of the bundle that `SSL_CERT_FILE` names.
///
/// # Errors
/// There is no bundle.
pub(super) fn system_authorities() -> Result<Arc<RootCertStore>, TlsError> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let mut bundles = named.into_iter().chain(SYSTEM_BUNDLES.iter().map(PathBuf::from));
    let Some(bundle) = bundles.find(|path| path.exists()) else {
        return Err(TlsError(
            "this system has no bundle of trusted authorities: name one in ca_file".to_owned(),
        ));
    };
    let content = read(&bundle)?;
    let mut roots = RootCertStore::empty();
    // A system trusts a few that nobody can use; the others serve.
    let (added, _) = roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&content).flatten());
    if added == 0 {
        return Err(wrong(&bundle, "holds no authority"));
    }
    Ok(Arc::new(roots))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = || {
        if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("it is larger than {FILE_BYTES_MAX} bytes")));
        }
        std::fs::read(path)
    };
    read().map_err(|error| wrong(path, &format!("can't be read: {error}")))
}

fn wrong(path: &Path, what: &str) -> TlsError {
    TlsError(format!("{} {what}", path.display()))
}
