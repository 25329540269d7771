//! What hot keys need of connections: a way for a flush to the owner of its slot.
//!
//! Hot keys know no connections. Whoever lends them the way implements [`FlushExit`].

use bytes::Bytes;

use crate::admission::ReplicaWait;
use crate::resp::RespVersion;
use crate::route::SlotAt;
use crate::shared::topology::NodeIndex;
use crate::worker::core::Core;
use crate::worker::pending::Origin;

/// A node that is not asked because the topology says so, but because a redirection does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The node.
    pub node: NodeIndex,
    /// It imports the slot, and has to be told `ASKING`.
    pub asking: bool,
}

/// What became of a flush that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// Who waits for the replies: [`Origin::Flush`], [`Origin::Behind`] or [`Origin::Sale`].
    pub origin: Origin,
    /// The protocol version of the replies.
    pub version: RespVersion,
    /// Its commands, each with a reply of its own.
    pub commands: &'a [FlushCommand],
}

/// A command of a flush, or a transaction, of which the reply to `EXEC` counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushCommand {
    /// As it goes onto the wire.
    pub bytes: Bytes,
    /// Replies that come before the one that counts: to `MULTI` and to what is queued.
    pub leading: u32,
}

impl From<Bytes> for FlushCommand {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, leading: 0 }
    }
}

/// The way of a flush to the owner of its slot.
pub trait FlushExit {
    /// Puts a flush on the connection to the master of `place`, or to `target`, where a redirection wants it.
    fn put(&mut self, core: &mut Core, place: SlotAt, target: Option<Target>, flush: FlushRequest<'_>)
    -> Put;

    /// Opens the connection on which a node will be asked whether replicas hold grants, so that it is there when they are made.
    fn prepare_confirmation(&mut self, core: &mut Core, node: NodeIndex, wait: ReplicaWait);

    /// Whether a node takes requests.
    fn reaches(&mut self, core: &mut Core, node: NodeIndex) -> bool;
}
