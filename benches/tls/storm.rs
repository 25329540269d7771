//! Clients that begin a handshake all at once, and leave when the server has answered their greeting.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::contenders::Files;

/// Who is not answered by then is not counted.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns how many were answered.
pub fn break_loose(port: u16, files: &Files, clients: usize) -> u64 {
    let greeting = greeting(files);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut knocking = JoinSet::new();
        for _ in 0..clients {
            let greeting = greeting.clone();
            knocking.spawn(async move {
                let knocks = async {
                    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
                    stream.write_all(&greeting).await.ok()?;
                    let mut answer = [0; 256];
                    stream.read(&mut answer).await.ok().filter(|count| *count > 0)
                };
                timeout(PATIENCE, knocks).await.ok().flatten().is_some()
            });
        }
        let mut answered = 0;
        while let Some(knocked) = knocking.join_next().await {
            answered += u64::from(knocked.unwrap());
        }
        answered
    })
}

/// The first flight of a client. A server can't tell it from one that was made for it.
fn greeting(files: &Files) -> Arc<[u8]> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(&files.authority).unwrap()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut session = ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap();
    let mut flight = Vec::new();
    session.write_tls(&mut flight).unwrap();
    flight.into()
}
