//! A process takes over from another: what they say to each other, in order, and what is handed over.
//!
//! ```text
//!   predecessor (successor.rs)                 successor (predecessor.rs)
//!   starts the program         --------------> HOTGATE_HANDOVER in its environment, the socket as its standard input
//!   Listener ... (descriptors), ThatIsAll ---> reads its configuration, binds what is missing, looks at Redis
//!                              <-------------- Ready
//!   write-behind ends, the journal is closed
//!   Commit (the next client id) -------------> opens the journal, starts its workers: both accept
//!                              <-------------- Serving
//!   tells the service manager, stops accepting
//!   Left  -----------------------------------> tells the service manager that it is ready
//! ```
//!
//! Until `Serving` the predecessor can go on as if nothing had been: whatever goes wrong, it ends the successor, opens the journal
//! again if it had closed it, and says why. No socket that the new configuration names is ever closed, for that would drop the peers
//! that the kernel holds for it.

mod predecessor;
mod program;
mod successor;

use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use crate::net::BoundListener;
use crate::net::handover_socket::HandoverSocket;
pub use predecessor::Predecessor;
pub(super) use predecessor::{Conversation, close_rest};
pub use program::Program;
pub(super) use successor::{HandedOver, Handover};

/// The variable that says which version of this conversation is wanted.
const VARIABLE: &str = "HOTGATE_HANDOVER";

/// The one that this program speaks.
const VERSION: &str = "1";

/// Client ids that the predecessor may still give out after it has said where the successor begins: to clients that are in the middle of
/// a TLS handshake, and to those that come until the successor serves.
const CLIENT_IDS_KEPT: u64 = 1_000_000;

/// What a socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    /// Clients over TCP, with TLS or without.
    Clients,
    /// Clients over a Unix socket.
    Unix,
    /// The HTTP side.
    Admin,
}

/// A listening socket that is handed over.
#[derive(Debug)]
pub(super) struct Passed {
    pub kind: Kind,
    /// The address as it was configured: port 0 stays port 0.
    pub asked: String,
    pub descriptor: OwnedFd,
}

/// What one process says to the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    /// A listening socket; its descriptor comes with it.
    Listener {
        kind: Kind,
        asked: String,
    },
    ThatIsAll,
    Ready,
    /// From now on it is the successor's.
    Commit {
        next_client_id: u64,
        /// Who asked for the upgrade, and from where.
        user: String,
        address: String,
        /// What gives way.
        version: String,
        process: u32,
    },
    Serving,
    Left,
    /// The successor can't take over.
    Failed {
        why: String,
    },
}

impl Message {
    fn bytes(&self) -> Vec<u8> {
        // Strings and numbers can always be written.
        serde_json::to_vec(self).unwrap_or_default()
    }
}

async fn send(socket: &HandoverSocket, message: &Message) -> io::Result<()> {
    socket.send(&message.bytes(), None).await
}

/// The next message and what came with it; `None` when the other process has gone.
async fn receive(socket: &HandoverSocket) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
    let Some((bytes, descriptor)) = socket.receive().await? else { return Ok(None) };
    Ok(Some((serde_json::from_slice(&bytes)?, descriptor)))
}

/// The sockets of the former process that nothing has been made of yet.
#[derive(Debug, Default)]
pub(super) struct Inherited(Vec<Passed>);

impl Inherited {
    /// Those that were asked for at this address, or really listen there.
    pub(super) fn take(&mut self, kind: Kind, wanted: SocketAddr) -> Vec<BoundListener> {
        let mut taken = Vec::new();
        for Passed { kind: its_kind, asked, descriptor } in std::mem::take(&mut self.0) {
            if kind != its_kind {
                self.0.push(Passed { kind: its_kind, asked, descriptor });
                continue;
            }
            let listener = BoundListener::inherited(descriptor);
            let is_there = asked == wanted.to_string() || listener.address().is_ok_and(|real| real == wanted);
            match (is_there, listener.share()) {
                (true, _) => taken.push(listener),
                (false, Ok(descriptor)) => self.0.push(Passed { kind, asked, descriptor }),
                (false, Err(_)) => {}
            }
        }
        taken
    }

    /// The Unix socket at this path.
    pub(super) fn take_unix(&mut self, asked: &str) -> Option<OwnedFd> {
        let place = self.0.iter().position(|passed| passed.kind == Kind::Unix && passed.asked == asked)?;
        Some(self.0.swap_remove(place).descriptor)
    }

    /// The paths of Unix sockets that nobody has taken.
    fn unix_left(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|passed| passed.kind == Kind::Unix).map(|passed| passed.asked.as_str())
    }
}
