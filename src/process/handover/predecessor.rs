//! The side of the process that takes over: what it says to the one before it, and what it gets from it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use tokio::time::timeout;

use super::{Inherited, Message, Passed, VARIABLE, VERSION, receive, send};
use crate::net::SocketFile;
use crate::net::handover_socket::{HandoverSocket, send_now};
use crate::process::ProcessError;
use crate::shared::audit::{AuditEntry, Author};

/// How long the process before may take for what it does at each step. It flushes write-behind in one of them.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest reason that is sent, in bytes.
const WHY_BYTES_MAX: usize = 2000;

/// The process that this one takes over from.
#[derive(Debug)]
pub struct Predecessor(OwnedFd);

/// The same once the runtime runs.
pub(in crate::process) struct Conversation(HandoverSocket);

/// What the process before has said last.
pub(in crate::process) struct Commit {
    /// Where the ids of clients begin.
    pub next_client_id: u64,
    /// For the list of what operators did.
    pub entry: AuditEntry,
}

impl Predecessor {
    /// The process that started this one in order to be relieved, if one did.
    ///
    /// # Errors
    /// It speaks otherwise than this program: a sentence.
    pub fn of_environment() -> Result<Option<Self>, String> {
        let Some(version) = std::env::var_os(VARIABLE) else { return Ok(None) };
        if version != VERSION {
            return Err(format!(
                "{VARIABLE} asks for version {} of the hand-over and this program speaks version {VERSION}: stop the running \
                 gateway and start this program in its place",
                version.display()
            ));
        }
        HandoverSocket::take_standard_input().map(|end| Some(Self(end))).map_err(|error| {
            format!(
                "{VARIABLE} is set and standard input is no socket of a running gateway ({error}): unset it, it is set by an upgrade"
            )
        })
    }

    /// Says why this process ends without having taken over.
    pub fn refuse(&self, why: &str) {
        // The process before learns of the end in any case.
        let _ = send_now(self.0.as_fd(), &refusal(why).bytes(), None);
    }

    /// The same, without the runtime that it needs from now on.
    pub(in crate::process) fn converse(&self) -> io::Result<Conversation> {
        HandoverSocket::new(self.0.try_clone()?).map(Conversation)
    }
}

fn refusal(why: &str) -> Message {
    let end = (0..=WHY_BYTES_MAX.min(why.len())).rev().find(|end| why.is_char_boundary(*end)).unwrap_or(0);
    Message::Failed { why: why[..end].to_owned() }
}

impl Conversation {
    /// The listening sockets.
    ///
    /// # Errors
    /// The process before has gone.
    pub(in crate::process) async fn listeners(&self) -> Result<Inherited, ProcessError> {
        let mut listeners = Vec::new();
        loop {
            match self.next().await? {
                (Message::Listener { kind, asked }, Some(descriptor)) => {
                    listeners.push(Passed { kind, asked, descriptor });
                }
                (Message::ThatIsAll, _) => return Ok(Inherited(listeners)),
                (other, _) => return Err(unexpected(&other)),
            }
        }
    }

    /// Says that this process could serve, and waits until it may.
    ///
    /// # Errors
    /// The process before has gone, or has changed its mind.
    pub(in crate::process) async fn ready(&self) -> Result<Commit, ProcessError> {
        send(&self.0, &Message::Ready).await.map_err(gone)?;
        match self.next().await? {
            (Message::Commit { next_client_id, user, address, version, process }, _) => {
                let by = Author { user, address };
                let entry = AuditEntry::new(&by, "upgrade", "hotgate").from_to(
                    format!("version {version}, process {process}"),
                    format!("version {}, process {}", env!("CARGO_PKG_VERSION"), std::process::id()),
                );
                Ok(Commit { next_client_id, entry })
            }
            (other, _) => Err(unexpected(&other)),
        }
    }

    /// Says that this process serves, and waits until the one before has let go. It has to even if that can't be said any more.
    pub(in crate::process) async fn serving(&self) {
        if send(&self.0, &Message::Serving).await.is_ok() {
            let _ = self.next().await;
        }
    }

    async fn next(&self) -> Result<(Message, Option<OwnedFd>), ProcessError> {
        let received = timeout(PATIENCE, receive(&self.0)).await;
        received
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(gone)?
            .ok_or_else(|| gone(io::ErrorKind::UnexpectedEof.into()))
    }
}

fn gone(error: io::Error) -> ProcessError {
    ProcessError::Handover(format!(
        "the gateway that was to be relieved has ended or does not answer ({error})"
    ))
}

fn unexpected(message: &Message) -> ProcessError {
    ProcessError::Handover(format!("the gateway that was to be relieved says {message:?} out of turn"))
}

/// Closes what this process does not listen on, and removes the files of such sockets.
pub(in crate::process) fn close_rest(inherited: Inherited) {
    let files: Vec<_> =
        inherited.unix_left().filter_map(|path| SocketFile::inherited(path.as_ref()).ok()).collect();
    drop((inherited, files));
}
