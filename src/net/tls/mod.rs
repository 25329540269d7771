//! TLS, by rustls: sessions over sockets, who is trusted, and which certificate is shown.
//!
//! ```text
//!   client     checks the certificate of a server, for net::Dialer    upstream
//!   acceptor   shows a certificate, and asks the client for one       clients
//!   session    a socket with a session on it: a variant of Stream
//! ```
//!
//! The cryptography is ring's: it is built by the C compiler alone, in seconds, and its licences are those of the other parts.
//! aws-lc would bring post-quantum key exchange and FIPS, and minutes and a larger tool chain to each build.
//!
//! Dialers and acceptors are handles: a renewed certificate is in force for every handshake that begins after it, and sessions
//! that are established go on. Deliberately does not: look when files change. `control/certificates` does.

mod acceptor;
mod certificate;
mod client;
mod explain;
mod files;
mod session;

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};

pub use acceptor::{Acceptor, ServerTls};
pub use certificate::Shown;
pub use client::ClientTls;
pub use explain::explain;
pub use files::{TlsError, TlsFiles};
pub use session::{PLAIN_CLIENT, TlsStream};

/// The cryptography of every session.
fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
