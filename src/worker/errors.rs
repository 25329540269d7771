//! The errors that the gateway itself makes up about upstreams. Each says what happened and what to do about it.

use std::fmt;

use crate::config::LostReply;
use crate::route::SlotAt;
use crate::shared::upstream_facts::UpstreamFactsCell;

/// Why a request could not be completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpstreamError {
    /// No node has been reached since the start; why, where that is known.
    NoneKnown(Option<String>),
    /// Nobody owns the slot. Said as Redis says it.
    Unassigned(SlotAt),
    /// Reads are to go to replicas only, and none can be used.
    NoReplica(SlotAt),
    /// The node could not be connected to; what the system said.
    Unreachable(String, String),
    /// The connection to this node broke after the request was written; how its client is told.
    OutcomeUnknown(String, LostReply),
    /// The node was lost, and trying again did not help in time.
    Lost(String),
    /// The connection broke each time that the node was about to answer: so often, and what was said the last time.
    Breaks(String, u8, String),
    /// More redirections than are followed.
    Redirected(u8),
    /// The reply was given up, for this reason.
    ReplyTooLong(String, &'static str),
    /// A queue is full.
    Full(&'static str),
}

impl UpstreamError {
    /// [`UpstreamError::NoneKnown`] with what the topology keeper has found.
    pub fn none_known(facts: &UpstreamFactsCell) -> Self {
        Self::NoneKnown(facts.trouble().map(|trouble| trouble.why.clone()))
    }
}

impl fmt::Display for UpstreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Unassigned(_) = self {
            return f.write_str("CLUSTERDOWN Hash slot not served");
        }
        f.write_str("ERR hotgate: ")?;
        match self {
            Self::NoneKnown(Some(why)) => write!(f, "no upstream server can be used: {why}"),
            Self::NoneKnown(None) => f.write_str(
                "no upstream server has answered yet; see the servers in its configuration and its log",
            ),
            Self::Unassigned(SlotAt { slot, .. }) | Self::NoReplica(SlotAt { slot, .. }) => {
                write!(
                    f,
                    "no replica of the master of slot {slot} can be used, and read_from of its cluster allows nothing else"
                )
            }
            Self::Unreachable(node, why) => {
                write!(f, "{node} can't be reached ({why}); the command was not sent")
            }
            Self::OutcomeUnknown(node, _) => write!(
                f,
                "the connection to {node} was lost after the command was sent; its outcome is unknown, so check before sending it again"
            ),
            Self::Lost(node) => {
                write!(f, "the connection to {node} was lost and no other try succeeded in time")
            }
            Self::Breaks(node, losses, why) => write!(
                f,
                "{node} ended the connection {losses} times before it had answered this command ({why}); its reply may be larger than the server's client-output-buffer-limit for normal clients allows: ask for less at a time, or raise that"
            ),
            Self::Redirected(count) => {
                write!(f, "gave up after {count} redirections; the cluster is being changed, try again")
            }
            Self::ReplyTooLong(node, why) => {
                write!(f, "the reply of {node} can't be passed on: {why}; the command has run")
            }
            Self::Full(what) => write!(f, "{what} is full; the command was not sent, try again"),
        }
    }
}
