//! Requests that have not run and wait a moment before they are routed anew: their slot has no owner at present, their node
//! can't be reached, or a redirection asked for patience.
//!
//! Each waits at least as long as those before it, so the queue is in the order of time, and requests of one client stay in
//! their order. The more wait the longer the pause, so that a node in trouble is not sent more than it was. A client
//! with requests here sends no others meanwhile. The queue is bounded in number by what clients may have in flight, and in
//! bytes by `upstream.output_buffer_max` and what was on connections that broke: a client's next request comes here only while
//! there is room below that ([`crate::worker::send`]).
//!
//! Owns the queue and its pauses. Sends nothing: [`crate::worker::send`] puts in and takes out.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;

use crate::config;
use crate::limits::KEPT_BYTES_MAX;
use crate::worker::errors::UpstreamError;
use crate::worker::names::ClientKey;
use crate::worker::pending::Pending;

/// How long a request waits at least before its next try. A failover takes seconds and a topology refresh milliseconds.
const PAUSE_MIN: Duration = Duration::from_millis(10);

/// How much longer for each that waits already: the tries of all are ten thousand per second, up to [`PAUSE_MAX`].
const PAUSE_PER_WAITING: Duration = Duration::from_micros(100);

/// How long a request waits at the most, which is what a recovered node may go unnoticed.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// Something to be done again.
pub enum Retry {
    /// A request is routed anew.
    Send(Box<Again>),
    /// A client's next request is looked at again.
    Look(ClientKey),
}

/// A request that waits.
pub struct Again {
    /// The request.
    pub pending: Pending,
    /// Its bytes.
    pub bytes: Bytes,
    /// What it gets when the time is over.
    pub error: UpstreamError,
    /// What Redis said last, which it gets instead.
    pub reply: Option<Bytes>,
    /// Its place among those of its client, which go in this order.
    pub turn: u32,
}

/// The queue.
#[derive(Default)]
pub struct Retries {
    /// Each with the worker's clock when it is due.
    queue: VecDeque<(u64, Retry)>,
    /// Bytes of the requests in it.
    bytes: usize,
    /// Clients whose next request waits for room here, each with the bytes below which there is some for it.
    waiters: Vec<(ClientKey, usize)>,
    arrived: Rc<Notify>,
}

impl Retries {
    /// Puts something at the end.
    pub fn push(&mut self, now_ns: u64, retry: Retry) {
        let waiting = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        let pause = PAUSE_PER_WAITING.saturating_mul(waiting).clamp(PAUSE_MIN, PAUSE_MAX);
        let after_ns = self.queue.back().map_or(0, |(due_ns, _)| *due_ns);
        if let Retry::Send(again) = &retry {
            self.bytes += again.bytes.len();
        }
        self.queue.push_back(((now_ns + pause.as_nanos() as u64).max(after_ns), retry));
        self.arrived.notify_one();
    }

    /// Looks at a client's next request again after a moment.
    pub fn look_later(&mut self, now_ns: u64, client: ClientKey) {
        self.push(now_ns, Retry::Look(client));
    }

    /// The first, if it is due.
    pub fn take_due(&mut self, now_ns: u64) -> Option<Retry> {
        self.queue.front().filter(|(due_ns, _)| *due_ns <= now_ns)?;
        let (_, retry) = self.queue.pop_front()?;
        if let Retry::Send(again) = &retry {
            self.bytes -= again.bytes.len();
        }
        Some(retry)
    }

    /// When the first is due.
    pub fn next_due_ns(&self) -> Option<u64> {
        self.queue.front().map(|(due_ns, _)| *due_ns)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Tells when something has come.
    pub fn arrivals(&self) -> Rc<Notify> {
        Rc::clone(&self.arrived)
    }

    /// All that wait may do so for this much longer: the process did not run.
    pub fn wait_longer(&mut self, stopped_ns: u64) {
        for (_, retry) in &mut self.queue {
            if let Retry::Send(again) = retry {
                again.pending.retry_longer(stopped_ns);
            }
        }
    }

    /// Whether a request may come that need not: what waits here is less than `upstream.output_buffer_max` of its cluster.
    pub fn has_room(&self, settings: &config::Upstream) -> bool {
        self.bytes < settings.output_buffer_max
    }

    /// The client's next request, to a cluster with these settings, is looked at again when there is room.
    pub fn wait_for_room(&mut self, client: ClientKey, settings: &config::Upstream) {
        self.waiters.push((client, settings.output_buffer_max / 2));
    }

    /// Those who have waited for room, once there is enough for many.
    pub fn take_waiters(&mut self) -> Vec<ClientKey> {
        let bytes = self.bytes;
        self.waiters.extract_if(.., |(_, bytes_max)| bytes <= *bytes_max).map(|(client, _)| client).collect()
    }

    /// Gives back what the largest crowd has left behind.
    pub fn give_back(&mut self) {
        if self.queue.is_empty() && self.queue.capacity() > KEPT_BYTES_MAX / size_of::<(u64, Retry)>() {
            self.queue = VecDeque::new();
        }
    }
}
