//! Requests from processes of this machine to this very process, by a Unix socket without a file (the abstract namespace of Linux): each is
//! a connection, and gets one line.
//!
//! Whoever asks has to be of this process's system user, or root. Knows nothing of what is asked.

use std::io::{self, Read};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener as StdListener, UnixStream as StdStream};

use rustix::net::sockopt::socket_peercred;
use rustix::process::geteuid;
use tokio::io::AsyncWriteExt;
use tokio::net::{UnixListener, UnixStream};

/// Where requests come in.
#[derive(Debug)]
pub struct LocalRequests(UnixListener);

/// Somebody who waits for a line.
#[derive(Debug)]
pub struct LocalRequest {
    stream: UnixStream,
    /// Its user, by number.
    pub user: u32,
    /// Its process.
    pub process: i32,
}

impl LocalRequests {
    /// Takes requests under this name, on the runtime of the caller.
    ///
    /// # Errors
    /// The name is taken, or the system refuses.
    pub fn listen(name: &str) -> io::Result<Self> {
        let listener = StdListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
        listener.set_nonblocking(true)?;
        UnixListener::from_std(listener).map(Self)
    }

    /// The next that may ask; others are hung up on.
    ///
    /// # Errors
    /// Descriptors are short.
    pub async fn next(&self) -> io::Result<LocalRequest> {
        loop {
            let (stream, _) = self.0.accept().await?;
            let Ok(peer) = socket_peercred(&stream) else { continue };
            if peer.uid.is_root() || peer.uid == geteuid() {
                let (user, process) = (peer.uid.as_raw(), peer.pid.as_raw_nonzero().get());
                return Ok(LocalRequest { stream, user, process });
            }
        }
    }
}

impl LocalRequest {
    /// Answers, as far as the asker still listens.
    pub async fn answer(mut self, line: &str) {
        let _ = self.stream.write_all(line.as_bytes()).await;
        let _ = self.stream.shutdown().await;
    }
}

/// Asks process `process` under this name, and waits for its line, which is empty if it hung up.
///
/// # Errors
/// Nobody or somebody else listens there.
pub fn ask(name: &str, process: i32) -> io::Result<String> {
    let mut stream = StdStream::connect_addr(&SocketAddr::from_abstract_name(name)?)?;
    if socket_peercred(&stream)?.pid.as_raw_nonzero().get() != process {
        return Err(io::Error::other("another process has that name"));
    }
    let mut line = String::new();
    stream.read_to_string(&mut line)?;
    Ok(line)
}
