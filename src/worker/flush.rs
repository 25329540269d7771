//! The one sender for keys of which one command is in flight at a time, to the owner of their slot: flushes of combined keys and of
//! keys in write-behind mode, and the `WAIT`s for what quotas have granted.
//!
//! [`super::hot`] knows what is due and what is to be made of a reply, a redirection or a loss. Here its commands get a node, a
//! connection with room on it, and go out; what became of that is told to it at once.

use bytes::Bytes;

use super::owners::Worker;
use crate::resp::RespVersion;
use crate::shared::labels::RequestClass;
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::NodeIndex;
use crate::worker::pending::{Origin, Pending, Route};
use crate::worker::upstream::{ASKING, Phase};

/// What became of a flush that was to be sent.
pub enum Put {
    /// It is on its way to this node.
    Sent(NodeIndex),
    /// Its node's connection is full.
    NoRoom,
    /// Nobody owns its slot, or the last attempt to reach the node failed.
    Unreachable,
}

impl Worker {
    /// Puts commands of a slot on the connection to its master, or to where a redirection wants them.
    pub(super) fn put_flush(
        &mut self,
        slot: u16,
        target: &mut Option<(NodeIndex, bool)>,
        version: RespVersion,
        origin: Origin,
        commands: &[Bytes],
    ) -> Put {
        let (node, asking) = match *target {
            Some(target) => target,
            None => match self.core.snapshots.topology.master_of(slot) {
                Some(node) => (node, false),
                None => {
                    self.core.refresh(RefreshReason::Unassigned);
                    return Put::Unreachable;
                }
            },
        };
        let now_ns = self.core.now_ns;
        let (Origin::Flush(flush) | Origin::Behind(flush)) = origin else { return Put::Unreachable };
        let room = match self.upstreams.room_for_flush(&mut self.core, node, version, flush.hash) {
            Some(Some(room)) => room,
            Some(None) => return Put::NoRoom,
            None => {
                *target = None;
                return Put::Unreachable;
            }
        };
        *target = None;
        let prefix: &[u8] = if asking { ASKING } else { b"" };
        let pending = Pending {
            route: Route::Node(node),
            leading: u32::from(asking),
            received_ns: now_ns,
            sent_ns: now_ns,
            ..Pending::new(origin)
        };
        self.upstreams.send_all(room, pending, prefix, commands);
        Put::Sent(node)
    }

    /// Sends a `WAIT` for the keys that have gathered, unless one is under way.
    pub(super) fn ask_replicas(&mut self, index: usize) {
        let Some((node, wait)) = self.hot.take_unconfirmed(index) else { return };
        let connection = self.upstreams.confirming_connection(&mut self.core, node, wait);
        let now_ns = self.core.now_ns;
        let phase = self.upstreams.connections.get(connection).map(|upstream| upstream.phase());
        match self.upstreams.room(&self.core, connection) {
            Some(room) if !matches!(phase, Some(Phase::Waiting(_))) => {
                let pending = Pending {
                    leading: 1,
                    ..Pending::on_connection(Origin::Confirmation(index as u32), RequestClass::Local, now_ns)
                };
                let (replicas, timeout_ms) = (wait.replicas.to_string(), wait.timeout_ms.to_string());
                let words = format!(
                    "*1\r\n$4\r\nPING\r\n*3\r\n$4\r\nWAIT\r\n${}\r\n{replicas}\r\n${}\r\n{timeout_ms}\r\n",
                    replicas.len(),
                    timeout_ms.len()
                );
                self.upstreams.send(room, pending, &[words.as_bytes()]);
            }
            _ => self.hot.settle_confirmation(&mut self.core, index as u32, None),
        }
    }
}
