//! What hot keys need of connections: a way for a flush to the owner of its slot.
//!
//! Hot keys know no connections. Whoever lends them the way implements [`FlushExit`].

use bytes::Bytes;

use crate::resp::RespVersion;
use crate::route::SlotAt;
use crate::shared::topology::NodeIndex;
use crate::worker::core::Core;
use crate::worker::pending::Origin;

/// What became of a flush that was to be sent.
pub enum Put {
    /// It is on its way to this node.
    Sent(NodeIndex),
    /// Its node's connection is full.
    NoRoom,
    /// Nobody owns its slot, or the last attempt to reach the node failed.
    Unreachable,
}

/// A flush that is to be sent.
#[derive(Clone, Copy)]
pub struct FlushRequest<'a> {
    /// Who waits for the replies: [`Origin::Flush`] or [`Origin::Behind`].
    pub origin: Origin,
    /// The protocol version of the replies.
    pub version: RespVersion,
    /// Its commands, each with a reply of its own.
    pub commands: &'a [Bytes],
}

/// The way of a flush to the owner of its slot.
pub trait FlushExit {
    /// Puts a flush on the connection to the master of `place`, or to `target`, where a redirection wants it.
    fn put(
        &mut self,
        core: &mut Core,
        place: SlotAt,
        target: &mut Option<(NodeIndex, bool)>,
        flush: FlushRequest<'_>,
    ) -> Put;

    /// Whether a node takes requests.
    fn reaches(&mut self, core: &mut Core, node: NodeIndex) -> bool;
}
