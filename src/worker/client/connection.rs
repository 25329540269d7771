//! The socket of one client: what is read from it, what is written to it, and how its connection ends.
//!
//! A connection ends in steps, because closing a socket whose input was not read makes the kernel send a reset, and a
//! reset may overtake the last reply: answer what is unsettled, write everything, shut our side, read and drop what still
//! comes, and close when the peer has closed too or [`LINGER_NS`] have passed.
//!
//! Deliberately does not: look at what it has read. The task of the connection ([`crate::worker::client_task`]) has that served.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::AsyncWrite;

use super::{Client, Clients, Gate, Linger, Phase};
use crate::limits::{READ_AHEAD_BYTES_MAX, STRANGER_OUTPUT_BYTES_MAX};
use crate::shared::labels::CloseReason;
use crate::worker::core::Core;
use crate::worker::effects::Effect;
use crate::worker::intake::Filled;
use crate::worker::names::ClientKey;

/// How long a finished connection waits for its peer to close. Long enough for a last reply on a slow link.
const LINGER_NS: u64 = 1_000_000_000;

/// What a look at the socket has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// Nothing, and no more can be read now.
    Nothing,
    /// Something that the client keeps: served at the next look.
    Kept,
    /// So many bytes in the scratch buffer, to be served at once.
    Fresh(usize),
}

impl Client {
    /// The task runs: it is the one to wake, and the socket may take bytes again.
    pub fn begin_turn(&mut self, cx: &mut Context<'_>) {
        if self.waker.as_ref().is_none_or(|waker| !waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
        if self.write_blocked {
            self.write_blocked = matches!(self.stream.poll_write_ready(cx), Poll::Pending);
        }
    }

    /// Reads once, unless as much as is read ahead lies here already.
    pub fn read(&mut self, core: &mut Core, scratch: &mut [u8], cx: &mut Context<'_>) -> Read {
        let Client { stream, inbox: Some(inbox), phase: Phase::Open, .. } = self else {
            return Read::Nothing;
        };
        if inbox.end_of_stream {
            return Read::Nothing;
        }
        let kept = inbox.intake.partial.len();
        if self.paused && (kept >= READ_AHEAD_BYTES_MAX || !inbox.stalled.is_empty()) {
            return Read::Nothing;
        }
        let (count, read) = match inbox.intake.poll_fill(stream, scratch, cx) {
            Poll::Pending => return Read::Nothing,
            Poll::Ready(Ok(Filled::EndOfStream)) => {
                inbox.end_of_stream = true;
                return Read::Kept;
            }
            Poll::Ready(Ok(Filled::Scratch(count))) => (count, Read::Fresh(count)),
            Poll::Ready(Ok(Filled::Partial)) => (inbox.intake.partial.len() - kept, Read::Kept),
            Poll::Ready(Err(_)) => {
                self.phase = Phase::Dead(CloseReason::Io);
                return Read::Nothing;
            }
        };
        self.bytes_in += count as u64;
        core.tallies.clients.bytes_in += count as u64;
        read
    }

    /// Reads and drops, while the connection lingers. `false` when nothing more has come.
    pub fn drop_input(&mut self, scratch: &mut [u8], cx: &mut Context<'_>) -> bool {
        let Phase::Lingering(reason, _) = self.phase else { return false };
        let Some(inbox) = &mut self.inbox else { return false };
        inbox.intake = Default::default();
        match inbox.intake.poll_fill(&mut self.stream, scratch, cx) {
            Poll::Ready(Ok(Filled::Scratch(_) | Filled::Partial)) => true,
            Poll::Ready(Ok(Filled::EndOfStream) | Err(_)) => {
                self.phase = Phase::Dead(reason);
                false
            }
            Poll::Pending => false,
        }
    }

    /// The task has done what it could: it comes again at once if there is more to do. Ready when the connection is to be
    /// dropped.
    pub fn end_turn(&mut self, core: &Core, cx: &mut Context<'_>) -> Poll<()> {
        // What was written may have made room for requests that had to wait for just that.
        if self.paused && self.gate == Gate::Open && self.may_go_on(&core.config.limits) {
            cx.waker().wake_by_ref();
        }
        let has_left = self.inbox.as_ref().is_some_and(|inbox| inbox.end_of_stream);
        if self.phase == Phase::Open && !self.paused && has_left {
            self.phase = Phase::Finishing(CloseReason::Client);
        }
        if has_left && self.session.waits_on_server() {
            self.phase = Phase::Dead(CloseReason::Client);
        }
        if let Phase::Finishing(reason) = self.phase
            && self.replies.is_empty()
            && self.output.is_empty()
        {
            let shut = Pin::new(&mut self.stream).poll_shutdown(cx);
            self.phase = match (has_left, shut) {
                (false, Poll::Ready(Ok(()))) => {
                    Phase::Lingering(reason, Linger::Until(core.now_ns + LINGER_NS))
                }
                _ => Phase::Dead(reason),
            };
            cx.waker().wake_by_ref();
        }
        match self.phase {
            Phase::Dead(_) => Poll::Ready(()),
            _ => Poll::Pending,
        }
    }

    /// Writes what is ready. What the socket does not take waits for the client's own task.
    #[inline]
    pub fn flush(&mut self, core: &mut Core) {
        if self.output.is_empty() || self.write_blocked || matches!(self.phase, Phase::Dead(_)) {
            if self.write_blocked {
                self.bound_stranger();
            }
            return;
        }
        let before = self.output.len();
        let outcome = self.output.write_to(&mut self.stream);
        self.on_written(core, before, outcome);
    }

    /// Closes a client that has not logged in and leaves more replies unread than a log-in has.
    fn bound_stranger(&mut self) {
        if !self.session.authenticated && self.output.len() > STRANGER_OUTPUT_BYTES_MAX {
            self.phase = Phase::Dead(CloseReason::Login);
            self.wake();
        }
    }

    /// What a try to write has come to: of `before` bytes, the output has what was not taken.
    fn on_written(&mut self, core: &mut Core, before: usize, outcome: io::Result<bool>) {
        let written = (before - self.output.len()) as u64;
        self.bytes_out += written;
        core.tallies.clients.bytes_out += written;
        match outcome {
            Ok(true) => {
                self.write_blocked = false;
                if self.stall.waits() {
                    // To take what was asked for is no silence.
                    self.active_ns = core.now_ns;
                }
                self.stall.nothing_waits();
                self.pushed_bytes = self.session.held_push_bytes();
            }
            Ok(false) => {
                self.stall.tried(core.now_ns, written > 0, core.config.limits.output_stall_timeout);
                self.write_blocked = true;
                self.wake();
                self.bound_stranger();
            }
            Err(error) => {
                if error.kind() != io::ErrorKind::WouldBlock {
                    self.phase = Phase::Dead(CloseReason::Io);
                    self.wake();
                }
            }
        }
    }
}

impl Clients {
    /// Writes what is ready for a client.
    pub fn flush(&mut self, core: &mut Core, key: ClientKey) {
        if let Some(client) = self.all.get_mut(key) {
            client.flush(core);
        }
    }

    /// Offers its output to a client's socket though the kernel has not said that it takes any, and closes a client that has
    /// taken nothing for too long.
    pub fn press_on(&mut self, core: &mut Core, key: ClientKey) {
        let timeout = core.config.limits.output_stall_timeout;
        let Some(client) = self.all.get_mut(key) else { return };
        let before = client.output.len();
        let outcome = client.output.press_into(&mut client.stream);
        client.on_written(core, before, outcome);
        // What was taken may have made room for its next request.
        client.wake();
        if client.stall.is_over(timeout) && !matches!(client.phase, Phase::Dead(_)) {
            tracing::warn!(
                client = %client.peer,
                waiting_bytes = client.output.len(),
                "closed a client that has taken nothing of its replies for limits.output_stall_timeout ({timeout:?}); a client \
                 that reads more seldom needs a longer one"
            );
            self.close(key, CloseReason::OutputStalled);
        }
    }

    /// Has a client written at the end of the turn.
    pub fn mark_dirty(&mut self, key: ClientKey) {
        if let Some(client) = self.all.get_mut(key) {
            client.mark_dirty(&mut self.dirty);
        }
    }

    /// Writes to all clients that got something in this turn, one write each, and wakes those with something left to do.
    pub fn flush_dirty(&mut self, core: &mut Core) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for key in dirty.drain(..) {
            let Some(client) = self.all.get_mut(key) else { continue };
            client.dirty = false;
            client.flush(core);
            if client.paused || client.phase != Phase::Open {
                client.wake();
            }
        }
        self.dirty = dirty;
    }

    /// Ends a connection at once: what is unsettled or unwritten is dropped.
    pub fn close(&mut self, key: ClientKey, reason: CloseReason) {
        if let Some(client) = self.all.get_mut(key)
            && !matches!(client.phase, Phase::Dead(_))
        {
            client.phase = Phase::Dead(reason);
            client.wake();
        }
    }

    /// Ends a connection as Redis's own would have ended: what is ready leaves, and nothing else is answered.
    pub fn hang_up(&mut self, core: &mut Core, key: ClientKey, reason: CloseReason) {
        let Some(client) = self.all.get_mut(key) else { return };
        if let Phase::Lingering(..) | Phase::Dead(_) = client.phase {
            return;
        }
        client.replies.abandon();
        client.phase = Phase::Finishing(reason);
        client.wake();
        // Others wait for its end, which must not depend on whether the peer closes too.
        if let Some(barrier) = client.barrier.take() {
            core.effects.push(Effect::ReleaseBarrier(key, barrier));
        }
        client.mark_dirty(&mut self.dirty);
    }
}
