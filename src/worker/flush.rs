//! The one sender for keys of which one command is in flight at a time, to the owner of their slot: flushes of combined keys and of
//! keys in write-behind mode, calls for sales of reservations, and the `WAIT`s for what quotas have granted.
//!
//! [`super::hot`] knows what is due and what is to be made of a reply, a redirection or a loss. Here its commands get a node, a
//! connection with room on it, and go out; what became of that is told to it at once.
//!
//! The pump's task is woken by the first operation of a tick and runs after all clients that are ready in it, so one flush
//! takes what all of them brought. One turn looks at a bounded number of keys. If more are due, sockets and other tasks have
//! their turn before the next, so that nobody waits for all keys of a worker.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until};

use super::core::Core;
use super::hot::{Due, FlushExit, FlushRequest, Put, Target};
use super::owners::Worker;
use super::turn::turn;
use super::upstream::Upstreams;
use crate::admission::ReplicaWait;
use crate::resp::RespVersion;
use crate::route::SlotAt;
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::NodeIndex;
use crate::worker::pending::{Origin, Pending};
use crate::worker::retryable::ASKING;
use crate::worker::upstream::Phase;

/// Keys looked at in one turn, of those whose time has come and of those that have changed each. A flush takes about 2 µs, so
/// that others wait for less than half a millisecond.
const LOOKS_PER_TURN_MAX: usize = 128;

/// Runs the pump of one worker for as long as it lives.
pub async fn pump(worker: Rc<RefCell<Worker>>) {
    let mut sleep = pin!(sleep_until(Instant::now()));
    loop {
        let next_ns = turn(&worker, Worker::pump_turn);
        match next_ns {
            // Sockets are looked at before the next turn.
            Some(0) => yield_now().await,
            _ => wait_for_work(&worker, sleep.as_mut(), next_ns).await,
        }
    }
}

/// Waits until there is something to do, at the latest after `wait_ns`.
async fn wait_for_work(worker: &Rc<RefCell<Worker>>, mut sleep: Pin<&mut Sleep>, wait_ns: Option<u64>) {
    if let Some(wait_ns) = wait_ns {
        sleep.as_mut().reset(Instant::now() + Duration::from_nanos(wait_ns));
    }
    poll_fn(|cx: &mut Context<'_>| {
        let is_woken = worker.borrow_mut().hot.poll_woken(cx.waker());
        if is_woken || (wait_ns.is_some() && sleep.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(());
        }
        Poll::Pending
    })
    .await;
}

impl FlushExit for Upstreams {
    fn put(
        &mut self,
        core: &mut Core,
        place: SlotAt,
        target: Option<Target>,
        flush: FlushRequest<'_>,
    ) -> Put {
        let Target { node, asking } = match target {
            Some(target) => target,
            None => match core.snapshots.topology.master_of(place) {
                Some(node) => Target { node, asking: false },
                None => {
                    core.refresh(place.cluster, RefreshReason::Unassigned);
                    return Put::Unreachable;
                }
            },
        };
        let (Origin::Flush(key) | Origin::Behind(key) | Origin::Sale(key)) = flush.origin else {
            return Put::Unreachable;
        };
        let room = match self.room_for_flush(core, node, flush.version, key.hash) {
            Some(Some(room)) => room,
            Some(None) => return Put::NoRoom,
            None => return Put::Unreachable,
        };
        let prefix: &[u8] = if asking { ASKING } else { b"" };
        let now_ns = core.now_ns;
        let commands = flush.commands.iter().map(|command| {
            (Pending::flush(flush.origin, node, (asking, command.leading), now_ns), &command.bytes)
        });
        self.send_all(room, prefix, commands);
        Put::Sent(node)
    }

    fn prepare_confirmation(&mut self, core: &mut Core, node: NodeIndex, wait: ReplicaWait) {
        self.confirming_connection(core, node, wait);
    }

    fn reaches(&mut self, core: &mut Core, node: NodeIndex) -> bool {
        self.flush_connection(core, node, RespVersion::Resp2).is_some()
    }
}

impl Worker {
    /// Does a part of what is due. Says in how many nanoseconds there is more: 0 if there is now.
    fn pump_turn(&mut self) -> Option<u64> {
        let Self { core, hot, upstreams, .. } = self;
        hot.begin_pumping();
        let mut looks = 0;
        while looks < LOOKS_PER_TURN_MAX
            && let Some(due) = hot.take_due(core.now_ns)
        {
            looks += 1;
            match due {
                Due::Queue(hash) => hot.flush_key(core, upstreams, hash),
                Due::Sale(hash) => hot.look_into_sale(core, upstreams, hash),
                Due::Behind(hash) => hot.look_behind(core, upstreams, hash),
                Due::Cool(hash) => hot.cool_down(core, hash),
                Due::Forget(hash) => hot.forget_behind(core, hash),
                Due::Turns(node) => hot.look_at_turns(core, node),
                Due::Mailboxes => {}
            }
        }
        for _ in 0..LOOKS_PER_TURN_MAX {
            let Some(hash) = hot.take_changed() else { break };
            hot.flush_key(core, upstreams, hash);
        }
        for _ in 0..LOOKS_PER_TURN_MAX {
            let Some(hash) = hot.sales.changed().pop_front() else { break };
            hot.look_into_sale(core, upstreams, hash);
        }
        self.pump_behind(LOOKS_PER_TURN_MAX);
        self.hot.send_handoffs(&mut self.core);
        self.hot.end_pumping(self.core.now_ns)
    }

    /// Sends a `WAIT` for the keys that have gathered, unless one is under way.
    pub(super) fn ask_replicas(&mut self, index: usize) {
        let Some((node, wait)) = self.hot.take_unconfirmed(index) else { return };
        let connection = self.upstreams.confirming_connection(&mut self.core, node, wait);
        let now_ns = self.core.now_ns;
        let phase = self.upstreams.connections.get(connection).map(|upstream| upstream.phase());
        match self.upstreams.room(&self.core, connection) {
            Some(room) if !matches!(phase, Some(Phase::Waiting(_))) => {
                let pending = Pending::confirmation(index as u32, now_ns);
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
