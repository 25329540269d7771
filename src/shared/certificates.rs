//! The certificates of the process: which are in force, until when, and what is wrong with newer ones.
//!
//! `control/certificates` publishes it; monitoring reads it. The certificates themselves are in the handles of [`crate::net::tls`].

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::net::tls::Shown;

/// Where TLS is spoken, with what is shown there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificatesInUse {
    /// The table of the configuration that names the files.
    pub table: &'static str,
    /// What peers are shown. Empty where the gateway only checks the certificates of others.
    pub shown: Vec<Shown>,
    /// Why the files are not in force as they are now: a clause.
    pub refused: Option<String>,
}

/// Where it is published.
#[derive(Debug, Default)]
pub struct CertificatesCell(ArcSwap<Vec<CertificatesInUse>>);

impl CertificatesCell {
    /// What is known now.
    pub fn load(&self) -> Arc<Vec<CertificatesInUse>> {
        self.0.load_full()
    }

    /// Publishes it.
    pub fn store(&self, in_use: Vec<CertificatesInUse>) {
        self.0.store(Arc::new(in_use));
    }
}
