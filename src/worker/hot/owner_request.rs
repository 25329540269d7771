//! The one command that a key has in flight to the owner of its slot: where the next sending goes, since when it fails, and when it
//! is tried again. Combined keys and keys in write-behind mode have one each.
//!
//! It knows neither what is sent nor what the replies mean. It is sent by whoever lends a [`FlushExit`].

use super::exit::{FlushExit, FlushRequest, Put, Target};
use crate::route::SlotAt;
use crate::shared::refresh::RefreshReason;
use crate::worker::core::Core;
use crate::worker::retryable::{Retryable, Wants};

/// What a key makes of a reply that is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// It was redirected for the first time, and is sent there at once.
    AtOnce,
    /// It was redirected again, and waits for the map to become true.
    Later,
    /// It was not redirected, or nowhere that is known.
    Nowhere,
}

/// How far the command of one key is.
#[derive(Debug, Default)]
pub struct OwnerRequest {
    /// The sending whose replies are awaited.
    sending: Option<u32>,
    /// Where a redirection wants the next sending.
    target: Option<Target>,
    /// It has followed a redirection at once. Another one waits.
    redirected: bool,
    /// When the first of the attempts that failed did.
    failing_since_ns: Option<u64>,
    /// Before this nothing is sent again.
    retry_at_ns: u64,
}

impl OwnerRequest {
    /// Sends a command of this slot under this number: to its owner, or to where a redirection wants it.
    pub fn send(
        &mut self,
        core: &mut Core,
        exit: &mut impl FlushExit,
        (place, sending): (SlotAt, u32),
        flush: FlushRequest<'_>,
    ) -> Put {
        self.sending = Some(sending);
        let put = exit.put(core, place, self.target, flush);
        self.on_put(put);
        put
    }

    /// Replies that still come are nobody's.
    pub fn disown(&mut self) {
        self.sending = None;
    }

    /// Whether a reply to this sending is awaited.
    pub fn awaits(&self, sending: u32) -> bool {
        self.sending == Some(sending)
    }

    /// Where a redirection wants the next sending.
    pub fn target(&self) -> Option<Target> {
        self.target
    }

    /// What was to be sent was, or was not. Only what waits for room still goes where a redirection said.
    fn on_put(&mut self, put: Put) {
        if put != Put::NoRoom {
            self.target = None;
        }
    }

    /// Since when it fails, if it does.
    pub fn failing_since_ns(&self) -> Option<u64> {
        self.failing_since_ns
    }

    /// Whether it fails.
    pub fn is_failing(&self) -> bool {
        self.failing_since_ns.is_some()
    }

    /// An attempt has failed.
    pub fn on_failure(&mut self, now_ns: u64) {
        self.failing_since_ns.get_or_insert(now_ns);
    }

    /// The command is over, or Redis has shown that it is there.
    pub fn on_success(&mut self) {
        self.failing_since_ns = None;
        self.redirected = false;
    }

    /// Another command takes its place, and may be redirected once for itself.
    pub fn begin_anew(&mut self) {
        self.redirected = false;
    }

    /// It still fails, and those who wait for it have done so since this time.
    pub fn fail_since(&mut self, since_ns: u64) {
        self.failing_since_ns = Some(since_ns);
    }

    /// Redis is there again. What is still not known to have failed has its whole patience from now on.
    pub fn forgive(&mut self, is_in_doubt: bool, now_ns: u64) {
        self.failing_since_ns = is_in_doubt.then_some(now_ns);
    }

    /// Nothing is sent again before this.
    pub fn back_off_until(&mut self, retry_at_ns: u64) {
        self.retry_at_ns = retry_at_ns;
    }

    /// Until when nothing is sent, if it is not time yet.
    pub fn backs_off_until(&self, now_ns: u64) -> Option<u64> {
        (self.retry_at_ns > now_ns).then_some(self.retry_at_ns)
    }

    /// Follows a redirection of a command of this slot: at once the first time.
    pub fn follow(&mut self, core: &mut Core, place: SlotAt, reply: &[u8]) -> Followed {
        match target_of(core, place, reply) {
            Some(target) if !self.redirected => {
                self.target = Some(target);
                self.redirected = true;
                self.on_failure(core.now_ns);
                Followed::AtOnce
            }
            Some(target) => {
                self.target = Some(target).filter(|target| target.asking);
                Followed::Later
            }
            None => {
                self.target = None;
                Followed::Nowhere
            }
        }
    }
}

/// The node that a redirection names, if it is known. The topology is looked at anew in any case.
fn target_of(core: &mut Core, place: SlotAt, reply: &[u8]) -> Option<Target> {
    let found = Retryable::of(reply)?;
    core.tallies.redirects[found.kind.index()] += 1;
    let node = core.snapshots.topology.master_of(place);
    let Some(target) = found.target().zip(node).and_then(|(target, node)| core.address_of(node, target))
    else {
        core.refresh(place.cluster, RefreshReason::Unassigned);
        return None;
    };
    let known = core.snapshots.topology.cluster(place.cluster).find(&target.host, target.port);
    core.refresh(place.cluster, RefreshReason::Redirected(target));
    known.map(|node| Target { node, asking: matches!(found.wants, Wants::NodeOnce(_)) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::topology::NodeIndex;

    #[test]
    fn patience_counts_from_the_first_failure_and_a_target_serves_once() {
        let mut request = OwnerRequest::default();
        assert_eq!(
            (request.is_failing(), request.backs_off_until(0), request.awaits(0)),
            (false, None, false)
        );
        request.sending = Some(7);
        assert!(request.awaits(7) && !request.awaits(6));
        request.on_failure(10);
        request.on_failure(20);
        request.back_off_until(30);
        assert_eq!(request.failing_since_ns(), Some(10));
        assert_eq!((request.backs_off_until(29), request.backs_off_until(30)), (Some(30), None));
        let target = Target { node: NodeIndex(1), asking: true };
        request.target = Some(target);
        request.on_put(Put::NoRoom);
        assert_eq!(request.target(), Some(target));
        request.on_put(Put::Unreachable);
        assert_eq!(request.target(), None);
        request.forgive(true, 40);
        assert_eq!(request.failing_since_ns(), Some(40));
        request.on_success();
        request.disown();
        assert!(!request.is_failing() && !request.awaits(7));
    }
}
