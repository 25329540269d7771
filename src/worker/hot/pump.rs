//! Sends what the queues of this worker have ready, once per tick.
//!
//! The pump's task is woken by the first operation of a tick and runs after all clients that are ready in it, so one flush
//! takes what all of them brought.
//!
//! One turn looks at a bounded number of keys. If more are due, sockets and other tasks have their turn before the next, so
//! that nobody waits for all keys of a worker.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until};

use super::entry::Sending;
use super::{Due, FlushExit, FlushRequest, Home, Put};
use crate::combine::{FlushDecision, FlushPolicy, TOKEN_TTL_MS};
use crate::limits::{INLINE_BYTES_MAX, QUEUE_BYTES_MAX};
use crate::resp::{RequestLimits, RequestScan, RequestScanner, RespVersion, first_error};
use crate::worker::errors::UpstreamError;
use crate::worker::names::FlushKey;
use crate::worker::owners::Worker;
use crate::worker::pending::Origin;
use crate::worker::turn::turn;

/// How long a flush waits before it is sent again.
pub(super) const RETRY_PAUSE_NS: u64 = 10_000_000;

/// Between two flushes that are sent again, of whatever keys: 20,000 a second take some hundredths of a core.
pub(super) const RETRY_SPACING_NS: u64 = 50_000;

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
        let hot = &mut worker.borrow_mut().hot;
        if hot.woken || (wait_ns.is_some() && sleep.as_mut().poll(cx).is_ready()) {
            return Poll::Ready(());
        }
        if hot.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            hot.waker = Some(cx.waker().clone());
        }
        Poll::Pending
    })
    .await;
}

impl Worker {
    /// Does a part of what is due. Says in how many nanoseconds there is more: 0 if there is now.
    fn pump_turn(&mut self) -> Option<u64> {
        self.core.tick();
        (self.hot.woken, self.hot.pumping) = (false, true);
        let mut looks = 0;
        while looks < LOOKS_PER_TURN_MAX
            && let Some(due) = self.hot.timers.take_due(self.core.now_ns)
        {
            looks += 1;
            match due {
                Due::Queue(hash) => self.pump_queue(hash),
                Due::Behind(hash) => self.hot.look_behind(&mut self.core, &mut self.upstreams, hash),
                Due::Cool(hash) => self.hot.cool_down(&mut self.core, hash),
                Due::Forget(hash) => self.hot.forget_behind(&mut self.core, hash),
                Due::Mailboxes => {}
            }
        }
        for _ in 0..LOOKS_PER_TURN_MAX {
            let Some(hash) = self.hot.dirty.pop_front() else { break };
            self.pump_queue(hash);
        }
        self.pump_behind(LOOKS_PER_TURN_MAX);
        self.hot.send_handoffs(&mut self.core);
        self.hot.pumping = false;
        if self.hot.woken || !self.hot.dirty.is_empty() || self.hot.behind.has_changed() {
            return Some(0);
        }
        self.hot.timers.next_due_ns().map(|due_ns| due_ns.saturating_sub(self.core.now_ns))
    }

    fn pump_queue(&mut self, hash: u64) {
        self.hot.resend_orphaned_debt(&mut self.core, hash);
        let Some(mut home) = self.hot.entries.get_mut(&hash).and_then(|entry| entry.queue.take()) else {
            return;
        };
        home.dirty = false;
        self.hot.adopt_limits(&mut self.core, hash, &mut home);
        // Also while Redis does not answer: then above all it is to be seen what waits.
        self.hot.tally_queue(&mut self.core, &mut home);
        self.give_up_overdue(hash, &mut home);
        self.hot.settle_debts(&mut self.core, hash, &mut home);
        let clamp = home.held.as_ref().and_then(|held| held.admission.clamp().cloned());
        let owes = home.held.as_ref().is_some_and(|held| held.admission.owes());
        if !home.unconfirmed.is_empty() {
            // Whoever confirms them has it looked at again.
            if let Some(entry) = self.hot.entries.get_mut(&hash) {
                entry.queue = Some(home);
            }
            return;
        }
        if owes {
            self.hold_up(hash, &mut home);
            if let Some(entry) = self.hot.entries.get_mut(&hash) {
                entry.queue = Some(home);
            }
            return;
        }
        if home.retry_at_ns > self.core.now_ns {
            self.hot.look_at(home.retry_at_ns, hash);
            if let Some(entry) = self.hot.entries.get_mut(&hash) {
                entry.queue = Some(home);
            }
            return;
        }
        let clamp = clamp.or_else(|| home.charge.clone());
        let policy = FlushPolicy {
            interval_ns: self.core.config.combine.flush_interval.as_nanos() as u64,
            early_min: self.core.config.combine.early_flush_min,
            exactly_once: self.wants_tokens(hash, &home),
            clamp: clamp.as_ref(),
            withhold: home.held.is_some() && clamp.is_none(),
        };
        match home.queue.next_flush(self.core.now_ns, &policy) {
            FlushDecision::Send(flush) => {
                let mut bytes = BytesMut::new();
                home.queue.encode(&mut bytes);
                if let Some(held) = home.held.as_mut().filter(|_| !flush.resend) {
                    held.admission.on_flush(home.queue.len() > flush.operations);
                }
                match self.send_flush(hash, &mut home, flush.commands, flush.version, bytes.freeze()) {
                    Put::Sent(_) => {}
                    // It is looked at again when there is room.
                    Put::NoRoom => home.queue.not_executed(),
                    Put::Unreachable => {
                        home.queue.not_executed();
                        self.hot.try_later(&mut self.core, hash, &mut home);
                    }
                }
                self.tally_flush(&mut home, flush.operations as u64);
            }
            FlushDecision::Withheld => self.hold_up(hash, &mut home),
            FlushDecision::NotBefore(due_ns) => self.hot.look_at(due_ns, hash),
            FlushDecision::InFlight | FlushDecision::Idle => {}
        }
        if let Some(entry) = self.hot.entries.get_mut(&hash) {
            entry.queue = Some(home);
        }
    }

    /// Whether the flushes of a key carry tokens. Those of debts always do: what they add was answered before.
    fn wants_tokens(&mut self, hash: u64, home: &Home) -> bool {
        self.core.config.combine.exactly_once
            || home.held.as_ref().is_some_and(|held| held.admission.quota().exactly_once())
            || self.hot.entries.get(&hash).is_some_and(|entry| entry.serves_debts)
            || self.hot.rules.wants_tokens(home.queue.key(), hash)
    }

    /// Counts a flush. The wait is that of its oldest member: no other had to wait longer.
    fn tally_flush(&mut self, home: &mut Home, members: u64) {
        let waited_us = match std::mem::take(&mut home.waiting_since_ns) {
            0 => 0,
            since_ns => self.core.now_ns.saturating_sub(since_ns) / 1000,
        };
        let tally = &mut self.core.tallies.combine;
        tally.batch_size.record(members);
        tally.added_wait_us.record(waited_us);
        tally.keys.row(home.row).added_wait_us_sum += waited_us * members;
    }

    /// Puts a flush on the wire.
    fn send_flush(
        &mut self,
        hash: u64,
        home: &mut Home,
        commands: usize,
        version: Option<RespVersion>,
        bytes: Bytes,
    ) -> Put {
        let Some(place) = self.hot.entries.get(&hash).map(|entry| entry.place) else {
            return Put::Unreachable;
        };
        let number = self.hot.next_sending();
        let origin = Origin::Flush(FlushKey { hash, sending: number });
        let version = version.unwrap_or(RespVersion::Resp2);
        let flush = FlushRequest { origin, version, commands: &split_commands(&bytes, commands) };
        let sent = self.upstreams.put(&mut self.core, place, &mut home.target, flush);
        let Put::Sent(node) = sent else { return sent };
        home.sending = Sending { number, node: Some(node), expected: commands, ..Sending::default() };
        // Opened now, so that it is there when the grants are.
        if let Some(wait) = home.replica_wait() {
            self.upstreams.confirming_connection(&mut self.core, node, wait);
        }
        sent
    }

    /// No increment may go before the limits of the key have been read once, and nothing before what was let through is in the
    /// counter: that is looked at again soon, and counts as a failure.
    fn hold_up(&mut self, hash: u64, home: &mut Home) {
        if home.queue.is_empty() {
            return;
        }
        if home.failed_since_ns == 0 {
            home.failed_since_ns = self.core.now_ns;
        }
        let due_ns = self.hot.next_retry_ns(self.core.now_ns);
        self.hot.look_at(due_ns, hash);
    }

    /// Answers members whose flush could not be brought to an end in time.
    fn give_up_overdue(&mut self, hash: u64, home: &mut Home) {
        if home.failed_since_ns == 0 {
            return;
        }
        let failing_ns = self.core.now_ns.saturating_sub(home.failed_since_ns);
        let patience_ns = self.core.config.upstream.unavailable_wait.as_nanos() as u64;
        if failing_ns < patience_ns {
            return;
        }
        let error = &self.unsent_error(hash, home)[..];
        let (queue, held) = (&mut home.queue, &mut home.held);
        if let Some(held) = held {
            held.admission.on_unavailable(self.core.now_ns);
        }
        queue.abandon_waiting(error, |waiter, settled| {
            self.hot.settle_given_up(&mut self.core, hash, held.as_deref_mut(), waiter, settled, error)
        });
        // A flush that may have taken effect is asked for until its outcome is known, for as long as its token is remembered.
        let limit_ns = match queue.is_in_doubt() {
            true => TOKEN_TTL_MS * 1_000_000 / 2,
            false => patience_ns,
        };
        if failing_ns >= limit_ns {
            queue.abandon(error, |waiter, settled| {
                self.hot.settle_given_up(&mut self.core, hash, held.as_deref_mut(), waiter, settled, error)
            });
            home.failed_since_ns = 0;
            // A reply that still comes is nobody's.
            home.sending = Sending::default();
        }
    }
}

impl Worker {
    /// What members of a flush are told that was not executed in time, without the leading `-`: what Redis said last.
    fn unsent_error(&self, hash: u64, home: &Home) -> String {
        let said = home.said.as_deref().and_then(first_error).filter(|said| !said.starts_with(b"MOVED "));
        let place = self.hot.entries.get(&hash).map(|entry| entry.place);
        match (said, place) {
            (Some(said), _) => String::from_utf8_lossy(said).into_owned(),
            (None, Some(place)) if self.core.snapshots.topology.master_of(place).is_none() => {
                UpstreamError::Unassigned(place).to_string()
            }
            _ => {
                "ERR hotgate: the key's node can't be reached; the command was not sent, try again".to_owned()
            }
        }
    }
}

/// The commands of a flush one by one: each awaits a reply of its own.
fn split_commands(bytes: &Bytes, commands: usize) -> Vec<Bytes> {
    if commands == 1 {
        return vec![bytes.clone()];
    }
    let limits = RequestLimits {
        bulk_bytes_max: QUEUE_BYTES_MAX,
        arguments_max: usize::MAX,
        inline_bytes_max: INLINE_BYTES_MAX,
        authenticated: true,
    };
    let mut scanner = RequestScanner::new(limits);
    let mut rest = bytes.clone();
    let mut split = Vec::with_capacity(commands);
    while let RequestScan::Complete { len } = scanner.scan(&rest) {
        split.push(rest.split_to(len));
        if rest.is_empty() {
            break;
        }
    }
    split
}
