//! After a silence the topology is looked at before anything that has gathered is sent.
//!
//! A master that hung and goes on takes writes for a moment, and acknowledges them, though a replica has been promoted
//! meanwhile; what it took is thrown away when it hears of that. A single increment would have been lost so with any client.
//! But what gathered during the silence is a sum of all that was acknowledged in it, so the others are asked first who the
//! master is. That costs one look of the keeper's; where nobody answers it is sent all the same, after a moment.

use super::BehindKey;
use crate::shared::refresh::RefreshReason;
use crate::worker::core::Core;

/// A reply that takes so long makes its master doubtful. Replicas are promoted after the time of `cluster-node-timeout`, which is
/// seconds.
const SILENCE_NS: u64 = 1_000_000_000;

/// How often it is seen whether the look is over, and how long it may take.
const LOOK_PAUSE_NS: u64 = 10_000_000;
const LOOK_PATIENCE_NS: u64 = 1_000_000_000;

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct LooksFirst {
    /// A later look than this one.
    look: u64,
    until_ns: u64,
}

/// Something came back for a key, or its node can be reached again: `since_ns` is when it was asked for, or could not be
/// reached first.
pub(super) fn note_silence(core: &Core, key: &mut BehindKey, since_ns: Option<u64>) {
    let silent_ns = since_ns.map_or(0, |since_ns| core.now_ns.saturating_sub(since_ns));
    if silent_ns < SILENCE_NS || key.looks_first.is_some() {
        return;
    }
    let look = core.gateway.topology.discoveries_begun(key.place.cluster);
    key.looks_first = Some(LooksFirst { look, until_ns: core.now_ns + LOOK_PATIENCE_NS });
    let topology = &core.snapshots.topology;
    if let Some(node) = topology.master_of(key.place).and_then(|master| topology.node(master)) {
        core.refresh(node.cluster, RefreshReason::Silence(node.address.clone()));
    }
}

/// When a key that has something to send is to be looked at again, if it has to wait for the look.
pub(super) fn look_pending(core: &Core, key: &mut BehindKey) -> Option<u64> {
    let LooksFirst { look, until_ns } = key.looks_first?;
    let cell = &core.gateway.topology;
    // What was found is published before the look ends, and this worker has to have taken it over.
    let is_over = cell.discovery_ended(key.place.cluster) > look
        && cell.load().version == core.snapshots.topology.version;
    if is_over || core.now_ns >= until_ns {
        key.looks_first = None;
        return None;
    }
    Some(core.now_ns + LOOK_PAUSE_NS)
}
