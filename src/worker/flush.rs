//! The one sender for keys of which one command is in flight at a time, to the owner of their slot: flushes of combined keys and of
//! keys in write-behind mode, and the `WAIT`s for what quotas have granted.
//!
//! [`super::hot`] knows what is due and what is to be made of a reply, a redirection or a loss. Here its commands get a node, a
//! connection with room on it, and go out; what became of that is told to it at once.

use super::core::Core;
use super::hot::{FlushExit, FlushRequest, Put};
use super::owners::Worker;
use super::upstream::Upstreams;
use crate::resp::RespVersion;
use crate::route::SlotAt;
use crate::shared::labels::RequestClass;
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::NodeIndex;
use crate::worker::pending::{Origin, Pending, Route};
use crate::worker::upstream::{ASKING, Phase};

impl FlushExit for Upstreams {
    fn put(
        &mut self,
        core: &mut Core,
        place: SlotAt,
        target: &mut Option<(NodeIndex, bool)>,
        flush: FlushRequest<'_>,
    ) -> Put {
        let (node, asking) = match *target {
            Some(target) => target,
            None => match core.snapshots.topology.master_of(place) {
                Some(node) => (node, false),
                None => {
                    core.refresh(place.cluster, RefreshReason::Unassigned);
                    return Put::Unreachable;
                }
            },
        };
        let (Origin::Flush(key) | Origin::Behind(key)) = flush.origin else { return Put::Unreachable };
        let room = match self.room_for_flush(core, node, flush.version, key.hash) {
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
            received_ns: core.now_ns,
            sent_ns: core.now_ns,
            ..Pending::new(flush.origin)
        };
        self.send_all(room, pending, prefix, flush.commands);
        Put::Sent(node)
    }

    fn reaches(&mut self, core: &mut Core, node: NodeIndex) -> bool {
        self.flush_connection(core, node, RespVersion::Resp2).is_some()
    }
}

impl Worker {
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
