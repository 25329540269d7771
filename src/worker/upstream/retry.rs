//! Requests that have not run and wait a moment before they are routed anew: their slot has no owner at present, their node
//! can't be reached, or a redirection asked for patience.
//!
//! Each waits at least as long as those before it, so the queue is in the order of time, and requests of one client stay in
//! their order. The more wait the longer the pause, so that a node in trouble is not sent more than it was. A client
//! with requests here sends no others meanwhile. The queue is bounded in number by what clients may have in flight, and in
//! bytes by `upstream.output_buffer_max` and what was on connections that broke: a client's next request comes here only while
//! there is room below that ([`crate::worker::send`]).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::sleep;

use super::lanes::ALONE;
use crate::config::{self, LostReply, ReadFrom};
use crate::limits::KEPT_BYTES_MAX;
use crate::resp::encode;
use crate::shared::labels::{CloseReason, ErrorKind, Outcome, RequestClass};
use crate::shared::refresh::RefreshReason;
use crate::shared::topology::NodeIndex;
use crate::worker::client::{flush_touched, hang_up, settle_client};
use crate::worker::errors::UpstreamError;
use crate::worker::names::ClientKey;
use crate::worker::owners::Worker;
use crate::worker::pending::{Origin, Pending, Route};
use crate::worker::reply::ReplyBytes;
use crate::worker::turn::turn;

/// How long a request waits at least before its next try. A failover takes seconds and a topology refresh milliseconds.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// How much longer for each that waits already: the tries of all are ten thousand per second, up to [`PAUSE_MAX`].
const PAUSE_PER_WAITING: Duration = Duration::from_micros(100);

/// How long a request waits at the most, which is what a recovered node may go unnoticed.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Something to be done again.
struct Retry {
    due_ns: u64,
    what: What,
}

enum What {
    /// A request is routed anew.
    Send(Box<Again>),
    /// A client's next request is looked at again.
    Look(ClientKey),
}

struct Again {
    pending: Pending,
    bytes: Bytes,
    error: UpstreamError,
    reply: Option<Bytes>,
    /// Its place among those of its client, which go in this order.
    turn: u32,
}

/// The turns of one client's requests that wait here: they go in the order in which they came, also when one has to come back.
#[derive(Debug, Default)]
pub struct Parked {
    /// The first that has not gone.
    head: u32,
    /// So many wait.
    count: u32,
    /// The first is being tried.
    trying: bool,
}

impl Parked {
    /// Whether any waits that is not being tried right now.
    pub fn others_wait(&self) -> bool {
        self.count > 0 && !self.trying
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The turn of one that comes, or comes back from its try.
    fn take_turn(&mut self) -> u32 {
        if std::mem::take(&mut self.trying) {
            return self.head;
        }
        self.count += 1;
        self.head.wrapping_add(self.count - 1)
    }

    fn is_next(&self, turn: u32) -> bool {
        turn == self.head
    }

    fn begin(&mut self) {
        self.trying = true;
    }

    /// The try is over. If it did not come back, the next one is first.
    fn end(&mut self) {
        if std::mem::take(&mut self.trying) {
            self.head = self.head.wrapping_add(1);
            self.count -= 1;
        }
    }
}

/// The queue.
#[derive(Default)]
pub struct Retries {
    queue: VecDeque<Retry>,
    /// Bytes of the requests in it.
    bytes: usize,
    /// Clients whose next request waits for room here.
    waiters: Vec<ClientKey>,
    arrived: Rc<Notify>,
}

impl Retries {
    /// All that wait may do so for this much longer: the process did not run.
    pub fn wait_longer(&mut self, stopped_ns: u64) {
        for retry in &mut self.queue {
            if let What::Send(again) = &mut retry.what {
                again.pending.retry_until_ns = again.pending.retry_until_ns.saturating_add(stopped_ns);
            }
        }
    }

    /// Whether a request may come that need not.
    pub fn has_room(&self, settings: &config::Upstream) -> bool {
        self.bytes < settings.output_buffer_max
    }

    /// The client's next request is looked at again when there is room.
    pub fn wait_for_room(&mut self, client: ClientKey) {
        self.waiters.push(client);
    }
}

/// Runs the queue of one worker for as long as it lives.
pub async fn run_retries(worker: Rc<RefCell<Worker>>) {
    let arrived = Rc::clone(&worker.borrow().upstreams.retries.arrived);
    loop {
        let (front, now_ns) = {
            let mut worker = worker.borrow_mut();
            worker.core.tick();
            (worker.upstreams.retries.queue.front().map(|retry| retry.due_ns), worker.core.now_ns)
        };
        match front {
            None => arrived.notified().await,
            Some(due_ns) if due_ns > now_ns => sleep(Duration::from_nanos(due_ns - now_ns)).await,
            Some(_) => turn(&worker, Worker::run_due),
        }
    }
}

impl Retries {
    /// Gives back what the largest crowd has left behind.
    pub fn give_back(&mut self) {
        if self.queue.is_empty() && self.queue.capacity() > KEPT_BYTES_MAX / size_of::<Retry>() {
            self.queue = VecDeque::new();
        }
    }
}

impl Worker {
    /// Queues a request that has not run. It gets `reply` (what Redis said last) or `error` when the time is over.
    pub fn retry_later(
        &mut self,
        mut pending: Pending,
        bytes: Bytes,
        error: UpstreamError,
        reply: Option<&[u8]>,
    ) {
        if pending.retry_until_ns == 0 {
            pending.retry_until_ns =
                self.core.now_ns + self.core.config.upstream.unavailable_wait.as_nanos() as u64;
        }
        if self.core.now_ns >= pending.retry_until_ns {
            self.settle_error(&pending, &error, reply);
            return;
        }
        let mut turn = 0;
        match pending.origin {
            Origin::Client { key, .. } => match self.clients.all.get_mut(key) {
                Some(client) => turn = client.parked.take_turn(),
                None => return,
            },
            Origin::Fill(fill) => self.hold_fill(fill),
            Origin::Flush(_)
            | Origin::Behind(_)
            | Origin::Confirmation(_)
            | Origin::Probe(_)
            | Origin::Swallow => {}
        }
        let reply = reply.map(Bytes::copy_from_slice);
        self.queue_retry(What::Send(Box::new(Again { pending, bytes, error, reply, turn })));
    }

    /// Looks at a client's next request again after a moment.
    pub fn look_later(&mut self, client: ClientKey) {
        self.queue_retry(What::Look(client));
    }

    fn queue_retry(&mut self, what: What) {
        let queue = &self.upstreams.retries.queue;
        let waiting = u32::try_from(queue.len()).unwrap_or(u32::MAX);
        let pause = PAUSE_PER_WAITING.saturating_mul(waiting).clamp(PAUSE_MIN, PAUSE_MAX);
        let after_ns = queue.back().map_or(0, |last| last.due_ns);
        let due_ns = (self.core.now_ns + pause.as_nanos() as u64).max(after_ns);
        if let What::Send(again) = &what {
            self.upstreams.retries.bytes += again.bytes.len();
        }
        self.upstreams.retries.queue.push_back(Retry { due_ns, what });
        self.upstreams.retries.arrived.notify_one();
    }

    fn run_due(&mut self) {
        self.core.tick();
        self.look_at_snapshots();
        // What goes back into the queue gets its turn next time.
        for _ in 0..self.upstreams.retries.queue.len() {
            if self.upstreams.retries.queue.front().is_none_or(|retry| retry.due_ns > self.core.now_ns) {
                break;
            }
            let Some(retry) = self.upstreams.retries.queue.pop_front() else { break };
            match retry.what {
                What::Look(client) => {
                    if let Some(client) = self.clients.all.get(client) {
                        client.wake();
                    }
                }
                What::Send(again) => {
                    self.upstreams.retries.bytes -= again.bytes.len();
                    self.send_again(again);
                }
            }
        }
        if self.upstreams.retries.bytes <= self.core.config.upstream.output_buffer_max / 2 {
            for waiter in std::mem::take(&mut self.upstreams.retries.waiters) {
                if let Some(client) = self.clients.all.get(waiter) {
                    client.wake();
                }
            }
        }
        flush_touched(self);
    }

    fn send_again(&mut self, again: Box<Again>) {
        match again.pending.origin {
            Origin::Client { key, .. } => {
                let Some(client) = self.clients.all.get_mut(key) else { return };
                if !client.parked.is_next(again.turn) {
                    // One before it went back into the queue, behind it.
                    return self.queue_retry(What::Send(again));
                }
                client.parked.begin();
                client.wake();
                if again.pending.losses > 0 {
                    // What comes behind it goes the same way, or waits, so that it stays behind.
                    client.lane = ALONE;
                    client.exclusive = true;
                }
            }
            Origin::Fill(fill) => self.resume_fill(fill),
            Origin::Flush(_)
            | Origin::Behind(_)
            | Origin::Confirmation(_)
            | Origin::Probe(_)
            | Origin::Swallow => {}
        }
        let Again { pending, bytes, error, reply, .. } = *again;
        let origin = pending.origin;
        match self.node_of(&pending) {
            Ok(node) => self.send_to(node, pending, &[], bytes),
            Err(error @ (UpstreamError::Unassigned(_) | UpstreamError::NoReplica(_))) => {
                self.core.refresh(RefreshReason::Unassigned);
                self.retry_later(pending, bytes, error, reply.as_deref());
            }
            Err(_) => self.retry_later(pending, bytes, error, reply.as_deref()),
        }
        if let Origin::Client { key, .. } = origin
            && let Some(client) = self.clients.all.get_mut(key)
        {
            client.parked.end();
        }
    }

    /// The node that a request goes to now.
    ///
    /// # Errors
    /// There is none.
    pub fn node_of(&mut self, pending: &Pending) -> Result<NodeIndex, UpstreamError> {
        let topology = &self.core.snapshots.topology;
        if topology.version == 0 {
            return Err(UpstreamError::none_known(&self.core.gateway.facts));
        }
        match pending.route {
            Route::Slot(slot) => topology.master_of(slot).ok_or(UpstreamError::Unassigned(slot)),
            Route::Node(node) => Ok(node),
            Route::ReadSlot(slot) => {
                let master = topology.master_of(slot).ok_or(UpstreamError::Unassigned(slot))?;
                let census = &self.upstreams.pools.census;
                let is_usable = |replica: &NodeIndex| {
                    topology.node(*replica).is_some_and(|node| node.healthy) && !census.is_resting(*replica)
                };
                let usable = || topology.replicas_of(master).iter().copied().filter(is_usable);
                self.upstreams.turn = self.upstreams.turn.wrapping_add(1);
                match usable().nth(self.upstreams.turn % usable().count().max(1)) {
                    Some(replica) => Ok(replica),
                    None if self.core.snapshots.read_from == ReadFrom::PreferReplica => Ok(master),
                    None => Err(UpstreamError::NoReplica(slot)),
                }
            }
            Route::AnyNode | Route::Messages | Route::Connection => {
                // The same node for all of a client's commands, so that its messages keep their order.
                let masters = &topology.masters;
                let first = match pending.origin {
                    // Masters are in the same order at every gateway.
                    _ if pending.route == Route::Messages => 0,
                    Origin::Client { key, .. } => {
                        self.clients.all.get(key).map_or(0, |client| client.id as usize)
                    }
                    _ => 0,
                };
                let reachable = (0..masters.len())
                    .map(|step| masters[(first + step) % masters.len()])
                    .find(|master| !self.upstreams.pools.census.is_resting(*master));
                reachable.or_else(|| masters.first().copied()).ok_or(UpstreamError::Unassigned(0))
            }
        }
    }

    /// Ends a request with `reply` if Redis said something, else with `error`.
    pub fn settle_error(&mut self, pending: &Pending, error: &UpstreamError, reply: Option<&[u8]>) {
        let mut text = Vec::new();
        if reply.is_none_or(|reply| reply.starts_with(b"-MOVED") || reply.starts_with(b"-ASK ")) {
            encode::error(&mut text, error.to_string());
        } else {
            text.extend_from_slice(reply.unwrap_or_default());
        }
        self.core.tallies.error(match error {
            UpstreamError::OutcomeUnknown(_) => ErrorKind::UnknownOutcome,
            UpstreamError::Redirected(_) => ErrorKind::RedirectExhausted,
            UpstreamError::Lost(_) | UpstreamError::Breaks(..) => ErrorKind::UpstreamLost,
            UpstreamError::Full(_) => ErrorKind::Overload,
            _ => ErrorKind::UpstreamUnavailable,
        });
        match pending.origin {
            Origin::Client { key, sequence, part } => {
                self.core.tallies.count(pending.class, Outcome::Failed);
                if let (RequestClass::Transaction, Some(client)) =
                    (pending.class, self.clients.all.get_mut(key))
                {
                    client.session.executing = None;
                }
                match error {
                    UpstreamError::OutcomeUnknown(_)
                        if self.core.config.upstream.lost_reply == LostReply::Close =>
                    {
                        hang_up(self, key, CloseReason::UpstreamLost);
                    }
                    _ => settle_client(self, key, sequence, part, ReplyBytes::Borrowed(&text)),
                }
            }
            Origin::Fill(fill) => self.fail_fill(fill, &text),
            Origin::Flush(_)
            | Origin::Behind(_)
            | Origin::Confirmation(_)
            | Origin::Probe(_)
            | Origin::Swallow => {}
        }
    }
}
